"""Operands in other than C order on the CPU: copies of them, blocks of them, and what ops make of them."""

import re

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import op_functions as ops
from tests.helpers.fused import Array, normal
from tests.helpers.source import ROOT
from tinytensor import lab
from tinytensor.op import Op, register, registry
from tinytensor.ops.reductions import blocks
from tinytensor.runtime.cpu import arrays

pytestmark = pytest.mark.usefixtures("mode")
DTYPES = ["bool", "int8", "uint16", "float16", "float32", "int64", "float64", "complex64", "complex128"]


def placed(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Numbers whose axes lie in memory in any order, each with gaps, in steps of 2 or backwards."""
    order = rng.permutation(len(shape))
    room = [2 * shape[axis] + 3 for axis in order]
    whole = rng.integers(0, 100, room).astype(dtype).transpose(np.argsort(order))
    keys = [
        [slice(1, n + 1), slice(1, 2 * n + 1, 2), slice(n, 0, -1), slice(0, n)][rng.integers(4)]
        for n in shape
    ]
    return whole[tuple(keys)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_copies_of_any_strides(dtype) -> None:
    rng = np.random.default_rng(0)
    for shape in [(1,), (900,), (70, 33), (129, 65), (4, 20, 17), (2, 3, 50, 19), (8, 1, 9, 16), (3, 300, 3)]:
        for _ in range(6):
            x, y = placed(rng, shape, dtype), placed(rng, shape, dtype)
            for source in (x, np.broadcast_to(x[:1], shape), np.broadcast_to(x[..., :1], shape)):
                arrays.copy_into(y, source)
                np.testing.assert_array_equal(y, source)
            target = np.empty(shape, dtype)
            arrays.copy_into(target, x)
            np.testing.assert_array_equal(target, x)


def test_a_copy_writes_nothing_else() -> None:
    whole = np.zeros((90, 140), np.float32)
    arrays.copy_into(whole[3:70, 5:78].T, np.ones((73, 67), np.float32))
    assert whole.sum() == 73 * 67
    assert whole[3:70, 5:78].all()


LAYOUTS = {
    "transposed": lambda a: tt.tensor(np.ascontiguousarray(a.T)).T,
    "middle axes": lambda a: tt.tensor(np.ascontiguousarray(a.swapaxes(0, 1))).transpose(0, 1),
    "step 2": lambda a: tt.tensor(np.repeat(a, 2, -1))[..., ::2],
    "backwards": lambda a: tt.tensor(np.ascontiguousarray(a[..., ::-1])).flip(-1),
    "gaps": lambda a: tt.tensor(np.pad(a, [(0, 0)] * (a.ndim - 1) + [(3, 4)]))[..., 3:-4],
    "repeated": lambda a: tt.broadcast_to(tt.tensor(a[:1].copy()), a.shape),
    "one number": lambda a: tt.broadcast_to(tt.tensor(a[..., :1].copy()), a.shape),
}
A = normal(7, 30, 22)
ELEMENTWISE = {
    "exp": (lambda x, y: tt.exp(x), lambda x, y: np.exp(x)),
    "add": (lambda x, y: x + y, np.add),
    "square": (lambda x, y: x * x, lambda x, y: x * x),
    "both": (lambda x, y: x * (x + 1), lambda x, y: x * (x + 1)),
    "row": (lambda x, y: x + y[0, 0], lambda x, y: x + y[0, 0]),
    "column": (lambda x, y: x * y[:, :, :1], lambda x, y: x * y[:, :, :1]),
    "plane": (lambda x, y: y - x[:1], lambda x, y: y - x[:1]),
    "where": (lambda x, y: tt.where(x > y, x, 2), lambda x, y: np.where(x > y, x, 2)),
    "relu": (lambda x, y: tt.relu(x), lambda x, y: np.maximum(x, 0)),
    "cast": (lambda x, y: x.astype(tt.float64), lambda x, y: x.astype(np.float64)),
    "concat": (lambda x, y: tt.concat([x, y, x], 1), lambda x, y: np.concatenate([x, y, x], 1)),
    "sort": (lambda x, y: tt.sort(x, 0), lambda x, y: np.sort(x, 0)),
    "in place": (lambda x, y: (y * 1).add_(x), np.add),
    "copy": (lambda x, y: tt.zeros(x.shape).copy_(x), lambda x, y: x),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_elementwise_ops_block_by_block(layout, name, monkeypatch) -> None:
    """Blocks of 500 numbers, rows and columns cut in the middle."""
    monkeypatch.setattr(arrays, "LARGE", 100)
    monkeypatch.setattr(arrays, "_BLOCK", 500)
    monkeypatch.setattr(arrays, "_FEW_COPIED", 8)
    x, y = LAYOUTS[layout](A), tt.tensor(A[::-1].copy())
    ours, numpy = ELEMENTWISE[name]
    with lab.trace_copies() as log:
        z = ours(x, y)
    assert not log.of("layout")
    assert z.is_contiguous()
    np.testing.assert_allclose(z.numpy(), numpy(x.numpy(), y.numpy()), rtol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_operands_of_one_layout_and_targets_of_another(layout, monkeypatch) -> None:
    monkeypatch.setattr(arrays, "LARGE", 100)
    monkeypatch.setattr(arrays, "_BLOCK", 500)
    x, y = LAYOUTS[layout](A), LAYOUTS[layout](A[::-1])
    expected = x.numpy() - y.numpy()
    np.testing.assert_array_equal((x - y).numpy(), expected)
    for target in (tt.zeros(22, 30, 7).T, tt.zeros(7, 30, 44)[..., ::2], tt.zeros(7, 30, 22).flip(1)):
        target += x
        target -= y
        np.testing.assert_allclose(target.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_target_that_is_its_own_operand_in_another_order(monkeypatch) -> None:
    monkeypatch.setattr(arrays, "LARGE", 100)
    monkeypatch.setattr(arrays, "_BLOCK", 500)
    square = normal(40, 40)
    x = tt.tensor(square)
    x += x.T
    np.testing.assert_array_equal(x.numpy(), square + square.T)
    x = tt.tensor(square)
    x[1:] += x[:-1]
    np.testing.assert_array_equal(x.numpy()[1:], square[1:] + square[:-1])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_16_bit_floats_widen_and_round_in_any_layout(layout, dtype, monkeypatch) -> None:
    monkeypatch.setattr(arrays, "LARGE", 100)
    monkeypatch.setattr(arrays, "_BLOCK", 500)
    wide = LAYOUTS[layout](A)
    narrow = wide.astype(dtype)
    whole = wide.contiguous().astype(dtype).astype(tt.float32).numpy()
    np.testing.assert_array_equal(narrow.astype(tt.float32).numpy(), whole)
    np.testing.assert_array_equal((narrow.T * 2).astype(tt.float32).numpy(), 2 * whole.T)


REDUCTIONS = ["sum", "mean", "max", "min", "argmax", "argmin"]
AXES = [None, 0, 1, -1, (0, 2), (0, 1), (1, 2)]


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_reductions_block_by_block(layout, name, monkeypatch) -> None:
    """Whole numbers, so that no order of sums rounds."""
    monkeypatch.setattr(blocks, "LARGE", 100)
    for most in (70, 500, 10**6):
        monkeypatch.setattr(blocks, "BLOCK", most)
        monkeypatch.setattr(arrays, "_BLOCK", most)
        x = LAYOUTS[layout](np.floor(A * 8))
        for axis in AXES[: 4 if name.startswith("arg") else 7]:
            for keepdims in (False, True):
                found = getattr(tt, name)(x, axis, keepdims=keepdims).numpy()
                expected = getattr(np, name)(x.numpy(), axis, keepdims=keepdims)
                np.testing.assert_allclose(found, expected, rtol=1e-6 if name == "mean" else 0)


def test_extremes_of_nan_in_any_layout(monkeypatch) -> None:
    monkeypatch.setattr(blocks, "LARGE", 100)
    monkeypatch.setattr(blocks, "BLOCK", 300)
    values = A.copy()
    values[3, 5, 7] = np.nan
    for place in LAYOUTS.values():
        x = place(values)
        for axis in (None, 0, 1, 2):
            np.testing.assert_array_equal(tt.max(x, axis).numpy(), np.max(x.numpy(), axis))


LABELS = np.random.default_rng(1).integers(0, 22, A.shape[:-1])
FUSED = {
    "layer_norm": lambda x: ops.layer_norm(x, tt.full((22,), 2.0), None),
    "rms_norm": lambda x: ops.rms_norm(x, tt.full((22,), 2.0)),
    "softmax": lambda x: tt.softmax(x, -1),
    "softmax of columns": lambda x: tt.softmax(x, 0),
    "log_softmax": lambda x: tt.log_softmax(x, -1),
    "gelu": tt.gelu,
    "silu": tt.silu,
    "dropout": lambda x: tt.dropout(x, 0.3, generator=tt.Generator(1)),
    "cross_entropy": lambda x: ops.cross_entropy(x, tt.tensor(LABELS)),
    "embedding": lambda x: ops.embedding(x[0], tt.tensor([1, 0, 1])),
    "attention": lambda x: ops.scaled_dot_product_attention(x[None], x[None], x[None], causal=True),
    "causal_self_attention": lambda x: tt.causal_self_attention(x[..., :18], 3),
}


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_fused_ops_give_the_bits_of_operands_in_c_order(layout, name) -> None:
    call, x = FUSED[name], LAYOUTS[layout](A).requires_grad_()
    whole = x.detach().contiguous().requires_grad_()
    y, expected = call(x), call(whole)
    np.testing.assert_array_equal(y.detach().numpy(), expected.detach().numpy())
    # the gradient of y in the layout of x, too
    grad = LAYOUTS[layout](np.resize(A, y.shape)) if y.ndim > 1 else tt.ones(y.shape)
    y.backward(grad)
    expected.backward(grad.contiguous())
    np.testing.assert_array_equal(x.grad.numpy(), whole.grad.numpy())


@pytest.mark.parametrize("name", sorted(FUSED.keys() - {"attention", "causal_self_attention", "embedding"}))
def test_fused_ops_say_that_they_copy(name) -> None:
    x = LAYOUTS["transposed"](A)
    with lab.trace_copies() as log:
        FUSED[name](x)
    (entry,) = log.of("layout")
    assert entry.nbytes == A.nbytes
    assert f"strides {x.strides}" in entry.why


def test_a_captured_op_copies_a_strided_operand_at_each_replay() -> None:
    x = tt.tensor(normal(30, 40))

    def norm() -> tt.Tensor:
        return ops.layer_norm(x.T, None, None) + x.T

    graph = tt.capture(norm, device="cpu", warmup=0)
    for seed in (1, 2):
        x.copy_(tt.tensor(normal(30, 40, seed=seed)))
        np.testing.assert_array_equal(graph.replay().numpy(), norm().numpy())


def test_the_document_names_the_ops_that_copy() -> None:
    text = (ROOT / "docs/copies.md").read_text(encoding="utf-8")
    rows = {"contiguous": "inputs that are not contiguous", "rows": "inputs without a stride of 1"}
    for attribute, row in rows.items():
        (line,) = [each for each in text.splitlines() if "| CPU |" in each and row in each]
        copying = {name for name, op in registry.items() if op.__module__.startswith("tinytensor.")}
        copying = {name.removesuffix("_backward") for name in copying if getattr(registry[name], attribute)}
        assert set(re.findall(r"`(\w+)`", line.split("|")[1])) == copying


def test_an_op_names_inputs_that_it_has() -> None:
    class NamesAnother(Op):
        inputs = ("x",)
        contiguous = ("lse",)

    with pytest.raises(ValueError, match=r"names_another has no inputs \['lse'\]"):
        register(NamesAnother)
    assert "names_another" not in registry


@pytest.mark.parametrize("dtype", [tt.float32, tt.float64, tt.int32, tt.uint32, tt.int64])
@pytest.mark.parametrize("step", [4, 8, -4])
def test_elements_that_are_negated_lie_apart(dtype: tt.DType, step: int) -> None:
    """NumPy's `negative` reads other elements for some distances, where the result has gaps, too."""
    base = tt.arange(1, 81).astype(dtype)
    expected = np.arange(1, 81).astype(str(dtype))
    expected[::step] = 0 - expected[::step].copy()
    base[::step].neg_()
    assert base.numpy().tolist() == expected.tolist()
    if dtype.is_floating:
        x = base / 10
        expected = x.numpy().astype(float)
        expected[::step] = 1 / (1 + np.exp(-expected[::step].copy()))
        x[::step].sigmoid_()
        np.testing.assert_allclose(x.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(40_000,), (400, 100)])
def test_a_large_repeated_operand_is_not_copied(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the gradient of a sum is: NumPy reads it faster than blocks of it are copied."""
    monkeypatch.setattr(arrays, "copy_into", None)
    values = np.random.default_rng(0).uniform(1, 2, shape).astype(np.float32)
    lead = values[..., :1]
    for name in ("multiply", "subtract", "divide", "maximum"):
        found = getattr(tt, name)(tt.tensor(lead.copy()).expand(shape), tt.tensor(values))
        np.testing.assert_array_equal(found.numpy(), getattr(np, name)(lead, values))
