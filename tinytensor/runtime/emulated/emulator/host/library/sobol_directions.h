// Direction vectors of Sobol sequences by the numbers new-joe-kuo-6 of S. Joe and F. Kuo (Constructing Sobol
// sequences with better two-dimensional projections, 2008), of the first 21 dimensions.
#pragma once

namespace tt_program {

constexpr int DIMENSIONS = 21;

// Of dimensions 2 and on: degree and inner coefficients of a primitive polynomial, and the first odd numbers.
static const struct {
    int degree;
    unsigned inner, first[7];
} polynomials[DIMENSIONS - 1] = {
    {1, 0, {1}},
    {2, 1, {1, 3}},
    {3, 1, {1, 3, 1}},
    {3, 2, {1, 1, 1}},
    {4, 1, {1, 1, 3, 3}},
    {4, 4, {1, 3, 5, 13}},
    {5, 2, {1, 1, 5, 5, 17}},
    {5, 4, {1, 1, 5, 5, 5}},
    {5, 7, {1, 1, 7, 11, 19}},
    {5, 11, {1, 1, 5, 1, 1}},
    {5, 13, {1, 1, 1, 3, 11}},
    {5, 14, {1, 3, 5, 5, 31}},
    {6, 1, {1, 3, 3, 9, 7, 49}},
    {6, 13, {1, 1, 1, 15, 21, 21}},
    {6, 16, {1, 3, 1, 13, 27, 49}},
    {6, 19, {1, 1, 1, 15, 7, 5}},
    {6, 22, {1, 3, 1, 15, 13, 25}},
    {6, 25, {1, 1, 5, 5, 19, 61}},
    {7, 1, {1, 3, 7, 11, 23, 15, 103}},
    {7, 4, {1, 3, 7, 13, 13, 15, 69}},
};

template <class T, int BITS>
static T (*direction_vectors())[BITS] {
    static T v[DIMENSIONS][BITS];
    if (v[0][0]) return v;
    for (int k = 0; k < BITS; k++) v[0][k] = (T)1 << (BITS - 1 - k);
    for (int d = 1; d < DIMENSIONS; d++) {
        const auto& p = polynomials[d - 1];
        for (int k = 0; k < BITS; k++) {
            T& to = v[d][k];
            if (k < p.degree) {
                to = (T)p.first[k] << (BITS - 1 - k);
                continue;
            }
            to = v[d][k - p.degree] ^ (v[d][k - p.degree] >> p.degree);
            for (int j = 1; j < p.degree; j++)
                if (p.inner >> (p.degree - 1 - j) & 1) to ^= v[d][k - j];
        }
    }
    return v;
}

// Number i of a dimension.
template <class T, int BITS>
static T sobol(int dimension, T i) {
    const T gray = i ^ (i >> 1);
    T x = 0;
    for (int k = 0; k < BITS; k++)
        if (gray >> k & 1) x ^= direction_vectors<T, BITS>()[dimension][k];
    return x;
}

}  // namespace tt_program

TT_HOST curandStatus_t curandGetDirectionVectors32(unsigned (**to)[32], int) {
    return *to = tt_program::direction_vectors<unsigned, 32>(), CURAND_STATUS_SUCCESS;
}
TT_HOST curandStatus_t curandGetDirectionVectors64(unsigned long long (**to)[64], int) {
    return *to = tt_program::direction_vectors<unsigned long long, 64>(), CURAND_STATUS_SUCCESS;
}
