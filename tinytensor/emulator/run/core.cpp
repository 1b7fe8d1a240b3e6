// The core of the emulator, one shared library for all kernels: threads of a block as fibers (scheduler.h),
// warp operations (collectives.h), faults, and launches on several workers. Needs no C++ library.
#include "run/collectives.h"
#include "run/scheduler_entry.h"

#include "run/allocation.h"
#include "run/asynchronous.h"
#include "run/named_barriers.h"
#include "run/grid.h"
