// For kernels that include NVIDIA's header: its types are in half.h.
#pragma once
#include "cuda_emu.h"
