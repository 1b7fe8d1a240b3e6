// The CUDA runtime's header: what kernels need of it. Whole programs (TT_PROGRAM), whose host code runs, too,
// get the functions of the host from `host_api.h`.
#pragma once
#include "run/device/cuda_emu.h"
#ifdef TT_PROGRAM
#include "host/host_api.h"
#endif
