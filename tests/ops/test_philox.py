"""Philox 4x32-10: published answers, the definition in plain Python; the Generator."""

import json
import math
from functools import partial
from statistics import NormalDist
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.test_errors import check_wrong_call
from tests.helpers.threads import in_threads
from tinytensor.errors import ArgumentError, DTypeError, FormatError
from tinytensor.generator import Generator, default_generator, initial_seed, manual_seed
from tinytensor.ops.random import philox
from tinytensor.ops.random.inverse_normal import inverse_normal

seeds = st.integers(0, 2**64 - 1)
offsets = st.one_of(
    st.integers(0, 2**64 - 1), st.integers(2**32 - 5, 2**32), st.integers(2**64 - 5, 2**64 - 1)
)
counts = st.integers(0, 50)


def block(counter: list[int], seed: int) -> list[int]:
    """One block in Python integers, written after the paper."""
    c0, c1, c2, c3 = counter
    k0, k1 = seed % 2**32, seed // 2**32
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c0, 2**32)
        high1, low1 = divmod(0xCD9E8D57 * c2, 2**32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return [c0, c1, c2, c3]


def words_of(seed: int, offset: int, n: int) -> list[int]:
    """The first n words of a draw in Python integers."""
    out: list[int] = []
    for k in range(offset, offset + n // 4 + 1):
        k %= 2**64
        out += block([k % 2**32, k // 2**32, 0, 0], seed)
    return out[:n]


def pairs_of(seed: int, offset: int, n: int) -> list[int]:
    words = words_of(seed, offset, 2 * n)
    return [low + (high << 32) for low, high in zip(words[::2], words[1::2], strict=True)]


def filled(function, dtype, seed, offset, shape):
    out = np.full(shape, np.nan, dtype)
    function(seed, offset, out)
    return out


uniform32, uniform64, normal32, normal64 = (
    partial(filled, getattr(philox, f"{draw}_{dtype}"), dtype)
    for draw in ("uniform", "normal")
    for dtype in ("float32", "float64")
)
# name → (draw, words for each element); a permutation is not made element by element and stands apart
DRAWS = {
    "bits": (philox.bits, 1),
    "uniform_float32": (uniform32, 1),
    "uniform_float64": (uniform64, 2),
    "normal_float32": (normal32, 1),
    "normal_float64": (normal64, 2),
    "randint": (lambda seed, offset, n: philox.randint(seed, offset, -7, 50250, n), 2),
    "bernoulli": (lambda seed, offset, n: philox.bernoulli(seed, offset, 0.3, n), 1),
    "dropout_keep": (lambda seed, offset, n: philox.dropout_keep(seed, offset, 0.3, n), 1),
}


# ---- words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_known_answers_of_random123(counter, key, answer):
    def parse(text):
        return [int(word, 16) for word in text.split()]

    low, high = parse(key)
    seed = low + (high << 32)
    counters = np.array([[9, 9, 9, 9], parse(counter)], np.uint32)
    assert philox.philox4x32(counters, seed)[1].tolist() == parse(answer)
    assert block(parse(counter), seed) == parse(answer)


@given(seeds, offsets, counts)
def test_bits_follow_the_definition(seed, offset, n):
    words = philox.bits(seed, offset, n)
    assert words.dtype == np.uint32
    assert words.tolist() == words_of(seed, offset, n)


@pytest.mark.parametrize(
    ("n", "words", "blocks"), [(0, 1, 0), (1, 1, 1), (4, 1, 1), (5, 1, 2), (2, 2, 1), (3, 2, 2)]
)
def test_blocks_needed(n, words, blocks):
    assert philox.blocks_needed(n, words) == blocks


@pytest.mark.parametrize("name", DRAWS)
@given(seed=seeds, offset=offsets, n=counts, chunk=st.integers(1, 9))
def test_chunks_do_not_change_bits(name, seed, offset, n, chunk):
    draw, _ = DRAWS[name]
    whole = draw(seed, offset, n)
    with mock.patch.object(philox, "CHUNK", chunk):
        assert draw(seed, offset, n).tobytes() == whole.tobytes()


@pytest.mark.parametrize("name", DRAWS)
def test_draws_longer_than_a_chunk_equal_their_parts(name):
    draw, words = DRAWS[name]
    per_block = 4 // words
    n = philox.CHUNK * per_block * 2 + 5
    whole = draw(3, 2**32 - 100, n)
    for first_block in (1, philox.CHUNK - 1, philox.CHUNK + 1, 2 * philox.CHUNK):
        part = draw(3, 2**32 - 100 + first_block, n - first_block * per_block)
        assert part.tobytes() == whole[first_block * per_block :].tobytes()


def test_draws_of_one_generator_share_no_word():
    generator = Generator(11)
    draws = [
        philox.bits(generator.seed, generator.advance(philox.blocks_needed(n, 1)), n) for n in (5, 4, 1, 7)
    ]
    stream = words_of(11, 0, 24)
    assert [draw.tolist() for draw in draws] == [stream[0:5], stream[8:12], stream[12:13], stream[16:23]]
    assert generator.offset == 6


def test_threads_get_the_same_bits():
    def work(seed: int) -> bytes:
        return bytes(normal32(seed, 0, 70_000).tobytes())

    assert in_threads(work, 4) == [work(seed) for seed in range(4)]


# ---- uniform ----------------------------------------------------------------------------------------------


@given(seeds, offsets, counts)
def test_uniform_follows_the_definition(seed, offset, n):
    assert uniform32(seed, offset, n).tolist() == [(w >> 8) / 2**24 for w in words_of(seed, offset, n)]
    assert uniform64(seed, offset, n).tolist() == [(w >> 11) / 2**53 for w in pairs_of(seed, offset, n)]


@pytest.mark.parametrize("draw", [uniform32, uniform64])
def test_uniform_stays_below_one_when_all_bits_are_set(draw):
    def ones(even, odd, spare, keys, packed):
        packed[...] = 2**64 - 1

    with mock.patch.object(philox, "_encrypt", ones):
        assert draw(0, 0, 50)[0] == 1 - np.finfo(draw(0, 0, 50).dtype).epsneg


# ---- normal -----------------------------------------------------------------------------------------------


def test_all_float32_normals():
    """Each of the 2**24 uniform numbers, against float64, whose accuracy the next test shows."""
    previous = -np.inf
    total = 0.0
    for first in range(-(2**23), 0, 2**20):  # one half of them; the other half must mirror it
        q = ((np.arange(first, first + 2**20) + 0.5) * 2**-24).astype(np.float32)
        x, mirrored, exact = q.copy(), -q, q.astype(np.float64)
        inverse_normal(x)
        inverse_normal(mirrored)
        inverse_normal(exact)
        assert np.array_equal(x, -mirrored)
        assert np.all(np.isfinite(x))
        assert np.max(np.abs(x / exact - 1)) < 5e-7
        assert x[0] > previous
        previous = x[-1]
        total += 2 * float(np.sum(np.square(x, dtype=np.float64)))
        if first == -(2**23):
            assert 5.41 < -x[0] < 5.43
    assert abs(total / 2**24 - 1) < 1e-6  # variance


def test_normal_against_the_standard_library():
    draw = np.random.default_rng(0)
    p = np.concatenate([2.0 ** -draw.uniform(1, 54, 20_000), draw.uniform(0, 0.5, 20_000), [2.0**-54, 0.075]])
    q = p - 0.5
    p = q + 0.5  # the probability that q stands for, exactly
    p, q = p[p > 0], q[p > 0]
    x = q.copy()
    inverse_normal(x)
    expected = np.array([*map(NormalDist().inv_cdf, p)])
    assert x == pytest.approx(expected, rel=2e-15)
    assert x.min() < -8.2
    mirrored = -q
    inverse_normal(mirrored)
    assert np.array_equal(mirrored, -x)
    # The distribution function is computed by erfc, which has nothing in common with Wichura's formulas.
    assert np.array([*map(NormalDist().cdf, x)]) == pytest.approx(p, rel=3e-13)


@given(seeds, offsets, st.integers(1, 20))
def test_normal_is_the_inverse_cdf_of_the_middle_of_the_uniform_cell(seed, offset, n):
    inverse = NormalDist().inv_cdf
    expected = [inverse((w >> 8) / 2**24 + 2**-25) for w in words_of(seed, offset, n)]
    assert normal32(seed, offset, n) == pytest.approx(np.array(expected), rel=5e-7)
    expected = [inverse((w >> 11) / 2**53 + 2**-54) for w in pairs_of(seed, offset, n)]
    assert normal64(seed, offset, n) == pytest.approx(
        np.array(expected), rel=1e-12
    )  # p itself is rounded here


# ---- integers, coins, permutations ------------------------------------------------------------------------


@given(seeds, offsets, counts, st.integers(-(2**63), 2**63), st.integers(-(2**63), 2**63))
def test_randint_follows_the_definition(seed, offset, n, low, high):
    low, high = min(low, high), max(low, high)
    if low == high:
        low, high = -(2**63), 2**63
    values = philox.randint(seed, offset, low, high, n)
    assert values.dtype == np.int64
    assert values.tolist() == [low + (w * (high - low) >> 64) for w in pairs_of(seed, offset, n)]


@pytest.mark.parametrize("width", [1, 2, 50257, 2**32 - 1, 2**32, 2**32 + 1, 2**63 + 2**31 + 1, 2**64])
def test_randint_at_the_edges_of_the_halves(width):
    words = np.array([0, 1, 2**32 - 1, 2**32, 2**64 - 2**32, 2**64 - 1], np.uint64)
    high = philox._multiply_high(words.copy(), width)
    assert high.tolist() == [int(word) * width >> 64 for word in words]


@given(seeds, offsets, counts, st.floats(0, 1))
def test_bernoulli_compares_uniform_numbers(seed, offset, n, p):
    coins = philox.bernoulli(seed, offset, p, n)
    assert coins.tolist() == [(w >> 8) / 2**24 < p for w in words_of(seed, offset, n)]
    assert philox.dropout_keep(seed, offset, p, n).tolist() == [not coin for coin in coins]


def test_bernoulli_decides_exactly_at_p():
    value = float(uniform32(1, 0, 1)[0])
    assert not philox.bernoulli(1, 0, value, 1)[0]
    assert philox.bernoulli(1, 0, math.nextafter(value, 1), 1)[0]
    assert philox.bernoulli(1, 0, 1, 1000).all()
    assert not philox.bernoulli(1, 0, 0, 1000).any()


@given(seeds, offsets, counts)
def test_permutation_sorts_keys(seed, offset, n):
    keys = pairs_of(seed, offset, n)
    order = philox.permutation(seed, offset, n)
    assert order.dtype == np.int64
    assert order.tolist() == sorted(range(n), key=lambda i: (keys[i], i))


def test_equal_keys_of_a_permutation_keep_their_order():
    with mock.patch.object(
        philox, "_bits64", lambda seed, offset, n: np.arange(n, dtype=np.uint64) % np.uint64(2)
    ):
        assert philox.permutation(0, 0, 100).tolist() == [*range(0, 100, 2), *range(1, 100, 2)]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: philox.randint(0, 0, 3, 3, 1), "randint: low is 3 and high is 3"),
        (lambda: philox.randint(0, 0, 0, 2**63 + 1, 1), "randint: low is 0 and high is 9223372036854775809"),
        (lambda: philox.randint(0, 0, -(2**63) - 1, 0, 1), "randint: low is -9223372036854775809"),
        (lambda: philox.bernoulli(0, 0, 1.5, 1), "bernoulli: p is 1.5"),
        (lambda: philox.bernoulli(0, 0, math.nan, 1), "bernoulli: p is nan"),
        (lambda: philox.dropout_keep(0, 0, -0.1, 1), "dropout: p is -0.1"),
    ],
)
def test_wrong_parameters(call, text):
    check_wrong_call(call, ArgumentError, [text])


@pytest.mark.parametrize(
    ("seed", "reduced"), [(0, 0), (-1, 2**64 - 1), (2**64, 0), (2**70 + 5, 5), (np.int64(-2), 2**64 - 2)]
)
def test_any_integer_is_a_seed(seed, reduced):
    assert Generator(seed).seed == reduced
    assert type(Generator().manual_seed(seed).seed) is int


@pytest.mark.parametrize("seed", [1.0, "1", None, True, np.float32(1), [1]])
def test_a_seed_is_an_integer(seed):
    with pytest.raises(DTypeError, match=r"^Generator: "):
        Generator(seed)
    with pytest.raises(DTypeError, match=r"^Generator\.manual_seed: "):
        Generator().manual_seed(seed)
    with pytest.raises(DTypeError, match=r"^manual_seed: "):
        manual_seed(seed)


def test_manual_seed_starts_again():
    generator = Generator(1)
    assert [generator.advance(n) for n in (3, 0, 2)] == [0, 3, 3]
    assert generator.manual_seed(2) is generator
    assert generator.get_state() == {"seed": 2, "offset": 0}


def test_the_offset_wraps():
    generator = Generator()
    generator.set_state({"seed": 0, "offset": 2**64 - 1})
    assert generator.advance(3) == 2**64 - 1
    assert generator.offset == 2


def test_advance_moves_forward_only():
    with pytest.raises(ArgumentError, match=r"^Generator\.advance: n_blocks is -1"):
        Generator().advance(-1)
    with pytest.raises(DTypeError, match=r"^Generator\.advance: "):
        Generator().advance(1.5)


def test_state_survives_json():
    generator = Generator(2**64 - 1)
    generator.advance(2**63 + 1)
    other = Generator()
    other.set_state(json.loads(json.dumps(generator.get_state())))
    assert other.get_state() == generator.get_state() == {"seed": 2**64 - 1, "offset": 2**63 + 1}


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [1, 2],
        {},
        {"seed": 1},
        {"seed": 1, "offset": 2, "more": 3},
        {"seed": 1, "offset": -1},
        {"seed": 2**64, "offset": 0},
        {"seed": 1.0, "offset": 0},
        {"seed": True, "offset": 0},
        {"seed": "1", "offset": 0},
        {1: 2, "seed": 3},
    ],
)
def test_a_wrong_state_is_refused_and_changes_nothing(wrong):
    generator = Generator(4)
    with pytest.raises(FormatError, match=r"^Generator\.set_state: "):
        generator.set_state(wrong)
    assert generator.get_state() == {"seed": 4, "offset": 0}


def test_concurrent_callers_get_different_blocks():
    generator = Generator()
    taken = in_threads(lambda _: [generator.advance(3) for _ in range(2000)], 8)
    assert sorted(n for each in taken for n in each) == list(range(0, 3 * 16_000, 3))


def test_the_default_generator():
    before = default_generator.get_state()
    try:
        assert manual_seed(1337) is default_generator
        assert initial_seed() == 1337
        default_generator.advance(5)
        assert manual_seed(-1).offset == 0
        assert initial_seed() == 2**64 - 1
    finally:
        default_generator.set_state(before)


def test_a_generator_has_no_other_attributes():
    with pytest.raises(AttributeError):
        Generator().position = 3
    with pytest.raises(AttributeError):
        Generator().seed = 3
