// Random tensors: uniform and normal floats, uniform integers.
// Mapping: a thread computes one Philox block, 128 bits, and writes its 4 elements (2 of two words
// each).
// Traffic: writes every element once.
// Specification: tinytensor/ops/random/random.py and philox.py; bitwise equal on every device.
#include "stream.cuh"

// Elements of 16-bit types have `digits` steps from 0 to 1: lower bits are truncated, so that 0.9999 does not
// round up to 1.
template <class T> struct Uniform {
    static constexpr bool pairs = same<T, double>;
    acc_t<T> low, range;
    bool is_unit;

    template <class Word, class C> __device__ __forceinline__ T operator()(Word word, C) const {
        acc_t<T> u = philox::uniform(word);
        if constexpr (is_narrow<T>) {
            constexpr float digits = same<T, __half> ? 2048.0f : 256.0f;
            u = floorf(u * digits) / digits;
        }
        return from_acc<T>(is_unit ? u : product(u, range) + low);
    }
};

template <class T, class I>
__global__ void uniform_forward(T* y, Stream stream, acc_t<T> low, acc_t<T> range, bool is_unit, I n) {
    fill(y, stream, n, Uniform<T>{low, range, is_unit});
}

template <class T> struct Normal {
    static constexpr bool pairs = same<T, double>;
    acc_t<T> mean, std;
    bool is_standard;

    template <class Word, class C> __device__ __forceinline__ T operator()(Word word, C) const {
        const acc_t<T> x = philox::normal(word);
        return from_acc<T>(is_standard ? x : product(x, std) + mean);
    }
};

template <class T, class I>
__global__ void normal_forward(T* y, Stream stream, acc_t<T> mean, acc_t<T> std, bool is_standard, I n) {
    fill(y, stream, n, Normal<T>{mean, std, is_standard});
}

template <class T> struct Integer {
    static constexpr bool pairs = true;
    long long low;
    unsigned long long range;

    template <class C> __device__ __forceinline__ T operator()(unsigned long long pair, C) const {
        return static_cast<T>(philox::integer(pair, low, range));
    }
};

// low <= y < low + range; a range of 2**64 is given as 0.
template <class T, class I>
__global__ void randint_forward(T* y, Stream stream, long long low, unsigned long long range, I n) {
    fill(y, stream, n, Integer<T>{low, range});
}
