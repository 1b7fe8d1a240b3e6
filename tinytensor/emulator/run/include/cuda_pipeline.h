// Copies from global to shared memory that a thread waits for later, on the emulator.
#pragma once
#include "cuda_runtime.h"

#define __pipeline_memcpy_async(...) tt_emu::pipeline_copy(__VA_ARGS__)
#define __pipeline_commit() tt_mma::cp_async_commit()
#define __pipeline_wait_prior(n) tt_emu::wait_for_copies(n)

namespace tt_emu {
static inline void pipeline_copy(void* to, const void* from, size_t bytes, size_t zeros = 0, TT_SITE) {
    if (bytes == 4 || bytes == 8 || bytes == 16)
        return copy_later(to, from, (unsigned)bytes, (unsigned)(bytes - zeros), TT_HERE);
    for (size_t i = 0; i < bytes; i++) ((char*)to)[i] = i < bytes - zeros ? ((const char*)from)[i] : 0;
}
}  // namespace tt_emu

namespace nvcuda {
namespace experimental {
struct pipeline {
    unsigned commit() { return tt_mma::cp_async_commit(), ++groups; }
    void commit_and_wait() { commit(), wait_prior<0>(); }
    void wait(unsigned group) { tt_emu::wait_for_copies(groups - group); }
    template <unsigned left>
    void wait_prior() {
        tt_emu::wait_for_copies(left);
    }
    unsigned groups = 0;
};
template <class T>
static inline void memcpy_async(T& to, const T& from, pipeline&) {
    tt_emu::pipeline_copy(&to, &from, sizeof(T));
}
}  // namespace experimental
}  // namespace nvcuda
