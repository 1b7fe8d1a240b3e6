"""Puzzles 43 to 50: find the bug. The start files are complete, and wrong."""

from __future__ import annotations

from tinytensor.puzzles.problem import Limits
from tinytensor.puzzles.puzzle import Puzzle

PUZZLES = (
    Puzzle(
        "bug_race", "Find the bug: a race between threads",
        """The kernel computes running sums of pieces of 128 elements. Its result depends on the order
        of the threads. Judge the file: the finding quotes the line where two accesses meet. Then ask which
        thread reads what another one overwrites.""",
        "y[n] <- x[n]", "x.reshape(-1, 128).cumsum(1).reshape(-1)", sizes="n", cases=((128,), (384,), (0,)),
        measured=(1024,), tolerance=5, limits=Limits(traffic=1.0),
        picture="""
        s: 1 1 1 1
        = thread 2 reads s[1]; was it before or after thread 1 wrote it?
        s: 1 2 ? 2""",
        hints=("s[t] += s[t - k] is a read and a write. All reads of a step must come before all its writes.",
               "Read into a register, then a barrier, then write."),
    ),
    Puzzle(
        "bug_barrier", "Find the bug: a barrier is missing",
        """A block walks along a row and reverses each piece of 128 elements through shared memory.
        There is a barrier between writing and reading s, and yet the judge finds a race. Which two
        accesses does nothing order?""",
        "y[m, n] <- x[m, n]", "x.reshape(m, -1, 128)[:, :, ::-1].reshape(m, n)", sizes="m n",
        cases=((1, 128), (2, 384), (3, 256), (2, 0)), measured=(4, 512), limits=Limits(traffic=1.0),
        picture="""
        step 0: write barrier read
        step 1: . . . write barrier read
        = s is read in step 0 and written in step 1""",
        hints=("A fast thread may be in the next step while a slow one still reads.",
               "A barrier at the end of the loop, too."),
    ),
    Puzzle(
        "bug_fence", "Find the bug: fences are missing",
        """A sum in one kernel: each block writes its sum to partial, then counts itself as done; the
        block that is last adds up all of partial. The counter is atomic. But another block may see the new
        count before it sees the sum: writes of one thread reach other blocks in any order, unless a fence
        stands between. On the side that reads it is the same: reads may be done early.""",
        "y[1] <- x[n]", "x.sum(keepdims=True)", sizes="n", cases=((1,), (64,), (1000,), (64 * 33,)),
        measured=(64 * 32,), tolerance=20,
        picture="""
        writes: partial ? done
        = another block may see them as
        sees: done . partial""",
        hints=("__threadfence() orders the writes of a thread as others see them.",
               "One stands between the write of partial and the atomicAdd on done, another one between that "
               "and the reads of partial."),
    ),
    Puzzle(
        "bug_bounds", "Find the bug: past the end",
        """The kernel doubles x, 16 bytes at a time. For most n results are right, and the judge still
        says "out of bounds". Mend it so that full vectors are still moved as float4.""",
        "y[n] <- x[n]", "2 * x", sizes="n", cases=((1,), (4,), (7,), (1026,), (0,)), measured=(4096,),
        limits=Limits(traffic=1.0, requests="n / 60"), needs=("float4",),
        picture="""
        x: 0 0 0 0 1 1 . .
        = n is 6: the vector of thread 1 ends after x""",
        hints=("A vector may be moved if its last element exists: 4 * i + 3 < n.",
               "Otherwise move the elements 4 * i, … that are below n one by one."),
    ),
    Puzzle(
        "bug_uninitialized", "Find the bug: uninitialized memory",
        """y[b] is the sum of 128 elements, fewer for the last block. Shared memory begins with
        whatever was there, often zeros, so that the kernel seems right.""",
        "y[(n + 127) / 128] <- x[n]", "np.pad(x, (0, -n % 128)).reshape(-1, 128).sum(1)", sizes="n",
        cases=((128,), (1,), (200,), (0,)), measured=(1024,), tolerance=3, limits=Limits(traffic=1.1),
        picture="""
        x: 3 1 4 . . .
        s: 3 1 4 ? ? ?""",
        hints=("All 128 elements of s are read. Who writes those beyond n?", "s[t] = i < n ? x[i] : 0.0f;"),
    ),
    Puzzle(
        "bug_divergent", "Find the bug: a barrier in a branch",
        """Sums as a tree, as in puzzle 16. Every thread of a block must reach each __syncthreads(), or
        a GPU may wait for ever. The judge says "divergent barrier".""",
        "y[(n + 127) / 128] <- x[n]", "np.pad(x, (0, -n % 128)).reshape(-1, 128).sum(1)", sizes="n",
        cases=((128,), (1,), (200,), (0,)), measured=(1024,), tolerance=3, limits=Limits(traffic=1.1),
        picture="""
        thread: 0 1 2 3
        k=2: barrier barrier . .
        = threads 2 and 3 do not come""",
        hints=("Which threads execute the body of the if?",
               "Move the barrier out of the branch, into the loop."),
    ),
    Puzzle(
        "bug_banks", "Find the bug: bank conflicts",
        """y[r] is the sum of row r; n is a multiple of 32. A warp loads tiles of 32 x 32 row by row,
        then each lane adds up a row of the tile. Results are right, and global memory is read in order,
        but reading the tile takes 32 turns for a request. Mend the layout of the tile.""",
        "y[m] <- x[m, n]", "x.sum(1)", sizes="m n", cases=((32, 32), (5, 96), (33, 64), (2, 0)),
        measured=(64, 128), tolerance=5, limits=Limits(traffic=1.0, ways=1.0),
        picture="""
        bank: 0 1 2 3 / 0 1 2 3 / 0 1 2 3 / 0 1 2 3
        = four lanes that read the first column meet in bank 0 (4 banks here)""",
        hints=("The address of element (lane, j) is lane * 32 + j: its bank is j for all lanes.",
               "tile[32][33]"),
    ),
    Puzzle(
        "bug_mask", "Find the bug: a shuffle in a branch",
        """A sum of 64 elements by shuffles. The mask 0xffffffff promises that all 32 lanes take part;
        inside of the branch those beyond n do not. On a GPU such a lane's value is undefined.""",
        "y[(n + 63) / 64] <- x[n]", "np.pad(x, (0, -n % 64)).reshape(-1, 64).sum(1)", sizes="n",
        cases=((64,), (1,), (100,), (0,)), measured=(1024,), tolerance=3,
        picture="""
        lane: 0 1 2 3
        x: 3 1 4 .
        = lanes 0 to 2 ask lane 3, which is elsewhere""",
        hints=("Only the load needs the guard.", "float v = i < n ? x[i] : 0.0f; then all lanes shuffle."),
    ),
)  # fmt: skip
