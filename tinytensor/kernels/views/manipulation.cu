// Copies and casts between any layouts and dtypes: the functor of Copy and Cast in ops/views/manipulation.py.
// Mapping, traffic: elementwise.cuh. Elements that keep their dtype are copied as integers of their size.
#include "elementwise.cuh"

// The store converts to the type of the result: floats truncate to integers, nonzero becomes true.
struct Cast {
    template <class A> __device__ A operator()(A x) const { return x; }
};

// A copy between memory orders: y[b, s * y_row + d] = x[b, s + d * x_column], for s < rows, d < columns and b
// of two outer axes. Read in runs of s and written in runs of d, through 32 x 32 tiles; blocks of 32 x 8.
// Traffic: reads and writes each element once. The unused column avoids bank conflicts in column accesses
// of the tile.
template <class T, class I>
__global__ void copy_transposed(
    T* y, const T* x, I rows, I columns, I y_row, I x_column, int batches, int inner, I y_outer, I x_outer,
    I y_inner, I x_inner) {
    __shared__ T tile[32][33];
    const I row0 = static_cast<I>(blockIdx.y) * 32, column0 = static_cast<I>(blockIdx.x) * 32;
    const int lane = threadIdx.x;
    for (int b = blockIdx.z; b < batches; b += gridDim.z) {
        const I outer = b / inner, rest = b - outer * inner;
        T* to = y + outer * y_outer + rest * y_inner;
        const T* from = x + outer * x_outer + rest * x_inner;
        for (int d = threadIdx.y; d < 32; d += 8)
            if (column0 + d < columns && row0 + lane < rows)
                tile[d][lane] = from[(column0 + d) * x_column + row0 + lane];
        __syncthreads();
        for (int s = threadIdx.y; s < 32; s += 8)
            if (row0 + s < rows && column0 + lane < columns)
                to[(row0 + s) * y_row + column0 + lane] = tile[lane][s];
        __syncthreads();  // before the next batch overwrites the tile
    }
}
