// The headers of the compiler that nvcc includes in a whole program, before the emulator's names.
#pragma once
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

// Functions of the emulator whose names the C library declares, or not, by its version.
#define sinpi tt_sinpi
#define cospi tt_cospi
#define sinpif tt_sinpif
#define cospif tt_cospif
