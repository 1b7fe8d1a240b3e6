// The profiler's calls, which do nothing, are in host_api.h.
#pragma once
#include "cuda_runtime.h"
