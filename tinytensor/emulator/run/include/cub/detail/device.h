// Reductions and scans of arrays, as kernels of one block: --check watches them, and graphs capture them.
#pragma once
#include <limits>
#include <type_traits>
#include <utility>

#include "cub/detail/block.h"

#ifdef TT_PROGRAM
namespace cub {
namespace detail {

constexpr int THREADS = 256;
constexpr size_t WORKSPACE = 256;  // has a size, as with CUB, and is not used

template <class From, class To, class T, class F>
__global__ void reduce_array(From from, To to, long long n, F f, T initial) {
    typedef BlockReduce<T, THREADS> Block;
    __shared__ typename Block::TempStorage storage;
    T x = T();
    for (long long i = threadIdx.x; i < n; i += THREADS) {
        const T value = (T)from[i];
        x = i < THREADS ? value : f(x, value);
    }
    x = Block(storage).Reduce(x, f, (int)(n < THREADS ? n : THREADS));
    if (threadIdx.x == 0) *to = n ? f(initial, x) : initial;
}

template <bool INCLUSIVE, class From, class To, class T, class F>
__global__ void scan_array(From from, To to, long long n, F f, T initial) {
    typedef BlockScan<T, THREADS> Block;
    __shared__ typename Block::TempStorage storage;
    T before = initial;
    for (long long start = 0; start < n; start += THREADS) {
        const long long i = start + threadIdx.x;
        const T x = i < n ? (T)from[i] : T();  // the values behind the end come last: they count for none
        T result, all;
        Block(storage).ExclusiveScan(x, result, before, f, all);
        if (i < n) to[i] = INCLUSIVE ? f(result, x) : result;
        before = f(before, all);
        __syncthreads();
    }
}

template <class Launch>
cudaError_t with_workspace(void* workspace, size_t& bytes, Launch launch) {
    if (!workspace) return bytes = WORKSPACE, cudaSuccess;
    if (bytes < WORKSPACE) return cudaErrorInvalidValue;
    launch();
    return cudaPeekAtLastError();
}
template <class From>
using Value = std::remove_cv_t<std::remove_reference_t<decltype(*std::declval<From>())>>;

}  // namespace detail

// Each function is called twice: with a null pointer it says how many bytes of workspace it needs.
struct DeviceReduce {
    template <class From, class To, class F, class T>
    static cudaError_t Reduce(void* workspace, size_t& bytes, From from, To to, long long n, F f, T initial,
                              cudaStream_t stream = nullptr) {
        return detail::with_workspace(workspace, bytes, [=] {
            detail::reduce_array<<<1, detail::THREADS, 0, stream>>>(from, to, n, f, initial);
        });
    }
    template <class From, class To>
    static cudaError_t Sum(void* workspace, size_t& bytes, From from, To to, long long n,
                           cudaStream_t stream = nullptr) {
        return Reduce(workspace, bytes, from, to, n, cub::Sum(), detail::Value<From>(), stream);
    }
    template <class From, class To>
    static cudaError_t Max(void* workspace, size_t& bytes, From from, To to, long long n,
                           cudaStream_t stream = nullptr) {
        typedef std::numeric_limits<detail::Value<From>> Limits;
        return Reduce(workspace, bytes, from, to, n, cub::Max(), Limits::lowest(), stream);
    }
    template <class From, class To>
    static cudaError_t Min(void* workspace, size_t& bytes, From from, To to, long long n,
                           cudaStream_t stream = nullptr) {
        typedef std::numeric_limits<detail::Value<From>> Limits;
        return Reduce(workspace, bytes, from, to, n, cub::Min(), Limits::max(), stream);
    }
};

struct DeviceScan {
    template <class From, class To, class F, class T>
    static cudaError_t ExclusiveScan(void* workspace, size_t& bytes, From from, To to, F f, T initial,
                                     long long n, cudaStream_t stream = nullptr) {
        return detail::with_workspace(workspace, bytes, [=] {
            detail::scan_array<false><<<1, detail::THREADS, 0, stream>>>(from, to, n, f, initial);
        });
    }
    template <class From, class To>
    static cudaError_t ExclusiveSum(void* workspace, size_t& bytes, From from, To to, long long n,
                                    cudaStream_t stream = nullptr) {
        return ExclusiveScan(workspace, bytes, from, to, cub::Sum(), detail::Value<From>(), n, stream);
    }
    template <class From, class To>
    static cudaError_t InclusiveSum(void* workspace, size_t& bytes, From from, To to, long long n,
                                    cudaStream_t stream = nullptr) {
        return detail::with_workspace(workspace, bytes, [=] {
            detail::scan_array<true>
                <<<1, detail::THREADS, 0, stream>>>(from, to, n, cub::Sum(), detail::Value<From>());
        });
    }
};

}  // namespace cub
#endif
