// Random numbers: the engines of C++, and distributions that use one number of the engine for each.
#pragma once
#include <cmath>
#include <random>

namespace thrust {
namespace random {

using minstd_rand0 = std::minstd_rand0;
using minstd_rand = std::minstd_rand;
using default_random_engine = std::minstd_rand;
using ranlux24 = std::ranlux24;
using taus88 = std::mt19937;

template <class E>
double unit(E& engine) {  // in [0, 1)
    return ((double)(engine() - E::min())) / ((double)(E::max() - E::min()) + 1);
}

template <class T = double>
struct uniform_real_distribution {
    T a, b;
    explicit uniform_real_distribution(T a = 0, T b = 1) : a(a), b(b) {}
    template <class E>
    T operator()(E& engine) const { return (T)(a + unit(engine) * (b - a)); }
};
template <class T = int>
struct uniform_int_distribution {
    T a, b;
    explicit uniform_int_distribution(T a = 0, T b = std::numeric_limits<T>::max()) : a(a), b(b) {}
    template <class E>
    T operator()(E& engine) const { return (T)(a + std::floor(unit(engine) * ((double)b - (double)a + 1))); }
};
template <class T = double>
struct normal_distribution {
    T mean, deviation;
    explicit normal_distribution(T mean = 0, T deviation = 1) : mean(mean), deviation(deviation) {}
    template <class E>
    T operator()(E& engine) const {
        const double radius = std::sqrt(-2 * std::log(1 - unit(engine)));
        return (T)(mean + deviation * radius * std::sin(6.283185307179586 * unit(engine)));
    }
};

}  // namespace random
using namespace random;
}  // namespace thrust
