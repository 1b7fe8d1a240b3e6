// The checked core: the emulator's core, with checks of every memory access. Kernels are compiled with
// -fsanitize=thread, so that the compiler calls __tsan_read4 and similar functions before each access of the
// unchanged source; accesses.h defines these functions, not the sanitizer library.
#include "run/collectives.h"
#include "run/scheduler_entry.h"

#include "check/accesses.h"
#include "run/asynchronous.h"
#include "check/asynchronous_checks.h"
#include "run/named_barriers.h"
#include "run/grid.h"
#include "check/undefined.h"
