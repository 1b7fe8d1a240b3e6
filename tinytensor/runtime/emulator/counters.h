// Counters per source line: what the accesses of a warp cost the memory system.
//
// Lanes that execute an access for the n-th time in a block are taken for one request: exact where the warp
// runs together. Global memory moves sectors of 32 bytes; shared memory has 32 banks of 4 bytes, and gives
// each bank's words one after another. What is counted are the accesses of the source: a compiler may merge
// neighbors.
#pragma once
#include "findings.h"

namespace tt_emu {

enum Space : int { GLOBAL, SHARED };

struct Request {
    unsigned lanes;
    uint64_t address[LANES];
};

struct Line {
    Place place;
    Space space;
    bool write;
    unsigned size;  // bytes per lane
    uint64_t requests, lanes, bytes, sectors, wavefronts, ideal;
    List<Request> made[WARPS];
    unsigned times[MOST_THREADS];
};

constexpr unsigned LINES = 4096;  // a power of two
static Line* lines[LINES];
static unsigned counted_blocks, blocks_to_count = 4;
static bool counting;

static Line* line_of(Place place, Space space, bool write, unsigned size) {
    size_t hash = (size_t)place.code * 31 + (size_t)place.site.line * 1009 + (size_t)place.site.file;
    hash = (hash * 8 + (size_t)space * 4 + write * 2) * 0x9e3779b97f4a7c15ull >> 40;
    for (unsigned i = 0; i < LINES; i++) {
        Line*& line = lines[(hash + i) % LINES];
        if (!line) {
            line = (Line*)calloc(1, sizeof(Line));
            if (!line) return nullptr;
            line->place = place, line->space = space, line->write = write, line->size = size;
            return line;
        }
        if (line->place == place && line->space == space && line->write == write && line->size == size)
            return line;
    }
    return nullptr;
}

static void count_access(const Worker& w, Space space, uint64_t address, unsigned size, bool write,
                         Place place) {
    if (!counting) return;
    Line* line = line_of(place, space, write, size);
    if (!line) return;
    List<Request>& made = line->made[w.current / LANES];
    unsigned n = line->times[w.current]++;
    while (made.count <= n) made.add({});
    made[n].lanes |= 1u << w.current % LANES;
    made[n].address[w.current % LANES] = address;
    line->lanes++;
}

static size_t sort_unique(uint64_t* values, size_t count) {
    for (size_t i = 1; i < count; i++) {
        uint64_t value = values[i];
        size_t j = i;
        for (; j > 0 && values[j - 1] > value; j--) values[j] = values[j - 1];
        values[j] = value;
    }
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (i == 0 || values[i] != values[i - 1]) values[kept++] = values[i];
    return kept;
}

static void count_global(Line& line, const Request& request) {
    uint64_t sectors[LANES * 2], starts[LANES];
    size_t n = 0, lanes = 0;
    for (unsigned left = request.lanes; left; left &= left - 1) {
        uint64_t at = request.address[lowest(left)];
        starts[lanes++] = at;
        sectors[n++] = at / 32;
        if ((at + line.size - 1) / 32 != at / 32) sectors[n++] = (at + line.size - 1) / 32;
    }
    line.sectors += sort_unique(sectors, n);
    line.bytes += sort_unique(starts, lanes) * line.size;
}

// Accesses of 8 bytes are served for 16 lanes at a time, of 16 bytes for 8.
static void count_shared(Line& line, const Request& request) {
    unsigned together = line.size >= 16 ? 8 : line.size == 8 ? 16 : 32;
    for (unsigned from = 0; from < LANES; from += together) {
        uint64_t words[LANES * 4];
        size_t n = 0;
        for (unsigned lane = from; lane < from + together; lane++)
            if (request.lanes >> lane & 1)
                for (unsigned byte = 0; byte < (line.size < 4 ? 4 : line.size); byte += 4)
                    words[n++] = request.address[lane] / 4 + byte / 4;
        if (!n) continue;
        n = sort_unique(words, n);
        unsigned banks[32] = {}, most = 0;
        for (size_t i = 0; i < n; i++) {
            unsigned in_bank = ++banks[words[i] % 32];
            if (in_bank > most) most = in_bank;
        }
        line.wavefronts += most;
        line.ideal++;
    }
    line.bytes += (uint64_t)__builtin_popcount(request.lanes) * line.size;
}

static void begin_counting() {
    counting = counted_blocks < blocks_to_count;
    counted_blocks += counting;
}

static void end_counting() {
    if (!counting) return;
    counting = false;
    for (Line* line : lines) {
        if (!line) continue;
        for (List<Request>& made : line->made) {
            for (size_t i = 0; i < made.count; i++) {
                if (!made[i].lanes) continue;
                line->requests++;
                if (line->space == GLOBAL) count_global(*line, made[i]);
                else count_shared(*line, made[i]);
            }
            made.clear();
        }
        memset(line->times, 0, sizeof line->times);
    }
}

static void forget_lines() {
    for (Line*& line : lines) {
        if (!line) continue;
        for (List<Request>& made : line->made) free((void*)made.items);
        free((void*)line);
        line = nullptr;
    }
    counted_blocks = 0;
}

}  // namespace tt_emu

// How many blocks of a launch are counted; 0 for none.
TT_API void tt_checked_count_blocks(unsigned blocks) { tt_emu::blocks_to_count = blocks; }
TT_API unsigned tt_checked_counted_blocks() { return tt_emu::counted_blocks; }

TT_API size_t tt_checked_lines(char* text, size_t room) {
    using namespace tt_emu;
    size_t used = 0;
    for (const Line* line : lines) {
        if (!line || used + 1024 > room) continue;
        used += (size_t)snprintf(text + used, room - used, "%s\t%s\t%u",
                                 line->space == GLOBAL ? "global" : "shared", line->write ? "store" : "load",
                                 line->size);
        used += print_place(text + used, room - used, line->place);
        const uint64_t numbers[] = {line->requests, line->lanes,      line->bytes,
                                    line->sectors,  line->wavefronts, line->ideal};
        for (uint64_t number : numbers)
            used += (size_t)snprintf(text + used, room - used, "\t%llu", (unsigned long long)number);
        used += (size_t)snprintf(text + used, room - used, "\n");
    }
    return used;
}
