"""Random tensors: the numbers of the bit stream, in the asked shape, dtype and range, and in their share.

The stream itself and its distributions are tested in test_philox.py and test_generator.py.
"""

import math
from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest

import tinytensor as tt
from tinytensor.ops import philox

from .layouts import bits, read

DRAWS: dict[str, Callable[[tt.Generator], tt.Tensor]] = {
    "uniform": lambda g: tt.uniform((3, 5), -1.0, 2.0, generator=g),
    "normal": lambda g: tt.normal((3, 5), 1.0, 0.5, generator=g),
    "rand": lambda g: tt.rand(3, 5, generator=g),
    "randn": lambda g: tt.randn(3, 5, generator=g),
    "randint": lambda g: tt.randint(-3, 9, (3, 5), generator=g),
    "permutation": lambda g: tt.permutation(15, generator=g),
    "bernoulli": lambda g: tt.bernoulli(tt.full((3, 5), 0.3), generator=g),
    "multinomial": lambda g: tt.multinomial(tt.tensor([1.0, 2.0, 0.5]), 15, generator=g),
    "choices": lambda g: tt.multinomial(tt.ones(4, 9), 5, replacement=False, generator=g),
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_seed_fixes_the_numbers_and_the_generator_moves_on(name: str) -> None:
    g = tt.Generator(3)
    first, second = DRAWS[name](g), DRAWS[name](g)
    assert bits(DRAWS[name](tt.Generator(3))) == bits(first)
    assert bits(first) != bits(second)
    assert not first.requires_grad


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (7,), (2, 3), (0, 4)])
def test_uniform_and_normal_are_the_stream_scaled(dtype: str, shape: tuple[int, ...]) -> None:
    for draw, call in (("uniform", tt.uniform), ("normal", tt.normal)):
        raw = np.empty(shape, dtype)
        getattr(philox, f"{draw}_{dtype}")(11, 0, raw)
        plain = call(shape, dtype=dtype, generator=tt.Generator(11))
        assert (plain.shape, plain.dtype.name) == (shape, dtype)
        np.testing.assert_array_equal(read(plain), raw)
    scaled = read(tt.normal(shape, 5.0, 2.0, dtype=dtype, generator=tt.Generator(11)))
    np.testing.assert_allclose(scaled, raw * 2 + 5, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_numbers_are_the_float32_ones_rounded(dtype: str) -> None:
    wide = tt.normal((100,), generator=tt.Generator(2))
    narrow = tt.normal((100,), dtype=dtype, generator=tt.Generator(2))
    assert bits(narrow) == bits(wide.astype(dtype))


@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "uint8", "uint64"])
def test_randint_in_every_dtype(dtype: str) -> None:
    low = 0 if dtype.startswith("u") else -100
    x = tt.randint(low, 100, (2000,), dtype=dtype, generator=tt.Generator(0))
    assert x.dtype.name == dtype
    assert (read(x).min(), read(x).max()) == (low, 99)
    wide = tt.randint(low, 100, (2000,), generator=tt.Generator(0))
    np.testing.assert_array_equal(read(x), read(wide))


def test_randint_refuses_what_the_dtype_cannot_hold() -> None:
    with pytest.raises(tt.ArgumentError, match="int8 holds -128 to 127"):
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
    assert drawn.dtype == bool
    shares = drawn.mean(axis=1)
    assert (shares[0], shares[2]) == (0.0, 1.0)
    assert abs(shares[1] - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 20_000)
    transposed = tt.bernoulli(p.T.contiguous().T, generator=tt.Generator(4))
    np.testing.assert_array_equal(read(transposed), drawn)


def test_multinomial_draws_by_weight_in_each_row() -> None:
    weights = np.array([[1.0, 0.0, 3.0, 4.0], [0.0, 5.0, 0.0, 0.0]])
    drawn = read(tt.multinomial(tt.tensor(weights), 20_000, generator=tt.Generator(5)))
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
