// The short names of the types in half.h, which kernels have without this header, too.
#pragma once
#include "run/device/cuda_emu.h"
typedef __nv_bfloat16 nv_bfloat16;
typedef __nv_bfloat162 nv_bfloat162;
