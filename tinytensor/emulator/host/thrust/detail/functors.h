// Function objects, and expressions of placeholders such as `2 * _1 + _2`.
#pragma once
#include <functional>

namespace thrust {

template <class T = void>
using plus = std::plus<T>;
template <class T = void>
using minus = std::minus<T>;
template <class T = void>
using multiplies = std::multiplies<T>;
template <class T = void>
using divides = std::divides<T>;
template <class T = void>
using modulus = std::modulus<T>;
template <class T = void>
using negate = std::negate<T>;
template <class T = void>
using less = std::less<T>;
template <class T = void>
using greater = std::greater<T>;
template <class T = void>
using less_equal = std::less_equal<T>;
template <class T = void>
using greater_equal = std::greater_equal<T>;
template <class T = void>
using equal_to = std::equal_to<T>;
template <class T = void>
using not_equal_to = std::not_equal_to<T>;
template <class T = void>
using logical_and = std::logical_and<T>;
template <class T = void>
using logical_or = std::logical_or<T>;
template <class T = void>
using logical_not = std::logical_not<T>;
template <class T = void>
using bit_and = std::bit_and<T>;
template <class T = void>
using bit_or = std::bit_or<T>;
template <class T = void>
using bit_xor = std::bit_xor<T>;

template <class T = void>
struct maximum {
    template <class A, class B>
    auto operator()(const A& a, const B& b) const { return a < b ? b : a; }
};
template <class T = void>
struct minimum {
    template <class A, class B>
    auto operator()(const A& a, const B& b) const { return b < a ? b : a; }
};
template <class T = void>
struct identity {
    template <class A>
    const A& operator()(const A& a) const { return a; }
};
template <class T = void>
struct square {
    template <class A>
    auto operator()(const A& a) const { return a * a; }
};

namespace placeholders {
template <class F>
struct Expression {
    F f;
    template <class... A>
    auto operator()(const A&... a) const { return f(a...); }
};
template <class F>
Expression<F> expression(F f) { return {f}; }
template <class T>
constexpr bool is_expression = false;
template <class F>
constexpr bool is_expression<Expression<F>> = true;
template <class E, class... A>
auto value(const E& e, const A&... a) {
    if constexpr (is_expression<E>) return e(a...);
    else return e;
}
struct First {
    template <class A, class... B>
    A operator()(const A& a, const B&...) const { return a; }
};
struct Second {
    template <class A, class B>
    B operator()(const A&, const B& b) const { return b; }
};
static constexpr Expression<First> _1{};
static constexpr Expression<Second> _2{};

#define TT_PLACEHOLDER(OPERATOR)                                                                   \
    template <class E, class F, class = std::enable_if_t<is_expression<E> || is_expression<F>>>    \
    auto operator OPERATOR(E e, F f) {                                                             \
        return expression([=](const auto&... a) { return value(e, a...) OPERATOR value(f, a...); }); \
    }
TT_PLACEHOLDER(+) TT_PLACEHOLDER(-) TT_PLACEHOLDER(*) TT_PLACEHOLDER(/) TT_PLACEHOLDER(%)
TT_PLACEHOLDER(<) TT_PLACEHOLDER(>) TT_PLACEHOLDER(<=) TT_PLACEHOLDER(>=) TT_PLACEHOLDER(==)
TT_PLACEHOLDER(!=) TT_PLACEHOLDER(&&) TT_PLACEHOLDER(||)
#undef TT_PLACEHOLDER
}  // namespace placeholders
}  // namespace thrust
