// Shared code of the class losses: count of the rows that are not ignored, and their mean.
// Order: one block adds in fixed order, in double: deterministic.
#pragma once
#include "bounds.cuh"
#include "reduce.cuh"

namespace losses {

// Number of targets that are not ignored. One block; every thread gets the result.
__device__ __forceinline__ long long counted(const long long* targets, long long count, long long ignore) {
    long long own = 0;
    for (long long i = thread_rank(); i < count; i += blockDim.x) own += targets[i] != ignore;
    return block_sum(own);
}

// loss = the sum of the losses of all rows, or their mean over the rows that are not ignored: nan if all are.
template <class T>
__device__ __forceinline__ void reduce(
    T* loss, const acc_t<T>* rows, const long long* targets, long long count, long long ignore, bool mean) {
    double own = 0;
    for (long long i = thread_rank(); i < count; i += blockDim.x) own += static_cast<double>(rows[i]);
    const double total = block_sum(own);
    const double number = mean ? static_cast<double>(counted(targets, count, ignore)) : 1.0;
    if (thread_rank() == 0) *loss = from_acc<T>(total / number);
}

}  // namespace losses
