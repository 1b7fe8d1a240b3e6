"""Layers against plain NumPy, and the statistics of their initial values."""

import numpy as np
import pytest

import tinytensor as tt
from tinytensor import nn

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
        (lambda w, g: nn.init.kaiming_uniform_(w, slope=1.0, generator=g), (1 / N) ** 0.5),
        (lambda w, g: nn.init.xavier_normal_(w, gain=2.0, generator=g), 2 * (2 / (1.5 * N)) ** 0.5),
        (lambda w, g: nn.init.xavier_uniform_(w, generator=g), (2 / (1.5 * N)) ** 0.5),
        # a normal distribution cut at two deviations has 0.8796 of its deviation
        (lambda w, g: nn.init.trunc_normal_(w, std=0.5, low=-1, high=1, generator=g), 0.5 * 0.8796),
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
    w = nn.init.trunc_normal_(weight(), mean=1.0, std=1.0, low=1.0, high=1.5)
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


def test_fans_of_matrices_and_windows():
    assert nn.init.fans((6, 8)) == (6, 8)
    assert nn.init.fans((8, 6, 3)) == (18, 24)
    with pytest.raises(tt.ShapeError, match="kaiming_normal_: shape"):
        nn.init.kaiming_normal_(tt.zeros(3))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: nn.init.kaiming_normal_(tt.zeros(2, 2), mode="in"), "mode 'in'"),
        (lambda: nn.init.trunc_normal_(tt.zeros(2), low=9.0, high=10.0), "trunc_normal_"),
        (lambda: nn.init.trunc_normal_(tt.zeros(2), std=0.0), "trunc_normal_"),
        (lambda: nn.init.normal_(tt.zeros(2), std=-1.0), "std"),
        (lambda: nn.Linear(0, 1), "Linear: in_features is 0"),
        (lambda: nn.Linear(1, 2.5), r"Linear: out_features is 2\.5"),
        (lambda: nn.Embedding(5, -1), "Embedding: embedding_dim is -1"),
        (lambda: nn.LayerNorm(0), "LayerNorm: features is 0"),
        (lambda: nn.Dropout(1.5), r"Dropout: p is 1\.5"),
    ],
)
def test_wrong_numbers_are_refused(call, text):
    with pytest.raises(tt.ArgumentError, match=text):
        call()


# ---- layers ------------------------------------------------------------------------------------------------


def test_linear():
    layer = nn.Linear(3, 4)
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    want = x @ layer.weight.detach().numpy() + layer.bias.detach().numpy()
    np.testing.assert_allclose(layer(tt.tensor(x)).detach().numpy(), want, rtol=1e-5, atol=1e-6)
    plain = nn.Linear(3, 4, bias=False)
    assert plain.bias is None
    assert plain(tt.zeros(1, 3)).tolist() == [[0.0] * 4]


def test_linear_starts_with_the_variance_of_its_fan_in():
    layer = nn.Linear(N, N // 2, generator=tt.Generator(0))
    assert moments(layer.weight)[1] == pytest.approx((1 / (3 * N)) ** 0.5, rel=0.01)
    assert moments(layer.bias)[3] <= N**-0.5


def test_embedding():
    layer = nn.Embedding(1000, 200, generator=tt.Generator(0))
    assert moments(layer.weight)[1] == pytest.approx(1.0, rel=0.01)
    ids = np.array([[3, 999], [0, 3]])
    np.testing.assert_array_equal(layer(tt.tensor(ids)).detach().numpy(), layer.weight.detach().numpy()[ids])


@pytest.mark.parametrize("bias", [True, False])
def test_layer_norm(bias):
    rng = np.random.default_rng(0)
    layer = nn.LayerNorm(6, eps=1e-3, bias=bias)
    for p in layer.parameters():
        nn.init.normal_(p)
    x = rng.normal(size=(3, 6))
    want = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3)
    want = want * layer.weight.detach().numpy() + (layer.bias.detach().numpy() if bias else 0)
    got = layer(tt.tensor(x, dtype=tt.float32)).detach().numpy()
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_rms_norm():
    layer = nn.RMSNorm(6, eps=1e-3)
    nn.init.normal_(layer.weight)
    x = np.random.default_rng(0).normal(size=(3, 6))
    want = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-3) * layer.weight.detach().numpy()
    got = layer(tt.tensor(x, dtype=tt.float32)).detach().numpy()
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_dropout():
    layer = nn.Dropout(0.25, generator=tt.Generator(5))
    y = layer(tt.ones(100, 100))
    values, counts = np.unique(y.numpy(), return_counts=True)
    np.testing.assert_allclose(values, [0.0, 1 / 0.75], rtol=1e-6)
    assert counts[0] == pytest.approx(2500, abs=4 * (10_000 * 0.25 * 0.75) ** 0.5)
    x = tt.ones(3)
    assert layer.eval()(x) is x
