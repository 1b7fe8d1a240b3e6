// Function objects, and expressions of placeholders such as `2 * _1 + _2`.
#pragma once
#include <functional>

namespace thrust {

using std::bit_and, std::bit_or, std::bit_xor, std::divides, std::equal_to, std::greater, std::greater_equal,
    std::less, std::less_equal, std::logical_and, std::logical_not, std::logical_or, std::minus, std::modulus,
    std::multiplies, std::negate, std::not_equal_to, std::plus;

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
