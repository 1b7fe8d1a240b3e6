"""Long rows of an odd number of elements: on a device `linear` leaves a gap after each row, so that all rows
begin at aligned addresses, and nothing between the product and the loss copies them.
"""

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import op_functions as ops
from tests.helpers.on_emulated import DEVICE, close, device, host, launches, normal
from tinytensor.layout import with_aligned_rows

pytestmark = pytest.mark.usefixtures("nan_memory")  # also between the rows
ODD, EVEN = 1001, 1008  # rows of bfloat16 at 2,002 and 2,016 bytes: the second is a multiple of 16


def weight(classes, place=DEVICE):
    w = tt.tensor(normal(classes, 24, seed=classes).astype(np.float32), device=place)
    w.requires_grad_(True)
    return w


def inputs(place=DEVICE):
    targets = np.random.default_rng(1).integers(0, ODD, (2, 5))
    return tt.tensor(normal(2, 5, 24).astype(np.float32), device=place), tt.tensor(targets, device=place)


def step(w, x, targets, dtype=None):
    """The loss of a head of a language model; its gradient is in w.grad."""
    w.grad = None
    with tt.autocast(dtype or tt.bfloat16, enabled=dtype is not None):
        logits = tt.linear(x, w, transposed=True)
        loss = ops.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))
    loss.backward()
    return loss


def test_which_rows_have_a_gap():
    x, _ = inputs()
    assert tt.linear(x, weight(ODD), transposed=True).stride() == (5 * 1024, 1024, 1)
    assert tt.linear(x, weight(EVEN), transposed=True).is_contiguous()
    assert tt.linear(x[:1, :1], weight(ODD), transposed=True).is_contiguous()  # a single row
    assert tt.linear(x, weight(65), transposed=True).is_contiguous()  # short rows
    assert tt.linear(x.to("cpu"), weight(ODD, "cpu"), transposed=True).is_contiguous()
    assert with_aligned_rows((3, 0), 2).is_contiguous
    assert with_aligned_rows((3, 516), 4).is_contiguous
    assert not with_aligned_rows((3, 516), 2).is_contiguous


@pytest.mark.parametrize("dtype", [None, tt.bfloat16, tt.float16], ids=str)
def test_a_step_copies_no_logits(dtype):
    """As many launches as with rows that need no gap, and the values of the CPU."""
    odd, even = weight(ODD), weight(EVEN)
    found = []
    count = launches(lambda: found.append(step(odd, *inputs(), dtype)))
    assert count == launches(lambda: step(even, *inputs(), dtype))
    on_cpu = weight(ODD, "cpu")
    expected = step(on_cpu, *inputs("cpu"), dtype)
    assert found[0].dtype is tt.float32
    close(found[0], host(expected), str(dtype or tt.float32))
    close(odd.grad, host(on_cpu.grad), str(dtype or tt.float32))


def test_the_gradient_takes_the_memory_of_the_logits():
    x, targets = inputs()
    w = weight(ODD)
    bytes_of = []

    def note(g):
        bytes_of.append(g.storage.buffer.ptr)

    logits = tt.linear(x, w, transposed=True)
    address = logits.storage.buffer.ptr
    logits.register_hook(note)
    loss = ops.cross_entropy(logits, targets)
    del logits
    loss.backward()
    assert bytes_of == [address]


def test_a_captured_step_has_the_bits_of_an_eager_one():
    w, given = weight(ODD), inputs()
    loss = step(w, *given, tt.bfloat16)
    expected = host(loss).tobytes(), host(w.grad).tobytes()
    graph = tt.capture(lambda: step(w, *given, tt.bfloat16), device=DEVICE)
    result = graph.replay()
    assert (host(result).tobytes(), host(w.grad).tobytes()) == expected


@pytest.mark.parametrize("shape", [(3, 40), (2, 4100), (7, 1, 33)])  # the second is summed in parts
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_products_leave_the_gaps_alone(shape, dtype):
    x, w = device(normal(*shape), dtype), device(normal(shape[-1], 515, seed=2), dtype)
    bias = device(normal(515, seed=3), dtype)
    y = tt.linear(x, w, bias, transposed=False)
    assert y.is_contiguous() == (dtype == "float64" and 515 * 8 % 16 == 0)
    close(y, host(x) @ host(w) + host(bias), dtype)
    whole = tt.as_strided(y.detach(), (y.storage.size,), (1,))
    between = np.ones(y.storage.size, bool)
    rows = np.arange(515) + y.stride()[-2] * np.arange(y.numel() // 515)[:, None]
    between[rows] = False
    assert np.isnan(host(whole)[between]).all()


@pytest.mark.parametrize(
    "use",
    [
        lambda y: tt.softmax(y, -1),
        lambda y: y.argmax(-1),
        lambda y: y[:, -1] / 0.7,
        lambda y: tt.topk(y, 3)[0],
        lambda y: y.sum(axis=0),
        lambda y: y.reshape(-1),
        lambda y: y.mT @ y,
    ],
)
def test_other_ops_read_such_rows(use):
    x, _ = inputs()
    w = weight(ODD).detach()
    y = tt.linear(x, w, transposed=True)
    assert not y.is_contiguous()
    expected = use(tt.tensor(host(y).astype(np.float32)))
    np.testing.assert_allclose(host(use(y)), expected.numpy(), rtol=1e-4, atol=1e-4)


def test_second_derivatives():
    x, targets = inputs()
    found = []
    for place in ("cpu", DEVICE):
        w = weight(ODD, place)
        loss = ops.cross_entropy(tt.linear(x.to(place), w, transposed=True), targets.to(place))
        (first,) = tt.grad(loss, [w], create_graph=True)
        (second,) = tt.grad((first * first).sum(), [w])
        found.append(host(second))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3, atol=1e-5)
