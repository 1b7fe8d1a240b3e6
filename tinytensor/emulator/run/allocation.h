// malloc and free of kernels, which take memory of a heap of a fixed size; in a check, heap.h defines them.
#pragma once
#ifdef __APPLE__
#include <malloc/malloc.h>
#else
#include <malloc.h>
#endif
#include <stdlib.h>

#include "run/blocks.h"

namespace tt_emu {

static size_t heap_size = (size_t)8 << 20;  // CUDA's default
static size_t heap_live;                    // bytes of blocks that were not freed
static bool heap_is_used;                   // its size cannot change any more

// Whether the heap has room for so many bytes, which are then taken.
static bool take_of_heap(size_t bytes) {
    __atomic_store_n(&heap_is_used, true, __ATOMIC_RELAXED);
    if (bytes > heap_size) return false;
    if (__atomic_add_fetch(&heap_live, bytes, __ATOMIC_RELAXED) <= heap_size) return true;
    __atomic_sub_fetch(&heap_live, bytes, __ATOMIC_RELAXED);
    return false;
}
static void give_to_heap(size_t bytes) { __atomic_sub_fetch(&heap_live, bytes, __ATOMIC_RELAXED); }

#ifndef TT_CHECKED
static size_t size_of_block(void* address) {
#ifdef __APPLE__
    return malloc_size(address);
#else
    return malloc_usable_size(address);
#endif
}
#endif

}  // namespace tt_emu

#ifndef TT_CHECKED
TT_API void* tt_emu_malloc(size_t bytes) {
    using namespace tt_emu;
    Whole whole(*here);
    void* const block = bytes <= heap_size ? malloc(bytes) : nullptr;
    if (take_of_heap(block ? size_of_block(block) : bytes)) return block;
    free(block);
    return nullptr;
}
TT_API void tt_emu_free(void* address) {
    using namespace tt_emu;
    Whole whole(*here);
    if (address) give_to_heap(size_of_block(address));
    free(address);
}
#endif
