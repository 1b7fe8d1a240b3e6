// C++ concatenation, and roll: elements shifted cyclically along one axis.
#include "array.h"
#include <string.h>

namespace {

// Whether both are dense, of one type whose elements have up to 8 bytes.
bool alike(const Array& y, const Array& x) {
    return x.plain() && y.plain() && x.itemsize() && x.type() == y.type() && x.contiguous() && y.contiguous();
}

}  // namespace

// Parts with the same number of rows, `outer`, side by side.
HOST_KERNEL bool join(Array y, Arrays parts, Index outer) {
    for (Index i = 0; i < parts.count(); i++)
        if (!alike(y, parts[i])) return false;
    const Index whole = y.size() / outer * y.itemsize();
    char* to = y.data<char>();
    for (Index i = 0; i < parts.count(); i++) {
        const Index bytes = parts[i].size() / outer * y.itemsize();
        for (Index row = 0; row < outer; row++)
            memcpy(to + row * whole, parts[i].data<char>() + row * bytes, bytes);
        to += bytes;
    }
    return true;
}

// x: rows of n parts of `inner` elements; the last `shift` parts of each come first.
HOST_KERNEL bool roll(Array y, Array x, Index inner, Index n, Index shift) {
    if (!alike(y, x)) return false;
    const Index bytes = x.itemsize(), row = n * inner * bytes, moved = shift * inner * bytes;
    for (Index at = 0; at < x.size() * bytes; at += row) {
        memcpy(y.data<char>() + at, x.data<char>() + at + row - moved, moved);
        memcpy(y.data<char>() + at + moved, x.data<char>() + at, row - moved);
    }
    return true;
}
