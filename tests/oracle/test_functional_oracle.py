"""tt.nn.functional against torch.nn.functional: the same calls give equal values and gradients."""

import inspect
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt
from tests.helpers.pytorch_calls import SAME

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle
T = torch.nn.functional
F = tt.nn.functional

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
DTYPES = ["float32", "float64"]


def n(*shape: int) -> Array:
    return RNG.normal(size=shape)


def p(*shape: int) -> Array:
    return RNG.uniform(0.05, 0.95, size=shape)


def i(high: int, *shape: int) -> Array:
    return RNG.integers(0, high, size=shape)


def called(text: str, functions: Any, xs: list[Any]) -> Any:
    """The value of a call of tensors a, b, … in either library."""
    attend = functions.scaled_dot_product_attention
    return eval(text, {"F": functions, "attend": attend, **dict(zip("abcde", xs))})


def both(text: str, arrays: tuple[Array, ...], dtype: str) -> tuple[list[Array], list[Array]]:
    """Result and gradients of a weighted sum of it, ours and theirs; floating inputs require gradients."""
    found: list[list[Array]] = []
    for lib, functions in ((tt, F), (torch, T)):
        floats = [a.dtype == np.float64 for a in arrays]
        xs = [
            lib.tensor(a.astype(dtype) if f else a, requires_grad=f)
            for a, f in zip(arrays, floats, strict=True)
        ]
        y = called(text, functions, xs)
        values = [y.detach().numpy()]
        if y.requires_grad:
            weights = np.cos(np.arange(values[0].size)).reshape(values[0].shape) + 2.0
            (y * lib.tensor(weights.astype(values[0].dtype))).sum().backward()
        grads = [None if x.grad is None else x.grad.numpy() for x in xs]
        found.append(
            [*values, *[np.zeros(x.shape) if g is None else g for x, g in zip(xs, grads, strict=True)]]
        )
    return found[0], found[1]


def compare(text: str, arrays: tuple[Array, ...], dtype: str, rtol: float = 1e-9) -> None:
    rtol, atol = (1e-4, 1e-5) if dtype == "float32" else (rtol, 1e-11)
    for ours, theirs in zip(*both(text, arrays, dtype), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


# ---- activations, with the numbers where their formula changes ---------------------------------------------

ACTIVATIONS = [
    *("F.relu(a)", "F.relu6(a)", "F.leaky_relu(a)", "F.leaky_relu(a, 0.25)", "F.elu(a)"),
    *("F.elu(a, alpha=0.3)", "F.selu(a)", "F.gelu(a)", 'F.gelu(a, approximate="tanh")', "F.silu(a)"),
    *("F.mish(a)", "F.softplus(a)", "F.softsign(a)", "F.sigmoid(a)", "F.tanh(a)"),
    *("F.hardtanh(a, -2.0, 0.5)", "F.hardswish(a)", "F.logsigmoid(a)"),
]
BORDERS = np.array([-100.0, -20.5, -6, -3, -2, -1, -0.5, -0.25, 0, 0.25, 0.5, 1, 2, 3, 6, 20.5, 100])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", ACTIVATIONS)
def test_activations_where_their_formula_changes(text: str, dtype: str) -> None:
    compare(text, (BORDERS,), dtype, 2e-9)


@given(
    text=st.sampled_from(sorted(ACTIVATIONS)),
    values=st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=6),
)
def test_activations_of_any_numbers(text: str, values: list[float]) -> None:
    compare(text, (np.array(values),), "float64", 2e-9)  # softplus near its threshold


@pytest.mark.parametrize("text", ACTIVATIONS)
def test_nan_stays_nan(text: str) -> None:
    ours, theirs = both(text, (np.array([np.nan, 1.0]),), "float64")
    np.testing.assert_array_equal(np.isnan(ours[0]), np.isnan(theirs[0]))


# ---- layers and losses -------------------------------------------------------------------------------------


MASK = np.array([[True, False, True, True], [True, True, False, True], [True, True, True, True]])
IGNORED = np.array([0, 2, -100, 1])
TIMES = np.array([[0, 2, -100], [1, 1, 0]])

# Beside those of test_pytorch_calls.py, and what modules of test_nn_text.py call.
CALLS: list[tuple[str, tuple[Array, ...]]] = [
    ("F.glu(a, 1)", (n(2, 4, 3),)),
    ("F.linear(a, b, c)", (n(2, 5, 3), n(4, 3), n(4))),
    ("F.linear(a, weight=b)", (n(3), n(4, 3))),
    ("F.dropout(a, 1.0)", (n(2, 3),)),
    ("F.layer_norm(a, [3, 4], weight=b, bias=c, eps=0.1)", (n(2, 3, 4), n(3, 4), n(3, 4))),
    ("F.rms_norm(a, (4,), b)", (1e-3 * n(2, 3, 4), n(4))),
    ("F.group_norm(a, 2, b, c)", (n(2, 4, 3, 5), n(4), n(4))),
    ("F.normalize(a)", (n(2, 3, 4),)),
    ("F.normalize(a, p=1.0, dim=-1)", (n(2, 3, 4),)),
    ("F.normalize(a, dim=0)", (np.zeros(3),)),
    ("F.cosine_similarity(a, b, dim=2)", (n(2, 1, 4), n(1, 3, 4))),
    ("F.pad(a, (1, 0, 2, 3), value=0.5)", (n(2, 2, 3),)),
    ('F.pad(a, (-1, 2, 1, -2), "constant", 1.0)', (n(4, 3),)),
    ('F.pad(a, (2, 1), mode="reflect")', (n(2, 3, 4),)),
    ('F.pad(a, (2, -1, -1, 2), mode="reflect")', (n(2, 3, 3, 4),)),
    ('F.pad(a, (2, 1, 1, 3), mode="replicate")', (n(2, 3, 4),)),
    ('F.pad(a, (2, 1), mode="circular")', (n(2, 3, 4),)),
    ("attend(a, b, c)", (n(2, 2, 3, 4), n(2, 2, 5, 4), n(2, 2, 5, 6))),
    ("attend(a, b, c, is_causal=True, scale=0.3)", (n(2, 2, 3, 4), n(2, 2, 3, 4), n(2, 2, 3, 4))),
    ("attend(a, b, c, None, 0.0, True)", (n(2, 2, 3, 4), n(2, 2, 5, 4), n(2, 2, 5, 4))),
    ("attend(a, b, c, is_causal=True)", (n(2, 2, 5, 4), n(2, 2, 3, 4), n(2, 2, 3, 4))),
    ("attend(a, b, c, attn_mask=d)", (n(2, 2, 3, 4), n(2, 2, 4, 4), n(2, 2, 4, 4), MASK)),
    ("attend(a, b, c, d, is_causal=True)", (n(2, 2, 3, 4), n(2, 2, 4, 4), n(2, 2, 4, 4), MASK)),
    ("attend(a, b, c, d)", (n(2, 2, 3, 4), n(2, 2, 4, 4), n(2, 2, 4, 4), n(2, 1, 3, 4))),
    ("attend(a, b, c, enable_gqa=True)", (n(2, 4, 3, 4), n(2, 2, 3, 4), n(2, 2, 3, 4))),
    ("attend(a, b, c, is_causal=True)", (n(2, 3, 4), n(2, 3, 4), n(2, 3, 4))),
    ("attend(a, b, c, d)", (n(3, 4), n(4, 4), n(4, 4), MASK)),
    ("F.conv1d(a, b, c, 2, 1)", (n(2, 3, 7), n(4, 3, 3), n(4))),
    ('F.conv1d(a, b, padding="same")', (n(3, 7), n(4, 3, 3))),
    ("F.conv2d(a, b, c, stride=(1, 2), padding=1, groups=2)", (n(2, 4, 5, 6), n(6, 2, 3, 3), n(6))),
    ("F.conv2d(a, b, dilation=2)", (n(3, 7, 7), n(4, 3, 2, 3))),
    ("F.max_pool1d(a, 3, 2, 1)", (n(2, 3, 8),)),
    ("F.max_pool2d(a, (2, 3), stride=2)", (n(2, 3, 6, 7),)),
    ("F.avg_pool1d(a, 3, padding=1, count_include_pad=False)", (n(2, 3, 8),)),
    ("F.avg_pool2d(a, 3, 2, 1)", (n(2, 3, 6, 7),)),
    ("F.adaptive_avg_pool2d(a, 1)", (n(2, 3, 6, 7),)),
    ("F.unfold(a, (2, 3), dilation=(2, 1), padding=1, stride=(1, 2))", (n(3, 6, 7),)),
    ("F.nll_loss(a, b)", (n(4, 3), IGNORED)),
    ('F.nll_loss(a, b, c.detach(), reduction="none")', (n(2, 3, 3), TIMES, p(3))),
    ("F.cross_entropy(a, b)", (n(3), i(3))),
    ("F.cross_entropy(a, b, ignore_index=1)", (n(4, 3), i(3, 4))),
    ("F.cross_entropy(a, b)", (n(2, 3, 3), TIMES)),
    ('F.cross_entropy(a, b, label_smoothing=0.1, reduction="sum")', (n(2, 3, 3), TIMES)),
    (
        'F.cross_entropy(a, b, c.detach(), label_smoothing=0.2, reduction="none")',
        (n(2, 3, 4), p(2, 3, 4), p(3)),
    ),
    ("F.smooth_l1_loss(a, b, beta=0.0)", (n(2, 3), n(2, 3))),
    ('F.binary_cross_entropy(a, b, c.detach(), reduction="sum")', (p(2, 3), p(2, 3), p(3))),
    (
        "F.binary_cross_entropy_with_logits(a, b, weight=c.detach(), pos_weight=d.detach())",
        (50 * n(2, 3), p(2, 3), p(2, 3), p(3)),
    ),
    ('F.kl_div(a, b.detach(), reduction="sum")', (n(3), np.array([0.0, 1.0, 0.0]))),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("text", "arrays"), CALLS)
def test_the_same_call_gives_the_same(text: str, arrays: tuple[Array, ...], dtype: str) -> None:
    compare(text, arrays, dtype)


def test_binary_cross_entropy_at_0_and_1() -> None:
    """Their slope there, 1e12, is that of float32."""
    ours, theirs = both(
        'F.binary_cross_entropy(a, b.detach(), reduction="none")',
        (np.array([0.0, 1.0]), np.array([1.0, 0.0])),
        "float64",
    )
    np.testing.assert_allclose(ours[:2], theirs[:2], rtol=1e-7)


@given(
    shape=st.sampled_from([(3, 4), (2, 4, 3), (2, 4, 2, 2)]),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    smoothing=st.sampled_from([0.0, 0.3]),
    weighted=st.booleans(),
    seed=st.integers(0, 99),
)
def test_cross_entropy_with_all_options(
    shape: tuple[int, ...], reduction: str, smoothing: float, weighted: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    logits, weight = rng.normal(size=shape), rng.uniform(0.1, 2, size=4)
    targets = rng.integers(0, 4, size=(shape[0], *shape[2:]))
    targets.flat[1:] = np.where(rng.random(targets.size - 1) < 0.3, 7, targets.flat[1:])  # 7: ignored
    options = f"ignore_index=7, {reduction=}, label_smoothing={smoothing}"
    text = f"F.cross_entropy(a, b, {'c.detach()' if weighted else None}, {options})"
    compare(text, (logits, targets, weight), "float64")


def test_each_function_is_compared() -> None:
    compared = set(re.findall(r"F\.(\w+)", str([*ACTIVATIONS, *[text for text, _ in CALLS], *SAME])))
    modules = {"conv_transpose1d", "conv_transpose2d", "dropout2d"}  # test_nn_text.py
    assert set(F.__all__) - compared == modules
    assert all([hasattr(T, name) for name in F.__all__])


def test_the_arguments_are_those_of_pytorch() -> None:
    """Each name stands at the position PyTorch gives it, or may only be given by name."""
    no_signature = {
        *("gelu", "one_hot", "softplus", "logsigmoid", "pad", "conv1d", "conv2d", "cosine_similarity"),
        *("avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "scaled_dot_product_attention"),
        *("max_pool1d", "max_pool2d", "linear"),
        *("conv_transpose1d", "conv_transpose2d", "threshold_"),
    }
    for name in {name for name in F.__all__ if not name.endswith("_")} - no_signature:
        theirs = list(inspect.signature(getattr(T, name)).parameters.values())
        for at, ours in enumerate(inspect.signature(getattr(F, name)).parameters.values()):
            called = {"axis": "dim", "indices": "tensor"}.get(ours.name, ours.name)
            if called in ("generator", "x"):  # ours, and what `input` is, too
                continue
            if ours.kind is ours.KEYWORD_ONLY:
                assert called in [t.name for t in theirs], (name, called)
            else:
                assert called == theirs[at].name, (name, called)
            match = next(t for t in theirs if t.name == called)
            assert ours.default == match.default, (name, called)


@pytest.mark.parametrize(
    "text",
    [
        "attend(F.pad(a, (0, 0, 0, 0, 0, 2)), a, a)",  # heads that are no groups
        'F.pad(a, (1, 1), mode="symmetric")',
        "F.pad(a, (-3, -3))",
        "F.pad(a, (1, 1, 1))",
        "F.layer_norm(a, (3,))",
        "F.group_norm(a, 3)",
        'F.l1_loss(a, a, reduction="median")',
        "F.glu(a[..., :3])",
    ],
)
def test_what_pytorch_refuses_is_refused(text: str) -> None:
    x = n(2, 2, 4, 4)
    with pytest.raises((RuntimeError, ValueError, NotImplementedError)):
        called(text, T, [torch.tensor(x)])
    with pytest.raises(tt.TinyTensorError):
        called(text, F, [tt.tensor(x)])
