// Allocation, copies and fills, as the host calls them.
#pragma once
#include "submission.h"

namespace tt_program {

static const char* const kind_names[] = {"cudaMalloc", "cudaMallocManaged", "pinned host memory"};

static std::string hexadecimal(const void* p) {
    char text[32];
    snprintf(text, sizeof text, "%p", p);
    return text;
}

// Whether memory of the device is at an address.
static bool of_device(const void* p) {
    const auto at = block_at(p);
    return at != blocks.end() ? at->second.kind < MemoryKind::pinned
                              : program().holds(p) && sticky_error == cudaSuccess;
}

// Why these bytes may not be copied or filled; "" if they may. `device`: they must be memory of the device.
static std::string refusal(const void* p, size_t bytes, bool device) {
    const auto at = block_at(p);
    if (at == blocks.end()) {
        if (!device || program().holds(p)) return "";
        const auto near = block_near(p);
        return hexadecimal(p) + " is not in memory of the device" +
               (near == blocks.end()
                    ? ""
                    : ", but next to a buffer of " + std::to_string(near->second.bytes) + " bytes");
    }
    const size_t offset = (size_t)((const char*)p - at->first), room = at->second.bytes - offset;
    if (bytes > room)
        return std::to_string(bytes) + " bytes, where " + std::to_string(room) +
               " are left in a buffer of " + std::to_string(at->second.bytes) + " bytes";
    if (!device && at->second.kind == MemoryKind::device)
        return hexadecimal(p) + " is memory of the device, not of the host";
    return "";
}

static void note_written([[maybe_unused]] void* to, [[maybe_unused]] const void* from,
                         [[maybe_unused]] size_t bytes) {
    TT_CHECK({
        const auto at = from ? block_at(from) : blocks.end();
        if (at != blocks.end() && at->second.kind == MemoryKind::device)
            tt_checked_move((char*)to, (const char*)from, bytes);
        else tt_checked_fill((char*)to, bytes);
    })
}

struct Rows {  // a copy of several rows, or of one
    void* to;
    size_t to_pitch;
    const void* from;
    size_t from_pitch, width, height;
};

static cudaError_t copy(const char* name, const Rows& r, cudaMemcpyKind kind, cudaStream_t stream,
                        TT_SITE) {
    if (tt_in_kernel()) return defer([=] { return copy(name, r, kind, nullptr, file, line); });
    std::lock_guard<std::recursive_mutex> guard(lock);
    if (sticky_error) return sticky_error;
    if (const cudaError_t error = refuse_default_stream(stream, name, file, line)) return error;
    if (r.width == 0 || r.height == 0) return cudaSuccess;
    if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault)
        return failed(cudaErrorInvalidMemcpyDirection, name, file, line, "there is no such kind of copy");
    if (r.width > r.to_pitch || r.width > r.from_pitch)
        return failed(cudaErrorInvalidPitchValue, name, file, line, "a row is wider than its pitch");
    if (kind == cudaMemcpyDefault) {
        const int to = of_device(r.to), from = of_device(r.from);
        kind = (cudaMemcpyKind)(from * 2 + to);
    }
    const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    const size_t to_bytes = r.to_pitch * (r.height - 1) + r.width;
    const size_t from_bytes = r.from_pitch * (r.height - 1) + r.width;
    std::string why = refusal(r.to, to_bytes, to_device);
    if (!why.empty()) return failed(cudaErrorInvalidValue, name, file, line, "the target: " + why);
    why = refusal(r.from, from_bytes, from_device);
    if (!why.empty()) return failed(cudaErrorInvalidValue, name, file, line, "the source: " + why);
    return submit(stream, [=] {
        Opened opened;
        for (size_t i = 0; i < r.height; i++) {
            char* to = (char*)r.to + i * r.to_pitch;
            const char* from = (const char*)r.from + i * r.from_pitch;
            memmove(to, from, r.width);
            note_written(to, from, r.width);
        }
        return cudaSuccess;
    });
}

static cudaError_t fill(const char* name, void* to, int value, size_t bytes, cudaStream_t stream, TT_SITE) {
    if (tt_in_kernel()) return defer([=] { return fill(name, to, value, bytes, nullptr, file, line); });
    std::lock_guard<std::recursive_mutex> guard(lock);
    if (sticky_error) return sticky_error;
    if (const cudaError_t error = refuse_default_stream(stream, name, file, line)) return error;
    if (bytes == 0) return cudaSuccess;
    const std::string why = refusal(to, bytes, true);
    if (!why.empty()) return failed(cudaErrorInvalidValue, name, file, line, why);
    return submit(stream, [=] {
        Opened opened;
        memset(to, value, bytes);
        note_written(to, nullptr, bytes);
        return cudaSuccess;
    });
}

static cudaError_t make(const char* name, void** p, size_t bytes, MemoryKind kind, TT_SITE) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    if (sticky_error) return sticky_error;
    if (!p) return failed(cudaErrorInvalidValue, name, file, line, "the first argument is a null pointer");
    *p = nullptr;
    if (bytes == 0) return cudaSuccess;
    *p = allocate(bytes, kind, file, line);
    if (*p) return cudaSuccess;
    return failed(cudaErrorMemoryAllocation, name, file, line,
                  std::to_string(bytes) + " bytes; " + std::to_string(used_bytes) + " of " +
                      std::to_string(total_bytes()) + " are in use");
}

static cudaError_t drop(const char* name, void* p, bool of_host, TT_SITE) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    if (sticky_error) return sticky_error;
    if (!p) return cudaSuccess;
    const auto at = blocks.find((const char*)p);
    if (at == blocks.end() || (at->second.kind == MemoryKind::pinned) != of_host)
        return failed(
            cudaErrorInvalidValue, name, file, line,
            hexadecimal(p) + (at == blocks.end()
                                  ? " is not the start of a buffer, or was freed already"
                                  : std::string(" is a buffer of ") + kind_names[(int)at->second.kind]));
    release(at);
    return cudaSuccess;
}

}  // namespace tt_program

using tt_program::MemoryKind;

// make and drop for calls that may wait for the device.
static cudaError_t make_now(const char* name, void** p, size_t bytes, MemoryKind kind, TT_SITE) {
    const cudaError_t error = tt_program::refuse_unsafe(name, file, line);
    return error ? error : tt_program::make(name, p, bytes, kind, file, line);
}
static cudaError_t drop_now(const char* name, void* p, bool of_host, TT_SITE) {
    const cudaError_t error = tt_program::refuse_unsafe(name, file, line);
    return error ? error : tt_program::drop(name, p, of_host, file, line);
}

TT_HOST cudaError_t cudaMalloc(void** p, size_t bytes, TT_SITE) {
    return make_now("cudaMalloc", p, bytes, MemoryKind::device, file, line);
}
TT_HOST cudaError_t cudaMallocManaged(void** p, size_t bytes, unsigned, TT_SITE) {
    return make_now("cudaMallocManaged", p, bytes, MemoryKind::managed, file, line);
}
TT_HOST cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned, TT_SITE) {
    return make_now("cudaHostAlloc", p, bytes, MemoryKind::pinned, file, line);
}
TT_HOST cudaError_t cudaMallocPitch(void** p, size_t* pitch, size_t width, size_t height, TT_SITE) {
    *pitch = (width + 511) / 512 * 512;
    return make_now("cudaMallocPitch", p, *pitch * height, MemoryKind::device, file, line);
}
TT_HOST cudaError_t cudaFree(void* p, TT_SITE) {
    return drop_now("cudaFree", p, false, file, line);
}
TT_HOST cudaError_t cudaFreeHost(void* p, TT_SITE) {
    return drop_now("cudaFreeHost", p, true, file, line);
}

TT_HOST cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned, TT_SITE) {
    const auto at = tt_program::block_at(host);
    if (at == tt_program::blocks.end() || at->second.kind == MemoryKind::device)
        return tt_program::failed(cudaErrorInvalidValue, "cudaHostGetDevicePointer", file, line,
                                  "no memory of cudaHostAlloc");
    *device = host;
    return cudaSuccess;
}
TT_HOST cudaError_t cudaMemGetInfo(size_t* available, size_t* total, TT_SITE) {
    *total = tt_program::total_bytes();
    *available = *total - tt_program::used_bytes;
    return cudaSuccess;
}

TT_HOST cudaError_t cudaMemcpy(void* to, const void* from, size_t n, cudaMemcpyKind kind, TT_SITE) {
    return tt_program::copy("cudaMemcpy", {to, n, from, n, n, 1}, kind, nullptr, file, line);
}
TT_HOST cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t n, cudaMemcpyKind kind,
                                    cudaStream_t stream, TT_SITE) {
    return tt_program::copy("cudaMemcpyAsync", {to, n, from, n, n, 1}, kind, stream, file, line);
}
TT_HOST cudaError_t cudaMemcpy2D(void* to, size_t to_pitch, const void* from, size_t from_pitch,
                                 size_t width, size_t height, cudaMemcpyKind kind, TT_SITE) {
    return tt_program::copy("cudaMemcpy2D", {to, to_pitch, from, from_pitch, width, height}, kind, nullptr,
                            file, line);
}
TT_HOST cudaError_t tt_copy_symbol(void* symbol, size_t size, void* host, size_t n, size_t offset,
                                   bool write, cudaMemcpyKind kind, TT_SITE) {
    const char* name = write ? "cudaMemcpyToSymbol" : "cudaMemcpyFromSymbol";
    if (offset + n > size)
        return tt_program::failed(cudaErrorInvalidValue, name, file, line,
                                  "the variable has " + std::to_string(size) + " bytes");
    char* at = (char*)symbol + offset;
    if (write) return tt_program::copy(name, {at, n, host, n, n, 1}, kind, nullptr, file, line);
    return tt_program::copy(name, {host, n, at, n, n, 1}, kind, nullptr, file, line);
}
TT_HOST cudaError_t cudaMemset(void* to, int value, size_t n, TT_SITE) {
    return tt_program::fill("cudaMemset", to, value, n, nullptr, file, line);
}
TT_HOST cudaError_t cudaMemsetAsync(void* to, int value, size_t n, cudaStream_t stream, TT_SITE) {
    return tt_program::fill("cudaMemsetAsync", to, value, n, stream, file, line);
}

// For algorithms that run on the host: memory of the device is accessible in between.
TT_HOST void tt_open_memory(bool open) {
    if (open) tt_program::lock.lock();
    tt_program::set_open(open);
    TT_CHECK(tt_emu::by_algorithm = open;)
    if (!open) tt_program::lock.unlock();
}
