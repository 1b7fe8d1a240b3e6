// What the checker found: kind, place, who. Equal findings are counted, not repeated.
#pragma once
#include "places.h"

namespace tt_emu {

struct Finding {
    const char* kind;
    Place place, other;
    const char* buffer;  // that it is about; null for shared memory
    uint64_t count;
    char text[400];
};

constexpr size_t MOST_FINDINGS = 64;
static List<Finding> findings;
static const char* touched;  // start of the buffer that the running access touches

struct Who {  // "block (1, 0, 0) thread (3, 0, 0)"
    char text[128];
    Who(const Worker& w, uint64_t block, unsigned thread) {
        const unsigned* grid = w.job.grid;
        snprintf(text, sizeof text, "block (%u, %u, %u), %s", (unsigned)(block % grid[0]),
                 (unsigned)(block / grid[0] % grid[1]), (unsigned)(block / grid[0] / grid[1]),
                 Name(w, thread).text);
    }
};

static uint64_t block_number(const Worker& w) {
    const unsigned *i = w.job.index, *grid = w.job.grid;
    return i[0] + (uint64_t)grid[0] * (i[1] + (uint64_t)grid[1] * i[2]);
}

static void found(const char* kind, Place place, Place other, const char* format, ...) {
    for (size_t i = 0; i < findings.count; i++) {
        Finding& f = findings[i];
        if (f.kind == kind && f.place == place && f.other == other) {
            f.count++;
            return;
        }
    }
    if (findings.count == MOST_FINDINGS) return;
    Finding finding = {kind, place, other, touched, 1, {}};
    va_list values;
    va_start(values, format);
    vsnprintf(finding.text, sizeof finding.text, format, values);
    va_end(values);
    findings.add(finding);
}

// One line each: fields are separated by tabs. Code is an offset in the unit's file, 0 if there is none.
static size_t print_place(char* to, size_t room, const Place& place) {
    size_t code = place.code ? (size_t)((const char*)place.code - image.start) : 0;
    return (size_t)snprintf(to, room, "\t%zx\t%s\t%d", code, place.site.file ? place.site.file : "",
                            place.site.line);
}

}  // namespace tt_emu

// Writes all findings of the last launch into `text`; how many bytes that took.
TT_API size_t tt_checked_findings(char* text, size_t room) {
    using namespace tt_emu;
    size_t used = 0;
    for (size_t i = 0; i < findings.count && used + 1024 < room; i++) {
        const Finding& f = findings[i];
        used += (size_t)snprintf(text + used, room - used, "%s\t%llu\t%zx", f.kind,
                                 (unsigned long long)f.count, (size_t)f.buffer);
        used += print_place(text + used, room - used, f.place);
        used += print_place(text + used, room - used, f.other);
        used += (size_t)snprintf(text + used, room - used, "\t%s\n", f.text);
    }
    return used;
}
