// Wraps a kernel into a function that runs the threads of a block; its address and parameter sizes.
#pragma once

namespace tt_emu {

template <class T>
constexpr bool is_struct = __is_class(T) && !__is_same(T, __half) && !__is_same(T, __nv_bfloat16);

// Runs threads of a block one after another until one of them has waited; see Run of core.h. The arguments
// are copies whose address is not taken, so stores of the kernel cannot alias them.
template <class F, class... A>
TT_NOSAN static unsigned run_threads(unsigned first, unsigned last, F function, A... arguments) {
    const unsigned width = blockDim.x, height = blockDim.y;
    unsigned x = first % width, y = first / width % height, z = first / width / height;
    for (unsigned t = first; t < last; x = 0) {
        const unsigned end = last - t < width - x ? x + (last - t) : width;
        for (; x < end; x++, t++) {
            tt_threadIdx = {x, y, z};
            TT_CHECK(*current = t;)
            function(arguments...);
            if (waited) return t;
        }
        if (++y == height) y = 0, z++;
    }
    return last;
}

// Makes the variables of the unit those of a block.
TT_NOSAN static void enter(const Job& job) {
    worker = job.worker;
    TT_CHECK(current = job.current;)
    alone = job.alone;
    dynamic_shared = job.dynamic_shared;
    waited = false;
    gridDim = dim3(job.grid[0], job.grid[1], job.grid[2]);
    blockDim = dim3(job.block[0], job.block[1], job.block[2]);
    tt_blockIdx = {job.index[0], job.index[1], job.index[2]};
}

// See Exchange of core.h.
TT_NOSAN static inline void exchange(unsigned thread[3], bool set) {
    if (set) {
        tt_threadIdx = {thread[0], thread[1], thread[2]};
        waited = true;
        return;
    }
    thread[0] = threadIdx.x, thread[1] = threadIdx.y, thread[2] = threadIdx.z;
}

template <unsigned... I>
struct Indices {};
template <unsigned N, unsigned... I>
struct Count : Count<N - 1, N - 1, I...> {};
template <unsigned... I>
struct Count<0, I...> {
    using type = Indices<I...>;
};

template <auto F>
struct Instance;

template <class... A, void (*F)(A...)>
struct Instance<F> {
    static constexpr unsigned count = sizeof...(A);
    static constexpr Parameter parameters[count + 1] = {Parameter{sizeof(A), is_struct<A>}...,
                                                        Parameter{0, false}};

    static constexpr unsigned place(unsigned wanted) {
        unsigned offset = 0;
        for (unsigned i = 0;; offset += parameters[i++].size) {
            unsigned step = parameters[i].size;  // see Packer of signature.py
            if (parameters[i].is_struct) step = step % 128 ? 16 : 128;
            if (i < count) offset = (offset + step - 1) / step * step;
            if (i == wanted) return offset;
        }
    }

    template <class T>
    TT_NOSAN static T load(const unsigned char* from) {
        T value;
        __builtin_memcpy((void*)&value, from, sizeof(T));
        return value;
    }

    template <unsigned... I>
    TT_NOSAN static unsigned call(const unsigned char* from, unsigned first, unsigned last, Indices<I...>) {
        return run_threads(first, last, Call(), load<A>(from + place(I))...);
    }

    struct Call {
        TT_NOSAN __attribute__((always_inline)) void operator()(A... arguments) const { F(arguments...); }
    };

    TT_NOSAN static unsigned run(const Job& job, unsigned first, unsigned last) {
        enter(job);
        return call(job.arguments, first, last, typename Count<count>::type());
    }
};

}  // namespace tt_emu

#define TT_EXPORT(SYMBOL, BOUND, ...)                                          \
    TT_API const tt_emu::Kernel SYMBOL;                                        \
    const tt_emu::Kernel SYMBOL = {tt_emu::Instance<__VA_ARGS__>::run,         \
                                   tt_emu::exchange,                           \
                                   tt_emu::Instance<__VA_ARGS__>::parameters,  \
                                   tt_emu::Instance<__VA_ARGS__>::count, BOUND};
