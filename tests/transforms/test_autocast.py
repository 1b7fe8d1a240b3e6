"""autocast: which ops run in which dtype, what reaches the parameters; GradScaler."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers import op_functions as ops
from tests.helpers.on_emulated import launches
from tests.helpers.threads import in_threads
from tinytensor.op import registry
from tinytensor.op_table.row import rounded
from tinytensor.optim import SGD, GradScaler
from tinytensor.transforms.autocast import _groups

# PyTorch's lists for CUDA ("Automatic Mixed Precision package", op reference), in its names.
PYTORCH = {
    "narrow": """matmul addbmm addmm addmv addr baddbmm bmm chain_matmul multi_dot conv1d conv2d conv3d
        conv_transpose1d conv_transpose2d conv_transpose3d GRUCell linear LSTMCell mm mv prelu RNNCell
        scaled_dot_product_attention""",
    "wide": """pow rdiv rpow acos asin binary_cross_entropy_with_logits cosh cosine_embedding_loss cdist
        cosine_similarity cross_entropy cumprod cumsum dist erfinv exp expm1 group_norm hinge_embedding_loss
        kl_div l1_loss layer_norm log log10 log_softmax log1p log2 margin_ranking_loss mse_loss
        multilabel_margin_loss multi_margin_loss nll_loss norm normalize pdist poisson_nll_loss prod
        reciprocal rsqrt sinh smooth_l1_loss soft_margin_loss softmax softmin softplus sum renorm tan
        triplet_margin_loss""",
}
OURS = {
    "scaled_dot_product_attention": "attention",
    "cumprod": "cumulative_prod",
    "cumsum": "cumulative_sum",
    "norm": "vector_norm",
}
# Not on the lists: other forms of what is on them.
LIKE_THEM = {"narrow": {"causal_self_attention", "linear_gelu"}, "wide": {"logsumexp", "mean", "rms_norm"}}
BY_THEMSELVES = {"cross_entropy"}  # wide, but the op reads 16-bit inputs as they are


def drawn(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("precision", ["narrow", "wide"])
def test_ops_are_cast_as_in_pytorch(precision: str) -> None:
    named = {OURS.get(name, name) for name in PYTORCH[precision].split()}
    expected = (named & registry.keys() - BY_THEMSELVES) | LIKE_THEM[precision]
    found = {name for name, op in registry.items() if op.autocast == precision}
    report = [
        f"{registry[name].__module__.replace('.', '/')}.py: `autocast` of {registry[name].__name__} is "
        f"{registry[name].autocast}: PyTorch has it {'' if name in expected else 'not '}among the {precision}"
        for name in sorted(found ^ expected)
    ]
    assert not report, "\n" + "\n".join(report)
    assert {op.autocast for op in registry.values()} == {"narrow", "wide", None}


@pytest.mark.parametrize("dtype", [tt.bfloat16, tt.float16], ids=str)
@pytest.mark.parametrize(
    "call",
    [
        lambda x: x @ x.mT,
        lambda x: tt.linear(x, x.mT, transposed=False),
        lambda x: tt.linear_gelu(x, x.mT),
        lambda x: tt.einsum("ij,kj->ik", x, x),
        lambda x: ops.scaled_dot_product_attention(*[x.reshape(1, 1, 4, 6)] * 3),
        lambda x: tt.causal_self_attention(x.reshape(1, 4, 6), 2),
        lambda x: tt.causal_self_attention(x.reshape(1, 4, 6), 2, dropout=0.5),
        lambda x: ops.conv1d(x.reshape(1, 4, 6), tt.ones(3, 4, 2)),
    ],
)
def test_products_are_narrow(call: Callable[[tt.Tensor], tt.Tensor], dtype: tt.DType) -> None:
    x = tt.tensor(drawn(4, 6))
    assert call(x).dtype is tt.float32
    with tt.autocast(dtype):
        assert call(x).dtype is dtype
        assert call(x.astype(tt.float64)).dtype is tt.float64


@pytest.mark.parametrize(
    "call",
    [
        tt.softmax, tt.log_softmax, tt.logsumexp, tt.sum, tt.mean, tt.prod, tt.norm, tt.exp, tt.expm1,
        lambda x: tt.log(abs(x)), lambda x: x**3, tt.softplus, tt.tan, tt.sinh, tt.cosh, tt.rsqrt,
        lambda x: tt.cumulative_sum(x, axis=0), lambda x: ops.layer_norm(x, tt.ones(6)),
        lambda x: ops.rms_norm(x, tt.ones(6)), lambda x: ops.cross_entropy(x, tt.zeros(4, dtype=tt.int64)),
        lambda x: ops.nll_loss(x, tt.zeros(4, dtype=tt.int64)), lambda x: ops.mse_loss(x, x * 2.0),
        lambda x: ops.bce_with_logits(x, tt.relu(x)),
    ],
)  # fmt: skip
def test_sums_and_losses_are_wide(call: Callable[[tt.Tensor], tt.Tensor]) -> None:
    x = tt.tensor(drawn(4, 6)).astype(tt.bfloat16)
    with tt.autocast(tt.bfloat16):
        y = call(x)
    assert y.dtype is tt.float32
    np.testing.assert_array_equal(y.numpy(), call(x.astype(tt.float32)).numpy())


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_reads_narrow_logits(device: str, reduction: str) -> None:
    """The loss is float32, the gradient has the dtype of the logits, and neither is rounded before."""
    narrow = tt.tensor(drawn(4, 6)).astype(tt.bfloat16).to(device).detach().requires_grad_(True)
    wide = narrow.detach().astype(tt.float32).requires_grad_(True)
    targets = tt.tensor([3, 0, 5, 5], device=device)
    with tt.autocast(tt.bfloat16):
        loss = ops.cross_entropy(narrow, targets, reduction=reduction, label_smoothing=0.1)
    expected = ops.cross_entropy(wide, targets, reduction=reduction, label_smoothing=0.1)
    assert loss.dtype is tt.float32
    np.testing.assert_allclose(loss.cpu().detach().numpy(), expected.cpu().detach().numpy(), rtol=1e-6)
    for each in (loss, expected):
        (each * 3.0).sum().backward()
    assert narrow.grad.dtype is tt.bfloat16
    np.testing.assert_allclose(narrow.grad.cpu().tolist(), wide.grad.cpu().tolist(), rtol=2**-8)
    assert ops.cross_entropy(narrow, targets).dtype is tt.bfloat16  # outside, as before


@pytest.mark.parametrize("call", [tt.relu, tt.tanh, lambda x: x + x, lambda x: x.T, tt.gelu])
def test_others_keep_their_dtype(call: Callable[[tt.Tensor], tt.Tensor]) -> None:
    with tt.autocast(tt.bfloat16):
        assert call(tt.ones(2, 3)).dtype is tt.float32
        assert call(tt.ones(2, 3, dtype=tt.bfloat16)).dtype is tt.bfloat16
        assert (tt.ones(2, dtype=tt.bfloat16) + tt.ones(2)).dtype is tt.float32


def test_values_and_gradients_are_those_of_rounded_factors() -> None:
    x, w, b = (tt.tensor(drawn(*s, seed=i), requires_grad=True) for i, s in enumerate([(5, 7), (7, 3), (3,)]))
    with tt.autocast(tt.bfloat16):
        y = tt.linear(x, w, b, transposed=False)
        loss = (y * tt.tensor(drawn(5, 3, seed=9))).sum()
    loss.backward()
    exact = [rounded(tt.tensor(t.detach().numpy()).astype(tt.bfloat16).astype(tt.float64).numpy(), "bfloat16")
             for t in (x, w, b)]  # fmt: skip
    np.testing.assert_allclose(
        y.astype(tt.float64).detach().numpy(), exact[0] @ exact[1] + exact[2], rtol=2**-8, atol=2**-8
    )
    assert {t.grad.dtype for t in (x, w, b) if t.grad is not None} == {tt.float32}
    g = drawn(5, 3, seed=9).astype(np.float64)
    for t, expected in ((x, g @ exact[1].T), (w, exact[0].T @ g), (b, g.sum(0))):
        np.testing.assert_allclose(t.grad.numpy(), expected, rtol=0.02, atol=0.03)


def test_a_parameter_is_rounded_once() -> None:
    w = tt.tensor(drawn(3, 3), requires_grad=True)
    with tt.autocast(tt.bfloat16):
        with tt.no_grad():
            assert not (w @ w).requires_grad
        x = tt.linear(tt.linear(tt.ones(1, 3), w, transposed=False), w, transposed=False)
        first, second = _casts(x)
        assert first is second
        with tt.no_grad():
            w.copy_(tt.zeros(3, 3))
        assert tt.linear(tt.ones(1, 3), w, transposed=False).tolist() == [[0.0, 0.0, 0.0]]
    with tt.autocast(tt.bfloat16, cache=False):
        x = tt.linear(tt.linear(tt.ones(1, 3), w, transposed=False), w, transposed=False)
        first, second = _casts(x)
        assert first is not second


def _casts(x: tt.Tensor) -> list[Any]:
    """The nodes that rounded the two weights behind x."""
    last = x._edge
    before = last.parents[0]
    return [last.parents[1], before.parents[1]]


def test_gradients_of_parameters_are_not_rounded_on_devices() -> None:
    """Products of 16-bit numbers are exact in float32, so the sums have its errors alone."""
    x, g = [rounded(drawn(*s, seed=i), "bfloat16") for i, s in enumerate([(50, 7), (50, 3)])]
    for layer in (lambda *xs: tt.linear(*xs, transposed=False), lambda x, w, b: tt.linear(x, w.mT, b)):
        w, b = tt.tensor(drawn(7, 3), device="emulated"), tt.tensor(drawn(3), device="emulated")
        w.requires_grad_(True), b.requires_grad_(True)
        with tt.autocast(tt.bfloat16):
            y = layer(tt.tensor(x.astype(np.float32), device="emulated"), w, b)
        y.backward(tt.tensor(g.astype(np.float32), device="emulated").astype(tt.bfloat16))
        np.testing.assert_allclose(w.grad.cpu().numpy(), x.T @ g, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(b.grad.cpu().numpy(), g.sum(0), rtol=1e-5, atol=1e-5)


def test_a_narrow_bias_gets_a_narrow_gradient() -> None:
    w = tt.ones(4, 2, device="emulated", requires_grad=True)
    b = tt.zeros(2, dtype=tt.bfloat16, device="emulated", requires_grad=True)
    with tt.autocast(tt.bfloat16):
        tt.linear(tt.ones(3, 4, device="emulated"), w, b, transposed=False).sum().backward()
    assert (w.grad.dtype, b.grad.dtype) == (tt.float32, tt.bfloat16)
    assert (w.grad.tolist(), b.grad.tolist()) == ([[3.0, 3.0]] * 4, [3.0, 3.0])


def test_a_parameter_of_several_products_gets_the_sum() -> None:
    """Some of its gradients are float32, some are not."""
    w = tt.tensor(drawn(3, 3), device="emulated", requires_grad=True)
    x = tt.tensor(drawn(4, 3, seed=1), device="emulated")
    found = []
    for enabled in (False, True):
        w.grad = None
        with tt.autocast(tt.bfloat16, enabled=enabled):
            y = tt.linear(x @ w, w, transposed=False) @ w + tt.linear(x, w.mT, transposed=True)
        y.astype(tt.float32).sum().backward()
        assert w.grad.dtype is tt.float32
        found.append(w.grad.cpu().numpy())
    np.testing.assert_allclose(found[1], found[0], rtol=0.05, atol=0.15)


def _products(weights: list[tt.Tensor]) -> tt.Tensor:
    """The rounded product of weights on a device."""
    with tt.autocast(tt.bfloat16):
        y = tt.ones(1, 2, device="emulated")
        for w in weights:
            y = tt.linear(y, w, transposed=False)
    return y


def test_parameters_are_rounded_together_on_devices() -> None:
    first, second = (
        [tt.full((2, 2), 1.0 + i, device="emulated").requires_grad_(True) for i in range(4)] for _ in range(2)
    )
    counts = []
    for _ in range(2):
        counts.append(launches(lambda: _products(first)))
        _products(second)
    assert counts == [10, 7]  # ones, their cast, 4 products, and 4 casts or 1
    with tt.no_grad():
        first[2].copy_(first[2] * 0.5)
    assert _products(first).tolist() == [[12.0 * 16] * 2]
    first[3].requires_grad_(False)  # so it is not kept
    assert launches(lambda: _products(first)) == 8
    del first[0]
    gc.collect()
    assert _products(first).tolist() == [[12.0 * 8] * 2]
    first.insert(1, second[0])
    assert _products(first).tolist() == [[12.0 * 16] * 2]


def test_a_captured_block_rounds_again() -> None:
    weights = [tt.full((2, 2), 1.0 + i, device="emulated").requires_grad_(True) for i in range(3)]
    graph = tt.capture(lambda: _products(weights), device="emulated")
    for factor in (1.0, 2.0):
        with tt.no_grad():
            weights[1].copy_(weights[1] * factor)
        y: Any = graph.replay()
        assert y.tolist() == [[6.0 * 8 * factor] * 2]


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_a_replay_that_writes_a_parameter_ends_its_rounded_copy(device: str) -> None:
    w = tt.ones(2, 2, device=device, requires_grad=True)

    def double() -> tt.Tensor:
        with tt.no_grad():
            return w.mul_(2.0).sum()

    graph = tt.capture(double, device=device, warmup=1)
    with tt.autocast(tt.bfloat16):
        for value in (2.0, 4.0, 8.0):
            assert (w @ w).tolist() == [[2 * value**2] * 2] * 2
            graph.replay()


def test_leaves_that_died_are_not_remembered() -> None:
    first = tt.ones(2, 2, device="emulated", requires_grad=True)
    for _ in range(9):
        _products([first, tt.ones(2, 2, device="emulated", requires_grad=True)])
        gc.collect()
    assert len(_groups[id(first)]) <= 2


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_vmap_of_grad_rounds_the_parameter_of_each_sample(device: str) -> None:
    w, x = tt.tensor(drawn(3, 4, 4)).to(device), tt.tensor(drawn(3, 2, 4, seed=1)).to(device)

    def loss(w: tt.Tensor, x: tt.Tensor) -> tt.Tensor:
        with tt.autocast(tt.bfloat16):
            return (x @ w).sum()

    for _ in range(2):
        wanted = [tt.func.grad(loss)(w[i], x[i]).tolist() for i in range(3)]
        assert tt.func.vmap(tt.func.grad(loss))(w, x).tolist() == wanted


def test_a_graph_keeps_what_it_rounds_together_with_its_parameters() -> None:
    weights = [tt.ones(2, 2, device="emulated", requires_grad=True) for _ in range(2)]
    _products(weights)
    graph = tt.capture(lambda: _products(weights[:1]), device="emulated", warmup=0)
    last = weakref.ref(weights.pop())
    gc.collect()
    y: Any = graph.replay()
    assert y.tolist() == [[2.0] * 2]
    assert last() is not None
    del graph
    gc.collect()
    assert last() is None


def test_nested_switched_off_decorated_and_in_threads() -> None:
    x = tt.ones(2, 2)
    with tt.autocast(tt.float16):
        with tt.autocast(enabled=False):
            assert not tt.is_autocast_enabled()
            assert (x @ x).dtype is tt.float32
        with tt.autocast(tt.bfloat16):
            assert (x @ x).dtype is tt.bfloat16
        assert (x @ x).dtype is tt.float16
        assert in_threads(lambda _: (x @ x).dtype) == [tt.float32]
    assert tt.autocast(tt.float16)(lambda: (x @ x).dtype)() is tt.float16
    assert not tt.is_autocast_enabled()
    with pytest.raises(tt.DTypeError, match="16-bit floats"):
        tt.autocast(tt.float64)


def test_a_device_type_casts_ops_on_such_devices_alone() -> None:
    x = tt.ones(2, 2)
    y = x.to("emulated")
    with tt.autocast("cpu", tt.float16):
        assert ((x @ x).dtype, (y @ y).dtype) == (tt.float16, tt.float32)
    with tt.autocast(device_type="emulated", dtype=tt.bfloat16):
        assert ((x @ x).dtype, (y @ y).dtype) == (tt.float32, tt.bfloat16)
    assert tt.autocast("emulated")(lambda: ((x @ x).dtype, (y @ y).dtype))() == (tt.float32, tt.bfloat16)
    assert (tt.autocast("cuda").dtype, tt.autocast("cuda:1").device_type) == (tt.float16, "cuda")
    with pytest.raises(tt.DeviceError, match="there is no device 'gpu'"):
        tt.autocast("gpu")


def test_backward_inside_changes_nothing() -> None:
    w = tt.tensor(drawn(3, 3), requires_grad=True)
    loss = (w @ w).sum()
    loss.backward(retain_graph=True)
    outside = w.grad.numpy().copy()
    w.grad = None
    with tt.autocast(tt.bfloat16):
        loss.backward()
    np.testing.assert_array_equal(w.grad.numpy(), outside)


@pytest.mark.parametrize("device", ["cpu", "emulated"])
def test_a_checkpoint_runs_again_in_the_same_precision(device: str) -> None:
    found = []
    for how in (lambda f, x: f(x), tt.checkpoint):
        begin, first, second = [tt.nn.Linear(6, 6, generator=tt.Generator(i)).to(device) for i in range(3)]
        x = tt.tensor(drawn(4, 6)).to(device)
        for _ in range(3):  # from the second one on, a device rounds all parameters in one launch
            with tt.autocast(tt.bfloat16):
                y = how(lambda z, f=first, g=second: tt.tanh(f(g(f(z)))), begin(x))
            (y * y).sum().backward()
        parameters = [p for layer in (begin, first, second) for p in layer.parameters()]
        found.append([p.grad.tolist() for p in parameters if p.grad is not None])
    assert found[0] == found[1]


# ---- GradScaler --------------------------------------------------------------------------------------------


def test_small_gradients_survive_float16() -> None:
    x = tt.full((1, 4), 1e-5)
    for scaler, wanted in ((GradScaler(enabled=False), 0.0), (GradScaler(), 1e-9)):
        w = tt.zeros(4, 2, requires_grad=True)
        with tt.autocast(tt.float16):
            y = x @ w
        scaler.scale(y.astype(tt.float32).sum() * 1e-4).backward()
        scaler.unscale_(SGD([w], lr=1.0)) if scaler.enabled else None
        np.testing.assert_allclose(w.grad.numpy(), wanted, rtol=0.05)


def test_an_overflow_skips_the_step_and_lowers_the_factor() -> None:
    w = tt.ones(2, requires_grad=True)
    optimizer, scaler = SGD([w], lr=1.0), GradScaler(8.0, growth_interval=2)
    for bad in (float("inf"), float("nan")):
        scaler.scale((w * bad).sum()).backward()
        assert not scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    assert w.tolist() == [1.0, 1.0]
    assert scaler.get_scale() == 2.0
    for wanted in (2.0, 4.0, 4.0, 8.0):
        scaler.scale(w.sum()).backward()
        assert scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        assert scaler.get_scale() == wanted
    assert w.tolist() == [-3.0, -3.0]


def test_the_factor_is_saved() -> None:
    w = tt.ones(2, requires_grad=True)
    a, b = GradScaler(4.0, growth_interval=3), GradScaler(growth_interval=3)
    a.scale(w.sum()).backward()
    a.step(SGD([w], lr=1.0))
    a.update()
    b.load_state_dict(a.state_dict())
    assert b.state_dict() == {"scale": 4.0, "good_steps": 1}


def test_wrong_use_of_the_scaler() -> None:
    w = tt.ones(2, requires_grad=True)
    optimizer, scaler = SGD([w], lr=1.0), GradScaler()
    with pytest.raises(tt.GradError, match="no gradients were checked"):
        scaler.update()
    scaler.scale(w.sum()).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(tt.GradError, match="unscaled already"):
        scaler.unscale_(optimizer)
    with pytest.raises(tt.ArgumentError, match=r"growth_factor=0\.5"):
        GradScaler(growth_factor=0.5)


def test_attention_takes_operands_of_both_precisions() -> None:
    q = tt.randn(1, 2, 3, 4)
    with tt.autocast(tt.bfloat16):
        y = ops.scaled_dot_product_attention(q, q.astype(tt.bfloat16), q)
        same = ops.scaled_dot_product_attention(q, q, q)
    assert y.dtype is tt.bfloat16
    assert y.tolist() == same.tolist()
    with pytest.raises(tt.DTypeError, match="have dtypes"):
        ops.scaled_dot_product_attention(q, q.astype(tt.bfloat16), q)
