// Thrust's algorithms as loops. An output iterator may be of any kind. Each element is written before the
// next one is read, unless a comment says that all are read first.
#pragma once
#include <algorithm>
#include <vector>

#include "execution.h"

namespace thrust {

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
struct copy_n_loop {
    template <class I, class N, class O>
    Moved<2> operator()(I first, N n, O to) const {
        for (Index i = 0; i < (Index)n; i++) to[i] = first[i];
        return {(Index)n};
    }
};
struct fill_loop {
    template <class I, class T>
    void operator()(I first, I last, const T& value) const {
        for (Index i = 0, n = last - first; i < n; i++) first[i] = value;
    }
};
struct fill_n_loop {
    template <class I, class N, class T>
    Moved<0> operator()(I first, N n, const T& value) const {
        for (Index i = 0; i < (Index)n; i++) first[i] = value;
        return {(Index)n};
    }
};
struct sequence_loop {
    template <class I, class T = value_of<I>>
    void operator()(I first, I last, T start = T(), T step = T(1)) const {
        for (Index i = 0, n = last - first; i < n; i++) first[i] = (value_of<I>)(start + (T)i * step);
    }
};
struct tabulate_loop {
    template <class I, class F>
    void operator()(I first, I last, F f) const {
        for (Index i = 0, n = last - first; i < n; i++) first[i] = f(i);
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
struct for_each_n_loop {
    template <class I, class N, class F>
    Moved<0> operator()(I first, N n, F f) const {
        for (Index i = 0; i < (Index)n; i++) f(first[i]);
        return {(Index)n};
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
struct transform_if_loop {
    template <class I, class O, class F, class P>
    Moved<2> operator()(I first, I last, O to, F f, P p) const {
        return (*this)(first, last, first, to, f, p), Moved<2>{last - first};
    }
    template <class I, class S, class O, class F, class P>
    Moved<3> operator()(I first, I last, S stencil, O to, F f, P p) const {
        const Index n = last - first;
        for (Index i = 0; i < n; i++)
            if (p(stencil[i])) to[i] = f(first[i]);
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
struct minmax_element_loop {
    template <class I, class C = std::less<>>
    BothMoved<0, 0> operator()(I first, I last, C less = C()) const {
        return {min_element_loop()(first, last, less).n, max_element_loop()(first, last, less).n};
    }
};

// ---- scans: each element is read before its result is written, so they may be done in place

struct inclusive_scan_loop {
    template <class I, class O, class F = std::plus<>>
    Moved<2> operator()(I first, I last, O to, F f = F()) const {
        const Index n = last - first;
        if (n == 0) return {0};
        value_of<I> total = first[0];
        to[0] = total;
        for (Index i = 1; i < n; i++) to[i] = total = f(total, first[i]);
        return {n};
    }
};
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
struct transform_inclusive_scan_loop {
    template <class I, class O, class U, class F>
    Moved<2> operator()(I first, I last, O to, U unary, F f) const {
        return inclusive_scan_loop()(make_transform_iterator(first, unary),
                                     make_transform_iterator(last, unary), to, f);
    }
};
struct transform_exclusive_scan_loop {
    template <class I, class O, class U, class T, class F>
    Moved<2> operator()(I first, I last, O to, U unary, T start, F f) const {
        return exclusive_scan_loop()(make_transform_iterator(first, unary),
                                     make_transform_iterator(last, unary), to, start, f);
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
struct exclusive_scan_by_key_loop {
    template <class K, class V, class O, class T = value_of<V>, class P = std::equal_to<>,
              class F = std::plus<>>
    Moved<3> operator()(K first, K last, V values, O to, T start = T(), P same = P(), F f = F()) const {
        const Index n = last - first;
        for (Index i = 0; i < n;) {
            T total = start;
            for (const Index begin = i; i < n && (i == begin || same(first[i - 1], first[i])); i++) {
                const T next = f(total, values[i]);
                to[i] = total;
                total = next;
            }
        }
        return {n};
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
struct reverse_loop {
    template <class I>
    void operator()(I first, I last) const {
        for (Index i = 0, n = last - first; i < n / 2; i++) {
            const value_of<I> before = first[i];
            first[i] = (value_of<I>)first[n - 1 - i];
            first[n - 1 - i] = before;
        }
    }
};
struct merge_loop {
    template <class I, class J, class O, class C = std::less<>>
    Moved<4> operator()(I a, I a_end, J b, J b_end, O to, C less = C()) const {
        Index i = 0, j = 0, k = 0;
        const Index n = a_end - a, m = b_end - b;
        while (i < n || j < m) {
            if (j < m && (i == n || less(b[j], a[i]))) to[k++] = b[j++];
            else to[k++] = a[i++];
        }
        return {k};
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
struct remove_copy_if_loop {
    template <class I, class O, class P>
    Moved<2> operator()(I first, I last, O to, P p) const {
        return copy_if_loop()(first, last, to, [=](const auto& x) { return !p(x); });
    }
};
struct remove_if_loop {
    template <class I, class P>
    Moved<0> operator()(I first, I last, P p) const {
        return {remove_copy_if_loop()(first, last, first, p).n};
    }
    template <class I, class S, class P>
    Moved<0> operator()(I first, I last, S stencil, P p) const {
        return {copy_if_loop()(first, last, stencil, first, [=](const auto& x) { return !p(x); }).n};
    }
};
struct remove_loop {
    template <class I, class T>
    Moved<0> operator()(I first, I last, const T& value) const {
        return remove_if_loop()(first, last, [=](const auto& x) { return x == value; });
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
struct unique_by_key_loop {
    template <class K, class V, class P = std::equal_to<>>
    BothMoved<0, 2> operator()(K first, K last, V values, P same = P()) const {
        const Index n = unique_by_key_copy_loop()(first, last, values, first, values, same).n;
        return {n, n};
    }
};
struct unique_copy_loop {
    template <class I, class O, class P = std::equal_to<>>
    Moved<2> operator()(I first, I last, O to, P same = P()) const {
        const constant_iterator<int> nothing;
        return {unique_by_key_copy_loop()(first, last, nothing, to, discard_iterator(), same).n};
    }
};
struct unique_loop {
    template <class I, class P = std::equal_to<>>
    Moved<0> operator()(I first, I last, P same = P()) const {
        return {unique_copy_loop()(first, last, first, same).n};
    }
};
struct stable_partition_loop {
    template <class I, class P>
    Moved<0> operator()(I first, I last, P p) const {
        std::vector<value_of<I>> others;
        Index made = 0;
        for (Index i = 0, n = last - first; i < n; i++) {
            const value_of<I> value = first[i];
            if (p(value)) first[made++] = value;
            else others.push_back(value);
        }
        for (size_t i = 0; i < others.size(); i++) first[made + (Index)i] = others[i];
        return {made};
    }
};
using partition_loop = stable_partition_loop;
struct replace_if_loop {
    template <class I, class P, class T>
    void operator()(I first, I last, P p, const T& value) const {
        for (Index i = 0, n = last - first; i < n; i++)
            if (p(first[i])) first[i] = value;
    }
};
struct replace_loop {
    template <class I, class T>
    void operator()(I first, I last, const T& old, const T& value) const {
        replace_if_loop()(first, last, [=](const auto& x) { return x == old; }, value);
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
struct swap_ranges_loop {
    template <class I, class J>
    Moved<2> operator()(I first, I last, J other) const {
        const Index n = last - first;
        for (Index i = 0; i < n; i++) {
            const value_of<I> before = first[i];
            first[i] = (value_of<J>)other[i];
            other[i] = before;
        }
        return {n};
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
struct any_of_loop {
    template <class I, class P>
    bool operator()(I first, I last, P p) const { return find_if_loop()(first, last, p).n < last - first; }
};
struct none_of_loop {
    template <class I, class P>
    bool operator()(I first, I last, P p) const { return !any_of_loop()(first, last, p); }
};
struct all_of_loop {
    template <class I, class P>
    bool operator()(I first, I last, P p) const {
        return none_of_loop()(first, last, [=](const auto& x) { return !p(x); });
    }
};
struct equal_loop {
    template <class I, class J, class P = std::equal_to<>>
    bool operator()(I first, I last, J other, P same = P()) const {
        for (Index i = 0, n = last - first; i < n; i++)
            if (!same(first[i], other[i])) return false;
        return true;
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
struct lower_bound_loop {
    template <class I, class T>
    Moved<0> operator()(I first, I last, const T& value) const {
        return {bound(first, last - first, value, std::less<>())};
    }
    template <class I, class J, class O>
    Moved<4> operator()(I first, I last, J value, J values_end, O to) const {
        const Index m = values_end - value;
        for (Index i = 0; i < m; i++) to[i] = bound(first, last - first, value[i], std::less<>());
        return {m};
    }
};
struct upper_bound_loop {
    template <class I, class T>
    Moved<0> operator()(I first, I last, const T& value) const {
        return {bound(first, last - first, value, std::less_equal<>())};
    }
    template <class I, class J, class O>
    Moved<4> operator()(I first, I last, J value, J values_end, O to) const {
        const Index m = values_end - value;
        for (Index i = 0; i < m; i++) to[i] = bound(first, last - first, value[i], std::less_equal<>());
        return {m};
    }
};
struct binary_search_loop {
    template <class I, class T>
    bool operator()(I first, I last, const T& value) const {
        const Index at = bound(first, last - first, value, std::less<>());
        return at < last - first && !(value < first[at]);
    }
};

}  // namespace detail

TT_ALGORITHM(copy) TT_ALGORITHM(copy_n) TT_ALGORITHM(copy_if) TT_ALGORITHM(fill) TT_ALGORITHM(fill_n)
TT_ALGORITHM(sequence) TT_ALGORITHM(tabulate) TT_ALGORITHM(generate) TT_ALGORITHM(for_each)
TT_ALGORITHM(for_each_n) TT_ALGORITHM(transform) TT_ALGORITHM(transform_if) TT_ALGORITHM(reduce)
TT_ALGORITHM(transform_reduce) TT_ALGORITHM(inner_product) TT_ALGORITHM(count) TT_ALGORITHM(count_if)
TT_ALGORITHM(reduce_by_key) TT_ALGORITHM(min_element) TT_ALGORITHM(max_element)
TT_ALGORITHM(minmax_element) TT_ALGORITHM(inclusive_scan) TT_ALGORITHM(exclusive_scan)
TT_ALGORITHM(transform_inclusive_scan) TT_ALGORITHM(transform_exclusive_scan)
TT_ALGORITHM(inclusive_scan_by_key) TT_ALGORITHM(exclusive_scan_by_key) TT_ALGORITHM(adjacent_difference)
TT_ALGORITHM(sort) TT_ALGORITHM(stable_sort) TT_ALGORITHM(sort_by_key) TT_ALGORITHM(stable_sort_by_key)
TT_ALGORITHM(is_sorted) TT_ALGORITHM(reverse) TT_ALGORITHM(merge) TT_ALGORITHM(remove)
TT_ALGORITHM(remove_if) TT_ALGORITHM(remove_copy_if) TT_ALGORITHM(unique) TT_ALGORITHM(unique_copy)
TT_ALGORITHM(unique_by_key) TT_ALGORITHM(unique_by_key_copy) TT_ALGORITHM(partition)
TT_ALGORITHM(stable_partition) TT_ALGORITHM(replace) TT_ALGORITHM(replace_if) TT_ALGORITHM(gather)
TT_ALGORITHM(scatter) TT_ALGORITHM(swap_ranges) TT_ALGORITHM(find) TT_ALGORITHM(find_if)
TT_ALGORITHM(any_of) TT_ALGORITHM(none_of) TT_ALGORITHM(all_of) TT_ALGORITHM(equal)
TT_ALGORITHM(lower_bound) TT_ALGORITHM(upper_bound) TT_ALGORITHM(binary_search)
#undef TT_ALGORITHM

}  // namespace thrust
