// What a source file of a whole program begins with: the real headers of the compiler that nvcc includes, too,
// then the emulator's names and the CUDA runtime.
#pragma once
#include <assert.h>
#include <math.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <new>

#include "cuda_emu.h"
#include "host_api.h"
