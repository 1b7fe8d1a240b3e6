"""Ops by kernels of the host: they run, agree with NumPy, and give equal bits on any number of threads."""

from functools import partial

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import op_functions as ops
from tests.helpers.fused import leaf, normal
from tests.helpers.replaced import around
from tinytensor.op import registry
from tinytensor.op_table import ROWS
from tinytensor.op_table.row import as_tuple
from tinytensor.runtime.cpu.arrays import narrow, widen
from tinytensor.runtime.cpu.kernels import HostKernels
from tinytensor.runtime.kernel_files import kernel_files

LABELS = np.random.default_rng(1).integers(0, 67, 700)
LABELS[::7] = -100


def drop(x):
    return tt.dropout(x, 0.3, generator=tt.Generator(2**63 + 5))


# What is called, on which shapes, and which ops must run in kernels.
CALLS = {
    "layer_norm": (ops.layer_norm, [(700, 67), (67,), (67,)], "layer_norm"),
    "layer_norm_wide": (ops.layer_norm, [(3, 40_001)], "layer_norm"),
    "rms_norm": (ops.rms_norm, [(700, 67), (67,)], "rms_norm"),
    "softmax": (tt.softmax, [(700, 67)], "softmax"),
    "softmax_wide": (tt.softmax, [(3, 40_001)], "softmax"),
    "log_softmax": (tt.log_softmax, [(700, 67)], "log_softmax"),
    "gelu": (tt.gelu, [(700, 67)], "gelu"),
    "gelu_erf": (lambda x: tt.gelu(x, "none"), [(700, 67)], "gelu"),
    "silu": (tt.silu, [(700, 67)], "silu"),
    "dropout": (drop, [(700, 67)], "dropout"),
    "cross_entropy": (lambda x: ops.cross_entropy(x, tt.tensor(LABELS)), [(700, 67)], "cross_entropy"),
    "cross_entropy_smooth": (
        lambda x: ops.cross_entropy(x, tt.tensor(LABELS), label_smoothing=0.2, reduction="none"),
        [(700, 67)],
        "cross_entropy",
    ),
    "embedding": (lambda w: ops.embedding(w, tt.tensor(np.abs(LABELS) % 67)), [(67, 33)], "embedding"),
    "causal_self_attention": (
        lambda qkv: tt.causal_self_attention(qkv, 3),
        [(2, 150, 9 * 20)],
        "causal_self_attention",
    ),
    "attention": (ops.scaled_dot_product_attention, [(2, 3, 70, 33)] * 3, "attention"),
    "attention_causal": (
        lambda q, k, v: ops.scaled_dot_product_attention(q, k, v, causal=True),
        [(1, 2, 65, 16), (1, 2, 700, 16), (1, 2, 700, 48)],
        "attention",
    ),
}
ONE_PASS = {"dropout": "dropout", "embedding": "embedding_backward"}


@pytest.fixture
def ran(monkeypatch):
    """The ops whose kernels did the work."""
    names = []

    def filled(name, call):
        done = bool(call())
        names.extend([name] * done)
        return done

    for name, op in reversed(registry.items()):  # a class that inherits `host` before that which defines it
        if op.host is not None:

            def counted(host, *args, name=name):
                call = host(*args)
                return call and partial(filled, name, call)

            around(monkeypatch, name, "host", counted)
    return names


def inputs_of(name, special=()):
    """Normal numbers, a few of them replaced."""
    made = [normal(*shape, seed=i) for i, shape in enumerate(CALLS[name][1])]
    for i, number in enumerate(special):
        made[0].reshape(-1)[i * 1111 :: 7919] = number
    return made


def results(name, arrays):
    """What a call gives, and the gradients of its inputs."""
    leaves = [leaf(a) for a in arrays]
    y = CALLS[name][0](*leaves)
    found = tt.grad([y], leaves, [tt.tensor(normal(*y.shape, seed=9))])
    return [y.detach().numpy(), *[g.numpy() for g in found if g is not None]]


def agree(actual, expected, bound=1e-5):
    for a, e in zip(actual, expected, strict=True):
        scale = max(float(np.abs(e[np.isfinite(e)]).max(initial=0)), 1e-3)
        np.testing.assert_allclose(a, e, rtol=bound, atol=bound * scale)


def test_every_file_compiles():
    """Else NumPy would do the work, and nothing would fail."""
    stems = list(kernel_files(".cpp"))
    assert len(stems) > 8
    assert [stem for stem in stems if not HostKernels(stem).usable()] == []


@pytest.mark.parametrize("name", CALLS)
def test_kernels_agree_with_numpy(name, ran):
    arrays = inputs_of(name)
    actual = results(name, arrays)
    op = CALLS[name][2]
    assert ran == [op, ONE_PASS.get(op, f"{op}_backward")]
    tt.config.host_kernels = "off"
    agree(actual, results(name, arrays))
    assert len(ran) == 2


@pytest.mark.parametrize("name", CALLS)
def test_threads_change_no_bit(name):
    arrays = inputs_of(name)
    bits = []
    for threads in (1, 2, 3):
        tt.set_num_threads(threads)
        bits.append([a.tobytes() for a in results(name, arrays)])
    assert bits[0] == bits[1] == bits[2]


@pytest.mark.parametrize("name", [name for name in CALLS if "causal" not in name and name != "dropout"])
@pytest.mark.parametrize("special", [(np.nan,), (np.inf,), (-np.inf,), (1e18, -1e18), (1e-42,)])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_numbers_at_the_ends(name, special):
    """Kernels and NumPy give nan and infinities at the same places."""
    arrays = inputs_of(name, special)
    actual = results(name, arrays)
    tt.config.host_kernels = "off"
    expected = results(name, arrays)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(np.isnan(a), np.isnan(e))
        np.testing.assert_array_equal(np.isinf(a), np.isinf(e))
    if max(np.abs(special)) < 1:
        agree(actual, expected)


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_causal_attention_beside_nan(number, part):
    """A token that is nan spoils what sees it, and no earlier block of tokens."""
    qkv = normal(1, 300, 3 * 32)
    clean = tt.causal_self_attention(tt.tensor(qkv), 2).numpy()
    qkv[0, 200, 32 * part : 32 * part + 16] = number  # of the first head
    y = tt.causal_self_attention(tt.tensor(qkv), 2).numpy()
    assert not np.isfinite(y[0, 200, :16]).any()
    assert np.isfinite(y[0, 201:, :16]).all() == (part == 0)
    np.testing.assert_array_equal(y[0, :192], clean[0, :192])
    np.testing.assert_array_equal(y[..., 16:], clean[..., 16:])


@pytest.mark.parametrize("name", [name for name in CALLS if len(CALLS[name][1]) == 1])
def test_other_memory_orders(name):
    """Steps, another order of the axes, and addresses that are no multiple of 64."""
    (array,) = inputs_of(name)
    expected = results(name, [array])[0]
    shape = array.shape
    wide = np.zeros((*shape[:-1], 2 * shape[-1]), np.float32)
    wide[..., ::2] = array
    moved = np.zeros(array.size + 1, np.float32)[1:].reshape(shape)
    moved[...] = array
    for other in (wide[..., ::2], np.asfortranarray(array), moved):
        agree([CALLS[name][0](tt.from_numpy(other)).numpy()], [expected])


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_dtypes(dtype):
    """16-bit floats reach kernels as float32, float64 is NumPy's."""
    for name in CALLS:
        arrays = inputs_of(name)
        values = [tt.tensor(a).astype(dtype) for a in arrays]
        y = CALLS[name][0](*values)
        assert y.dtype.name == dtype
        exact = CALLS[name][0](*[v.astype(tt.float64) for v in values]).numpy()
        bound = {"float64": 1e-12, "float16": 2e-3, "bfloat16": 1.6e-2}[dtype]
        agree([y.astype(tt.float64).numpy()], [exact], bound)


def test_dropout_draws_the_bits_of_its_specification():
    x = normal(1000, 33)
    for p in (0.1, 0.5, 0.999, 1.0):
        for n in (0, 1, 255, 33_000):
            seeds = (7, 2**64 - 1)
            for seed in seeds:
                bits = []
                for mode in ("auto", "off"):
                    tt.config.host_kernels = mode
                    generator = tt.Generator(seed)
                    generator.advance(2**32 - 3)  # the counter carries into its second word
                    y = tt.dropout(tt.tensor(x.reshape(-1)[:n]), p, generator=generator)
                    bits.append(y.numpy().tobytes())
                assert bits[0] == bits[1]


@pytest.mark.parametrize("name", ["add", "multiply"])
@pytest.mark.parametrize("shape", [(33, 40, 61), (40, 61), (61,), (1, 40, 61), (33, 1, 1), (1,), ()])
def test_large_sums_and_products(name, shape, ran):
    """The bits of NumPy, on any number of threads; numbers that repeat on the right are taken if they are the
    last axes; whether others are depends on the width of the processor's vectors.
    """
    a, b = normal(33, 40, 61), normal(*shape, seed=1)
    a[0, 0, :4], b.reshape(-1)[0] = [np.nan, np.inf, -np.inf, -0.0], np.inf
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(a, b)
    for threads in (1, 2, 3):
        tt.set_num_threads(threads)
        for x, y in ((a, b), (b, a)):
            actual = getattr(tt, name)(tt.tensor(x), tt.tensor(y)).numpy()
            assert actual.tobytes() == expected.tobytes()
    whole, suffix = shape == a.shape, shape in [(40, 61), (61,), ()]
    assert set(ran) <= {name}
    assert len(ran) >= (6 if whole else 3 if suffix else 0)


SIZES = [(3,), (), (0, 4), (40_000,), (129, 130), (16_384,), (1,)]


@pytest.mark.parametrize("coupled", [False, True])
def test_adamw_of_many_parameters(coupled):
    def step(mode, threads, grads):
        tt.config.host_kernels = mode
        tt.set_num_threads(threads)
        params = [tt.tensor(normal(*shape, seed=i)) for i, shape in enumerate(SIZES)]
        ms, vs = [[tt.zeros(shape) for shape in SIZES] for _ in range(2)]
        for t in (1, 2, 3):
            hyper = tt.stack(
                [tt.adamw_hyper(lr=lr, step=t, weight_decay=0.1, scale=0.5) for lr in (0.1, 0.02)]
            )
            rows = [i % 2 for i in range(len(SIZES))]
            tt.adamw_step(params, grads, ms, vs, hyper, rows=rows, coupled=coupled)
        assert {p.version for p in params} == {3}
        return [x.numpy() for x in (*params, *ms, *vs)]

    grads = [tt.tensor(normal(*shape, seed=50 + i)) for i, shape in enumerate(SIZES)]
    found = step("auto", 1, grads)
    agree(found, step("off", 1, grads), 2e-6)
    assert [a.tobytes() for a in found] == [a.tobytes() for a in step("auto", 3, grads)]
    grads[4] = tt.tensor(normal(130, 129)).T  # no block of memory: NumPy does the step
    agree(step("auto", 1, grads), step("off", 1, grads), 2e-6)


def test_read_only_parameters_are_not_moved():
    fixed = np.ones(3, np.float32)
    fixed.flags.writeable = False
    p, g = tt.from_numpy(fixed), tt.ones(3)
    with pytest.raises(tt.ArgumentError, match="read-only"):
        tt.adamw_step([p], [g], [tt.zeros(3)], [tt.zeros(3)], tt.adamw_hyper(lr=0.1, step=1))
    assert fixed.tolist() == [1, 1, 1]


def test_norm_and_scale_of_many():
    tensors = [tt.tensor(normal(*shape, seed=i)) for i, shape in enumerate(SIZES)]
    exact = np.sqrt(sum([float((t.numpy().astype(np.float64) ** 2).sum()) for t in tensors]))
    norms = []
    for threads in (1, 2, 3):
        tt.set_num_threads(threads)
        norms.append(tt.grad_norm(tensors).item())
    assert norms[0] == norms[1] == norms[2] == pytest.approx(exact, rel=1e-6)
    before = [t.numpy().copy() for t in tensors]
    tensors[0].copy_(np.inf)
    tt.scale_all_(tensors, tt.tensor(0.3))
    for t, b in zip(tensors[1:], before[1:]):
        np.testing.assert_array_equal(t.numpy(), b * np.float32(0.3))
    tt.zero_all_(tensors)
    assert not any(t.numpy().any() for t in tensors)
    assert {t.version for t in tensors[1:]} == {2}


def test_rows_of_the_table_reach_kernels(ran):
    """Each op that has a kernel runs in it for the rows of that op."""
    for row in ROWS:
        if "float32" in row.dtypes and any(registry[op].host for op in row.ops or () if op in registry):
            values = [
                tt.tensor(v, dtype=i.dtype("float32")) for v, i in zip(row.sample("float32"), row.inputs)
            ]
            for i in row.differentiable() if row.grad else ():
                values[i].requires_grad_()
            ys = [y for y in as_tuple(row.call(*values)) if y.requires_grad]
            leaves = [x for x in values if x.requires_grad]
            if ys:
                tt.grad(ys, leaves, [tt.ones(*y.shape) for y in ys], allow_unused=True)
    for_large_ones = {
        "add",
        "multiply",
        "relu_backward",
        "where",
        "linear",
        "linear_backward",
        "matmul",
        "copy",
        "cast",
    }
    captured = {"join"}  # in captured steps alone: a call is faster by NumPy
    assert {name for name, op in registry.items() if op.host} - set(ran) <= for_large_ones | captured


def test_kernels_that_select_have_the_bits_of_numpy(ran):
    x, y = normal(301, 107), normal(301, 107, seed=1)
    x[::3, ::5], y[::7] = np.nan, -0.0
    c, one = x > 0, np.float32(1.5)
    for a, b in ((x, y), (x, one), (one, y), (one, -one)):
        found = tt.where(tt.tensor(c), *[tt.tensor(v) if v.ndim else float(v) for v in (a, b)])
        assert found.numpy().tobytes() == np.where(c, a, b).tobytes()
    assert ran == ["where"] * 4
    leaf_x = leaf(x)
    (grad,) = tt.grad([tt.relu(leaf_x)], [leaf_x], [tt.tensor(y)])
    assert grad.numpy().tobytes() == np.where(x <= 0, np.float32(0), y).tobytes()
    assert ran[4:] == ["relu_backward"]


def test_bfloat16_has_the_bits_of_numpy(monkeypatch):
    """Every pattern of the upper half with hard lower halves: ties, carries, infinities, all kinds of nan."""
    lower = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    wide = ((np.arange(1 << 16, dtype=np.uint32) << 16)[:, None] | lower).view(np.float32)
    raw = []
    back = []
    for kernels in ("auto", "off"):
        monkeypatch.setattr(tt.config, "host_kernels", kernels)
        raw.append(np.empty(wide.shape, np.uint16))
        narrow(wide, tt.bfloat16, raw[-1])
        narrow(wide.T, tt.bfloat16, turned := np.empty(wide.T.shape, np.uint16))
        assert np.array_equal(turned.T, raw[-1])
        back.append(widen(raw[0], tt.bfloat16).tobytes())
        assert widen(raw[0].T, tt.bfloat16).T.tobytes() == back[0]
    assert np.array_equal(*raw)
    assert back[0] == back[1]


STORED = ["gelu", "causal_self_attention", "attention", "attention_causal", "layer_norm", "rms_norm"]


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize("rows", [700, 3])  # few queries are computed one by one
def test_kernels_of_bfloat16_round_those_of_float32(name, rows, monkeypatch):
    call, shapes, op = CALLS[name]
    *outer, count, width = shapes[0]
    inputs = [
        normal(*shape, seed=i) for i, shape in enumerate([(*outer, min(rows, count), width), *shapes[1:]])
    ]

    def results():
        mixed = {"dtype": tt.bfloat16} if "norm" in name else {}  # norms read float32
        xs = [tt.tensor(x).astype(tt.float32 if mixed else tt.bfloat16).requires_grad_() for x in inputs]
        y = call(*xs, **mixed)
        grad = tt.tensor(normal(*y.shape, seed=9)).astype(tt.bfloat16)
        return [t.tolist() for t in (y, *tt.grad([y], xs, [grad]))]

    ops = [each for each in (registry[op], registry[f"{op}_backward"]) if each.host_bf16]
    stored = results()
    with monkeypatch.context() as patch:
        for each in ops:
            patch.setattr(each, "host", None)  # NumPy would compute other bits
        assert results() == stored
    for each in ops:
        monkeypatch.setattr(each, "host_bf16", None)
    assert ops
    if "norm" in name:  # the compiler contracts sums of products in other places
        agree([np.array(t) for t in results()], [np.array(t) for t in stored])
    else:
        assert results() == stored
