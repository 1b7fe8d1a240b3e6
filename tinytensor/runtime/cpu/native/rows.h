// Parallel loops over the rows of a matrix, and sums of its columns.
#pragma once
#include "threads.h"
#include "vector.h"
#include <stdlib.h>

// Number of rows of a parallel part: about 16,000 elements.
inline Index rows_at_once(Index width) { return width < 16384 ? 16384 / (width ? width : 1) : 1; }

// body(row, count) for the rows [begin, end), four at a time if possible: their sums are independent, and
// column values are loaded and stored once.
template <class Body>
inline void by_fours(Index begin, Index end, const Body& body) {
    Index row = begin;
    for (; row + 4 <= end; row += 4)
        body(row, Number<4>());
    for (; row < end; row++)
        body(row, Number<1>());
}

// Column sums of a matrix, computed if `target` is given: each part of the rows has its own sums, which are
// added in order, so that results are bitwise equal for any number of threads. False if out of memory.
class ColumnSums {
    float *target, *parts = nullptr;
    Index width, count;

 public:
    const Index grain;  // rows per part

    ColumnSums(float* target, Index rows, Index width)
        : target(target), width(width), grain(grain_for(rows, width)) {
        count = rows ? (rows + grain - 1) / grain : 0;
        if (target && count) parts = (float*)calloc(count * width, sizeof(float));
    }
    ~ColumnSums() { free(parts); }
    ColumnSums(const ColumnSums&) = delete;

    // At most 32 parts, since each needs a row of sums, but at most MOST rows per part: longer sums would
    // lose precision.
    static constexpr Index MOST = 4096;
    static Index grain_for(Index rows, Index width) {
        Index least = rows_at_once(width), share = (rows + 31) / 32, grain = least > share ? least : share;
        return grain < MOST ? grain : MOST;
    }
    explicit operator bool() const { return !target || !count || parts; }
    // Row of sums of the part that begins with this row; nullptr if no sums are computed.
    float* of(Index row) const { return parts ? parts + row / grain * width : nullptr; }
    void add_up() const {
        if (!target) return;
        each_vector(width, [&](Index i, auto lanes) {
            Floats sum = {};
            for (Index part = 0; part < count;) {
                Floats some = {};
                for (const Index end = part + 128 < count ? part + 128 : count; part < end; part++)
                    some += load(parts + part * width + i, lanes);
                sum += some;
            }
            store(target + i, sum, lanes);
        });
    }
};
