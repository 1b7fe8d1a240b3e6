"""tt.nn.functional against torch.nn.functional: the same calls give equal values and gradients."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt

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


def signs(*shape: int) -> Array:
    return RNG.choice([-1.0, 1.0], size=shape)


def both(call: Callable[..., Any], arrays: tuple[Array, ...], dtype: str) -> tuple[list[Array], list[Array]]:
    """Result and gradients of a weighted sum of it, ours and theirs; floating inputs require gradients."""
    found: list[list[Array]] = []
    for lib, functions in ((tt, F), (torch, T)):
        floats = [a.dtype == np.float64 for a in arrays]
        xs = [
            lib.tensor(a.astype(dtype) if f else a, requires_grad=f)
            for a, f in zip(arrays, floats, strict=True)
        ]
        y = call(functions, *xs)
        values = [y.detach().numpy()]
        if y.requires_grad:
            weights = np.cos(np.arange(values[0].size)).reshape(values[0].shape) + 2.0
            (y * lib.tensor(weights.astype(values[0].dtype))).sum().backward()
        grads = [None if x.grad is None else x.grad.numpy() for x in xs]
        found.append(
            [*values, *[np.zeros(x.shape) if g is None else g for x, g in zip(xs, grads, strict=True)]]
        )
    return found[0], found[1]


def compare(call: Callable[..., Any], arrays: tuple[Array, ...], dtype: str, rtol: float = 1e-9) -> None:
    rtol, atol = (1e-4, 1e-5) if dtype == "float32" else (rtol, 1e-11)
    for ours, theirs in zip(*both(call, arrays, dtype), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


# ---- activations, with the numbers where their formula changes ---------------------------------------------

ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "relu": lambda F, x: F.relu(x),
    "relu6": lambda F, x: F.relu6(x),
    "leaky_relu": lambda F, x: F.leaky_relu(x),
    "leaky_relu slope": lambda F, x: F.leaky_relu(x, 0.25),
    "elu": lambda F, x: F.elu(x),
    "elu alpha": lambda F, x: F.elu(x, alpha=0.3),
    "selu": lambda F, x: F.selu(x),
    "gelu": lambda F, x: F.gelu(x),
    "gelu tanh": lambda F, x: F.gelu(x, approximate="tanh"),
    "silu": lambda F, x: F.silu(x),
    "mish": lambda F, x: F.mish(x),
    "softplus": lambda F, x: F.softplus(x),
    "softsign": lambda F, x: F.softsign(x),
    "sigmoid": lambda F, x: F.sigmoid(x),
    "tanh": lambda F, x: F.tanh(x),
    "hardtanh": lambda F, x: F.hardtanh(x, -2.0, 0.5),
    "hardswish": lambda F, x: F.hardswish(x),
    "logsigmoid": lambda F, x: F.logsigmoid(x),
}
BORDERS = np.array([-100.0, -20.5, -6, -3, -2, -1, -0.5, -0.25, 0, 0.25, 0.5, 1, 2, 3, 6, 20.5, 100])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_where_their_formula_changes(name: str, dtype: str) -> None:
    compare(ACTIVATIONS[name], (BORDERS,), dtype, 2e-9)


@given(
    name=st.sampled_from(sorted(ACTIVATIONS)),
    values=st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=6),
)
def test_activations_of_any_numbers(name: str, values: list[float]) -> None:
    compare(ACTIVATIONS[name], (np.array(values),), "float64", 2e-9)  # softplus near its threshold


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_stays_nan(name: str) -> None:
    ours, theirs = both(ACTIVATIONS[name], (np.array([np.nan, 1.0]),), "float64")
    np.testing.assert_array_equal(np.isnan(ours[0]), np.isnan(theirs[0]))


# ---- layers and losses -------------------------------------------------------------------------------------


MASK = np.array([[True, False, True, True], [True, True, False, True], [True, True, True, True]])
IGNORED = np.array([0, 2, -100, 1])
TIMES = np.array([[0, 2, -100], [1, 1, 0]])

CALLS: dict[str, tuple[Callable[..., Any], tuple[Array, ...]]] = {
    "softmax": (lambda F, x: F.softmax(x, dim=1), (n(2, 3, 4),)),
    "softmax position": (lambda F, x: F.softmax(x, -1), (n(2, 3),)),
    "log_softmax": (lambda F, x: F.log_softmax(x, dim=0), (n(2, 3),)),
    "glu": (lambda F, x: F.glu(x, 1), (n(2, 4, 3),)),
    "linear": (lambda F, x, w, b: F.linear(x, w, b), (n(2, 5, 3), n(4, 3), n(4))),
    "linear without bias": (lambda F, x, w: F.linear(x, weight=w), (n(3), n(4, 3))),
    "embedding": (lambda F, x, w: F.embedding(x, w), (i(5, 2, 3), n(5, 4))),
    "embedding padding": (lambda F, x, w: F.embedding(x, w, padding_idx=-4), (i(5, 6, 3), n(5, 4))),
    "one_hot": (lambda F, x: F.one_hot(x, 5), (i(5, 2, 3),)),
    "one_hot all": (lambda F, x: F.one_hot(x), (i(5, 2, 3),)),
    "dropout": (lambda F, x: F.dropout(x, p=0.5, training=False), (n(2, 3),)),
    "dropout of all": (lambda F, x: F.dropout(x, 1.0), (n(2, 3),)),
    "layer_norm": (lambda F, x, w, b: F.layer_norm(x, (4,), w, b), (n(2, 3, 4), n(4), n(4))),
    "layer_norm axes": (
        lambda F, x, w, b: F.layer_norm(x, [3, 4], weight=w, bias=b, eps=0.1),
        (n(2, 3, 4), n(3, 4), n(3, 4)),
    ),
    "layer_norm shape": (lambda F, x: F.layer_norm(x, x.shape[1:]), (n(2, 3, 4),)),
    "rms_norm": (lambda F, x, w: F.rms_norm(x, (4,), w), (1e-3 * n(2, 3, 4), n(4))),
    "rms_norm axes": (lambda F, x: F.rms_norm(x, (3, 4), eps=0.1), (n(2, 3, 4),)),
    "group_norm": (lambda F, x, w, b: F.group_norm(x, 2, w, b), (n(2, 4, 3, 5), n(4), n(4))),
    "group_norm plain": (lambda F, x: F.group_norm(x, 2), (n(2, 4),)),
    "normalize": (lambda F, x: F.normalize(x), (n(2, 3, 4),)),
    "normalize 1": (lambda F, x: F.normalize(x, p=1.0, dim=-1), (n(2, 3, 4),)),
    "normalize zeros": (lambda F, x: F.normalize(x, dim=0), (np.zeros(3),)),
    "cosine_similarity": (lambda F, x, y: F.cosine_similarity(x, y, dim=-1), (n(2, 3), n(2, 3))),
    "cosine_similarity of all": (
        lambda F, x, y: F.cosine_similarity(x, y, dim=2),
        (n(2, 1, 4), n(1, 3, 4)),
    ),
    "pad": (lambda F, x: F.pad(x, (1, 2)), (n(2, 3),)),
    "pad two axes": (lambda F, x: F.pad(x, (1, 0, 2, 3), value=0.5), (n(2, 2, 3),)),
    "pad and crop": (lambda F, x: F.pad(x, (-1, 2, 1, -2), "constant", 1.0), (n(4, 3),)),
    "pad reflect": (lambda F, x: F.pad(x, (2, 1), mode="reflect"), (n(2, 3, 4),)),
    "pad reflect and crop": (lambda F, x: F.pad(x, (2, -1, -1, 2), mode="reflect"), (n(2, 3, 3, 4),)),
    "pad replicate": (lambda F, x: F.pad(x, (2, 1, 1, 3), mode="replicate"), (n(2, 3, 4),)),
    "pad circular": (lambda F, x: F.pad(x, (2, 1), mode="circular"), (n(2, 3, 4),)),
    "attention": (
        lambda F, q, k, v: F.scaled_dot_product_attention(q, k, v),
        (n(2, 2, 3, 4), n(2, 2, 5, 4), n(2, 2, 5, 6)),
    ),
    "attention causal": (
        lambda F, q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3),
        (n(2, 2, 3, 4), n(2, 2, 3, 4), n(2, 2, 3, 4)),
    ),
    "attention causal, more keys": (
        lambda F, q, k, v: F.scaled_dot_product_attention(q, k, v, None, 0.0, True),
        (n(2, 2, 3, 4), n(2, 2, 5, 4), n(2, 2, 5, 4)),
    ),
    "attention causal, more queries": (
        lambda F, q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        (n(2, 2, 5, 4), n(2, 2, 3, 4), n(2, 2, 3, 4)),
    ),
    "attention mask": (
        lambda F, q, k, v, m: F.scaled_dot_product_attention(q, k, v, attn_mask=m),
        (n(2, 2, 3, 4), n(2, 2, 4, 4), n(2, 2, 4, 4), MASK),
    ),
    "attention causal and mask": (
        lambda F, q, k, v, m: F.scaled_dot_product_attention(q, k, v, m, is_causal=True),
        (n(2, 2, 3, 4), n(2, 2, 4, 4), n(2, 2, 4, 4), MASK),
    ),
    "attention bias": (
        lambda F, q, k, v, m: F.scaled_dot_product_attention(q, k, v, m),
        (n(2, 2, 3, 4), n(2, 2, 4, 4), n(2, 2, 4, 4), n(2, 1, 3, 4)),
    ),
    "attention of groups": (
        lambda F, q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True),
        (n(2, 4, 3, 4), n(2, 2, 3, 4), n(2, 2, 3, 4)),
    ),
    "attention of three axes": (
        lambda F, q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        (n(2, 3, 4), n(2, 3, 4), n(2, 3, 4)),
    ),
    "attention of matrices": (
        lambda F, q, k, v, m: F.scaled_dot_product_attention(q, k, v, m),
        (n(3, 4), n(4, 4), n(4, 4), MASK),
    ),
    "conv1d": (lambda F, x, w, b: F.conv1d(x, w, b, 2, 1), (n(2, 3, 7), n(4, 3, 3), n(4))),
    "conv1d alone": (lambda F, x, w: F.conv1d(x, w, padding="same"), (n(3, 7), n(4, 3, 3))),
    "conv2d": (
        lambda F, x, w, b: F.conv2d(x, w, b, stride=(1, 2), padding=1, groups=2),
        (n(2, 4, 5, 6), n(6, 2, 3, 3), n(6)),
    ),
    "conv2d alone": (lambda F, x, w: F.conv2d(x, w, dilation=2), (n(3, 7, 7), n(4, 3, 2, 3))),
    "max_pool1d": (lambda F, x: F.max_pool1d(x, 3, 2, 1), (n(2, 3, 8),)),
    "max_pool2d": (lambda F, x: F.max_pool2d(x, (2, 3), stride=2), (n(2, 3, 6, 7),)),
    "avg_pool1d": (lambda F, x: F.avg_pool1d(x, 3, padding=1, count_include_pad=False), (n(2, 3, 8),)),
    "avg_pool2d": (lambda F, x: F.avg_pool2d(x, 3, 2, 1), (n(2, 3, 6, 7),)),
    "avg_pool2d own": (
        lambda F, x: F.avg_pool2d(x, 2, padding=1, count_include_pad=False),
        (n(2, 3, 6, 7),),
    ),
    "adaptive_avg_pool1d": (lambda F, x: F.adaptive_avg_pool1d(x, 4), (n(2, 3, 8),)),
    "adaptive_avg_pool2d": (lambda F, x: F.adaptive_avg_pool2d(x, (1, None)), (n(2, 3, 6, 7),)),
    "adaptive_avg_pool2d 1": (lambda F, x: F.adaptive_avg_pool2d(x, 1), (n(2, 3, 6, 7),)),
    "batch_norm": (
        lambda F, x, m, v: F.batch_norm(x, m.detach(), v.detach(), momentum=0.2, training=True),
        (n(4, 3, 2), n(3), p(3)),
    ),
    "unfold": (lambda F, x: F.unfold(x, 3), (n(2, 3, 6, 7),)),
    "unfold options": (
        lambda F, x: F.unfold(x, (2, 3), dilation=(2, 1), padding=1, stride=(1, 2)),
        (n(3, 6, 7),),
    ),
    "nll_loss": (lambda F, x, t: F.nll_loss(x, t), (n(4, 3), IGNORED)),
    "nll_loss weight": (
        lambda F, x, t, w: F.nll_loss(x, t, w.detach(), reduction="none"),
        (n(2, 3, 3), TIMES, p(3)),
    ),
    "cross_entropy": (lambda F, x, t: F.cross_entropy(x, t), (n(4, 3), i(3, 4))),
    "cross_entropy of one": (lambda F, x, t: F.cross_entropy(x, t), (n(3), i(3))),
    "cross_entropy ignored": (lambda F, x, t: F.cross_entropy(x, t, ignore_index=1), (n(4, 3), i(3, 4))),
    "cross_entropy on axis 1": (lambda F, x, t: F.cross_entropy(x, t), (n(2, 3, 3), TIMES)),
    "cross_entropy smoothed": (
        lambda F, x, t: F.cross_entropy(x, t, label_smoothing=0.1, reduction="sum"),
        (n(2, 3, 3), TIMES),
    ),
    "cross_entropy of shares": (lambda F, x, t: F.cross_entropy(x, t), (n(4, 3), p(4, 3))),
    "cross_entropy of weighted shares": (
        lambda F, x, t, w: F.cross_entropy(x, t, w.detach(), label_smoothing=0.2, reduction="none"),
        (n(2, 3, 4), p(2, 3, 4), p(3)),
    ),
    "mse_loss": (lambda F, x, y: F.mse_loss(x, y), (n(2, 3), n(2, 3))),
    "l1_loss": (lambda F, x, y: F.l1_loss(x, y, reduction="sum"), (n(2, 3), n(2, 3))),
    "smooth_l1_loss": (lambda F, x, y: F.smooth_l1_loss(x, y, beta=0.5), (n(2, 3), n(2, 3))),
    "smooth_l1_loss 0": (lambda F, x, y: F.smooth_l1_loss(x, y, beta=0.0), (n(2, 3), n(2, 3))),
    "huber_loss": (lambda F, x, y: F.huber_loss(x, y, "mean", 0.5), (n(2, 3), n(2, 3))),
    "binary_cross_entropy": (lambda F, x, y: F.binary_cross_entropy(x, y), (p(2, 3), p(2, 3))),
    "binary_cross_entropy weight": (
        lambda F, x, y, w: F.binary_cross_entropy(x, y, w.detach(), reduction="sum"),
        (p(2, 3), p(2, 3), p(3)),
    ),
    "with_logits": (lambda F, x, y: F.binary_cross_entropy_with_logits(x, y), (n(2, 3), p(2, 3))),
    "with_logits weights": (
        lambda F, x, y, w, q: F.binary_cross_entropy_with_logits(
            x, y, weight=w.detach(), pos_weight=q.detach()
        ),
        (50 * n(2, 3), p(2, 3), p(2, 3), p(3)),
    ),
    "kl_div": (lambda F, x, y: F.kl_div(x, y, reduction="batchmean"), (n(2, 3), p(2, 3))),
    "kl_div zeros": (
        lambda F, x, y: F.kl_div(x, y.detach(), reduction="sum"),
        (n(3), np.array([0.0, 1.0, 0.0])),
    ),
    "kl_div log": (lambda F, x, y: F.kl_div(x, y, reduction="sum", log_target=True), (n(2, 3), n(2, 3))),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CALLS)
def test_the_same_call_gives_the_same(name: str, dtype: str) -> None:
    call, arrays = CALLS[name]
    compare(call, arrays, dtype)


def test_binary_cross_entropy_at_0_and_1() -> None:
    """Their slope there, 1e12, is that of float32."""
    ours, theirs = both(
        lambda F, x, y: F.binary_cross_entropy(x, y.detach(), reduction="none"),
        (np.array([0.0, 1.0]), np.array([1.0, 0.0])),
        "float64",
    )
    np.testing.assert_allclose(ours[:2], theirs[:2], rtol=1e-7)


CROSS = st.sampled_from(["mean", "sum", "none"])


@given(
    shape=st.sampled_from([(3, 4), (2, 4, 3), (2, 4, 2, 2)]),
    reduction=CROSS,
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
    options = {"ignore_index": 7, "reduction": reduction, "label_smoothing": smoothing}

    def call(F: Any, x: Any, t: Any, w: Any) -> Any:
        return F.cross_entropy(x, t, w.detach() if weighted else None, **options)

    compare(call, (logits, targets, weight), "float64")


def test_each_function_is_compared() -> None:
    compared = {name.split()[0] for name in (*ACTIVATIONS, *CALLS)}
    renamed = {"scaled_dot_product_attention", "binary_cross_entropy_with_logits"}
    modules = {"conv_transpose1d", "conv_transpose2d"}
    modules |= {"dropout2d"}  # test_nn_text.py
    assert set(F.__all__) - compared == renamed | modules
    assert all([hasattr(T, name) for name in F.__all__])


def test_the_arguments_are_those_of_pytorch() -> None:
    """Each name stands at the position PyTorch gives it, or may only be given by name."""
    builtin = {
        "gelu",
        "one_hot",
        "softplus",
        "logsigmoid",
        "pad",
        "conv1d",
        "conv2d",
    }
    builtin |= {"cosine_similarity", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d"}
    builtin |= {
        "scaled_dot_product_attention",
        "max_pool1d",
        "max_pool2d",
        "linear",
        "conv_transpose1d",
        "conv_transpose2d",
        "threshold_",
    }  # no signature to read
    for name in {name for name in F.__all__ if not name.endswith("_")} - builtin:
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


REFUSED: dict[str, Callable[..., Any]] = {
    "heads in groups": lambda F, x: F.scaled_dot_product_attention(F.pad(x, (0, 0, 0, 0, 0, 2)), x, x),
    "pad mode": lambda F, x: F.pad(x, (1, 1), mode="symmetric"),
    "pad more than is there": lambda F, x: F.pad(x, (-3, -3)),
    "three widths": lambda F, x: F.pad(x, (1, 1, 1)),
    "other normalized_shape": lambda F, x: F.layer_norm(x, (3,)),
    "groups": lambda F, x: F.group_norm(x, 3),
    "reduction": lambda F, x: F.l1_loss(x, x, reduction="median"),
    "half of an odd axis": lambda F, x: F.glu(x[..., :3]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_pytorch_refuses_is_refused(name: str) -> None:
    x = n(2, 2, 4, 4)
    with pytest.raises((RuntimeError, ValueError, NotImplementedError)):
        REFUSED[name](T, torch.tensor(x))
    with pytest.raises(tt.TinyTensorError):
        REFUSED[name](F, tt.tensor(x))
