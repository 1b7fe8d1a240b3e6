// Scratch memory of kernels, cached between calls: fresh pages cost more than the work in them.
#pragma once
#include <stdlib.h>

using Index = long long;

namespace scratch {

struct Block {
    void* memory;
    Index bytes;
};
constexpr int MOST = 64;  // cached blocks
inline Block kept[MOST];
inline int count = 0;
inline bool busy = false;

inline void lock() {
    while (__atomic_test_and_set(&busy, __ATOMIC_ACQUIRE)) {
    }
}
inline void unlock() { __atomic_clear(&busy, __ATOMIC_RELEASE); }

}  // namespace scratch

// Uninitialized scratch array, 64-byte aligned; false if out of memory.
class Scratch {
    scratch::Block block = {};

 public:
    explicit Scratch(Index numbers) {
        scratch::lock();
        if (scratch::count) block = scratch::kept[--scratch::count];
        scratch::unlock();
        Index bytes = (numbers * (Index)sizeof(float) + 4095) / 4096 * 4096;
        if (block.bytes >= bytes) return;
        free(block.memory);
        block = {aligned_alloc(64, bytes), bytes};
    }
    ~Scratch() {
        scratch::lock();
        bool keeps = block.memory && scratch::count < scratch::MOST;
        if (keeps) scratch::kept[scratch::count++] = block;
        scratch::unlock();
        if (!keeps) free(block.memory);
    }
    Scratch(const Scratch&) = delete;

    explicit operator bool() const { return block.memory; }
    float* data() const { return (float*)block.memory; }
};
