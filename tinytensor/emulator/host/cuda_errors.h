// Errors of the CUDA runtime: number, name, text.
#pragma once

#define TT_CUDA_ERRORS(X)                                                                                 \
    X(0, cudaSuccess, "no error")                                                                         \
    X(1, cudaErrorInvalidValue, "invalid argument")                                                       \
    X(2, cudaErrorMemoryAllocation, "out of memory")                                                      \
    X(3, cudaErrorInitializationError, "initialization error")                                            \
    X(4, cudaErrorCudartUnloading, "driver shutting down")                                                \
    X(9, cudaErrorInvalidConfiguration, "invalid configuration argument")                                 \
    X(12, cudaErrorInvalidPitchValue, "invalid pitch argument")                                           \
    X(13, cudaErrorInvalidSymbol, "invalid device symbol")                                                \
    X(17, cudaErrorInvalidDevicePointer, "invalid device pointer")                                        \
    X(18, cudaErrorInvalidTexture, "invalid texture reference")                                           \
    X(20, cudaErrorInvalidChannelDescriptor, "invalid channel descriptor")                                \
    X(21, cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy")                           \
    X(35, cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version")    \
    X(46, cudaErrorDevicesUnavailable, "CUDA-capable device(s) is/are busy or unavailable")               \
    X(52, cudaErrorMissingConfiguration, "__global__ function call is not configured")                    \
    X(98, cudaErrorInvalidDeviceFunction, "invalid device function")                                      \
    X(100, cudaErrorNoDevice, "no CUDA-capable device is detected")                                       \
    X(101, cudaErrorInvalidDevice, "invalid device ordinal")                                              \
    X(209, cudaErrorNoKernelImageForDevice, "no kernel image is available for execution on the device")   \
    X(215, cudaErrorUnsupportedLimit, "limit is not supported on this architecture")                      \
    X(400, cudaErrorInvalidResourceHandle, "invalid resource handle")                                     \
    X(401, cudaErrorIllegalState, "the operation cannot be performed in the present state")               \
    X(600, cudaErrorNotReady, "device not ready")                                                         \
    X(700, cudaErrorIllegalAddress, "an illegal memory access was encountered")                           \
    X(701, cudaErrorLaunchOutOfResources, "too many resources requested for launch")                      \
    X(702, cudaErrorLaunchTimeout, "the launch timed out and was terminated")                             \
    X(704, cudaErrorPeerAccessAlreadyEnabled, "peer access is already enabled")                           \
    X(705, cudaErrorPeerAccessNotEnabled, "peer access has not been enabled")                             \
    X(710, cudaErrorAssert, "device-side assert triggered")                                               \
    X(714, cudaErrorHardwareStackError, "hardware stack error")                                           \
    X(716, cudaErrorMisalignedAddress, "misaligned address")                                              \
    X(719, cudaErrorLaunchFailure, "unspecified launch failure")                                          \
    X(801, cudaErrorNotSupported, "operation not supported")                                              \
    X(900, cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing")         \
    X(901, cudaErrorStreamCaptureInvalidated, "operation failed due to a previous error during capture")  \
    X(902, cudaErrorStreamCaptureMerge, "operation would result in a merge of separate captures")         \
    X(903, cudaErrorStreamCaptureUnmatched, "capture was not ended in the stream in which it began")      \
    X(904, cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work")                          \
    X(905, cudaErrorStreamCaptureIsolation, "dependency on uncaptured work in another stream")            \
    X(906, cudaErrorStreamCaptureImplicit, "the default stream would depend on a capturing stream")       \
    X(907, cudaErrorCapturedEvent, "operation not permitted on an event recorded in a capture")           \
    X(908, cudaErrorStreamCaptureWrongThread, "capture was not ended in the thread in which it began")    \
    X(999, cudaErrorUnknown, "unknown error")

enum cudaError {
#define TT_ENUM(NUMBER, NAME, TEXT) NAME = NUMBER,
    TT_CUDA_ERRORS(TT_ENUM)
#undef TT_ENUM
};
typedef cudaError cudaError_t;
