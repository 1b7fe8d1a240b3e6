// Kernels as steps of a captured graph: calls with arguments in memory, for replay without Python. The loader
// adds STEP(name) for each kernel of a file.
#pragma once
#include "array.h"
#include <string.h>

#define STEP(name) \
    HOST_KERNEL bool tt_step_##name(const steps::Slot* slots) { return steps::call(name, slots); }

namespace steps {

struct Slot {  // an argument
    char bytes[8];
};

template <class T>
T take(const Slot& slot) {
    T value;
    memcpy((void*)&value, slot.bytes, sizeof value);
    return value;
}

template <class... Types>
struct Call {
    bool filled;
    Call(bool (*kernel)(Types...), Types... arguments) : filled(kernel(arguments...)) {}
};

template <class... Types>
bool call(bool (*kernel)(Types...), const Slot* slot) {
    return Call<Types...>{kernel, take<Types>(*slot++)...}.filled;  // braces evaluate from left to right
}

}  // namespace steps
