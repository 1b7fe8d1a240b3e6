"""Philox 4x32-10 random numbers as NumPy arrays: the bitwise specification of the kernels.

Kernels must reproduce this module bit for bit. Independent of tensors.

Stream: `generator.py` defines the layout: the key is (seed low, seed high), the counter of a block is
(k low, k high, 0, 0) with k = offset + number of the block (mod 2**64). Ten rounds turn a counter into the
4 words of 32 bits of its block.

Elements: with one word per element, element i has word i % 4 of block i // 4. With two words per element,
element i has words 2 * (i % 2) and 2 * (i % 2) + 1 of block i // 2; as 64 bits, the first of them is low. So
a thread that handles 4 (or 2) neighbors computes one block, writes 16 bytes at once and needs nothing from
other threads, and the part of a result that starts at its block b is the result at offset + b.

Chunks: work goes through scratch of CHUNK blocks, which stays in the cache; results do not depend on it.

    bits              w                                            one word w
    uniform_float32   (w >> 8) * 2**-24, in [0, 1)                 one word
    uniform_float64   (W >> 11) * 2**-53, in [0, 1)                two words, W = first + second * 2**32
    normal_float32    inverse normal CDF of uniform + 2**-25       one word: the middle of the cell of uniform
    normal_float64    inverse normal CDF of uniform + 2**-54       two words
    randint           low + (W * (high - low) >> 64)               two words
    bernoulli         uniform_float32 < p                          one word
    dropout_keep      uniform_float32 >= p                         one word
    permutation       stable argsort of W                          two words

Normal numbers use the inverse CDF, not Box-Muller: one word gives one number, so all 2**24 float32 results
can be tested exhaustively, and 85 % of them need one rational function and no logarithm.

Words are paired through uint64 views, so the two words of a pair would be swapped on a big-endian machine.

Sources: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3" (Philox and its
constants). Lemire 2019, arXiv:1805.10941 (multiply and shift).
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinytensor.errors import ArgumentError
from tinytensor.generator import MULTIPLIERS as _MULTIPLIERS
from tinytensor.generator import ROUNDS, WEYL, block
from tinytensor.ops.random.inverse_normal import inverse_normal

__all__ = [
    "bernoulli",
    "bits",
    "blocks_needed",
    "dropout_keep",
    "normal_float32",
    "normal_float64",
    "permutation",
    "philox4x32",
    "randint",
    "uniform_float32",
    "uniform_float64",
]

Array = NDArray[Any]
U64 = NDArray[np.uint64]

CHUNK = 8192  # blocks; 64 bytes of scratch for each, 512 KiB in all, per call
FEW = 4  # blocks; up to here plain Python is faster than 80 NumPy calls

MULTIPLIERS = np.array(_MULTIPLIERS, np.uint64)[:, None]  # (2, 1), for words 0 and 2 of a counter
LOW_32 = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


# ---- the generator ----------------------------------------------------------------------------------------


def philox4x32(counters: NDArray[np.uint32], seed: int) -> NDArray[np.uint32]:
    """Return the 4 words of each counter, for arbitrary counters: the definition.

    Args:
        counters: shape (n, 4), words low to high.

    Returns:
        shape (n, 4).
    """
    columns = counters.T.astype(np.uint64)  # (4, n)
    even, odd = columns[0::2].copy(), columns[1::2].copy()  # (2, n) each
    packed = np.empty((len(counters), 2), np.uint64)
    _encrypt(even, odd, np.empty_like(even), _round_keys(seed), packed)
    return packed.view(np.uint32)  # (n, 4)


def _round_keys(seed: int) -> U64:
    """The key of each round, shape (ROUNDS, 2, 1)."""
    halves = (seed & 0xFFFFFFFF, seed >> 32)
    pairs = list(zip(halves, WEYL, strict=True))
    keys = [[(half + r * weyl) & 0xFFFFFFFF for half, weyl in pairs] for r in range(ROUNDS)]
    return np.array(keys, np.uint64)[:, :, None]


def _encrypt(even: U64, odd: U64, spare: U64, keys: U64, packed: U64) -> None:
    """Run all rounds on counters (words 0, 2 in even; 1, 3 in odd) and write (n, 2) uint64 of two words each.

    One round, with 64-bit products p0 = M0 * c0, p1 = M1 * c2 and the key (k0, k1):
    c0' = high(p1) ^ c1 ^ k0;  c1' = low(p1);  c2' = high(p0) ^ c3 ^ k1;  c3' = low(p0).
    even, odd and spare, shape (2, n), are overwritten. High halves of odd are not cleared: they drop out.
    """
    for key in keys:
        np.multiply(even, MULTIPLIERS, out=spare)  # rows p0, p1
        product = spare[::-1]  # rows p1, p0
        np.right_shift(product, HALF, out=even)
        np.bitwise_xor(even, odd, out=even)
        np.bitwise_xor(even, key, out=even)
        np.bitwise_and(even, LOW_32, out=even)
        odd, spare = product, odd
    np.left_shift(odd, HALF, out=odd)
    np.bitwise_or(even, odd, out=packed.T)


def blocks_needed(n: int, words_per_element: int) -> int:
    """Return the number of 4-word blocks for n elements."""
    return -(-n * words_per_element // 4)


def _chunks(seed: int, offset: int, n: int, words_per_element: int) -> Iterator[tuple[slice, Array]]:
    """Yield (elements, their uint32 words or uint64 pairs); the next step overwrites the words."""
    blocks = blocks_needed(n, words_per_element)
    if blocks <= FEW:
        pairs = [word for k in range(blocks) for word in block(seed, offset + k)]
        words = np.array(pairs, np.uint64)  # (2 blocks,)
        yield slice(0, n), (words if words_per_element == 2 else words.view(np.uint32))[:n]
        return
    rows = min(blocks, CHUNK)
    scratch = np.empty((3, 2, rows), np.uint64)
    packed = np.empty((rows, 2), np.uint64)
    keys = _round_keys(seed)
    step = CHUNK * 4 // words_per_element
    for start in range(0, n, step):
        stop = min(start + step, n)
        m = blocks_needed(stop - start, words_per_element)
        even, odd, spare = scratch[:, :, :m]  # (2, m) each
        first = (offset + start * words_per_element // 4) % (1 << 64)
        index = np.arange(m, dtype=np.uint64)
        index += np.uint64(first)  # wraps at 2**64
        np.bitwise_and(index, LOW_32, out=even[0])
        np.right_shift(index, HALF, out=odd[0])
        even[1] = odd[1] = 0
        _encrypt(even, odd, spare, keys, packed[:m])
        words = packed[:m].reshape(-1)  # (2 m,)
        yield slice(start, stop), (words if words_per_element == 2 else words.view(np.uint32))[: stop - start]


# ---- bits and uniform numbers -----------------------------------------------------------------------------


def bits(seed: int, offset: int, n: int) -> NDArray[np.uint32]:
    """Return n random 32-bit words, shape (n,)."""
    out = np.empty(n, np.uint32)
    for part, words in _chunks(seed, offset, n, 1):
        out[part] = words
    return out


def _bits64(seed: int, offset: int, n: int) -> U64:
    """Return n random 64-bit integers, shape (n,); two words each."""
    out = np.empty(n, np.uint64)
    for part, words in _chunks(seed, offset, n, 2):
        out[part] = words
    return out


def uniform_float32(seed: int, offset: int, out: NDArray[np.float32]) -> None:
    """Fill a C-contiguous array with the uniform numbers (w >> 8) * 2**-24 in [0, 1); one word each."""
    for numbers, cell in _integers(seed, offset, out, np.float32):
        numbers *= cell


def uniform_float64(seed: int, offset: int, out: NDArray[np.float64]) -> None:
    """Fill a C-contiguous array with the uniform numbers (W >> 11) * 2**-53 in [0, 1); two words each."""
    for numbers, cell in _integers(seed, offset, out, np.float64):
        numbers *= cell


def _integers(
    seed: int, offset: int, out: Array, dtype: type[np.floating[Any]]
) -> Iterator[tuple[Array, float]]:
    """Yield (part of out, cell): filled with integers 0 <= k < 1 / cell, the leading bits of the words."""
    assert out.flags.c_contiguous, "reshape would copy, and out would stay as it was"
    assert out.dtype == dtype
    flat = out.reshape(-1)
    unused = 8 if out.itemsize == 4 else 11  # the other 24 (53) bits are exact in a float
    for part, words in _chunks(seed, offset, out.size, out.itemsize // 4):
        words >>= unused
        flat[part] = words.view(f"i{out.itemsize}")  # signed integers convert to float faster
        yield flat[part], 0.5 ** (8 * out.itemsize - unused)


# ---- normal numbers ---------------------------------------------------------------------------------------


def normal_float32(seed: int, offset: int, out: NDArray[np.float32]) -> None:
    """Fill a C-contiguous array with standard normal numbers; one word each.

    Accuracy: relative error below 5e-7 against the exact inverse CDF, for each of the 2**24 uniform numbers.
    The largest magnitude is 5.42.
    """
    _normal(seed, offset, out, np.float32)


def normal_float64(seed: int, offset: int, out: NDArray[np.float64]) -> None:
    """Fill a C-contiguous array with standard normal numbers; two words each.

    Accuracy: relative error below 2e-15 against the exact inverse CDF.
    The largest magnitude is 8.29.
    """
    _normal(seed, offset, out, np.float64)


def _normal(seed: int, offset: int, out: Array, dtype: type[np.floating[Any]]) -> None:
    """Fill out with the inverse normal CDF at the middle of each cell of the uniform numbers."""
    for numbers, cell in _integers(seed, offset, out, dtype):
        numbers -= 0.5 / cell - 0.5  # k + 1/2 - 1 / (2 cell), odd multiples of 1/2: exact
        numbers *= cell
        inverse_normal(numbers)


# ---- integers, coins, permutations ------------------------------------------------------------------------


def randint(seed: int, offset: int, low: int, high: int, n: int) -> NDArray[np.int64]:
    """Return n integers, low <= value < high, shape (n,); two words each.

    value = low + (W * (high - low) >> 64), W of 64 bits.

    Accuracy: the probability of a value differs from 1 / (high - low) by less than 2**-64, that is relatively
    by less than (high - low) / 2**64, so 2**-32 for a range of 2**32. Powers of 2 as ranges are exact.
    """
    if not -(1 << 63) <= low < high <= 1 << 63:
        raise ArgumentError(
            f"randint: low is {low} and high is {high}",
            why="values are int64 with low <= value < high",
            fix="choose -2**63 <= low < high <= 2**63",
        )
    out = np.empty(n, np.uint64)
    for part, words in _chunks(seed, offset, n, 2):
        out[part] = _multiply_high(words, high - low)
    out += np.uint64(low % (1 << 64))  # two's complement: wraps
    return out.view(np.int64)


def _multiply_high(words: U64, factor: int) -> U64:
    """Return words * factor >> 64 for 1 <= factor <= 2**64, exactly, from 32-bit halves."""
    factor_high, factor_low = np.uint64(factor >> 32), np.uint64(factor & 0xFFFFFFFF)
    high, low = words >> HALF, words & LOW_32
    middle = high * factor_low + (low * factor_low >> HALF)  # below 2**64: no carry is lost
    if not factor_high:
        return middle >> HALF
    lower = low * factor_high + (middle & LOW_32)
    result: U64 = high * factor_high + (middle >> HALF) + (lower >> HALF)
    return result


def bernoulli(seed: int, offset: int, p: float, n: int) -> NDArray[np.bool_]:
    """Return n booleans, True where uniform_float32 < p, shape (n,); one word each.

    Accuracy: P(True) = ceil(p * 2**24) / 2**24; 0 and 1 are exact.
    """
    return _below("bernoulli", seed, offset, p, n)


def dropout_keep(seed: int, offset: int, p: float, n: int) -> NDArray[np.bool_]:
    """Return the mask of the elements that dropout keeps, True where uniform_float32 >= p; one word each."""
    keep = _below("dropout", seed, offset, p, n)
    return np.logical_not(keep, out=keep)


def _below(caller: str, seed: int, offset: int, p: float, n: int) -> NDArray[np.bool_]:
    """uniform_float32 < p, compared as integers, so that p is not rounded."""
    if not 0 <= p <= 1:
        raise ArgumentError(f"{caller}: p is {p}", why="p is a probability", fix="choose 0 <= p <= 1")
    threshold = np.uint32(math.ceil(p * (1 << 24)))  # p * 2**24 is exact
    out = np.empty(n, np.bool_)
    for part, words in _chunks(seed, offset, n, 1):
        np.right_shift(words, 8, out=words)
        np.less(words, threshold, out=out[part])
    return out


def permutation(seed: int, offset: int, n: int) -> NDArray[np.int64]:
    """Return a random permutation of 0 … n - 1, shape (n,): the stable argsort of n 64-bit keys.

    Accuracy: equal keys, which keep their order, occur with a probability below n**2 / 2**65.
    """
    order = np.argsort(_bits64(seed, offset, n), kind="stable")
    return order.astype(np.int64, copy=False)
