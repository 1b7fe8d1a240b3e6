// Random numbers: the engines of C++, and distributions that use one number of the engine for each.
#pragma once
#include <cmath>
#include <random>

namespace thrust {
namespace random {

using minstd_rand = std::minstd_rand;
using default_random_engine = std::minstd_rand;

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

}  // namespace random
using namespace random;
}  // namespace thrust
