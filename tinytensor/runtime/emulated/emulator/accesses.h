// Checks of every memory access of a kernel: bounds and alignment, then races and uninitialized reads, then
// counters.
#pragma once
#include "races.h"

namespace tt_emu {

static Shadow static_shadow, dynamic_shadow;
static unsigned dynamic_bytes;  // as requested by the launch; the memory is rounded up

[[noreturn]] static void refuse_access(Worker& w, const char* kind, const Place& place, const char* text) {
    refused = true;
    found(kind, place, {}, "%s by %s", text, Who(w).text);
    fail(w, "%s: %s", kind, text);
}

static const char* dynamic_start(const Worker& w) { return (const char*)w.job.dynamic_shared; }

// Describes what is near an address that is in no buffer.
static void describe_outside(const Worker& w, const Access& a, char (&text)[240]) {
    const int used = snprintf(text, sizeof text, "%u-byte %s at ", a.size, way_names[a.way]);
    char* to = text + used;
    const size_t room = sizeof text - (size_t)used;
    const char *address = a.address, *end = (const char*)w.shared_end;
    if (address < end && address >= end - MOST_SHARED) {
        snprintf(to, room, "byte %td of dynamic shared memory, of which the launch asked for %u bytes",
                 address - dynamic_start(w), dynamic_bytes);
        return;
    }
    const Variable* variable = nullptr;  // the last one that begins before the address
    if (address >= image.shared_start && address < image.shared_end + 65536)
        for (const Variable& v : image.variables)
            if (v.shared && v.start <= address && (!variable || v.start > variable->start)) variable = &v;
    if (variable) {
        snprintf(to, room, "byte %td of `%s`, shared memory of %td bytes", address - variable->start,
                 variable->name, variable->end - variable->start);
        return;
    }
    for (const auto& b : freed) {
        const size_t next = place_of(b.start);
        const bool reused = next < buffers.count && buffers[next].start < b.end;
        if (address < b.start || address >= b.end || reused) continue;
        snprintf(to, room, "byte %td of a buffer of %td bytes that was freed", address - b.start,
                 b.end - b.start);
        return;
    }
    const Buffer* nearest = nullptr;
    size_t best = 1 << 20, at = place_of(address);
    for (size_t i = at > 0 ? at - 1 : 0; i < buffers.count && i <= at; i++) {
        const Buffer& b = buffers[i];
        const size_t distance = (size_t)(address < b.start ? b.start - address : address - b.end);
        if (distance < best) best = distance, nearest = &b;
    }
    if (nearest) {
        touched = nearest->start;
        snprintf(to, room, "byte %td of a buffer of %zu bytes", address - nearest->start, nearest->size());
    } else {
        snprintf(to, room, "address %p, where no buffer is", (const void*)address);
    }
}

[[noreturn]] static void refuse_bounds(Worker& w, const Access& a) {
    char text[240];
    describe_outside(w, a, text);
    refuse_access(w, "out of bounds", a.place, text);
}

static void check_alignment(Worker& w, const Access& a) {
    const bool power = a.size == 2 || a.size == 4 || a.size == 8 || a.size == 16;
    if (!power || (uintptr_t)a.address % a.size == 0) return;
    char text[160];
    snprintf(text, sizeof text, "%u-byte %s at byte %zu of %s, at an address that is no multiple of %u",
             a.size, way_names[a.way], a.offset, a.name, a.size);
    refuse_access(w, "misaligned access", a.place, text);
}

// Whether all bytes of a word of global memory were written before.
static bool is_initialized(const Buffer& b, size_t word, unsigned granule) {
    if (!b.initialized) return true;
    const unsigned bits = ((1u << granule) - 1) << word * granule % 4;
    const size_t left = b.size() - word * granule;
    const unsigned there = left < granule ? bits & ((1u << left) - 1) : bits;
    return (b.initialized[word * granule / 4] & there) == there;
}

// `at`: start of the shadowed memory. b: null for shared memory.
static void check_words(Worker& w, const Access& a, Shadow& shadow, const char* at, Buffer* b) {
    const size_t from = (size_t)(a.address - at);
    if (!shadow.prepare(shadow.bytes, granule_of(from, a.size)))
        fail(w, "the launch touches more memory than the device checked can watch: it keeps 32 bytes for "
                "each 4, and at most 8 GiB");
    const unsigned granule = shadow.granule;
    bool raced = false, unwritten = false;
    for (size_t i = from / granule; i * granule < from + a.size; i++) {
        Word& word = shadow.words[i];
        if (!raced) raced = check_pending(w, a, word);
        if (needs_value(a.way) && !unwritten) {
            unwritten = b ? !is_initialized(*b, i, granule) : word.write_phase < first_of_block;
            if (unwritten)
                found(b ? "uninitialized global read" : "uninitialized shared read", a.place, {},
                      "%s + %zu bytes, %u of them read by %s before anything wrote them", a.name, a.offset,
                      a.size, Who(w).text);
        }
        if (!raced) raced = check_word(w, a, word);
        const bool is_first_touch = word.write_phase < first_of_launch && word.read_phase < first_of_launch;
        if (b && needs_value(a.way) && is_first_touch) read_bytes += granule;
        if (b && !reads(a.way) && word.write_phase < first_of_launch) written_bytes += granule;
        if (a.way == READ_BY_PRODUCT) continue;
        if (reads(a.way)) remember_read(w, a, word);
        else remember_write(w, a, word);
    }
    if (b && !reads(a.way)) set_bits(*b, from, from + a.size, nullptr, 0);
}

static Motion motion_of(Way way) { return way == ATOMIC ? UPDATE : reads(way) ? LOAD : STORE; }

static void record(const Worker& w, const Access& a) {
    if (a.way == BEGIN_COPY || a.way == READ_BY_PRODUCT) return;
    record_access(w, motion_of(a.way), a.number, a.space, a.address, a.size, a.name, a.address - a.offset);
}

static void check_shared(Worker& w, Access& a, Shadow& shadow, const char* at, bool aligned) {
    a.space = SHARED;
    a.since = first_of_block;
    if (aligned) check_alignment(w, a);
    if (counting && a.way != BEGIN_COPY && a.way != READ_BY_PRODUCT)
        count_access(w, a.number, SHARED, a.address, a.size, motion_of(a.way));
    if (recording) record(w, a);
    check_words(w, a, shadow, at, nullptr);
}

static void check_static(Worker& w, Access& a, bool aligned) {
    char name[64] = "static shared memory";
    const char* start = image.shared_start;
    if (image.variables.count) {
        const Variable* v = variable_at(a.address);
        if (v && !v->shared) return;
        if (!v || a.address + a.size > v->end) refuse_bounds(w, a);
        snprintf(name, sizeof name, "`%s`", v->name);
        start = v->start;
    }
    a.name = name;
    a.offset = (size_t)(a.address - start);
    check_shared(w, a, static_shadow, (const char*)((uintptr_t)image.shared_start & ~(uintptr_t)15), aligned);
}

static void check_global(Worker& w, Access& a, bool aligned) {
    Buffer* b = buffer_of(a.address);
    if (!b || a.size > (size_t)(b->end - a.address)) refuse_bounds(w, a);
    touched = b->start;
    a.space = GLOBAL;
    a.since = first_of_launch;
    a.name = "a buffer";
    a.offset = (size_t)(a.address - b->start);
    if (aligned) check_alignment(w, a);
    if (counting) count_access(w, a.number, GLOBAL, a.address, a.size, motion_of(a.way));
    if (a.way == ATOMIC) meet_at_flag(w.current, a.address);
    b->shadow.bytes = b->size();
    if (recording) record(w, a);
    check_words(w, a, b->shadow, b->start, b);
}

// `aligned`: whether the address must be a multiple of the size.
static void access(const void* where, unsigned size, Way way, const Place& place, bool aligned = true) {
    Worker* worker = here;
    if (!worker || !worker->guarded || !size) return;  // not in a launch
    Worker& w = *worker;
    Whole whole(w);
    const char* address = (const char*)where;
    if (w.stacks.holds(address)) return;  // local variables
    const bool in_image = address >= image.start && address < image.end;
    if (in_image && (address < image.shared_start || address >= image.shared_end)) return;  // constants
    touched = nullptr;
    Access a = {address, size, way, place, number_of(place), GLOBAL, 0, "", 0};
    if (in_image) return check_static(w, a, aligned);
    const char* dynamic = dynamic_start(w);
    if (address < dynamic || address >= (const char*)w.shared_end) return check_global(w, a, aligned);
    a.name = "dynamic shared memory";
    a.offset = (size_t)(address - dynamic);
    if (a.offset + size > dynamic_bytes) refuse_bounds(w, a);
    dynamic_shadow.bytes = MOST_SHARED;
    check_shared(w, a, dynamic_shadow, (const char*)w.shared_end - MOST_SHARED, aligned);
}

// The lanes of a warp have converged in ldmatrix: those with an address read a row of 16 bytes.
static void read_rows(Worker& w, unsigned warp) {
    const unsigned running = w.current;
    const LoadMatrix* operands[LANES];
    for (unsigned i = 0; i < LANES; i++) operands[i] = (const LoadMatrix*)w.wait[warp][i].operand;
    for (unsigned i = 0; i < 8 * (unsigned)operands[0]->count; i++) {
        w.current = warp * LANES + i;
        access(operands[i]->row, 16, READ_TOGETHER, {nullptr, w.site[w.current]});
    }
    w.current = running;
}

// ---- asynchronous copies ----------------------------------------------------------------------------------

// Executed when the thread waits for them and not before, so that a missing wait also shows in the results.
struct Copy {
    char* to;
    const char* from;
    unsigned bytes, group;  // the remainder of the 16 becomes zero
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
    access(to, 16, BEGIN_COPY, {nullptr, site});
    Whole whole(*here);
    copies[self].add({(char*)to, (const char*)from, bytes, groups[self], {nullptr, site}});
}

TT_API void tt_checked_commit(unsigned self) { tt_emu::groups[self]++; }

// Waits until at most `left` groups of this thread are pending.
TT_API void tt_checked_wait(unsigned self, unsigned left) {
    using namespace tt_emu;
    Whole whole(*here);
    List<Copy>& list = copies[self];
    size_t kept = 0;
    for (const Copy& copy : list) {
        if (copy.group + left >= groups[self]) {
            list[kept++] = copy;
            continue;
        }
        access(copy.from, copy.bytes, READ, copy.place);
        access(copy.to, 16, END_COPY, copy.place);
        memcpy(copy.to, copy.from, copy.bytes);
        memset(copy.to + copy.bytes, 0, 16 - copy.bytes);
    }
    list.count = kept;
}

TT_API void tt_checked_access(const void* address, unsigned size, int way, tt_emu::Site site) {
    tt_emu::access(address, size, (tt_emu::Way)way, {nullptr, site});
}

// Before each launch, with the size of its dynamic shared memory.
TT_API void tt_checked_begin(const tt_emu::Loaded* kernel, unsigned shared) {
    using namespace tt_emu;
    faulty_code = nullptr;
    refused = false;
    forget_work();
    look_at(*kernel->copies[0]);
    prepare_work();
    first_of_launch = ++phase;
    dynamic_bytes = shared;
    begun.clear();
    findings.clear();
    reset_clocks();
    forget_flags();
    forget_lines();
    forget_places();
    forget_events();
    if (shadow_bytes > KEPT_SHADOW) drop_shadows();
    const size_t size = (size_t)(image.shared_end - image.shared_start) + 16;
    if (size > static_shadow.bytes) static_shadow.drop();
    static_shadow.prepare(size, 4);
}

// ---- what the compiler calls before each access -----------------------------------------------------------

#define TT_CALLER tt_emu::Place{__builtin_return_address(0), {}}
#define TT_ACCESS(NAME, SIZE, WAY, ALIGNED) \
    TT_API void __tsan_##NAME##SIZE(void* at) { tt_emu::access(at, SIZE, tt_emu::WAY, TT_CALLER, ALIGNED); }
#define TT_ACCESSES(SIZE)                 \
    TT_ACCESS(read, SIZE, READ, true)     \
    TT_ACCESS(write, SIZE, WRITE, true)   \
    TT_ACCESS(unaligned_read, SIZE, READ, false) \
    TT_ACCESS(unaligned_write, SIZE, WRITE, false)
TT_ACCESSES(1)
TT_ACCESSES(2)
TT_ACCESSES(4)
TT_ACCESSES(8)
TT_ACCESSES(16)
TT_API void __tsan_read_range(void* at, size_t n) {
    tt_emu::access(at, (unsigned)n, tt_emu::READ, TT_CALLER, false);
}
TT_API void __tsan_write_range(void* at, size_t n) {
    tt_emu::access(at, (unsigned)n, tt_emu::WRITE, TT_CALLER, false);
}
TT_API void* __tsan_memset(void* to, int value, size_t n) {
    tt_emu::access(to, (unsigned)n, tt_emu::WRITE, TT_CALLER, false);
    return memset(to, value, n);
}
TT_API void* __tsan_memcpy(void* to, const void* from, size_t n) {
    tt_emu::access(from, (unsigned)n, tt_emu::READ, TT_CALLER, false);
    tt_emu::access(to, (unsigned)n, tt_emu::WRITE, TT_CALLER, false);
    return memcpy(to, from, n);
}
TT_API void* __tsan_memmove(void* to, const void* from, size_t n) { return __tsan_memcpy(to, from, n); }
TT_API void __tsan_init() {}
TT_API void __tsan_func_entry(void*) {}
TT_API void __tsan_func_exit() {}

// Index out of bounds of an array whose size the compiler knows.
struct UndefinedIndex {
    const char* file;
    unsigned line, column;
    const void *array, *index;
};
TT_API void __ubsan_handle_out_of_bounds(const UndefinedIndex* where, size_t index) {
    using namespace tt_emu;
    if (!here || !here->guarded) return;
    char text[160];
    snprintf(text, sizeof text, "index %td of an array that has no such element", (ptrdiff_t)index);
    touched = nullptr;
    refuse_access(*here, "out of bounds", {nullptr, {where->file, (int)where->line}}, text);
}
