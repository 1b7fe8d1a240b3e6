// Copies and casts between any layouts and dtypes: the functor of Copy and Cast in ops/manipulation.py.
// Mapping, traffic: elementwise.cuh. Elements that keep their dtype travel as integers of their size.
#include "elementwise.cuh"

// The stored type of the result does the rest: floats become integers by cutting, all but zero becomes true.
struct Cast {
    template <class A> __device__ A operator()(A x) const { return x; }
};
