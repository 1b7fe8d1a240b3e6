"""Layers against plain NumPy, and the statistics of their initial values."""

import inspect
import math
from functools import partial

import numpy as np
import pytest

import tinytensor as tt
from tests.core.test_errors import check_wrong_call
from tinytensor import nn

F = nn.functional

# ---- initial values ----------------------------------------------------------------------------------------


def moments(tensor):
    a = tensor.detach().numpy().astype(np.float64)
    return a.mean(), a.std(), a.min(), a.max()


N = 400  # a matrix of N x N/2: the deviation of its numbers is known to about 0.25 %


def weight(dtype=tt.float32):
    return tt.empty(N, N // 2, dtype=dtype)


@pytest.mark.parametrize(
    ("fill", "std"),
    [
        (lambda w, g: nn.init.normal_(w, std=0.02, generator=g), 0.02),
        (lambda w, g: nn.init.uniform_(w, -0.3, 0.3, generator=g), 0.3 / 3**0.5),
        (lambda w, g: nn.init.kaiming_normal_(w, generator=g), (2 / N) ** 0.5),
        (lambda w, g: nn.init.kaiming_normal_(w, mode="fan_out", generator=g), (2 / (N / 2)) ** 0.5),
        (lambda w, g: nn.init.kaiming_uniform_(w, 1.0, generator=g), (1 / N) ** 0.5),
        (lambda w, g: nn.init.xavier_normal_(w, gain=2.0, generator=g), 2 * (2 / (1.5 * N)) ** 0.5),
        (lambda w, g: nn.init.xavier_uniform_(w, generator=g), (2 / (1.5 * N)) ** 0.5),
        # a normal distribution cut at two deviations has 0.8796 of its deviation
        (lambda w, g: nn.init.trunc_normal_(w, std=0.5, a=-1, b=1, generator=g), 0.5 * 0.8796),
    ],
)
@pytest.mark.parametrize("dtype", [tt.float32, tt.float64, tt.bfloat16])
def test_initial_values_have_the_deviation_of_their_formula(fill, std, dtype):
    w = weight(dtype)
    assert fill(w, tt.Generator(3)) is w
    mean, got, _, _ = moments(w.astype(tt.float64))
    assert abs(mean) < 4 * std / (N * N / 2) ** 0.5 + (std / 256 if dtype is tt.bfloat16 else 0)
    assert got == pytest.approx(std, rel=0.01)


def test_initial_values_stay_inside_their_bounds():
    bound = (6 / N) ** 0.5
    w = nn.init.kaiming_uniform_(weight())
    assert -bound <= moments(w)[2] < -0.99 * bound
    assert 0.99 * bound < moments(w)[3] <= bound
    w = nn.init.trunc_normal_(weight(), mean=1.0, std=1.0, a=1.0, b=1.5)
    assert moments(w)[2] >= 1.0
    assert moments(w)[3] <= 1.5


def test_initial_values_write_in_place_outside_the_graph():
    p = nn.Parameter(tt.zeros(3, 3))
    version = p.version
    nn.init.ones_(p)
    assert p.is_leaf
    assert p.version > version
    assert p.tolist() == [[1.0] * 3] * 3
    view = tt.zeros(4, 4)
    nn.init.ones_(view[1:3, 1:3])
    assert view.sum().item() == 4.0


def test_a_generator_repeats_initial_values():
    a, b, c = [nn.Linear(5, 4, generator=tt.Generator(seed)) for seed in (1, 1, 2)]
    assert a.weight.tolist() == b.weight.tolist() != c.weight.tolist()
    state = tt.default_generator.get_state()
    nn.Linear(5, 4, generator=tt.Generator(1))
    assert tt.default_generator.get_state() == state


def test_skipped_fills_nothing_and_draws_nothing():
    fills = [nn.init.ones_, nn.init.uniform_, nn.init.normal_, nn.init.trunc_normal_, nn.init.xavier_normal_]
    state = tt.default_generator.get_state()
    with nn.init.skipped():
        for fill in fills:
            assert (fill(tt.full((3, 3), 7.0)) == 7.0).all()
    assert tt.default_generator.get_state() == state
    assert (nn.init.ones_(tt.zeros(2)) == 1.0).all()


def test_fans_of_matrices_and_windows():
    assert nn.init.fans((6, 8)) == (6, 8)
    assert nn.init.fans((6, 8), layout="out, in") == (8, 6)
    assert nn.init.fans((8, 6, 3)) == nn.init.fans((8, 6, 3), layout="out, in") == (18, 24)
    with pytest.raises(tt.ArgumentError, match="fans: layout 'io'"):
        nn.init.fans((6, 8), layout="io")  # type: ignore[arg-type]
    with pytest.raises(tt.ShapeError, match="kaiming_normal_: shape"):
        nn.init.kaiming_normal_(tt.zeros(3))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: nn.init.kaiming_normal_(tt.zeros(2, 2), mode="in"), "mode 'in'"),
        (lambda: nn.init.trunc_normal_(tt.zeros(2), a=9.0, b=10.0), "trunc_normal_"),
        (lambda: nn.init.trunc_normal_(tt.zeros(2), std=0.0), "trunc_normal_"),
        (lambda: nn.init.normal_(tt.zeros(2), std=-1.0), "std"),
        (lambda: nn.Linear(0, 1), "Linear: in_features is 0"),
        (lambda: nn.Linear(1, 2.5), r"Linear: out_features is 2\.5"),
        (lambda: nn.Embedding(5, -1), "Embedding: embedding_dim is -1"),
        (lambda: nn.LayerNorm(0), "LayerNorm: normalized_shape is 0"),
        (lambda: F.layer_norm(tt.zeros(2, 3), tt.ones(3)), r"normalized_shape is a tensor of shape \(3,\)"),
        (lambda: nn.Dropout(1.5), r"Dropout: p is 1\.5"),
        (lambda: nn.RMSNorm(-2), "RMSNorm: normalized_shape is -2"),
        (lambda: nn.Conv1d(2, 4, 0), "Conv1d: kernel_size is 0"),
        (lambda: nn.Conv2d(2, 4, (3, 3, 3)), r"Conv2d: kernel_size is \(3, 3, 3\)"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "Conv2d: 2 groups of 3 input"),
        (lambda: nn.Conv2d(3, 4, 3, groups=0), "Conv2d: groups is 0"),
        (lambda: nn.MultiheadAttention(8, 3), "3 heads of 8 channels"),
        (lambda: nn.MultiheadAttention(8, 2, dropout=-1), "dropout is -1"),
        (lambda: nn.GELU("erf")(tt.ones(2)), "gelu: approximate is 'erf'"),
        (lambda: nn.CrossEntropyLoss(reduction="avg")(tt.ones(1, 2), tt.tensor([1])), "reduction is 'avg'"),
        (lambda: nn.GroupNorm(3, 4), "GroupNorm: 3 groups of 4 channels"),
        (lambda: nn.Embedding(3, 4, 3), "Embedding: padding_idx 3 of 3 rows"),
        (lambda: nn.RNN(2, 3, nonlinearity="sin"), "RNN: nonlinearity 'sin'"),
        (lambda: nn.LSTM(2, 0), "LSTM: hidden_size is 0"),
        (lambda: nn.BatchNorm1d(2)(tt.ones(1, 2)), "batch_norm: one value per channel"),
        (lambda: nn.init.calculate_gain("sin"), "calculate_gain: nonlinearity 'sin'"),
        (lambda: nn.MSELoss(reduction="")(tt.ones(2), tt.ones(2)), "mse_loss: reduction is ''"),
    ],
)
def test_wrong_numbers_are_refused(call, text):
    with pytest.raises(tt.ArgumentError, match=text):
        call()


# ---- layers ------------------------------------------------------------------------------------------------


# A layer, the shape of its input, and the function that it is, of itself and the input. Values of functions
# are compared with NumPy by the op table, and with PyTorch by test_pytorch_calls.py.
TARGETS = tt.tensor([[0, 4, -1], [2, 2, -1]])
LAYERS = {
    "linear": (nn.Linear(3, 4), (2, 5, 3), lambda m, x: x @ m.weight + m.bias),
    "linear, no bias": (nn.Linear(3, 4, bias=False), (2, 3), lambda m, x: x @ m.weight),
    "layer_norm": (nn.LayerNorm(6, 1e-3), (3, 6), lambda m, x: F.layer_norm(x, (6,), m.weight, m.bias, 1e-3)),
    "layer_norm, no bias": (
        nn.LayerNorm(6, bias=False), (3, 6), lambda m, x: F.layer_norm(x, (6,), m.weight)),
    "rms_norm": (nn.RMSNorm(6, eps=1e-3), (3, 6), lambda m, x: F.rms_norm(x, (6,), m.weight, 1e-3)),
    "relu": (nn.ReLU(), (2, 3), lambda m, x: F.relu(x)),
    "gelu": (nn.GELU(), (2, 3), lambda m, x: F.gelu(x)),
    "gelu, tanh": (nn.GELU("tanh"), (2, 3), lambda m, x: F.gelu(x, "tanh")),
    "silu": (nn.SiLU(), (2, 3), lambda m, x: F.silu(x)),
    "tanh": (nn.Tanh(), (2, 3), lambda m, x: tt.tanh(x)),
    "sigmoid": (nn.Sigmoid(), (2, 3), lambda m, x: tt.sigmoid(x)),
    "softmax": (nn.Softmax(1), (2, 3), lambda m, x: tt.softmax(x, 1)),
    "softmax, dim": (nn.Softmax(dim=0), (2, 3), lambda m, x: tt.softmax(x, 0)),
    "conv1d": (nn.Conv1d(3, 4, 3, dilation=2, bias=False), (2, 3, 9),
               lambda m, x: F.conv1d(x, m.weight, dilation=2)),
    "conv2d": (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=1, groups=2), (2, 4, 7, 5),
               lambda m, x: F.conv2d(x, m.weight, m.bias, (2, 1), 1, 1, 2)),
    "max_pool2d": (nn.MaxPool2d(2, stride=1, padding=1), (1, 2, 6, 4),
                   lambda m, x: F.max_pool2d(x, 2, 1, 1)),
    "avg_pool2d": (nn.AvgPool2d((3, 2)), (1, 2, 6, 4), lambda m, x: F.avg_pool2d(x, (3, 2))),
    "flatten": (nn.Flatten(), (2, 3, 4), lambda m, x: x.reshape(2, 12)),
    "flatten, no rows": (nn.Flatten(), (0, 3, 4), lambda m, x: tt.zeros(0, 12)),
}  # fmt: skip
LOSSES = {
    "mse_loss": (nn.MSELoss, F.mse_loss, (2, 5, 3), tt.ones(2, 5, 3), {}),
    "cross_entropy": (nn.CrossEntropyLoss, F.cross_entropy, (2, 5, 3), TARGETS,
                      {"ignore_index": -1, "label_smoothing": 0.1}),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_a_function_of_its_parameters(name):
    layer, shape, function = LAYERS[name]
    for p in layer.parameters():
        nn.init.normal_(p)
    x = tt.randn(*shape)
    np.testing.assert_allclose(layer(x).detach(), function(layer, x).detach(), rtol=1e-5, atol=1e-6)
    assert (layer.bias is None) if "no bias" in name else True


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_a_function_of_its_options(name, reduction):
    kind, function, shape, target, options = LOSSES[name]
    x, options = tt.randn(*shape), options | {"reduction": reduction}
    assert kind(**options)(x, target).tolist() == function(x, target, **options).tolist()


@pytest.mark.parametrize(
    ("make", "deviations"),
    [
        (lambda g: nn.Linear(N, N // 2, generator=g), [(1 / (3 * N)) ** 0.5] * 2),
        (lambda g: nn.Embedding(1000, 200, generator=g), [1.0]),
        (lambda g: nn.Conv2d(64, 128, 3, groups=2, generator=g), [(1 / (3 * 32 * 9)) ** 0.5] * 2),
        (
            lambda g: nn.MultiheadAttention(N, 4, generator=g),
            [(2 / (4 * N)) ** 0.5, 0, (1 / (3 * N)) ** 0.5, 0],
        ),
    ],
)
def test_layers_start_with_the_deviations_of_their_formulas(make, deviations):
    for p, wanted in zip(make(tt.Generator(0)).parameters(), deviations, strict=True):
        assert moments(p)[1] == pytest.approx(wanted, rel=0.01 if p.ndim > 1 else 0.1)
        if p.ndim == 1:
            assert moments(p)[3] <= 3**0.5 * wanted  # uniform


def test_embedding():
    layer, ids = nn.Embedding(10, 4), np.array([[3, 9], [0, 3]])
    np.testing.assert_array_equal(layer(tt.tensor(ids)).detach().numpy(), layer.weight.detach().numpy()[ids])


def test_dropout():
    layer = nn.Dropout(0.25, generator=tt.Generator(5))
    y = layer(tt.ones(100, 100))
    values, counts = np.unique(y.numpy(), return_counts=True)
    np.testing.assert_allclose(values, [0.0, 1 / 0.75], rtol=1e-6)
    assert counts[0] == pytest.approx(2500, abs=4 * (10_000 * 0.25 * 0.75) ** 0.5)
    x = tt.ones(3)
    assert layer.eval()(x) is x


# ---- over the batch, and over time -------------------------------------------------------------------------


MISTAKES = [
    (lambda: F.embedding(tt.zeros(5, 2), tt.tensor([1, 2])), "tt.embedding(indices, table)"),
    (lambda: F.cross_entropy(tt.zeros(4, 3), tt.zeros(4)), "targets.long()"),
    (lambda: nn.Conv2d(3, 4, 3)(tt.zeros(2, 8, 9, 3)), "x is (N, C, H, W): tt.moveaxis(x, -1, -3)"),
    (lambda: nn.Conv2d(3, 4, 3)(tt.zeros(8, 9, 3)), "x is (N, C, H, W): tt.moveaxis(x, -1, -3)"),
    (lambda: nn.Conv1d(3, 4, 3)(tt.zeros(2, 9, 3)), "tt.moveaxis(x, -1, -2)"),
    (lambda: nn.LSTM(3, 4)(tt.zeros(5, 1, 7)), "LSTM(input_size=7, ...)"),
    (lambda: nn.LSTM(1, 4)(tt.zeros(5, 7)), "x.unsqueeze(-1)"),
    (lambda: tt.func.vmap(nn.BatchNorm1d(3))(tt.zeros(5, 4, 3)), "model.eval()"),
]


@pytest.mark.parametrize(("call", "fix"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_frequent_mistake_is_explained(call, fix):
    check_wrong_call(call, tt.TinyTensorError, [fix])


def test_what_the_fixes_say_works():
    assert nn.Conv2d(3, 4, 3)(tt.moveaxis(tt.zeros(2, 8, 9, 3), -1, -3)).shape == (2, 4, 6, 7)
    assert nn.Conv2d(3, 4, 3)(tt.moveaxis(tt.zeros(8, 9, 3), -1, -3)).shape == (4, 6, 7)
    assert tt.func.vmap(nn.BatchNorm1d(3).eval())(tt.zeros(5, 4, 3)).shape == (5, 4, 3)
    layer = nn.BatchNorm1d(3, track_running_stats=False)
    assert tt.func.vmap(layer)(tt.zeros(5, 4, 3)).shape == (5, 4, 3)


def test_batch_norm_keeps_running_statistics():
    x, layer = np.random.default_rng(0).normal(2.0, 3.0, size=(8, 3, 5)), nn.BatchNorm1d(3).to(tt.float64)
    mean, variance = x.mean((0, 2)), x.var((0, 2), ddof=1)
    y = layer(tt.tensor(x)).detach().numpy()
    np.testing.assert_allclose(y.mean((0, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(y.var((0, 2)), 1, rtol=1e-4)
    np.testing.assert_allclose(layer.running_mean.numpy(), 0.1 * mean)
    np.testing.assert_allclose(layer.running_var.numpy(), 0.9 + 0.1 * variance)
    assert layer.num_batches_tracked.item() == 1
    layer.eval()
    want = (x - 0.1 * mean[:, None]) / np.sqrt(0.9 + 0.1 * variance[:, None] + 1e-5)
    np.testing.assert_allclose(layer(tt.tensor(x)).detach().numpy(), want)
    assert layer.num_batches_tracked.item() == 1


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, w, u, b):
    """States after each step, x (L, inputs)."""
    h, c, hs = np.zeros(u.shape[1]), np.zeros(u.shape[1]), []
    for step in x:
        i, f, g, o = np.split(w @ step + u @ h + b, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        hs.append(h)
    return np.stack(hs), c


def test_lstm_of_two_directions_is_its_formula():
    layer = nn.LSTM(3, 4, bidirectional=True).to(tt.float64)
    x = np.random.default_rng(0).normal(size=(6, 3))
    y, (h, c) = layer(tt.tensor(x))
    for way, order in (("", 1), ("_reverse", -1)):
        w, u, b, d = [
            getattr(layer, f"{name}_l0{way}").detach().numpy()
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        hs, last = lstm(x[::order], w, u, b + d)
        at = 0 if order == 1 else 1
        np.testing.assert_allclose(y.detach().numpy()[:, 4 * at : 4 * at + 4], hs[::order])
        np.testing.assert_allclose(h[at].detach().numpy(), hs[-1])
        np.testing.assert_allclose(c[at].detach().numpy(), last)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_cells_are_steps_of_layers(name):
    layer, cell = getattr(nn, name)(3, 4), getattr(nn, f"{name}Cell")(3, 4)
    layer.load_state_dict({f"{n}_l0": p for n, p in cell.named_parameters()})
    x = tt.randn(5, 2, 3)
    state = None
    for step, y in zip(x, layer(x)[0], strict=True):
        state = cell(step, state)
        h = state[0] if name == "LSTM" else state
        np.testing.assert_allclose(h.detach().numpy(), y.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_dropout_of_channels_drops_them_whole():
    y = nn.Dropout2d(0.5, generator=tt.Generator(0))(tt.ones(4, 50, 2, 3))
    assert set(y.amax((2, 3)).flatten().tolist()) == {0.0, 2.0}
    assert (y.amax((2, 3)) == y.amin((2, 3))).all()


# ---- modules of one function ------------------------------------------------------------------------------


def test_options_are_fields_with_defaults():
    layer = nn.MaxPool1d(2, stride=1)
    assert repr(layer) == "MaxPool1d(kernel_size=2, stride=1)"
    assert layer(tt.tensor([[1.0, 3.0, 2.0]])).tolist() == [[3.0, 3.0]]
    assert list(inspect.signature(nn.MaxPool1d).parameters) == ["kernel_size", "stride", "padding"]
    with pytest.raises(TypeError, match="MaxPool1d: missing a required argument: 'kernel_size'"):
        nn.MaxPool1d()
    with pytest.raises(TypeError, match="MSELoss: too many positional"):
        nn.MSELoss("sum")


def test_weights_of_a_loss_are_buffers():
    loss = nn.CrossEntropyLoss(tt.tensor([1.0, 3.0])).to(tt.float64)
    assert loss.state_dict()["weight"].dtype is tt.float64
    assert repr(loss) == "CrossEntropyLoss(weight (2,))"
    logits, targets = tt.zeros(2, 2, dtype=tt.float64), tt.tensor([0, 1])
    assert loss(input=logits, target=targets).item() == pytest.approx(math.log(2))


def test_fields_are_inherited():
    class Leaky(nn.LeakyReLU):
        pass

    assert Leaky(0.5)(tt.tensor([-1.0])).item() == -0.5


# ---- attention ---------------------------------------------------------------------------------------------


def attend(layer, q, k, v, allowed):
    """Multi-head attention, head by head, in float64."""
    matrices = layer.in_proj_weight.detach().numpy().astype(np.float64)
    biases = np.zeros(24) if layer.in_proj_bias is None else layer.in_proj_bias.detach().numpy()
    Q, K, V = [x @ w.T + b for x, w, b in zip((q, k, v), np.split(matrices, 3), np.split(biases, 3))]
    H, D = layer.num_heads, layer.embed_dim // layer.num_heads
    heads, weights = [], []
    for h in range(H):
        part = slice(h * D, h * D + D)
        s = Q[..., part] @ K[..., part].swapaxes(1, 2) / math.sqrt(D)
        e = np.exp(s) * allowed
        weights.append(e / e.sum(-1, keepdims=True))
        heads.append(weights[-1] @ V[..., part])
    y = np.concatenate(heads, -1) @ layer.out_proj.weight.detach().numpy()
    return y if layer.out_proj.bias is None else y + layer.out_proj.bias.detach().numpy(), np.stack(
        weights, 1
    )


@pytest.mark.parametrize("kind", ["self", "causal", "cross", "masked", "key and value"])
@pytest.mark.parametrize("bias", [True, False])
def test_multihead_attention(kind, bias):
    rng = np.random.default_rng(0)
    layer = nn.MultiheadAttention(8, 2, bias=bias, batch_first=True)
    for p in layer.parameters():
        nn.init.normal_(p)
    q, k, v = [rng.normal(size=(2, n, 8)) for n in (4, 5, 5)]
    K, V = {"cross": (k, k), "key and value": (k, v)}.get(kind, (q, q))
    options, allowed = {}, np.ones((4, K.shape[1]))
    if kind == "causal":
        options, allowed = {"is_causal": True}, np.tri(4)
    if kind == "masked":
        allowed = rng.random((2, 4, 4)) < 0.5
        allowed[..., 0] = True
        options = {"attn_mask": tt.tensor(~allowed).repeat(2, axis=0)}  # True excludes; (N * H, Tq, Tk)
    want, weights = attend(layer, q, K, V, allowed)
    tensors = [tt.tensor(a.astype(np.float32)) for a in (q, K, V)]
    y, got = layer(*tensors, **options, average_attn_weights=False)
    np.testing.assert_allclose(y.detach().numpy(), want, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(got.detach().numpy(), weights, rtol=1e-3, atol=1e-5)
    alone, nothing = layer(*tensors, **options, need_weights=False)
    np.testing.assert_allclose(alone.detach().numpy(), want, rtol=1e-3, atol=1e-4)
    assert nothing is None


def test_attention_drops_weights_while_training_only():
    layer = nn.MultiheadAttention(8, 2, dropout=0.5, generator=tt.Generator(0))
    x = [tt.ones(6, 1, 8)] * 3
    assert layer(*x)[0].tolist() != layer(*x)[0].tolist()
    layer.eval()
    assert layer(*x)[0].tolist() == layer(*x)[0].tolist()


def test_padding_of_keys_changes_nothing():
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    x, padding = tt.randn(2, 4, 8), tt.tensor([[False, False, True, True]] * 2)
    y, weights = layer(x, x, x, key_padding_mask=padding)
    short, _ = layer(x, x[:, :2], x[:, :2])
    np.testing.assert_allclose(y.detach().numpy(), short.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert not weights[..., 2:].any()
    causal, _ = layer(x, x, x, is_causal=True)
    first = layer(*[x[:, :1]] * 3)[0]
    np.testing.assert_allclose(causal[:, :1].detach().numpy(), first.detach().numpy(), rtol=1e-5, atol=1e-6)


# ---- together ----------------------------------------------------------------------------------------------


def test_gradients_reach_every_parameter_of_every_layer():
    image = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding="same"),
        nn.GELU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 8),
        nn.LayerNorm(8),
        nn.SiLU(),
        nn.RMSNorm(8),
        nn.Linear(8, 5),
    )
    nn.CrossEntropyLoss()(image(tt.randn(3, 1, 4, 4)), tt.tensor([1, 2, 0])).backward()
    attention = nn.MultiheadAttention(8, 2, bias=False)
    nn.MSELoss()(attention(*[tt.randn(2, 3, 8)] * 3, is_causal=True)[0], tt.zeros(2, 3, 8)).backward()
    for layer in (image, attention):
        for name, p in layer.named_parameters():
            assert p.grad is not None, name
            assert p.grad.shape == p.shape
            assert bool((p.grad != 0).any()), name


PLACED = [
    (partial(nn.Linear, 3, 4), tt.ones(2, 3)),
    (partial(nn.LinearGelu, 3, 4), tt.ones(2, 3)),
    (partial(nn.Embedding, 5, 4, padding_idx=1), tt.tensor([1, 2])),
    (partial(nn.LayerNorm, 3), tt.tensor([[1.0, 2.0, 4.0]])),
    (partial(nn.RMSNorm, 3), tt.tensor([[1.0, 2.0, 4.0]])),
    (partial(nn.Conv2d, 1, 2, 3), tt.ones(1, 1, 3, 3)),
    (partial(nn.ConvTranspose1d, 1, 2, 3), tt.ones(1, 1, 3)),
    *[(partial(getattr(nn, name), 2, 3), None) for name in ("LSTM", "RNN", "GRUCell", "RNNCell")],
    (partial(nn.BatchNorm2d, 2), None),
    (partial(nn.GroupNorm, 1, 2), tt.ones(3, 2)),
    (partial(nn.TransformerEncoderLayer, 4, 2, 8), None),
]


@pytest.mark.parametrize(("make", "x"), PLACED, ids=range(len(PLACED)))
def test_modules_are_made_in_a_dtype_and_on_a_device(make, x):
    made = []
    for place in ({}, {"device": "emulated", "dtype": tt.bfloat16}):
        tt.manual_seed(3)
        made.append(make(**place))
    usual, narrow = made
    assert [name for name, _ in narrow.named_parameters()] == [name for name, _ in usual.named_parameters()]
    for p, q in zip(narrow.parameters(), usual.parameters(), strict=True):
        assert (p.dtype, p.device.type, p.requires_grad, p.is_leaf) == (tt.bfloat16, "emulated", True, True)
        assert p.tolist() == q.astype(tt.bfloat16).tolist()
    for b in narrow.buffers():
        assert (str(b.device), b.dtype is tt.bfloat16) == ("emulated", b.dtype.is_floating)
    if x is not None:
        x = x.to("emulated", tt.bfloat16) if x.dtype.is_floating else x.to("emulated")
        assert narrow(x).dtype is tt.bfloat16
    with pytest.raises(tt.DTypeError, match="floating"):
        make(dtype=tt.int32)
