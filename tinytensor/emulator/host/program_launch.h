// Launches of a whole program. The translation of `k<<<grid, block>>>(x, n)` is
//     TT_LAUNCH((k), grid, block).with(x, n).run([=](auto... a) { k(a...); })
// so that the compiler resolves overloads and template arguments of k by the types of the arguments.
// The macros are in translation.h.
#pragma once
#include <mutex>
#include <tuple>
#include <utility>

namespace tt_emu {
struct Loaded;
}
extern "C" __attribute__((visibility("default"))) void tt_lock_launches(bool);

namespace tt_program {

static struct LaunchLock {
    void lock() { tt_lock_launches(true); }
    void unlock() { tt_lock_launches(false); }
} launch_lock;

}  // namespace tt_program

extern "C" __attribute__((visibility("default"))) cudaError_t
tt_launch(const tt_program::Configuration&, const tt_emu::Kernel&, tt_emu::Loaded**, const void* call,
          tt_program::Keep keep, const tt_program::Argument*, int count);
// A kernel by its address, and what launches it by that address.
extern "C" __attribute__((visibility("default"))) void tt_note_kernel(const void* kernel, const char* name,
                                                                      tt_program::Bind);
extern "C" __attribute__((visibility("default"))) cudaError_t
tt_launch_by_address(const void* kernel, const tt_program::Configuration&, void** arguments);

namespace tt_program {

// Function object that the threads call, with copies of the arguments.
template <class F, class... A>
struct Call {
    F function;
    std::tuple<A...> arguments;

    template <size_t... I>
    TT_NOSAN static unsigned run(const Call& call, unsigned first, unsigned last,
                                 std::index_sequence<I...>) {
        return tt_emu::run_threads(first, last, call.function, A(std::get<I>(call.arguments))...);
    }
    TT_NOSAN static unsigned run(const tt_emu::Job& job, unsigned first, unsigned last) {
        tt_emu::enter(job);
        return run(**(const Call* const*)job.arguments, first, last, std::index_sequence_for<A...>());
    }
    static std::shared_ptr<void> keep(const void* call) {
        return std::make_shared<Call>(*(const Call*)call);
    }

    static constexpr tt_emu::Parameter parameter = {sizeof(void*), false};
    static constexpr tt_emu::Kernel kernel = {run, tt_emu::exchange, &parameter, 1, 0};
};

template <class T>
void note_pointer(Argument*, int&, int, const T&) {}
template <class T>
void note_pointer(Argument* to, int& count, int position, T* value) {
    if (count < 32) to[count++] = {position, (const void*)value};
}

template <class... A>
struct Ready {
    Configuration configuration;
    std::tuple<A...> arguments;

    template <class F>
    cudaError_t run(F function) const {
        static tt_emu::Loaded* loaded;
        Argument pointers[32];
        int count = 0, position = 0;
        std::apply([&](const A&... a) { (note_pointer(pointers, count, position++, a), ...); }, arguments);
        using This = Call<F, A...>;
#ifdef TT_CHECKED  // where the checked core ignores reads: they are not those of a kernel
        alignas(128) TT_PRIVATE static unsigned char room[sizeof(This)];
        if (!tt_in_kernel()) {
            const std::lock_guard<LaunchLock> alone(launch_lock);  // other host threads launch it, too
            This& call = *new (room) This{function, arguments};
            return tt_launch(configuration, This::kernel, &loaded, &call, This::keep, pointers, count);
        }
#endif
        const This call = {function, arguments};
        return tt_launch(configuration, This::kernel, &loaded, &call, This::keep, pointers, count);
    }
};

// A call with arguments that are written as 0: numbers, as their type is, if the kernel takes them.
template <class F>
struct WithZeros {
    F function;
    template <class T>
    static T number(T x) {
        return x;
    }
    static int number(tt_zero) { return 0; }
    template <class... A>
    void operator()(A... arguments) const {
        if constexpr (std::is_invocable_v<F, decltype(number(arguments))...>) function(number(arguments)...);
        else function(arguments...);
    }
};
template <class F>
WithZeros(F) -> WithZeros<F>;

struct Launch {
    Configuration configuration;

    Launch(const Where& where, dim3 grid, dim3 block, size_t shared = 0, cudaStream_t stream = nullptr)
        : configuration{where, grid, block, shared, stream, false} {}

    template <class... A>
    Ready<A...> with(A... arguments) const {
        return {configuration, std::tuple<A...>(arguments...)};
    }

    template <class... P>
    struct Of {  // the same for parameters of known types, so that a list in braces can be an argument
        Configuration configuration;
        Ready<std::remove_cv_t<P>...> operator()(P... arguments) const {
            return {configuration, std::tuple<std::remove_cv_t<P>...>(arguments...)};
        }
    };
    template <class... P>
    Of<P...> of(void (*)(P...)) const {
        return {configuration};
    }
};

// The arguments of cudaLaunchKernel: addresses of the values.
template <class... P, size_t... I>
static inline auto ready(const Configuration& configuration, void (*)(P...), void** arguments,
                         std::index_sequence<I...>) {
    (void)arguments;
    return Ready<std::remove_cv_t<P>...>{configuration, {*(std::remove_cv_t<P>*)arguments[I]...}};
}
template <class... P>
static std::function<cudaError_t()> bind(const void* kernel, const Configuration& configuration,
                                         void** arguments) {
    const auto f = (void (*)(P...))kernel;
    const auto launch = ready(configuration, f, arguments, std::index_sequence_for<P...>());
    return [=] { return launch.run([=](auto... a) { f(a...); }); };
}
template <class... P>
static inline void* address_of(void (*kernel)(P...), const char* name) {
    tt_note_kernel((const void*)kernel, name + (name[0] == '&'), bind<P...>);
    return (void*)kernel;
}
template <class... P>
static inline cudaError_t launch_addresses(const Configuration& configuration, void (*f)(P...),
                                           void** arguments) {
    return ready(configuration, f, arguments, std::index_sequence_for<P...>()).run([=](auto... a) {
        f(a...);
    });
}
static inline cudaError_t launch_addresses(const Configuration& configuration, const void* f,
                                           void** arguments) {
    return tt_launch_by_address(f, configuration, arguments);
}

}  // namespace tt_program

template <class F>
static inline cudaError_t cudaLaunchKernel(F* f, dim3 grid, dim3 block, void** arguments,
                                           size_t shared = 0, cudaStream_t stream = nullptr, TT_SITE) {
    return tt_program::launch_addresses({{"kernel", file, line}, grid, block, shared, stream, false}, f,
                                        arguments);
}
template <class F>
static inline cudaError_t cudaLaunchCooperativeKernel(F* f, dim3 grid, dim3 block, void** arguments,
                                                      size_t shared = 0, cudaStream_t stream = nullptr,
                                                      TT_SITE) {
    return tt_program::launch_addresses({{"kernel", file, line}, grid, block, shared, stream, true}, f,
                                        arguments);
}
