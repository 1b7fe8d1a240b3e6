"""Elements under a mask, against NumPy: stretches of 4,096 and their borders, any strides and element sizes;
what a mask is kept as, on the CPU and on a device.
"""

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.on_emulated import DEVICE, on_device, same
from tinytensor.ops.indexing import mask_select


@pytest.mark.parametrize("n", [0, 1, 17, 31, 33, 4095, 4096, 4097, 50_000, 1_100_000])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.usefixtures("position")
def test_stretches_and_their_borders(n, share):
    rng = np.random.default_rng(n)
    x, mask = rng.standard_normal(n).astype(np.float32), rng.random(n) < share
    leaf = on_device(x).requires_grad_()
    y = leaf[on_device(mask)]
    same(y.detach(), x[mask])
    same(tt.nonzero(on_device(mask))[0], np.flatnonzero(mask))
    grad = rng.standard_normal(int(mask.sum())).astype(np.float32)
    (found,) = tt.grad(y, [leaf], on_device(grad))
    expected = np.zeros_like(x)
    expected[mask] = grad
    same(found, expected)


@pytest.mark.parametrize("dtype", ["bool", "int16", "float32", "float64"])
def test_every_size_of_element(dtype):
    rng = np.random.default_rng(1)
    x, mask = rng.integers(0, 100, (70, 60)).astype(dtype), rng.random((70, 60)) < 0.5
    same(on_device(x)[on_device(mask)], x[mask])


def test_operands_of_any_strides():
    rng = np.random.default_rng(2)
    x, mask = rng.standard_normal((90, 80, 3)).astype(np.float32), rng.random((90, 80, 3)) < 0.5
    own, m = on_device(x), on_device(mask)
    same(own[::-1, ::2][m[::-1, ::2]], x[::-1, ::2][mask[::-1, ::2]])
    same(own.permute(2, 0, 1)[m.permute(2, 0, 1)], x.transpose(2, 0, 1)[mask.transpose(2, 0, 1)])
    same(own[..., :1].expand(90, 80, 3)[m], np.broadcast_to(x[..., :1], x.shape)[mask])
    for found, expected in zip(tt.nonzero(m[:, 1::-1]), np.nonzero(mask[:, 1::-1]), strict=True):
        same(found, expected)
    leaf = own.requires_grad_()
    leaf[m].sum().backward()  # the gradient of a sum is one number, expanded
    same(leaf.grad, mask.astype(np.float32))


def test_a_mask_that_changes_later_selects_what_it_selected():
    for device in ("cpu", DEVICE):
        x, mask = tt.arange(4.0, device=device).requires_grad_(), tt.tensor([True, False, True, True])
        mask = mask.to(device)
        y = x[mask]
        mask[:] = False
        y.sum().backward()
        assert x.grad.tolist() == [1.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("n", [0, 5, 4096, 10_000])
def test_what_is_kept_of_a_mask(n):
    mask = np.random.default_rng(n).random(n) < 0.4
    padded = np.concatenate([mask, np.zeros(-n % 4096, bool)])
    here, there = mask_select.marks_of(tt.tensor(mask)), mask_select.marks_of(on_device(mask))
    assert here.total == there.total == mask.sum()
    assert here.bits.tolist() == mask.tolist()
    same(there.bits, padded.reshape(-1, 8) @ (1 << np.arange(8)))
    same(there.starts, [0, *np.cumsum(padded.reshape(-1, 4096).sum(1))])


def test_no_list_of_places_is_made():
    """One bit for each element stays for the gradient, and one kernel computes it."""
    leaf, mask = (
        tt.zeros(64, 64, device=DEVICE).requires_grad_(),
        tt.ones(64, 64, dtype=tt.bool, device=DEVICE),
    )
    with tt.cuda.check() as forward:
        y = leaf[mask]
    ones = tt.ones_like(y)
    with tt.cuda.check() as backward:
        tt.grad(y, [leaf], ones)
    names = [[k.kernel.partition("<")[0] for k in report.kernels] for report in (forward, backward)]
    assert names == [["nonzero_count", "nonzero_add_up", "compress_forward"], ["compress_transpose"]]
    assert sum(k.written_bytes for k in forward.kernels) < 4 * 64 * 64 + 64 * 64 // 8 + 64
