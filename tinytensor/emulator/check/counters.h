// Counters per source line: memory transactions of the requests of a warp (convergence.h).
//
// Global memory transfers sectors of 32 bytes; shared memory has 32 banks of 4 bytes, and serves the words of
// each bank sequentially. The accesses of the source are counted: a compiler may merge neighbors.
#pragma once
#include "check/convergence.h"

namespace tt_emu {

struct Costs {
    uint64_t requests, lanes, bytes, sectors, wavefronts, ideal;
};

struct Line {
    uint16_t place;
    Space space;
    Motion motion;
    unsigned size;  // bytes per lane
    Costs running, counted;  // of the running block, of earlier blocks
    uint32_t number;
    Line* next;  // of the same source location
};

static List<Line*> lines;
static Line* lines_at[MOST_PLACES];
static unsigned blocks_to_count = 4;
static uint64_t counted_blocks;
static bool counting, cut;  // cut: the limit of waiting steps was exceeded
static uint64_t read_bytes, written_bytes;  // of global memory by all blocks, each byte once

static Line* line_of(uint16_t place, Space space, Motion motion, unsigned size) {
    for (Line* line = lines_at[place]; line; line = line->next)
        if (line->space == space && line->motion == motion && line->size == size) return line;
    Line* line = (Line*)calloc(1, sizeof(Line));
    if (!line) abort();
    line->place = place, line->space = space, line->motion = motion, line->size = size;
    line->number = (uint32_t)lines.count;
    line->next = lines_at[place];
    lines_at[place] = line;
    return lines.add(line);
}

static bool has_room() {
    if (waiting >= MOST_WAITING) counting = false, cut = true;
    return counting;
}

// Returns the number of the line, from 1; 0 if the limit is exceeded.
static uint32_t count_access(const Worker& w, uint16_t place, Space space, const char* address, unsigned size,
                             Motion motion, uint32_t event = NO_EVENT) {
    if (!has_room()) return 0;
    const Line& line = *line_of(place, space, motion, size);
    add_step(w.current, {ACCESS | line.number, depths[w.current], (uint64_t)address, event});
    return line.number + 1;
}

// Counts another access of a line.
static inline void count_again(Worker& w, uint32_t line, const char* address) {
    const Step step = {ACCESS | (line - 1), depths[w.current], (uint64_t)address};
    if (!has_room() || add_in_place(w.current, step)) return;
    Whole whole(w);
    add_step(w.current, step);
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
        if (lanes && starts[lanes - 1] == at) continue;
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
        uint64_t words[LANES * 4], before = 0;
        size_t n = 0;
        for (unsigned lane = from; lane < from + together; lane++) {
            const uint64_t at = request.address[lane];
            if (!(request.lanes >> lane & 1) || (line.motion != UPDATE && at == before)) continue;
            before = at;
            for (unsigned byte = 0; byte < (line.size < 4 ? 4 : line.size); byte += 4)
                words[n++] = at / 4 + byte / 4;
        }
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

static void make_request(uint32_t number, const Request& request) {
    Line& line = *lines[number];
    line.running.requests++;
    line.running.lanes += (unsigned)__builtin_popcount(request.lanes);
    if (line.space == SHARED) count_shared(line, request);
    else count_global(line, request);
    join_events(request.lanes, request.event);
}

// The lanes of these warps have converged.
static void flush(const Worker& w, unsigned first, unsigned last, bool ended = false) {
    for (unsigned warp = first; warp < last; warp++) converge(warp, w.threads, ended);
}

static void begin_counting() {
    counting = !cut && counted_blocks < blocks_to_count;
    if (counting) forget_traces();
}

// At the end of a block that was counted completely. If counting was cut off, the block does not count.
static void keep_costs(const Worker& w) {
    flush(w, 0, w.warps, true);
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
        lines_at[line->place] = nullptr;
        free((void*)line);
    }
    lines.clear();
    forget_nodes();
    forget_traces();
    counted_blocks = read_bytes = written_bytes = 0;
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
