// Interface between a compiled kernel file (a unit) and the core of the emulator.
//
// The core is compiled once per machine: fibers, barriers, warp operations, worker threads, faults
// (core.cpp). A unit is one .cu file after cuda_emu.h. threadIdx and similar variables, and all __shared__
// variables, are plain static data, so addressing is free; blocks run in parallel in several loaded copies of
// the unit. No standard headers here: parsing them would take ten times as long as compiling a small kernel.
#pragma once

// In the checked build, of units and core alike.
#ifdef TT_CHECKED
#include "check/checked_names.h"
#define TT_CHECK(...) __VA_ARGS__
#else
#define TT_CHECK(...)
#endif

#define TT_API extern "C" __attribute__((visibility("default")))

namespace tt_emu {

struct Worker;  // one operating system thread that runs blocks, with its fibers; private to the core

// One block, as passed to the unit. The core has one per worker and updates `index` for each block.
struct Job {
    Worker* worker;
    unsigned grid[3], block[3], index[3];
    bool alone;                      // no other worker runs blocks of this launch: atomics may be plain
    unsigned char* dynamic_shared;   // its end is followed by a guard page
    const unsigned char* arguments;  // packed, each at a multiple of its size (structs: of 16, or 128)
    TT_CHECK(unsigned* current;)     // number of the running thread, which the unit sets
};

// Runs the threads first..last-1 of a block one after another until one of them has waited at a barrier or in
// a warp operation (other threads have run meanwhile, on other stacks). Returns the number of that thread, or
// last.
using Run = unsigned (*)(const Job&, unsigned first, unsigned last);

struct Parameter {
    unsigned size;
    bool is_struct;
};

// threadIdx of the running thread: reads it, or sets it after other threads have run.
using Exchange = void (*)(unsigned thread[3], bool set);

struct Kernel {  // exported by a unit, one for each instance
    Run run;
    Exchange exchange;
    const Parameter* parameters;
    unsigned count;
    unsigned bound;  // of __launch_bounds__, or 0
};

enum class Reduce : int { add, smallest, largest, smallest_unsigned, largest_unsigned, both, either, one };
enum class Matrix : int { half, bfloat16, tf32 };

struct Matrices {  // of a product of a warpgroup: descriptors of a and b, in shared memory
    Matrix kind;
    unsigned columns;  // of b
    unsigned long long at[2];
    bool across[2];  // whether lines run across
    bool add;
    const unsigned* left;  // the 4 registers of a, or null if it is in shared memory
};

// A tensor map, packed by tensor_map in run/runtime.py; the innermost axis first.
struct BoxMap {
    unsigned long long address, steps[4];  // steps in bytes, of all axes but the first
    unsigned sizes[5], box[5], rank, itemsize, swizzle, unused[9];
};
static_assert(sizeof(BoxMap) == 128, "as on the hardware");

struct Site {  // a source location in a .cu file
    const char* file;
    int line;
};

}  // namespace tt_emu

// Lets other threads run, since the running one polls `address`.
TT_API void tt_emu_poll(tt_emu::Worker*, unsigned self, const void* address, tt_emu::Site);

// All of these may run other threads before they return. `self` is the number of the calling thread.
TT_API int tt_emu_barrier(tt_emu::Worker*, unsigned self, int predicate, int* arrived, tt_emu::Site);
TT_API void tt_emu_sync_warp(tt_emu::Worker*, unsigned self, unsigned mask, tt_emu::Site);
TT_API unsigned long long tt_emu_shuffle(tt_emu::Worker*, unsigned self, unsigned mask,
                                         unsigned long long bits, int source, tt_emu::Site);
TT_API unsigned tt_emu_ballot(tt_emu::Worker*, unsigned self, unsigned mask, int predicate, tt_emu::Site);
TT_API unsigned tt_emu_match(tt_emu::Worker*, unsigned self, unsigned mask, unsigned long long bits,
                             tt_emu::Site);
TT_API unsigned tt_emu_reduce(tt_emu::Worker*, unsigned self, unsigned mask, tt_emu::Reduce, unsigned value,
                              tt_emu::Site);
TT_API void tt_emu_ldmatrix(tt_emu::Worker*, unsigned self, unsigned* registers, int count, bool transposed,
                            const void* row, tt_emu::Site);
TT_API void tt_emu_mma(tt_emu::Worker*, unsigned self, tt_emu::Matrix, float* d, const unsigned* a,
                       const unsigned* b, const float* c, tt_emu::Site);

// Calls f with the operands of all 32 lanes, once all are here.
TT_API void tt_emu_together(tt_emu::Worker*, unsigned self, void (*f)(void**), void* operand, tt_emu::Site);
TT_API unsigned tt_emu_activemask(tt_emu::Worker*, unsigned self, tt_emu::Site);
namespace tt_emu {
constexpr int OF_TILE = 2;  // `waits` of a barrier that has its number among those of tiles
}
TT_API void tt_emu_numbered_barrier(tt_emu::Worker*, unsigned self, unsigned number, unsigned count,
                                    int waits, tt_emu::Site);
TT_API bool tt_emu_is_cooperative(tt_emu::Worker*);
TT_API void tt_emu_grid_barrier(tt_emu::Worker*, unsigned self, tt_emu::Site);
TT_API void tt_emu_yield(tt_emu::Worker*, unsigned self, tt_emu::Site);

// On compute capability 9.0: barriers that count arrivals and bytes, copies of boxes, products of warpgroups.
TT_API unsigned tt_emu_shared_address(tt_emu::Worker*, const void* p);
TT_API void tt_emu_phase_init(tt_emu::Worker*, unsigned self, void* barrier, unsigned count, tt_emu::Site);
TT_API void tt_emu_phase_arrive(tt_emu::Worker*, unsigned self, void* barrier, unsigned bytes, tt_emu::Site);
TT_API void tt_emu_phase_wait(tt_emu::Worker*, unsigned self, void* barrier, unsigned parity, tt_emu::Site);
TT_API void tt_emu_copy_box(tt_emu::Worker*, unsigned self, void* to, const void* map, unsigned rank,
                            const int* corner, void* barrier, tt_emu::Site);
TT_API void tt_emu_products_begin(tt_emu::Worker*, unsigned self);
TT_API void tt_emu_product(tt_emu::Worker*, unsigned self, float* d, const tt_emu::Matrices&, tt_emu::Site);
TT_API void tt_emu_products_commit(tt_emu::Worker*, unsigned self);
TT_API void tt_emu_products_wait(tt_emu::Worker*, unsigned self, unsigned left, tt_emu::Site);

// These two do not return.
TT_API void tt_emu_assert(tt_emu::Worker*, unsigned self, const char* condition, tt_emu::Site);
TT_API void tt_emu_trap(tt_emu::Worker*, unsigned self, tt_emu::Site);
TT_API int tt_emu_printf(const char* format, ...);

TT_API void* tt_emu_malloc(decltype(sizeof(0)) bytes);
TT_API void tt_emu_free(void*);

#ifdef TT_CHECKED
// Accesses that the compiler does not instrument; way: 2, an atomic operation; 9, an exchange.
TT_API void tt_checked_access(const void* address, unsigned size, int way, tt_emu::Site);
// `size`: 4, 8 or 16 bytes, of which those behind `bytes` become zero.
TT_API void tt_checked_copy(unsigned self, void* to, const void* from, unsigned size, unsigned bytes,
                            tt_emu::Site);
TT_API void tt_checked_commit(unsigned self);
TT_API void tt_checked_wait(unsigned self, unsigned left);
TT_API void tt_checked_fence(unsigned self, int in_block);
TT_API void tt_checked_phases_fence(unsigned self);
#endif
