# %% [markdown]
# # 16. Finding a race
#
# **Goal.** Learn about the worst bug of parallel programs, the [race](glossary.md#race), and how to find it
# by file and line, though the result may look right. Then fix it, and see three fixes that do not work.
#
# Threads of a block run in no fixed order. If one thread writes an element that another one reads, and
# nothing orders the two, the result depends on which came first. It may be right a thousand times, and
# wrong on another machine.

# %%
import numpy as np
from lesson import Exercises, figure, show

import tinytensor as tt
from tinytensor.errors import KernelError
from tinytensor.runtime import runtime_of

exercises = Exercises("16_finding_a_race")

# %% [markdown]
# ## The sum of a block
#
# 256 threads add up 256 elements in 8 steps. In the first one, thread 0 adds element 128 to element 0,
# thread 1 adds 129 to 1, and so on: then 128 sums remain, then 64, finally one. Each step needs the results
# of the step before it, which *other* threads have computed. Here the threads do not wait for them.

# %%
WRONG = """
__global__ void block_sum(float* y, const float* x) {
    __shared__ float s[256];
    const int t = threadIdx.x;
    s[t] = x[blockIdx.x * 256 + t];
    for (int step = 128; step > 0; step /= 2) {
        if (t < step) s[t] += s[t + step];
    }
    if (t == 0) y[blockIdx.x] = s[0];
}
"""


def sums(source, x, order=0):
    """Sum of each block of 256 elements; threads of a block run forwards (order 0) or backwards (1)."""
    y = tt.empty(len(x) // 256, device=x.device)
    with runtime_of(tt.Device("emulated")).schedule(order=order):
        tt.cuda.kernel(source)[len(y), 256](y, x)
    return y.tolist()


x = tt.arange(512, dtype=tt.float32, device="emulated")
right = x.cpu().reshape(2, 256).sum(1).tolist()
print("right    ", right)
print("forwards ", sums(WRONG, x))
print("backwards", sums(WRONG, x, order=1))

assert sums(WRONG, x) != sums(WRONG, x, order=1)  # one program, one input, two results

# %% [markdown]
# The emulator runs the threads of a block one after the other, each as far as it can. A GPU interleaves
# them in any order. So no test of results proves that a kernel is right: only checking the accesses does.
#
# ## The checker reports the line
#
# `tt.cuda.check()` checks each access of each thread. Two accesses of different threads to one address, one
# of them a write, and no barrier between them: that is a race, whatever the result. With
# `tt.cuda.check(record=True)`, `lab.page(report)` is a page that goes through the kernel step by step, to
# both accesses.

# %%


def check(source, *arguments, grid=2, block=256):
    """Findings of the checker in one launch."""
    with tt.cuda.check() as report:
        tt.cuda.kernel(source)[grid, block](*arguments)
    return report.findings


def line_of(place, source):
    """The line of the source at file:line."""
    return source.splitlines()[int(place.rpartition(":")[2]) - 1].strip()


findings = check(WRONG, tt.empty(2, device="emulated"), x)
races = [finding for finding in findings if finding.kind == "shared race"]
print(races[0])
for place in {race.place for race in races}:
    print("line:", line_of(place, WRONG))

assert races
assert "if (t < step) s[t] += s[t + step];" in {line_of(race.place, WRONG) for race in races}
assert all(["s[" in line_of(race.place, WRONG) for race in races])  # the racing lines, and no other line

# %% [markdown]
# On the device `checked` every launch is checked, and the first finding raises an error.

# %%
try:
    tt.cuda.kernel(WRONG)[2, 256](tt.empty(2, device="checked"), x.to("checked"))
except KernelError as error:
    message = str(error)
print(message)

assert "kernel block_sum: " in message

# %% [markdown]
# ## The fix, and three wrong ones
#
# A barrier, `__syncthreads()`, makes each thread of the block wait until all have reached it. Where does it
# belong? Four attempts:
#
# 1. **once, before the loop**: the first step is safe then, the others are not;
# 2. **in each step, but for a warp only**, with `__syncwarp()`: that orders 32 neighbors, but the partners
#    of a step are farther apart;
# 3. **inside the `if`, and once after the loop**: some threads wait at one barrier and the others at
#    another one, which is an error, too;
# 4. **at the beginning of each step**: each step waits for the one before.

# %%
LOOP = "    for (int step = 128; step > 0; step /= 2) {\n"
ADD = "        if (t < step) s[t] += s[t + step];\n"
LAST = "    if (t == 0) y"
tries = {
    "before the loop": WRONG.replace(LOOP, "    __syncthreads();\n" + LOOP),
    "for a warp only": WRONG.replace(LOOP, LOOP + "        __syncwarp();\n"),
    "inside the if": WRONG.replace(
        ADD, "        if (t < step) { __syncthreads(); s[t] += s[t + step]; }\n"
    ).replace(LAST, "    __syncthreads();\n" + LAST),
    "in each step": WRONG.replace(LOOP, LOOP + "        __syncthreads();\n"),
}
kinds = {}
for name, source in tries.items():
    found = check(source, tt.empty(2, device="emulated"), x)
    kinds[name] = sorted({finding.kind for finding in found})
    print(f"{name:<16}", kinds[name] or "nothing found")
mended = tries["in each step"]

assert "shared race" in kinds["before the loop"]
assert "shared race" in kinds["for a warp only"]
assert "divergent barrier" in kinds["inside the if"]
assert kinds["in each step"] == []
assert sums(mended, x) == sums(mended, x, order=1) == right

# %% [markdown]
# ## Races between blocks
#
# A barrier orders one block. Blocks cannot wait for each other, so two blocks must not write to one
# address, unless the access is **atomic**: read, add and write as one indivisible step.
#
# A histogram counts how often each letter occurs. Many threads read the same letter:

# %%
COUNT = """
__global__ void histogram(int* counts, const int* letters, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) ADD;
}
"""
letters = tt.tensor([i * i % 7 for i in range(512)], dtype=tt.int32, device="emulated")
results = {}
for name, add in (("plain", "counts[letters[i]] += 1"), ("atomic", "atomicAdd(&counts[letters[i]], 1)")):
    counts = tt.zeros(7, dtype=tt.int32, device="emulated")
    found = check(COUNT.replace("ADD", add), counts, letters, 512)
    results[name] = counts.tolist(), {finding.kind for finding in found}
    print(f"{name:<7}", *results[name])
expected = np.bincount(letters.cpu().numpy(), minlength=7).tolist()

picture, axes = figure(size=(6, 3))
axes.bar(range(7), expected)
axes.set(title="How many threads add to the same number", xlabel="letter", ylabel="threads")
show(
    picture,
    "512 threads, 7 counters. Without atomic additions the threads of a bar overwrite each other.",
)

assert results["plain"] == (expected, {"global race"})  # right by chance: here each thread ran uninterrupted
assert results["atomic"] == (expected, set())

# %% [markdown]
# ## Other findings
#
# Two more bugs whose results often look right: reading out of bounds, which returns other data, and reading
# uninitialized memory, which returns old data.

# %%
SHIFT = """
__global__ void shift(float* y, const float* x, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i + 1];
}
"""
FORGOT = """
__global__ void forgot(float* y, const float* x) {
    __shared__ float s[64];
    const int t = threadIdx.x;
    if (t < 32) s[t] = x[t];
    __syncthreads();
    y[t] = s[63 - t];
}
"""
past = check(SHIFT, tt.empty(512, device="emulated"), x, 512)
unwritten = check(FORGOT, tt.empty(64, device="emulated"), x, grid=1, block=64)
print(past[0])
print(unwritten[0])

assert past[0].kind == "out of bounds"
assert past[0].count == 1  # one thread of 512
assert "x[i + 1]" in line_of(past[0].place, SHIFT)
assert unwritten[0].kind == "uninitialized shared read"
assert unwritten[0].count == 32
assert "s[63 - t]" in line_of(unwritten[0].place, FORGOT)

# %% [markdown]
# All kernels of the engine are checked like this in its tests; `python -m tinytensor check all` does it
# here. The end of `docs/kernels.md` lists what cannot be checked without a GPU.
#
# ## Exercises
#
# **Exercise 1.** How many steps does the sum of a block of 1024 threads take?

# %%
answer = None  # write a number
exercises.check(1, answer)

# %% [markdown]
# **Exercise 2.** This kernel reverses a block of 64 elements. Return it with the missing line added, and no
# other change.
#
#     __global__ void turn(float* x) {
#         __shared__ float s[64];
#         const int t = threadIdx.x;
#         s[t] = x[t];
#         x[t] = s[63 - t];
#     }


# %%
def turn():
    """The source of the kernel."""
    ...


exercises.check(2, turn)

# %% [markdown]
# **Exercise 3.** Write a kernel that finds the largest of `n` integers, with any number of blocks:
# `largest[0]` is initialized to the smallest integer. Its declaration is
# `__global__ void find(int* largest, const int* x, int n)`.


# %%
def find():
    """The source of the kernel."""
    ...


exercises.check(3, find)

# %% [markdown]
# `exercises.solution(1)` prints a solution.
#
# To practise: puzzles 43 to 50, kernels with a bug each. `python -m tinytensor puzzle 43`
# shows the first; a judge checks your solution.
