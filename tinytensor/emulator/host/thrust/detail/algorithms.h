// Thrust's algorithms as loops. An output iterator may be of any kind. Each element is written before the
// next one is read, unless a comment says that all are read first.
#pragma once
#include <algorithm>
#include <vector>

#include "iterators.h"

namespace thrust {

// ---- a call: with pointers in place of Thrust's iterators, while memory of the device is accessible

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

#define TT_ALGORITHM(NAME)                                    \
    template <class... A>                                     \
    auto NAME(const A&... a) {                                \
        return detail::call(detail::NAME##_loop(), a...);     \
    }

namespace detail {

using Index = std::ptrdiff_t;

struct copy_loop {
    template <class I, class O>
    Moved<2> operator()(I first, I last, O to) const {
        const Index n = last - first;
        for (Index i = 0; i < n; i++) to[i] = first[i];
        return {n};
    }
};
struct fill_loop {
    template <class I, class T>
    void operator()(I first, I last, const T& value) const {
        for (Index i = 0, n = last - first; i < n; i++) first[i] = value;
    }
};
struct sequence_loop {
    template <class I, class T = value_of<I>>
    void operator()(I first, I last, T start = T(), T step = T(1)) const {
        for (Index i = 0, n = last - first; i < n; i++) first[i] = (value_of<I>)(start + (T)i * step);
    }
};
struct generate_loop {
    template <class I, class F>
    void operator()(I first, I last, F f) const {
        for (Index i = 0, n = last - first; i < n; i++) first[i] = f();
    }
};
struct for_each_loop {
    template <class I, class F>
    Moved<1> operator()(I first, I last, F f) const {
        for (Index i = 0, n = last - first; i < n; i++) f(first[i]);
        return {0};
    }
};
struct transform_loop {
    template <class I, class O, class F>
    Moved<2> operator()(I first, I last, O to, F f) const {
        const Index n = last - first;
        for (Index i = 0; i < n; i++) to[i] = f(first[i]);
        return {n};
    }
    template <class I, class J, class O, class F>
    Moved<3> operator()(I first, I last, J second, O to, F f) const {
        const Index n = last - first;
        for (Index i = 0; i < n; i++) to[i] = f(first[i], second[i]);
        return {n};
    }
};

// ---- sums

struct reduce_loop {
    template <class I>
    auto operator()(I first, I last) const { return (*this)(first, last, value_of<I>()); }
    template <class I, class T, class F = std::plus<>>
    T operator()(I first, I last, T total, F f = F()) const {
        for (Index i = 0, n = last - first; i < n; i++) total = f(total, first[i]);
        return total;
    }
};
struct transform_reduce_loop {
    template <class I, class U, class T, class F>
    T operator()(I first, I last, U unary, T total, F f) const {
        for (Index i = 0, n = last - first; i < n; i++) total = f(total, unary(first[i]));
        return total;
    }
};
struct inner_product_loop {
    template <class I, class J, class T, class F = std::plus<>, class G = std::multiplies<>>
    T operator()(I first, I last, J second, T total, F f = F(), G g = G()) const {
        for (Index i = 0, n = last - first; i < n; i++) total = f(total, g(first[i], second[i]));
        return total;
    }
};
struct count_if_loop {
    template <class I, class P>
    Index operator()(I first, I last, P p) const {
        Index found = 0;
        for (Index i = 0, n = last - first; i < n; i++) found += (bool)p(first[i]);
        return found;
    }
};
struct count_loop {
    template <class I, class T>
    Index operator()(I first, I last, const T& value) const {
        return count_if_loop()(first, last, [&](const auto& x) { return x == value; });
    }
};
struct reduce_by_key_loop {
    template <class K, class V, class OK, class OV, class P = std::equal_to<>, class F = std::plus<>>
    BothMoved<3, 4> operator()(K first, K last, V values, OK to, OV sums, P same = P(), F f = F()) const {
        Index made = 0;
        for (Index i = 0, n = last - first; i < n; made++) {
            const value_of<K> key = first[i];
            auto sum = (value_of<V>)values[i];
            for (i++; i < n && same(key, first[i]); i++) sum = f(sum, values[i]);
            to[made] = key, sums[made] = sum;
        }
        return {made, made};
    }
};
struct min_element_loop {
    template <class I, class C = std::less<>>
    Moved<0> operator()(I first, I last, C less = C()) const {
        Index best = 0;
        for (Index i = 1, n = last - first; i < n; i++)
            if (less(first[i], first[best])) best = i;
        return {best};
    }
};
struct max_element_loop {
    template <class I, class C = std::less<>>
    Moved<0> operator()(I first, I last, C less = C()) const {
        return min_element_loop()(first, last, [=](const auto& a, const auto& b) { return less(b, a); });
    }
};

// ---- scans: each element is read before its result is written, so they may be done in place

struct exclusive_scan_loop {
    template <class I, class O>
    Moved<2> operator()(I first, I last, O to) const { return (*this)(first, last, to, value_of<I>()); }
    template <class I, class O, class T, class F = std::plus<>>
    Moved<2> operator()(I first, I last, O to, T total, F f = F()) const {
        const Index n = last - first;
        for (Index i = 0; i < n; i++) {
            const T next = f(total, first[i]);
            to[i] = total;
            total = next;
        }
        return {n};
    }
};
struct inclusive_scan_by_key_loop {
    template <class K, class V, class O, class P = std::equal_to<>, class F = std::plus<>>
    Moved<3> operator()(K first, K last, V values, O to, P same = P(), F f = F()) const {
        const Index n = last - first;
        for (Index i = 0; i < n;) {
            value_of<V> total = values[i];
            to[i++] = total;
            for (; i < n && same(first[i - 1], first[i]); i++) to[i] = total = f(total, values[i]);
        }
        return {n};
    }
};
struct inclusive_scan_loop {
    template <class I, class O, class F = std::plus<>>
    Moved<2> operator()(I first, I last, O to, F f = F()) const {
        const constant_iterator<int> key;
        return {inclusive_scan_by_key_loop()(key, key + (last - first), first, to, std::equal_to<>(), f).n};
    }
};
struct adjacent_difference_loop {
    template <class I, class O, class F = std::minus<>>
    Moved<2> operator()(I first, I last, O to, F f = F()) const {
        const Index n = last - first;
        if (n == 0) return {0};
        value_of<I> before = first[0];
        to[0] = before;
        for (Index i = 1; i < n; i++) {
            const value_of<I> value = first[i];
            to[i] = f(value, before);
            before = value;
        }
        return {n};
    }
};

// ---- order: sorted copies, since the references of a zip_iterator cannot be swapped

struct stable_sort_loop {
    template <class I, class C = std::less<>>
    void operator()(I first, I last, C less = C()) const {
        std::vector<value_of<I>> values;
        for (Index i = 0, n = last - first; i < n; i++) values.push_back(first[i]);
        std::stable_sort(values.begin(), values.end(), less);
        for (size_t i = 0; i < values.size(); i++) first[(Index)i] = values[i];
    }
};
struct stable_sort_by_key_loop {
    template <class K, class V, class C = std::less<>>
    void operator()(K first, K last, V values, C less = C()) const {
        std::vector<std::pair<value_of<K>, value_of<V>>> pairs;
        for (Index i = 0, n = last - first; i < n; i++) pairs.emplace_back(first[i], values[i]);
        std::stable_sort(pairs.begin(), pairs.end(),
                         [&](const auto& a, const auto& b) { return less(a.first, b.first); });
        for (size_t i = 0; i < pairs.size(); i++)
            first[(Index)i] = pairs[i].first, values[(Index)i] = pairs[i].second;
    }
};
using sort_loop = stable_sort_loop;
using sort_by_key_loop = stable_sort_by_key_loop;
struct is_sorted_loop {
    template <class I, class C = std::less<>>
    bool operator()(I first, I last, C less = C()) const {
        for (Index i = 1, n = last - first; i < n; i++)
            if (less(first[i], first[i - 1])) return false;
        return true;
    }
};

// ---- some of the elements, in their order

struct copy_if_loop {
    template <class I, class O, class P>
    Moved<2> operator()(I first, I last, O to, P p) const {
        return {(*this)(first, last, first, to, p).n};
    }
    template <class I, class S, class O, class P>
    Moved<3> operator()(I first, I last, S stencil, O to, P p) const {
        Index made = 0;
        for (Index i = 0, n = last - first; i < n; i++)
            if (p(stencil[i])) to[made++] = first[i];
        return {made};
    }
};
struct remove_if_loop {
    template <class I, class P>
    Moved<0> operator()(I first, I last, P p) const {
        return (*this)(first, last, first, p);
    }
    template <class I, class S, class P>
    Moved<0> operator()(I first, I last, S stencil, P p) const {
        return {copy_if_loop()(first, last, stencil, first, [=](const auto& x) { return !p(x); }).n};
    }
};
struct unique_by_key_copy_loop {
    template <class K, class V, class OK, class OV, class P = std::equal_to<>>
    BothMoved<3, 4> operator()(K first, K last, V values, OK to, OV others, P same = P()) const {
        Index made = 0;
        for (Index i = 0, n = last - first; i < n;) {
            const value_of<K> key = first[i];
            const value_of<V> value = values[i];
            for (i++; i < n && same(key, first[i]); i++) {}
            to[made] = key, others[made] = value;
            made++;
        }
        return {made, made};
    }
};
struct unique_loop {
    template <class I, class P = std::equal_to<>>
    Moved<0> operator()(I first, I last, P same = P()) const {
        const constant_iterator<int> nothing;
        return {unique_by_key_copy_loop()(first, last, nothing, first, discard_iterator(), same).n};
    }
};
struct gather_loop {
    template <class M, class I, class O>
    Moved<3> operator()(M map, M map_end, I from, O to) const {
        const Index n = map_end - map;
        for (Index i = 0; i < n; i++) to[i] = from[(Index)map[i]];
        return {n};
    }
};
struct scatter_loop {
    template <class I, class M, class O>
    void operator()(I first, I last, M map, O to) const {
        for (Index i = 0, n = last - first; i < n; i++) to[(Index)map[i]] = first[i];
    }
};

// ---- search

struct find_if_loop {
    template <class I, class P>
    Moved<0> operator()(I first, I last, P p) const {
        Index i = 0;
        for (const Index n = last - first; i < n && !p(first[i]); i++) {}
        return {i};
    }
};
struct find_loop {
    template <class I, class T>
    Moved<0> operator()(I first, I last, const T& value) const {
        return find_if_loop()(first, last, [&](const auto& x) { return x == value; });
    }
};
// The first place where `before(element, value)` is false.
template <class I, class T, class B>
Index bound(I first, Index n, const T& value, B before) {
    Index low = 0;
    while (low < n) {
        const Index middle = low + (n - low) / 2;
        if (before(first[middle], value)) low = middle + 1;
        else n = middle;
    }
    return low;
}
template <class Before>
struct bound_loop {
    template <class I, class T>
    Moved<0> operator()(I first, I last, const T& value) const {
        return {bound(first, last - first, value, Before())};
    }
    template <class I, class J, class O>
    Moved<4> operator()(I first, I last, J value, J values_end, O to) const {
        const Index m = values_end - value;
        for (Index i = 0; i < m; i++) to[i] = bound(first, last - first, value[i], Before());
        return {m};
    }
};
using lower_bound_loop = bound_loop<std::less<>>;
using upper_bound_loop = bound_loop<std::less_equal<>>;

}  // namespace detail

TT_ALGORITHM(copy) TT_ALGORITHM(copy_if) TT_ALGORITHM(fill) TT_ALGORITHM(sequence) TT_ALGORITHM(generate)
TT_ALGORITHM(for_each) TT_ALGORITHM(transform) TT_ALGORITHM(reduce) TT_ALGORITHM(transform_reduce)
TT_ALGORITHM(inner_product) TT_ALGORITHM(count) TT_ALGORITHM(count_if) TT_ALGORITHM(reduce_by_key)
TT_ALGORITHM(min_element) TT_ALGORITHM(max_element) TT_ALGORITHM(inclusive_scan)
TT_ALGORITHM(exclusive_scan) TT_ALGORITHM(inclusive_scan_by_key) TT_ALGORITHM(adjacent_difference)
TT_ALGORITHM(sort) TT_ALGORITHM(stable_sort) TT_ALGORITHM(sort_by_key) TT_ALGORITHM(stable_sort_by_key)
TT_ALGORITHM(is_sorted) TT_ALGORITHM(remove_if) TT_ALGORITHM(unique) TT_ALGORITHM(unique_by_key_copy)
TT_ALGORITHM(gather) TT_ALGORITHM(scatter) TT_ALGORITHM(find) TT_ALGORITHM(find_if)
TT_ALGORITHM(lower_bound) TT_ALGORITHM(upper_bound)
#undef TT_ALGORITHM

}  // namespace thrust
