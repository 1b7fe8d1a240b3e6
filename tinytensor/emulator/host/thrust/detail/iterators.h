// Thrust's iterators. Inside an algorithm each is made of pointers of C++ (detail::raw).
#pragma once
#include <tuple>
#include <utility>

#include "functors.h"
#include "memory.h"

namespace thrust {

using std::get, std::make_pair, std::make_tuple, std::pair, std::tie, std::tuple, std::tuple_element,
    std::tuple_size;

template <class I>
using value_of = typename std::iterator_traits<I>::value_type;

template <class T, class = void, class = void, class = void>
struct counting_iterator : iterator_facade<counting_iterator<T>, T> {
    T at;
    explicit counting_iterator(T at = T()) : at(at) {}
    T get(std::ptrdiff_t i) const { return at + (T)i; }
};
template <class T, class = void, class = void>
struct constant_iterator : iterator_facade<constant_iterator<T>, T> {
    std::ptrdiff_t at;
    T value;
    explicit constant_iterator(T value = T(), std::ptrdiff_t at = 0) : at(at), value(value) {}
    T get(std::ptrdiff_t) const { return value; }
};
template <class F, class I, class = void, class = void>
struct transform_iterator
    : iterator_facade<transform_iterator<F, I>,
                      std::decay_t<std::invoke_result_t<F, value_of<I>>>> {
    I at;
    F f;
    transform_iterator(I at, F f = F()) : at(at), f(f) {}
    auto get(std::ptrdiff_t i) const -> std::decay_t<std::invoke_result_t<F, value_of<I>>> {
        return f(at[i]);
    }
};
struct discard_iterator : iterator_facade<discard_iterator, int, discard_iterator> {
    std::ptrdiff_t at = 0;
    discard_iterator get(std::ptrdiff_t) const { return *this; }
    template <class T, class = std::enable_if_t<!std::is_same_v<std::decay_t<T>, discard_iterator>>>
    const discard_iterator& operator=(T&&) const {
        return *this;
    }
    discard_iterator() = default;
    discard_iterator(const discard_iterator&) = default;
    discard_iterator& operator=(const discard_iterator&) = default;
};

namespace detail {
// Several positions that move together.
template <class... I>
struct Places : std::tuple<I...> {
    using std::tuple<I...>::tuple;
    Places(const std::tuple<I...>& t) : std::tuple<I...>(t) {}
    Places& operator+=(std::ptrdiff_t n) {
        std::apply([=](I&... each) { ((each += n), ...); }, (std::tuple<I...>&)*this);
        return *this;
    }
    friend std::ptrdiff_t operator-(const Places& a, const Places& b) {
        return std::get<0>(a) - std::get<0>(b);
    }
    friend bool operator==(const Places& a, const Places& b) { return a - b == 0; }
};
}  // namespace detail

template <class Tuple>
struct zip_iterator;
template <class... I>
struct zip_iterator<std::tuple<I...>>
    : iterator_facade<zip_iterator<std::tuple<I...>>, std::tuple<value_of<I>...>,
                      std::tuple<typename std::iterator_traits<I>::reference...>> {
    detail::Places<I...> at;
    zip_iterator(const std::tuple<I...>& at) : at(at) {}
    const std::tuple<I...>& get_iterator_tuple() const { return at; }
    auto get(std::ptrdiff_t i) const {
        return std::apply(
            [=](const I&... each) {
                return std::tuple<typename std::iterator_traits<I>::reference...>(each[i]...);
            },
            (const std::tuple<I...>&)at);
    }
};

template <class T>
auto make_counting_iterator(T at) { return counting_iterator<T>(at); }
template <class T>
auto make_constant_iterator(T value) { return constant_iterator<T>(value); }
template <class I, class F>
auto make_transform_iterator(I at, F f) { return transform_iterator<F, I>(at, f); }
inline auto make_discard_iterator() { return discard_iterator(); }
template <class... I>
auto make_zip_iterator(const std::tuple<I...>& t) { return zip_iterator<std::tuple<I...>>(t); }
template <class... I>
auto make_zip_iterator(I... each) { return zip_iterator<std::tuple<I...>>(std::make_tuple(each...)); }
using std::distance;
template <class I>
using iterator_traits = std::iterator_traits<I>;

namespace detail {

// The same iterator, made of pointers instead of device_ptr; `on_device`: whether it has any.
template <class I>
struct Raw {
    static constexpr bool on_device = false;
    static I of(const I& it) { return it; }
};
template <class T>
struct Raw<device_ptr<T>> {
    static constexpr bool on_device = true;
    static T* of(const device_ptr<T>& it) { return it.get(); }
};
template <class I>
auto raw(const I& it) { return Raw<I>::of(it); }
template <class F, class I>
struct Raw<transform_iterator<F, I>> {
    static constexpr bool on_device = Raw<I>::on_device;
    static auto of(const transform_iterator<F, I>& it) {
        return transform_iterator<F, decltype(raw(it.at))>(raw(it.at), it.f);
    }
};
template <class... I>
struct Raw<zip_iterator<std::tuple<I...>>> {
    static constexpr bool on_device = (Raw<I>::on_device || ...);
    static auto of(const zip_iterator<std::tuple<I...>>& it) {
        return std::apply([](const I&... each) { return make_zip_iterator(raw(each)...); },
                          it.get_iterator_tuple());
    }
};

}  // namespace detail
}  // namespace thrust
