// Recording for a replay: the accesses of the first blocks in the order of the run, with their values, and
// the barriers and warp operations between them. Off unless the host asks for blocks.
#pragma once
#include "check/happens_before.h"

namespace tt_emu {

struct Recorded {  // a shared variable, or a buffer
    const char* start;
    Space space;
    char name[48];
};

struct Event {
    const char* what;  // a motion, "barrier", or a warp operation
    uint16_t thread, place, memory;  // memory: NO_MEMORY unless it is an access
    unsigned block;      // in the order of the run
    unsigned size;       // bytes of an access; lanes of a warp operation, threads at a barrier
    const char* address;
    uint64_t value[2];  // of an access, afterwards
    unsigned request;   // which accesses the counters join; 0: unknown
    bool refused;       // whether it ended the launch, without being executed
};

constexpr size_t MOST_EVENTS = 1 << 16;  // of a launch
constexpr uint32_t NO_EVENT = ~0u;
constexpr uint16_t NO_MEMORY = 0xffff;
static List<Event> events;
static List<Recorded> memories;
static unsigned blocks_to_record;
static bool recording;
static unsigned requests;  // that were joined
static bool settling;  // whether the last event is an access whose value is not known yet

static void read_value(Event& e) { memcpy(e.value, e.address, e.size < 16 ? e.size : 16); }

// Reads the value of the last access: a write has been executed when the next event comes. Compilers announce
// the write of a copied struct before the read, and copy it after that.
static void settle() {
    if (!settling) return;
    const size_t last = events.count - 1;
    read_value(events[last]);
    if (last && events[last].what == motion_names[LOAD] && events[last - 1].what == motion_names[STORE])
        read_value(events[last - 1]);
    settling = false;
}

static void add_event(const char* what, unsigned thread, uint16_t place, uint16_t memory, unsigned size,
                      const char* address) {
    if (events.count == MOST_EVENTS) recording = false;
    settle();
    if (!recording) return;
    const unsigned block = (unsigned)begun.count - 1;
    events.add({what, (uint16_t)thread, place, memory, block, size, address, {}, 0, false});
}

static uint16_t number_of_memory(Space space, const char* name, const char* start) {
    size_t i = 0;
    while (i < memories.count && (memories[i].start != start || memories[i].space != space)) i++;
    if (i == memories.count) {
        Recorded memory = {start, space, {}};
        snprintf(memory.name, sizeof memory.name, "%s", name);
        memories.add(memory);
    }
    return (uint16_t)i;
}

// Returns the number of the event.
static uint32_t record_access(const Worker& w, Motion motion, uint16_t place, Space space,
                              const char* address, unsigned size, const char* name, const char* start) {
    add_event(motion_names[motion], w.current, place, number_of_memory(space, name, start), size, address);
    settling = recording;
    return recording ? (uint32_t)events.count - 1 : NO_EVENT;
}

// What ends the launch is the last event, also of a block that is not recorded and behind MOST_EVENTS.
static void record_refused(const Worker& w, const char* what, uint16_t place, uint16_t memory, unsigned size,
                           const char* address) {
    if (!blocks_to_record) return;
    settle();
    const unsigned block = (unsigned)begun.count - 1;
    events.add({what, (uint16_t)w.current, place, memory, block, size, address, {}, 0, true});
    recording = false;
}

static void record_barrier(const Worker& w) {
    const Place at = {nullptr, w.site[w.first_arrived]};
    add_event("barrier", w.first_arrived, number_of(at), NO_MEMORY, w.arrived, nullptr);
}

static void record_warp(Worker& w, unsigned warp, unsigned lanes) {
    if (!recording) return;
    Whole whole(w);
    const unsigned thread = warp * LANES + lowest(lanes);
    const Place at = {nullptr, w.site[thread]};
    const char* const what = kind_names[w.wait[warp][lowest(lanes)].kind];
    add_event(what, thread, number_of(at), NO_MEMORY, lanes, nullptr);
}

// These accesses are one request.
static void join_events(unsigned lanes, const uint32_t* numbers) {
    if (!blocks_to_record) return;
    requests++;
    for (; lanes; lanes &= lanes - 1) {
        const uint32_t number = numbers[lowest(lanes)];
        if (number < events.count && events[number].address) events[number].request = requests;
    }
}

static void begin_recording() { recording = begun.count <= blocks_to_record && events.count < MOST_EVENTS; }

static void end_recording() {
    settle();
    recording = false;
}

static void forget_events() {
    events.clear();
    memories.clear();
    requests = 0;
    recording = settling = false;
}

}  // namespace tt_emu

// Number of blocks of a launch that are recorded; 0 for none.
TT_API void tt_checked_record_blocks(unsigned blocks) { tt_emu::blocks_to_record = blocks; }
