// Products of arrays: shared code of matmul.cpp, matmul_f64.cpp and matmul_bf16.cpp.
#pragma once
#include "elementwise/gelu.h"
#include "matmul_bf16.h"
#include "matmul_choice.h"
#include "matmul_whole.h"
#include "scratch.h"

namespace {

// Stride of an axis in elements. An axis of size 1 has none: its stride in bytes is arbitrary.
template <class T>
Index step(const Array& x, int axis) {
    return x.shape(axis) == 1 ? 0 : x.stride(axis) / (Index)sizeof(T);
}

void swap(Index& x, Index& y) {
    const Index kept = x;
    x = y;
    y = kept;
}

// Whether x has elements of type T, with strides that are multiples of their size.
template <class T>
bool fits(const Array& x) {
    if (!x.is<T>()) return false;
    for (int axis = 0; axis < x.ndim(); axis++)
        if (x.shape(axis) != 1 && x.stride(axis) % (Index)sizeof(T)) return false;
    return true;
}

// A matrix in the last two axes of an array, or a row in its only one; with `t` it is read transposed.
template <class T>
struct Matrix : Factor<T> {
    Index rows, columns;

    Matrix(const Array& x, bool t)
        : Factor<T>{x.data<T>(), 0, step<T>(x, -1)}, rows(1), columns(x.shape(-1)) {
        if (x.ndim() > 1) rows = x.shape(-2), this->row = step<T>(x, -2);
        if (t) swap(rows, columns), swap(this->row, this->column);
        // The stride of an axis of size 1 is unused: set it to an accepted value.
        if (columns == 1 && this->row != 1) this->column = 1;
        if (rows == 1 && this->column != 1) this->row = 1;
    }
};

// body(E()) with the fastest kind of product of an element type on this processor.
template <class N, class Body>
bool by_kind(const Body& body) {
    if constexpr (sizeof(N) > sizeof(Bf16))
        return body(Plain<N, N>());
    else
        return body(OfBf16());
}

// A vector in the type of sums, or nullptr if it is not given.
template <class T>
const T* as_sums(const T* x, Index) {
    return x;
}
inline const float* as_sums(const Bf16* x, Index n) {
    if (!x) return nullptr;
    float* wide = kept<float>(BIAS, n);
    for (Index i = 0; i < n; i++) wide[i] = value(x[i]);
    return wide;
}

// Options of a product.
template <class N>
struct Asked {
    const N* bias = nullptr;
    bool add = false;     // accumulate into y
    bool always = false;  // also products that are otherwise left to BLAS
    GateRow gate = nullptr;
    float* slope = nullptr;
};

// y = gate(bias + a @ b), with leading axes. Returns false, without writing, if it is left to NumPy.
template <class N, class E>
bool compute_as(const Array& y, const Array& a, const Array& b, bool ta, bool tb, const Asked<N>& asked) {
    if (!fits<N>(y) || !fits<N>(a) || !fits<N>(b)) return false;
    if (!y.size()) return true;
    Matrix<N> to(y, false);
    const Matrix<N> left(a, ta), right(b, tb);
    Batch<E, N> batch;
    batch.add = asked.add;
    batch.ndim = y.ndim() > 2 ? y.ndim() - 2 : 0;
    Index matrices = 1;
    for (int axis = 0; axis < batch.ndim; axis++) {
        const int of_a = axis - y.ndim() + a.ndim(), of_b = axis - y.ndim() + b.ndim();
        matrices *= batch.shape[axis] = y.shape(axis);
        batch.y[axis] = step<N>(y, axis);
        batch.a[axis] = of_a < 0 ? 0 : step<N>(a, of_a);
        batch.b[axis] = of_b < 0 ? 0 : step<N>(b, of_b);
    }
    if (!asked.always && !OURS[kind_of(to.rows, to.columns, left.columns, matrices)]) return false;
    if (to.columns == 1) to.column = 1;
    const bool lies_transposed = to.column != 1 && to.row == 1;
    if ((to.column != 1 && !lies_transposed) || (lies_transposed && (asked.bias || asked.gate))) return false;
    const auto* bias = as_sums(asked.bias, to.columns);
    batch.p = {to.rows, to.columns, left.columns, left, right, nullptr, 0, bias, 0, {}};
    batch.out = {y.data<N>(), to.row, asked.gate, asked.slope};
    if (lies_transposed) {
        batch.p = turned(batch.p);
        batch.out.row = to.column;
        for (int axis = 0; axis < batch.ndim; axis++) swap(batch.a[axis], batch.b[axis]);
    }
    compute(batch);
    return true;
}

template <class N>
bool compute(const Array& y, const Array& a, const Array& b, bool ta, bool tb, const Asked<N>& asked) {
    return by_kind<N>([&](auto kind) { return compute_as<N, decltype(kind)>(y, a, b, ta, tb, asked); });
}

template <class Gates>
void gated(float* y, float* slope, Index columns) {
    each_vector(columns, [&](Index i, auto lanes) {
        const Floats x = load(y + i, lanes);
        const Gate gate = Gates::at(x);
        store(y + i, x * gate.value, lanes);
        if (slope) store(slope + i, x * gate.slope + gate.value, lanes);
    });
}
constexpr GateRow GATES[] = {gated<GeluTanh>, gated<GeluErf>, gated<Silu>};

// (..., C) as rows of a matrix. False if the leading axes do not merge.
template <class T>
bool as_rows(const Array& x, Matrix<T>* found) {
    if (!fits<T>(x)) return false;
    Matrix<T> m(x, false);
    for (int axis = x.ndim() - 3; axis >= 0; axis--) {
        const Index n = x.shape(axis);
        if (n == 1) continue;
        if (m.rows == 1) m.row = step<T>(x, axis);
        if (m.rows > 1 && step<T>(x, axis) != m.rows * m.row) return false;
        m.rows *= n;
    }
    *found = m;
    return true;
}

// Column sums of g as products of a row of ones with blocks of g, since one long sum loses digits.
template <class N>
void sum_columns(N* y, const Matrix<N>& g) {
    constexpr Index PIECE = 1024;
    const N one = number<N>(1);
    by_kind<N>([&](auto kind) {
        using Sum = typename decltype(kind)::Sum;
        auto product = [&](Index first, Index rows) -> Product<decltype(kind)> {
            const Factor<N> some = {g.data + first * g.row, g.row, g.column};
            return {1, g.columns, rows, {&one, 0, 0}, some, nullptr, 0, nullptr, 0, {}};
        };
        const Index count = pieces(g.rows, PIECE);
        Scratch memory(count > 1 ? count * g.columns * (Index)(sizeof(Sum) / sizeof(float)) : 0);
        Sum* sums = (Sum*)memory.data();
        if (count <= 1 || !memory) {
            compute(product(0, g.rows), Output<N>{y, g.columns, nullptr, nullptr});
            return true;
        }
        for (Index n = 0; n < count; n++) {
            const Output<Sum> out = {sums + n * g.columns, g.columns, nullptr, nullptr};
            compute(product(n * PIECE, least(PIECE, g.rows - n * PIECE)), out);
        }
        for (Index j = 0; j < g.columns; j++) {
            double sum = 0;
            for (Index n = 0; n < count; n++) sum += sums[n * g.columns + j];
            sums[j] = (Sum)sum;
        }
        each_lanes<Sum>(g.columns,
                        [&](Index j, auto lanes) { store(y + j, load(sums + j, lanes), lanes); });
        return true;
    });
}

template <class N>
bool backward(const Array& dx, const Array& dweight, const Array& dbias, const Array& grad, const Array& x,
              const Array& weight, bool transposed, bool always) {
    Matrix<N> g(grad, false), in(grad, false);
    if (!as_rows(grad, &g) || (dweight && !as_rows(x, &in)) || !dense<N>(dx, dweight, dbias)) return false;
    if (dx && !fits<N>(weight)) return false;
    const Index other = dx ? dx.shape(-1) : dweight ? in.columns : 4;
    if (!always && !OURS[kind_of(g.rows, g.columns, other, 1)]) return false;
    auto multiply = [](const Array& y, Index rows, Index columns, Index depth, Factor<N> a, Factor<N> b) {
        const Output<N> out = {y.data<N>(), columns, nullptr, nullptr};
        by_kind<N>([&](auto kind) {
            compute(Product<decltype(kind)>{rows, columns, depth, a, b, nullptr, 0, nullptr, 0, {}}, out);
            return true;
        });
    };
    if (dx) {
        const Matrix<N> w(weight, !transposed);
        multiply(dx, g.rows, w.columns, w.rows, g, w);
    }
    if (dweight) {
        const Matrix<N>&left = transposed ? g : in, &right = transposed ? in : g;
        multiply(dweight, left.columns, right.columns, g.rows, left.transposed(), right);
    }
    if (dbias) sum_columns(dbias.data<N>(), g);
    return true;
}

// y = gate(x @ weight + bias).
template <class N>
bool affine(const Array& y, const Array& x, const Array& weight, const Array& bias, bool transposed,
            bool always, GateRow gate = nullptr, const Array* slope = nullptr) {
    if (!dense<N>(bias) || (gate && !dense<N>(y)) || (slope && !dense<float>(*slope))) return false;
    Asked<N> asked;
    asked.bias = bias.data_or_null<N>();
    asked.always = always;
    asked.gate = gate;
    asked.slope = slope ? slope->data_or_null<float>() : nullptr;
    return compute(y, x, weight, false, transposed, asked);
}

}  // namespace
