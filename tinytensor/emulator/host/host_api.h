// The CUDA runtime for host code that runs with the emulator. All work is done when a call returns.
//
// The last parameters of a function are where it is called, for reports; programs do not pass them.
#pragma once
#include "runtime_types.h"

#ifndef TT_SITE
#define TT_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()
#endif
#define TT_HOST extern "C" __attribute__((visibility("default")))

// ---- memory

TT_HOST cudaError_t cudaMalloc(void** p, size_t bytes, TT_SITE);
TT_HOST cudaError_t cudaMallocAsync(void** p, size_t bytes, cudaStream_t, TT_SITE);
TT_HOST cudaError_t cudaMallocManaged(void** p, size_t bytes, unsigned flags = cudaMemAttachGlobal,
                                      TT_SITE);
TT_HOST cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned flags, TT_SITE);
TT_HOST cudaError_t cudaMallocPitch(void** p, size_t* pitch, size_t width, size_t height, TT_SITE);
TT_HOST cudaError_t cudaFree(void* p, TT_SITE);
TT_HOST cudaError_t cudaFreeAsync(void* p, cudaStream_t, TT_SITE);
TT_HOST cudaError_t cudaFreeHost(void* p, TT_SITE);
TT_HOST cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned flags, TT_SITE);
TT_HOST cudaError_t cudaMemGetInfo(size_t* available, size_t* total, TT_SITE);

TT_HOST cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind, TT_SITE);
TT_HOST cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes,
                                    cudaMemcpyKind = cudaMemcpyDefault, cudaStream_t = nullptr, TT_SITE);
TT_HOST cudaError_t cudaMemcpy2D(void* to, size_t to_pitch, const void* from, size_t from_pitch,
                                 size_t width, size_t height, cudaMemcpyKind, TT_SITE);
TT_HOST cudaError_t cudaMemset(void* to, int value, size_t bytes, TT_SITE);
TT_HOST cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t = nullptr, TT_SITE);
TT_HOST cudaError_t tt_copy_symbol(void* symbol, size_t size, void* host, size_t bytes, size_t offset,
                                   bool write, cudaMemcpyKind, TT_SITE);

template <class T>
static inline cudaError_t cudaMalloc(T** p, size_t bytes, TT_SITE) {
    return cudaMalloc((void**)(void*)p, bytes, file, line);
}
template <class T>
static inline cudaError_t cudaMallocAsync(T** p, size_t bytes, cudaStream_t stream, TT_SITE) {
    return cudaMallocAsync((void**)(void*)p, bytes, stream, file, line);
}
template <class T>
static inline cudaError_t cudaMallocManaged(T** p, size_t bytes, unsigned flags = cudaMemAttachGlobal,
                                            TT_SITE) {
    return cudaMallocManaged((void**)(void*)p, bytes, flags, file, line);
}
template <class T>
static inline cudaError_t cudaHostAlloc(T** p, size_t bytes, unsigned flags, TT_SITE) {
    return cudaHostAlloc((void**)(void*)p, bytes, flags, file, line);
}
template <class T>
static inline cudaError_t cudaMallocHost(T** p, size_t bytes, unsigned flags = 0, TT_SITE) {
    return cudaHostAlloc((void**)(void*)p, bytes, flags, file, line);
}
template <class T>
static inline cudaError_t cudaMallocPitch(T** p, size_t* pitch, size_t width, size_t height, TT_SITE) {
    return cudaMallocPitch((void**)(void*)p, pitch, width, height, file, line);
}
template <class T>
static inline cudaError_t cudaHostGetDevicePointer(T** device, void* host, unsigned flags, TT_SITE) {
    return cudaHostGetDevicePointer((void**)(void*)device, host, flags, file, line);
}
template <class T>
static inline cudaError_t cudaMemcpyToSymbol(const T& symbol, const void* from, size_t bytes,
                                             size_t offset = 0,
                                             cudaMemcpyKind kind = cudaMemcpyHostToDevice, TT_SITE) {
    return tt_copy_symbol((void*)&symbol, sizeof(T), (void*)from, bytes, offset, true, kind, file, line);
}
template <class T>
static inline cudaError_t cudaMemcpyFromSymbol(void* to, const T& symbol, size_t bytes, size_t offset = 0,
                                               cudaMemcpyKind kind = cudaMemcpyDeviceToHost, TT_SITE) {
    return tt_copy_symbol((void*)&symbol, sizeof(T), to, bytes, offset, false, kind, file, line);
}
template <class T>
static inline cudaError_t cudaGetSymbolAddress(void** p, const T& symbol) {
    *p = (void*)&symbol;
    return cudaSuccess;
}
// Hints, without effect on memory that is shared with the host.
static inline cudaError_t cudaMemPrefetchAsync(const void*, size_t, int, cudaStream_t = nullptr) {
    return cudaSuccess;
}
static inline cudaError_t cudaMemPrefetchAsync(const void*, size_t, cudaMemLocation, unsigned,
                                               cudaStream_t = nullptr) {
    return cudaSuccess;
}
static inline cudaError_t cudaMemAdvise(const void*, size_t, cudaMemoryAdvise, int) { return cudaSuccess; }
static inline cudaError_t cudaMemAdvise(const void*, size_t, cudaMemoryAdvise, cudaMemLocation) {
    return cudaSuccess;
}
static inline cudaError_t cudaMemset2D(void* to, size_t pitch, int value, size_t width, size_t height,
                                       TT_SITE) {
    cudaError_t error = cudaSuccess;
    for (size_t i = 0; i < height && !error; i++)
        error = cudaMemset((char*)to + i * pitch, value, width, file, line);
    return error;
}
// There is one device.
static inline cudaError_t cudaMemcpyPeer(void* to, int, const void* from, int, size_t bytes, TT_SITE) {
    return cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToDevice, file, line);
}
static inline cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t bytes,
                                              cudaStream_t stream = nullptr, TT_SITE) {
    return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream, file, line);
}
static inline cudaError_t cudaStreamAttachMemAsync(cudaStream_t, void*, size_t = 0,
                                                   unsigned = cudaMemAttachSingle) {
    return cudaSuccess;
}

// ---- errors

TT_HOST cudaError_t cudaGetLastError();
TT_HOST cudaError_t cudaPeekAtLastError();
TT_HOST const char* cudaGetErrorString(cudaError_t);
TT_HOST const char* cudaGetErrorName(cudaError_t);

// ---- device

TT_HOST cudaError_t cudaGetDeviceCount(int* count);
TT_HOST cudaError_t cudaGetDevice(int* device);
TT_HOST cudaError_t cudaSetDevice(int device, TT_SITE);
TT_HOST cudaError_t cudaGetDeviceProperties(cudaDeviceProp*, int device, TT_SITE);
TT_HOST cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int device, TT_SITE);
TT_HOST cudaError_t cudaDeviceSynchronize(TT_SITE);
TT_HOST cudaError_t cudaDeviceReset(TT_SITE);
TT_HOST cudaError_t cudaDriverGetVersion(int* version);
TT_HOST cudaError_t cudaRuntimeGetVersion(int* version);
TT_HOST cudaError_t cudaDeviceSetLimit(cudaLimit, size_t value, TT_SITE);
TT_HOST cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer);
TT_HOST cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned flags, TT_SITE);
static inline cudaError_t cudaThreadSynchronize(TT_SITE) { return cudaDeviceSynchronize(file, line); }
static inline cudaError_t cudaDeviceDisablePeerAccess(int) { return cudaErrorPeerAccessNotEnabled; }
static inline cudaError_t cudaThreadExit() { return cudaSuccess; }
static inline cudaError_t cudaSetDeviceFlags(unsigned) { return cudaSuccess; }
static inline cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
    *least = 0, *greatest = -5;
    return cudaSuccess;
}
static inline cudaError_t cudaDeviceGetP2PAttribute(int*, cudaDeviceP2PAttr, int, int) {
    return cudaErrorInvalidDevice;
}
static inline cudaError_t cudaProfilerStart() { return cudaSuccess; }
static inline cudaError_t cudaProfilerStop() { return cudaSuccess; }

// ---- streams, events

TT_HOST cudaError_t cudaStreamCreateWithPriority(cudaStream_t*, unsigned flags, int priority, TT_SITE);
TT_HOST cudaError_t cudaStreamDestroy(cudaStream_t, TT_SITE);
TT_HOST cudaError_t cudaStreamSynchronize(cudaStream_t, TT_SITE);
TT_HOST cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned flags = 0, TT_SITE);
TT_HOST cudaError_t cudaLaunchHostFunc(cudaStream_t, cudaHostFn_t, void* data, TT_SITE);
TT_HOST cudaError_t cudaStreamAddCallback(cudaStream_t, cudaStreamCallback_t, void* data, unsigned flags,
                                          TT_SITE);
TT_HOST cudaError_t cudaEventCreateWithFlags(cudaEvent_t*, unsigned flags, TT_SITE);
TT_HOST cudaError_t cudaEventDestroy(cudaEvent_t, TT_SITE);
TT_HOST cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t = nullptr, TT_SITE);
TT_HOST cudaError_t cudaEventSynchronize(cudaEvent_t, TT_SITE);
TT_HOST cudaError_t cudaEventQuery(cudaEvent_t, TT_SITE);
TT_HOST cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end, TT_SITE);
static inline cudaError_t cudaStreamCreate(cudaStream_t* s, TT_SITE) {
    return cudaStreamCreateWithPriority(s, 0, 0, file, line);
}
static inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned flags, TT_SITE) {
    return cudaStreamCreateWithPriority(s, flags, 0, file, line);
}
static inline cudaError_t cudaStreamQuery(cudaStream_t s, TT_SITE) {
    return cudaStreamSynchronize(s, file, line);
}
static inline cudaError_t cudaEventCreate(cudaEvent_t* e, unsigned flags = 0, TT_SITE) {
    return cudaEventCreateWithFlags(e, flags, file, line);
}
// ---- functions

TT_HOST cudaError_t tt_set_function_attribute(const void* function, cudaFuncAttribute, int value, TT_SITE);
TT_HOST cudaError_t tt_get_function_attributes(cudaFuncAttributes*, const void* function, TT_SITE);
TT_HOST cudaError_t tt_occupancy(int* blocks, const void* function, int threads, size_t shared, TT_SITE);
template <class F>
static inline cudaError_t cudaFuncSetAttribute(F* f, cudaFuncAttribute which, int value, TT_SITE) {
    return tt_set_function_attribute((const void*)f, which, value, file, line);
}
template <class F>
static inline cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* to, F* f, TT_SITE) {
    return tt_get_function_attributes(to, (const void*)f, file, line);
}
template <class F>
static inline cudaError_t cudaFuncSetCacheConfig(F*, cudaFuncCache) {
    return cudaSuccess;
}
template <class F>
static inline cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, F* f, int threads,
                                                                        size_t shared, TT_SITE) {
    return tt_occupancy(blocks, (const void*)f, threads, shared, file, line);
}
// The largest block gives the fewest blocks that fill the device: the emulator needs no registers.
template <class F>
static inline cudaError_t cudaOccupancyMaxPotentialBlockSize(int* grid, int* block, F f, size_t shared = 0,
                                                             int limit = 0) {
    int best = 0, blocks = 0;
    for (int threads = limit > 0 && limit < 1024 ? limit / 32 * 32 : 1024; threads >= 32; threads -= 32) {
        tt_occupancy(&blocks, (const void*)f, threads, shared);
        if (blocks * threads > best) best = blocks * threads, *block = threads, *grid = blocks;
    }
    cudaDeviceProp device;
    cudaGetDeviceProperties(&device, 0);
    *grid *= device.multiProcessorCount;
    return best ? cudaSuccess : cudaErrorInvalidValue;
}
#undef TT_HOST

#include "program_launch.h"
#include "texture_objects.h"
#include "graphs.h"
