// Choices at random: bits to sort by, coins, indices drawn by weight.
// Mapping: a thread writes 16 bytes of bits, or 4 coins; a block of threads takes a row of weights.
// Traffic: writes every element once. Weights are read once for the sums (float64 twice, to be scaled), of
// which one in 4 is written, 8 bytes; a draw searches them.
// Specification: tinytensor/ops/choice.py and philox.py; equal bits on every device, but for draws by weight
// that fall on a border of the rounded sums.
#include "bounds.cuh"
#include "reduce.cuh"
#include "stream.cuh"

// 64 random bits each: what a permutation sorts by.
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

// The bits of a number that is no probability, for the report.
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

// The exponent of the largest weight of a row, to be taken off all of them; float32 needs none in float64.
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

// A weight, which is reported unless it is finite and not negative; counts those that are positive.
template <class T> __device__ __forceinline__ acc_t<T> checked(T weight, const Bounds& fine, int& positive) {
    const acc_t<T> w = to_acc(weight);
    if (!(w >= 0 && w < infinity<acc_t<T>>())) report(fine, static_cast<double>(w));
    positive += w > 0;
    return w;
}

// The sum of x over the threads in front of this one, and over all of them.
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
    __syncthreads();  // the next call writes parts again
    return lane == 0 ? front : front + own;
}

constexpr int each = 4;  // neighboring weights of which only the sum is kept

// Of a row of c = ceil(width / 4) sums, sums[i] = p[0] + … + p[4 i + 3], scaled by an exponent: sums[c].
// `enough`: how many weights must be positive.
template <class T>
__global__ void multinomial_sums(double* sums, const T* p, Bounds fine, Bounds enough, long long width) {
    const long long count = (width + each - 1) / each;
    const T* row = p + blockIdx.x * width;
    double* to = sums + blockIdx.x * (count + 1);
    const int exponent = largest_exponent(row, width);
    double before = 0;
    int positive = 0;
    for (long long first = 0; first < count; first += block_size) {
        const long long here = first + threadIdx.x;
        double sum = 0;
#pragma unroll
        for (int e = 0; e < each; e++) {
            if (here * each + e >= width) continue;
            checked(row[here * each + e], fine, positive);
            sum += scaled(row[here * each + e], exponent);
        }
        double total;
        const double front = before + sum_in_front(sum, total);
        if (here < count) to[here] = front + sum;
        before += total;
    }
    positive = block_sum(positive);
    if (threadIdx.x == 0) {
        to[count] = exponent;
        in_bounds(enough, positive);
    }
}

// The first index at which the sums exceed u times the sum of all; never one whose weight is 0, whatever was
// rounded.
template <class T>
__device__ __forceinline__ long long drawn(const double* sums, const T* p, double u, long long width) {
    const long long count = (width + each - 1) / each;
    const int exponent = static_cast<int>(sums[count]);
    const double target = product(u, sums[count - 1]);
    long long low = 0, high = count - 1;
    while (low < high) {
        const long long middle = low + (high - low) / 2;
        if (sums[middle] > target) high = middle;
        else low = middle + 1;
    }
    double sum = low > 0 ? sums[low - 1] : 0;
    long long at = low * each, last = -1;  // last: the last possible index so far
    for (; at < width; at++) {
        if (!(to_acc(p[at]) > 0)) continue;
        sum += scaled(p[at], exponent);
        last = at;
        if (sum > target || at >= (low + 1) * each) return at;
    }
    for (at = low * each; last < 0 && at > 0; at--) last = to_acc(p[at - 1]) > 0 ? at - 1 : -1;
    return last < 0 ? 0 : last;  // there is no possible index at all: this was reported
}

template <class T>
__global__ void multinomial_draw(
    long long* y, const double* sums, const T* p, Stream stream, long long width, long long samples,
    long long n) {
    using C = counter<long long>;
    const long long count = (width + each - 1) / each;
    for (C i = grid_start<long long>(); i < static_cast<C>(n); i += grid_step<long long>()) {
        const double u = philox::uniform(stream.words(i / 2).pair(static_cast<int>(i % 2)));
        const long long row = static_cast<long long>(i) / samples;
        y[i] = drawn(sums + row * (count + 1), p + row * width, u, width);
    }
}

// When the clock of each index rings first: the faster the greater its weight, never if that is 0.
template <class T>
__global__ void multinomial_times(
    double* times, const T* p, Stream stream, Bounds fine, Bounds enough, long long width) {
    const long long start = blockIdx.x * width;
    const int exponent = largest_exponent(p + start, width);
    int positive = 0;
    for (long long i = threadIdx.x; i < width; i += block_size) {
        const unsigned long long element = static_cast<unsigned long long>(start + i);
        const double u = philox::uniform(stream.words(element / 2).pair(static_cast<int>(element % 2)));
        const bool possible = checked(p[start + i], fine, positive) > 0;
        times[start + i] = possible ? -log1p(-u) / scaled(p[start + i], exponent) : nan<double>();
    }
    positive = block_sum(positive);
    if (threadIdx.x == 0) in_bounds(enough, positive);
}
