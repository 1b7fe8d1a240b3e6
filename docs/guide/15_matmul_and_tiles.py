# %% [markdown]
# # 15. Matrix product: from naive to tiles
#
# **Goal.** See why the plain matrix product keeps a GPU waiting for its memory, and how
# [tiles](glossary.md#tile) in shared memory change that. Every claim about traffic is counted, to the
# sector.
#
# Nearly all of the work of a GPT is matrix products. In an `n × n` product each result is a sum of `n`
# products, so `n³` multiplications use `2 n²` elements: each element is used `n` times. The question is
# whether it is also *fetched* `n` times.

# %%
import numpy as np
from lesson import Exercises, figure, show

import tinytensor as tt

exercises = Exercises("15_matmul_and_tiles")

# %% [markdown]
# ## One thread for each result
#
# The thread of row `row` and column `col` iterates over a row of A and a column of B. Two versions, which
# differ in one line: do neighboring threads take neighboring *rows*, or neighboring *columns*?

# %%
PLAIN = """
__global__ void matmul(float* c, const float* a, const float* b, int n) {
    const int x = blockIdx.x * 32 + threadIdx.x, y = blockIdx.y * 32 + threadIdx.y;
    const int row = ROW, col = COLUMN;
    if (row >= n || col >= n) return;
    float sum = 0;
    for (int i = 0; i < n; i++) sum += a[row * n + i] * b[i * n + col];
    c[row * n + col] = sum;
}
"""
# %% [markdown]
# ## Tiles
#
# A block of 32 × 32 threads computes a square of results. It needs 32 rows of A and 32 columns of B, and
# neighbors need the same elements. So the block fetches them together: each thread loads one element of A
# and one of B into [shared memory](glossary.md#shared-memory), all threads wait at a barrier, and then each
# of these elements is used 32 times. Then comes the next square tile, until the row is done.

# %%
TILED = """
__global__ void matmul(float* c, const float* a, const float* b, int n) {
    __shared__ float as[32][32], bs[32][32];
    const int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * 32 + y, col = blockIdx.x * 32 + x;
    float sum = 0;
    for (int start = 0; start < n; start += 32) {
        as[y][x] = row < n && start + x < n ? a[row * n + start + x] : 0.0f;
        bs[y][x] = start + y < n && col < n ? b[(start + y) * n + col] : 0.0f;
        __syncthreads();  // all numbers are there
        for (int i = 0; i < 32; i++) sum += as[y][i] * bs[i][x];
        __syncthreads();  // all have used them: now they may be overwritten
    }
    if (row < n && col < n) c[row * n + col] = sum;
}
"""

# %% [markdown]
# ## Four results for each thread
#
# Shared memory is fast, but not free: the tiled kernel reads two elements from it for each multiplication.
# If a thread computes four results of one column, it uses each element of B four times.

# %%
FOUR = """
__global__ void matmul(float* c, const float* a, const float* b, int n) {
    __shared__ float as[32][32], bs[32][32];
    const int x = threadIdx.x, y = threadIdx.y * 4, col = blockIdx.x * 32 + x;
    float sum[4] = {};
    for (int start = 0; start < n; start += 32) {
        for (int r = y; r < y + 4; r++) {
            const int row = blockIdx.y * 32 + r;
            as[r][x] = row < n && start + x < n ? a[row * n + start + x] : 0.0f;
            bs[r][x] = start + r < n && col < n ? b[(start + r) * n + col] : 0.0f;
        }
        __syncthreads();
        for (int i = 0; i < 32; i++) {
            const float right = bs[i][x];
            for (int r = 0; r < 4; r++) sum[r] += as[y + r][i] * right;
        }
        __syncthreads();
    }
    for (int r = 0; r < 4; r++) {
        const int row = blockIdx.y * 32 + y + r;
        if (row < n && col < n) c[row * n + col] = sum[r];
    }
}
"""
kernels = {  # the source, and how many threads a block has
    "neighbors on rows": (PLAIN.replace("ROW", "x").replace("COLUMN", "y"), (32, 32)),
    "neighbors on columns": (PLAIN.replace("ROW", "y").replace("COLUMN", "x"), (32, 32)),
    "tiles": (TILED, (32, 32)),
    "tiles, four results": (FOUR, (32, 8)),
}


def product(name, a, b):
    """C = A B by one of the kernels."""
    source, block = kernels[name]
    n = len(a)
    c = tt.empty(n, n, device=a.device)
    blocks = -(-n // 32)
    tt.cuda.kernel(source)[(blocks, blocks), block](c, a, b, n)
    return c


for n in (64, 33):  # a multiple of the tile, and one with a remainder
    a, b = [tt.randn(n, n, generator=tt.Generator(seed)).to("emulated") for seed in (1, 2)]
    right = a.cpu().numpy().astype(float) @ b.cpu().numpy().astype(float)
    for name in kernels:
        assert np.allclose(product(name, a, b).cpu().numpy(), right, atol=1e-4)

# %% [markdown]
# ## Counting
#
# All four agree with NumPy. Now let the checker count, for `n = 64`: the number of loads from global
# memory, the sectors of 32 bytes that they move, and the number of reads of shared memory.

# %%
n = 64
a, b = [tt.randn(n, n, generator=tt.Generator(seed)).to("emulated") for seed in (1, 2)]
loads, moved, shared, flops = {}, {}, {}, {}
for name in kernels:
    with tt.cuda.check(blocks=1000) as report:
        product(name, a, b)
    assert not report.findings
    fetching = [line for line in report.lines if line.space == "global" and line.way == "load"]
    loads[name] = sum([line.lanes for line in fetching])
    moved[name] = report.global_bytes
    shared[name] = sum([line.lanes for line in report.lines if line.space == "shared" and line.way == "load"])
    (kernel,) = report.kernels
    flops[name], least = kernel.flops, kernel.bytes
    print(
        f"{name:<22} {loads[name]:>8,} loads {moved[name]:>10,} bytes moved {shared[name]:>8,} shared loads"
    )
print(f"{'at least':<22} {2 * n * n:>8,}       {least:>10,}")

picture, axes = figure(size=(7, 3))
axes.barh(list(moved), [value / 1e6 for value in moved.values()])
axes.invert_yaxis()
axes.set_xscale("log")
axes.set(title="Bytes that a product of 64 × 64 moves", xlabel="MB (logarithmic)", ylabel="kernel")
axes.axvline(least / 1e6, color="gray", linestyle=":", label="each number once")
axes.legend()
show(picture, "Counted traffic of global memory. Each step changes who reads what, and never a result.")

# %% [markdown]
# These counts can be predicted, which is the point: the traffic of a kernel is arithmetic. A warp is 32
# neighbors in `x`.
#
# - **rows**: in each of the `n` steps a warp reads 32 rows of A (32 sectors) and one element of B (1
#   sector);
# - **columns**: it reads one element of A (1 sector), and 32 neighbors of B (4 sectors);
# - **tiles**: for each tile it reads 32 neighbors of A and of B (4 + 4 sectors), that is every 32 steps.
#
# In the end each warp writes its results: 32 sectors on rows, 4 on columns.

# %%
warps = n * n // 32
foretold = {
    "neighbors on rows": 32 * warps * (n * (32 + 1) + 32),
    "neighbors on columns": 32 * warps * (n * (1 + 4) + 4),
    "tiles": 32 * warps * (n // 32 * (4 + 4) + 4),
    "tiles, four results": 32 * warps * (n // 32 * (4 + 4) + 4),
}
print({name: f"{moved['neighbors on rows'] / value:.0f} times less" for name, value in moved.items()})

assert moved == foretold
assert loads["neighbors on columns"] == 2 * n**3  # each multiplication fetches two elements
assert loads["neighbors on columns"] == 32 * loads["tiles"]  # a tile of 32 fetches 32 times less often
assert moved["neighbors on columns"] > 16 * moved["tiles"]
assert moved["tiles"] < 2 * least
assert shared["tiles"] == 2 * n**3
assert shared["tiles, four results"] == (1 + 1 / 4) * n**3
assert set(flops.values()) in (
    {2 * n**3},
    {None},
)  # the same arithmetic in all four (None: objdump is missing)

# %% [markdown]
# A modern GPU does about 20 operations in the time in which its memory moves one byte. The plain kernel on
# columns does 2 · 64³ operations and moves 1.3 MB: 0.4 per byte, so it is memory-bound (caches help, but
# not enough). With tiles there are 6.4 per byte at `n = 64`, and more for larger matrices, up to 8. Larger
# tiles, and more results for each thread, increase it further: `python -m benchmarks kernels_lab matmul`
# runs eight versions, up to tensor cores.

# %%
per_byte = {name: 2 * n**3 / value for name, value in moved.items()}
print({name: round(value, 2) for name, value in per_byte.items()})

assert per_byte["neighbors on columns"] < 0.5
assert per_byte["tiles"] > 6

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** With tiles of 16 × 16 instead of 32 × 32: how many times more loads from global memory?

# %%
answer = None  # write a number
exercises.check(1, answer)

# %% [markdown]
# **Exercise 2.** How many loads from global memory does a tiled product make, for A `(m, k)` and B `(k, n)`
# and tiles of `tile × tile`? All sizes are multiples of the tile.


# %%
def loads_of(m, n, k, tile):
    """Loads from global memory by all threads together."""
    ...


exercises.check(2, loads_of)

# %% [markdown]
# **Exercise 3.** A block has 48 KB (49,152 bytes) of shared memory for its two square tiles of floats. What
# is the largest power of 2 that fits as the tile's side?

# %%
answer = None  # write a number
exercises.check(3, answer)

# %% [markdown]
# `exercises.solution(1)` prints a solution.
#
# To practise: puzzles 26 to 31, a matrix product in five steps. `python -m tinytensor puzzle 26`
# shows the first; a judge checks your solution.
