// Findings of the checker: kind, source location, thread. Equal findings are counted, not repeated.
#pragma once
#include "check/record.h"

namespace tt_emu {

struct Finding {
    const char* kind;
    Place place, other;
    const char* buffer;  // the accessed buffer; null for shared memory
    uint64_t count, harmless;  // occurrences, and those that the results do not depend on
    const char* harmless_kind;
    size_t at;  // number of events that were recorded before it was found
    char text[400];
};

constexpr size_t MOST_FINDINGS = 64;
static List<Finding> findings;
static bool refused;          // whether a finding ended the launch
static const char* touched;  // start of the buffer of the current access

struct Who {  // "block (1, 0, 0), thread (3, 0, 0)"
    char text[128];
    Who(const Worker& w, uint64_t then, unsigned thread) {
        const unsigned* grid = w.job.grid;
        const uint64_t block = block_in(then).block;
        snprintf(text, sizeof text, "block (%u, %u, %u), %s", (unsigned)(block % grid[0]),
                 (unsigned)(block / grid[0] % grid[1]), (unsigned)(block / grid[0] / grid[1]),
                 Name(w, thread).text);
    }
    explicit Who(const Worker& w) : Who(w, phase, w.current) {}
};

static uint64_t block_number(const Worker& w) {
    const unsigned *i = w.job.index, *grid = w.job.grid;
    return i[0] + (uint64_t)grid[0] * (i[1] + (uint64_t)grid[1] * i[2]);
}

// Returns the number of the finding; MOST_FINDINGS if there are too many.
__attribute__((format(printf, 4, 5))) static size_t found(const char* kind, Place place, Place other,
                                                          const char* format, ...) {
    for (size_t i = 0; i < findings.count; i++) {
        Finding& f = findings[i];
        if (f.kind != kind || !(f.place == place) || !(f.other == other)) continue;
        f.count++;
        return i;
    }
    if (findings.count == MOST_FINDINGS) return MOST_FINDINGS;
    Finding finding = {kind, place, other, touched, 1, 0, nullptr, events.count, {}};
    va_list values;
    va_start(values, format);
    vsnprintf(finding.text, sizeof finding.text, format, values);
    va_end(values);
    findings.add(finding);
    return findings.count - 1;
}

static void is_harmless(size_t finding, const char* kind) {
    if (finding >= findings.count) return;
    findings[finding].harmless++;
    findings[finding].harmless_kind = kind;
}

[[noreturn]] static void refuse_access(Worker& w, const char* kind, const Place& place, const char* text) {
    refused = true;
    found(kind, place, {}, "%s by %s", text, Who(w).text);
    fail(w, "%s: %s", kind, text);
}

// Code is an offset in the unit's file, 0 if there is none.
static void print_place(Text& text, const Place& place) {
    const size_t code = place.code ? (size_t)((const char*)place.code - image.start) : 0;
    text.add("\t%zx\t%s\t%d", code, place.site.file ? place.site.file : "", place.site.line);
}

}  // namespace tt_emu

// The instruction whose fault ended the last launch, as an offset in the unit's file; 0 if there is none.
TT_API size_t tt_checked_faulty_code() {
    using namespace tt_emu;
    const char* code = (const char*)faulty_code;
    return code >= image.start && code < image.end ? (size_t)(code - image.start) + 1 : 0;
}

// Writes all findings of the last launch; returns the required number of bytes.
TT_API size_t tt_checked_findings(char* to, size_t room) {
    using namespace tt_emu;
    Text text = {to, room, 0};
    for (const Finding& f : findings) {
        const bool harmless = f.harmless == f.count;
        text.add("%s\t%d\t%llu\t%zu\t%zx", harmless ? f.harmless_kind : f.kind, harmless,
                 (unsigned long long)f.count, f.at, (size_t)f.buffer);
        print_place(text, f.place);
        print_place(text, f.other);
        text.add("\t%s\n", f.text);
    }
    return text.used;
}

// Writes what was recorded of the last launch: what, block, thread, location, size, whether it was refused;
// of an access also its memory and its value, of a refused index the index and its column in the line.
TT_API size_t tt_checked_record(char* to, size_t room) {
    using namespace tt_emu;
    Text text = {to, room, 0};
    for (const Event& e : events) {
        const uint64_t block = begun[e.block].block;
        text.add("%s\t%llu\t%u", e.what, (unsigned long long)block, e.thread);
        print_place(text, places[e.place]);
        text.add("\t%u\t%d", e.size, e.refused);
        if (e.memory != NO_MEMORY) {
            const Recorded& m = memories[e.memory];
            text.add("\t%s\t%s\t%zx\t%td\t%llx\t%llx\t%u", space_names[m.space], m.name, (size_t)m.start,
                     e.address - m.start, (unsigned long long)e.value[0], (unsigned long long)e.value[1],
                     e.request);
        } else if (e.refused) {
            text.add("\t%td\t%d", (ptrdiff_t)e.value[0], (int)e.value[1]);
        }
        text.add("\n");
    }
    return text.used;
}
