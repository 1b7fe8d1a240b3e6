// Calls an algorithm with pointers in place of Thrust's iterators, while memory of the device is accessible.
#pragma once
#include "iterators.h"

namespace thrust {

namespace detail {
struct Policy {
    bool device;
    Policy on(cudaStream_t) const { return *this; }
    template <class A>
    Policy operator()(A&&) const { return *this; }  // with an allocator
};
template <class T>
constexpr bool is_policy = std::is_same_v<std::decay_t<T>, Policy>;
}  // namespace detail

static const detail::Policy host{false}, seq{false}, device{true};
namespace cuda {
static const detail::Policy par{true}, par_nosync{true};
}
namespace omp {
static const detail::Policy par{false};
}

namespace detail {

// Results of algorithms: argument I of the call, moved by n; and argument J, by m.
template <int I>
struct Moved {
    std::ptrdiff_t n;
};
template <int I, int J>
struct BothMoved {
    std::ptrdiff_t n, m;
};

struct Open {
    const bool opens;
    explicit Open(bool device) : opens(device && !tt_in_kernel()) {
        if (opens) tt_open_memory(true);
    }
    ~Open() {
        if (opens) tt_open_memory(false);
    }
};

template <class R, class Arguments>
auto moved(const R& result, const Arguments&) { return result; }
template <int I, class Arguments>
auto moved(const Moved<I>& r, const Arguments& a) { return std::get<I>(a) + r.n; }
template <int I, int J, class Arguments>
auto moved(const BothMoved<I, J>& r, const Arguments& a) {
    return std::make_pair(std::get<I>(a) + r.n, std::get<J>(a) + r.m);
}

template <class F, class... A>
auto call_on(bool device, F f, const A&... a) {
    const Open open(device || (Raw<A>::on_device || ...));
    if constexpr (std::is_void_v<decltype(f(raw(a)...))>) f(raw(a)...);
    else return moved(f(raw(a)...), std::tie(a...));
}
template <class F, class P, class... A>
auto call(F f, const P& first, const A&... a) {
    if constexpr (is_policy<P>) return call_on(first.device, f, a...);
    else return call_on(false, f, first, a...);
}

}  // namespace detail

template <class T, class A>
template <class I>
void device_vector<T, A>::take(I first, I last) {
    const size_t n = (size_t)(last - first);
    reserve(n);
    count = n;
    T* to = start;
    const auto fill = [=](auto from, auto) {
        for (size_t i = 0; i < n; i++) to[i] = from[i];
    };
    detail::call_on(true, fill, first, last);
}

}  // namespace thrust
