// The headers of the compiler that nvcc includes in a whole program, before the emulator's names.
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
