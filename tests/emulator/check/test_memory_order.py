"""Fences, atomic operations and volatile accesses order threads and blocks; without, there is a race."""

import re

import pytest

import tinytensor as tt
from tests.helpers.emulated import compile_together
from tests.helpers.source import ROOT
from tinytensor.errors import KernelError

SOURCE = ROOT / "tests" / "device_code" / "litmus.cu"
TEXT = SOURCE.read_text(encoding="utf-8")
KERNELS = re.findall(r"__global__ void (\w+)\(", TEXT)
READ_LATE = KERNELS[KERNELS.index("message_read_late") :]  # the fence is that of the side that reads
RESULTS = {
    "message_in_block": (0, 7.0),
    "message_within_a_block": (0, 7.0),
    "lock_taken_late": (0, 3.0),
    "last_block": (0, 3.0),
    "last_block_of_threads": (0, 192.0),
    "write_after_the_ticket": (0, 3.0),
    "spin_lock": (0, 3.0),
    "spin_lock_of_warps": (0, 2.0),
    "look_back": (2, 3.0),
    "look_back_by_tickets": (2, 3.0),
}


def lines_of(name):
    """Lines of a kernel at which a race is expected."""
    kernel = ""
    found = set()
    for number, line in enumerate(TEXT.splitlines(), 1):
        if match := re.search(r"__global__ void (\w+)\(", line):
            kernel = match[1]
        if kernel == name and line.endswith("// expect"):
            found.add(f"litmus.cu:{number}")
    return found


def twin(source, name, right):
    """The right or the wrong twin of a kernel; all of its source are compiled together."""
    kernel = tt.cuda.kernel(source, name, right)
    text = kernel.source.read_text(encoding="utf-8")
    instances = [(each, (r,)) for each in re.findall(r"__global__ void (\w+)\(", text) for r in (False, True)]
    compile_together(kernel.source, tuple(instances), "checked", "emulated")
    return kernel


def check(source, name, right, grid, block, *arguments):
    """The report of a twin's launch, and the kinds of its findings, of which the right one has none."""
    with tt.cuda.check() as report:
        twin(source, name, right)[grid, block](*arguments)
    kinds = {finding.kind for finding in report.findings}
    assert not (right and kinds), str(report)
    return report, kinds


def launch(name, fence):
    y, flags = tt.zeros(256, device="emulated"), tt.zeros(8, dtype=tt.uint32, device="emulated")
    return *check(SOURCE, name, fence, 3, 64, y, flags, 0), y.tolist()


@pytest.mark.parametrize("name", KERNELS)
def test_with_its_fence_nothing_is_found(name):
    *_, y = launch(name, True)
    at, expected = RESULTS.get(name, (1 if "message" in name and "passed" not in name else 2, 7.0))
    assert y[at] == expected


@pytest.mark.parametrize("name", KERNELS)
def test_a_missing_fence_is_found(name):
    report, kinds, _ = launch(name, False)
    assert {f.place for f in report.findings} >= lines_of(name), str(report)
    assert kinds <= {"shared race", "global race"}
    assert (name in READ_LATE) == any("no fence follows" in f.text for f in report.findings)


READERS = """
#include <cuda/barrier>
// Two warps read `data`, and the third one overwrites it.
template <bool RIGHT> __global__ void by_barrier(float* y) {
    __shared__ float data[32];
    __shared__ cuda::barrier<cuda::thread_scope_block> done;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (threadIdx.x == 0) init(&done, RIGHT ? 96 : 64);
    if (warp == 2) data[lane] = lane;
    __syncthreads();
    if (warp < 2) {
        y[threadIdx.x] = data[lane];
        if (RIGHT || warp == 0) done.arrive();
    } else {
        done.arrive_and_wait();
        data[lane] = -1;
    }
}
template <bool RIGHT> __global__ void by_counter(float* y) {
    __shared__ float data[32];
    __shared__ unsigned done;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (threadIdx.x == 0) done = 0;
    if (warp == 2) data[lane] = lane;
    __threadfence_block();
    __syncthreads();
    if (warp < 2) {
        y[threadIdx.x] = data[lane];
        if (RIGHT || warp == 0) __threadfence_block();
        atomicAdd(&done, 1);
    } else {
        while (atomicAdd(&done, 0) < 64) {}
        __threadfence_block();
        data[lane] = -1;
    }
}
// Each step reads what two warps have written, and overwrites what two have read.
template <bool RIGHT> __global__ void in_steps(float* y) {
    __shared__ float from[2][96];
    __shared__ cuda::barrier<cuda::thread_scope_block> met;
    if (threadIdx.x == 0) init(&met, 96);
    from[0][threadIdx.x] = 1;
    __syncthreads();
    for (int step = 0; step < 4; step++) {
        const float* x = from[step % 2];
        from[(step + 1) % 2][threadIdx.x] = x[threadIdx.x] + x[(threadIdx.x + 95) % 96];
        if (RIGHT || step != 2) met.arrive_and_wait();
    }
    y[threadIdx.x] = from[0][threadIdx.x];
}
"""


@pytest.mark.parametrize("name", ["by_barrier", "by_counter", "in_steps"])
def test_a_write_after_reads_of_several_warps(name):
    expected = [16.0] * 96 if name == "in_steps" else [*map(float, range(32))] * 2 + [0.0] * 32
    for right in (True, False):
        y = tt.zeros(96, device="emulated")
        _, kinds = check(READERS, name, right, 1, 96, y)
        assert y.tolist() == expected if right else kinds == {"shared race"}


COPIES = """
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cuda/pipeline>
#include <cuda_pipeline.h>
namespace cg = cooperative_groups;

// Each thread waits for its own copies: y[i] = x[i].
template <bool WAITS> __global__ void by_stages(float* y, const float* x) {
    __shared__ float s[2][96];
    auto pipe = cuda::make_pipeline();
    for (int i = 0; i < 5; i++) {
        if (i < 4) {
            pipe.producer_acquire();
            cuda::memcpy_async(&s[i % 2][threadIdx.x], x + 96 * i + threadIdx.x, sizeof(float), pipe);
            pipe.producer_commit();
        }
        if (i == 0) continue;
        if (WAITS) pipe.consumer_wait();
        y[96 * (i - 1) + threadIdx.x] = s[(i - 1) % 2][threadIdx.x];
        pipe.consumer_release();
    }
}
// The last stage but one is awaited, or none.
template <bool WAITS> __global__ void by_prior(float* y, const float* x) {
    __shared__ float2 s[2][96];
    for (int i = 0; i < 2; i++) {
        __pipeline_memcpy_async(&s[i][threadIdx.x], (const float2*)x + 96 * i + threadIdx.x, sizeof(float2));
        __pipeline_commit();
    }
    if (WAITS) __pipeline_wait_prior(1);
    ((float2*)y)[threadIdx.x] = s[0][threadIdx.x];
    __pipeline_wait_prior(0);
    ((float2*)y)[96 + threadIdx.x] = s[1][threadIdx.x];
}
template <bool WAITS> __global__ void by_group(float* y, const float* x) {
    __shared__ float s[384];
    const auto block = cg::this_thread_block();
    cg::memcpy_async(block, s, x, 192 * sizeof(float));
    cg::memcpy_async(block, s + 192, x + 192, 192 * sizeof(float));
    if (WAITS) cg::wait_prior<1>(block);
    else block.sync();
    for (int i = threadIdx.x; i < 192; i += 96) y[i] = s[i];
    cg::wait(block);
    for (int i = threadIdx.x; i < 192; i += 96) y[192 + i] = s[192 + i];
}
"""


@pytest.mark.parametrize("name", ["by_stages", "by_prior", "by_group"])
def test_a_missing_wait_for_copies_of_any_size(name):
    x = tt.arange(384.0, device="emulated")
    y, z = tt.zeros(384, device="emulated"), tt.zeros(384, device="emulated")
    check(COPIES, name, True, 1, 96, y, x)
    twin(COPIES, name, True)[1, 96](z, x)
    assert y.tolist() == z.tolist() == x.tolist()
    assert "unfinished copy" in check(COPIES, name, False, 1, 96, y, x)[1]


BLOCKS = ROOT / "tests" / "device_code" / "order_in_blocks.cu"
WARPS = re.findall(r"__global__ void (\w+)\(", BLOCKS.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", WARPS)
def test_order_of_warps(name):
    grid, block = (1, 1024) if name == "tiles" else (2, 96)
    for right in (True, False):
        y, count = tt.zeros(1024, device="emulated"), tt.zeros(1, dtype=tt.uint32, device="emulated")
        _, kinds = check(BLOCKS, name, right, grid, block, y, count)
        assert right or kinds & {"shared race", "global race"}
        if right:
            assert 7.0 in y[:96].tolist()
            assert set(y.tolist()) <= {0.0, 7.0}


def test_a_schedule_does_not_part_a_matrix():
    y, count = tt.zeros(1024, device="emulated"), tt.zeros(1, dtype=tt.uint32, device="emulated")
    with tt.cuda.check(schedules=20) as report:
        twin(BLOCKS, "matrix", True)[2, 96](y, count)
    assert not report.findings, str(report)
    assert not report.schedules, str(report)


def test_schedules_of_a_kernel_with_a_barrier_of_the_grid_are_refused():
    """Blocks would have to run in turns."""
    source = """
    #include <cooperative_groups.h>
    __global__ void meet(float* y) {
        y[blockIdx.x] = 1;
        cooperative_groups::this_grid().sync();
        y[2 + blockIdx.x] = y[1 - blockIdx.x];
    }"""
    y = tt.zeros(4, device="emulated")
    meet = tt.cuda.kernel(source)
    with tt.cuda.check() as report:
        meet[2, 1](y)
    assert not report.findings, str(report)
    with (
        tt.cuda.check(schedules=4),
        pytest.raises(KernelError, match="schedules are for kernels whose blocks"),
    ):
        meet[2, 1](y)
    assert y.tolist() == [1.0] * 4
