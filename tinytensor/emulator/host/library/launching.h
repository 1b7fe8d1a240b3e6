// Launches of kernels.
#pragma once
#include "submission.h"

namespace tt_program {

struct Known {
    const char* name;
    Bind bind;
};
static auto& known_kernels = *new std::map<const void*, Known>;  // by address

static size_t allowed_shared = 48 << 10;  // of dynamic shared memory; cudaFuncSetAttribute raises it

struct Header {
    tt_emu::Packed packed;
    const void* call;
};

#ifdef TT_CHECKED
static std::string text_of(size_t (*print)(char*, size_t)) {
    std::string text(1 << 14, 0);
    size_t used;
    while ((used = print(&text[0], text.size())) >= text.size()) text.resize(2 * used);
    text.resize(used);
    return text;
}
#endif

// The pointers among the arguments: position, start of the buffer, offset in it.
static std::string buffers_of(const std::vector<Argument>& pointers) {
    std::string text;
    for (const Argument& a : pointers) {
        const auto at = block_near(a.value);
        if (at == blocks.end()) continue;
        text += std::to_string(a.position) + ":" + std::to_string((size_t)at->first) + ":" +
                std::to_string((const char*)a.value - at->first) + " ";
    }
    return text;
}

static cudaError_t error_of(int result, const std::string& said) {
    if (result == tt_emu::REFUSED) return cudaErrorInvalidConfiguration;
    if (said.find("assertion `") != said.npos) return cudaErrorAssert;
    if (said.find("endless wait") != said.npos) return cudaErrorLaunchTimeout;
    if (said.find("misaligned") != said.npos) return cudaErrorMisalignedAddress;
    if (said.find("stack overflow") != said.npos) return cudaErrorHardwareStackError;
    const bool address =
        said.find("illegal memory access") != said.npos || said.find("out of bounds") != said.npos;
    return address ? cudaErrorIllegalAddress : cudaErrorLaunchFailure;
}

static void report_launch(const Configuration& c, int result, const std::string& said, const void* address,
                          const std::vector<Argument>& pointers) {
    Record record("launch");
    record << c.where.name << c.where.file << c.where.line;
    record << c.grid.x << c.grid.y << c.grid.z << c.block.x << c.block.y << c.block.z << c.shared;
    record << result << said << buffers_of(pointers);
    const auto block = address ? block_near(address) : blocks.end();
    if (block == blocks.end()) record << "" << "";
    else record << ((const char*)address - block->first) << block->second.bytes;
#ifdef TT_CHECKED
    uint64_t totals[5];
    tt_checked_totals(totals);
    const size_t code = tt_checked_faulty_code();
    record << code;
    for (uint64_t total : totals) record << total;
    record << text_of(tt_checked_findings) << text_of(tt_checked_lines) << text_of(tt_checked_work);
#else
    record << tt_emu::faulty_code;
#endif
}

// Pointers to ordinary memory of the host, which a GPU cannot read.
static std::string host_pointer(const std::vector<Argument>& pointers) {
    for (const Argument& a : pointers) {
        if (!a.value || block_near(a.value) != blocks.end() || block_at(a.value) != blocks.end()) continue;
        if (program().holds(a.value)) continue;
        void* page = (void*)((size_t)a.value & ~(PAGE - 1));
        unsigned char present;
        if (mincore(page, 1, &present) == 0)
            return "illegal memory access: argument " + std::to_string(a.position + 1) +
                   " is a pointer to memory of the host; copy the data with cudaMemcpy, or use "
                   "cudaMallocManaged";
    }
    return "";
}

static cudaError_t run_children() {
    static bool running;
    if (running) return cudaSuccess;  // by the loop that runs the calling one
    running = true;
    cudaError_t error = cudaSuccess;
    while (!children.empty() && !error) {
        const Work child = std::move(children.front());
        children.pop_front();
        error = child();
    }
    children.clear();
    running = false;
    return error;
}

static cudaError_t run(const Configuration& c, const tt_emu::Kernel& kernel, tt_emu::Loaded** loaded,
                       const void* call, const std::vector<Argument>& pointers) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    if (sticky_error) return sticky_error;
    if (!*loaded) *loaded = tt_emu_adopt(&kernel);
    Opened opened;
    Header header = {
        {{c.grid.x, c.grid.y, c.grid.z},
         {c.block.x, c.block.y, c.block.z},
         (unsigned)c.shared,
         !c.cooperative},
        call};
    std::string said = host_pointer(pointers);
    int result = said.empty() ? tt_emu::DONE : tt_emu::FAULT;
    const void* address = nullptr;
    TT_CHECK(tt_checked_begin(*loaded, header.packed.shared);)
    if (said.empty() && c.shared > allowed_shared && c.shared <= tt_emu::MOST_SHARED) {
        result = tt_emu::REFUSED;
        said = std::to_string(c.shared) +
               " bytes of dynamic shared memory: more than 48 KiB take a call of "
               "cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes)";
    } else if (said.empty()) {
        result = tt_emu_launch(*loaded, &header, 0);
        if (result != tt_emu::DONE) said = tt_emu_report(), address = tt_emu_report_address();
    }
#ifdef TT_CHECKED
    report_launch(c, result, said, address, pointers);
#else
    if (result != tt_emu::DONE) report_launch(c, result, said, address, pointers);
#endif
    if (result == tt_emu::DONE) return run_children();
    const cudaError_t error = error_of(result, said);
    if (result != tt_emu::REFUSED) sticky_error = error;
    return error;
}

}  // namespace tt_program

TT_HOST void tt_lock_launches(bool locks) { locks ? tt_program::lock.lock() : tt_program::lock.unlock(); }

TT_HOST cudaError_t tt_launch(const tt_program::Configuration& c, const tt_emu::Kernel& kernel,
                              tt_emu::Loaded** loaded, const void* call, tt_program::Keep keep,
                              const tt_program::Argument* pointers, int count) {
    const std::vector<tt_program::Argument> given(pointers, pointers + count);
    if (tt_in_kernel()) {
        tt_emu::here->guarded = false;  // copies of the arguments are no accesses of the kernel
        const std::shared_ptr<void> kept = keep(call);
        tt_emu::here->guarded = true;
        return tt_program::defer([=, &kernel] { return run(c, kernel, loaded, kept.get(), given); });
    }
    if (!tt_program::is_stream(c.stream))
        return tt_program::failed(cudaErrorInvalidResourceHandle, "a launch", c.where.file, c.where.line,
                                  "its stream was destroyed, or never created");
    if (const cudaError_t error =
            tt_program::refuse_default_stream(c.stream, "a launch", c.where.file, c.where.line))
        return error;
    if (tt_program::captures(c.stream)) {
        const std::shared_ptr<void> kept = keep(call);
        return tt_program::submit(
            c.stream, [=, &kernel] { return run(c, kernel, loaded, kept.get(), given); });
    }
    return tt_program::submit(
        c.stream, [&] { return run(c, kernel, loaded, call, given); });
}

TT_HOST void tt_note_kernel(const void* kernel, const char* name, tt_program::Bind bind) {
    std::lock_guard<std::recursive_mutex> guard(tt_program::lock);
    tt_program::known_kernels[kernel] = {name, bind};
}

TT_HOST cudaError_t tt_launch_by_address(const void* kernel, const tt_program::Configuration& c,
                                         void** arguments) {
    const auto known = tt_program::known_kernels.find(kernel);
    if (known == tt_program::known_kernels.end())
        return tt_program::failed(cudaErrorInvalidDeviceFunction, "cudaLaunchKernel", c.where.file,
                                  c.where.line, "the address of a kernel must be written as (void*)kernel");
    tt_program::Configuration named = c;
    named.where.name = known->second.name;
    return known->second.bind(kernel, named, arguments)();
}

TT_HOST void tt_failed_assert(const char* condition, const char* file, int line, const char* function) {
    fflush(stdout);
    fprintf(stderr, "%s:%d: %s: Assertion `%s' failed.\n", file, line, function, condition);
    abort();
}

// In place of that of the C library: in a kernel it ends the launch, not the program.
TT_HOST void abort() noexcept {
    if (tt_in_kernel()) {
        tt_emu::Worker& w = *tt_emu::here;
        unsigned thread[3];
        w.exchange(thread, false);
        tt_emu::faulty_code = (const char*)__builtin_return_address(0) - 1;
        tt_emu::fail(w, "abort() in thread (%u, %u, %u)", thread[0], thread[1], thread[2]);
    }
    const auto of_library = (void (*)())dlsym(RTLD_NEXT, "abort");
    of_library();
    __builtin_unreachable();
}
