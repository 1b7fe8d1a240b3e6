// The checked core: the emulator's core, with checks of every memory access. Kernels are compiled with
// -fsanitize=thread, so that the compiler calls __tsan_read4 and similar functions before each access of the
// unchanged source; accesses.h defines these functions, not the sanitizer library.
#include "collectives.h"
#include "launches.h"

#include "accesses.h"
#include "asynchronous.h"
#include "asynchronous_checks.h"
#include "gathering.h"
#include "grid.h"
#include "undefined.h"
