"""What a check finds in a kernel, and what it does not: structs by value, variables of the device, inactive
lanes, harmless races, barriers of macros, 16-bit floats. Each row is a kernel with its launch.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

import tinytensor as tt
from tests.helpers.emulated import of_texts


def kinds(report):
    return {finding.kind for finding in report.findings}


def zeros(n, dtype=tt.float32):
    return tt.zeros(n, dtype=dtype, device="emulated")


def ones(n, dtype=tt.float32):
    return tt.ones(n, dtype=dtype, device="emulated")


def upto(n, dtype=tt.float32):
    return tt.arange(n, dtype=dtype, device="emulated")


class Row(NamedTuple):
    """A kernel, its launch, and what must be said of it."""

    text: str
    grid: int
    block: int
    arguments: Callable[[], tuple[Any, ...]]
    found: set[str]
    warned: set[str] | None = None  # None: whatever they are
    said: str = ""  # pattern in the text of the first finding, or warning
    others: bool = False  # whether there may be findings of other kinds
    result: Any = None  # what the first argument holds afterwards, or a test of it
    shared: int = 0
    times: range | None = None  # how often the only finding was made


NONE = set()
RACE, SHARED, UNSET = {"global race"}, {"shared race"}, {"uninitialized shared read"}
INACTIVE, BARRIER, OUTSIDE = {"inactive lane"}, {"divergent barrier"}, {"out of bounds"}
INT = tt.int32
ROWS = {}

# ---- structs and variables ---------------------------------------------------------------------------------

BY_VALUE = """
struct P { float v; int i; };
__device__ INLINE P larger(P a, P b) { return a.v > b.v ? a : b; }
__global__ void k(float* y, const float* x) {
    __shared__ P s[64];
    const int t = threadIdx.x;
    s[t] = P{x[t], t};
    BARRIER
    P p = larger(s[t], s[63 - t]);
    p = larger(p, s[(t + 1) % 64]);
    y[t] = p.v;
}"""
for inline in ("__noinline__", ""):
    for barrier, found in (("", SHARED), ("__syncthreads();", NONE)):
        text = BY_VALUE.replace("INLINE", inline).replace("BARRIER", barrier)
        ROWS[f"structs by value, {inline} {barrier}"] = Row(
            text, 1, 64, lambda: (zeros(64), upto(64)), found, others=bool(found)
        )
ROWS["a struct by value, out of bounds"] = Row(
    """
    __device__ __noinline__ float sum(float4 v) { return v.x + v.y + v.z + v.w; }
    __global__ void k(float* y, const float4* x) { y[threadIdx.x] = sum(x[threadIdx.x]); }""",
    *(1, 64, lambda: (zeros(64), tt.cuda.pointer(SHORT)), OUTSIDE),
)
SHORT = zeros(4 * 63)
ROWS["a variable of the device"] = Row(
    "__device__ int c; __global__ void k(int* y) { c++; y[0] = 0; }",
    *(2, 64, lambda: (zeros(1, INT),), RACE),
    said="`c`",
    others=True,
)
ROWS["an array of the device"] = Row(
    """
    __device__ float table[64];
    __global__ void k(float* y, int last) {
        const float* t = table;
        if (blockIdx.x == 0) table[threadIdx.x] = 1;
        else y[threadIdx.x] = t[threadIdx.x + last];
    }""",
    *(2, 64, lambda: (zeros(64), 0), RACE),
)
for first, found in (("atomicExch", NONE), ("atomicAdd", UNSET)):
    ROWS[f"{first} initializes"] = Row(
        f"""
    __global__ void k(int* y) {{
        __shared__ int count;
        {first}(&count, 5);
        __syncthreads();
        y[threadIdx.x] = atomicAdd(&count, 1);
    }}""",
        *(1, 4, lambda: (zeros(4, INT),), found),
        result=None if found else lambda y: sorted(y) == [5, 6, 7, 8],
    )
OF_FILES = """
__shared__ float tile[64];  // { in a comment
namespace inner { __shared__ int count; }
struct Pair { float a, b; };
static __shared__ Pair pairs[2];
__device__ void put(int i, float v) { __shared__ float own; own = v; tile[i] = v; }
__global__ void turn(float* y, const float* x, int n) {
    if (threadIdx.x == 0) inner::count = n, pairs[1] = {1.0f * blockIdx.x, 2};
    put(threadIdx.x, x[threadIdx.x]);
    BARRIER
    y[blockIdx.x * 32 + threadIdx.x] = tile[inner::count - 1 - threadIdx.x] + pairs[1].a;
}"""
ROWS["shared variables of a file"] = Row(
    OF_FILES.replace("BARRIER", "__syncthreads();"),
    *(3, 32, lambda: (zeros(96), upto(32), 32), NONE),
    result=[31 - i % 32 + i // 32 for i in range(96)],
)
ROWS["shared variables of a file without a barrier"] = Row(
    OF_FILES.replace("BARRIER", ""), 3, 32, lambda: (zeros(96), upto(32), 32), SHARED, others=True
)
HALF = """
__global__ void turn(float* y, const TYPE* x) {
    __shared__ TYPE s[64];
    s[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = READ(s[63 - threadIdx.x]);
    if (threadIdx.x == 63) y[0] = READ(x[64]);
}"""
for dtype, kind, read in (
    *((tt.float16, "__half", "(float)"), (tt.float16, "__half", "__half2float")),
    *((tt.float16, "__half", "1.0f + bool"), (tt.float16, "__half", "__half(1.0f) < ")),
    *((tt.float16, "__half", "__half_as_ushort"), (tt.bfloat16, "__nv_bfloat16", "(float)")),
    *((tt.bfloat16, "__nv_bfloat16", "__bfloat162float"), (tt.float32, "float", "(float)")),
):
    ROWS[f"reads of {dtype} by {read}"] = Row(
        HALF.replace("TYPE", kind).replace("READ", read),
        *(
            1,
            64,
            lambda dtype=dtype: (tt.empty(64, device="emulated"), ones(64, dtype)),
            SHARED | UNSET | OUTSIDE,
        ),
        said=rf"byte {64 * dtype.itemsize} of `x`, a buffer of {64 * dtype.itemsize} bytes",
    )

# ---- lanes -------------------------------------------------------------------------------------------------

for body, block, said in (
    ("if (t < 16) v = __shfl_down_sync(0xffffu, v, 8);", 32, "takes no part"),
    ("if (t >= 16) return; v = __shfl_sync(0xffffffffu, v, 20);", 32, "has passed it by, or exited"),
    ("v = __shfl_down_sync(0xffffffffu, 1.0f, 16);", 20, "the block does not have"),
):
    ROWS[f"a read of an inactive lane that {said}"] = Row(
        f"__global__ void k(float* y) {{ int t = threadIdx.x; float v = t; {body} y[t] = v; }}",
        *(1, block, lambda: (zeros(32),), INACTIVE),
        said=said,
    )
for mask, use in (
    ("__ballot_sync(~0u, t < n)", "if (lane + k < 32 && m >> (lane + k) & 1) v += other;"),
    ("__ballot_sync(~0u, t < n)", "v += lane + k < 32 && m >> (lane + k) & 1 ? other : 0;"),
    ("__activemask()", "if (t + k < n) v += other;"),
):
    for kind, dtype in (("float", tt.float32), ("int", INT)):
        for block in (32, 20):
            ROWS[f"a value of an inactive lane that nothing uses: {mask} {use} {kind} {block}"] = Row(
                f"""
    __global__ void k({kind}* y, int n) {{
        const int t = threadIdx.x, lane = t % 32;
        {"if (t >= n) return;" if "active" in mask else ""}
        const unsigned m = {mask};
        if (t >= n) return;
        {kind} v = 1 << t;
        for (int k = 16; k > 0; k /= 2) {{
            const {kind} other = __shfl_down_sync(m, v, k);
            {use}
        }}
        y[t] = v;
    }}""",
                *(1, block, lambda dtype=dtype: (zeros(20, dtype), 20), NONE, {"value of an inactive lane"}),
                result=lambda y: y[0] == 2**20 - 1,
            )
for kind, dtype in (("float", tt.float32), ("double", tt.float64)):
    ROWS[f"a value of an inactive lane that is passed on: {kind}"] = Row(
        f"""
    __global__ void k({kind}* y, int n) {{
        const int t = threadIdx.x;
        const unsigned m = __ballot_sync(~0u, t < n);
        if (t >= n) return;
        {kind} v = 1;
        for (int k = 16; k > 0; k /= 2) v = v + __shfl_down_sync(m, v, k);
        if (t == 0) y[0] = v;  // of lane 18, which lane 2 has read
    }}""",
        *(1, 32, lambda dtype=dtype: (zeros(1, dtype), 18), INACTIVE),
        said="reads lane",
    )
VOTE = """
__global__ void k(float* y, const float* x) {
    __shared__ float s[32];
    const int t = threadIdx.x;
    s[t] = x[t];
    BEFORE
    const float v = s[(t + 1) % 32];
    const unsigned votes = __ballot_sync(~0u, v > 3);
    AFTER
    s[t] = __popc(votes);
    y[t] = v;
}"""
for before, after, found, warned, said in (
    ("__syncwarp();", "__syncwarp();", NONE, NONE, ""),
    # What each lane read went into the vote, but CUDA says that votes order no memory.
    ("__syncwarp();", "", NONE, {"read before a warp operation"}, "with only a vote at .*:8 between"),
    ("__any_sync(~0u, t);", "__syncwarp();", SHARED, NONE, "with only a vote at .*:6 between"),
):
    ROWS[f"a vote: {before} {after}"] = Row(
        VOTE.replace("BEFORE", before).replace("AFTER", after),
        *(1, 32, lambda: (zeros(32), ones(32)), found, warned, said),
    )

# ---- races -------------------------------------------------------------------------------------------------

EQUAL = "__global__ void k(float* y, float v) { y[0] = threadIdx.x < 40 ? 1.0f : v; }"
ROWS["a race of equal values"] = Row(EQUAL, 2, 64, lambda: (zeros(1), 1.0), NONE, {"same-value race"})
ROWS["a race of other values"] = Row(EQUAL, 2, 64, lambda: (zeros(1), 2.0), RACE)
ROWS["reads before loops of exchanges"] = Row(
    """
    __global__ void extremes(int* both, const int* x) {
        const int value = x[blockIdx.x * blockDim.x + threadIdx.x];
        int most = both[0], least = both[1], expected;
        do {
            expected = most;
            most = atomicCAS(both, expected, max(value, expected));
        } while (most != expected);
        do {
            expected = least;
            least = atomicCAS(both + 1, expected, min(value, expected));
        } while (least != expected);
    }""",
    *(2, 64, lambda: (zeros(2, INT), upto(128, INT) - 5), NONE, {"read before an atomic operation"}),
    result=[122, -5],
)
ROWS["a plain read of a counter"] = Row(
    """
    __global__ void k(int* y, int* n) {
        if (threadIdx.x < 32) atomicAdd(n, 1);
        else y[threadIdx.x] = *n;
    }""",
    *(1, 64, lambda: (zeros(64, INT), zeros(1, INT)), RACE),
)
for block in (0, 4, 9):  # the first four blocks are counted, too
    ROWS[f"the same thread of later blocks, from {block} on"] = Row(
        """
    __global__ void k(float* y, int block) {
        if (blockIdx.x >= block && threadIdx.x == 3) y[0] = blockIdx.x;
    }""",
        *(12, 32, lambda block=block: (zeros(1), block), RACE),
        said=rf"block \({block + 1}, 0, 0\), thread \(3, 0, 0\)",
        times=range(11 - block, 12 - block),
    )
ROWS["an unrolled loop without its barriers"] = Row(
    """
__global__ void sum(float* y, const float* x) {
    __shared__ float s[64];
    const int t = threadIdx.x;
    s[t] = x[t];
    __syncthreads();
    if (t < 32) {
        s[t] += s[t + 32];
        s[t] += s[t + 16];
        s[t] += s[t + 8];
        s[t] += s[t + 4];
        s[t] += s[t + 2];
        s[t] += s[t + 1];
    }
    if (t == 0) y[0] = s[0];
}""",
    *(1, 64, lambda: (zeros(1), ones(64)), SHARED),
    said=r"more pairs of lines from.*:8 to .*:13$",
    times=range(101, 10_000),
)

# ---- barriers ----------------------------------------------------------------------------------------------

for body, found in (
    ("STEP(1) STEP(2) for (int i = 0; i < 3; i++) { STEP(i) }", NONE),
    ("two(); two(); if (n) STEP(n)", NONE),
    ("if (t < n) { STEP(1) } else { STEP(2) }", BARRIER),
    ("STEP(1) if (t < 8) STEP(2)", NONE),
    ("if (t < n) WAIT else WAIT", BARRIER),
    ("if (t < n) LONG(1) else LONG(2)", BARRIER),
    ("WAIT LONG(1) for (int i = 0; i < 3; i++) { WAIT LONG(2) }", NONE),
):
    ROWS[f"barriers of a macro: {body}"] = Row(
        f"""
    #define STEP(a) {{ s[t] = a; __syncthreads(); y[t] = s[7 - t]; __syncthreads(); }}
    #define WAIT __syncthreads();
    #define LONG(a) {{        \\
            y[t] = a;        \\
            __syncthreads(); \\
        }}
    __device__ void two() {{ __syncthreads(); __syncthreads(); }}
    __global__ void k(int* y, int n) {{
        __shared__ int s[8];
        const int t = threadIdx.x;
        {body}
    }}""",
        *(1, 8, lambda: (zeros(8, INT), 4), found),
    )
GRID = """
#include <cooperative_groups.h>
#include <cuda/barrier>
__global__ void k(int* y, int* parts) {
    __shared__ cuda::barrier<cuda::thread_scope_block> met;
    __shared__ int own[32], other[32];
    extern __shared__ int more[];
    const auto all = cooperative_groups::this_grid();
    const int t = threadIdx.x, rank = all.thread_rank();
    if (t == 0) init(&met, 32);
    __syncthreads();
    own[t] = rank;
    met.arrive_and_wait();
    more[t] = own[31 - t];
    parts[rank] = 1;
    BARRIER
    int sum = 100 * own[31 - t] + more[t];
    for (int i = 0; i < all.size(); i++) sum += parts[i];
    all.sync();
    LAST
    y[rank] = sum;
}"""
for barrier, last, found in (
    ("all.sync();", "other[31 - t] = sum; met.arrive_and_wait(); sum = other[t];", NONE),
    ("__syncthreads();", "", RACE),
    ("all.sync();", "parts[t] = sum;", RACE),
    ("all.sync();", "sum += other[t];", UNSET),
    ("all.sync();", "own[0] = t; sum += own[t];", SHARED),
):
    ROWS[f"around a barrier of the grid: {barrier} {last}"] = Row(
        GRID.replace("BARRIER", barrier).replace("LAST", last),
        *(3, 32, lambda: (zeros(96, INT), zeros(96, INT)), found),
        others=bool(found),
        shared=128,
        # 101 times the rank of its mirror image, and 96 ones; given to that thread
        result=None if found else [101 * rank + 96 for rank in range(96)],
    )


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    file = tmp_path_factory.mktemp("rows") / "rows.cu"
    return of_texts(file, {name: row.text for name, row in ROWS.items()}, "checked", "emulated")


@pytest.mark.parametrize("name", ROWS)
def test_what_a_check_finds(kernels, name):
    row = ROWS[name]
    arguments = row.arguments()
    with tt.cuda.check() as report:
        kernels[name][row.grid, row.block, row.shared](*arguments)
    assert kinds(report) == row.found or (row.others and kinds(report) > row.found), str(report)
    assert row.warned is None or {warning.kind for warning in report.warnings} == row.warned, str(report)
    texts = [finding.text for finding in (*report.findings, *report.warnings)]
    assert not row.said or any(re.search(row.said, text) for text in texts), str(report)
    assert row.times is None or [f.count in row.times for f in report.findings] == [True]
    if not any(finding.stopped for finding in report.findings):
        assert report.kernels[0].counted == min(row.grid, 4)
    if row.result is not None:
        y = arguments[0].tolist()
        assert row.result(y) if callable(row.result) else y == row.result


def test_shared_variables_of_a_file_without_a_check(kernels):
    y = zeros(96)
    kernels["shared variables of a file"][3, 32](y, upto(32), 32)
    assert y.tolist() == [31 - i % 32 + i // 32 for i in range(96)]
