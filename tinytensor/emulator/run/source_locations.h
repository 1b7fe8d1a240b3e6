// Numbered source locations; lists and text, since the core has no C++ library.
#pragma once
#include <elf.h>
#include <link.h>
#include <sys/stat.h>

#include "run/scheduler_entry.h"

namespace tt_emu {

enum Space : int { GLOBAL, SHARED, CONSTANT, LOCAL, NOWHERE };  // the last one: of the compiler
enum Motion : int { LOAD, STORE, UPDATE };                      // the last one by an atomic operation
static const char* const space_names[] = {"global", "shared", "constant", "local"};
static const char* const motion_names[] = {"load", "store", "atomic"};

template <class T>
struct List {
    T* items = nullptr;
    size_t count = 0, room = 0;

    T& add(const T& item) {
        if (count == room) {
            room = room ? 2 * room : 16;
            items = (T*)realloc((void*)items, room * sizeof(T));
            if (!items) abort();
        }
        return items[count++] = item;
    }
    T& operator[](size_t i) { return items[i]; }
    T* begin() { return items; }
    T* end() { return items + count; }
    void clear() { count = 0; }
    void drop() {
        free((void*)items);
        items = nullptr;
        count = room = 0;
    }
};

// Output for the host: lines of tab-separated fields. If `used` exceeds `room`, the host calls again.
struct Text {
    char* to;
    size_t room, used;
    __attribute__((format(printf, 2, 3))) void add(const char* format, ...) {
        va_list values;
        va_start(values, format);
        const size_t left = used < room ? room - used : 0;
        used += (size_t)vsnprintf(to + (left ? used : 0), left, format, values);
        va_end(values);
    }
};

// Source location of an access: an address in the code of the unit, or a file and line if known.
struct Place {
    const void* code;
    Site site;
    bool operator==(const Place& other) const {
        return code == other.code && site.line == other.site.line && site.file == other.site.file;
    }
};

constexpr unsigned MOST_PLACES = 1 << 16;
static List<Place> places;                   // of this launch; number 0: none
static uint16_t place_table[MOST_PLACES];  // numbers, by hash

static uint16_t number_of(const Place& place) {
    const size_t key = (size_t)place.code + (size_t)place.site.line * 1009 + (size_t)place.site.file;
    size_t at = key * 0x9e3779b97f4a7c15ull >> 48;
    for (;; at = (at + 1) % MOST_PLACES) {
        const uint16_t number = place_table[at];
        if (!number) break;
        if (places[number] == place) return number;
    }
    if (places.count >= MOST_PLACES / 2) return 0;  // more than any file has
    places.add(place);
    return place_table[at] = (uint16_t)(places.count - 1);
}

// What is known of a call site, by its offset in the unit.
struct Spot {
    uint16_t number;  // of the place
    uint16_t node;    // of the basic block that begins there (convergence.h)
    uint32_t region;  // number of the memory that it accessed last, from 1 (accesses.h)
    uint32_t line;    // of the counters of that access, from 1; 0 before it is counted (counters.h)
    bool is_passed;   // whether the basic block is in `passed` (flops.h)
    uint64_t passes;  // of that block, in the running block of threads
};
static Spot* spots;
static const char* spots_start;
static size_t spots_size;

static Spot* spot_of(const void* code) {
    const size_t offset = (size_t)((const char*)code - spots_start);
    return offset < spots_size ? spots + offset : nullptr;
}

static uint16_t number_at(const void* code) {
    Spot* spot = spot_of(code);
    if (!spot) return number_of({code, {}});
    if (!spot->number) spot->number = number_of({code, {}});
    return spot->number;
}

static void forget_places() {
    for (size_t i = 1; i < places.count; i++)
        if (Spot* spot = places[i].code ? spot_of(places[i].code) : nullptr) *spot = {};
    if (places.count > 1) memset(place_table, 0, sizeof place_table);
    places.clear();
    places.add({});
}

}  // namespace tt_emu
