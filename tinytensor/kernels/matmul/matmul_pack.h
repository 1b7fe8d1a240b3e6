// Packing: copies blocks of the operands into the order in which tiles read them. A product reads each
// element of an operand many times; after one copy all reads are from contiguous addresses, for any strides.
#pragma once
#include <pthread.h>
#include <stdlib.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif
#include "matmul_tile.h"

constexpr Index least(Index a, Index b) { return a < b ? a : b; }
constexpr Index most(Index a, Index b) { return a > b ? a : b; }
INLINE Index pieces(Index whole, Index piece) { return (whole + piece - 1) / piece; }
INLINE Index rounded_up(Index n, Index to) { return pieces(n, to) * to; }

// ---- per-thread memory, kept between products: fresh pages would cost more than a small product -----------

enum Use { STRIPS, STRIP_SUMS, PANELS, SUMS, SLIM_SUMS, NARROWED, BIAS, USES };

struct Kept {
    void* data[USES];
    size_t size[USES];
};

inline pthread_key_t kept_key;
inline void let_go(void* of_a_thread) {
    Kept* kept = (Kept*)of_a_thread;
    for (void* data : kept->data) free(data);
    free(kept);
}
__attribute__((constructor)) inline void make_key() { pthread_key_create(&kept_key, let_go); }

// Memory for `count` elements, for one use at a time. On pages of 2 MB where Linux has them: fewer misses.
template <class T>
T* kept(Use use, Index count) {
    Kept* mine = (Kept*)pthread_getspecific(kept_key);
    if (!mine) {
        mine = (Kept*)calloc(1, sizeof(Kept));
        if (!mine || pthread_setspecific(kept_key, mine)) abort();
    }
    const size_t size = (size_t)count * sizeof(T), page = size_t(2) << 20;
    if (mine->size[use] < size) {
        free(mine->data[use]);
        mine->size[use] = (size + page - 1) / page * page;
        if (posix_memalign(&mine->data[use], page, mine->size[use])) abort();  // out of memory
#if defined(__linux__)
        madvise(mine->data[use], mine->size[use], MADV_HUGEPAGE);
#endif
    }
    return (T*)mine->data[use];
}

// ---- strips of a: at most STRIP rows, UNITS deep ----------------------------------------------------------

// Distance between the units of a strip stored in columns.
template <class E>
constexpr Index STRIP_STEP = (E::STRIP + LANES_OF<E> - 1) / LANES_OF<E> * LANES_OF<E>;
template <class E>
constexpr Index STRIP_SIZE = most(E::STRIP * STRIP_ROW<E>, STRIP_STEP<E>* E::UNITS);

// Row i at to + i * STRIP_ROW, as `tile` reads it IN_ROWS. The rows of a are contiguous: each is copied
// unchanged.
template <class E>
struct Packing {
    using Number = typename E::Number;
    using Unit = typename E::Unit;

    static void rows(const Number* a, Index a_row, Index rows, Index depth, Unit* to) {
        for (Index i = 0; i < rows; i++, a += a_row, to += STRIP_ROW<E>)
            each_lanes<Unit>(depth, [&](Index k, auto lanes) { store(to + k, load(a + k, lanes)); });
    }

    // Step k at to + k * STRIP_STEP. If the columns of a are contiguous, its transpose has contiguous rows.
    static void columns(const Number* a, Index a_row, Index a_column, Index rows, Index depth, Unit* to) {
        for (Index k = 0; k < depth; k++, a += a_column, to += STRIP_STEP<E>) {
            if (a_row == 1)
                each_lanes<Unit>(rows, [&](Index i, auto lanes) { store(to + i, load(a + i, lanes)); });
            else
                for (Index i = 0; i < rows; i++) to[i] = value(a[i * a_row]);
        }
    }

    // Step k at to + k * width, where the width is `columns` padded with zeros to whole vectors.
    static void panel(const Number* b, Index b_row, Index b_column, Index depth, Index columns, Unit* to) {
        constexpr Index LANES = LANES_OF<E>;
        const Index width = rounded_up(columns, LANES);
        for (Index j = 0; j < width; j += LANES, to += LANES, b += LANES * b_column) {
            const Index some = least(columns - j, LANES);
            Index k = 0;
            if (b_column == 1 && some == LANES)
                for (; k < depth; k++) store(to + k * width, load(b + k * b_row));
            else if (b_column == 1)
                for (; k < depth; k++) store(to + k * width, load(b + k * b_row, Part{int(some)}));
            else if (b_row == 1 && some == LANES)
                for (; k + 4 <= depth; k += 4) {
                    // Prefetch the lines of the next columns: too far apart for the hardware prefetcher.
                    for (Index i = 0; i < 4; i++)
                        __builtin_prefetch(b + k + (LANES + i + k % LANES) * b_column, 0, 2);
                    transpose4(b + k, b_column, to + k * width, width);
                }
            for (; k < depth; k++)
                for (Index i = 0; i < LANES; i++)
                    to[k * width + i] = i < some ? value(b[k * b_row + i * b_column]) : Unit(0);
        }
    }
};
