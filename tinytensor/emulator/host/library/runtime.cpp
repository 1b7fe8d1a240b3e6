// The CUDA runtime of host_api.h. All work is done when a call returns, whatever its stream.
#include <atomic>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#define TT_PROGRAM 1
#define TT_NOSAN
struct dim3 {
    unsigned x, y, z;
};
#include "runtime_types.h"

#define TT_HOST extern "C" __attribute__((visibility("default")))
#define TT_SITE const char *file, int line
TT_HOST const char* cudaGetErrorName(cudaError_t);

#include "reports.h"
#include "copies.h"
#include "launching.h"
#include "streams.h"
#include "graphs.h"
#include "symbols.h"
#include "devices.h"
#include "linear_algebra.h"
#include "random_numbers.h"
#include "wrapped_allocation.h"
#ifdef TT_CHECKED
#include "sanitizer.h"
#endif
