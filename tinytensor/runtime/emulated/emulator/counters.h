// Counters per source line: memory transactions of the accesses of a warp.
//
// Lanes that execute an access for the n-th time since they last converged (at a barrier of the block, in an
// operation of the whole warp) count as one request: exact if the warp does not diverge. Global memory
// transfers sectors of 32 bytes; shared memory has 32 banks of 4 bytes, and serves the words of each bank
// sequentially. The accesses of the source are counted: a compiler may merge neighbors.
#pragma once
#include "findings.h"

namespace tt_emu {

struct Request {
    unsigned lanes;
    uint64_t address[LANES];
};

struct Costs {
    uint64_t requests, lanes, bytes, sectors, wavefronts, ideal;
};

struct Line {
    uint16_t place;
    Space space;
    Motion motion;
    unsigned size;  // bytes per lane
    Costs running, counted;  // of the running block, of earlier blocks
    List<Request> made[WARPS];  // since the lanes converged
    unsigned times[MOST_THREADS];
    Line* next;  // of the same source location
};

constexpr size_t MOST_WAITING = 1 << 18;  // requests of lanes that have not converged: 70 MB
static List<Line*> lines;
static Line* lines_at[MOST_PLACES];
static unsigned blocks_to_count = 4;
static uint64_t counted_blocks;
static bool counting, cut;  // cut: the limit of waiting requests was exceeded
static size_t waiting;
static uint64_t read_bytes, written_bytes;  // of global memory by all blocks, each byte once

static Line* line_of(uint16_t place, Space space, Motion motion, unsigned size) {
    for (Line* line = lines_at[place]; line; line = line->next)
        if (line->space == space && line->motion == motion && line->size == size) return line;
    Line* line = (Line*)calloc(1, sizeof(Line));
    if (!line) abort();
    line->place = place, line->space = space, line->motion = motion, line->size = size;
    line->next = lines_at[place];
    lines_at[place] = line;
    return lines.add(line);
}

static void forget_requests(Line& line, unsigned warp) {
    waiting -= line.made[warp].count;
    line.made[warp].clear();
    memset(line.times + warp * LANES, 0, LANES * sizeof(unsigned));
}

static void count_access(const Worker& w, uint16_t place, Space space, const char* address, unsigned size,
                         Motion motion) {
    if (waiting >= MOST_WAITING) {
        counting = false;
        cut = true;
        return;
    }
    Line& line = *line_of(place, space, motion, size);
    List<Request>& made = line.made[w.current / LANES];
    const unsigned n = line.times[w.current]++;
    for (; made.count <= n; waiting++) made.add({});
    made[n].lanes |= 1u << w.current % LANES;
    made[n].address[w.current % LANES] = (uint64_t)address;
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
    line.running.sectors += sort_unique(sectors, n);
    line.running.bytes += sort_unique(starts, lanes) * line.size;
}

// Accesses of 8 bytes are served for 16 lanes at a time, of 16 bytes for 8. Lanes that load the same word are
// served in one wavefront; atomic operations on the same word take one wavefront each.
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
        if (line.motion != UPDATE) n = sort_unique(words, n);
        unsigned banks[32] = {}, most = 0;
        for (size_t i = 0; i < n; i++) {
            unsigned in_bank = ++banks[words[i] % 32];
            if (in_bank > most) most = in_bank;
        }
        line.running.wavefronts += most;
        line.running.ideal++;
    }
    line.running.bytes += (uint64_t)__builtin_popcount(request.lanes) * line.size;
}

// The lanes of these warps have converged: their requests are complete.
static void flush(unsigned first, unsigned last) {
    for (Line* line : lines) {
        for (unsigned warp = first; warp < last; warp++) {
            for (const Request& request : line->made[warp]) {
                if (!request.lanes) continue;
                line->running.requests++;
                line->running.lanes += (unsigned)__builtin_popcount(request.lanes);
                if (line->space == GLOBAL) count_global(*line, request);
                else count_shared(*line, request);
            }
            if (line->made[warp].count) forget_requests(*line, warp);
        }
    }
}

static void begin_counting() { counting = !cut && counted_blocks < blocks_to_count; }

// At the end of a block that was counted completely. If counting was cut off, the block does not count.
static void keep_costs() {
    flush(0, WARPS);
    for (Line* line : lines) {
        const Costs &from = line->running, to = line->counted;
        line->counted = {to.requests + from.requests, to.lanes + from.lanes,
                         to.bytes + from.bytes,       to.sectors + from.sectors,
                         to.wavefronts + from.wavefronts, to.ideal + from.ideal};
        line->running = {};
    }
    counted_blocks++;
}

static void forget_lines() {
    for (Line* line : lines) {
        for (List<Request>& made : line->made) made.drop();
        lines_at[line->place] = nullptr;
        free((void*)line);
    }
    lines.clear();
    counted_blocks = waiting = read_bytes = written_bytes = 0;
    counting = cut = false;
}

}  // namespace tt_emu

// Number of blocks of a launch that are counted; 0 for none.
TT_API void tt_checked_count_blocks(unsigned blocks) { tt_emu::blocks_to_count = blocks; }

// Totals of the last launch.
TT_API void tt_checked_totals(uint64_t* totals) {
    using namespace tt_emu;
    totals[0] = counted_blocks, totals[1] = cut, totals[2] = read_bytes, totals[3] = written_bytes;
    totals[4] = refused;
}

TT_API size_t tt_checked_lines(char* to, size_t room) {
    using namespace tt_emu;
    Text text = {to, room, 0};
    for (const Line* line : lines) {
        const Costs& costs = line->counted;
        if (!costs.requests) continue;
        text.add("%s\t%s\t%u", space_names[line->space], motion_names[line->motion], line->size);
        print_place(text, places[line->place]);
        const uint64_t numbers[] = {costs.requests, costs.lanes,      costs.bytes,
                                    costs.sectors,  costs.wavefronts, costs.ideal};
        for (uint64_t number : numbers) text.add("\t%llu", (unsigned long long)number);
        text.add("\n");
    }
    return text.used;
}
