"""Random number generator: `Generator` with the state (seed, offset) of a Philox 4x32-10 stream.

Philox 4x32-10 is a counter-based generator: block k of a stream is a pure function of the seed and k, so the
state is only a position, and any thread or device can compute any part. Independent of arrays.

Counter layout, shared by every device:

    key      (2 x 32 bits)   seed low, seed high counter  (4 x 32 bits)   k low, k high, 0, 0        with k =
    offset + (number of the block in this sample) block k                  4 words of 32 bits

A call that needs n blocks uses blocks offset ... offset + n - 1 and advances the offset by n, even if it
leaves words of its last block unused; so two calls never share a block. All sums are modulo 2**64.
`ops/random/philox.py` computes the words and converts them to elements.
"""

from collections.abc import Mapping
from typing import SupportsIndex

from tinytensor.errors import ArgumentError, FormatError
from tinytensor.events import fire, observers
from tinytensor.runtime.forks import GENERATORS, lock_for_forks
from tinytensor.shapes import as_int

__all__ = ["Generator", "default_generator", "initial_seed", "manual_seed"]

_MODULUS = 1 << 64
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)  # for words 0 and 2 of the counter
WEYL = (0x9E3779B9, 0xBB67AE85)  # added to the two halves of the key after each round
ROUNDS = 10
_LOW = 0xFFFFFFFF
_lock = lock_for_forks(GENERATORS)  # of the states of all generators


class Generator:
    """A random number generator: a position (seed, offset) in a random stream. Thread-safe.

    Args:
        seed: any integer; only its value modulo 2**64 counts.

    Source: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".

    >>> generator = tt.Generator(7)
    >>> generator.advance(3), generator.advance(1), generator
    (0, 3, Generator(seed=7, offset=4))
    """

    __slots__ = ("_offset", "_seed")

    def __init__(self, seed: SupportsIndex = 0) -> None:
        self._seed = _reduce("Generator", seed)
        self._offset = 0

    def __reduce__(self) -> tuple[object, ...]:
        return _at_state, (self.get_state(),)

    @property
    def seed(self) -> int:
        """The seed, 0 <= seed < 2**64."""
        return self._seed

    def initial_seed(self) -> int:
        """The seed, by PyTorch's name."""
        return self._seed

    @property
    def offset(self) -> int:
        """The number of blocks used so far, modulo 2**64."""
        return self._offset

    def manual_seed(self, seed: SupportsIndex) -> "Generator":
        """Reset to the start of the stream of a seed; returns the generator itself.

        >>> tt.Generator().manual_seed(-1).seed == 2**64 - 1
        True
        """
        reduced = _reduce("Generator.manual_seed", seed)
        with _lock:
            self._seed, self._offset = reduced, 0
        if observers:
            fire("drawn", self, 0, -1)
        return self

    def advance(self, n_blocks: SupportsIndex) -> int:
        """Reserve n_blocks blocks of 4 words for the caller and return the offset of the first.

        >>> generator = tt.Generator(0)
        >>> [generator.advance(2) for _ in range(3)]
        [0, 2, 4]
        """
        count = as_int(n_blocks, "Generator.advance", "a number of blocks")
        if count < 0:
            raise ArgumentError(
                f"Generator.advance: n_blocks is {count}",
                why="a stream only advances: going back would repeat random numbers",
                fix="restore an earlier position with generator.set_state(state)",
            )
        with _lock:
            before = self._offset
            self._offset = (before + count) % _MODULUS
        if observers:
            fire("drawn", self, before, count)
        return before

    def random(self) -> float:
        """Uniform random float in [0, 1), computed on the host: the number that `tt.uniform` returns in
        float64.

        Returns:
            a multiple of 2**-53; uses one block.

        >>> a, b = tt.Generator(7), tt.Generator(7)
        >>> a.random() == tt.uniform(1, dtype=tt.float64, generator=b).item()
        True
        """
        first, _ = block(self._seed, self.advance(1))
        return (first >> 11) * 2.0**-53

    def get_state(self) -> dict[str, int]:
        """The state as a JSON-serializable dictionary.

        >>> tt.Generator(7).get_state()
        {'seed': 7, 'offset': 0}
        """
        with _lock:
            return {"seed": self._seed, "offset": self._offset}

    def set_state(self, state: object) -> None:
        """Restore a state that `get_state` returned, of this or any other generator.

        Args:
            state: a mapping {"seed": …, "offset": …}, both integers with 0 <= value < 2**64.

        Raises:
            FormatError: state is anything else; the generator is unchanged.

        >>> generator = tt.Generator()
        >>> generator.set_state({"seed": 7, "offset": 12})
        >>> generator
        Generator(seed=7, offset=12)
        """
        if not isinstance(state, Mapping):
            raise _bad_state(f"it is a {type(state).__name__}")
        if set(state) != {"seed", "offset"}:
            raise _bad_state(f"its keys are {[str(key) for key in state][:4]}")
        for name, value in state.items():
            if type(value) is not int or not 0 <= value < _MODULUS:
                raise _bad_state(f"{name} is {str(value)[:40]}")
        with _lock:
            self._seed, self._offset = state["seed"], state["offset"]

    def __repr__(self) -> str:
        return "Generator(seed={seed}, offset={offset})".format(**self.get_state())


def manual_seed(seed: SupportsIndex) -> Generator:
    """Seed the default generator: the same seed gives the same random numbers.

    Differs from: torch.manual_seed in the numbers that follow, and in that every integer is accepted.

    >>> tt.manual_seed(1337)
    Generator(seed=1337, offset=0)
    """
    reduced = _reduce("manual_seed", seed)
    return default_generator.manual_seed(reduced)


def initial_seed() -> int:
    """The seed of the default generator, 0 if `manual_seed` was not called.

    >>> _ = tt.manual_seed(1337)
    >>> tt.initial_seed()
    1337
    """
    return default_generator.seed


def _at_state(state: object) -> Generator:
    """Rebuild a generator from a pickle or a copy."""
    generator = Generator()
    generator.set_state(state)
    return generator


def _reduce(caller: str, seed: SupportsIndex) -> int:
    """The seed modulo 2**64."""
    return as_int(seed, caller, "a seed") % _MODULUS


def block(seed: int, k: int) -> tuple[int, int]:
    """The 4 words of block k (modulo 2**64) as two 64-bit integers. Vectorized: `ops/random/philox.py`."""
    key_0, key_1 = seed & _LOW, seed >> 32
    c0, c1, c2, c3 = k & _LOW, k >> 32 & _LOW, 0, 0
    for _ in range(ROUNDS):
        p0, p1 = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ key_0, p1 & _LOW, (p0 >> 32) ^ c3 ^ key_1, p0 & _LOW
        key_0, key_1 = (key_0 + WEYL[0]) & _LOW, (key_1 + WEYL[1]) & _LOW
    return c0 | c1 << 32, c2 | c3 << 32


def _bad_state(why: str) -> FormatError:
    """FormatError for an invalid generator state."""
    return FormatError(
        f"Generator.set_state: not the state of a generator: {why}",
        why='a state is {"seed": …, "offset": …} with two integers, 0 <= value < 2**64',
        fix="pass a state that get_state() returned",
    )


default_generator = Generator()
