"""CUB in programs: results against NumPy, and what the check finds in uses of its shared memory."""

import numpy as np
import pytest

from tests.helpers.programs import needs_compiler, place, ran

pytestmark = needs_compiler

PROGRAM = r"""
#include <cstdio>
#include <cub/cub.cuh>

struct Join {  // of digits, which does not commute
    __device__ unsigned long long operator()(unsigned long long a, unsigned long long b) const {
        unsigned long long ten = 10;
        while (ten <= b) ten *= 10;
        return a * ten + b;
    }
};
__global__ void reduce(int* y, unsigned long long* digits) {  // 5 x 16 threads
    typedef cub::BlockReduce<int, 5, cub::BLOCK_REDUCE_WARP_REDUCTIONS, 16> Block;
    __shared__ typename Block::TempStorage storage;
    const int t = threadIdx.y * 5 + threadIdx.x;
    int values[3] = {t, t * t, 1};
    const int sum = Block(storage).Sum(values);
    __syncthreads();
    const int most = Block(storage).Reduce(t * 37 % 80, cub::Max(), 71);
    if (t == 0) y[0] = sum, y[1] = most;
    cub::WarpReduce<unsigned long long, 8>::TempStorage none;
    const unsigned long long joined = cub::WarpReduce<unsigned long long, 8>(none).Reduce(1 + t % 9, Join());
    if (t % 8 == 0) digits[t / 8] = joined;
}
__global__ void scan(int* y, int* totals) {  // 70 threads
    typedef cub::BlockScan<int, 70> Block;
    __shared__ union { Block::TempStorage scan; int other[70]; } storage;
    const int t = threadIdx.x;
    int values[2] = {2 * t, 2 * t + 1}, before, up_to[2], total;
    Block(storage.scan).InclusiveSum(values, up_to);
    __syncthreads();
    Block(storage.scan).ExclusiveSum(t * t, before, total);
    y[t] = up_to[0], y[70 + t] = up_to[1], y[140 + t] = before, totals[t] = total;
    __syncthreads();
    int least;
    Block(storage.scan).ExclusiveScan(100 - t, least, 60, cub::Min());
    y[210 + t] = least;
    cub::WarpScan<int, 16>::TempStorage none;
    if (t >= 64) return;  // not a whole warp
    cub::WarpScan<int, 16>(none).ExclusiveSum(t, before, total);
    y[280 + t] = before + 1000 * total;
}
__global__ void twice(int* y) {  // without a barrier between the two
    __shared__ cub::BlockReduce<int, 64>::TempStorage storage;
    const int a = cub::BlockReduce<int, 64>(storage).Sum(1);
    const int b = cub::BlockReduce<int, 64>(storage).Sum(2);
    if (threadIdx.x == 0) *y = a + b;
}
static void show(const int* p, int n) {
    cudaDeviceSynchronize();
    for (int i = 0; i < n; i++) printf("%d ", p[i]);
    puts("");
}
int main(int argc, char**) {
    int *y, *x;
    unsigned long long* digits;
    cudaMallocManaged(&y, 400 * sizeof *y), cudaMallocManaged(&x, 70 * sizeof *x);
    cudaMallocManaged(&digits, 80);
    reduce<<<1, dim3(5, 16)>>>(y, digits), show(y, 2);
    for (int i = 0; i < 10; i++) printf("%llu ", digits[i]);
    puts("");
    scan<<<1, 70>>>(y, x), show(y, 344), show(x, 70);
    twice<<<1, 64>>>(y), show(y, 1);
    cudaFree(x), cudaFree(y), cudaFree(digits);
}
"""


@pytest.fixture(scope="module")
def run():
    return ran(PROGRAM, check=True)


@pytest.fixture(scope="module")
def lines(run):
    return [[int(word) for word in line.split()] for line in run.output.splitlines()]


def test_reductions(lines):
    t = np.arange(80)
    assert lines[0] == [int((t + t * t + 1).sum()), int((t * 37 % 80)[:71].max())]
    assert lines[1] == [int("".join(str(1 + i % 9) for i in range(s, s + 8))) for s in range(0, 80, 8)]


def test_scans(lines):
    t = np.arange(70)
    shown = np.array(lines[2][:280]).reshape(4, 70)
    np.testing.assert_array_equal(shown[:2].T.ravel(), np.arange(140).cumsum())
    np.testing.assert_array_equal(shown[2], (t * t).cumsum() - t * t)
    np.testing.assert_array_equal(shown[3], [min(60, *(100 - t[:i]), 60) for i in t])
    of_warps = t[:64].reshape(4, 16)
    expected = of_warps.cumsum(1) - of_warps + 1000 * of_warps.sum(1, keepdims=True)
    np.testing.assert_array_equal(lines[2][280:], expected.ravel())
    assert lines[3] == [int((t * t).sum())] * 70


def test_shared_memory_that_is_used_again_without_a_barrier_is_found(run):
    (finding,) = run.report.findings
    assert (finding.kind, finding.kernel) == ("shared race", "twice")
    places = {place(PROGRAM, f"storage).Sum({number})") for number in (1, 2)}
    assert {finding.place, finding.other.split()[-1]} == places
