// Loops over the elements of captured steps; the loader adds their generated functions. See fused.py.
#include "threads.h"

#define HOST_KERNEL extern "C" __attribute__((visibility("default")))

template <class T>
inline T absolute(T x) {
    return sizeof(T) == sizeof(float) ? T(__builtin_fabsf(x)) : T(__builtin_fabs(x));
}
template <class T>
inline T root(T x) {
    return sizeof(T) == sizeof(float) ? T(__builtin_sqrtf(x)) : T(__builtin_sqrt(x));
}
