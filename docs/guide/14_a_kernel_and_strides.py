# %% [markdown]
# # 14. A kernel and its strides
#
# **Goal.** Write a program for a GPU, a [kernel](glossary.md#kernel), and run it without one. Let it read
# any view: transposed, every second column, backwards. Then count the cost of each.
#
# The kernels of this lesson are CUDA C++. On the device `emulated` the same source is compiled for the
# processor of this machine, so it needs a C++ compiler (g++, clang, or the package `ziglang`), and no GPU.

# %%
import numpy as np
from lesson import Exercises, figure, show

import tinytensor as tt
from tinytensor.errors import ShapeError

exercises = Exercises("14_a_kernel_and_strides")

# %% [markdown]
# ## Many threads, one program
#
# A kernel is a function that thousands of threads run at once. Threads come in **blocks** of equal size,
# and all blocks together are the **grid**. Each thread knows the index of its block and its own index in
# it, and computes from both the index of its element: `i = blockIdx.x * blockDim.x + threadIdx.x`.
#
# The last block may exceed the data, so each thread checks its index against the size.

# %%
double = tt.cuda.kernel("""
__global__ void double_all(float* y, const float* x, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = 2 * x[i];
}
""")
x = tt.arange(1000, dtype=tt.float32, device="emulated")
y = tt.empty(1000, device="emulated")
double[4, 256](y, x, 1000)  # 4 blocks of 256 threads
print(y[:5].tolist(), "…", y[-1].item())

numbers = sorted([block * 256 + thread for block in range(4) for thread in range(256)])

assert numbers == list(range(1024))  # one thread per element, and 24 idle threads
assert y.tolist() == [2.0 * i for i in range(1000)]

# %% [markdown]
# ## A kernel gets an address
#
# A tensor is a buffer, a shape, strides and an offset (lesson 4). A kernel gets the address of the first
# element, and nothing else. If it reads `x[i]` as element `i`, a transposed view gives wrong results. So
# the engine raises an error:

# %%
square = tt.arange(16, dtype=tt.float32, device="emulated").reshape(4, 4)
out = tt.empty(4, 4, device="emulated")
try:
    double[1, 32](out, square.T, 16)
except ShapeError as error:
    refusal = str(error)
print(refusal)

assert "strides (1, 4)" in refusal

# %% [markdown]
# ## Strides as arguments
#
# `tt.cuda.pointer(view)` passes the address of the first element of any view. The kernel gets the strides,
# too, and finds the element of row `r` and column `c` at `x[r * row_stride + c * column_stride]`. One
# kernel now reads all views.

# %%
copy = tt.cuda.kernel("""
__global__ void copy(float* y, const float* x, int rows, int columns, int row_stride, int column_stride) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= rows * columns) return;
    const int r = i / columns, c = i % columns;
    y[i] = x[r * row_stride + c * column_stride];
}
""")


def copied(view):
    """A contiguous copy of a view with two axes, by our kernel."""
    y = tt.empty(*view.shape, device=view.device)
    blocks = -(-view.size // 128)  # rounded up
    copy[blocks, 128](y, tt.cuda.pointer(view), *view.shape, *view.strides)
    return y


n = 64
x = tt.arange(n * n, dtype=tt.float32, device="emulated").reshape(n, n)
views = {
    "as it lies": x,
    "backwards": x[:, ::-1],
    "every second column": x[:, ::2],
    "every eighth column": x[:, ::8],
    "transposed": x.T,
    "one column, repeated": x[:, :1].expand(n, n),
}
for name, view in views.items():
    print(f"{name:<22} shape {view.shape!s:<9} strides {view.strides!s:<9} offset {view.offset}")
    assert view.shares_memory(x)  # no view has its own memory
    assert copied(view).tolist() == view.tolist()

# %% [markdown]
# ## Any number of axes
#
# For views of more axes, shape and strides come as arrays. The thread decomposes its index, from the last
# axis to the first: the remainder of the division by the size is the index along this axis. The heads of
# attention are read in place like this: `(B, T, C)` viewed as `(B, heads, T, C / heads)`.

# %%
copy_any = tt.cuda.kernel("""
__global__ void copy_any(float* y, const float* x, const int* shape, const int* strides, int axes, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int left = i, place = 0;
    for (int a = axes - 1; a >= 0; a--) {
        place += left % shape[a] * strides[a];
        left /= shape[a];
    }
    y[i] = x[place];
}
""")
B, T, heads, size = 2, 5, 4, 8
packed = tt.randn(B, T, heads * size, generator=tt.Generator(1)).to("emulated")
view = packed.reshape(B, T, heads, size).transpose(1, 2)
shape, strides = [tt.tensor(list(v), dtype=tt.int32, device="emulated") for v in (view.shape, view.strides)]
y = tt.empty(*view.shape, device="emulated")
copy_any[-(-view.size // 128), 128](y, tt.cuda.pointer(view), shape, strides, view.ndim, view.size)
print("shape", view.shape, "strides", view.strides)

assert view.strides == (T * heads * size, size, heads * size, 1)
assert y.tolist() == view.tolist()

# %% [markdown]
# ## The cost of strides
#
# All views gave correct results. Their costs differ. On a GPU 32 threads form a [warp](glossary.md#warp),
# and read together. Memory moves in blocks of 32 bytes, **sectors**. If 32 neighbors read 32 neighboring
# floats, that is 128 bytes, 4 sectors. If each reads another row, that is 32 sectors, and of each sector 4
# bytes of 32 are used.
#
# `tt.cuda.check()` counts sectors. The counts are exact and the same on every machine. They are not times.

# %%
sectors = {}
for name, view in views.items():
    with tt.cuda.check(blocks=1000) as report:
        copied(view)
    (load,) = [line for line in report.lines if line.way == "load"]
    sectors[name] = load.sectors_per_request
    print(f"{name:<22} {load.sectors_per_request:4.0f} sectors a request, {load.efficiency:.0%} of them used")
    assert not report.findings

picture, axes = figure(size=(7, 3))
axes.barh(list(sectors), list(sectors.values()))
axes.invert_yaxis()
axes.set(title="What 32 threads move to read 32 numbers", xlabel="sectors of 32 bytes", ylabel="view")
show(
    picture, "The same kernel and as many numbers, read through different strides. Fewer sectors are better."
)

assert sectors["as it lies"] == sectors["backwards"] == 4
assert sectors["every second column"] == 8
assert sectors["every eighth column"] == 32
assert sectors["transposed"] == 32
assert sectors["one column, repeated"] == 1  # all 32 threads read one element

# %% [markdown]
# The kernels of the engine are written like this one: an address, a shape, strides. Here is one of them, on
# a transposed view, compared with the NumPy code on the CPU.

# %%
on_device = tt.softmax(x.T / 1000.0)
on_cpu = tt.softmax(x.cpu().T / 1000.0)

assert np.allclose(on_device.cpu().numpy(), on_cpu.numpy(), atol=1e-6)

# %% [markdown]
# ## Exercises
#
# **Exercise 1.** Blocks have 128 threads. Which element does thread 5 of block 2 work on?

# %%
answer = None  # write a number
exercises.check(1, answer)

# %% [markdown]
# **Exercise 2.** 32 threads read floats of 4 bytes that are `stride` elements apart; the first one is at
# address 0. How many sectors of 32 bytes is that?


# %%
def sectors_of(stride):
    """Sectors that one request touches."""
    ...


exercises.check(2, sectors_of)

# %% [markdown]
# **Exercise 3.** Write a kernel `add_bias` with this declaration. `x` is a view with strides, `b` has one
# element for each column, and `y` is contiguous: `y[r, c] = x[r, c] + b[c]`. The function returns the
# source as a string.
#
#     __global__ void add_bias(float* y, const float* x, const float* b, int rows, int columns,
#                              int row_stride, int column_stride)


# %%
def add_bias():
    """The source of the kernel."""
    ...


exercises.check(3, add_bias)

# %% [markdown]
# `exercises.solution(1)` prints a solution.
#
# To practise: puzzles 1 to 8, about threads and strides. `python -m tinytensor puzzle 1`
# shows the first; a judge checks your solution.
