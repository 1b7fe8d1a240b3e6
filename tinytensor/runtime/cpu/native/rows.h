// Work on the rows of a matrix.
#pragma once
#include "threads.h"
#include "vector.h"
#include <stdlib.h>

// How many rows of so many numbers are worth a part of their own: some 16,000 numbers.
inline Index rows_at_once(Index width) { return width < 16384 ? 16384 / (width ? width : 1) : 1; }

// body(row, how many) for the rows [begin, end), four at a time as long as there are four: their sums do not
// wait for each other, and what belongs to columns is loaded and stored once.
template <class Body>
inline void by_fours(Index begin, Index end, const Body& body) {
    Index row = begin;
    for (; row + 4 <= end; row += 4)
        body(row, Number<4>());
    for (; row < end; row++)
        body(row, Number<1>());
}

// Sums of the columns of a matrix, wanted if `target` is given: parts of the rows have sums of their own,
// which are added in order, so that the number of threads changes no bit. False if there is no memory.
class ColumnSums {
    float *target, *parts = nullptr;
    Index rows, width, count;

 public:
    const Index grain;  // rows of a part

    ColumnSums(float* target, Index rows, Index width)
        : target(target), rows(rows), width(width), grain(grain_for(rows, width)) {
        count = rows ? (rows + grain - 1) / grain : 0;
        if (target && count) parts = (float*)calloc(count * width, sizeof(float));
    }
    ~ColumnSums() { free(parts); }
    ColumnSums(const ColumnSums&) = delete;

    // At most 32 parts, since each costs a row of sums, but no more than MOST rows in one: a sum of more
    // would lose digits.
    static constexpr Index MOST = 4096;
    static Index grain_for(Index rows, Index width) {
        Index least = rows_at_once(width), share = (rows + 31) / 32, grain = least > share ? least : share;
        return grain < MOST ? grain : MOST;
    }
    explicit operator bool() const { return !target || !count || parts; }
    // Where the part that begins with this row adds up; nullptr if no sums are wanted.
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
