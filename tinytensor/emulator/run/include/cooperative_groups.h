// Cooperative groups on the emulator: blocks, tiles of a warp or of several, lanes that run together, the
// grid.
#pragma once
#include "cuda_runtime.h"

namespace cooperative_groups {

#define TT_AT const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define TT_ON \
    tt_emu::Site { file, line }

// ---- the block --------------------------------------------------------------------------------------------

struct thread_block {
    struct arrival_token {};
    static void sync(TT_AT) { __syncthreads(file, line); }
    static arrival_token barrier_arrive() { return {}; }
    static void barrier_wait(arrival_token&&, TT_AT) { __syncthreads(file, line); }
    static unsigned thread_rank() { return tt_emu::self(); }
    static unsigned size() { return blockDim.x * blockDim.y * blockDim.z; }
    static unsigned num_threads() { return size(); }
    static dim3 group_index() { return dim3(blockIdx.x, blockIdx.y, blockIdx.z); }
    static dim3 thread_index() { return dim3(threadIdx.x, threadIdx.y, threadIdx.z); }
    static dim3 group_dim() { return blockDim; }
    static dim3 dim_threads() { return blockDim; }
};
TT_INLINE thread_block this_thread_block() { return {}; }
template <unsigned N = 1024>
struct block_tile_memory {};
template <unsigned N>
TT_INLINE thread_block this_thread_block(block_tile_memory<N>&) {
    return {};
}

// ---- lanes of a warp --------------------------------------------------------------------------------------

// Lanes in ascending order; `mask` says which.
struct coalesced_group {
    unsigned mask, group_rank = 0, group_count = 1;
    unsigned long long size() const { return (unsigned)__popc(mask); }
    unsigned num_threads() const { return (unsigned)__popc(mask); }
    unsigned thread_rank() const { return (unsigned)__popc(mask & ((1u << tt_emu::lane()) - 1)); }
    unsigned meta_group_rank() const { return group_rank; }
    unsigned meta_group_size() const { return group_count; }
    void sync(TT_AT) const { __syncwarp(mask, file, line); }
    int lane_of(unsigned rank) const {  // lane of a rank, of this thread for ranks that there are not
        return rank < num_threads() ? (int)__fns(mask, 0, (int)rank + 1) : tt_emu::lane();
    }
    template <class T>
    T shfl(T x, int rank, TT_AT) const {
        return tt_emu::shuffle_any(mask, x, lane_of((unsigned)rank % num_threads()), TT_ON);
    }
    template <class T>
    T shfl_up(T x, unsigned delta, TT_AT) const {
        const unsigned rank = thread_rank();
        return tt_emu::shuffle_any(mask, x, lane_of(rank >= delta ? rank - delta : rank), TT_ON);
    }
    template <class T>
    T shfl_down(T x, unsigned delta, TT_AT) const {
        return tt_emu::shuffle_any(mask, x, lane_of(thread_rank() + delta), TT_ON);
    }
    template <class T>
    T shfl_xor(T x, unsigned lanes, TT_AT) const {
        return tt_emu::shuffle_any(mask, x, lane_of(thread_rank() ^ lanes), TT_ON);
    }
    int any(int predicate, TT_AT) const { return __any_sync(mask, predicate, file, line); }
    int all(int predicate, TT_AT) const { return __all_sync(mask, predicate, file, line); }
    unsigned packed(unsigned lanes) const {  // bits of the lanes of the group, without gaps
        unsigned result = 0, rank = 0;
        for (unsigned left = mask; left; left &= left - 1, rank++)
            if (lanes & left & (0u - left)) result |= 1u << rank;
        return result;
    }
    unsigned ballot(int predicate, TT_AT) const { return packed(__ballot_sync(mask, predicate, file, line)); }
    template <class T>
    unsigned match_any(T x, TT_AT) const {
        return packed(__match_any_sync(mask, x, file, line));
    }
    template <class T>
    unsigned match_all(T x, int& same, TT_AT) const {
        return packed(__match_all_sync(mask, x, &same, file, line));
    }
};
TT_INLINE coalesced_group coalesced_threads(TT_AT) { return {__activemask(file, line)}; }

// ---- tiles ------------------------------------------------------------------------------------------------

namespace details {
template <unsigned N>
TT_INLINE unsigned tile_mask() {
    return N >= 32 ? ~0u : ((1u << N % 32) - 1) << (tt_emu::lane() / N * N);
}
}  // namespace details

// N threads, a power of two: a part of a warp, or several warps.
template <unsigned N, class Parent = void>
struct thread_block_tile {
    static_assert(N && !(N & (N - 1)) && N <= 1024, "a tile has 1, 2, 4, … 1024 threads");
    thread_block_tile() = default;
    template <class Q>
    thread_block_tile(const thread_block_tile<N, Q>&) {}
    operator coalesced_group() const {
        static_assert(N <= 32, "a part of a warp");
        return {mask(), meta_group_rank(), meta_group_size()};
    }
    static unsigned mask() { return details::tile_mask<N>(); }
    static unsigned thread_rank() { return tt_emu::self() % N; }
    static constexpr unsigned size() { return N; }
    static constexpr unsigned num_threads() { return N; }
    static unsigned meta_group_rank() { return tt_emu::self() / N; }
    static unsigned meta_group_size() { return (thread_block::size() + N - 1) / N; }
    static void sync(TT_AT) {
        if constexpr (N <= 32) {
            __syncwarp(mask(), file, line);
        } else {  // of several warps: a barrier with a number
            tt_emu::Pause pause;
            tt_emu_numbered_barrier(tt_emu::worker, tt_emu::self(), meta_group_rank(), N, tt_emu::OF_TILE,
                                    TT_ON);
        }
    }
#define TT_SHUFFLE(NAME, KIND)                                                            \
    template <class T>                                                                    \
    T NAME(T x, KIND with, TT_AT) const {                                                 \
        static_assert(N <= 32, "a tile of several warps cannot shuffle: use cg::reduce"); \
        return tt_emu::NAME##_any(mask(), x, with, (int)N, TT_ON);                        \
    }
    TT_SHUFFLE(shfl, int)
    TT_SHUFFLE(shfl_up, unsigned) TT_SHUFFLE(shfl_down, unsigned) TT_SHUFFLE(shfl_xor, int)
#undef TT_SHUFFLE
        int any(int predicate, TT_AT) const {
        return __any_sync(mask(), predicate, file, line);
    }
    int all(int predicate, TT_AT) const { return __all_sync(mask(), predicate, file, line); }
    unsigned shifted(unsigned lanes) const {
        return (lanes & mask()) >> (tt_emu::lane() / (N % 32 ? N : 32) * N % 32);
    }
    unsigned ballot(int predicate, TT_AT) const {
        return shifted(__ballot_sync(mask(), predicate, file, line));
    }
    template <class T>
    unsigned match_any(T x, TT_AT) const {
        return shifted(__match_any_sync(mask(), x, file, line));
    }
    template <class T>
    unsigned match_all(T x, int& same, TT_AT) const {
        return shifted(__match_all_sync(mask(), x, &same, file, line));
    }
};

template <unsigned N>
TT_INLINE thread_block_tile<N, thread_block> tiled_partition(const thread_block&) {
    return {};
}
template <unsigned N, unsigned M, class P>
TT_INLINE thread_block_tile<N, thread_block_tile<M, P>> tiled_partition(const thread_block_tile<M, P>&) {
    static_assert(N <= M, "a tile is not larger than what it is a part of");
    return {};
}
TT_INLINE coalesced_group tiled_partition(const coalesced_group& g, unsigned n) {
    const unsigned first = g.thread_rank() / n * n;
    unsigned mask = 0;
    for (unsigned rank = first; rank < first + n && rank < g.num_threads(); rank++)
        mask |= 1u << g.lane_of(rank);
    return {mask, first / n, (g.num_threads() + n - 1) / n};
}
template <class G>
TT_INLINE coalesced_group labeled_partition(const G& group, int label, TT_AT) {
    const coalesced_group g = group;
    return {__match_any_sync(g.mask, label, file, line)};
}
template <class G>
TT_INLINE coalesced_group binary_partition(const G& group, bool predicate, TT_AT) {
    const coalesced_group g = group;
    const unsigned there = __ballot_sync(g.mask, predicate, file, line);
    return {predicate ? there : g.mask & ~there, predicate, 2};
}

// A group of any kind: a block, or lanes of a warp.
struct thread_group {
    bool block;
    coalesced_group lanes;
    thread_group(const thread_block&) : block(true), lanes{~0u} {}
    thread_group(const coalesced_group& g) : block(false), lanes(g) {}
    template <unsigned N, class P>
    thread_group(const thread_block_tile<N, P>& g) : block(false), lanes(coalesced_group(g)) {}
    unsigned thread_rank() const { return block ? tt_emu::self() : lanes.thread_rank(); }
    unsigned size() const { return block ? thread_block::size() : lanes.num_threads(); }
    unsigned num_threads() const { return size(); }
    void sync(TT_AT) const { block ? __syncthreads(file, line) : lanes.sync(file, line); }
};
TT_INLINE thread_group tiled_partition(const thread_group& g, unsigned n) {
    if (g.block) {
        const unsigned start = (unsigned)tt_emu::lane() / n * n;
        return coalesced_group{n >= 32 ? ~0u : ((1u << n) - 1) << start, tt_emu::self() / n};
    }
    return tiled_partition(g.lanes, n);
}
TT_INLINE thread_group tiled_partition(const thread_block& b, unsigned n) {
    return tiled_partition(thread_group(b), n);
}

// ---- the grid ---------------------------------------------------------------------------------------------

struct grid_group {
    static bool is_valid() { return tt_emu_is_cooperative(tt_emu::worker); }
    static void sync(TT_AT) {
        tt_emu::Pause pause;
        tt_emu_grid_barrier(tt_emu::worker, tt_emu::self(), TT_ON);
    }
    static unsigned long long block_rank() {
        return blockIdx.x + (unsigned long long)gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    }
    static unsigned long long num_blocks() { return (unsigned long long)gridDim.x * gridDim.y * gridDim.z; }
    static unsigned long long thread_rank() { return block_rank() * thread_block::size() + tt_emu::self(); }
    static unsigned long long size() { return num_blocks() * thread_block::size(); }
    static unsigned long long num_threads() { return size(); }
    static dim3 block_index() { return thread_block::group_index(); }
    static dim3 dim_blocks() { return gridDim; }
    static dim3 group_dim() { return gridDim; }
};
TT_INLINE grid_group this_grid() { return {}; }

// ---- functions of groups ----------------------------------------------------------------------------------

template <class G>
TT_INLINE void sync(const G& group, TT_AT) {
    group.sync(file, line);
}
template <class G>
TT_INLINE unsigned long long thread_rank(const G& group) {
    return group.thread_rank();
}
template <class G>
TT_INLINE unsigned long long group_size(const G& group) {
    return group.size();
}

#undef TT_AT
#undef TT_ON
}  // namespace cooperative_groups
