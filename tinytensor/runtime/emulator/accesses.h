// Every access of a checked kernel arrives here: bounds and alignment, then races and uninitialized reads,
// then counters.
#pragma once
#include "races.h"

namespace tt_emu {

enum Way : int { READ, WRITE, ATOMIC };
static const char* const way_names[] = {"read", "write", "atomic operation"};

[[noreturn]] static void refuse_access(Worker& w, const char* kind, Place place, const char* text) {
    const uint64_t block = numbers[serial - launch_serial];
    found(kind, place, {}, "%s by %s", text, Who(w, block, w.current).text);
    fail(w, "%s: %s", kind, text);
}

[[noreturn]] static void refuse_bounds(Worker& w, const char* address, unsigned size, Way way, Place place) {
    char text[200];
    const Range* nearest = nullptr;
    size_t best = (size_t)1 << 40, at = place_of(address);
    for (size_t i = at > 0 ? at - 1 : 0; i < ranges.count && i <= at; i++) {
        const Range& r = ranges[i];
        size_t distance = (size_t)(address < r.start ? r.start - address : address - r.end);
        if (distance < best) best = distance, nearest = &r;
    }
    const char* dynamic = (const char*)w.job.dynamic_shared;
    if (address < (const char*)w.shared_end && address >= (const char*)w.shared_end - MOST_SHARED) {
        snprintf(text, sizeof text, "%u-byte %s at byte %ld of dynamic shared memory, which has %ld bytes",
                 size, way_names[way], (long)(address - dynamic),
                 (long)((const char*)w.shared_end - dynamic));
    } else if (nearest && best < 1 << 20) {
        touched = nearest->start;
        snprintf(text, sizeof text, "%u-byte %s at byte %ld of a buffer of %ld bytes", size, way_names[way],
                 (long)(address - nearest->start), (long)(nearest->end - nearest->start));
    } else {
        snprintf(text, sizeof text, "%u-byte %s at address %p, where no buffer is", size, way_names[way],
                 (const void*)address);
    }
    refuse_access(w, "out of bounds", place, text);
}

static void check_alignment(Worker& w, const char* address, unsigned size, Way way, Place place) {
    bool power = size == 2 || size == 4 || size == 8 || size == 16;
    if (!power || (uintptr_t)address % size == 0) return;
    char text[160];
    snprintf(text, sizeof text, "%u-byte %s at address %p, which is no multiple of %u", size, way_names[way],
             (const void*)address, size);
    refuse_access(w, "misaligned access", place, text);
}

// The bytes of each word that an access touches; word 0 begins at `base`.
template <class F>
static void each_word(const char* base, const char* address, unsigned size, F f) {
    const size_t from = (size_t)(address - base), to = from + size;
    for (size_t word = from / 4; word * 4 < to; word++) {
        const size_t low = from > word * 4 ? from - word * 4 : 0;
        const size_t high = to - word * 4 < 4 ? to - word * 4 : 4;
        f(word, (unsigned)((1u << high) - (1u << low)));
    }
}

static void shared_access(Worker& w, const char* base, size_t first, const char* address, unsigned size,
                          Way way, Place place, const char* name) {
    check_alignment(w, address, size, way, place);
    if (way != ATOMIC) count_access(w, SHARED, (uint64_t)address, size, way == WRITE, place);
    each_word(base, address, size, [&](size_t i, unsigned bytes) {
        if (first + i >= shared_count) return;
        Word& word = shared_words[first + i];
        if (way != WRITE && (word.initialized & bytes) != bytes) {
            found("uninitialized shared read", place, {},
                  "%s + %ld bytes, read by %s before anything wrote it", name, (long)(i * 4),
                  Who(w, numbers[serial - launch_serial], w.current).text);
        }
        word.initialized |= (unsigned char)bytes;
        check_word(w, word, bytes, way == WRITE, way == ATOMIC, place, SHARED, {name, (long)(i * 4)});
    });
}

static void global_access(Worker& w, Range& range, const char* address, unsigned size, Way way,
                          Place place) {
    touched = range.start;
    check_alignment(w, address, size, way, place);
    if (address + size > range.end) refuse_bounds(w, address, size, way, place);
    if (way != ATOMIC) count_access(w, GLOBAL, (uint64_t)address, size, way == WRITE, place);
    if (!range.words) range.words = (Word*)pages(range.count() * sizeof(Word));
    if (!range.words) return;
    each_word(range.start, address, size, [&](size_t i, unsigned bytes) {
        if (range.initialized) {
            if (way != WRITE && (range.initialized[i] & bytes) != bytes) {
                found("uninitialized global read", place, {},
                      "byte %ld of a buffer of %ld bytes, read by %s before anything wrote it", (long)(i * 4),
                      (long)(range.end - range.start),
                      Who(w, numbers[serial - launch_serial], w.current).text);
            }
            range.initialized[i] |= (unsigned char)bytes;
        }
        check_word(w, range.words[i], bytes, way == WRITE, way == ATOMIC, place, GLOBAL,
                   {"a buffer", (long)(i * 4)});
    });
}

static void access(const void* where, unsigned size, Way way, Place place) {
    Worker* worker = here;
    if (!worker || !worker->guarded || !size) return;  // not in a launch
    Worker& w = *worker;
    const char* address = (const char*)where;
    if (w.stacks.holds(address)) return;  // local variables
    if (address >= image.start && address < image.end) {
        touched = nullptr;
        if (address >= image.shared_start && address < image.shared_end && !is_guard(address))
            shared_access(w, image.shared_start, 0, address, size, way, place, "static shared memory");
        return;  // else constants
    }
    touched = nullptr;
    const char* dynamic = (const char*)w.job.dynamic_shared;
    if (address >= dynamic && address + size <= (const char*)w.shared_end) {
        size_t first = (size_t)(image.shared_end - image.shared_start) / 4 + 1;
        return shared_access(w, dynamic, first, address, size, way, place, "dynamic shared memory");
    }
    Range* range = range_of(address);
    if (!range) refuse_bounds(w, address, size, way, place);
    global_access(w, *range, address, size, way, place);
}

// ---- asynchronous copies

// Made when the thread waits for them and not before, so that a missing wait shows as an uninitialized read.
struct Copy {
    char* to;
    const char* from;
    unsigned bytes, group;  // the rest of the 16 becomes zero
    Place place;
};
static List<Copy> copies[MOST_THREADS];
static unsigned groups[MOST_THREADS];

static void forget_copies() {
    for (List<Copy>& list : copies) list.clear();
    memset(groups, 0, sizeof groups);
}

}  // namespace tt_emu

TT_API void tt_checked_copy(unsigned self, void* to, const void* from, unsigned bytes, tt_emu::Site site) {
    using namespace tt_emu;
    bytes = bytes > 16 ? 16 : bytes;
    copies[self].add({(char*)to, (const char*)from, bytes, groups[self], {nullptr, site}});
}

TT_API void tt_checked_commit(unsigned self) { tt_emu::groups[self]++; }

// Waits until at most `left` groups of this thread are under way.
TT_API void tt_checked_wait(unsigned self, unsigned left) {
    using namespace tt_emu;
    List<Copy>& list = copies[self];
    size_t kept = 0;
    for (size_t i = 0; i < list.count; i++) {
        Copy copy = list[i];
        if (copy.group + left >= groups[self]) {
            list[kept++] = copy;
            continue;
        }
        access(copy.from, copy.bytes, READ, copy.place);
        access(copy.to, 16, WRITE, copy.place);
        memcpy(copy.to, copy.from, copy.bytes);
        memset(copy.to + copy.bytes, 0, 16 - copy.bytes);
    }
    list.count = kept;
}

TT_API void tt_checked_access(const void* address, unsigned size, int way, tt_emu::Site site) {
    tt_emu::access(address, size, (tt_emu::Way)way, {nullptr, site});
}

// ---- what the compiler calls before each access

#define TT_CALLER tt_emu::Place{__builtin_return_address(0), {}}
#define TT_ACCESSES(SIZE)                                                                               \
    TT_API void __tsan_read##SIZE(void* at) { tt_emu::access(at, SIZE, tt_emu::READ, TT_CALLER); }      \
    TT_API void __tsan_write##SIZE(void* at) { tt_emu::access(at, SIZE, tt_emu::WRITE, TT_CALLER); }    \
    TT_API void __tsan_unaligned_read##SIZE(void* at) {                                                 \
        tt_emu::access(at, SIZE, tt_emu::READ, TT_CALLER);                                              \
    }                                                                                                   \
    TT_API void __tsan_unaligned_write##SIZE(void* at) {                                                \
        tt_emu::access(at, SIZE, tt_emu::WRITE, TT_CALLER);                                             \
    }
TT_ACCESSES(1)
TT_ACCESSES(2)
TT_ACCESSES(4)
TT_ACCESSES(8)
TT_ACCESSES(16)
TT_API void __tsan_read_range(void* at, size_t n) {
    tt_emu::access(at, (unsigned)n, tt_emu::READ, TT_CALLER);
}
TT_API void __tsan_write_range(void* at, size_t n) {
    tt_emu::access(at, (unsigned)n, tt_emu::WRITE, TT_CALLER);
}
TT_API void* __tsan_memset(void* to, int value, size_t n) {
    tt_emu::access(to, (unsigned)n, tt_emu::WRITE, TT_CALLER);
    return memset(to, value, n);
}
TT_API void* __tsan_memcpy(void* to, const void* from, size_t n) {
    tt_emu::access(from, (unsigned)n, tt_emu::READ, TT_CALLER);
    tt_emu::access(to, (unsigned)n, tt_emu::WRITE, TT_CALLER);
    return memcpy(to, from, n);
}
TT_API void* __tsan_memmove(void* to, const void* from, size_t n) { return __tsan_memcpy(to, from, n); }
TT_API void __tsan_init() {}
TT_API void __tsan_func_entry(void*) {}
TT_API void __tsan_func_exit() {}
