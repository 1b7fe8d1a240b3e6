// Small matrix products for attention.cpp, with a tile of the result in registers.
#pragma once
#include "vector.h"

constexpr int ROWS = 6;                    // of a tile
constexpr int WIDE = LANES == 16 ? 4 : 2;  // vectors of a row of a tile, at most
constexpr int QUERIES = 64;                // queries processed together
constexpr int VECTORS = QUERIES / LANES;

#define INLINE inline __attribute__((always_inline))

// The left operand of a product, read element by element: six rows at any addresses,
struct ByRows {
    const float* row[ROWS];
    // Row r is row first + r; from `count` on the last one is repeated.
    ByRows(const float* first, Index step, Index count) {
        for (int r = 0; r < ROWS; r++)
            row[r] = first + (r < count ? r : count - 1) * step;
    }
    INLINE float at(int r, Index k) const { return row[r][k]; }
};

// or six neighboring columns, each a row of the product.
struct ByColumns {
    const float* first;
    INLINE float at(int r, Index k) const { return first[k * QUERIES + r]; }
};

// tile[r][c] = sum over k < depth of left(r, k) * right[k * step + c]; `last` are the lanes of the last
// vector.
template <int V, class Left, class Lanes>
INLINE void product(Floats (&tile)[ROWS][V], const Left& left, const float* right, Index step, Index depth,
                    Lanes last) {
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < V; v++)
            tile[r][v] = Floats{};
    for (Index k = 0; k < depth; k++, right += step) {
        Floats b[V];
        for (int v = 0; v < V - 1; v++)
            b[v] = load(right + v * LANES);
        b[V - 1] = load(right + (V - 1) * LANES, last);
        for (int r = 0; r < ROWS; r++) {
            float a = left.at(r, k);
            for (int v = 0; v < V; v++)
                tile[r][v] += b[v] * a;
        }
    }
}

// body(number of vectors) as a type.
template <class Body>
INLINE void by_number(Index vectors, const Body& body) {
    if constexpr (WIDE == 4) {
        if (vectors == 4) return body(Number<4>());
        if (vectors == 3) return body(Number<3>());
    }
    vectors == 2 ? body(Number<2>()) : body(Number<1>());
}

// body(at, number of vectors, lanes of the last) for the columns [0, width), a tile at a time.
template <class Body>
INLINE void by_columns(Index width, const Body& body) {
    for (Index at = 0; at < width; at += WIDE * LANES) {
        Index rest = width - at, vectors = (rest + LANES - 1) / LANES;
        if (vectors > WIDE) vectors = WIDE;
        int last = (int)(rest < vectors * LANES ? rest - (vectors - 1) * LANES : LANES);
        by_number(vectors, [&](auto number) {
            last < LANES ? body(at, number, Part{last}) : body(at, number, Whole{});
        });
    }
}

// body(at, vector, lanes) for the vectors of a row of a tile.
template <int V, class Lanes, class Body>
INLINE void each(const Floats (&row)[V], Lanes last, const Body& body) {
    for (int v = 0; v < V - 1; v++)
        body(v * LANES, row[v], Whole{});
    body((V - 1) * LANES, row[V - 1], last);
}
