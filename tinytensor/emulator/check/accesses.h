// Checks of every memory access of a kernel: bounds and alignment, then races and uninitialized reads, then
// counters.
#pragma once
#include "check/heap.h"

namespace tt_emu {

static Shadow image_shadow, dynamic_shadow;
static unsigned dynamic_bytes;  // as requested by the launch; the memory is rounded up

static const char* dynamic_start(const Worker& w) { return (const char*)w.job.dynamic_shared; }

static void set_memory(Access& a, Space space, const char* name, const char* start) {
    a.space = space, a.name = name, a.offset = (size_t)(a.address - start);
}

// Describes what is near an address that is in no buffer, and makes it the memory of the access.
static void describe_outside(const Worker& w, Access& a, char (&text)[240]) {
    const int used = snprintf(text, sizeof text, "%u-byte %s at ", a.size, way_names[a.way]);
    char* to = text + used;
    const size_t room = sizeof text - (size_t)used;
    const char *address = a.address, *end = (const char*)w.shared_end;
    if (address < end + GUARD && address >= end - MOST_SHARED) {
        set_memory(a, SHARED, "dynamic shared memory", dynamic_start(w));
        snprintf(to, room, "byte %td of dynamic shared memory, of which the launch asked for %u bytes",
                 a.offset, dynamic_bytes);
        return;
    }
    const Variable* variable = nullptr;  // the last one that begins before the address
    if (address >= image.shared_start && address < image.shared_end + 65536)
        for (const Variable& v : image.variables)
            if (v.space == SHARED && v.start <= address && (!variable || v.start > variable->start))
                variable = &v;
    if (variable) {
        set_memory(a, SHARED, variable->name, variable->start);
        snprintf(to, room, "byte %td of %s, shared memory of %td bytes", a.offset, variable->name,
                 variable->end - variable->start);
        return;
    }
    for (const auto& b : freed) {
        const size_t next = place_of(b.start);
        const bool reused = next < buffers.count && buffers[next].start < b.end;
        if (address < b.start || address >= b.end || reused) continue;
        set_memory(a, GLOBAL, "freed memory", b.start);
        snprintf(to, room, "byte %td of a buffer of %td bytes that was freed", a.offset, b.end - b.start);
        return;
    }
    const Buffer* nearest = nullptr;
    size_t best = 1 << 20, at = place_of(address);
    for (size_t i = at > 0 ? at - 1 : 0; i < buffers.count && i <= at; i++) {
        const Buffer& b = buffers[i];
        const ptrdiff_t before = b.start - address, behind = address - b.end;
        const size_t distance = before > 0 ? (size_t)before : behind > 0 ? (size_t)behind : 0;
        if (distance < best) best = distance, nearest = &b;
    }
    if (nearest) {
        touched = nearest->start;
        set_memory(a, GLOBAL, "a buffer", nearest->start);
        snprintf(to, room, "byte %td of a buffer of %zu bytes", a.offset, nearest->size());
    } else {
        set_memory(a, GLOBAL, "", nullptr);
        const size_t number = a.offset;
        const char* const what = number < 4096 ? "a null pointer" : "where no buffer is";
        snprintf(to, room, "address %#zx, %s", number, what);
    }
}

[[noreturn]] static void refuse_bounds(Worker& w, Access a) {
    char text[240];
    describe_outside(w, a, text);
    refuse(w, a, "out of bounds", text);
}

static void check_alignment(Worker& w, const Access& a) {
    const bool power = a.size == 2 || a.size == 4 || a.size == 8 || a.size == 16;
    if (!power || (uintptr_t)a.address % a.size == 0) return;
    char text[160];
    snprintf(text, sizeof text, "%u-byte %s at byte %zu of %s; the address is no multiple of %u", a.size,
             way_names[a.way], a.offset, a.name, a.size);
    refuse(w, a, "misaligned access", text);
}

// Whether all bytes of a word of global memory were written before.
static bool is_initialized(const Buffer& b, size_t word, unsigned granule) {
    if (!b.initialized) return true;
    const unsigned bits = ((1u << granule) - 1) << word * granule % 4;
    const size_t left = b.size() - word * granule;
    const unsigned there = left < granule ? bits & ((1u << left) - 1) : bits;
    return (b.initialized[word * granule / 4] & there) == there;
}

// Runs another thread at an access of the running one, which stays ready.
static void continue_with(Worker& w, unsigned next, const Place& place) {
    const unsigned self = w.current;
    unsigned thread[3];
    w.exchange(thread, false);
    const bool whole = w.whole;
    give_way(w, self, next, place.site);
    w.whole = whole;
    w.exchange(thread, true);
}

// ---- schedules: at which accesses other threads continue (schedules.py) -----------------------------------

struct Switch {
    uint64_t block;
    unsigned thread, step, to;  // step: which access of the thread
    uint16_t place;
};
static unsigned one_in;            // accesses of which one is a switch, of random schedules
static List<Switch> given, made;   // switches to make, and those that were made
static unsigned steps[MOST_THREADS];
constexpr size_t MOST_SWITCHES = 1 << 12;

static int switch_at(Worker& w, uint64_t block, unsigned self, unsigned step) {
    if (exploring == GIVEN) {
        for (const Switch& s : given)
            if (s.block == block && s.thread == self && s.step == step)
                return w.ready[s.to / LANES] >> s.to % LANES & 1 ? (int)s.to : -1;
        return -1;
    }
    if (made.count >= MOST_SWITCHES || !w.warps_ready || draw(w) % one_in) return -1;
    return (int)draw_ready(w);
}

static void explore(Worker& w, const Place& place, uint16_t number) {
    const unsigned self = w.current, step = steps[self]++;
    const uint64_t block = block_number(w);
    const int to = switch_at(w, block, self, step);
    if (to < 0) return;
    made.add({block, self, step, (unsigned)to, number});
    continue_with(w, (unsigned)to, place);
}

// Memory that accesses of a line may touch: a buffer, or a variable.
struct Region {
    const char *start, *end;
    Shadow* shadow;
    const char* shadow_start;
    Buffer* buffer;  // null for variables
    Space space;
    const char* name;
    size_t size = (size_t)(end - start);
    Word* words = nullptr;  // of the shadow; with these, usual accesses need no more of it
    unsigned granule = 0;
    unsigned char* bits = buffer ? buffer->initialized : nullptr;

    uint64_t since() const { return space == SHARED ? first_of_block : first_of_launch; }
};
static List<Region> regions;  // of this launch; number 0: none

// After a kernel has allocated or freed memory: buffers have moved in their list, or are no more.
static void follow_buffers() {
    for (Region& r : regions) {
        if (!r.buffer) continue;
        r.buffer = buffer_of(r.start);
        if (!r.buffer || r.buffer->start != r.start || r.buffer->end != r.end) {
            r = {};
            continue;
        }
        r.shadow = &r.buffer->shadow;
        r.words = r.shadow->words;
        r.granule = r.words ? r.shadow->granule : 0;
        r.bits = r.buffer->initialized;
    }
}

static void check_words(Worker& w, const Access& a, const Region& region) {
    Shadow& shadow = *region.shadow;
    Buffer* b = region.buffer;
    const size_t from = (size_t)(a.address - region.shadow_start);
    if (!shadow.prepare(shadow.bytes, granule_of(from, a.size)))
        fail(w, "the launch touches more memory than the device checked can watch: it keeps 32 bytes for "
                "each 4, and at most 8 GiB");
    for (Region& r : regions)
        if (r.shadow == &shadow && r.space != CONSTANT) r.words = shadow.words, r.granule = shadow.granule;
    const unsigned granule = shadow.granule;
    const bool may_be_unwritten = needs_value(a.way) && !a.initializes && (b || a.space == SHARED);
    // Copying a struct reads its padding bytes, which need not be initialized.
    const size_t padding = a.size > 16 ? 8 : 0;
    size_t missing = 0;  // bytes in a row
    bool raced = false, unwritten = false;
    for (size_t i = from / granule; i * granule < from + a.size; i++) {
        Word& word = shadow.words[i];
        if (!raced) raced = check_pending(w, a, word);
        if (may_be_unwritten && !unwritten) {
            const bool is_written =
                b ? is_initialized(*b, i, granule) : word.write_phase >= first_of_block;
            missing = is_written ? 0 : missing + granule;
            unwritten = missing > padding;
            if (unwritten)
                found(b ? "uninitialized global read" : "uninitialized shared read", a.place, {},
                      "%s + %zu bytes, %u of them read by %s before anything wrote them", a.name, a.offset,
                      a.size, Who(w).text);
        }
        if (!raced) raced = check_word(w, a, word);
        const bool is_first_touch = word.write_phase < first_of_launch && word.read_phase < first_of_launch;
        if (a.space == GLOBAL && needs_value(a.way) && is_first_touch) read_bytes += granule;
        if (a.space == GLOBAL && !reads(a.way) && word.write_phase < first_of_launch)
            written_bytes += granule;
        if (a.way == READ_BY_PRODUCT) continue;
        if (reads(a.way)) remember_read(w, a, word);
        else remember_write(w, a, word);
    }
    if (b && !reads(a.way)) set_bits(*b, from, from + a.size, nullptr, 0);
}

static uint32_t record(const Worker& w, const Access& a) {
    if (a.way == BEGIN_COPY || a.way == READ_BY_PRODUCT) return NO_EVENT;
    const char* start = a.address - a.offset;
    return record_access(w, motion_of(a.way), a.number, a.space, a.address, a.size, a.name, start);
}

// The region of an address; null for memory that is not watched. Refuses what is nowhere.
static const Region* region_of(Worker& w, const Access& a) {
    const char* address = a.address;
    for (const Region& r : regions)  // few: those of the buffers and variables of a kernel
        if (address >= r.start && address < r.end) return &r;
    if (address >= image.start && address < image.end) {
        const Variable* v = variable_at(address);
        const bool in_shared = address >= image.shared_start && address < image.shared_end;
        if (!v && !image.variables.count && in_shared) {
            const char* start = (const char*)((uintptr_t)image.shared_start & ~(uintptr_t)15);
            return &regions.add({image.shared_start, image.shared_end, &image_shadow, start, nullptr, SHARED,
                                 "static shared memory"});
        }
        if (!v && in_shared) refuse_bounds(w, a);
        if (!v || v->space == NOWHERE) return nullptr;
        return &regions.add({v->start, v->end, &image_shadow, image.data_start, nullptr, v->space, v->name});
    }
    const char* dynamic = dynamic_start(w);
    if (address >= dynamic && address < (const char*)w.shared_end) {
        if (address >= dynamic + dynamic_bytes) refuse_bounds(w, a);
        dynamic_shadow.bytes = MOST_SHARED;
        return &regions.add({dynamic, dynamic + dynamic_bytes, &dynamic_shadow,
                             (const char*)w.shared_end - MOST_SHARED, nullptr, SHARED,
                             "dynamic shared memory"});
    }
    const bool in_heap = heap_holds(address);
    Buffer* b = in_heap ? &heap : buffer_of(address);
    if (!b) refuse_bounds(w, a);
    b->shadow.bytes = b->size();
    return &regions.add({b->start, b->end, &b->shadow, b->start, b, GLOBAL,
                         in_heap ? "memory of malloc" : "a buffer"});
}

// Where a local variable that no register holds is: the words of a warp's lanes are neighbors.
static void count_local(const Worker& w, const char* address, unsigned size, Way way, const Place& place) {
    if (!counting || way > ATOMIC || !place.code) return;
    const size_t offset = (size_t)(w.stacks.top(w.stack_of[w.current]) - address), lane = w.current % LANES;
    const char* there = (const char*)(offset / 4 * 4 * LANES + lane * 4 + offset % 4);
    count_access(w, number_at(place.code), LOCAL, there, size, motion_of(way));
}

// The running thread polls an address.
static void wait_for_others(Worker& w, const Access& a) {
    end_earlier(w);
    if (!w.idle++) w.idle_since = now();
    if (w.idle % 1024 == 0 && now() - w.idle_since > patience) {
        char text[320];
        snprintf(text, sizeof text,
                 "%s of %s + %zu bytes again and again for %.1f s; no other thread of the block does "
                 "anything else, and later blocks begin when this one has ended; waiting",
                 way_names[a.way], a.name, a.offset, patience);
        refuse_access(w, "endless wait", a.place, text);
    }
    const int next = next_ready(w, w.current);
    if (next >= 0) continue_with(w, (unsigned)next, a.place);
}

// An atomic or a volatile operation: may order threads, and may be one of many with which a thread waits.
static void meet_others(Worker& w, const Access& a) {
    struct Polled {
        const char* addresses[2];  // a thread may wait for two flags in turn
        unsigned times;
    };
    static Polled polled[MOST_THREADS];
    Polled& p = polled[w.current];
    const bool again = p.addresses[0] == a.address || p.addresses[1] == a.address;
    if (a.way == VOLATILE_WRITE || !again) p = {{a.address, p.addresses[0]}, 0};
    if (++p.times > 64) wait_for_others(w, a);
    meet_at_flag(w, a.address, a.way != VOLATILE_WRITE, a.way != VOLATILE_READ);
    if (a.way == ATOMIC) end_read_first(w, a.address);
}

static bool for_others;  // accesses are those of threads that wait, so no other one may continue at them

static TT_OF_THREAD bool by_algorithm;  // whether an algorithm of the host (Thrust) writes device memory

// `aligned`: whether the address must be a multiple of the size.
static void access(const void* where, unsigned size, Way way, const Place& place, bool aligned = true) {
    const bool initializes = way == EXCHANGE;
    if (initializes) way = ATOMIC;
    Worker* worker = here;
    if (!worker || !worker->guarded || !size) {  // not in a launch
        if (by_algorithm && size && way == WRITE) tt_checked_fill((const char*)where, size);
        return;
    }
    Worker& w = *worker;
    Whole whole(w);
    compare_written();
    const char* address = (const char*)where;
    if (w.stacks.holds(address)) return count_local(w, address, size, way, place);
    touched = nullptr;
    const uint16_t number = place.code ? number_at(place.code) : number_of(place);
    Access a = {address, size, way, place, number, GLOBAL, 0, "", 0};
    if (exploring && !for_others) explore(w, place, number);
    const Region* found = region_of(w, a);
    if (!found) return;
    const size_t which = (size_t)(found - regions.items);
    const Region copy = *found, *region = &copy;  // the list may grow while other threads run
    if (size > (size_t)(region->end - address)) refuse_bounds(w, a);
    a.initializes = initializes;
    a.space = region->space;
    a.since = region->since();
    a.name = region->name;
    a.offset = region->buffer == &heap ? offset_in_block(w, a) : (size_t)(address - region->start);
    if (region->buffer) touched = region->start;
    if (aligned) check_alignment(w, a);
    const uint32_t event = recording ? record(w, a) : NO_EVENT;
    uint32_t line = 0;
    if (counting && way != BEGIN_COPY && way != READ_BY_PRODUCT)
        line = count_access(w, number, a.space, address, size, motion_of(way), event);
    if (is_strong(way)) meet_others(w, a);
    if (!reads(way) && way != ATOMIC) w.idle = 0;
    if (a.space != CONSTANT) check_words(w, a, *region);
    if (!reads(way) && undefined_of[w.current]) stored = {address, size, undefined_of[w.current] - 1};
    if (region->buffer == &heap) return;  // its blocks are looked up at each access
    if (Spot* spot = place.code ? spot_of(place.code) : nullptr)
        spot->region = (uint32_t)which, spot->line = line;
}

// The lanes of a warp have converged in ldmatrix: those with an address read a row of 16 bytes.
static void read_rows(Worker& w, unsigned warp) {
    const unsigned running = w.current;
    const LoadMatrix* operands[LANES];
    for (unsigned i = 0; i < LANES; i++) operands[i] = (const LoadMatrix*)w.wait[warp][i].operand;
    for_others = true;
    for (unsigned i = 0; i < 8 * (unsigned)operands[0]->count; i++) {
        w.current = warp * LANES + i;
        access(operands[i]->row, 16, READ_TOGETHER, {nullptr, w.site[w.current]});
    }
    for_others = false;
    w.current = running;
}

// ---- asynchronous copies ----------------------------------------------------------------------------------

// Executed when the thread waits for them and not before, so that a missing wait also shows in the results.
struct Copy {
    char* to;
    const char* from;
    unsigned size, bytes, group;  // what of the size is behind the bytes becomes zero
    Place place;
};
static List<Copy> copies[MOST_THREADS];
static unsigned groups[MOST_THREADS];

static void forget_copies(const Worker& w) {
    for (unsigned t = 0; t < w.threads; t++) copies[t].clear();
    memset(groups, 0, w.threads * sizeof *groups);
}

}  // namespace tt_emu

TT_API void tt_checked_copy(unsigned self, void* to, const void* from, unsigned size, unsigned bytes,
                            tt_emu::Site site) {
    using namespace tt_emu;
    bytes = bytes > size ? size : bytes;
    access(to, size, BEGIN_COPY, {nullptr, site});
    Whole whole(*here);
    copies[self].add({(char*)to, (const char*)from, size, bytes, groups[self], {nullptr, site}});
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
        access(copy.to, copy.size, END_COPY, copy.place);
        memcpy(copy.to, copy.from, copy.bytes);
        memset(copy.to + copy.bytes, 0, copy.size - copy.bytes);
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
    forget_lines();
    forget_places();
    forget_work();
    look_at(*kernel->copies[0]);
    prepare_work();
    regions.clear();
    regions.add({});
    in_program = !kernel->unit, for_others = false;
    first_of_launch = ++phase;
    dynamic_bytes = shared;
    begun.clear();
    findings.clear();
    reset_clocks();
    forget_flags();
    forget_events();
    written.address = stored.address = nullptr;
    if (shadow_bytes > KEPT_SHADOW) drop_shadows(), heap.shadow.drop();
    const size_t size = (size_t)(image.shared_end - image.data_start) + 16;
    if (size > image_shadow.bytes) image_shadow.drop();
    image_shadow.prepare(size, 4);
}

// ---- what the compiler calls before each access -----------------------------------------------------------

namespace tt_emu {

static void see(Worker* w) {
    seen_worker = w;
    choose_way();
    // Other threads can run at any access, or local variables have places on a stack of their thread.
    if (w) w->single = !usual_worker || counting;
    if (exploring) memset(steps, 0, sizeof steps);
}

// A read of a word that other threads of the block have read, too.
static __attribute__((noinline)) void read_again(const Worker& w, const Region& r, const char* address,
                                                 uint16_t number, Word& word) {
    remember_read(w, {address, 0, READ, {}, number, r.space, r.since(), r.name, 0}, word);
}

// Handles the usual access: in the region that its line accessed last, of whole words, and after or by the
// same thread as what came before, but for reads after reads. Everything else is for `access`.
template <unsigned SIZE, bool WRITES, bool IS_SHARED>
static inline bool is_usual(Worker& w, const Spot& spot, const Region& r, const char* address) {
    constexpr unsigned GRANULE = SIZE < 4 ? SIZE : 4;
    const size_t offset = (size_t)(address - r.start);
    if (offset >= r.size || r.size - offset < SIZE || (uintptr_t)address % SIZE) return false;
    if (r.granule != GRANULE) return r.space == CONSTANT;
    Word* words = r.words + (size_t)(address - r.shadow_start) / GRANULE;
    const uint64_t launch = half_of(first_of_launch), block = half_of(first_of_block), now = half_of(phase);
    const uint64_t since = IS_SHARED ? block : launch, own = now | w.current;
    const auto is_before = [&](uint64_t half) { return half < since || half - block < now - block; };
    const uint32_t lane = 1u << w.current % LANES;
    const auto was_read_by_others = [&](uint64_t half, const Word& word) {
        const uint64_t who = half & ~(READ_VOLATILE_BIT | OTHERS_DONE_BIT | LAST_DONE_BIT);
        return half >= since && (who != own || word.read_lanes != lane) && !is_before(half);
    };
    unsigned char* bits = r.bits ? r.bits + offset / 4 : nullptr;  // which bytes of each 4 were written
    const unsigned char all = SIZE >= 4 ? 15 : (unsigned char)(((1 << SIZE) - 1) << offset % 4);
    for (size_t i = 0; i < SIZE / GRANULE; i++) {
        const Halves last(words[i]);
        if (last.written >= since) {
            if (last.written & PENDING_BIT) return false;
            const uint64_t who = last.written & ~(ATOMIC_BIT | WRITTEN_VOLATILE_BIT);
            if (who != own && !is_before(last.written)) return false;
        } else if (!WRITES && IS_SHARED) {
            return false;  // uninitialized
        }
        if (!WRITES && bits && (bits[i] & all) != all) return false;
        if (WRITES && was_read_by_others(last.read, words[i])) return false;
    }
    const uint32_t clock = seen[w.current][w.current % LANES];
    for (size_t i = 0; i < SIZE / GRANULE; i++) {
        Word& word = words[i];
        const Halves last(word);
        if (!IS_SHARED && last.written < launch && (WRITES || last.read < launch))
            (WRITES ? written_bytes : read_bytes) += GRANULE;
        if (WRITES) {
            put_written(word, own);
            word.write_clock = clock, word.write_place = spot.number;
            if (bits) bits[i] |= all;
        } else if (was_read_by_others(last.read, word)) {
            if (has_other_reader(w.current, word)) join_readers(w.current, address, word, clock, false);
            else read_again(w, r, address, spot.number, word);
        } else {
            put_read(word, own | OTHERS_DONE_BIT);
            word.read_clock = clock, word.read_lanes = lane, word.read_place = spot.number;
        }
    }
    if (WRITES) w.idle = 0;
    return true;
}

// Apart, so that a usual access saves no registers.
template <unsigned SIZE, bool WRITES>
static __attribute__((noinline)) void other_access(void* at, const void* code) {
    if (seen_worker || by_algorithm) access(at, SIZE, WRITES ? WRITE : READ, {code, {}}, true);
}

template <unsigned SIZE, bool WRITES>
static __attribute__((noinline)) void usual_access(void* at, const void* code) {
    const Spot* spot = usual_worker ? spot_of(code) : nullptr;
    if (!spot) return other_access<SIZE, WRITES>(at, code);
    Worker& w = *usual_worker;
    const Region& r = regions[spot->region];
    const char* address = (const char*)at;
    if (counting && !spot->line) return other_access<SIZE, WRITES>(at, code);
    const bool usual = r.space == SHARED ? is_usual<SIZE, WRITES, true>(w, *spot, r, address)
                                         : is_usual<SIZE, WRITES, false>(w, *spot, r, address);
    if (!usual) other_access<SIZE, WRITES>(at, code);
    else if (counting) count_again(w, spot->line, address);
}

// threadIdx and similar variables of the unit are read most often.
static inline bool is_private(const void* at) {
    return (size_t)((const char*)at - image.private_start) < image.private_size;
}

}  // namespace tt_emu

#define TT_CALLER tt_emu::Place{__builtin_return_address(0), {}}
#define TT_USUAL(NAME, SIZE, WRITES) \
    TT_API void __tsan_##NAME##SIZE(void* at) { \
        if (tt_emu::is_private(at)) return; \
        tt_emu::usual_access<SIZE, WRITES>(at, __builtin_return_address(0)); \
    }
#define TT_ACCESS(NAME, SIZE, WAY, ALIGNED) \
    TT_API void __tsan_##NAME##SIZE(void* at) { tt_emu::access(at, SIZE, tt_emu::WAY, TT_CALLER, ALIGNED); }
#define TT_ACCESSES(SIZE)                             \
    TT_USUAL(read, SIZE, false)                       \
    TT_USUAL(write, SIZE, true)                       \
    TT_ACCESS(volatile_read, SIZE, VOLATILE_READ, true) \
    TT_ACCESS(volatile_write, SIZE, VOLATILE_WRITE, true) \
    TT_ACCESS(unaligned_read, SIZE, READ, false)      \
    TT_ACCESS(unaligned_write, SIZE, WRITE, false)    \
    TT_ACCESS(unaligned_volatile_read, SIZE, VOLATILE_READ, false) \
    TT_ACCESS(unaligned_volatile_write, SIZE, VOLATILE_WRITE, false)
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
// Of the pointer to its virtual functions, which constructors set in an object.
TT_API void __tsan_vptr_update(void* at, void*) { tt_emu::access(at, 8, tt_emu::WRITE, TT_CALLER); }
TT_API void __tsan_vptr_read(void* at) { tt_emu::access(at, 8, tt_emu::READ, TT_CALLER); }
TT_API void __tsan_init() {}

TT_API void* tt_emu_malloc(size_t bytes) {
    tt_emu::Whole whole(*tt_emu::here);
    return tt_emu::allocate(bytes);
}
TT_API void tt_emu_free(void* address) {
    tt_emu::Whole whole(*tt_emu::here);
    tt_emu::release(*tt_emu::here, address, TT_CALLER);
}

TT_API void __tsan_func_entry(void*) {
    if (tt_emu::counting && tt_emu::seen_worker)
        tt_emu::depths[tt_emu::here->current]++, tt_emu::recent.code = nullptr;
}
TT_API void __tsan_func_exit() {
    if (tt_emu::counting && tt_emu::seen_worker)
        tt_emu::depths[tt_emu::here->current]--, tt_emu::recent.code = nullptr;
}

// ---- schedules --------------------------------------------------------------------------------------------

namespace tt_emu {
static List<char> saved_variables;
}  // namespace tt_emu

// The next launches switch threads at random accesses, one of `one_in`; 0: at none.
TT_API void tt_checked_explore(unsigned one_in, unsigned long long seed) {
    using namespace tt_emu;
    exploring = one_in ? RANDOM : DEFAULT;
    tt_emu::one_in = one_in;
    seed_of_switches = seed;
    given.clear();
    made.clear();
}

// The next launches make these switches: block, thread, step and the next thread of each.
TT_API void tt_checked_replay(const unsigned long long* numbers, size_t count) {
    using namespace tt_emu;
    exploring = GIVEN;
    given.clear();
    made.clear();
    for (size_t i = 0; i < count; i++, numbers += 4)
        given.add({numbers[0], (unsigned)numbers[1], (unsigned)numbers[2], (unsigned)numbers[3], 0});
}

// The switches of the last launch.
TT_API size_t tt_checked_switches(char* to, size_t room) {
    using namespace tt_emu;
    Text text = {to, room, 0};
    for (const Switch& s : made) {
        text.add("%llu\t%u\t%u\t%u", (unsigned long long)s.block, s.thread, s.step, s.to);
        print_place(text, places[s.place]);
        text.add("\n");
    }
    return text.used;
}

// Saves the __device__ variables of the unit that ran last, or restores them.
TT_API void tt_checked_keep_variables(int restore) {
    using namespace tt_emu;
    size_t at = 0;
    if (!restore) saved_variables.clear();
    for (const Variable& v : image.variables) {
        if (v.space != GLOBAL) continue;
        for (char* p = (char*)v.start; p < v.end; p++) {
            if (!restore) saved_variables.add(*p);
            else if (at < saved_variables.count) *p = saved_variables[at++];
        }
    }
}
