// Tensor cores (mma, ldmatrix), asynchronous copies (cp.async), fast exp2; PTX is here and in hopper.cuh
// alone. The emulator has its own implementation (tensor_cores.h).
// Mapping: one warp, all 32 lanes, holds matrices in registers, element (row, column), with g = lane / 4, t =
// lane % 4:
//   A, 16 bits  a[0] (g, 2t)  a[1] (g + 8, 2t)  a[2] (g, 2t + 8)  a[3] (g + 8, 2t + 8), and their neighbors
//   B, 16 bits  b[0] (2t, g)  b[1] (2t + 8, g), and their neighbors below; the first in the low half
//   A, tf32     a[0] (g, t)   a[1] (g + 8, t)   a[2] (g, t + 4)   a[3] (g + 8, t + 4)
//   B, tf32     b[0] (t, g)   b[1] (t + 4, g)
//   C, D float  c[0] (g, 2t)  c[1] (g, 2t + 1)  c[2] (g + 8, 2t)  c[3] (g + 8, 2t + 1)
// Traffic: registers and shared memory; cp.async reads global memory, 16 bytes a lane.
// Architecture: sm_80 and later. On sm_75 copies are synchronous, half runs as two products of 8; bfloat16
// and tf32, which its tensor cores lack, run on CUDA cores: correct, but slow.
// Source: PTX ISA, chapters on ldmatrix, mma and cp.async.
#pragma once
#include "common.cuh"

#ifndef TT_EMULATED
namespace tt_mma {

__device__ __forceinline__ unsigned shared_address(const void* p) {
    return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

// N matrices of 8x8 16-bit elements: lane 8j + r provides the address of row r of matrix j in shared memory,
// aligned to 16. Register j receives the elements (g, 2t) and (g, 2t + 1) of matrix j or of its transpose.
template <int N, bool Transposed = false>
__device__ __forceinline__ void ldmatrix(unsigned (&r)[N], const void* row) {
    static_assert(N == 1 || N == 2 || N == 4, "ldmatrix loads 1, 2 or 4 matrices");
    const unsigned at = shared_address(row);
    if constexpr (N == 1 && !Transposed) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
                     : "=r"(r[0]) : "r"(at) : "memory");
    } else if constexpr (N == 1) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
                     : "=r"(r[0]) : "r"(at) : "memory");
    } else if constexpr (N == 2 && !Transposed) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                     : "=r"(r[0]), "=r"(r[1]) : "r"(at) : "memory");
    } else if constexpr (N == 2) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                     : "=r"(r[0]), "=r"(r[1]) : "r"(at) : "memory");
    } else if constexpr (!Transposed) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
    } else {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
    }
}

// x, kept in a register: the compiler does not compute it again where it is used.
__device__ __forceinline__ int kept(int x) {
    asm volatile("" : "+r"(x));
    return x;
}

// Likewise the address of something in shared memory.
__device__ __forceinline__ const unsigned char* kept_shared(const unsigned char* p) {
    return static_cast<const unsigned char*>(__cvta_shared_to_generic(kept(shared_address(p))));
}

// 2^x in one instruction, to 2 units in the last place; 0 below 2^-126.
__device__ __forceinline__ float exp2_approx(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

#if __CUDA_ARCH__ >= 800

// d = a b + c: a 16x16, b 16x8, of __half or __nv_bfloat16; c and d 16x8. d and c may be the same array.
template <class E>
__device__ __forceinline__ void m16n8k16(
    float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], const float (&c)[4]) {
    static_assert(is_narrow<E>, "the elements are __half or __nv_bfloat16");
    if constexpr (same<E, __half>) {
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                     "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"
                     : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]),
                       "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
    } else {
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                     "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"
                     : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]),
                       "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
    }
}

// d = a b + c: a 16x8, b 8x8, the bits of floats, of whose fraction 10 bits are used; c and d 16x8.
__device__ __forceinline__ void m16n8k8_tf32(
    float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], const float (&c)[4]) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"
                 : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]),
                   "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
}

// Copies 16 bytes from global to shared memory, both aligned to 16, bypassing registers. They are visible to
// this thread after it waits for the group of the next commit, and to other threads after a barrier, too.
__device__ __forceinline__ void cp_async16(void* shared, const void* global) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
                 ::"r"(shared_address(shared)), "l"(global) : "memory");
}

// Copies `bytes` bytes, 0 to 16, and fills the remainder with zeros; for 0 the address is not read.
__device__ __forceinline__ void cp_async16_zfill(void* shared, const void* global, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 ::"r"(shared_address(shared)), "l"(global), "r"(bytes) : "memory");
}

__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most N groups of this thread are pending.
template <int N> __device__ __forceinline__ void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

#else  // sm_75

// One step of 8 along k, on the tensor cores of sm_75: a and b as for m16n8k16, half of them.
__device__ __forceinline__ void m16n8k8_half(float (&d)[4], unsigned a0, unsigned a1, unsigned b) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a0), "r"(a1), "r"(b));
}

// Unpacks a register: two bfloat16 elements, or one tf32 element.
struct Bfloat16Pair {
    static constexpr int count = 2;
    static __device__ __forceinline__ float value(unsigned bits, int i) {
        return __uint_as_float(i == 0 ? bits << 16 : bits & 0xffff0000U);
    }
};

struct Tf32 {
    static constexpr int count = 1;
    static __device__ __forceinline__ float value(unsigned bits, int) {
        return __uint_as_float(bits & 0xffffe000U);
    }
};

// d = a b + c on CUDA cores. The 4 lanes of a group hold a row of a, and a column of b: in 4 rounds each lane
// receives the elements of lane q of its row and of its two columns.
template <class Register>
__device__ __forceinline__ void multiply_by_exchange(
    float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], const float (&c)[4]) {
    const int lane = thread_rank() % 32, row = lane & ~3, column = lane % 4 * 8;
    float sum[4] = {c[0], c[1], c[2], c[3]};
#pragma unroll 1  // a product of tiles has many of these: unrolled, it compiles for half a minute
    for (int q = 0; q < 4; q++) {
#pragma unroll
        for (int k = 0; k < 2; k++) {
            const unsigned upper = __shfl_sync(0xffffffffU, a[2 * k], row + q);
            const unsigned lower = __shfl_sync(0xffffffffU, a[2 * k + 1], row + q);
            const unsigned left = __shfl_sync(0xffffffffU, b[k], column + q);
            const unsigned right = __shfl_sync(0xffffffffU, b[k], column + 4 + q);
#pragma unroll
            for (int i = 0; i < Register::count; i++) {
                sum[0] += Register::value(upper, i) * Register::value(left, i);
                sum[1] += Register::value(upper, i) * Register::value(right, i);
                sum[2] += Register::value(lower, i) * Register::value(left, i);
                sum[3] += Register::value(lower, i) * Register::value(right, i);
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 4; i++) d[i] = sum[i];
}

template <class E>
__device__ __forceinline__ void m16n8k16(
    float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], const float (&c)[4]) {
    static_assert(is_narrow<E>, "the elements are __half or __nv_bfloat16");
    if constexpr (same<E, __half>) {
        float sum[4] = {c[0], c[1], c[2], c[3]};
        m16n8k8_half(sum, a[0], a[1], b[0]);
        m16n8k8_half(sum, a[2], a[3], b[1]);
#pragma unroll
        for (int i = 0; i < 4; i++) d[i] = sum[i];
    } else {
        multiply_by_exchange<Bfloat16Pair>(d, a, b, c);
    }
}

__device__ __forceinline__ void m16n8k8_tf32(
    float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], const float (&c)[4]) {
    multiply_by_exchange<Tf32>(d, a, b, c);
}

__device__ __forceinline__ void cp_async16(void* shared, const void* global) {
    *static_cast<uint4*>(shared) = *static_cast<const uint4*>(global);
}

__device__ __forceinline__ void cp_async16_zfill(void* shared, const void* global, int bytes) {
    unsigned char* to = static_cast<unsigned char*>(shared);
    const unsigned char* from = static_cast<const unsigned char*>(global);
    if (bytes >= 16) {
        cp_async16(shared, global);
    } else {
        for (int i = 0; i < 16; i++) to[i] = i < bytes ? from[i] : 0;
    }
}

__device__ __forceinline__ void cp_async_commit() {}
template <int N> __device__ __forceinline__ void cp_async_wait() {}

#endif
}  // namespace tt_mma
#endif
