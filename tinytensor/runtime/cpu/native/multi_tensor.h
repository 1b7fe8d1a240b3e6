// Multi-tensor kernels: parallel loops over the elements of many arrays.
#pragma once
#include "array.h"
#include "scratch.h"

// Divides many arrays into blocks of at most GRAIN elements. False if out of memory.
class Pieces {
    Index arrays, total = 0;
    Scratch memory;
    Index* first() const { return (Index*)memory.data(); }  // first block of each array

 public:
    static constexpr Index GRAIN = 16384;

    explicit Pieces(const Arrays& of) : arrays(of.count()), memory(2 * (arrays + 1)) {
        if (!memory) return;
        for (Index i = 0; i < arrays; i++) {
            first()[i] = total;
            total += (of[i].size() + GRAIN - 1) / GRAIN;
        }
        first()[arrays] = total;
    }
    explicit operator bool() const { return (bool)memory; }
    Index count() const { return total; }

    // body(block, array, begin, end) for each block: the elements [begin, end) of an array.
    template <class Body>
    void run(const Arrays& of, const Body& body) const {
        run_parts(total, [&](Index piece) {
            Index low = 0, high = arrays;  // the array is in [low, high)
            while (high - low > 1) {
                Index middle = (low + high) / 2;
                (first()[middle] <= piece ? low : high) = middle;
            }
            Index begin = (piece - first()[low]) * GRAIN, size = of[low].size();
            body(piece, low, begin, size - begin < GRAIN ? size : begin + GRAIN);
        });
    }
};
