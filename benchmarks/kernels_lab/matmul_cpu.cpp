// C = A @ B on the CPU, float32, row by row in memory: six versions, each with one idea more than the one
// before.
//
// How fast can it be? A core does one or two fused multiply-adds of whole vectors in a cycle: 32 or 64
// operations with AVX-512. The arithmetic needs 2 M N K operations, but only M K + K N numbers: each number
// is used N or M times. All that happens below is to fetch it less often.
#include "array.h"
#include "vector.h"
#include <stdlib.h>

namespace {

struct Sizes {
    Index m, n, k;
    Sizes(Array c, Array a) : m(c.shape(0)), n(c.shape(1)), k(a.shape(1)) {}
};

bool fit(Array c, Array a, Array b) { return dense<float>(c, a, b); }

Index least(Index x, Index y) { return x < y ? x : y; }

}  // namespace

// 1. The definition. Neighbors in a column of B lie a row apart: each read fetches a line of the cache, 64
// bytes, and
//    uses 4 of them.
HOST_KERNEL bool matmul_naive(Array c, Array a, Array b) {
    if (!fit(c, a, b)) return false;
    const Sizes s(c, a);
    const float *x = a.data<float>(), *y = b.data<float>();
    for (Index i = 0; i < s.m; i++)
        for (Index j = 0; j < s.n; j++) {
            float sum = 0;
            for (Index k = 0; k < s.k; k++) sum += x[i * s.k + k] * y[k * s.n + j];
            c.data<float>()[i * s.n + j] = sum;
        }
    return true;
}

// 2. The same loops in another order: now the inner one runs along rows of B and C, and the compiler makes
// vectors of
//    it. But each multiply-add reads and writes C.
HOST_KERNEL bool matmul_reordered(Array c, Array a, Array b) {
    if (!fit(c, a, b)) return false;
    const Sizes s(c, a);
    const float *x = a.data<float>(), *y = b.data<float>();
    for (Index i = 0; i < s.m; i++) {
        float* z = c.data<float>() + i * s.n;
        memset(z, 0, s.n * sizeof(float));
        for (Index k = 0; k < s.k; k++)
            for (Index j = 0; j < s.n; j++) z[j] += x[i * s.k + k] * y[k * s.n + j];
    }
    return true;
}

// 3. In blocks: 64 rows of B, 256 columns wide, are 64 KB, which stay in the second cache while all rows of A
//    pass by. Four rows of B are added at once, so that C is read and written a quarter as often.
HOST_KERNEL bool matmul_blocked(Array c, Array a, Array b) {
    if (!fit(c, a, b)) return false;
    const Sizes s(c, a);
    memset(c.data<float>(), 0, s.m * s.n * sizeof(float));
    for (Index k0 = 0; k0 < s.k; k0 += 64)
        for (Index j0 = 0; j0 < s.n; j0 += 256) {
            const Index k1 = least(k0 + 64, s.k), width = least(256, s.n - j0);
            for (Index i = 0; i < s.m; i++) {
                const float *x = a.data<float>() + i * s.k, *y = b.data<float>() + k0 * s.n + j0;
                float* z = c.data<float>() + i * s.n + j0;
                Index k = k0;
                for (; k + 4 <= k1; k += 4, y += 4 * s.n)
                    for (Index j = 0; j < width; j++)
                        z[j] += x[k] * y[j] + x[k + 1] * y[s.n + j] + x[k + 2] * y[2 * s.n + j] +
                                x[k + 3] * y[3 * s.n + j];
                for (; k < k1; k++, y += s.n)
                    for (Index j = 0; j < width; j++) z[j] += x[k] * y[j];
            }
        }
    return true;
}

// ---- from here on, sums stay in registers -----------------------------------------------------------------

namespace {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int ROWS = 14;  // of a tile: 28 sums, 2 vectors of B and a number of A fill 32 registers
#else
constexpr int ROWS = 6;  // 12 sums in 16 registers
#endif
constexpr int COLUMNS = 2 * LANES;

// A tile of C, ROWS x COLUMNS: 2 * ROWS multiply-adds of vectors for ROWS + 2 reads, and none of C. Rows of A
// are `a_row` apart, of B `b_row`. `add`: to what C holds. Only `rows` x `columns` of the tile are stored,
// and of A, row `rows` - 1 is read in place of those behind it.
void tile(Index depth, const float* a, Index a_row, const float* b, Index b_row, float* c, Index c_row,
          Index rows, Index columns, bool add) {
    Floats sums[ROWS][2] = {};
    const float* row[ROWS];
    for (int i = 0; i < ROWS; i++) row[i] = a + (i < rows ? i : rows - 1) * a_row;
    for (Index k = 0; k < depth; k++, b += b_row) {
        const Floats left = load(b), right = load(b + LANES);
#pragma GCC unroll 16
        for (int i = 0; i < ROWS; i++) {
            sums[i][0] += row[i][k] * left;
            sums[i][1] += row[i][k] * right;
        }
    }
    for (int i = 0; i < ROWS && i < rows; i++)
        for (int half = 0; half < 2; half++) {
            const Index some = least(columns - half * LANES, LANES);
            if (some <= 0) break;
            const Part lanes = {(int)some};
            float* to = c + i * c_row + half * LANES;
            store(to, add ? load(to, lanes) + sums[i][half] : sums[i][half], lanes);
        }
}

}  // namespace

// 4. Vectors and registers: B is read once for ROWS rows of A instead of for each, and C is written once. The
// columns
//    that are left over have plain loops.
HOST_KERNEL bool matmul_vectorized(Array c, Array a, Array b) {
    if (!fit(c, a, b)) return false;
    const Sizes s(c, a);
    const float *x = a.data<float>(), *y = b.data<float>();
    float* z = c.data<float>();
    const Index whole = s.n / COLUMNS * COLUMNS;
    for (Index j = 0; j < whole; j += COLUMNS)
        for (Index i = 0; i < s.m; i += ROWS)
            tile(s.k, x + i * s.k, s.k, y + j, s.n, z + i * s.n + j, s.n, least(s.m - i, ROWS), COLUMNS,
                 false);
    for (Index i = 0; i < s.m; i++)
        for (Index j = whole; j < s.n; j++) {
            float sum = 0;
            for (Index k = 0; k < s.k; k++) sum += x[i * s.k + k] * y[k * s.n + j];
            z[i * s.n + j] = sum;
        }
    return true;
}

namespace {

constexpr Index DEPTH = 384;  // a strip of A so deep is 21 KB: it fits the first cache
constexpr Index STRIP_ROW =
    DEPTH + 16;  // not a power of two: rows would fight for the same places in the cache

// Columns j to j + COLUMNS of some rows of B, one behind the other, padded with zeros.
void pack(const float* b, Index b_row, Index depth, Index columns, float* to) {
    for (Index k = 0; k < depth; k++, b += b_row, to += COLUMNS) {
        memset(to, 0, COLUMNS * sizeof(float));
        memcpy(to, b, columns * sizeof(float));
    }
}

// A strip of A times all packed panels.
void strip(Sizes s, const float* a, const float* panels, float* c, Index rows, Index depth, bool add) {
    float packed[ROWS * STRIP_ROW];
    for (Index i = 0; i < rows; i++) memcpy(packed + i * STRIP_ROW, a + i * s.k, depth * sizeof(float));
    for (Index j = 0; j < s.n; j += COLUMNS)
        tile(depth, packed, STRIP_ROW, panels + j * depth, COLUMNS, c + j, s.n, rows, least(s.n - j, COLUMNS),
             add);
}

// `threaded`: strips are handed out to threads.
bool packed_product(Array c, Array a, Array b, bool threaded) {
    if (!fit(c, a, b)) return false;
    const Sizes s(c, a);
    const Index width = (s.n + COLUMNS - 1) / COLUMNS * COLUMNS, strips = (s.m + ROWS - 1) / ROWS;
    float* panels = (float*)malloc((DEPTH * width + 1) * sizeof(float));
    if (!panels) return false;
    if (!s.k) memset(c.data<float>(), 0, s.m * s.n * sizeof(float));
    for (Index k = 0; k < s.k; k += DEPTH) {
        const Index depth = least(s.k - k, DEPTH);
        auto pack_one = [&](Index n) {
            const Index j = n * COLUMNS;
            pack(b.data<float>() + k * s.n + j, s.n, depth, least(s.n - j, COLUMNS), panels + j * depth);
        };
        auto one_strip = [&](Index n) {
            const Index i = n * ROWS;
            strip(s, a.data<float>() + i * s.k + k, panels, c.data<float>() + i * s.n, least(s.m - i, ROWS),
                  depth, k > 0);
        };
        if (threaded) {
            run_parts(width / COLUMNS, pack_one);
            run_parts(strips, one_strip);
        } else {
            for (Index n = 0; n < width / COLUMNS; n++) pack_one(n);
            for (Index n = 0; n < strips; n++) one_strip(n);
        }
    }
    free(panels);
    return true;
}

}  // namespace

// 5. Packed: what the inner loop reads lies side by side, in the order of reading, and a strip of A stays in
// the first
//    cache. Without that, rows of B that are a power of two apart push each other out of the cache.
HOST_KERNEL bool matmul_packed(Array c, Array a, Array b) { return packed_product(c, a, b, false); }

// 6. Threads take strips, and share the packed B.
HOST_KERNEL bool matmul_threaded(Array c, Array a, Array b) { return packed_product(c, a, b, true); }
