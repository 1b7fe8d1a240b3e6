// Matrix products on the host. What is computed, and the names, are those of ops/matmul.py.
//
// From the bottom up: matmul_vectors.h (the processor), matmul_tile.h (sums in registers), matmul_pack.h
// (operands in the order of reading), matmul_product.h (blocks and threads), matmul_row.h (one row),
// matmul_whole.h (any product, batches), matmul_choice.h (when NumPy's BLAS is left to do it). The method is
// that of K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34
// (2008).
//
// Each sum runs along `depth` in order, in pieces of at most DEPTH that are added one after the other. How
// the work is cut for threads changes none of them.
#include "gelu.h"
#include "matmul_choice.h"
#include "matmul_whole.h"

namespace {

// Stride of an axis in elements. An axis of size 1 has none: its stride in bytes may be any number.
template <class T>
Index step(const Array& x, int axis) {
    return x.shape(axis) == 1 ? 0 : x.stride(axis) / (Index)sizeof(T);
}

void swap(Index& x, Index& y) {
    const Index kept = x;
    x = y;
    y = kept;
}

// Whether x has numbers of type T, a whole number of them apart.
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
        // Along an axis of size 1 nobody steps: a stride that is no obstacle.
        if (columns == 1 && this->row != 1) this->column = 1;
        if (rows == 1 && this->column != 1) this->row = 1;
    }
};

// y = start + a @ b, with leading axes. False, and nothing written, if it is left to NumPy.
template <class T>
bool compute(const Array& y, const Array& a, const Array& b, bool ta, bool tb, const T* start, bool add,
             bool always, Finish<T> finish = {}) {
    if (!fits<T>(y) || !fits<T>(a) || !fits<T>(b)) return false;
    if (!y.size()) return true;
    Matrix<T> to(y, false);
    const Matrix<T> left(a, ta), right(b, tb);
    Batch<T> batch;
    batch.add = add;
    batch.ndim = y.ndim() > 2 ? y.ndim() - 2 : 0;
    for (int axis = 0; axis < batch.ndim; axis++) {
        const int of_a = axis - y.ndim() + a.ndim(), of_b = axis - y.ndim() + b.ndim();
        batch.shape[axis] = y.shape(axis);
        batch.y[axis] = step<T>(y, axis);
        batch.a[axis] = of_a < 0 ? 0 : step<T>(a, of_a);
        batch.b[axis] = of_b < 0 ? 0 : step<T>(b, of_b);
    }
    if (!always && !OURS[kind_of(to.rows, to.columns, left.columns)]) return false;
    if (to.columns == 1) to.column = 1;
    const bool lies_transposed = to.column != 1 && to.row == 1;
    if ((to.column != 1 && !lies_transposed) || (lies_transposed && start)) return false;
    batch.p = {to.rows, to.columns, left.columns, left, right, y.data<T>(), to.row, start, 0, finish};
    if (lies_transposed) {
        batch.p = turned(batch.p);
        batch.p.y_row = to.column;
        for (int axis = 0; axis < batch.ndim; axis++) swap(batch.a[axis], batch.b[axis]);
    }
    compute(batch);
    return true;
}

// y = gate(y). The slope of y[i] goes to y[i + *slopes], if that is given.
template <class Gates>
void gated(const void* slopes, float* y, Index columns) {
    const Index to = slopes ? *(const Index*)slopes : 0;
    each_vector(columns, [&](Index i, auto lanes) {
        const Floats x = load(y + i, lanes);
        const Gate gate = Gates::at(x);
        store(y + i, x * gate.value, lanes);
        if (slopes) store(y + to + i, x * gate.slope + gate.value, lanes);
    });
}

// (..., C) as rows of a matrix. False if the leading axes do not step on evenly.
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

template <class T>
bool backward(const Array& dx, const Array& dweight, const Array& dbias, const Array& grad, const Array& x,
              const Array& weight, bool transposed, bool always) {
    Matrix<T> g(grad, false), in(grad, false);
    if (!as_rows(grad, &g) || (dweight && !as_rows(x, &in)) || !dense<T>(dx, dweight, dbias)) return false;
    if (dx && !fits<T>(weight)) return false;
    const Index other = dx ? dx.shape(-1) : dweight ? in.columns : 4;
    if (!always && !OURS[kind_of(g.rows, g.columns, other)]) return false;
    if (dx) {
        const Matrix<T> w(weight, !transposed);
        compute(Product<T>{g.rows, w.columns, w.rows, g, w, dx.data<T>(), w.columns, nullptr, 0, {}});
    }
    if (dweight) {
        const Matrix<T>&left = transposed ? g : in, &right = transposed ? in : g;
        compute(Product<T>{left.columns,
                           right.columns,
                           g.rows,
                           left.transposed(),
                           right,
                           dweight.data<T>(),
                           right.columns,
                           nullptr,
                           0,
                           {}});
    }
    if (dbias) {
        const T one = 1;  // a row of ones
        compute(
            Product<T>{1, g.columns, g.rows, {&one, 0, 0}, g, dbias.data<T>(), g.columns, nullptr, 0, {}});
    }
    return true;
}

}  // namespace

// y = a @ b, or, with `add`, y += a @ b. `ta`, `tb`: a, b are read with their last two axes swapped.
// `always`: also what is left to BLAS otherwise.
HOST_KERNEL bool matmul(Array y, Array a, Array b, bool ta, bool tb, bool add, bool always) {
    return y.is<double>() ? compute<double>(y, a, b, ta, tb, nullptr, add, always)
                          : compute<float>(y, a, b, ta, tb, nullptr, add, always);
}

// y = x @ weight + bias; `transposed`: weight is (out, in).
HOST_KERNEL bool linear(Array y, Array x, Array weight, Array bias, bool transposed, bool always) {
    if (y.is<double>())
        return dense<double>(bias) &&
               compute(y, x, weight, false, transposed, bias.data_or_null<double>(), false, always);
    return dense<float>(bias) &&
           compute(y, x, weight, false, transposed, bias.data_or_null<float>(), false, always);
}

// z = x @ weight + bias, y = gate(z), and the slope of the gate if it is given. `function` is the place of
// the gate in FUNCTORS of ops/gelu.py.
HOST_KERNEL bool linear_gelu(Array y, Array slope, Array x, Array weight, Array bias, int function,
                             bool transposed, bool always) {
    if (!dense<float>(y, slope, bias)) return false;
    constexpr void (*gates[])(const void*, float*, Index) = {gated<GeluTanh>, gated<GeluErf>, gated<Silu>};
    const Index slopes = slope ? slope.data<float>() - y.data<float>() : 0;
    const Finish<float> finish = {gates[function], slope ? &slopes : nullptr};
    return compute(y, x, weight, false, transposed, bias.data_or_null<float>(), false, always, finish);
}

// dx = grad @ weight.T, dweight = x.T @ grad, dbias = the sums of the columns of grad; those that are given.
HOST_KERNEL bool linear_backward(Array dx, Array dweight, Array dbias, Array grad, Array x, Array weight,
                                 bool transposed, bool always) {
    return grad.is<double>() ? backward<double>(dx, dweight, dbias, grad, x, weight, transposed, always)
                             : backward<float>(dx, dweight, dbias, grad, x, weight, transposed, always);
}
