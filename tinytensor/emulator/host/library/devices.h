// The pretended device, errors, attributes of functions.
#pragma once
#include "launching.h"

namespace tt_program {

constexpr int MULTIPROCESSORS = 8, THREADS = 2048, BLOCKS = 32;
constexpr size_t SHARED = 48 << 10, SHARED_OF_MULTIPROCESSOR = 228 << 10;

static cudaDeviceProp properties() {
    cudaDeviceProp p = {};
    snprintf(p.name, sizeof p.name, "tinytensor emulated GPU (CPU)");
    p.totalGlobalMem = total_bytes();
    p.sharedMemPerBlock = SHARED;
    p.sharedMemPerBlockOptin = tt_emu::MOST_SHARED;
    p.sharedMemPerMultiprocessor = SHARED_OF_MULTIPROCESSOR;
    p.reservedSharedMemPerBlock = 1024;
    p.regsPerBlock = p.regsPerMultiprocessor = 65536;
    p.warpSize = 32;
    p.memPitch = 0x7fffffff;
    p.maxThreadsPerBlock = 1024;
    p.maxThreadsDim[0] = p.maxThreadsDim[1] = 1024, p.maxThreadsDim[2] = 64;
    p.maxGridSize[0] = 0x7fffffff, p.maxGridSize[1] = p.maxGridSize[2] = 65535;
    p.clockRate = 1000000;
    p.totalConstMem = 65536;
    p.major = 8, p.minor = 0;
    p.textureAlignment = p.surfaceAlignment = 512, p.texturePitchAlignment = 32;
    p.multiProcessorCount = MULTIPROCESSORS;
    p.canMapHostMemory = p.concurrentKernels = p.deviceOverlap = p.asyncEngineCount = p.unifiedAddressing =
        1;
    p.memoryClockRate = 1000000, p.memoryBusWidth = 256, p.l2CacheSize = 4 << 20;
    p.persistingL2CacheMaxSize = p.accessPolicyMaxWindowSize = 1 << 20;
    p.maxThreadsPerMultiProcessor = THREADS, p.maxBlocksPerMultiProcessor = BLOCKS;
    p.streamPrioritiesSupported = p.globalL1CacheSupported = p.localL1CacheSupported = 1;
    p.managedMemory = p.concurrentManagedAccess = p.computePreemptionSupported = 1;
    p.cooperativeLaunch = 1;
    p.singleToDoublePrecisionPerfRatio = 2;
    return p;
}

static cudaError_t check_device(const char* name, int device, TT_SITE) {
    if (device == 0) return cudaSuccess;
    return failed(cudaErrorInvalidDevice, name, file, line, "there is one device, 0");
}

}  // namespace tt_program

TT_HOST cudaError_t cudaGetLastError() {
    const cudaError_t error = sticky_error ? sticky_error : tt_program::last_error;
    tt_program::last_error = cudaSuccess;
    return error;
}
TT_HOST cudaError_t cudaPeekAtLastError() { return sticky_error ? sticky_error : tt_program::last_error; }
TT_HOST const char* cudaGetErrorString(cudaError_t error) {
#define TT_TEXT(NUMBER, NAME, TEXT) \
    if (error == NUMBER) return TEXT;
    TT_CUDA_ERRORS(TT_TEXT)
    return "unrecognized error code";
}
TT_HOST const char* cudaGetErrorName(cudaError_t error) {
#define TT_NAME(NUMBER, NAME, TEXT) \
    if (error == NUMBER) return #NAME;
    TT_CUDA_ERRORS(TT_NAME)
    return "unrecognized error code";
}

TT_HOST cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
TT_HOST cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
TT_HOST cudaError_t cudaSetDevice(int device, TT_SITE) {
    return tt_program::check_device("cudaSetDevice", device, file, line);
}
TT_HOST cudaError_t cudaGetDeviceProperties(cudaDeviceProp* to, int device, TT_SITE) {
    *to = tt_program::properties();
    return tt_program::check_device("cudaGetDeviceProperties", device, file, line);
}
TT_HOST cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int device, TT_SITE) {
    const cudaDeviceProp p = tt_program::properties();
    const struct {
        cudaDeviceAttr which;
        size_t value;
    } known[] = {
        {cudaDevAttrMaxThreadsPerBlock, 1024},
        {cudaDevAttrMaxSharedMemoryPerBlock, p.sharedMemPerBlock},
        {cudaDevAttrWarpSize, 32},
        {cudaDevAttrMaxRegistersPerBlock, (size_t)p.regsPerBlock},
        {cudaDevAttrClockRate, (size_t)p.clockRate},
        {cudaDevAttrMultiProcessorCount, (size_t)p.multiProcessorCount},
        {cudaDevAttrGpuOverlap, 1},
        {cudaDevAttrMemoryClockRate, (size_t)p.memoryClockRate},
        {cudaDevAttrL2CacheSize, (size_t)p.l2CacheSize},
        {cudaDevAttrMaxThreadsPerMultiProcessor, (size_t)p.maxThreadsPerMultiProcessor},
        {cudaDevAttrComputeCapabilityMajor, (size_t)p.major},
        {cudaDevAttrComputeCapabilityMinor, (size_t)p.minor},
        {cudaDevAttrMaxSharedMemoryPerMultiprocessor, p.sharedMemPerMultiprocessor},
        {cudaDevAttrCooperativeLaunch, 1},
        {cudaDevAttrMaxSharedMemoryPerBlockOptin, p.sharedMemPerBlockOptin},
    };
    *value = 0;
    for (const auto& k : known)
        if (k.which == which) *value = (int)k.value;
    return tt_program::check_device("cudaDeviceGetAttribute", device, file, line);
}
TT_HOST cudaError_t cudaDeviceSynchronize(TT_SITE) {
    const auto conflicts = [](const CUstream_st&) { return true; };
    const cudaError_t error =
        tt_program::refuse_in_capture(conflicts, cudaErrorStreamCaptureUnsupported, "cudaDeviceSynchronize",
                                      file, line, "a stream captures");
    return error ? error : sticky_error;
}
TT_HOST cudaError_t cudaDeviceReset(TT_SITE) {
    std::lock_guard<std::recursive_mutex> guard(tt_program::lock);
    while (!tt_program::blocks.empty()) tt_program::release(tt_program::blocks.begin());
    sticky_error = tt_program::last_error = cudaSuccess;
    return cudaSuccess;
}
TT_HOST cudaError_t cudaDriverGetVersion(int* version) { return *version = 13000, cudaSuccess; }
TT_HOST cudaError_t cudaRuntimeGetVersion(int* version) { return *version = 13000, cudaSuccess; }
TT_HOST cudaError_t cudaDeviceSetLimit(cudaLimit which, size_t value, TT_SITE) {
    std::lock_guard<std::recursive_mutex> guard(tt_program::lock);
    if ((size_t)which > cudaLimitPersistingL2CacheSize)
        return failed(cudaErrorUnsupportedLimit, "cudaDeviceSetLimit", file, line, "there is no such limit");
    if (which == cudaLimitMallocHeapSize) {
        if (tt_emu::heap_is_used)
            return failed(cudaErrorInvalidValue, "cudaDeviceSetLimit", file, line,
                          "a kernel has called malloc or new; set the size of their heap before");
        tt_emu::heap_size = value;
    }
    return cudaSuccess;
}
TT_HOST cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) { return *can = 0, cudaSuccess; }
TT_HOST cudaError_t cudaDeviceEnablePeerAccess(int, unsigned, TT_SITE) {
    return failed(cudaErrorInvalidDevice, "cudaDeviceEnablePeerAccess", file, line,
                  "there is one device, 0");
}

TT_HOST cudaError_t tt_set_function_attribute(const void*, cudaFuncAttribute which, int value, TT_SITE) {
    if (which != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
    if (value < 0 || (size_t)value > tt_emu::MOST_SHARED)
        return failed(cudaErrorInvalidValue, "cudaFuncSetAttribute", file, line,
                      std::to_string(value) + " bytes of shared memory; the most are " +
                          std::to_string(tt_emu::MOST_SHARED));
    if ((size_t)value > tt_program::allowed_shared) tt_program::allowed_shared = (size_t)value;
    return cudaSuccess;
}
TT_HOST cudaError_t tt_get_function_attributes(cudaFuncAttributes* to, const void* f, TT_SITE) {
    const size_t shared = tt_program::static_shared(f);
    *to = {shared, 0, 0, 1024, 32, 80, 80, 0, (int)tt_program::allowed_shared, -1};
    return cudaSuccess;
}
TT_HOST cudaError_t tt_occupancy(int* blocks, const void* f, int threads, size_t shared, TT_SITE) {
    if (threads < 1)
        return failed(cudaErrorInvalidValue, "cudaOccupancy…", file, line, "a block has no threads");
    const size_t by_threads = tt_program::THREADS / ((size_t)(threads + 31) / 32 * 32);
    const size_t of_block = tt_program::static_shared(f) + shared + 1024;
    const size_t by_shared = tt_program::SHARED_OF_MULTIPROCESSOR / of_block;
    *blocks = (int)std::min({by_threads, by_shared, (size_t)tt_program::BLOCKS});
    if (threads > 1024) *blocks = 0;
    return cudaSuccess;
}

// Ticks of the device in a kernel, as clock64 counts them; the processor time of the program in host code.
TT_HOST clock_t clock() noexcept {
    static thread_local long ticks;
    if (tt_in_kernel()) {
        tt_emu::Worker& w = *tt_emu::here;
        unsigned thread[3];
        w.exchange(thread, false);
        const unsigned* block = w.job.block;
        tt_emu_yield(&w, thread[0] + block[0] * (thread[1] + block[1] * thread[2]), {__FILE__, __LINE__});
        w.exchange(thread, true);
        return ticks += 64;
    }
    timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * CLOCKS_PER_SEC + t.tv_nsec / (1000000000 / CLOCKS_PER_SEC);
}
