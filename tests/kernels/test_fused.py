"""Kernels of fused ops where the op table is too small: rows of several pieces, many blocks, addresses
between vectors, indices that repeat or do not exist.
"""

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import op_functions as ops
from tests.helpers.on_emulated import DEVICE, RUNTIME, close, device, host, normal

pytestmark = pytest.mark.usefixtures("nan_memory")
WIDTHS = [1, 5, 31, 32, 64, 101, 257, 1000, 1024, 1025, 3001, 17_003]  # the last one in several pieces


# ---- softmax -----------------------------------------------------------------------------------------------


def log_softmax(x, axis=-1):
    with np.errstate(invalid="ignore", divide="ignore"):
        x = x - x.max(axis, keepdims=True)
        return x - np.log(np.exp(x).sum(axis, keepdims=True))


@pytest.mark.parametrize("lead", [0, 3])
@pytest.mark.parametrize("width", WIDTHS)
def test_softmax_of_rows(width, lead):
    values, grad = normal(9, width) * 3, normal(9, width, seed=1)
    for dtype in ("float32", "bfloat16") if width % 2 else ("float32", "float64"):
        x, g = device(values, dtype, lead).requires_grad_(), device(grad, dtype, lead)
        log, slope = log_softmax(host(x)), host(g)
        y = tt.softmax(x, -1)
        p = host(y)
        close(y, np.exp(log), dtype)
        close(tt.grad([y], [x], [g])[0], p * (slope - (slope * p).sum(-1, keepdims=True)), dtype, 3)
        y = tt.log_softmax(x, -1)
        close(y, log, dtype)
        close(tt.grad([y], [x], [g])[0], slope - np.exp(host(y)) * slope.sum(-1, keepdims=True), dtype, 30)


@pytest.mark.parametrize("shape", [(2, 3, 1, 3), (1, 40, 70), (3, 300, 2), (5, 1, 4)])
def test_softmax_along_another_axis(shape):
    values = normal(*shape)
    for op, expected in (
        (tt.softmax, np.exp(log_softmax(values, 1))),
        (tt.log_softmax, log_softmax(values, 1)),
    ):
        x = device(values).requires_grad_()
        y = op(x, 1)
        close(y, expected)
        g = normal(*shape, seed=1)
        c = tt.tensor(values, dtype="float64", requires_grad=True)
        (want,) = tt.grad([op(c, 1)], [c], [tt.tensor(g)])
        close(tt.grad([y], [x], [device(g)])[0], want.numpy(), factor=4)


# ---- norms -------------------------------------------------------------------------------------------------


def norm_gradients(x, w, g, eps, centered):
    """(y without bias, dx, dweight, dbias)."""
    c = x - x.mean(-1, keepdims=True) if centered else x
    s = 1 / np.sqrt((c * c).mean(-1, keepdims=True) + eps)
    h, d = c * s, g * w
    flat = d - d.mean(-1, keepdims=True) if centered else d
    return h * w, (flat - h * (d * h).mean(-1, keepdims=True)) * s, (g * h).sum(0), g.sum(0)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("centered", [True, False])
def test_norms(width, centered):
    for dtype in ("float32", "float16" if width % 2 else "float64"):
        check_norm(width, centered, dtype, (0, 1, 2))


ALIGNED = [
    (64, "float32"),
    (64, "float16"),
    (96, "float32"),
    (24, "float64"),
    (200, "float16"),
    (1024, "float32"),
]


@pytest.mark.parametrize(("width", "dtype"), ALIGNED)  # 8 to 32 lanes for a row
@pytest.mark.parametrize("centered", [True, False])
def test_norms_at_aligned_addresses(width, dtype, centered):
    check_norm(width, centered, dtype, (0, 0, 0))


def check_norm(width, centered, dtype, leads):
    """Values and gradients of rows that do not fill their last block."""
    count = 301 if width < 1100 else 3
    x, w, b = (device(v, dtype, lead) for v, lead in zip(_parts(count, width), leads, strict=True))
    leaves = [t.requires_grad_() for t in ((x, w, b) if centered else (x, w))]
    y = ops.layer_norm(x, w, b, eps=1e-3) if centered else ops.rms_norm(x, w, eps=1e-3)
    g = device(normal(count, width, seed=9), dtype)
    want = norm_gradients(host(x), host(w), host(g), 1e-3, centered)
    close(y, want[0] + (host(b) if centered else 0), dtype)
    for actual, expected in zip(tt.grad([y], leaves, [g]), want[1:], strict=False):
        close(actual, expected, dtype, 8, least=1.0)


def _parts(count, width):
    return normal(count, width), 1 + 0.1 * normal(width, seed=1), normal(width, seed=2)


def test_norms_without_weights_and_of_single_inputs():
    x, g = device(normal(40, 96)).requires_grad_(), device(normal(40, 96, seed=1))
    w, b = device(normal(96, seed=2)).requires_grad_(), device(normal(96, seed=3)).requires_grad_()
    one = np.ones(96)
    want = norm_gradients(host(x), one, host(g), 1e-5, True)
    y = ops.layer_norm(x)
    close(y, want[0])
    close(tt.grad([y], [x], [g])[0], want[1], factor=4)
    y = ops.layer_norm(x.detach(), None, b)
    close(tt.grad([y], [b], [g])[0], want[3], factor=4)
    y = ops.rms_norm(x.detach(), w)
    close(tt.grad([y], [w], [g])[0], norm_gradients(host(x), one, host(g), 1e-6, False)[2], factor=4)


# ---- losses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 65, 1000, 1027, 50_257])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy(width, smoothing):
    count = 200 if width < 100 else 5
    targets = np.random.default_rng(3).integers(0, width, count)
    targets[1] = -100
    for dtype in ("float32", "bfloat16"):
        x = device(normal(count, width) * 3, dtype, lead=1).requires_grad_()
        loss = ops.cross_entropy(x, tt.tensor(targets).to(DEVICE), label_smoothing=smoothing)
        q = np.full((count, width), smoothing / width)
        q[np.arange(count), targets % width] += 1 - smoothing
        q[1] = 0
        log_p = log_softmax(host(x))
        close(loss, np.asarray(-(q * log_p).sum() / (count - 1)), dtype)
        p = np.exp(log_p) * (targets != -100)[:, None]
        close(tt.grad([loss], [x])[0], (p - q) / (count - 1), dtype, 3)


def test_the_gradient_of_cross_entropy_takes_over_the_logits():
    x = device(normal(64, 1000)).requires_grad_()
    targets = tt.tensor(np.arange(64)).to(DEVICE)
    loss = ops.cross_entropy(x + 1.0, targets)  # backward of the sum needs nothing
    before = RUNTIME.statistics.live
    RUNTIME.statistics.peak = before
    (dx,) = tt.grad([loss], [x])
    assert RUNTIME.statistics.peak - before < x.nbytes // 2
    close(dx, (np.exp(log_softmax(host(x))) - np.eye(64, 1000)) / 64)


@pytest.mark.parametrize("bad", [5, -1, 1 << 40])
def test_targets_out_of_range_give_nan_and_an_error(bad):
    x, table = device(normal(3, 5)).requires_grad_(), device(normal(5, 7))
    targets = tt.tensor([0, bad, 4]).to(DEVICE)
    for name, call in (
        ("cross_entropy", lambda: ops.cross_entropy(x, targets, reduction="none")),
        ("nll_loss", lambda: ops.nll_loss(x, targets, reduction="none")),
        ("embedding", lambda: ops.embedding(table, targets)[:, 0]),
    ):
        kept = []
        with pytest.raises(tt.IndexRangeError, match=f"{name}: one of .* is {bad}"):
            host(_keep(kept, call))
        for result in kept:  # the report is empty again
            assert np.isnan(host(result)).tolist() == [False, True, False]


def _keep(kept, call):
    kept.append(call())
    return kept[0]


# ---- embedding ---------------------------------------------------------------------------------------------

EMBEDDINGS = {  # count, table, width, highest index
    "few rows": (700, 9, 300, 9),
    "wide rows": (40, 3, 1030, 3),
    "narrow rows": (500, 1000, 3, 1000),
    "one row": (5000, 4, 8, 1),  # more than the lists take
    "two heavy rows of many": (9000, 100, 2, 2),
    "large table": (50, 40_000, 1, 40_000),
    "no position": (0, 6, 4, 1),
}


@pytest.mark.parametrize("place", ["cpu", "emulated"])
@pytest.mark.parametrize("case", EMBEDDINGS)
def test_embedding(case, place):
    """The gradients of equal indices are added in one order: the same bits again."""
    count, table, width, highest = EMBEDDINGS[case]
    ids = np.random.default_rng(5).integers(0, highest, count)
    for dtype in ("float32", "bfloat16") if width > 2 else ("float64",):
        w = device(normal(table, width), dtype, lead=1).to(place).detach().requires_grad_()
        y = ops.embedding(w, tt.tensor(ids).to(place))
        np.testing.assert_array_equal(host(y), host(w)[ids])
        g = device(normal(count, width, seed=1), dtype).to(place)
        want = np.zeros((table, width))
        np.add.at(want, ids, host(g))
        first, again = (tt.grad([y], [w], [g], retain_graph=True)[0] for _ in range(2))
        close(first, want, dtype, 1 if dtype == "bfloat16" else 4)
        np.testing.assert_array_equal(host(first), host(again))


def test_a_warp_lists_no_more_positions_than_its_list_takes():
    """The first warp has 513 positions of one row: one more than that. The next one has 20."""
    ids = np.ones(8 * 513, np.int64)
    ids[: 513 + 20] = 0
    w = device(normal(2, 8)).requires_grad_()
    with tt.cuda.check(blocks=0) as report:
        y = ops.embedding(w, tt.tensor(ids).to(DEVICE))
        (dw,) = tt.grad(y.sum(), [w])
    assert not report.findings, str(report)
    np.testing.assert_array_equal(host(dw), np.bincount(ids)[:, None] * np.ones((2, 8)))


# ---- gelu --------------------------------------------------------------------------------------------------


def test_gelu_keeps_no_slope_on_a_device():
    x = device(normal(1000, 64)).requires_grad_()
    before = RUNTIME.statistics.live
    y = tt.gelu(x, "tanh")
    assert RUNTIME.statistics.live - before == y.nbytes
