// The core of the emulator, one shared library for all kernels: threads of a block as fibers (scheduler.h),
// warp operations (collectives.h), faults, and launches on several workers. Needs no C++ library.
#include "collectives.h"
#include "launches.h"

#include "allocation.h"
#include "asynchronous.h"
#include "gathering.h"
#include "grid.h"
