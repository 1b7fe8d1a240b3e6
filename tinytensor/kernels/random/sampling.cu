// Random sampling: sort keys for permutation, bernoulli, multinomial.
// Mapping: a thread writes 16 bytes of bits, or 4 booleans. For multinomial, a block takes a row: its warps
// sum groups of neighbors, and then each samples by searching first the sums, then a group. Without
// replacement a block sorts tiles of 2,048 arrival times.
// Traffic: writes every element once. Weights are read once (float64 twice, to be scaled); what a search
// reads again is mostly in the cache. Of many tiles each writes its first arrivals, 16 bytes each.
// Specification: sampling.py and philox.py; bitwise equal on every device, except for multinomial samples
// at a boundary of the rounded sums.
#include "bounds.cuh"
#include "reduce.cuh"
#include "sorting.cuh"
#include "stream.cuh"

// 64 random bits each: the sort keys of a permutation.
struct Bits {
    static constexpr bool pairs = true;

    template <class C>
    __device__ __forceinline__ unsigned long long operator()(unsigned long long pair, C) const {
        return pair;
    }
};

template <class I> __global__ void random_bits(unsigned long long* y, Stream stream, I n) {
    fill(y, stream, n, Bits());
}

// The bits of an invalid probability, for the report.
__device__ __forceinline__ void report(const Bounds& bounds, double number) {
    if (atomicCAS(bounds.report, 0ULL, bounds.check) == 0) {
        bounds.report[1] = static_cast<unsigned long long>(__double_as_longlong(number));
        bounds.report[2] = 0;
    }
}

template <class T, class I>
__global__ void bernoulli_forward(bool* y, const T* p, Stream stream, Bounds bounds, I n) {
    using C = counter<I>;
    const C quads = is_aligned<4>(p) ? static_cast<C>(n) / 4 : 0;  // y is aligned
    for (C k = grid_start<I>(); k * 4 < static_cast<C>(n); k += grid_step<I>()) {
        const philox::Words words = stream.words(k);
        Vec<T, 4> chances;
        Vec<bool, 4> coins;
        if (k < quads) chances = load<4>(p + k * 4);
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const bool inside = k * 4 + e < static_cast<C>(n);
            if (k >= quads) chances.at[e] = inside ? p[k * 4 + e] : T(0.0f);
            const acc_t<T> chance = to_acc(chances.at[e]);
            if (!(chance >= 0 && chance <= 1)) report(bounds, static_cast<double>(chance));
            coins.at[e] = philox::uniform(words.at[e]) < chance;
            if (k >= quads && inside) y[k * 4 + e] = coins.at[e];
        }
        if (k < quads) store<4>(y + k * 4, coins);
    }
}

// ---- by weight -------------------------------------------------------------------------------------------

constexpr int block_size = 256;

// The exponent of the largest weight of a row, subtracted from all; not needed for float32 (in float64).
template <class T> __device__ __forceinline__ int largest_exponent(const T* p, long long width) {
    int exponent = 0;
    if constexpr (same<T, double>) {
        double largest = 0;
        for (long long i = threadIdx.x; i < width; i += block_size) largest = p[i] > largest ? p[i] : largest;
        frexp(block_max(largest), &exponent);
    }
    return exponent;
}

template <class T> __device__ __forceinline__ double scaled(T weight, int exponent) {
    if constexpr (same<T, double>) return ldexp(weight, -exponent);
    else return static_cast<double>(to_acc(weight));
}

// A weight; reported unless it is finite and not negative. Counts positive weights.
template <class T> __device__ __forceinline__ acc_t<T> checked(T weight, const Bounds& fine, int& positive) {
    const acc_t<T> w = to_acc(weight);
    if (!(w >= 0 && w < infinity<acc_t<T>>())) report(fine, static_cast<double>(w));
    positive += w > 0;
    return w;
}

// The sum of x over the threads before this one, and over all threads.
__device__ __forceinline__ double sum_in_front(double x, double& total) {
    __shared__ double parts[block_size / 32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    double sum = x;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
        const double before = __shfl_up_sync(0xffffffffU, sum, distance);
        if (lane >= distance) sum += before;
    }
    if (lane == 31) parts[warp] = sum;
    const double own = __shfl_up_sync(0xffffffffU, sum, 1);
    __syncthreads();
    double front = 0;
    total = 0;
#pragma unroll
    for (int w = 0; w < block_size / 32; w++) {
        if (w < warp) front += parts[w];
        total += parts[w];
    }
    __syncthreads();  // the next call overwrites parts
    return lane == 0 ? front : front + own;
}

// The first, or the last, of 32 indices from `first` on whose lane passes true; -1 if there is none.
// All lanes of the warp must take part, and get the result.
__device__ __forceinline__ long long first_of(long long first, bool answer) {
    const int found = __ffs(static_cast<int>(__ballot_sync(0xffffffffU, answer)));
    return found == 0 ? -1 : first + found - 1;
}
__device__ __forceinline__ long long last_of(long long first, bool answer) {
    const unsigned found = __ballot_sync(0xffffffffU, answer);
    return found == 0 ? -1 : first + 31 - __clz(static_cast<int>(found));
}

// The first index whose inclusive prefix sum of weights exceeds u times the total, found by one warp.
// sums[g] = p[0] + … + p[size (g + 1) - 1], scaled, for `count` groups. Never an index of weight 0,
// in spite of rounding; 0 if all weights are 0, which was reported.
template <class T>
__device__ __forceinline__ long long drawn(
    const double* sums, int count, const T* p, int exponent, double u, long long size, long long width) {
    const double target = product(u, sums[count - 1]);
    int low = 0, high = count - 1;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (sums[middle] > target) high = middle;
        else low = middle + 1;
    }
    const int lane = threadIdx.x % 32;
    const long long start = low * size, end = start + size < width ? start + size : width;
    double before = low > 0 ? sums[low - 1] : 0;
    long long last = -1;  // the last index with positive weight so far
    for (long long first = start; first < end; first += 32) {
        const double weight = first + lane < end ? scaled(p[first + lane], exponent) : 0;
        double sum = weight;
#pragma unroll
        for (int distance = 1; distance < 32; distance *= 2) {
            const double front = __shfl_up_sync(0xffffffffU, sum, distance);
            if (lane >= distance) sum += front;
        }
        const long long found = first_of(first, weight > 0 && before + sum > target);
        if (found >= 0) return found;
        const long long possible = last_of(first, weight > 0);
        if (possible >= 0) last = possible;
        before += __shfl_sync(0xffffffffU, sum, 31);
    }
    for (long long first = end; last < 0 && first < width; first += 32) {
        last = first_of(first, first + lane < width && to_acc(p[first + lane]) > 0);
    }
    for (long long first = start - 32; last < 0 && first > -32; first -= 32) {
        last = last_of(first, first + lane >= 0 && to_acc(p[first + lane]) > 0);
    }
    return last < 0 ? 0 : last;
}

// `parts` blocks sample from a row: each sums it on its own, in at most 256 groups of `size` neighbors (a
// multiple of 32). `enough`: how many weights must be positive.
template <class T>
__global__ void multinomial_forward(
    long long* y, const T* p, Stream stream, Bounds fine, Bounds enough, long long width, long long samples,
    long long size, int parts) {
    __shared__ double sums[block_size];
    const long long row = blockIdx.x / parts;
    const int count = static_cast<int>((width + size - 1) / size), warps = block_size / 32;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const T* own = p + row * width;
    const int exponent = largest_exponent(own, width);
    int positive = 0;
    for (int group = warp; group < count; group += warps) {
        const long long start = group * size, end = start + size < width ? start + size : width;
        double sum = 0;
#pragma unroll 4
        for (long long i = start + lane; i < end; i += 32) {
            const T weight = own[i];
            checked(weight, fine, positive);
            sum += scaled(weight, exponent);
        }
        sum = warp_sum(sum);
        if (lane == 0) sums[group] = sum;
    }
    positive = block_sum(positive);
    if (threadIdx.x == 0) in_bounds(enough, positive);
    const double sum = static_cast<int>(threadIdx.x) < count ? sums[threadIdx.x] : 0;
    double total;
    const double front = sum_in_front(sum, total);
    sums[threadIdx.x] = front + sum;
    __syncthreads();
    for (long long s = blockIdx.x % parts * warps + warp; s < samples; s += parts * warps) {
        const unsigned long long number = static_cast<unsigned long long>(row * samples + s);
        const double u = philox::uniform(stream.words(number / 2).pair(static_cast<int>(number % 2)));
        const long long found = drawn(sums, count, own, exponent, u, size, width);
        if (lane == 0) y[number] = found;
    }
}

// ---- without replacement ---------------------------------------------------------------------------------

// The scale of the weights of each row.
template <class T> __global__ void multinomial_exponents(int* exponents, const T* p, long long width) {
    const int exponent = largest_exponent(p + blockIdx.x * width, width);
    if (threadIdx.x == 0) exponents[blockIdx.x] = exponent;
}

// The arrival time of an index: exponential with its weight as rate; never (nan) if that is 0.
// `element` is the number of the weight in p.
template <class T>
__device__ __forceinline__ double arrival(
    const T* p, const Stream& stream, const Bounds& fine, int exponent, unsigned long long element) {
    const double u = philox::uniform(stream.words(element / 2).pair(static_cast<int>(element % 2)));
    const T weight = p[element];
    int positive = 0;
    const bool possible = checked(weight, fine, positive) > 0;
    return possible ? -log1p(-u) / scaled(weight, exponent) : nan<double>();
}

// Rows of n items: arrival times of the weights, or the output of an earlier pass (`from`). Each tile writes
// its first `keep`: to y, if it is a whole row, else to `to`, `kept` per row.
template <class T>
__global__ void multinomial_race(
    long long* y, Pair* to, const Pair* from, const T* p, const int* exponents, Stream stream, Bounds fine,
    Bounds enough, long long count, long long n, long long kept, int tile, int tiles, int keep) {
    using C = counter<long long>;
    extern __shared__ __align__(16) unsigned char smem[];
    constexpr unsigned long long never = ~0ULL;  // the key of nan
    const auto read = [&](C row, C i) -> Pair {
        if (from != nullptr) return from[row * n + i];
        const int exponent = exponents == nullptr ? 0 : exponents[row];
        return item(sort_key(arrival(p, stream, fine, exponent, row * n + i), false), unsigned(i));
    };
    const auto write = [&](C row, C number, int slot, const Pair* found) {
        if (to != nullptr) {
            to[row * kept + number * keep + slot] = *found;
            return;
        }
        y[row * keep + slot] = static_cast<long long>(found->index);
        if (found->key == never && (slot == 0 || found[-1].key != never)) in_bounds(enough, slot);
    };
    Pair* items = reinterpret_cast<Pair*>(smem);
    sort_tiles_of<Pair, C>(items, count, n, tile, tiles, keep, item(never, ~0U), read, write);
}

// The arrival times of all weights of a row, for many samples of long rows.
template <class T>
__global__ void multinomial_times(
    double* times, const T* p, const int* exponents, Stream stream, Bounds fine, Bounds enough,
    long long width) {
    const long long start = blockIdx.x * width;
    const int exponent = exponents == nullptr ? 0 : exponents[blockIdx.x];
    int positive = 0;
    for (long long i = threadIdx.x; i < width; i += block_size) {
        const double time = arrival(p, stream, fine, exponent, static_cast<unsigned long long>(start + i));
        times[start + i] = time;
        positive += time == time;
    }
    positive = block_sum(positive);
    if (threadIdx.x == 0) in_bounds(enough, positive);
}
