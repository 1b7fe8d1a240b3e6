// Packing: copies of pieces of the operands, in the order in which tiles read them. A product reads each
// number of an operand many times; after one copy all reads are from neighboring addresses, whatever the
// strides were.
#pragma once
#include <pthread.h>
#include <stdlib.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif
#include "matmul_tile.h"

INLINE Index least(Index a, Index b) { return a < b ? a : b; }
INLINE Index most(Index a, Index b) { return a > b ? a : b; }
INLINE Index pieces(Index whole, Index piece) { return (whole + piece - 1) / piece; }
INLINE Index rounded_up(Index n, Index to) { return pieces(n, to) * to; }

// ---- memory that a thread keeps between products: fresh pages would cost more than a small product --------

enum Use { STRIPS, PANELS, SUMS, USES };

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

// Memory for `count` numbers, for one use at a time. On pages of 2 MB where Linux has them: fewer misses.
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
        if (posix_memalign(&mine->data[use], page, mine->size[use])) abort();  // no memory: nothing can go on
#if defined(__linux__)
        madvise(mine->data[use], mine->size[use], MADV_HUGEPAGE);
#endif
    }
    return (T*)mine->data[use];
}

// ---- strips of a: `rows` <= STRIP rows, `depth` <= DEPTH steps --------------------------------------------

// Between steps of a strip that lies in columns.
template <class T>
constexpr Index STRIP_STEP = (STRIP + WIDTH<T> - 1) / WIDTH<T> * WIDTH<T>;
template <class T>
constexpr Index STRIP_SIZE =
    STRIP * STRIP_ROW<T> > STRIP_STEP<T>* DEPTH<T> ? STRIP * STRIP_ROW<T> : STRIP_STEP<T> * DEPTH<T>;

// Row i at to + i * STRIP_ROW, as `tile` reads it IN_ROWS. The rows of a are dense: each is copied as it
// lies.
template <class T>
void pack_rows(const T* a, Index a_row, Index rows, Index depth, T* to) {
    for (Index i = 0; i < rows; i++, a += a_row, to += STRIP_ROW<T>) {
        Index k = 0;
        for (; k + WIDTH<T> <= depth; k += WIDTH<T>) store(to + k, load(a + k));
        if (k < depth) store(to + k, load(a + k, Part{int(depth - k)}));
    }
}

// Step k at to + k * STRIP_STEP. Where the columns of a are dense, its transpose is what lies in rows.
template <class T>
void pack_columns(const T* a, Index a_row, Index a_step, Index rows, Index depth, T* to) {
    for (Index k = 0; k < depth; k++, a += a_step, to += STRIP_STEP<T>) {
        if (a_row == 1)
            for (Index i = 0; i < rows; i += WIDTH<T>)
                store(to + i, load(a + i, Part{int(least(rows - i, WIDTH<T>))}));
        else
            for (Index i = 0; i < rows; i++) to[i] = a[i * a_row];
    }
}

// ---- panels of b: `columns` <= PANEL columns --------------------------------------------------------------

// How far the rows of a packed panel are apart: whole vectors, padded with zeros.
template <class T>
INLINE Index panel_width(Index columns) {
    return rounded_up(columns, WIDTH<T>);
}

// Row k at to + k * panel_width(columns).
template <class T>
void pack_panel(const T* b, Index b_step, Index b_column, Index depth, Index columns, T* to) {
    const Index width = panel_width<T>(columns);
    for (Index j = 0; j < width; j += WIDTH<T>, to += WIDTH<T>, b += WIDTH<T> * b_column) {
        const Index some = least(columns - j, WIDTH<T>);
        Index k = 0;
        if (b_column == 1 && some == WIDTH<T>)
            for (; k < depth; k++) store(to + k * width, load(b + k * b_step));
        else if (b_column == 1)
            for (; k < depth; k++) store(to + k * width, load(b + k * b_step, Part{int(some)}));
        else if (b_step == 1 && some == WIDTH<T>)
            for (; k + 4 <= depth; k += 4) {
                // The lines of the next LANES rows: too far apart for the processor to foresee them.
                for (Index i = 0; i < 4; i++)
                    __builtin_prefetch(b + k + (WIDTH<T> + i + k % WIDTH<T>)*b_column, 0, 2);
                transpose4(b + k, b_column, to + k * width, width);
            }
        for (; k < depth; k++)
            for (Index i = 0; i < WIDTH<T>; i++)
                to[k * width + i] = i < some ? b[k * b_step + i * b_column] : T(0);
    }
}
