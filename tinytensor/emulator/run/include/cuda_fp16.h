// The short names of the types in half.h, which kernels have without this header, too.
#pragma once
#include "run/device/cuda_emu.h"
typedef __half half;
typedef __half2 half2;
