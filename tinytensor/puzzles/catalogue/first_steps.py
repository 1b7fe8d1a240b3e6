"""Puzzles 1 to 8: threads and elements, and how tensors lie in memory."""

from __future__ import annotations

from tinytensor.puzzles.problem import Limits
from tinytensor.puzzles.puzzle import Puzzle

PUZZLES = (
    Puzzle(
        "map", "Map",
        """Compute y = 2 x + 1, one element per thread. n is a multiple of 64, and there are exactly n
        threads.

        A thread knows its place from threadIdx.x, blockIdx.x and blockDim.x. Neighboring threads should
        take neighboring elements: then the 32 threads of a warp read 128 bytes in one piece.""",
        "y[n] <- x[n]", "2 * x + 1", sizes="n", cases=((64,), (192,), (0,)), measured=(2048,),
        limits=Limits(traffic=1.0), fixed=True,
        picture="""
        block: 0 0 0 0 | 1 1 1 1 | 2 2 2 2
        thread: 0 1 2 3 | 0 1 2 3 | 0 1 2 3
        x: 0 1 2 3 | 4 5 6 7 | 8 9 10 11
        = element = block * threads of a block + thread (here 4 threads in a block)""",
        hints=("The element of a thread is i = blockIdx.x * blockDim.x + threadIdx.x.",
               "The body is two lines: const int i = …; y[i] = 2 * x[i] + 1;"),
    ),
    Puzzle(
        "guard", "Guard",
        """Compute y = x² for any n. The number of blocks is rounded up, so the last block may have
        threads without an element: they must read and write nothing.

        An access after the end of a buffer often changes no result. It is an error all the same; the judge
        reports it as "out of bounds".""",
        "y[n] <- x[n]", "x * x", sizes="n", cases=((1,), (63,), (65,), (1000,), (0,)), measured=(2048,),
        limits=Limits(traffic=1.0), fixed=True,
        picture="""
        thread: 0 1 2 3 | 4 5 6 7
        x: 0 1 2 3 | 4 5 . .
        = n is 6: threads 6 and 7 have no element""",
        hints=("Compare the index with n before any access.", "if (i < n) y[i] = x[i] * x[i];"),
    ),
    Puzzle(
        "zip", "Zip",
        """Compute z = a x + y, where a is a number. Choose the launch yourself: the comment before the
        kernel says how many blocks and threads run, and may use n.

        Every element is used once, so nothing is faster than reading x and y once and writing z once: 12
        bytes per element. That is the floor to which the judge compares your traffic.""",
        "z[n] <- x[n], y[n]", "a * x + y", sizes="n", cases=((1,), (255,), (1030,), (0,)), measured=(4096,),
        numbers={"a": 0.75}, limits=Limits(traffic=1.0),
        picture="""
        x: 0 1 2 3 4 5
        y: 0 1 2 3 4 5
        = thread i reads both elements i, and writes
        z: 0 1 2 3 4 5""",
        hints=("A block of 256 threads is a good choice; then (n + 255) / 256 blocks reach all elements.",
               "// launch: grid (n + 255) / 256, block 256, and a guard i < n in the kernel."),
    ),
    Puzzle(
        "matrix", "A map in two dimensions",
        """Compute y = max(x, 0) for a matrix of m rows and n columns. Rows lie one after the other:
        element (r, c) is at r * n + c.

        Blocks may have two dimensions. threadIdx.x runs fastest: threads that differ in x by one are
        neighbors in a warp. If x is the row, each thread of a warp reads from another row, and moves 32
        bytes for 4.""",
        "y[m, n] <- x[m, n]", "np.maximum(x, 0)", sizes="m n",
        cases=((1, 1), (33, 70), (5, 129), (70, 1), (0, 3)), measured=(64, 96),
        limits=Limits(traffic=1.05, lanes=31),
        picture="""
        x: 0,0 0,1 0,2 / 1,0 1,1 1,2
        = in memory:
        : 0,0 0,1 0,2 1,0 1,1 1,2""",
        hints=("threadIdx.x should give the column: const int c = blockIdx.x * blockDim.x + threadIdx.x.",
               "// launch: grid ((n + 31) / 32, (m + 7) / 8), block (32, 8); guard both r < m and c < n."),
    ),
    Puzzle(
        "broadcast", "Broadcast",
        """Compute y[r, c] = x[r] + b[c]: a column and a row, broadcast to a matrix.

        Nothing is copied to broadcast: an operand is read at the same place for many elements. If all
        threads of a warp read one address, that is one request of one sector.""",
        "y[m, n] <- x[m], b[n]", "x[:, None] + b", sizes="m n",
        cases=((1, 1), (31, 65), (64, 3), (2, 1500), (3, 0)), measured=(64, 128),
        limits=Limits(traffic=2.3, lanes=31),
        picture="""
        b: 0 1 2
        = x[r] + b[c]
        x: 0 / 1
        y: 0+0 0+1 0+2 / 1+0 1+1 1+2""",
        hints=("As in the puzzle before, let threadIdx.x give the column.",
               "y[r * n + c] = x[r] + b[c]; with guards for r and c."),
    ),
    Puzzle(
        "grid_stride", "Grid-stride loop",
        """Compute y = x / (1 + |x|) for any n, with the launch that the file fixes: 2 blocks of 64
        threads. So a thread must work on several elements.

        If it takes neighbors (8 in a row), the threads of a warp read far from each other. Let it take
        every 128th element: then all threads of the grid read one piece, and move on together.""",
        "y[n] <- x[n]", "x / (1 + np.abs(x))", sizes="n", cases=((1,), (100,), (129,), (1001,), (0,)),
        measured=(4096,), limits=Limits(traffic=1.0), fixed=True,
        picture="""
        thread: 0 1 2 3
        x: 0 1 2 3 | 0 1 2 3 | 0 1 . .
        = the number in x is the thread; the step is the number of threads, gridDim.x * blockDim.x""",
        hints=("Begin at the index of the thread in the grid; add gridDim.x * blockDim.x while it is below "
               "n.",
               "for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) …"),
    ),
    Puzzle(
        "strided", "A strided view",
        """Compute y = -x, where x is any view of two axes: transposed, every second column, backwards.
        The kernel gets the address of the first element and two strides, counted in elements, which may be
        negative. y is contiguous.

        This is how all kernels of the engine read views, without a copy.""",
        "y[m, n] <- x[m, n]", "-x", sizes="m n", cases=((4, 6), (33, 20), (7, 40), (16, 16), (9, 31), (1, 0)),
        measured=(32, 128), limits=Limits(traffic=1.0),
        picture="""
        memory: 0,0 1,0 0,1 1,1 0,2 1,2
        = x is the transpose of this: strides (1, 2)
        x: 0,0 0,1 0,2 / 1,0 1,1 1,2""",
        hints=("Element (r, c) of x is at r * x_stride_0 + c * x_stride_1.",
               "With one thread per element of y: r = i / n, c = i % n."),
    ),
    Puzzle(
        "any_rank", "A copy of any rank",
        """Copy a view of any number of axes, up to 8, into a contiguous y; in float32, float16 and
        int32, so the kernel is a template. Shape and strides come as arrays of x_rank integers.

        Take the index of the element of y apart, from the last axis: the remainder of a division by its
        length is the index along it. With x_rank 0 there is one element.""",
        "y[...] <- x[...]", "x", sizes="",
        cases=((), (6, 11), (5,), (3, 4, 5), (4, 7), (3, 0, 2), (2, 3, 1, 4), (2, 1, 2, 2, 1, 3, 2, 2)),
        measured=(16, 8, 32), dtypes=("float32", "float16", "int32"),
        picture="""
        i: 0 1 2 3 4 5
        = shape (2, 3): i % 3 is the column, i / 3 % 2 is the row
        x: 0,0 0,1 0,2 1,0 1,1 1,2""",
        hints=("Keep two integers: what is left of i, and the offset in x; walk from axis x_rank - 1 down "
               "to 0.",
               "For each axis: at += left % x_shape[a] * x_strides[a]; left /= x_shape[a];"),
    ),
)  # fmt: skip
