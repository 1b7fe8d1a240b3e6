// One matrix product, cut into blocks that fit the caches and into parts for threads.
//
//   for each block of b: `depth` <= DEPTH steps of as many columns as make BLOCK_BYTES
//       for each strip of a (STRIP rows; packed, it stays in the first cache)
//           for each panel of the block (PANEL columns; packed)
//               a tile of y += strip * panel
//
// So a number of b is fetched from the second or third cache once per strip, one of a from the first cache
// once per panel, and y from memory once per DEPTH steps. Threads share the packed block: whoever first needs
// a panel packs it. How rows and columns are cut among threads has no influence on any sum, only on who forms
// it.
#pragma once
#include "matmul_pack.h"

// What is done to each row of y, or a piece of it, when its sums are complete: while they are in the cache.
template <class T>
struct Finish {
    void (*apply)(const void* context, T* y, Index columns);
    const void* context;
    void operator()(T* y, Index columns) const {
        if (apply) apply(context, y, columns);
    }
};

// A matrix that is read, and how far its rows and its columns are apart, in elements.
template <class T>
struct Factor {
    const T* data;
    Index row, column;
    Factor transposed() const { return {data, column, row}; }
};

// y = finish(start + a @ b). Strides in elements; the columns of y and of `start` lie side by side.
template <class T>
struct Product {
    Index rows, columns, depth;
    Factor<T> a, b;
    T* y;
    Index y_row;
    const T* start;  // y itself (to add to it), a bias (start_row 0), or nullptr: zeros
    Index start_row;
    Finish<T> finish;
};

// ---- a block of b, and who packs which panel --------------------------------------------------------------

// Fits the second cache of a large server core and the third one of any. Smaller blocks cost more: then
// strips are packed and y is read more often.
constexpr Index BLOCK_BYTES = 5 << 18;
constexpr Index MOST_PANELS = 256;     // of a block
constexpr Index STRIPS_IN_PLACE = 6;   // b is not packed if so few strips use it
constexpr Index PANELS_IN_PLACE = 2;   // a that lies in columns is not packed if so few panels use it
constexpr Index STRIPS_TOGETHER = 8;   // strips of an a that lies in columns are packed side by side
constexpr Index LEAST_PART = 1 << 20;  // multiply-adds: some 10 microseconds

template <class T>
struct Block {
    const Product<T>& p;
    Index first_column, columns, first_step, depth;
    T* packed;
    unsigned char state[MOST_PANELS];

    enum : unsigned char { AS_IT_LIES, BEING_PACKED, PACKED };

    Index width(Index panel) const { return least(columns - panel * PANEL<T>, PANEL<T>); }
    const T* source(Index panel) const {
        return p.b.data + first_step * p.b.row + (first_column + panel * PANEL<T>)*p.b.column;
    }
    bool in_place(Index panel) const {
        return p.b.column == 1 && pieces(p.rows, STRIP) <= STRIPS_IN_PLACE && width(panel) % WIDTH<T> == 0;
    }
    // Address of a panel and how far its rows are apart.
    const T* panel(Index n, Index* step) {
        if (in_place(n)) {
            *step = p.b.row;
            return source(n);
        }
        T* to = packed + n * PANEL<T> * depth;
        *step = panel_width<T>(width(n));
        unsigned char found = __atomic_load_n(&state[n], __ATOMIC_ACQUIRE);
        if (found == PACKED) return to;
        if (found == AS_IT_LIES && __atomic_compare_exchange_n(&state[n], &found, (unsigned char)BEING_PACKED,
                                                               false, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE)) {
            pack_panel(source(n), p.b.row, p.b.column, depth, width(n), to);
            __atomic_store_n(&state[n], (unsigned char)PACKED, __ATOMIC_RELEASE);
        } else {
            while (__atomic_load_n(&state[n], __ATOMIC_ACQUIRE) != PACKED) relax();
        }
        return to;
    }
};

// ---- a part: some strips times some panels of a block -----------------------------------------------------

struct Range {
    Index begin, end;
};
// The n-th of `count` nearly equal ranges that make up [0, size).
INLINE Range share(Index size, Index n, Index count) { return {size * n / count, size * (n + 1) / count}; }

template <class T>
struct Strip {
    Index row, rows;
    const T* a;
    Index a_step;
    bool in_rows;
};

// The strips of a part, packed as they are needed. All strips of a product are nearly equally high: a small
// one at the end would take as long as a full one.
template <class T>
class Strips {
    const Product<T>& p;
    Index first_step, depth, count, end;
    bool in_place;
    T* memory;

    Index row(Index strip) const { return p.rows * strip / count; }
    const T* source(Index strip, Index k) const {
        return p.a.data + row(strip) * p.a.row + (first_step + k) * p.a.column;
    }

 public:
    Strips(const Block<T>& block, Index end, bool in_place)
        : p(block.p),
          first_step(block.first_step),
          depth(block.depth),
          count(pieces(p.rows, STRIP)),
          end(end),
          in_place(in_place),
          memory(kept<T>(STRIPS, STRIPS_TOGETHER * STRIP_SIZE<T>)) {}

    // `place`: how many strips of the part came before.
    Strip<T> get(Index strip, Index place) {
        const Index first = row(strip), rows = row(strip + 1) - first;
        if (p.a.column == 1) {
            pack_rows(source(strip, 0), p.a.row, rows, depth, memory);
            return {first, rows, memory, 0, true};
        }
        if (in_place) return {first, rows, source(strip, 0), p.a.column, false};
        if (place % STRIPS_TOGETHER == 0) pack_together(strip);
        return {first, rows, memory + place % STRIPS_TOGETHER * STRIP_STEP<T> * depth, STRIP_STEP<T>, false};
    }

 private:
    // A few steps of all strips, then the next few: what is read lies side by side then, over many strips.
    void pack_together(Index strip) {
        const Index some = least(end - strip, STRIPS_TOGETHER);
        for (Index k = 0; k < depth; k += 16)
            for (Index i = 0; i < some; i++)
                pack_columns(source(strip + i, k), p.a.row, p.a.column, row(strip + i + 1) - row(strip + i),
                             least(depth - k, 16), memory + (i * depth + k) * STRIP_STEP<T>);
    }
};

template <class T>
void part(Block<T>& block, Range strips, Range panels, Index first) {
    const Product<T>& p = block.p;
    const bool starts = block.first_step == 0;
    const bool a_in_place = p.a.row == 1 && pieces(p.columns, PANEL<T>) <= PANELS_IN_PLACE;
    Strips<T> of_a(block, strips.end, a_in_place);
    const Index across = panels.end - panels.begin;
    for (Index s = strips.begin; s < strips.end; s++) {
        const Strip<T> strip = of_a.get(s, s - strips.begin);
        const Tile<T> full =
            strip.in_rows ? tile_of<T, 2, true>(strip.rows) : tile_of<T, 2, false>(strip.rows);
        const Tile<T> half =
            strip.in_rows ? tile_of<T, 1, true>(strip.rows) : tile_of<T, 1, false>(strip.rows);
        for (Index j = 0; j < across; j++) {
            const Index n = panels.begin + (j + first) % across;
            Index b_step;
            const T* b = block.panel(n, &b_step);
            const Index column = block.first_column + n * PANEL<T>, width = block.width(n);
            T* y = p.y + strip.row * p.y_row + column;
            const T* start = starts ? (p.start ? p.start + strip.row * p.start_row + column : nullptr) : y;
            const Index start_row = starts ? p.start_row : p.y_row;
            const bool wide = width > WIDTH<T>;
            const int tail = int(width - (wide ? WIDTH<T> : 0));
            (wide ? full : half)(block.depth, strip.a, strip.a_step, b, b_step, y, p.y_row, start, start_row,
                                 tail);
        }
        if (block.first_step + block.depth < p.depth) continue;
        const Index column = panels.begin * PANEL<T>, end = least(panels.end * PANEL<T>, block.columns);
        T* y = p.y + strip.row * p.y_row + block.first_column + column;
        for (Index i = 0; i < strip.rows; i++) p.finish(y + i * p.y_row, end - column);
    }
}

// ---- the whole --------------------------------------------------------------------------------------------

template <class T>
void fill_with_start(const Product<T>& p) {
    for (Index i = 0; i < p.rows; i++) {
        T* y = p.y + i * p.y_row;
        for (Index j = 0; j < p.columns; j++) y[j] = p.start ? p.start[i * p.start_row + j] : T(0);
        p.finish(y, p.columns);
    }
}

// Blocks follow each other, since each adds to what the one before has written; the parts of a block are
// free.
template <class T>
void multiply(const Product<T>& p) {
    if (p.depth == 0) return fill_with_start(p);
    const Index depth = rounded_up(pieces(p.depth, pieces(p.depth, DEPTH<T>)), 4);
    const Index room = BLOCK_BYTES / (depth * PANEL<T> * (Index)sizeof(T));
    const Index all = pieces(p.columns, PANEL<T>), fit = most(1, least(room, MOST_PANELS));
    const Index columns = pieces(all, pieces(all, fit)) * PANEL<T>;
    T* packed = kept<T>(PANELS, depth * columns);
    for (Index column = 0; column < p.columns; column += columns)
        for (Index step = 0; step < p.depth; step += depth) {
            Block<T> block = {
                p,      column, least(columns, p.columns - column), step, least(depth, p.depth - step),
                packed, {}};
            const Index strips = pieces(p.rows, STRIP), panels = pieces(block.columns, PANEL<T>);
            const Index work = p.rows * block.columns * block.depth / LEAST_PART;
            const Index wanted = thread_count() == 1 ? 1 : most(1, least(work, 4 * thread_count()));
            const Index down = least(strips, wanted), across = least(panels, pieces(wanted, down));
            run_parts(down * across, [&](Index n) {
                const Range mine = share(panels, n % across, across);
                // Parts begin with panels far from each other's, so that no two threads want to pack the
                // same.
                const Index first = Index(n / across * 0.618 * panels);
                part(block, share(strips, n / across, down), mine, first);
            });
        }
}
