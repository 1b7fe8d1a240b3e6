// One matrix product: cache blocking, and parts for threads.
//
//   for each block of b: `depth` <= DEPTH steps of as many columns as make BLOCK_BYTES
//       for each strip of a (STRIP rows; packed, it stays in the first cache)
//           for each panel of the block (PANEL columns; packed)
//               a tile of y += strip * panel
//
// So an element of b is fetched from the L2 or L3 cache once per strip, one of a from the L1 cache once per
// panel, and y from memory once per DEPTH steps. Threads share the packed block: the first thread that needs
// a panel packs it. The split of rows and columns over threads does not affect any sum, only which thread
// computes it.
#pragma once
#include "matmul_pack.h"

// The epilogue of some columns of a row of y, from `column` on, once their sums are complete and still in the
// cache.
template <class T>
struct Finish {
    void (*apply)(const void* context, T* sums, Index row, Index column, Index columns);
    const void* context;
    void operator()(T* sums, Index row, Index column, Index columns) const {
        if (apply) apply(context, sums, row, column, columns);
    }
};

// A matrix that is read, with the strides of its rows and columns in elements.
template <class N>
struct Factor {
    const N* data;
    Index row, column;
    Factor transposed() const { return {data, column, row}; }
};

// y = finish(start + a @ b). Strides in elements; the columns of y and of `start` are adjacent.
template <class E>
struct Product {
    using Sum = typename E::Sum;
    Index rows, columns, depth;
    Factor<typename E::Number> a, b;
    Sum* y;  // nullptr: the epilogue stores the results; only if `is_at_once`
    Index y_row;
    const Sum* start;  // y itself (to accumulate), a bias (start_row 0), or nullptr: zeros
    Index start_row;
    Finish<Sum> finish;
};

// ---- a block of b, and the packing of its panels ----------------------------------------------------------

// Fits the L2 cache of a large server core and the L3 cache of any. Smaller blocks cost more: strips are then
// packed, and y is read, more often.
constexpr Index BLOCK_BYTES = 5 << 18;
constexpr Index MOST_PANELS = 256;      // of a block
constexpr Index STRIPS_IN_PLACE = 6;    // b is not packed if so few strips use it
constexpr Index COLUMNS_IN_PLACE = 64;  // a stored in columns is not packed for so few columns of b
constexpr Index STRIPS_TOGETHER = 8;    // so many strips of an a stored in columns are packed together
constexpr Index LEAST_PART = 1 << 20;   // multiply-adds: some 10 microseconds

template <class E>
constexpr Index MOST_STEPS = E::UNITS * E::GROUP;  // of a block

template <class E>
Index units_of(Index depth) {
    return pieces(depth, E::GROUP);
}

template <class E>
struct Block {
    using Number = typename E::Number;
    using Unit = typename E::Unit;
    const Product<E>& p;
    Index first_column, columns, first_step, depth;
    Unit* packed;
    unsigned char state[MOST_PANELS];

    enum : unsigned char { AS_IT_LIES, BEING_PACKED, PACKED };

    Index width(Index panel) const { return least(columns - panel * PANEL<E>, PANEL<E>); }
    const Number* source(Index panel) const {
        return p.b.data + first_step * p.b.row + (first_column + panel * PANEL<E>)*p.b.column;
    }
    bool in_place(Index panel) const {
        return E::IN_PLACE && p.b.column == 1 && pieces(p.rows, E::STRIP) <= STRIPS_IN_PLACE &&
               width(panel) % LANES_OF<E> == 0;
    }
    // Address of a panel and the stride of its rows.
    const Unit* panel(Index n, Index* step) {
        if (in_place(n)) {
            *step = p.b.row;
            return (const Unit*)source(n);
        }
        Unit* to = packed + n * PANEL<E> * units_of<E>(depth);
        *step = rounded_up(width(n), LANES_OF<E>);
        unsigned char found = __atomic_load_n(&state[n], __ATOMIC_ACQUIRE);
        if (found == PACKED) return to;
        if (found == AS_IT_LIES && __atomic_compare_exchange_n(&state[n], &found, (unsigned char)BEING_PACKED,
                                                               false, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE)) {
            Packing<E>::panel(source(n), p.b.row, p.b.column, depth, width(n), to);
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

template <class E>
struct Strip {
    Index row, rows;
    const typename E::Unit* a;
    Index a_step;
    bool in_rows;
};

// The strips of a part, packed on demand. All strips of a product have nearly equal heights: a small one at
// the end would take as long as a full one.
template <class E>
class Strips {
    using Number = typename E::Number;
    using Unit = typename E::Unit;
    const Product<E>& p;
    Index first_step, depth, units, count, end;
    Unit* memory;

    Index row(Index strip) const { return p.rows * strip / count; }
    const Number* source(Index strip, Index k) const {
        return p.a.data + row(strip) * p.a.row + (first_step + k) * p.a.column;
    }
    bool in_place() const { return E::IN_PLACE && p.a.row == 1 && p.columns <= COLUMNS_IN_PLACE; }

 public:
    Strips(const Block<E>& block, Index end)
        : p(block.p),
          first_step(block.first_step),
          depth(block.depth),
          units(units_of<E>(depth)),
          count(pieces(p.rows, E::STRIP)),
          end(end),
          memory(kept<Unit>(STRIPS, STRIPS_TOGETHER * STRIP_SIZE<E>)) {}

    // `place`: index of the strip in the part.
    Strip<E> get(Index strip, Index place) {
        const Index first = row(strip), rows = row(strip + 1) - first;
        if (p.a.column == 1) {
            Packing<E>::rows(source(strip, 0), p.a.row, rows, depth, memory);
            return {first, rows, memory, 0, true};
        }
        if (in_place()) return {first, rows, (const Unit*)source(strip, 0), p.a.column, false};
        if (place % STRIPS_TOGETHER == 0) pack_together(strip);
        return {first, rows, memory + place % STRIPS_TOGETHER * STRIP_STEP<E> * units, STRIP_STEP<E>, false};
    }

 private:
    // A few steps of all strips, then the next few, so that reads are contiguous over many strips.
    void pack_together(Index strip) {
        constexpr Index SOME = 16 * E::GROUP;
        const Index size = STRIP_STEP<E> * units;
        const Range some = {strip, least(end, strip + STRIPS_TOGETHER)};
        for (Index k = 0; k < depth; k += SOME) {
            if (p.a.row == 1) prefetch(some, {k + SOME, least(depth, k + 2 * SOME)});
            for (Index i = 0; i < some.end - strip; i++)
                Packing<E>::columns(source(strip + i, k), p.a.row, p.a.column,
                                    row(strip + i + 1) - row(strip + i), least(depth - k, SOME),
                                    memory + i * size + k / E::GROUP * STRIP_STEP<E>);
        }
    }

    // Steps are too far apart in memory for the hardware prefetcher.
    void prefetch(Range strips, Range steps) const {
        const Index rows = row(strips.end) - row(strips.begin), line = 64 / sizeof(Number);
        for (Index k = steps.begin; k < steps.end; k++)
            for (Index i = 0; i < rows; i += line) __builtin_prefetch(source(strips.begin, k) + i);
    }
};

template <class E>
void part(Block<E>& block, Range strips, Range panels, Index first) {
    using Sum = typename E::Sum;
    const Product<E>& p = block.p;
    const bool starts = block.first_step == 0, ends = block.first_step + block.depth >= p.depth;
    const Index across = panels.end - panels.begin, units = units_of<E>(block.depth);
    const Index y_row = p.y ? p.y_row : block.columns;
    Sum* sums_of_a_strip = p.y ? nullptr : kept<Sum>(STRIP_SUMS, E::STRIP * block.columns);
    Strips<E> of_a(block, strips.end);
    for (Index s = strips.begin; s < strips.end; s++) {
        const Strip<E> strip = of_a.get(s, s - strips.begin);
        const Tile<E> full = tile_for<E, 2>(strip.rows, strip.in_rows);
        const Tile<E> half = tile_for<E, 1>(strip.rows, strip.in_rows);
        Sum* rows = p.y ? p.y + strip.row * y_row + block.first_column : sums_of_a_strip;
        for (Index j = 0; j < across; j++) {
            const Index n = panels.begin + (j + first) % across, column = n * PANEL<E>;
            Index b_step;
            const typename E::Unit* b = block.panel(n, &b_step);
            const Sum* start = rows + column;
            if (starts)
                start = p.start ? p.start + strip.row * p.start_row + block.first_column + column : nullptr;
            const Index start_row = starts ? p.start_row : y_row, width = block.width(n);
            const bool wide = width > LANES_OF<E>;
            const int tail = int(width - (wide ? LANES_OF<E> : 0));
            (wide ? full : half)(strip.rows, units, strip.a, strip.a_step, b, b_step, rows + column, y_row,
                                 start, start_row, tail);
        }
        const Index begin = panels.begin * PANEL<E>, end = least(panels.end * PANEL<E>, block.columns);
        for (Index i = 0; ends && i < strip.rows; i++)
            p.finish(rows + i * y_row + begin, strip.row + i, block.first_column + begin, end - begin);
    }
}

// ---- the whole product ------------------------------------------------------------------------------------

template <class E>
void fill_with_start(const Product<E>& p) {
    for (Index i = 0; i < p.rows; i++) {
        typename E::Sum* y = p.y + i * p.y_row;
        for (Index j = 0; j < p.columns; j++) y[j] = p.start ? p.start[i * p.start_row + j] : 0;
        p.finish(y, i, 0, p.columns);
    }
}

// Number of parts of the rows and of the columns of a block.
struct Grid {
    Index down, across;
};

// Of a tall block threads take strips, and share the panels. Of a wide one they take panels, since fetching a
// panel that another core has packed takes longer than computing the few strips that use it; each part then
// packs the strips for itself, so there are fewer parts.
inline Grid grid_of(Index products, Index strips, Index panels, bool broad) {
    const Index threads = thread_count();
    if (threads == 1) return {1, 1};
    const Index parts = most(1, least(products / LEAST_PART, (broad ? 2 : 4) * threads));
    const Index most_across = least(panels, parts), most_down = least(strips, parts);
    if (broad) return {least(strips, pieces(parts, most_across)), most_across};
    return {most_down, least(panels, pieces(parts, most_down))};
}

// Blocks run in sequence: each adds to the output of the one before. The parts of a block are independent.
template <class E>
void multiply(const Product<E>& p) {
    if (p.depth == 0) return fill_with_start(p);
    constexpr Index MOST = MOST_STEPS<E>, EVEN = 4;
    const Index depth = rounded_up(pieces(p.depth, pieces(p.depth, MOST)), EVEN), units = units_of<E>(depth);
    const Index room = BLOCK_BYTES / (units * PANEL<E> * (Index)sizeof(typename E::Unit));
    const Index all = pieces(p.columns, PANEL<E>), fit = most(1, least(room, MOST_PANELS));
    const Index columns = pieces(all, pieces(all, fit)) * PANEL<E>;
    auto* packed = kept<typename E::Unit>(PANELS, units * columns);
    for (Index column = 0; column < p.columns; column += columns)
        for (Index step = 0; step < p.depth; step += depth) {
            const Index wide = least(columns, p.columns - column), deep = least(depth, p.depth - step);
            Block<E> block = {p, column, wide, step, deep, packed, {}};
            const Index strips = pieces(p.rows, E::STRIP), panels = pieces(wide, PANEL<E>);
            const Grid grid = grid_of(p.rows * wide * deep, strips, panels, wide > p.rows);
            run_parts(grid.down * grid.across, [&](Index n) {
                const Range mine = share(panels, n % grid.across, grid.across);
                // Parts begin at distant panels, so that no two threads pack the same one.
                const Index first = Index(n / grid.across * 0.618 * panels);
                part(block, share(strips, n / grid.across, grid.down), mine, first);
            });
        }
}
