// Checks of numbers that come from data: an index outside its axis, a class that does not exist.
// The first bad number since the host last looked goes into a report of the device, and the host raises at
// its next read-back (tinytensor/dispatch/bounds.py). Good numbers cost two comparisons and no memory access.
#pragma once
#include "common.cuh"

// By value: what is fine, and where to report the rest. In Python: launch.bounds(low, high, describe, ...).
struct Bounds {
    unsigned long long* report;  // number of the check (0: nothing to say), the bad number, whether it is < 0
    long long low, high;         // low <= number < high is fine
    unsigned long long check;
};

// Whether the number is fine. If not, the kernel must go on with one that is, or leave the element out.
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

// An index that may count from the end, as one that does not; -1 for one that is out of range.
template <class T>
__device__ __forceinline__ long long wrapped(T index, long long size, const Bounds& bounds) {
    if (!in_bounds(bounds, index)) return -1;
    const long long i = static_cast<long long>(index);
    return i < 0 ? i + size : i;
}
