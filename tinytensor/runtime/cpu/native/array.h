// NumPy arrays in C++ kernels. Python passes the array objects themselves: reading address and shape in
// Python takes longer than a small kernel. The loader verifies the memory layout of the objects.
//
// A kernel is declared as HOST_KERNEL bool name(Array y, Array x, int n, double eps): outputs first;
// parameters of the types Array, bool, int, Index, double. It returns true if it computed the outputs, and
// false to fall back to NumPy: then it must not have written anything. It runs without the GIL, so it must
// not access the objects in any other way. Only C headers are available, since the C++ library may be
// missing.
#pragma once
#include "threads.h"

#define HOST_KERNEL extern "C" __attribute__((visibility("default")))

extern "C" {
// Python's None, and the types of arrays and lists, set by the loader.
__attribute__((visibility("default"), used)) const void *tt_none = nullptr, *tt_array = nullptr,
                                                        *tt_list = nullptr;
}

// Type numbers of NumPy.
enum : int {
    BOOL = 0,
    INT32 = 5,
    LONG = 7,
    LONGLONG = 9,
    FLOAT32 = 11,
    FLOAT64 = 12,
};

template <class T>
constexpr bool is_type(int number) = delete;
template <>
constexpr bool is_type<float>(int number) {
    return number == FLOAT32;
}
template <>
constexpr bool is_type<double>(int number) {
    return number == FLOAT64;
}
template <>
constexpr bool is_type<bool>(int number) {
    return number == BOOL;
}
template <>
constexpr bool is_type<int>(int number) {
    return number == INT32 || (number == LONG && sizeof(long) == sizeof(int));
}
template <>
constexpr bool is_type<Index>(int number) {
    return number == LONGLONG || (number == LONG && sizeof(long) == sizeof(Index));
}

// The type of a Python object: the last field of its header.
inline const void* type_of(const char* head) {
    return *(const void* const*)(head + TT_OBJECT_HEAD - sizeof(void*));
}

class Array {
    struct Type {  // PyArray_Descr; TT_OBJECT_HEAD is the size of a bare Python object
        char head[TT_OBJECT_HEAD];
        void* scalar;
        char kind, letter, byteorder, flags;
        int number;
    };
    struct Object {  // PyArrayObject
        char head[TT_OBJECT_HEAD];
        char* data;
        int ndim;
        const Index *shape, *strides;  // strides in bytes
        void* base;
        const Type* type;
        int flags;
    };
    const Object* object;

    bool is_array() const { return type_of(object->head) == tt_array; }
    bool has(int flags) const { return (object->flags & flags) == flags; }

 public:
    explicit operator bool() const { return object != tt_none; }  // false for None
    template <class T>
    T* data() const {
        return (T*)object->data;
    }
    int ndim() const { return object->ndim; }
    Index shape(int axis) const { return object->shape[axis < 0 ? axis + object->ndim : axis]; }
    // In bytes.
    Index stride(int axis) const { return object->strides[axis < 0 ? axis + object->ndim : axis]; }
    int type() const { return object->type->number; }
    // Bytes of an element, if it is a number or boolean of at most 8 bytes; else 0.
    int itemsize() const {
        constexpr int sizes[] = {1, 1, 1, 2, 2, 4, 4, sizeof(long), sizeof(long), 8, 8, 4, 8, 0, 8};
        return type() == 23 ? 2 : type() < 15 ? sizes[type()] : 0;  // 23: FLOAT16
    }
    // Whether this is an aligned array in native byte order.
    bool plain() const {
        return is_array() && object->type->byteorder != '>' && object->type->byteorder != '<' && has(0x100);
    }
    // Whether it is also of element type T.
    template <class T>
    bool is() const {
        return plain() && is_type<T>(type());
    }
    Index size() const {
        Index n = 1;
        for (int axis = 0; axis < object->ndim; axis++)
            n *= object->shape[axis];
        return n;
    }
    bool contiguous() const { return has(0x1); }  // in C order
    bool writeable() const { return has(0x400); }
    // The address, or nullptr if the argument is None.
    template <class T>
    T* data_or_null() const {
        return *this ? (T*)object->data : nullptr;
    }
};

// A list of arrays.
class Arrays {
    struct Object {  // PyListObject
        char head[TT_OBJECT_HEAD];
        Index size;
        const Array* items;
    };
    const Object* object;

 public:
    bool is_list() const { return type_of(object->head) == tt_list; }
    Index count() const { return object->size; }
    const Array& operator[](Index i) const { return object->items[i]; }
};

// Whether each array that is not None is C-contiguous with elements of type T.
template <class T, class... Arrays>
bool dense(const Arrays&... arrays) {
    return ((!arrays || (arrays.template is<T>() && arrays.contiguous())) && ...);
}

template <class T>
bool all_dense(const Arrays& arrays) {
    if (!arrays.is_list()) return false;
    for (Index i = 0; i < arrays.count(); i++)
        if (!dense<T>(arrays[i])) return false;
    return true;
}

inline bool all_writeable(const Arrays& arrays) {
    for (Index i = 0; i < arrays.count(); i++)
        if (!arrays[i].writeable()) return false;
    return true;
}

// Whether the fields of an array match those reported by Python, alone and as the last one of a list:
// address, ndim, last length, first stride, type number, C-contiguous, float32.
HOST_KERNEL bool tt_check_array(Arrays list, Array a, Index address, int ndim, Index last, Index stride,
                                int type, bool dense, bool single, bool writeable) {
    return (Index)a.data<char>() == address && a.ndim() == ndim && a.shape(-1) == last &&
           a.stride(0) == stride && a.type() == type && a.contiguous() == dense && a.is<float>() == single &&
           a.writeable() == writeable && list.is_list() && list.count() == 2 &&
           list[1].data<char>() == a.data<char>();
}
