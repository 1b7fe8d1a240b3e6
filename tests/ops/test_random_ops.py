"""Random tensors: the numbers of the bit stream, in the asked shape, dtype and range, and in their share.

The stream itself and its distributions are tested in test_philox.py and test_generator.py.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import permutations

import numpy as np
import pytest

import tinytensor as tt
from tests import FULL
from tests.helpers.layouts import bits, read
from tinytensor.ops.random import philox

DRAWS: dict[str, Callable[[tt.Generator], tt.Tensor]] = {
    "uniform": lambda g: tt.uniform((3, 5), -1.0, 2.0, generator=g),
    "normal": lambda g: tt.normal(1.0, 0.5, (3, 5), generator=g),
    "rand": lambda g: tt.rand(3, 5, generator=g),
    "randn": lambda g: tt.randn(3, 5, generator=g),
    "randint": lambda g: tt.randint(-3, 9, (3, 5), generator=g),
    "permutation": lambda g: tt.permutation(15, generator=g),
    "bernoulli": lambda g: tt.bernoulli(tt.full((3, 5), 0.3), generator=g),
    "multinomial": lambda g: tt.multinomial(tt.tensor([1.0, 2.0, 0.5]), 15, replacement=True, generator=g),
    "dropout": lambda g: tt.dropout(tt.ones(3, 5), 0.3, generator=g),
    "choices": lambda g: tt.multinomial(tt.ones(4, 9), 5, replacement=False, generator=g),
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_seed_fixes_the_numbers_and_the_generator_moves_on(name: str) -> None:
    g = tt.Generator(3)
    first, second = DRAWS[name](g), DRAWS[name](g)
    assert bits(DRAWS[name](tt.Generator(3))) == bits(first)
    assert bits(first) != bits(second)
    assert not first.requires_grad


def test_one_number_on_the_host_is_that_of_uniform() -> None:
    a, b = tt.Generator(2**63 + 5), tt.Generator(2**63 + 5)
    many = [a.random() for _ in range(100)]
    assert many == [tt.uniform(1, dtype=tt.float64, generator=b).item() for _ in range(100)]
    assert a.offset == b.offset == 100
    assert type(many[0]) is float
    assert 0 <= min(many) < 0.1 < 0.9 < max(many) < 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("seed", "offset"), [(0, 0), (2**64 - 1, 2**64 - 3), (2**63 + 7, 2**32 - 1)])
def test_a_few_numbers_begin_as_many_do(seed: int, offset: int, dtype: str) -> None:
    """A few blocks of the stream are computed in another way than many."""

    def draw(count: int) -> bytes:
        g = tt.Generator()
        g.set_state({"seed": seed, "offset": offset})
        return bits(tt.uniform(count, dtype=dtype, generator=g))

    assert [draw(n) for n in range(20)] == [draw(50)[: len(draw(n))] for n in range(20)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (7,), (2, 3), (0, 4)])
def test_uniform_and_normal_are_the_stream_scaled(dtype: str, shape: tuple[int, ...]) -> None:
    for draw, call in (("uniform", tt.uniform), ("normal", tt.normal)):
        raw = np.empty(shape, dtype)
        getattr(philox, f"{draw}_{dtype}")(11, 0, raw)
        plain = call(shape=shape, dtype=dtype, generator=tt.Generator(11))
        assert (plain.shape, plain.dtype.name) == (shape, dtype)
        np.testing.assert_array_equal(read(plain), raw)
    scaled = read(tt.normal(5.0, 2.0, shape, dtype=dtype, generator=tt.Generator(11)))
    np.testing.assert_allclose(scaled, raw * 2 + 5, rtol=1e-6)
    getattr(philox, f"uniform_{dtype}")(11, 0, raw)
    scaled = read(tt.uniform(shape, -1.0, 3.0, dtype=dtype, generator=tt.Generator(11)))
    np.testing.assert_allclose(scaled, raw * 4 - 1, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_normal_numbers_are_the_float32_ones_rounded(dtype: str) -> None:
    for mean, deviation in ((0.0, 1.0), (-2.0, 0.5)):
        wide = tt.normal(mean, deviation, (100,), generator=tt.Generator(2))
        narrow = tt.normal(mean, deviation, (100,), dtype=dtype, generator=tt.Generator(2))
        assert bits(narrow) == bits(wide.astype(dtype))


@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "uint8", "uint64"])
def test_randint_in_every_dtype(dtype: str) -> None:
    low = 0 if dtype.startswith("u") else -100
    x = tt.randint(low, 100, (2000,), dtype=dtype, generator=tt.Generator(0))
    assert x.dtype.name == dtype
    assert (read(x).min(), read(x).max()) == (low, 99)
    wide = tt.randint(low, 100, (2000,), generator=tt.Generator(0))
    np.testing.assert_array_equal(read(x), read(wide))


def test_a_single_end_of_randint_is_high() -> None:
    calls = [
        lambda g: tt.randint(0, 5, (4, 3), generator=g),
        lambda g: tt.randint(5, (4, 3), generator=g),
        lambda g: tt.randint(5, [4, 3], generator=g),
        lambda g: tt.randint(5, shape=(4, 3), generator=g),
        lambda g: tt.randint(high=5, size=(4, 3), generator=g),
    ]
    drawn = [call(tt.Generator(3)).tolist() for call in calls]
    assert drawn[1:] == drawn[:1] * 4
    for ends in ((), (5,), (2, 5)):
        with pytest.raises(tt.TinyTensorError, match="shape"):
            tt.randint(*ends)


def test_randint_refuses_what_the_dtype_cannot_hold() -> None:
    with pytest.raises(tt.ArgumentError, match="int8 has the range -128 to 127"):
        tt.randint(0, 129, (2,), dtype="int8")
    assert tt.randint(127, 128, (1,), dtype="int8").item() == 127


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_uniform_never_reaches_its_end(dtype: str) -> None:
    x = read(tt.uniform((50_000,), dtype=dtype, generator=tt.Generator(1)))
    assert x.min() >= 0
    assert 0.99 < x.max() < 1
    digits = {"bfloat16": 256, "float16": 2048}.get(dtype, 2.0**53)
    np.testing.assert_array_equal(x * digits, np.floor(x * digits))
    mean, deviation = 0.5 - 0.5 / digits, math.sqrt(1 / 12 / x.size)
    assert abs(x.mean(dtype=np.float64) - mean) < 5 * deviation


def test_bernoulli_takes_each_probability() -> None:
    p = tt.tensor(np.repeat([0.0, 0.25, 1.0], 20_000).reshape(3, -1))
    drawn = read(tt.bernoulli(p, generator=tt.Generator(4)))
    assert drawn.dtype == np.float64
    shares = drawn.mean(axis=1)
    assert (shares[0], shares[2]) == (0.0, 1.0)
    assert abs(shares[1] - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 20_000)
    transposed = tt.bernoulli(p.T.contiguous().T, generator=tt.Generator(4))
    np.testing.assert_array_equal(read(transposed), drawn)


def test_multinomial_draws_by_weight_in_each_row() -> None:
    weights = np.array([[1.0, 0.0, 3.0, 4.0], [0.0, 5.0, 0.0, 0.0]])
    drawn = read(tt.multinomial(tt.tensor(weights), 20_000, replacement=True, generator=tt.Generator(5)))
    assert drawn.shape == (2, 20_000)
    shares = np.bincount(drawn[0], minlength=4) / 20_000
    assert shares[1] == 0
    np.testing.assert_allclose(shares, weights[0] / 8, atol=5 * math.sqrt(0.25 / 20_000))
    assert (drawn[1] == 1).all()


def test_multinomial_without_replacement() -> None:
    """The chance of an order is a product: draw by weight, drop, draw again."""
    weights = np.array([1.0, 2.0, 5.0, 0.0])
    rows = tt.tensor(np.tile(weights, (20_000, 1)))
    drawn = [tuple(r) for r in read(tt.multinomial(rows, 3, replacement=False, generator=tt.Generator(6)))]
    for order in permutations(range(3)):
        left, chance = weights.sum(), 1.0
        for i in order:
            chance *= weights[i] / left
            left -= weights[i]
        share = drawn.count(order) / len(drawn)
        assert abs(share - chance) < 5 * math.sqrt(chance * (1 - chance) / len(drawn)), order
    assert all(3 not in order for order in drawn)


def test_permutation_holds_every_number_once() -> None:
    for n in (0, 1, 2, 1000):
        np.testing.assert_array_equal(
            np.sort(read(tt.permutation(n, generator=tt.Generator(n)))), np.arange(n)
        )


@pytest.mark.parametrize(
    ("draw", "blocks"),
    [
        (lambda g, n: tt.uniform((n,), generator=g), lambda n: -(-n // 4)),
        (lambda g, n: tt.normal(0.0, 1.0, (n,), dtype="bfloat16", generator=g), lambda n: -(-n // 4)),
        (lambda g, n: tt.normal(0.0, 1.0, (n,), dtype="float64", generator=g), lambda n: -(-n // 2)),
        (lambda g, n: tt.randint(0, 9, (n,), dtype="int8", generator=g), lambda n: -(-n // 2)),
        (lambda g, n: tt.permutation(n, generator=g), lambda n: -(-n // 2)),
        (lambda g, n: tt.dropout(tt.ones(n), 0.5, generator=g), lambda n: -(-n // 4)),
        (lambda g, n: tt.bernoulli(tt.full((n,), 0.5), generator=g), lambda n: -(-n // 4)),
        (lambda g, n: tt.multinomial(tt.ones(2, 3), n, replacement=True, generator=g), lambda n: n),
    ],
)
def test_a_draw_takes_the_blocks_that_it_needs(draw, blocks) -> None:
    """So a draw of nothing leaves the generator where it is."""
    for n in (0, 1, 5, 8):
        g = tt.Generator(1)
        draw(g, n)
        assert g.offset == blocks(n), n


@pytest.mark.parametrize(
    "draw",
    [*(tt.uniform, partial(tt.normal, 0.0, 1.0), tt.rand, tt.randn), lambda s, **k: tt.randint(0, 9, s, **k)],
)
def test_shapes_as_tuple_list_and_number(draw) -> None:
    expected = bits(draw((6,), generator=tt.Generator(3)))
    for shape, sizes in (
        ([2, 3], (2, 3)),
        ((6,), (6,)),
        (6, (6,)),
        (np.int64(6), (6,)),
        ((1, 6, 1), (1, 6, 1)),
    ):
        x = draw(shape, generator=tt.Generator(3))
        assert (x.shape, bits(x)) == (sizes, expected)
    assert draw((3, 0, 2)).shape == (3, 0, 2)
    with pytest.raises(tt.ShapeError):
        draw((2, -1))
    with pytest.raises(tt.DTypeError):
        draw((2, 1.5))


def test_rand_and_randn_take_sizes_one_by_one() -> None:
    for short, full in ((tt.rand, tt.uniform), (tt.randn, partial(tt.normal, 0.0, 1.0))):
        assert bits(short(2, 3, generator=tt.Generator(3))) == bits(full((2, 3), generator=tt.Generator(3)))
        assert short().shape == ()


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_ends_as_far_as_the_dtype_holds_them(dtype: str) -> None:
    far = float(tt.finfo(dtype).max)
    x = read(tt.uniform((1000,), -far / 2, far / 2, dtype=dtype, generator=tt.Generator(0)))
    assert np.isfinite(x).all()
    assert x.min() < -far / 4
    assert x.max() > far / 4
    point = read(tt.uniform((5,), far, far, dtype=dtype))
    assert (point == far).all()
    for wrong in (
        lambda: tt.uniform((3,), 0.0, 2 * far, dtype=dtype),
        lambda: tt.uniform((3,), 0.0, float("nan"), dtype=dtype),
        lambda: tt.uniform((3,), -float("inf"), 0.0, dtype=dtype),
        lambda: tt.uniform((3,), 1.0, 0.0, dtype=dtype),
        lambda: tt.normal(2 * far, 1.0, (3,), dtype=dtype),
        lambda: tt.normal(0.0, 10**400, (3,), dtype=dtype),
        lambda: tt.normal(0.0, -1.0, (3,), dtype=dtype),
    ):
        with pytest.raises(tt.ArgumentError):
            wrong()
    if dtype != "float16":  # computed in float32, which holds the distance
        with pytest.raises(tt.ArgumentError, match="high - low"):
            tt.uniform((3,), -far, far, dtype=dtype)


@pytest.mark.parametrize("end", ["1", None, 1j, [0.5]])
def test_ends_are_numbers(end) -> None:
    for call in (lambda: tt.uniform((3,), end, 2.0), lambda: tt.normal(0.0, end, (3,))):
        with pytest.raises(tt.DTypeError):
            call()


@pytest.mark.parametrize(
    ("low", "high"), [(-(2**63), 2**63), (-(2**63), -(2**63) + 3), (2**63 - 3, 2**63), (-1, 2), (0, 2**40)]
)
def test_randint_is_the_stream_over_every_range(low: int, high: int) -> None:
    drawn = read(tt.randint(low, high, (400,), generator=tt.Generator(7)))
    np.testing.assert_array_equal(drawn, philox.randint(7, 0, low, high, 400))


@pytest.mark.parametrize(("low", "high"), [(0, 0), (3, 2), (-(2**63) - 1, 0), (0, 2**63 + 1)])
def test_randint_refuses_empty_and_wide_ranges(low: int, high: int) -> None:
    with pytest.raises(tt.ArgumentError, match="empty or exceeds int64"):
        tt.randint(low, high, (3,))


@pytest.mark.parametrize("device", ["cpu", "emulated"])
@pytest.mark.parametrize("scale", [5e-324, 1e-310, 1e-300, 1.0, 5e307])
@pytest.mark.parametrize("replacement", [True, False])
def test_only_the_ratio_of_weights_counts(scale: float, replacement: bool, device: str) -> None:
    """Even where their sum overflows, or a product with them underflows."""
    n = 20_000 if device == "cpu" or FULL else 2_000
    row = tt.tensor(np.array([1.0, 0.0, 2.0, 1.0]) * scale, device=device)
    for p, count in ((row.expand(n, 4), 1), *([(row, n)] if replacement else [])):
        drawn = read(tt.multinomial(p, count, replacement, generator=tt.Generator(8)).cpu()).reshape(-1)
        shares = np.bincount(drawn, minlength=4) / n
        assert shares[1] == 0
        np.testing.assert_allclose(shares, [0.25, 0, 0.5, 0.25], atol=5 * math.sqrt(0.25 / n))


def test_a_tiny_weight_comes_before_none() -> None:
    """Beside 1, its first arrival lies beyond the largest float, but it comes; weight 0 never does."""
    for p in ([0.0, 1e-320, 1.0], [0.0, 1e-320, 1e308]):
        drawn = tt.multinomial(tt.tensor(p, dtype=tt.float64), 2, replacement=False)
        assert drawn.tolist() == [2, 1]


def test_multinomial_of_nothing() -> None:
    for replacement in (True, False):
        assert tt.multinomial(tt.ones(2, 3), 0, replacement).shape == (2, 0)
        assert tt.multinomial(tt.ones(0, 3), 2, replacement).shape == (0, 2)
        assert tt.multinomial(tt.zeros(3), 0, replacement).shape == (0,)
        with pytest.raises(tt.ArgumentError, match="nothing to draw"):
            tt.multinomial(tt.zeros(2, 3), 1, replacement)
    with pytest.raises(tt.ArgumentError, match="sampled at most once"):
        tt.multinomial(tt.tensor([1.0, 0.0, 2.0]), 3, replacement=False)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_probabilities_in_every_dtype(dtype: str) -> None:
    p = tt.tensor([0.0, 0.5, 1.0], dtype=dtype)
    rows = tt.broadcast_to(p, (10_000, 3))
    assert tt.bernoulli(rows, generator=tt.Generator(1)).shape == (10_000, 3)
    shares = read(tt.bernoulli(rows, generator=tt.Generator(1))).mean(axis=0)
    np.testing.assert_allclose(shares, [0, 0.5, 1], atol=5 * 0.5 / 100)
    drawn = (
        np.bincount(read(tt.multinomial(p, 9000, replacement=True, generator=tt.Generator(1))), minlength=3)
        / 9000
    )
    np.testing.assert_allclose(drawn, [0, 1 / 3, 2 / 3], atol=5 * 0.5 / math.sqrt(9000))


def test_permutation_takes_one_number() -> None:
    for wrong in ((2, 3), 2.0, "3", None):
        with pytest.raises(tt.DTypeError):
            tt.permutation(wrong)
