// The checked core: the emulator's core, and what watches every access of a kernel. A kernel is compiled with
// -fsanitize=thread, so that the compiler calls __tsan_read4 and its kin before each access of the unchanged
// source; the functions of those names are ours (accesses.h), not those of the sanitizer's library.
#include "collectives.h"
#include "launches.h"

#include "accesses.h"
