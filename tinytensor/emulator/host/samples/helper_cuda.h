// What programs use of the header of this name: checks of errors, and the choice of a device. Written for
// the emulator.
#pragma once
#include <stdio.h>
#include <stdlib.h>

#include "cuda_runtime.h"
#include "helper_string.h"

static inline const char* _cudaGetErrorEnum(cudaError_t error) { return cudaGetErrorName(error); }
#ifdef TT_CUBLAS
static inline const char* _cudaGetErrorEnum(cublasStatus_t status) { return cublasGetStatusName(status); }
#endif
#ifdef TT_CURAND
static inline const char* _cudaGetErrorEnum(curandStatus_t status) {
    return status ? "curand error" : "success";
}
#endif

template <class T>
static inline void check(T result, const char* call, const char* file, int line) {
    if (!result) return;
    fprintf(stderr, "CUDA error at %s:%d code=%u(%s) \"%s\"\n", file, line, (unsigned)result,
            _cudaGetErrorEnum(result), call);
    exit(EXIT_FAILURE);
}
#define checkCudaErrors(call) check((call), #call, __FILE__, __LINE__)
#define getLastCudaError(message) __getLastCudaError(message, __FILE__, __LINE__)
#define printLastCudaError(message) __printLastCudaError(message, __FILE__, __LINE__)

static inline void __printLastCudaError(const char* message, const char* file, int line) {
    const cudaError_t error = cudaGetLastError();
    if (error)
        fprintf(stderr, "%s(%d): %s: (%d) %s\n", file, line, message, (int)error,
                cudaGetErrorString(error));
}
static inline void __getLastCudaError(const char* message, const char* file, int line) {
    const bool failed = cudaPeekAtLastError() != cudaSuccess;
    __printLastCudaError(message, file, line);
    if (failed) exit(EXIT_FAILURE);
}

static inline int ftoi(float value) { return value >= 0 ? (int)(value + 0.5) : (int)(value - 0.5); }
static inline int _ConvertSMVer2Cores(int, int) { return 64; }
static inline const char* _ConvertSMVer2ArchName(int, int) { return "emulated"; }
static inline int gpuGetMaxGflopsDeviceId() { return 0; }
static inline int gpuDeviceInit(int device) {
    checkCudaErrors(cudaSetDevice(device));
    return device;
}
static inline int findCudaDevice(int argc, const char** argv) {
    const int device =
        checkCmdLineFlag(argc, argv, "device") ? getCmdLineArgumentInt(argc, argv, "device=") : 0;
    gpuDeviceInit(device);
    cudaDeviceProp properties;
    checkCudaErrors(cudaGetDeviceProperties(&properties, device));
    printf("GPU Device %d: \"%s\" with compute capability %d.%d\n\n", device, properties.name,
           properties.major, properties.minor);
    return device;
}
static inline int findIntegratedGPU() { return -1; }
static inline bool checkCudaCapabilities(int major, int minor) {
    cudaDeviceProp properties;
    checkCudaErrors(cudaGetDeviceProperties(&properties, 0));
    return properties.major > major || (properties.major == major && properties.minor >= minor);
}
