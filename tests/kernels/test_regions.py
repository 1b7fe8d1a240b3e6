"""Kernels for regions of memory: gradients of views and of writes into them, for any strides."""

from random import Random

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.layouts import read
from tests.helpers.on_emulated import DEVICE, added, on_device, same
from tests.helpers.view_programs import BACKWARD_VIEWS, VIEWS, WRITES, base_shape, draw
from tests.ops.test_view_programs import step
from tinytensor.dispatch.apply import apply
from tinytensor.layout import Layout, contiguous
from tinytensor.op import registry


def random_layout(rnd, room):
    """A view of at most four axes inside of `room` elements; steps of any sign, 0 too, so it may overlap."""
    shape = tuple(rnd.choice([1, 2, 3, 4]) for _ in range(rnd.randint(0, 4)))
    strides = tuple(rnd.choice([0, 1, 1, -1, 2, 3, -4, 5, 12]) for _ in shape)
    low, high = Layout(shape, strides, 0).extent
    if high - low >= room:
        return random_layout(rnd, room)
    return Layout(shape, strides, rnd.randint(-low, room - 1 - high))


def read_through(memory, layout):
    positions = np.full((), layout.offset)
    for n, s in zip(layout.shape, layout.strides, strict=True):
        positions = positions[..., None] + np.arange(n) * s
    return memory[positions] if memory.size else positions


def place_of(layout):
    return read_through(np.zeros(0), layout)


@pytest.mark.parametrize("seed", range(60))
def test_sums_through_any_strides(seed, position):
    """The gradient of a view adds up where elements share a place."""
    rnd = Random(seed)
    layout = random_layout(rnd, 60)
    rng = np.random.default_rng(seed)
    base = on_device(np.zeros(60, np.float32)).requires_grad_()
    weights = rng.integers(-9, 10, layout.shape).astype(np.float32)
    y = base.as_strided(layout.shape, layout.strides, layout.offset)
    (found,) = tt.grad((y * on_device(weights)).sum(), [base])
    same(found, added((60,), place_of(layout), weights))


@pytest.mark.parametrize("seed", range(60))
def test_memory_seen_in_other_ways(seed):
    """Reframe and Mask, with bases that are no whole blocks; the bases do not overlap themselves."""
    rnd, rng = Random(seed), np.random.default_rng(seed)
    src = random_layout(rnd, 60)
    while src.overlaps():
        src = random_layout(rnd, 60)
    dst = random_layout(rnd, 60)
    x = rng.integers(1, 10, src.shape).astype(np.float32)
    memory = np.zeros(60)
    memory[place_of(src)] = x
    same(apply(registry["reframe"](src=src, dst=dst), on_device(x)), read_through(memory, dst))
    memory[place_of(dst)] = 0
    same(apply(registry["mask"](src=src, dst=dst), on_device(x)), read_through(memory, src))
    grad = rng.integers(1, 10, dst.shape).astype(np.float32)
    back = apply(registry["reframe_transpose"](src=src, dst=dst), on_device(grad))
    same(back, read_through(added((60,), place_of(dst), grad), src))


def test_bases_that_overlap_themselves():
    """Each reader of a place gets an equal share of its gradient; of values written there the last stays."""
    src, dst = Layout((3, 4), (0, 1), 0), contiguous((4,))
    back = apply(registry["reframe_transpose"](src=src, dst=dst), on_device([6.0, 3.0, 0.0, 9.0]))
    same(back, np.tile([2.0, 1.0, 0.0, 3.0], (3, 1)))
    x = np.arange(12.0, dtype=np.float32).reshape(3, 4)
    same(apply(registry["reframe"](src=src, dst=dst), on_device(x)), x[2])


@pytest.mark.parametrize("size", [(3, 50, 41), (2, 3, 300)])
def test_windows_over_more_than_a_block(size):
    rng = np.random.default_rng(11)
    x = on_device(np.zeros(size, np.float32)).requires_grad_()
    y = x[:, ::-1].unfold(2, 7, 3)
    weights = rng.integers(-9, 10, y.shape).astype(np.float32)
    (found,) = tt.grad((y * on_device(weights)).sum(), [x])
    expected = np.zeros(size)
    for i in range(y.shape[2]):
        expected[:, ::-1, 3 * i : 3 * i + 7] += weights[:, :, i]
    same(found, expected)


class Runner:
    """A program of views and writes on one device, and the gradient of what it makes."""

    def __init__(self, values, device):
        self.leaf = tt.tensor(values, device=device, requires_grad=True)
        self.variables = [self.leaf * 2.0]

    def step(self, s):
        """What the statement says where it is refused."""
        try:
            step(self.variables, s)
        except tt.TinyTensorError as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def results(self):
        """The values of all variables, then the gradient of a sum of squares of those that are valid."""
        total = tt.zeros((), dtype=tt.float64, device=self.leaf.device)
        for i, x in enumerate(self.variables):
            try:
                total = total + (x * x).sum() * (i + 1.0)
            except tt.GradError:
                total = total + float(i)
        (gradient,) = tt.grad(total, [self.leaf])
        return [*[read(x.detach().cpu()) for x in self.variables], read(gradient.cpu())]


@pytest.mark.parametrize("chunk", range(8))
def test_programs_of_views_and_writes_agree_with_the_cpu(chunk):
    kinds = VIEWS + BACKWARD_VIEWS * 2 + WRITES * 2
    for seed in range(chunk * 30, chunk * 30 + 30):
        rnd = Random(seed)
        values = np.random.default_rng(seed).integers(-4, 5, base_shape(rnd)).astype(np.float64)
        host, device = Runner(values, "cpu"), Runner(values, DEVICE)
        log = []
        for _ in range(10):
            s = draw(rnd, kinds, [x.shape for x in host.variables])
            if s is not None:
                log.append(str(s))
                assert host.step(s) == device.step(s), log
        for a, b in zip(host.results(), device.results(), strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-12, err_msg=str(log))
