"""Puzzles 21 to 25: histograms, and what the threads of a warp tell each other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytensor.puzzles.catalogue.reductions import zeros
from tinytensor.puzzles.problem import Limits
from tinytensor.puzzles.puzzle import Puzzle


def bins(rng: np.random.Generator, shape: tuple[int, ...], sizes: Any) -> Any:
    """Integers below 64; 7 is frequent."""
    return np.where(rng.random(shape) < 0.3, 7, rng.integers(0, 64, shape))


def half_positive(rng: np.random.Generator, shape: tuple[int, ...], sizes: Any) -> Any:
    """Floats, half of them positive, so that the least bytes do not depend on chance; a fourth is 0."""
    signs = rng.permutation(np.arange(math.prod(shape)) % 4).reshape(shape)
    return np.choose(signs, (1, -1, 1, 0)) * (1 - rng.random(shape))


HISTOGRAM: dict[str, Any] = {
    "signature": "int32 counts[64] <- int32 counts[64], uint8 x[n]",
    "reference": "counts + np.bincount(x, minlength=64)",
    "sizes": "n",
    "cases": ((1,), (100,), (1001,), (0,)),
    "measured": (8192,),
    "draw": {"counts": zeros, "x": bins},
}
PUZZLES = (
    Puzzle(
        "histogram", "A histogram",
        """Count how often each of the values 0 to 63 occurs in x, which has bytes; counts begins with
        zeros.

        Threads that meet the same value must not lose additions: use atomicAdd on global memory.""",
        **HISTOGRAM,
        picture="""
        x: 2 0 2 3
        = each thread adds 1 to the count of its value
        counts: 1 0 2 1""",
        hints=("The value of the thread's element is the index of a counter.",
               "if (i < n) atomicAdd(&counts[x[i]], 1);"),
    ),
    Puzzle(
        "histogram_shared", "A histogram per block",
        """A histogram again, with fewer bytes moved: each block counts in 64 counters in shared
        memory, and at its end adds them to the global ones. Then a block must have many elements: let each
        thread work on several.

        Shared memory is not initialized: set the counters to 0, and wait.""",
        limits=Limits(traffic=1.5), needs=("__shared__",), **HISTOGRAM,
        picture="""
        block 0: 1 0 2 1
        block 1: 0 2 1 1
        = at the end of each block
        counts: 1 2 3 2""",
        hints=("Three parts, with a barrier after the first and the second: set to 0, count, add to global "
               "memory.",
               "// launch: grid (n + 4095) / 4096, block 256, and a grid-stride loop."),
    ),
    Puzzle(
        "vote", "A vote",
        """count[r] is the number of positive elements in row r. Give each row a warp. All 32 threads
        vote on x > 0: __ballot_sync(0xffffffff, condition) gives each of them an integer with a bit for
        each lane, and __popc counts bits.

        All lanes must take part in the vote, those beyond the end of the row, too.""",
        "int32 count[m] <- x[m, n]", "(x > 0).sum(1)", sizes="m n",
        cases=((1, 1), (5, 32), (3, 70), (4, 31), (2, 0)), measured=(16, 256), draw={"x": half_positive},
        limits=Limits(traffic=1.05), needs=("__ballot_sync",),
        picture="""
        lane: 0 1 2 3 4 5 6 7
        x: 3 -1 4 -1 -5 9 2 -6
        vote: 1 0 1 0 0 1 1 0
        = 4 bits are set""",
        hints=("Loop over the row in steps of 32 that are the same for all lanes: for (int c = 0; c < n; c "
               "+= 32).",
               "count += __popc(__ballot_sync(0xffffffffu, c + lane < n && x[r * n + c + lane] > 0));"),
    ),
    Puzzle(
        "warp_maximum", "Running maximum in a warp",
        """In each piece of 32 elements, y[i] is the maximum of the elements from the first of the
        piece to x[i]. n is a multiple of 32.

        __shfl_up_sync(0xffffffff, value, k) is the value of the thread k lanes below; the first k lanes
        get their own. Five steps, k = 1, 2, 4, 8, 16, and no shared memory.""",
        "y[n] <- x[n]", "np.maximum.accumulate(x.reshape(-1, 32), 1).reshape(-1)", sizes="n",
        cases=((32,), (96,), (320,), (0,)), measured=(2048,), limits=Limits(traffic=1.0, requests="n / 16"),
        needs=("__shfl_up_sync",),
        picture="""
        x: 3 1 4 1 5 2
        k=1: 3 3 4 4 5 5
        k=2: 3 3 4 4 5 5
        = maximum with the value k lanes below""",
        hints=("Whole warps lie beyond n, so they may return before the shuffles.",
               "for (int k = 1; k < 32; k *= 2) v = fmaxf(v, __shfl_up_sync(0xffffffffu, v, k));"),
    ),
    Puzzle(
        "compaction", "Compaction",
        """Copy the positive elements of x to the front of y, in order, and write how many there are to
        count[0]. The rest of y stays 0. One warp does it all, as the file says.

        Each lane must know how many elements before it are kept: of those of its own step, the bits below
        it in a ballot.""",
        "y[n], int32 count[1] <- y[n], x[n]",
        "(np.concatenate([x[x > 0], 0 * x[x <= 0]]), np.array([(x > 0).sum()]))", sizes="n",
        cases=((1,), (32,), (33,), (1000,), (0,)), measured=(2048,), draw={"y": zeros, "x": half_positive},
        limits=Limits(traffic=1.2), floor="6 * n", needs=("__ballot_sync",), fixed=True,
        picture="""
        x: 3 -1 4 -1 -5 9
        y: 3 4 9 0 0 0
        = the place of an element is the number of those that are kept before it""",
        hints=("Bits of the lanes below: votes & ((1u << lane) - 1).",
               "After each step of 32 elements all lanes add __popc(votes) to the place where the next "
               "step begins."),
    ),
)  # fmt: skip
