// Bounds checks of values that come from data: an index outside its axis, an invalid class.
// The first bad value since the last read-back is stored in a report on the device, and the host raises at
// its next read-back (tinytensor/dispatch/bounds.py). A valid value costs two comparisons, no memory access.
#pragma once
#include "common.cuh"

// By value: the valid range, and the report. In Python: launch.bounds(low, high, describe, ...).
struct Bounds {
    unsigned long long* report;  // number of the check (0: no report), the bad value, whether it is < 0
    long long low, high;         // low <= number < high is valid
    unsigned long long check;
};

// Whether the number is valid. If not, the kernel must substitute a valid one, or skip the element.
template <class T> __device__ __forceinline__ bool in_bounds(const Bounds& bounds, T number) {
    const long long i = static_cast<long long>(number);
    const bool beyond = !is_signed<T> && i < 0;  // above 2^63
    if (!beyond && i >= bounds.low && i < bounds.high) return true;
    if (atomicCAS(bounds.report, 0ULL, bounds.check) == 0) {
        bounds.report[1] = static_cast<unsigned long long>(i);
        bounds.report[2] = i < 0 && !beyond;
    }
    return false;
}

// Normalizes an index that may count from the end; -1 if it is out of range.
template <class T>
__device__ __forceinline__ long long wrapped(T index, long long size, const Bounds& bounds) {
    if (!in_bounds(bounds, index)) return -1;
    const long long i = static_cast<long long>(index);
    return i < 0 ? i + size : i;
}
