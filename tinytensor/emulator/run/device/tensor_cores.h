// Tensor cores, asynchronous copies, fast powers of 2: the emulator's implementation of kernels/mma.cuh, with
// the lane layouts of the PTX ISA.
#pragma once

namespace tt_mma {

// Loads N 8x8 matrices of 16-bit elements; lane 8 j + r gives the address of row r of matrix j.
template <int N, bool Transposed = false>
TT_INLINE void ldmatrix(unsigned (&registers)[N], const void* row, TT_SITE) {
    static_assert(N == 1 || N == 2 || N == 4, "ldmatrix loads 1, 2 or 4 matrices");
    tt_emu::Pause pause;
    tt_emu_ldmatrix(tt_emu::worker, tt_emu::self(), registers, N, Transposed, row, TT_HERE);
}

template <class E>
constexpr tt_emu::Matrix kind_of() {
    static_assert(__is_same(E, __half) || __is_same(E, __nv_bfloat16), "not supported for other types");
    return __is_same(E, __half) ? tt_emu::Matrix::half : tt_emu::Matrix::bfloat16;
}

// d = a b + c for a 16x16, b 16x8, c and d 16x8; products are added in float.
template <class E>
TT_INLINE void m16n8k16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], const float (&c)[4],
                        TT_SITE) {
    tt_emu::Pause pause;
    tt_emu_mma(tt_emu::worker, tt_emu::self(), kind_of<E>(), d, a, b, c, TT_HERE);
}

// d = a b + c for a 16x8, b 8x8, c and d 16x8; a and b are floats of which 10 bits of the fraction are used.
TT_INLINE void m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                            const float (&c)[4], TT_SITE) {
    tt_emu::Pause pause;
    tt_emu_mma(tt_emu::worker, tt_emu::self(), tt_emu::Matrix::tf32, d, a, b, c, TT_HERE);
}

TT_INLINE float exp2_approx(float x) { return exp2f(x); }
TT_INLINE int kept(int x) { return x; }
TT_INLINE const unsigned char* kept_shared(const unsigned char* p) { return p; }

#ifdef TT_CHECKED
// The matching wait executes the copies: earlier reads get no data.
TT_INLINE void cp_async16(void* shared, const void* global, TT_SITE) {
    tt_checked_copy(tt_emu::self(), shared, global, 16, 16, TT_HERE);
}
TT_INLINE void cp_async16_zfill(void* shared, const void* global, int bytes, TT_SITE) {
    tt_checked_copy(tt_emu::self(), shared, global, 16, bytes < 0 ? 0 : (unsigned)bytes, TT_HERE);
}
#else
// Copies are executed immediately; the hardware completes them before the matching wait.
TT_INLINE void cp_async16(void* shared, const void* global) { *(uint4*)shared = *(const uint4*)global; }
TT_INLINE void cp_async16_zfill(void* shared, const void* global, int bytes) {
    uint4 value = {};
    __builtin_memcpy(&value, global, (size_t)(bytes < 0 ? 0 : bytes > 16 ? 16 : bytes));
    *(uint4*)shared = value;
}
#endif
TT_INLINE void cp_async_commit() { TT_CHECK(tt_checked_commit(tt_emu::self());) }
template <int N>
TT_INLINE void cp_async_wait() {
    TT_CHECK(tt_checked_wait(tt_emu::self(), N);)
}

}  // namespace tt_mma

namespace tt_emu {
// A copy of 4, 8 or 16 bytes, of which those behind `there` become zero, that the thread waits for later.
TT_INLINE void copy_later(void* to, const void* from, unsigned size, unsigned there, Site site) {
#ifdef TT_CHECKED
    tt_checked_copy(self(), to, from, size, there, site);
#else
    unsigned long long values[2] = {};
    __builtin_memcpy(values, from, there < size ? there : size);
    __builtin_memcpy(to, values, size);
#endif
}
// The same for more bytes, in parts of which the thread takes number `first` and every `step`-th behind;
// false if they are not whole words.
static inline bool copy_parts_later(void* to, const void* from, size_t bytes, size_t first, size_t step,
                                    Site site) {
    const size_t all = (size_t)to | (size_t)from | bytes, size = all % 16 == 0 ? 16 : all % 8 == 0 ? 8 : 4;
    if (all % 4) return false;
    for (size_t i = first; i < bytes / size; i += step)
        copy_later((char*)to + i * size, (const char*)from + i * size, (unsigned)size, (unsigned)size, site);
    return true;
}
TT_INLINE void wait_for_copies(unsigned left) { TT_CHECK(tt_checked_wait(self(), left);) }
}  // namespace tt_emu
