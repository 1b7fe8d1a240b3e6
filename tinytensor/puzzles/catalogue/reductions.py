"""Puzzles 15 to 20: sums and running sums."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytensor.puzzles.problem import Limits
from tinytensor.puzzles.puzzle import Puzzle


def zeros(rng: np.random.Generator, shape: tuple[int, ...], sizes: Any) -> Any:
    """Zeros, for what is added to."""
    return np.zeros(shape)


PUZZLES = (
    Puzzle(
        "sum_atomic", "A sum by atomics",
        """Add all elements of x to y[0], which is 0 before. Many threads add to one number: y[0] +=
        x[i] would read, add and write while others do the same, and lose additions. atomicAdd does it in
        one step.

        On a GPU this is slow, since all threads wait for one address. The next puzzles do better.""",
        "y[1] <- y[1], x[n]", "y + x.sum()", sizes="n", cases=((1,), (100,), (1001,), (0,)), measured=(1024,),
        draw={"y": zeros}, tolerance=10,
        picture="""
        x: 3 1 4 1
        = four threads add to
        y: 9""",
        hints=("atomicAdd takes an address and a number.", "if (i < n) atomicAdd(y, x[i]);"),
    ),
    Puzzle(
        "sum_tree", "A sum as a tree",
        """y[b] is the sum of elements 256 b to 256 b + 255, as far as x has them. In shared memory 128
        threads each add two numbers, then 64 threads, and so on: 8 steps in place of 255, with a barrier
        before each.

        Which numbers a thread adds decides on speed: if thread t adds s[t + 128], then s[t + 64], …, whole
        warps work while others rest, and there are no bank conflicts.""",
        "y[(n + 255) / 256] <- x[n]", "np.pad(x, (0, -n % 256)).reshape(-1, 256).sum(1)", sizes="n",
        cases=((1,), (255,), (256,), (1000,), (0,)), measured=(2048,),
        limits=Limits(traffic=1.05, ways=1.0, lanes=16), needs=("__shared__",), tolerance=3,
        picture="""
        s: 0 1 2 3 4 5 6 7
        = thread t adds element t + 4
        s: 04 15 26 37 . . . .
        = then element t + 2
        s: 0246 1357 . . . . . .""",
        hints=("Threads beyond the end of x put 0 into shared memory.",
               "for (int k = 128; k > 0; k /= 2) { __syncthreads(); if (t < k) s[t] += s[t + k]; }"),
    ),
    Puzzle(
        "sum_shuffle", "A sum by shuffles",
        """The sums of puzzle 16 again. The 32 threads of a warp can read each other's registers:
        __shfl_xor_sync(0xffffffff, value, k) is the value of the thread whose lane differs by k. Five such
        steps add up a warp without shared memory and without a barrier. Shared memory is needed only for
        the 8 sums of the warps.

        Add these by shuffles, too: 8 lanes of the first warp read one sum each, in a single request; one
        thread that reads all of them takes 8 requests, which is over the limit.""",
        "y[(n + 255) / 256] <- x[n]", "np.pad(x, (0, -n % 256)).reshape(-1, 256).sum(1)", sizes="n",
        cases=((1,), (255,), (256,), (1000,), (0,)), measured=(2048,),
        limits=Limits(traffic=1.05, requests="n / 256 * 20"), needs=("__shfl",), tolerance=3,
        picture="""
        lane: 0 1 2 3
        = each adds the value of lane ^ 2, then of lane ^ 1
        : 02 13 02 13 / 0123 0123 0123 0123""",
        hints=("for (int k = 16; k > 0; k /= 2) value += __shfl_xor_sync(0xffffffff, value, k);",
               "Lane 0 of each warp writes its sum to s[warp]. After a barrier warp 0 takes "
               "lane < 8 ? s[lane] : 0 and adds these by shuffles with k = 4, 2, 1."),
    ),
    Puzzle(
        "sum_vector", "Row sums, 16 bytes at a time",
        """y[r] is the sum of row r of x; n is a multiple of 4. Give each row a warp, and let a thread
        load 16 bytes at once: a float4. The bytes are the same, but it takes a fourth of the requests.

        An address that is loaded as float4 must be a multiple of 16, which it is here.""",
        "y[m] <- x[m, n]", "x.sum(1)", sizes="m n", cases=((1, 4), (5, 128), (3, 260), (2, 1024), (3, 0)),
        measured=(16, 1024), limits=Limits(traffic=1.02, requests="m * (n / 128 + 2)"), needs=("float4",),
        tolerance=10,
        picture="""
        x: 0 0 0 0 1 1 1 1 2 2 2 2
        = the number is the lane that loads the element""",
        hints=("reinterpret_cast<const float4*>(x + r * n)[j] has four floats: .x .y .z .w",
               "for (int j = lane; j < n / 4; j += 32) { add the four } and then five shuffles."),
    ),
    Puzzle(
        "scan_block", "Running sums in a block",
        """y[r, i] is the sum of x[r, 0] to x[r, i]; a row has at most 256 elements and a block of its
        own.

        Here is the scan of Hillis and Steele: in step k = 1, 2, 4, … each element adds the one k places
        before it. A thread must read before others overwrite: either two arrays take turns, or a barrier
        stands between reading and writing.""",
        "y[m, n] <- x[m, n]", "x.cumsum(1)", sizes="m n", cases=((1, 1), (3, 256), (2, 255), (4, 33), (2, 0)),
        measured=(8, 256), limits=Limits(traffic=1.0), needs=("__shared__",), tolerance=5,
        picture="""
        x: 1 1 1 1 1 1
        k=1: 1 2 2 2 2 2
        k=2: 1 2 3 4 4 4
        k=4: 1 2 3 4 5 6""",
        hints=("Per step: read s[t - k] into a register (0 for t < k), barrier, add it to s[t], barrier.",
               "Barriers must be reached by all 256 threads, also those with t >= n."),
    ),
    Puzzle(
        "scan_long", "Running sums of any length",
        """y[i] is the sum of x[0] to x[i], for any n up to 65,536. Blocks cannot wait for each other,
        but kernels run one after the other: scan pieces of 256 elements and write their totals to scratch
        memory; scan the totals with one block; add to each piece the total before it.

        That is two reads and two writes of each element.""",
        "y[n] <- x[n]", "x.cumsum()", sizes="n", cases=((1,), (256,), (257,), (3000,), (65536,), (0,)),
        measured=(8192,), limits=Limits(traffic=2.15), tolerance=30,
        picture="""
        x: 1 1 1 | 1 1 1 | 1 1 1
        y: 1 2 3 | 1 2 3 | 1 2 3
        totals: 3 6 9
        y: 1 2 3 | 4 5 6 | 7 8 9""",
        hints=("The file begins with scratch memory for (n + 255) / 256 totals, and three launch lines.",
               "One __device__ function that scans 256 numbers in shared memory serves the first two "
               "kernels."),
    ),
)  # fmt: skip
