"""Puzzles 26 to 31: a matrix product in five steps, and copies that run while a block computes."""

from __future__ import annotations

from typing import Any

from tinytensor.puzzles.problem import Limits
from tinytensor.puzzles.puzzle import Puzzle

PRODUCT: dict[str, Any] = {"signature": "c[m, n] <- a[m, k], b[k, n]", "reference": "a @ b", "sizes": "m n k"}
ANY: Any = ((1, 1, 1), (33, 70, 20), (65, 3, 77), (40, 33, 0))
PUZZLES = (
    Puzzle(
        "matmul", "A matrix product",
        """c = a b: each thread computes one element, a row of a times a column of b.

        Let the threads of a warp compute neighbors in a row of c: then they read one element of a
        together, and neighbors in a row of b. The other way around, a request moves 32 sectors.""",
        cases=ANY, measured=(64, 64, 64), limits=Limits(traffic=28), **PRODUCT,
        picture="""
        a: 1 2
        b: 5 6 / 7 8
        c: 19 22
        = 1 · 5 + 2 · 7 is 19""",
        hints=("threadIdx.x gives the column of c.",
               "for (int i = 0; i < k; i++) sum += a[row * k + i] * b[i * n + col];"),
    ),
    Puzzle(
        "matmul_tiled", "A matrix product by tiles",
        """A matrix product again, but each element that a block loads serves 32 threads: the block
        walks along k in steps of 32, loads a tile of a and one of b into shared memory, and multiplies
        them.

        Two barriers per step: one before the tiles are read, one before they are overwritten. Outside of a
        matrix a tile has zeros.""",
        cases=ANY, measured=(64, 64, 64), limits=Limits(traffic=1.7, ways=1.0), needs=("__shared__",),
        **PRODUCT,
        picture="""
        a: t1 t1 t2 t2
        b: t1 / t1 / t2 / t2
        = tiles of step 1 and step 2 for one block of c""",
        hints=("A block of 32 x 32 threads loads one element of each tile per thread.",
               "sum += as[threadIdx.y][i] * bs[i][threadIdx.x] for 32 values of i, between the two "
               "barriers."),
    ),
    Puzzle(
        "matmul_registers", "A matrix product in registers",
        """With tiles, each product needs two loads from shared memory, and these are now the limit.
        Let a thread compute 4 x 4 elements of c: four elements of a and four of b, once in registers,
        serve 16 products.

        A block of 16 x 16 threads then has a tile of 64 x 64 of c. Let thread (x, y) compute rows y, y +
        16, … and columns x, x + 16, …: neighbors read neighbors.""",
        cases=ANY, measured=(128, 128, 64), limits=Limits(traffic=1.6, requests="m * n * k / 50"), **PRODUCT,
        picture="""
        c: 0 1 0 1 / 2 3 2 3 / 0 1 0 1 / 2 3 2 3
        = the number is the thread (2 x 2 threads, with 2 x 2 elements each)""",
        hints=("float sum[4][4] = {}; the loops over it must be unrolled: #pragma unroll.",
               "Per step of k load a column of 4 from as[y + 16 i][step] and a row of 4 from bs[step][x + "
               "16 j]."),
    ),
    Puzzle(
        "matmul_vector", "A matrix product with vectors",
        """Here m and n are multiples of 64 and k of 16. Load 16 bytes at once, from global and from
        shared memory: then a thread needs two requests per step of k, not eight.

        For that the four rows of a thread must be neighbors in shared memory, so the tile of a is stored
        transposed: as[k][row]. Its rows must begin at multiples of 16 bytes.""",
        cases=((64, 64, 16), (128, 64, 32), (64, 128, 48)), measured=(128, 128, 64),
        limits=Limits(traffic=1.6, requests="m * n * k / 180"), needs=("float4",), **PRODUCT,
        picture="""
        as: r0 r0 r0 r0 r1 r1 r1 r1
        bs: c0 c0 c0 c0 c1 c1 c1 c1
        = one row of each tile; r0 is the vector of the threads in row 0""",
        hints=("Thread t loads a float4 of row t / 4 of a's tile, and writes it as four numbers of a column.",
               "float4 u = *(float4*)&as[step][4 * y], v = *(float4*)&bs[step][4 * x]; then 16 products."),
    ),
    Puzzle(
        "matmul_tensor_cores", "Tensor cores",
        """c = a bᵀ with a and b in 16 bits. m and k are multiples of 16, n of 8. A warp computes 16 x
        8 elements by tt_mma::m16n8k16<__half>(c, a, b, c) of mma.cuh, 16 steps of k in one instruction.

        Its operands are spread over the lanes. With g = lane / 4 and t = lane % 4, a register of a has two
        neighbors: a[0] (g, 2t), a[1] (g + 8, 2t), a[2] (g, 2t + 8), a[3] (g + 8, 2t + 8); of b, as (n, k):
        b[0] (g, 2t), b[1] (g, 2t + 8). The result: c[0] (g, 2t), c[1] (g, 2t + 1), c[2] and c[3] 8 rows
        below.""",
        "float32 c[m, n] <- float16 a[m, k], float16 b[n, k]", "a @ b.T", sizes="m n k",
        cases=((16, 8, 16), (32, 24, 48), (48, 8, 32)), measured=(64, 64, 64), limits=Limits(traffic=7.0),
        needs=("m16n8k16",), tolerance=10,
        picture="""
        a: 0 0 1 1 2 2 3 3 / 4 4 5 5 6 6 7 7
        = the first two rows and eight columns of a: the number is the lane whose a[0] has the element""",
        hints=("Two neighbors in 16 bits are one unsigned: *(const unsigned*)(a + row * k + column).",
               "Set c to zeros, loop over k in steps of 16, load six registers, multiply; at the end write "
               "four floats."),
    ),
    Puzzle(
        "double_buffer", "Asynchronous copies",
        """y has the elements of each piece of 512 in reverse order; n is a multiple of 512, and a
        block walks along a row. While it writes one piece, the next should already come:
        tt_mma::cp_async16(shared, global) of mma.cuh starts a copy of 16 bytes that needs no register,
        cp_async_commit() closes a group of copies, and cp_async_wait<1>() waits until at most one group is
        on its way.

        With two buffers: start piece i + 1, wait for piece i, barrier, use it, barrier.""",
        "y[m, n] <- x[m, n]", "x.reshape(m, -1, 512)[:, :, ::-1].reshape(m, n)", sizes="m n",
        cases=((1, 512), (2, 1536), (3, 1024), (2, 0)), measured=(4, 2048),
        limits=Limits(traffic=1.0, ways=1.0), needs=("cp_async16", "cp_async_wait"),
        picture="""
        copy: 0 1 2 3 .
        use: . 0 1 2 3
        buffer: . 0 1 0 1""",
        hints=("128 threads copy a piece: 4 floats each, s[buffer][4 * t].",
               "Commit in each step, also when nothing is left to copy: then wait<1> always means the "
               "piece in use."),
    ),
)  # fmt: skip
