// Copies from global to shared memory that a thread waits for later, on the emulator.
#pragma once
#include "cuda_runtime.h"

#define __pipeline_memcpy_async(...) tt_emu::pipeline_copy(__VA_ARGS__)
#define __pipeline_commit() tt_mma::cp_async_commit()
#define __pipeline_wait_prior(n) tt_emu::pipeline_wait(n)

namespace tt_emu {
static inline void pipeline_copy(void* to, const void* from, size_t bytes, size_t zeros = 0, TT_SITE) {
    if (bytes == 16) return tt_mma::cp_async16_zfill(to, from, 16 - (int)zeros TT_CHECK(, file, line));
    if (zeros == 0 && bytes == 4)
        *(unsigned*)to = *(const unsigned*)from;
    else if (zeros == 0 && bytes == 8)
        *(uint2*)to = *(const uint2*)from;
    else
        for (size_t i = 0; i < bytes; i++) ((char*)to)[i] = i < bytes - zeros ? ((const char*)from)[i] : 0;
}
TT_INLINE void pipeline_wait(unsigned left) { TT_CHECK(tt_checked_wait(self(), left);) }
}  // namespace tt_emu

namespace nvcuda {
namespace experimental {
struct pipeline {
    unsigned commit() { return tt_mma::cp_async_commit(), ++groups; }
    void commit_and_wait() { commit(), wait_prior<0>(); }
    void wait(unsigned group) { tt_emu::pipeline_wait(groups - group); }
    template <unsigned left>
    void wait_prior() {
        tt_emu::pipeline_wait(left);
    }
    unsigned groups = 0;
};
template <class T>
static inline void memcpy_async(T& to, const T& from, pipeline&) {
    tt_emu::pipeline_copy(&to, &from, sizeof(T));
}
}  // namespace experimental
}  // namespace nvcuda
