// Instructions that compute capability 9.0 alone has: barriers in shared memory that count bytes (mbarrier),
// copies of boxes by TMA, products of a warpgroup (wgmma), registers moved between warps (setmaxnreg). The
// emulator has its own implementation (hopper.h).
// Mapping: wgmma by all 128 threads of 4 warps, of which the first has a number divisible by 4. Of the sums,
// 64 rows, thread t holds in d[i] or d[i / 4][i % 4] the one in row t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8
// and column i / 4 * 8 + t % 4 * 2 + i % 2: a warp has 16 rows, in the layout of mma.cuh.
// Traffic: TMA copies from global to shared memory, wgmma reads shared memory, 32 bytes of each line.
// Source: PTX ISA, chapters on mbarrier, cp.async.bulk.tensor, wgmma and setmaxnreg.
#pragma once
#include "common.cuh"

namespace tt_hopper {

// Of the host: runtime.tensor_map(ptr, dtype, shape, strides, box). Axes are counted from the innermost one.
struct alignas(128) TensorMap {
    unsigned long long words[16];
};

// Where wgmma finds a matrix in shared memory: in groups of 8 lines of 128 bytes, swizzled by 128 bytes as
// TMA writes them. `address`: of the first element, in a tile that begins at a multiple of 1024 bytes.
// `group`: bytes from one group of 8 lines to the next. `block`: of a matrix whose lines run across
// (A_ACROSS, B_ACROSS below), bytes from 64 elements to the next 64.
__device__ __forceinline__ unsigned long long matrix_at(unsigned address, unsigned group, unsigned block) {
    return (address >> 4 & 0x3fff) | static_cast<unsigned long long>(block >> 4) << 16 |
           static_cast<unsigned long long>(group >> 4) << 32 | 1ULL << 62;
}

// The number of the running warp. From a shuffle, so that the compiler knows that its lanes do not diverge,
// and has what follows from it in uniform registers, where wgmma reads the places of matrices.
__device__ __forceinline__ int warp_number() { return __shfl_sync(0xffffffffU, threadIdx.x / 32, 0); }

// In a ring of stages, the one that comes next, and the parity of its phase.
template <int STAGES> struct Ring {
    int stage = 0;
    unsigned parity = 0;
    __device__ __forceinline__ void advance() {
        if (++stage == STAGES) {
            stage = 0;
            parity ^= 1;
        }
    }
};

#ifndef TT_EMULATED
__device__ __forceinline__ unsigned shared_address(const void* p) {
    return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

// ---- barriers --------------------------------------------------------------------------------------------

using Barrier = unsigned long long;  // a phase is over after `count` arrivals, and when no bytes are expected

__device__ __forceinline__ void barrier_init(Barrier* barrier, unsigned count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count)
                 : "memory");
}

// After barrier_init: makes barriers visible to TMA.
__device__ __forceinline__ void barrier_init_fence() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ __forceinline__ void barrier_arrive(Barrier* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}

// Arrives; the phase is not over before TMA has written so many bytes.
__device__ __forceinline__ void barrier_arrive_and_expect(Barrier* barrier, unsigned bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
                 "r"(bytes)
                 : "memory");
}

// Waits for the end of the phase with this parity; the phase before the first one has parity 1.
__device__ __forceinline__ void barrier_wait(Barrier* barrier, unsigned parity) {
    asm volatile("{\n"
                 ".reg .pred over;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 over, [%0], %1;\n"
                 "@over bra done;\n"
                 "bra again;\n"
                 "done:\n"
                 "}" ::"r"(shared_address(barrier)), "r"(parity) : "memory");
}

// ---- copies ----------------------------------------------------------------------------------------------

// By one thread: copies the box at (x, y, z), or (x, y, z, w), of a tensor to shared memory, at a multiple of
// 1024 bytes. What is outside of the tensor becomes 0. The bytes of the whole box are counted by the barrier.
__device__ __forceinline__ void copy_box(
    void* shared, const TensorMap* map, int x, int y, int z, Barrier* barrier) {
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%3, %4, %5}], [%2];" ::"r"(shared_address(shared)),
                 "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y), "r"(z)
                 : "memory");
}

__device__ __forceinline__ void copy_box(
    void* shared, const TensorMap* map, int x, int y, int z, int w, Barrier* barrier) {
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(shared_address(shared)),
                 "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y), "r"(z), "r"(w)
                 : "memory");
}

__device__ __forceinline__ void prefetch_map(const TensorMap* map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// ---- products --------------------------------------------------------------------------------------------

// Before the first product, and after a wait: orders accesses of registers of d and a before products.
__device__ __forceinline__ void products_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void products_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Waits until at most N groups of this warp are pending. Until then d must not be accessed, and registers of
// a not be written.
template <int N> __device__ __forceinline__ void products_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

// The numbers and the operands of 32, 64, 96 and 128 registers.
#define TT_R32 \
    "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24," \
    "%25,%26,%27,%28,%29,%30,%31"
#define TT_R64 \
    TT_R32 "," \
    "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53," \
    "%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define TT_R96 \
    TT_R64 "," \
    "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85," \
    "%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"
#define TT_R128 \
    TT_R96 "," \
    "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,%112,%113," \
    "%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
#define TT_D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define TT_D16(i) TT_D4(i), TT_D4(i + 4), TT_D4(i + 8), TT_D4(i + 12)
#define TT_D64(i) TT_D16(i), TT_D16(i + 16), TT_D16(i + 32), TT_D16(i + 48)
#define TT_D96 TT_D64(0), TT_D16(64), TT_D16(80)
#define TT_D128 TT_D64(0), TT_D64(64)
#define TT_S4(i) "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])
#define TT_S16(i) TT_S4(i), TT_S4(i + 1), TT_S4(i + 2), TT_S4(i + 3)
#define TT_S32(i) TT_S16(i), TT_S16(i + 4)
#define TT_S64 TT_S32(0), TT_S32(8)

// ADD: the operand that is 0 if d is not added. FACTORS: a, b, the predicate of ADD, signs, transpositions.
#define TT_WGMMA(SHAPE, TYPE, REGISTERS, ADD, FACTORS)                                      \
    "{\n.reg .pred p;\nsetp.ne.b32 p, " ADD ", 0;\n"                                        \
    "wgmma.mma_async.sync.aligned." SHAPE ".f32." TYPE "." TYPE " {" REGISTERS "}, " FACTORS ";\n}"
#define TT_MULTIPLY(SHAPE, REGISTERS, ADD, FACTORS, SUMS, ...)                                            \
    static_assert(is_narrow<E>, "the elements are __half or __nv_bfloat16");                              \
    if constexpr (same<E, __half>)                                                                        \
        asm volatile(TT_WGMMA(SHAPE, "f16", REGISTERS, ADD, FACTORS) : SUMS : __VA_ARGS__);               \
    else asm volatile(TT_WGMMA(SHAPE, "bf16", REGISTERS, ADD, FACTORS) : SUMS : __VA_ARGS__)

// d = a b, plus d if `add`: a 64 × 16, b 16 × 2 D, D = 96 or 128, of __half or __nv_bfloat16, where
// `matrix_at` says. The lines of a are its rows, or its columns if A_ACROSS; those of b its columns, or its
// rows if B_ACROSS.
template <class E, bool A_ACROSS, bool B_ACROSS, int D>
__device__ __forceinline__ void m64k16(
    float (&d)[D], unsigned long long a, unsigned long long b, bool add) {
    static_assert(D == 96 || D == 128, "b has 192 or 256 columns");
    if constexpr (D == 96) {
        TT_MULTIPLY("m64n192k16", TT_R96, "%98", "%96, %97, p, 1, 1, %99, %100", TT_D96, "l"(a), "l"(b),
                    "r"(static_cast<int>(add)), "n"(A_ACROSS), "n"(B_ACROSS));
    } else {
        TT_MULTIPLY("m64n256k16", TT_R128, "%130", "%128, %129, p, 1, 1, %131, %132", TT_D128, "l"(a),
                    "l"(b), "r"(static_cast<int>(add)), "n"(A_ACROSS), "n"(B_ACROSS));
    }
}

// The same for b 16 × 8 C, C = 8 or 16; the lines of a are its rows. A warp reads its rows of a alone.
template <class E, bool B_ACROSS, int C>
__device__ __forceinline__ void m64k16(
    float (&d)[C][4], unsigned long long a, unsigned long long b, bool add) {
    static_assert(C == 8 || C == 16, "b has 64 or 128 columns");
    if constexpr (C == 8) {
        TT_MULTIPLY("m64n64k16", TT_R32, "%34", "%32, %33, p, 1, 1, 0, %35", TT_S32(0), "l"(a), "l"(b),
                    "r"(static_cast<int>(add)), "n"(B_ACROSS));
    } else {
        TT_MULTIPLY("m64n128k16", TT_R64, "%66", "%64, %65, p, 1, 1, 0, %67", TT_S64, "l"(a), "l"(b),
                    "r"(static_cast<int>(add)), "n"(B_ACROSS));
    }
}

// The same with a in registers: each warp has 16 rows, in the layout of mma.cuh.
template <class E, bool B_ACROSS, int C>
__device__ __forceinline__ void m64k16(
    float (&d)[C][4], const unsigned (&a)[4], unsigned long long b, bool add) {
    static_assert(C == 8 || C == 16, "b has 64 or 128 columns");
    if constexpr (C == 8) {
        TT_MULTIPLY("m64n64k16", TT_R32, "%37", "{%32, %33, %34, %35}, %36, p, 1, 1, %38", TT_S32(0),
                    "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)),
                    "n"(B_ACROSS));
    } else {
        TT_MULTIPLY("m64n128k16", TT_R64, "%69", "{%64, %65, %66, %67}, %68, p, 1, 1, %70", TT_S64,
                    "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)),
                    "n"(B_ACROSS));
    }
}

// Registers of each thread of the warpgroup from here on, a multiple of 8.
template <int N> __device__ __forceinline__ void give_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N> __device__ __forceinline__ void take_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}
#endif
}  // namespace tt_hopper
