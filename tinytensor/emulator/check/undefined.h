// What C++ leaves undefined and the compiler finds (-fsanitize): an index beyond an array whose size it knows
// ends the launch; shifts and conversions are warnings.
#pragma once
#include "check/accesses.h"

struct UndefinedType {
    uint16_t kind, info;  // kind 0: an integer, info / 2 is log2 of its bits; 1: a float of `info` bits
    char name[];          // in quotes
};
struct Undefined {
    const char* file;
    unsigned line, column;
    const UndefinedType *first, *second;  // array, index; of a shift: both sides; of a conversion: from, to

    tt_emu::Place place() const { return {nullptr, {file, (int)line}}; }
};

// Index out of bounds of an array whose size the compiler knows.
TT_API void __ubsan_handle_out_of_bounds(const Undefined* where, size_t index) {
    using namespace tt_emu;
    if (!here || !here->guarded) return;
    char text[160];
    snprintf(text, sizeof text, "index %td of an array of type %s", (ptrdiff_t)index, where->first->name);
    touched = nullptr;
    const uint16_t place = number_of(where->place());
    record_refused(*here, "array index", place, NO_MEMORY, 1u << here->current % LANES, nullptr);
    if (blocks_to_record) {
        Event& e = events[events.count - 1];
        e.value[0] = index, e.value[1] = where->column;
    }
    refuse_access(*here, "out of bounds", where->place(), text);
}

// These two are warnings: a GPU gives a number, but another one than this machine.
TT_API void __ubsan_handle_shift_out_of_bounds(const Undefined* where, size_t, size_t count) {
    using namespace tt_emu;
    if (!here || !here->guarded) return;
    const char* const kind = "shift out of range";
    touched = nullptr;
    const unsigned bits = 1u << where->first->info / 2;
    const char* const text =
        "a number of %u bits is shifted by %d by %s; a GPU moves all bits out, the CPU does not";
    is_harmless(found(kind, where->place(), {}, text, bits, (int)count, Who(*here).text), kind);
}
TT_API void __ubsan_handle_float_cast_overflow(const Undefined* where, size_t bits) {
    using namespace tt_emu;
    if (!here || !here->guarded || where->first->kind != 1 || where->first->info > 64) return;
    const char* const kind = "conversion out of range";
    double value;
    float narrow;
    memcpy(&value, &bits, sizeof value);
    memcpy(&narrow, &bits, sizeof narrow);
    if (where->first->info == 32) value = narrow;
    touched = nullptr;
    const char* const text =
        "%g is converted to %s by %s; a GPU gives the nearest number of this type, or 0 for nan";
    is_harmless(found(kind, where->place(), {}, text, value, where->second->name, Who(*here).text), kind);
}
