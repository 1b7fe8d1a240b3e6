"""What kernels of books and samples use: each row of the table is one expression and its value on a GPU."""

import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinytensor as tt
from tests.helpers.emulated import compile_together, of_texts
from tinytensor.errors import KernelError
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cuda import nvrtc


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    texts = {"values": ONE_THREAD, "groups": GROUPS, "stages": STAGES, "ptx": PTX, "libraries": LIBRARIES}
    return of_texts(tmp_path_factory.mktemp("features") / "features.cu", texts, "checked", "emulated")


HEADERS = """
#include <cassert>
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <algorithm>
#include <limits>
#include <type_traits>
#include <cuda_runtime.h>
#include <device_launch_parameters.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <math_constants.h>
"""

# Sizes and alignments.
SIZES = {"float2": (8, 8), "float3": (12, 4), "float4": (16, 16), "double2": (16, 16), "double4": (32, 16)}
SIZES |= {"int4": (16, 16), "uint4": (16, 16), "longlong2": (16, 16), "char4": (4, 4), "ushort4": (8, 8)}
SIZES |= {"uchar2": (2, 2), "dim3": (12, 4)}
# Expressions of one thread, as doubles.
VALUES = {
    **{f"100 * sizeof({name}) + alignof({name})": 100.0 * size + of for name, (size, of) in SIZES.items()},
    "(double)(uint)-1": 4294967295.0,
    "sizeof(ushort) + sizeof(uchar) + sizeof(long) + sizeof(uint64_t)": 19.0,
    "INFINITY": np.inf,
    "-CUDART_INF_F": -np.inf,
    "isnan(NAN)": 1.0,
    "FLT_MAX": float(np.finfo(np.float32).max),
    "DBL_EPSILON": float(np.finfo(np.float64).eps),
    "INT_MAX": 2.0**31 - 1,
    "(double)UINT64_MAX": 2.0**64,
    "M_PI": np.pi,
    "std::max(2, 3) + std::min(4.0f, 5.0f)": 7.0,
    "std::numeric_limits<float>::lowest()": float(np.finfo(np.float32).min),
    "std::numeric_limits<short>::min()": -32768.0,
    "std::is_same<std::remove_const_t<const int>, int>::value": 1.0,
    "__CUDA_ARCH__": 800.0,
    "__dp4a(0x01020304, 0x01010101, 5)": 15.0,
    "__sad(3, -5, 1u)": 9.0,
    "__usad(3, 5, 1u)": 3.0,
    "__umul24(0xff000003u, 2)": 6.0,
    "__hadd(3, 4) + __rhadd(3, 4)": 7.0,
    "__fns(0xf0, 0, 2)": 5.0,
    "lrintf(2.5f) + lroundf(2.5f)": 5.0,
    "__fadd_rz(1.0f, 1e-10f)": 1.0,
    "__fadd_ru(1.0f, 1e-10f)": float(np.nextafter(np.float32(1), np.float32(2))),
    "__fmul_rd(-1.1f, 1.1f)": float(np.nextafter(np.float32(-1.21), np.float32(-2))),
    "__fdiv_rz(1.0f, 3.0f)": float(np.nextafter(np.float32(1) / np.float32(3), np.float32(0))),
    "__fsqrt_ru(2.0f)": float(np.nextafter(np.float32(np.sqrt(2)), np.float32(2))),
    "__double2float_rz(1e39)": float(np.finfo(np.float32).max),
    "sinpi(1.5) + cospif(1.0f)": -2.0,
    "float(__float2half_rz(1.9999f))": 1.9990234375,
    "float(__float2half_ru(1.0001f))": 1.0009765625,
    "float(__hfma(__half(3.0f), __half(2.0f), __half(1.0f)))": 7.0,
    "float(__low2half(__hadd2(__floats2half2_rn(1, 2), __float2half2_rn(3))))": 4.0,
    "float(__float22half2_rn(make_float2(1.2f, 5)).x)": float(np.float16(1.2)),
    "__half22float2(__floats2half2_rn(1.2f, -3.4f)).y": float(np.float16(-3.4)),
    "__half_as_ushort(__float2half(-3.4f))": float(np.float16(-3.4).view(np.uint16)),
    "__half_as_ushort(__ushort_as_half(0x1234))": float(0x1234),
    "__bfloat16_as_ushort(__float2bfloat16(1.5f))": float(0x3FC0),
    "__half(2.0f) < __half(3.0f) && __half(2.0f) == __half(2.0f) && !__hisnan(__half(1.2f))": 1.0,
    "__hgt(__half(2), __half(1)) + __hbeq2(__half2(1, 2), __half2(1, 2))": 2.0,
    "__half2int_rn(__half(2.5f))": 2.0,
    "clock64() < clock64()": 1.0,
    "isfinite(1.0f) && signbit(-0.0f)": 1.0,
    "atomicAdd_block(&counter, 3) + atomicAdd_system(&counter, 1) + counter": 7.0,
    "table[1]": 5.0,
    "bytes(3)": 771.0,
    "allocated()": 42.0,
    "cut(6.5f)": 6.0,
}

ONE_THREAD = (
    HEADERS
    + """
__device__ int counter;
static __constant__ int table[2] = {4, 5};
__device__ int bytes(int value) {
    unsigned char from[4], to[4] = {};
    memset(from, value, 4);
    memcpy(to, from, 2);
    return *(int*)to;
}
__device__ int allocated() {
    int* p = (int*)malloc(8);
    int* q = new int(2);
    *p = 40 + *q;
    const int sum = *p;
    free(p);
    delete q;
    return sum;
}
template <class T, typename = std::enable_if_t<std::is_floating_point_v<T>>> __device__ int cut(T x) {
    assert(x > 0);
    return (int)x;
}
__global__ void values(double* y) {
    int i = 0;
"""
    + "".join(f"    y[i++] = {expression};\n" for expression in VALUES)
    + "}\n"
)


@pytest.mark.parametrize("device", ["emulated", "checked"])
def test_expressions_of_one_thread(kernels, device):
    y = tt.zeros(len(VALUES), dtype=tt.float64, device=device)
    kernels["values"][1, 1](y)
    found = dict(zip(VALUES, y.tolist(), strict=True))
    assert found == VALUES


# ---- 16-bit floats: each operation rounds once -------------------------------------------------------------

HALVES = """
#include <cuda_bf16.h>
template <class T> __global__ void halves(unsigned short* y, const unsigned short* bits, int n) {
    const int i = threadIdx.x;
    if (i >= n) return;
    const T a = ((const T*)bits)[i], b = ((const T*)bits)[i + n], c = ((const T*)bits)[i + 2 * n];
    T sum = a;
    sum += b;
    const T most = __hmax(a, b), least = __hmin(a, b);
    T results[] = {a + b, a - b, a * b, a / b, __hfma(a, b, c), -a, most, least, sum, hsqrt(a)};
    for (int k = 0; k < 10; k++) y[k * n + i] = *(unsigned short*)&results[k];
    y[10 * n + i] = (a < b) + 2 * (a == b) + 4 * __hge(a, b) + 8 * __hneu(a, b);
}
"""
N = 64


def as_half(bits):
    return bits.view(np.float16)


def as_bfloat16(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def round_bfloat16(x):
    u = x.astype(np.float32).view(np.uint32)
    return np.where(np.isnan(x), 0x7FFF, (u + 0x7FFF + (u >> 16 & 1)) >> 16).astype(np.uint16)


def rounded_once(exact, near, value):
    """Of the 16-bit numbers around `near`, the bits of the one nearest to a fraction; ties to even."""
    around = [near + d for d in (-1, 0, 1) if 0 <= near + d < 1 << 16]
    finite = [b for b in around if np.isfinite(value(np.array([b], np.uint16))[0])]
    return min(
        finite, key=lambda b: (abs(Fraction(float(value(np.array([b], np.uint16))[0])) - exact), b & 1)
    )


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_half_arithmetic_rounds_once(name, data):
    seed = data.draw(st.integers(0, 2**32 - 1))
    bits = np.random.default_rng(seed).integers(0, 1 << 16, (3, N), dtype=np.uint16)
    half = name == "float16"
    value = as_half if half else as_bfloat16
    back = (lambda x: x.astype(np.float16).view(np.uint16)) if half else round_bfloat16
    y = tt.empty(11, N, dtype=tt.uint16, device="emulated")
    given_ = tt.asarray(bits).to("emulated")
    k = tt.cuda.kernel(HALVES, "halves", "__half" if half else "__nv_bfloat16")
    compile_together(k.source, (("halves", ("__half",)), ("halves", ("__nv_bfloat16",))), "emulated")
    k[1, N](y, given_, N)
    got = np.array(y.tolist(), np.uint16)
    with np.errstate(all="ignore"):
        a, b, c = (value(row).astype(np.float32) for row in bits)
        wanted = [a + b, a - b, a * b, a / b, None, -a, np.fmax(a, b), np.fmin(a, b), a + b, np.sqrt(a)]
        for k, result in enumerate(wanted):
            if result is None:
                continue
            want, have = value(back(result)), value(got[k])
            assert (np.isnan(want) == np.isnan(have)).all()
            assert (want[~np.isnan(want)] == have[~np.isnan(want)]).all(), k
        for i in range(N):
            if not (np.isfinite([a[i], b[i], c[i]]).all() and np.isfinite(value(got[4])[i])):
                continue
            exact = Fraction(float(a[i])) * Fraction(float(b[i])) + Fraction(float(c[i]))
            near = int(got[4][i])
            assert rounded_once(exact, near, value) & 0x7FFF == near & 0x7FFF
        flags = (a < b) + 2 * (a == b) + 4 * (a >= b) + 8 * ((a != b) | np.isnan(a) | np.isnan(b))
    assert (got[10] == flags).all()


# ---- groups of threads -------------------------------------------------------------------------------------

GROUPS = """
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cuda/atomic>
namespace cg = cooperative_groups;
__device__ int finished;
__global__ void groups(float* y, const float* x) {
    auto block = cg::this_thread_block();
    auto eight = cg::tiled_partition<8>(block);
    auto warp = cg::tiled_partition<32>(block);
    auto two_warps = cg::tiled_partition<64>(block);
    const float v = x[block.thread_rank()];
    y[threadIdx.x] = cg::reduce(eight, v, cg::plus<float>());
    y[128 + threadIdx.x] = cg::reduce(warp, v, cg::greater<float>());
    y[256 + threadIdx.x] = cg::reduce(two_warps, v, cg::plus<float>());
    if (v >= 100) {
        auto together = cg::coalesced_threads();
        y[384 + threadIdx.x] = together.size() * 100 + together.shfl(v, 1);
    } else {
        y[384 + threadIdx.x] = __popc(__activemask());
    }
    block.sync();
    y[512 + threadIdx.x] = warp.shfl_down(v, 4) + eight.any(v == 9) + (eight.ballot(v < 4) << 8);
}
__global__ void grid(float* y, float* parts) {
    __shared__ float own;
    auto all = cg::this_grid();
    if (threadIdx.x == 0) own = blockIdx.x;
    parts[all.thread_rank()] = all.thread_rank();
    cuda::atomic_ref<int, cuda::thread_scope_device>(finished).fetch_add(1);
    all.sync();
    float sum = 0;
    for (unsigned i = 0; i < all.size(); i++) sum += parts[i];
    y[all.thread_rank()] = sum + 10000 * own + (finished % all.size() ? NAN : 0);
}
__global__ void reverse(int* y) {
    __shared__ int s[1024];
    s[threadIdx.x] = threadIdx.x;
    __syncthreads();
    const int other = s[1023 - threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = other;
}
__global__ void flag(int* y) {
    __shared__ volatile int set;
    set = 0;
    __syncthreads();
    if (threadIdx.x == 0) {
        while (!set) __nanosleep(20);
        y[0] = 1;
    } else if (threadIdx.x == 40) {
        set = 1;
    }
}
"""


@pytest.mark.parametrize("device", ["emulated", "checked"])
def test_groups_of_threads(kernels, device):
    x, y = tt.arange(128, dtype=tt.float32, device=device), tt.zeros(5, 128, device=device)
    kernels["groups.groups"][1, 128](y, x)
    got, v = np.array(y.tolist()), np.arange(128)
    assert (got[0] == v.reshape(-1, 8).sum(1).repeat(8)).all()
    assert (got[1] == v.reshape(-1, 32).max(1).repeat(32)).all()
    assert (got[2] == v.reshape(-1, 64).sum(1).repeat(64)).all()
    assert (got[3] == np.where(v >= 100, 2800 + 101, np.where(v >= 96, 4, 32))).all()
    down = np.where(v % 32 < 28, v + 4, v)
    assert (got[4] == down + ((v >= 8) & (v < 16)) + (v < 8) * (15 << 8)).all()


def test_blocks_wait_for_the_grid(kernels):
    y, parts = tt.zeros(160, device="emulated"), tt.zeros(160, device="emulated")
    kernels["groups.grid"][5, 32](y, parts)
    assert y.tolist() == [160 * 159 / 2 + 10000 * (i // 32) for i in range(160)]
    with pytest.raises(KernelError, match="at most 256 can wait"):
        kernels["groups.grid"][300, 1](tt.zeros(300, device="emulated"), tt.zeros(300, device="emulated"))


def test_a_refused_barrier_of_the_grid_leaves_all_stacks_to_the_next_launch(kernels):
    with pytest.raises(KernelError, match="at most 256 can wait"):
        kernels["groups.grid"][300, 64](
            tt.zeros(19200, device="emulated"), tt.zeros(19200, device="emulated")
        )
    y = tt.zeros(1024, dtype=tt.int32, device="emulated")
    kernels["groups.reverse"][1, 1024](y)
    assert y.tolist() == list(range(1023, -1, -1))


@pytest.mark.parametrize("order", [0, 1, 5])
def test_a_thread_waits_in_a_loop_for_another(kernels, order):
    y = tt.zeros(1, dtype=tt.int32, device="emulated")
    with runtime_of(tt.Device("emulated")).schedule(order=order):
        kernels["groups.flag"][1, 64](y)
    assert y.tolist() == [1]


# ---- tensor cores, copies, barriers ------------------------------------------------------------------------

STAGES = """
#include <mma.h>
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cuda/barrier>
#include <cuda/pipeline>
#include <cuda_pipeline.h>
namespace cg = cooperative_groups;
using namespace nvcuda;
__global__ void product(float* d, const __half* a, const __half* b) {
    wmma::fragment<wmma::matrix_a, 16, 16, 16, half, wmma::row_major> fa;
    wmma::fragment<wmma::matrix_b, 16, 16, 16, half, wmma::col_major> fb;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> fc;
    wmma::fill_fragment(fc, 1.0f);
    wmma::load_matrix_sync(fa, a, 16);
    wmma::load_matrix_sync(fb, b, 16);
    wmma::mma_sync(fc, fa, fb, fc);
    for (int i = 0; i < fc.num_elements; i++) fc.x[i] *= 2;
    wmma::store_matrix_sync(d, fc, 16, wmma::mem_row_major);
}
__global__ void stages(float* y, const float* x) {
    __shared__ alignas(16) float s[2][64];
    __shared__ cuda::barrier<cuda::thread_scope_block> bar;
    __shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, 2> state;
    auto block = cg::this_thread_block();
    if (block.thread_rank() == 0) init(&bar, block.size());
    block.sync();
    cuda::memcpy_async(block, s[0], x, sizeof(float) * 64, bar);
    bar.arrive_and_wait();
    y[threadIdx.x] = s[0][63 - threadIdx.x];
    block.sync();
    auto pipe = cuda::make_pipeline(block, &state);
    float sum = 0;
    for (int i = 0; i < 5; i++) {
        if (i < 4) {
            pipe.producer_acquire();
            cuda::memcpy_async(block, s[i % 2], x + 64 * i, sizeof(float) * 64, pipe);
            pipe.producer_commit();
        }
        if (i > 0) {
            pipe.consumer_wait();
            sum += s[(i - 1) % 2][63 - threadIdx.x];
            pipe.consumer_release();
        }
    }
    y[64 + threadIdx.x] = sum;
    block.sync();
    __pipeline_memcpy_async(&s[0][threadIdx.x], x + threadIdx.x, 4);
    __pipeline_commit();
    __pipeline_wait_prior(0);
    __syncthreads();
    y[128 + threadIdx.x] = s[0][threadIdx.x ^ 1];
}
"""


@pytest.mark.parametrize("device", ["emulated", "checked"])
def test_fragments(kernels, device):
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-4, 5, (16, 16)).astype(np.float16) for _ in "ab")
    d = tt.zeros(16, 16, device=device)
    kernels["stages.product"][1, 32](d, tt.asarray(a).to(device), tt.asarray(b.T.copy()).to(device))
    assert (np.array(d.tolist()) == 2 * (a.astype(float) @ b + 1)).all()


@pytest.mark.parametrize("device", ["emulated", "checked"])
def test_copies_and_their_barriers(kernels, device):
    x, y = tt.arange(256, dtype=tt.float32, device=device), tt.zeros(3, 64, device=device)
    kernels["stages.stages"][1, 64](y, x)
    v = np.arange(256).reshape(4, 64)
    assert (np.array(y.tolist()) == [v[0, ::-1], v.sum(0)[::-1], v[0].reshape(32, 2)[:, ::-1].ravel()]).all()


# ---- inline PTX --------------------------------------------------------------------------------------------

# Instruction on %0 (unsigned), %1 (lane) and %2 (7) → result for each lane.
INSTRUCTIONS = {
    "mov.u32 %0, %%laneid;": lambda i: i,
    "bfe.u32 %0, %2, 1, 2;": lambda i: 3,
    "bfi.b32 %0, %1, %2, 8, 8;": lambda i: i << 8 | 7,
    "lop3.b32 %0, %1, %2, 9, 0x96;": lambda i: i ^ 7 ^ 9,
    "prmt.b32 %0, %1, %2, 0x5410;": lambda i: i | 7 << 16,
    "mad.lo.u32 %0, %1, %2, 3;": lambda i: 7 * i + 3,
    "shl.b32 %0, %2, %1;": lambda i: 7 << i & 0xFFFFFFFF,
    "{ .reg .pred p; setp.gt.u32 p, %1, 3; selp.u32 %0, %2, 1, p; }": lambda i: 7 if i > 3 else 1,
    "{ .reg .pred p;\\n.reg .u32 t;\\nsetp.lt.s32 p, %1, 5;\\nmov.u32 t, 2;\\n@p add.u32 t, t, %2;"
    "\\nmov.u32 %0, t; }": (lambda i: 9 if i < 5 else 2),
    "shfl.sync.bfly.b32 %0, %1, 1, 0x1f, 0xffffffff;": lambda i: i ^ 1,
    "shfl.sync.down.b32 %0, %1, 2, 0x1f, 0xffffffff;": lambda i: i + 2 if i < 30 else i,
    "shfl.sync.up.b32 %0, %1, 3, 0x0, 0xffffffff;": lambda i: i - 3 if i >= 3 else i,
    "vote.sync.ballot.b32 %0, 1, 0xffffffff;": lambda i: 0xFFFFFFFF,
    "popc.b32 %0, %1;": lambda i: i.bit_count(),
    "cvt.rn.f32.u32 %0, %1;": lambda i: struct.unpack("<I", struct.pack("<f", i))[0],
}
PTX = (
    "__global__ void instructions(unsigned* y, float* f, const float* x) {\n"
    "    const unsigned lane = threadIdx.x;\n    unsigned r;\n"
    + "".join(
        f'    asm volatile("{text}" : "=r"(r) : "r"(lane), "r"(7));\n    y[{32 * n} + lane] = r;\n'
        for n, text in enumerate(INSTRUCTIONS)
    )
    + """
    __shared__ __align__(16) float s[128];
    const unsigned at = (unsigned)__cvta_generic_to_shared(&s[4 * lane]);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\\n" ::"r"(at), "l"(x + 4 * lane));
    asm volatile("cp.async.commit_group;\\n" ::: "memory");
    asm volatile("cp.async.wait_group %0;\\n" ::"n"(0));
    asm volatile("bar.sync 0;");
    float4 v;
    asm("ld.global.nc.v4.f32 {%0, %1, %2, %3}, [%4];"
        : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "l"(x + 4 * (lane ^ 1)));
    asm("fma.rn.f32 %0, %1, %2, %0;" : "+f"(v.x) : "f"(v.y), "f"(s[4 * (lane ^ 1)]));
    asm volatile("st.global.f32 [%0], %1;" ::"l"(f + lane), "f"(v.x) : "memory");
    asm volatile("red.global.add.f32 [%0], %1;" ::"l"(f + 32), "f"(1.0f) : "memory");
}
"""
)


@pytest.mark.parametrize("device", ["emulated", "checked"])
def test_inline_ptx(kernels, device):
    y = tt.zeros(len(INSTRUCTIONS), 32, dtype=tt.uint32, device=device)
    f, x = tt.zeros(33, device=device), tt.arange(128, dtype=tt.float32, device=device)
    kernels["ptx"][1, 32](y, f, x)
    for (text, wanted), row in zip(INSTRUCTIONS.items(), y.tolist(), strict=True):
        assert row == [wanted(i) for i in range(32)], text
    other = 4.0 * (np.arange(32) ^ 1)
    assert f.tolist() == [*(other + (other + 1) * other).tolist(), 32.0]


# ---- libraries ---------------------------------------------------------------------------------------------

LIBRARIES = """
#include <cub/block/block_reduce.cuh>
#include <curand_kernel.h>
__global__ void total(float* y, const float* x) {
    __shared__ cub::BlockReduce<float, 96>::TempStorage storage;
    const float sum = cub::BlockReduce<float, 96>(storage).Sum(x[threadIdx.x]);
    if (threadIdx.x == 0) y[0] = sum;
}
__global__ void draw(int* y) {
    curandStatePhilox4_32_10_t s;
    curand_init(0, 0, 0, &s);
    for (int i = 0; i < 4; i++) y[i] = curand(&s);
}
"""


def test_a_reduction_of_cub_and_random_numbers(kernels):
    """The first word of Philox of key 0 and counter 0, which Random123 publishes (kat_vectors)."""
    x, y = tt.arange(96, dtype=tt.float32, device="emulated"), tt.zeros(1, device="emulated")
    kernels["libraries.total"][1, 96](y, x)
    assert y.tolist() == [96 * 95 / 2]
    z = tt.zeros(4, dtype=tt.int32, device="emulated")
    kernels["libraries.draw"][1, 1](z)
    assert [f"{word % 2**32:08x}" for word in z.tolist()] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]


# ---- declarations ------------------------------------------------------------------------------------------

PROGRAM = """
#include <cstdio>
#include <vector>
#include <iostream>
#define REAL float
typedef REAL* pointer;
using std::cout;
std::vector<int> sizes;
namespace outer { namespace inner {
__global__ void scale(pointer y, const REAL x[], unsigned long n, float by = 2.0f) {
    extern float __shared__ s[];
    static __shared__ float first;
    s[threadIdx.x] = x[threadIdx.x];
    if (threadIdx.x == 0) first = x[0];
    __syncthreads();
    if (threadIdx.x < n) y[threadIdx.x] = by * s[n - 1 - threadIdx.x] + first;
}
} }
__global__ void put(float* y, int v) { y[0] = v; }
__global__ void put(int* y) { y[0] = 5; }
class Timer {
  public:
    Timer() { cudaEventCreate(&event); }
  private:
    void* event;
};
int main(int argc, char** argv) {
    std::vector<float> x(4);
    outer::inner::scale<<<1, 4, 16>>>(nullptr, nullptr, 4);
    cout << "done" << std::endl;
}
"""


def test_kernels_of_a_whole_program():
    x, y = tt.arange(4, dtype=tt.float32, device="emulated"), tt.zeros(4, device="emulated")
    tt.cuda.kernel(PROGRAM, "scale")[1, 4, 16](y, x + 1.0, 4)
    assert y.tolist() == [9.0, 7.0, 5.0, 3.0]
    tt.cuda.kernel(PROGRAM, "put(float*, int)")[1, 1](y, 3)
    z = tt.zeros(1, dtype=tt.int32, device="emulated")
    tt.cuda.kernel(PROGRAM, "put(int*)")[1, 1](z)
    assert (y.tolist()[0], z.tolist()) == (3.0, [5])
    with pytest.raises(KernelError, match=r"put\(float\*, int\), put\(int\*\), scale"):
        tt.cuda.kernel(PROGRAM, "put")


@pytest.mark.parametrize(
    ("line", "missing"),
    {
        "cudaMalloc(0, 4);": "cudaMalloc in kernels",
        'asm volatile("wgmma.fence.sync.aligned;");': "PTX `wgmma.fence.sync.aligned`",
        "k<<<1, 2>>>(y);": "launches by kernels",
        "__shfl(1.0f, 2);": "__shfl, which CUDA dropped",
        "\n#include <cub/device/device_radix_sort.cuh>\n": "the library cub",
    }.items(),
)
def test_what_is_missing_is_said(line, missing):
    k = tt.cuda.kernel(f"__global__ void k(int* y) {{\n  {line}\n}}")
    with pytest.raises(KernelError) as caught:
        k[1, 1](tt.zeros(1, dtype=tt.int32, device="emulated"))
    number = 2 + line.count("\n") // 2
    assert caught.value.what.startswith(f"kernel k, line {number}: the emulator does not have {missing}")


# ---- the same sources for a GPU ----------------------------------------------------------------------------


@pytest.mark.skipif(not nvrtc.available(), reason="NVRTC is not installed")
@pytest.mark.parametrize(
    "source", [ONE_THREAD, HALVES, GROUPS, PTX, PROGRAM], ids=["values", "halves", "groups", "ptx", "program"]
)
def test_the_same_sources_compile_for_a_gpu(source, tmp_path):
    path = tmp_path / "source.cu"
    path.write_text(source)
    kernels = nvrtc.signatures(path).values()
    names = [k.instance(["__half"] if k.name == "halves" else []) for k in kernels]
    assert set(nvrtc.build(path, names, "sm_80").symbols) == set(names)
