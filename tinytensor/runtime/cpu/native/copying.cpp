// Copy between arrays of the same shape and dtype with any strides; see runtime/cpu/arrays.py. Reading and
// writing each element once moves 2 s bytes per element of s bytes.
//
// Axes are sorted into the memory order of y, and neighbors that are mergeable in both are merged. Then rows
// along the last axis are copied one by one; but if x is contiguous along another axis, tiles of the two axes
// are transposed, so that each cache line is read and written once.
#include "array.h"
#include "vector.h"

namespace {

constexpr int MOST = 16;               // axes
constexpr Index PART = 1 << 16;        // bytes of one parallel part
constexpr Index LINE = 64, BAND = 16;  // bytes; elements along x that are transposed together

struct Axis {
    Index count, to, from;  // strides of y and x in bytes
};

struct Axes {
    Axis at[MOST];
    int count = 0;
    char* y;
    const char* x;

    Axes(const Array& target, const Array& source) : y(target.data<char>()), x(source.data<char>()) {
        for (int i = 0; i < target.ndim(); i++)
            if (target.shape(i) != 1) insert({target.shape(i), target.stride(i), source.stride(i)});
        int merged = 0;
        for (int i = 1; i < count; i++) {
            Axis &outer = at[merged], inner = at[i];
            if (outer.to == inner.to * inner.count && outer.from == inner.from * inner.count)
                outer = {outer.count * inner.count, inner.to, inner.from};
            else
                at[++merged] = inner;
        }
        if (count) count = merged + 1;
    }
    // Keep the axes sorted by decreasing stride in y.
    void insert(Axis axis) {
        if (axis.to < 0) {
            y += axis.to * (axis.count - 1), x += axis.from * (axis.count - 1);
            axis.to = -axis.to, axis.from = -axis.from;
        }
        int i = count++;
        for (; i && at[i - 1].to < axis.to; i--)
            at[i] = at[i - 1];
        at[i] = axis;
    }
    void move_to_end(int axis) {
        Axis moved = at[axis];
        for (int i = axis; i + 1 < count; i++)
            at[i] = at[i + 1];
        at[count - 1] = moved;
    }
    // The axis along which x is contiguous.
    int nearest() const {
        int best = count - 1;
        for (int i = 0; i < count; i++)
            if (at[i].from && (!at[best].from || size(at[i].from) < size(at[best].from))) best = i;
        return best;
    }
    static Index size(Index step) { return step < 0 ? -step : step; }
};

// body(y, x) for the flat indices [begin, end) of the first `count` axes.
template <class Body>
void each_place(const Axes& axes, int count, Index begin, Index end, const Body& body) {
    Index at[MOST], rest = begin;
    char* y = axes.y;
    const char* x = axes.x;
    for (int i = count - 1; i >= 0; i--) {
        at[i] = rest % axes.at[i].count, rest /= axes.at[i].count;
        y += at[i] * axes.at[i].to, x += at[i] * axes.at[i].from;
    }
    for (Index place = begin; place < end; place++) {
        body(y, x);
        for (int i = count - 1; i >= 0; i--) {
            y += axes.at[i].to, x += axes.at[i].from;
            if (++at[i] < axes.at[i].count) break;
            y -= at[i] * axes.at[i].to, x -= at[i] * axes.at[i].from, at[i] = 0;
        }
    }
}

Index places(const Axes& axes, int count) {
    Index n = 1;
    for (int i = 0; i < count; i++)
        n *= axes.at[i].count;
    return n;
}

template <class T, Index STEP>
void row_by(T* y, const T* x, Index n) {
    for (Index i = 0; i < n; i++)
        y[i] = x[i * STEP];
}

template <class T>
void copy_row(char* to, const char* from, const Axis& axis) {
    constexpr Index S = sizeof(T);
    T* y = (T*)to;
    const T* x = (const T*)from;
    if (axis.to == S && axis.from == S) {
        memcpy(to, from, axis.count * S);
    } else if (axis.to == S && axis.from == 0) {
        row_by<T, 0>(y, x, axis.count);
    } else if (axis.to == S && axis.from == -S) {
        row_by<T, -1>(y, x, axis.count);
    } else if (axis.to == S && axis.from == 2 * S) {
        row_by<T, 2>(y, x, axis.count);
    } else {
        for (Index i = 0; i < axis.count; i++)
            *(T*)(to + i * axis.to) = *(const T*)(from + i * axis.from);
    }
}

template <class T>
void copy_rows(const Axes& axes) {
    static const Axis one{1, sizeof(T), sizeof(T)};
    const int outer = axes.count ? axes.count - 1 : 0;
    const Axis& row = axes.count ? axes.at[outer] : one;
    const Index rows = places(axes, outer), whole = row.count * (Index)sizeof(T);
    if (rows > 1 || whole < 2 * PART) {
        parallel_for(rows, PART / (whole ? whole : 1), [&](Index begin, Index end) {
            each_place(axes, outer, begin, end, [&](char* y, const char* x) { copy_row<T>(y, x, row); });
        });
        return;
    }
    parallel_for(row.count, PART / (Index)sizeof(T), [&](Index begin, Index end) {
        copy_row<T>(axes.y + begin * row.to, axes.x + begin * row.from, {end - begin, row.to, row.from});
    });
}

// y[j][i] = x[i][j] for i < p.count, j < q.count: y is contiguous along p, x along q.
template <class T>
void turn(char* y, const char* x, const Axis& p, const Axis& q) {
    constexpr Index S = sizeof(T), SIDE = LINE / S;
    if constexpr (S == sizeof(float)) {
        if (p.to == S && q.from == S) {
            each_vector(q.count, [&](Index j, auto along) {
                each_vector(p.count, [&](Index i, auto across) {
                    Floats square[LANES] = {};
                    const Index rows = number_of(across), columns = number_of(along);
                    for (int r = 0; r < LANES; r++)
                        if (r < rows) square[r] = load((const float*)(x + (i + r) * p.from) + j, along);
                    transpose(square);
                    for (int r = 0; r < LANES; r++)
                        if (r < columns) store((float*)(y + (j + r) * q.to) + i, square[r], across);
                });
            });
            return;
        }
    }
    T square[SIDE][SIDE];
    for (Index j = 0; j < q.count; j += SIDE) {
        const Index columns = q.count - j < SIDE ? q.count - j : SIDE;
        for (Index i = 0; i < p.count; i += SIDE) {
            const Index rows = p.count - i < SIDE ? p.count - i : SIDE;
            for (Index r = 0; r < rows; r++)
                copy_row<T>((char*)square[r], x + (i + r) * p.from + j * q.from, {columns, S, q.from});
            for (Index c = 0; c < columns; c++)
                copy_row<T>(y + (j + c) * q.to + i * p.to, (const char*)(&square[0][c]), {rows, p.to, LINE});
        }
    }
}

// The last axis of `axes` is the contiguous one of x, the one before it that of y.
template <class T>
void copy_turned(const Axes& axes) {
    const int outer = axes.count - 2;
    const Axis p = axes.at[outer], q = axes.at[outer + 1];
    const Index bands = (q.count + BAND - 1) / BAND, band = p.count * BAND * (Index)sizeof(T);
    parallel_for(places(axes, outer) * bands, band < PART ? PART / band : 1, [&](Index begin, Index end) {
        for (Index part = begin; part < end; part++) {
            const Index place = part / bands, j = part % bands * BAND;
            const Index count = q.count - j < BAND ? q.count - j : BAND;
            each_place(axes, outer, place, place + 1, [&](char* y, const char* x) {
                turn<T>(y + j * q.to, x + j * q.from, p, {count, q.to, q.from});
            });
        }
    });
}

template <class T>
bool copy_all(Axes axes) {
    const int last = axes.count - 1, near = axes.nearest();
    if (near >= last || Axes::size(axes.at[last].from) <= 2 * (Index)sizeof(T) || axes.at[near].count < 4) {
        copy_rows<T>(axes);
    } else {
        axes.move_to_end(near);
        copy_turned<T>(axes);
    }
    return true;
}

}  // namespace

// y = x, of the same shape and dtype, without overlap.
HOST_KERNEL bool copy(Array y, Array x) {
    const int size = y.itemsize();
    if (size != x.itemsize() || y.type() != x.type() || y.ndim() != x.ndim() || y.ndim() > MOST) return false;
    if (!y.plain() || !x.plain() || !y.writeable()) return false;
    for (int axis = 0; axis < y.ndim(); axis++)
        if (y.shape(axis) != x.shape(axis)) return false;
    if (!y.size()) return true;
    const Axes axes(y, x);
    switch (size) {
        case 1: return copy_all<unsigned char>(axes);
        case 2: return copy_all<unsigned short>(axes);
        case 4: return copy_all<float>(axes);
        case 8: return copy_all<Index>(axes);
        default: return false;
    }
}
