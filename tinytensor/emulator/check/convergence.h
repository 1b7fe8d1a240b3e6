// Which accesses of a warp are one request: those of the lanes that execute one instruction together.
//
// The lanes of a warp run one after another, so each leaves a trace: the basic blocks that it entered and its
// accesses in them. When the warp has converged, the traces are executed as a GPU does: lanes that enter
// different blocks part, and meet again in the block through which all paths from there lead, the immediate
// postdominator of the branch in the graph of the blocks that were seen.
#pragma once
#include "check/findings.h"

namespace tt_emu {

struct Request {
    unsigned lanes;
    uint64_t address[LANES];
    uint32_t event[LANES];  // of the recording
};

struct Step {
    uint32_t what;   // a basic block; with ACCESS, the number of a Line (counters.h)
    uint32_t depth;  // of calls
    uint64_t address;
    uint32_t event = NO_EVENT;  // of an access, in the recording
};
constexpr uint32_t ACCESS = 1u << 31;
constexpr unsigned MOST_NODES = 4096, EDGES = 1 << 15, DEPTHS = 32;
constexpr size_t MOST_WAITING = 1 << 22;  // steps of lanes that have not converged: 64 MB

static List<Step> traces[MOST_THREADS];
static struct {
    const void* code;
    unsigned thread;
} recent;  // the block that a thread entered last, if its trace ends with that
static unsigned depths[MOST_THREADS];
static size_t waiting;

static List<const void*> nodes;  // basic blocks; number 0 is the end
static List<uint32_t> edges;
static uint32_t edge_table[EDGES];
static uint16_t joins[MOST_NODES];  // of each node, where its branches meet again
static bool ends[MOST_NODES];       // whether a thread, or a call, ended in this node
static bool open[MOST_NODES];       // whether lanes stopped there for now, and no path to an end is known
static uint16_t rest[MOST_NODES];   // what follows in the block after an operation that all lanes execute
static size_t joined_edges;         // number of edges that `joins` knows

static void add_edge(unsigned from, unsigned to) {
    const uint32_t edge = from << 16 | to;
    if (!edge || edges.count >= EDGES / 2) return;
    uint32_t at = edge * 2654435761u >> 17;
    for (; edge_table[at]; at = (at + 1) % EDGES)
        if (edge_table[at] == edge) return;
    edge_table[at] = edge;
    edges.add(edge);
}

// A thread, or a call, ended in this node.
static void add_end(unsigned node) {
    add_edge(node, 0);
    if (!ends[node]) ends[node] = true, joined_edges = 0;
}

static bool counts(uint32_t edge) { return edge & 0xffff || ends[edge >> 16] || open[edge >> 16]; }

// The node of what follows in a block in which all lanes met. Lanes that part there must not seem to part
// where they met.
static unsigned rest_of(unsigned node) {
    if (!rest[node] && nodes.count < MOST_NODES) {
        nodes.add(nullptr);
        rest[node] = (uint16_t)(nodes.count - 1);
    }
    if (rest[node]) add_edge(node, rest[node]);
    return rest[node] ? rest[node] : node;
}

static void add_step(unsigned thread, const Step& step) {
    recent.code = nullptr;
    traces[thread].add(step);
    waiting++;
}

// The same, if the trace need not grow: an interrupt that comes meanwhile leaves it whole.
static inline bool add_in_place(unsigned thread, const Step& step) {
    List<Step>& trace = traces[thread];
    if (trace.count == trace.room) return false;
    recent.code = nullptr;
    trace.items[trace.count] = step;
    trace.count++, waiting++;
    return true;
}

// Enters a block that was seen before; returns whether that was possible without growing a list.
static inline bool enter_known_block(unsigned thread, const Spot* spot) {
    if (!spot->node) return false;
    const List<Step>& trace = traces[thread];
    const Step* last = trace.count ? &trace.items[trace.count - 1] : nullptr;
    const bool is_inside = last && last->what == spot->node && last->depth == depths[thread];
    return is_inside || add_in_place(thread, {spot->node, depths[thread], 0});
}

static void enter_block(unsigned thread, Spot* spot, const void* code) {
    if (nodes.count >= MOST_NODES) return;
    if (!spot->node) {
        nodes.add(code);
        spot->node = (uint16_t)(nodes.count - 1);
    }
    List<Step>& trace = traces[thread];
    const Step* last = trace.count ? &trace[trace.count - 1] : nullptr;
    if (!last || last->what != spot->node || last->depth != depths[thread])
        add_step(thread, {spot->node, depths[thread], 0});
}

struct Frames {  // the block in which each call is
    uint32_t depth[DEPTHS], node[DEPTHS];
    unsigned count = 0;

    // Enters a block; returns the one before it in the same call, or 0.
    unsigned enter(const Step& step) {
        while (count && depth[count - 1] > step.depth) count--;
        if (count && depth[count - 1] == step.depth) {
            const unsigned before = node[count - 1];
            node[count - 1] = step.what;
            return before;
        }
        if (count < DEPTHS) depth[count] = step.depth, node[count++] = step.what;
        return 0;
    }
};

static void add_edges(unsigned thread, Frames& frames, bool ended) {
    for (const Step& step : traces[thread]) {
        if (step.what & ACCESS) continue;
        for (unsigned i = frames.count; i-- > 0 && frames.depth[i] > step.depth;) add_end(frames.node[i]);
        if (const unsigned before = frames.enter(step)) add_edge(before, step.what);
    }
    for (unsigned i = 0; i < frames.count; i++)
        ended ? add_end(frames.node[i]) : add_edge(frames.node[i], 0);
}

// Immediate postdominators, by the algorithm of Cooper, Harvey and Kennedy on the reversed graph.
static void find_joins() {
    static uint16_t first[MOST_NODES + 1], sources[EDGES], targets[EDGES], next[MOST_NODES + 1];
    static uint16_t order[MOST_NODES], rank[MOST_NODES], stack[MOST_NODES];
    static bool reached[MOST_NODES];
    if (joined_edges == edges.count) return;
    joined_edges = edges.count;
    const unsigned n = (unsigned)nodes.count;
    const auto by = [&](uint16_t* to, bool target) {  // neighbors of each node, from first[node] on
        memset(first, 0, (n + 1) * sizeof *first);
        for (uint32_t edge : edges)
            if (counts(edge)) first[(target ? edge & 0xffff : edge >> 16) + 1]++;
        for (unsigned i = 0; i < n; i++) first[i + 1] = (uint16_t)(first[i + 1] + first[i]);
        memcpy(next, first, (n + 1) * sizeof *first);
        for (uint32_t edge : edges) {
            const unsigned from = edge >> 16, into = edge & 0xffff;
            if (counts(edge)) to[next[target ? into : from]++] = (uint16_t)(target ? from : into);
        }
    };
    unsigned count = 0;
    const auto go_backwards = [&] {  // from the end, in postorder
        by(sources, true);
        memset(reached, 0, n), memcpy(next, first, (n + 1) * sizeof *first);
        unsigned depth = 0;
        for (count = 0, stack[depth++] = 0, reached[0] = true; depth;) {
            const unsigned node = stack[depth - 1];
            if (next[node] == first[node + 1]) {
                rank[node] = (uint16_t)count, order[count++] = (uint16_t)node, depth--;
                continue;
            }
            const unsigned source = sources[next[node]++];
            if (!reached[source]) reached[source] = true, stack[depth++] = (uint16_t)source;
        }
    };
    memset(open, 0, n);
    go_backwards();
    bool stopped = false;
    for (uint32_t edge : edges)
        if (!(edge & 0xffff) && !reached[edge >> 16]) open[edge >> 16] = stopped = true;
    if (stopped) go_backwards();
    constexpr uint16_t NONE = 0xffff;
    for (unsigned i = 0; i < n; i++) joins[i] = NONE;
    joins[0] = 0;
    by(targets, false);
    for (bool changed = true; changed;) {
        changed = false;
        for (unsigned i = count - 1; i-- > 0;) {
            const unsigned node = order[i];
            unsigned join = NONE;
            for (unsigned e = first[node]; e < first[node + 1]; e++) {
                unsigned other = targets[e];
                if (!reached[other] || joins[other] == NONE) continue;
                if (join == NONE) join = other;
                while (join != other) {
                    while (rank[join] < rank[other]) join = joins[join];
                    while (rank[other] < rank[join]) other = joins[other];
                }
            }
            if (joins[node] != join) joins[node] = (uint16_t)join, changed = true;
        }
    }
    for (unsigned i = 0; i < n; i++)
        if (joins[i] == NONE) joins[i] = 0;
}

static void make_request(uint32_t line, const Request& request);  // counters.h

struct Lanes {  // the traces of a warp, and where each lane is
    unsigned warp;
    size_t at[LANES];
    const Step* next(unsigned lane) {
        List<Step>& trace = traces[warp * LANES + lane];
        return at[lane] < trace.count ? &trace[at[lane]] : nullptr;
    }
};

// Executes lanes until each has ended, or is about to enter block `stop` at that depth, or has returned from
// that call.
static void execute(Lanes& w, unsigned lanes, uint32_t stop, uint32_t stop_depth, Frames frames) {
    for (;;) {
        unsigned active = 0, accessing = 0;
        for (unsigned left = lanes; left; left &= left - 1) {
            const unsigned lane = lowest(left);
            const Step* e = w.next(lane);
            if (!e || e->depth < stop_depth) continue;
            if (stop && e->what == stop && e->depth == stop_depth) continue;
            active |= 1u << lane;
            if (e->what & ACCESS) accessing |= 1u << lane;
        }
        if (!active) return;
        const unsigned able = accessing ? accessing : active;
        const Step lead = *w.next(lowest(able));
        unsigned same = 0, deepest = 0;
        Request request = {0, {}, {}};
        for (unsigned left = able; left; left &= left - 1) {
            const unsigned lane = lowest(left);
            const Step& e = *w.next(lane);
            if (e.depth > deepest) deepest = e.depth;
            if (e.what != lead.what || e.depth != lead.depth) continue;
            same |= 1u << lane;
            request.address[lane] = e.address;
            request.event[lane] = e.event;
        }
        if (accessing || same == active) {
            for (unsigned left = same; left; left &= left - 1) w.at[lowest(left)]++;
            request.lanes = same;
            if (accessing) make_request(lead.what & ~ACCESS, request);
            else frames.enter(lead);
            continue;
        }
        while (frames.count && frames.depth[frames.count - 1] > deepest) frames.count--;
        uint32_t join = 0, depth = 0;
        if (frames.count)
            join = joins[frames.node[frames.count - 1]], depth = frames.depth[frames.count - 1];
        bool advanced = false;
        for (unsigned left = active; left;) {
            const Step part = *w.next(lowest(left));
            unsigned together = 0;
            for (unsigned all = left; all; all &= all - 1) {
                const Step& e = *w.next(lowest(all));
                if (e.what == part.what && e.depth == part.depth) together |= 1u << lowest(all);
            }
            left &= ~together;
            if (part.depth < depth || (join && part.what == join && part.depth == depth)) continue;
            advanced = true;
            execute(w, together, join, depth, frames);
        }
        if (!advanced) execute(w, same, 0, 0, frames);
    }
}

// Whether two lanes have entered the same blocks, and there executed the same accesses.
static bool are_alike(const List<Step>& a, const List<Step>& b) {
    if (a.count != b.count) return false;
    for (size_t i = 0; i < a.count; i++)
        if (a.items[i].what != b.items[i].what || a.items[i].depth != b.items[i].depth) return false;
    return true;
}

static unsigned lanes_below(unsigned count) { return count == LANES ? ~0u : (1u << count) - 1; }

// `execute` for lanes whose traces are alike.
static void execute_together(unsigned warp, unsigned count) {
    const List<Step>* const first = traces + warp * LANES;
    Request request = {lanes_below(count), {}, {}};
    for (size_t i = 0; i < first->count; i++) {
        const uint32_t what = first->items[i].what;
        if (!(what & ACCESS)) continue;
        for (unsigned lane = 0; lane < count; lane++) {
            request.address[lane] = first[lane].items[i].address;
            request.event[lane] = first[lane].items[i].event;
        }
        make_request(what & ~ACCESS, request);
    }
}

// The lanes of a warp have converged, or ended: makes requests of their accesses.
static void converge(unsigned warp, unsigned threads, bool ended) {
    static Frames frames[LANES];
    const List<Step>* const first = traces + warp * LANES;
    const unsigned number = threads - warp * LANES < LANES ? threads - warp * LANES : LANES;
    size_t count = 0;
    bool alike = true;
    for (unsigned lane = 0; lane < number; lane++) {
        count += first[lane].count;
        if (lane && are_alike(first[lane - 1], first[lane])) {
            frames[lane] = frames[lane - 1];
            continue;
        }
        alike = alike && !lane;
        frames[lane].count = 0;
        add_edges(warp * LANES + lane, frames[lane], ended);
    }
    if (!count) return;
    const unsigned all = lanes_below(number);
    Lanes lanes = {warp, {}};
    find_joins();
    if (alike) execute_together(warp, number);
    else execute(lanes, all, 0, 0, {});
    recent.code = nullptr;
    waiting -= count;
    for (unsigned left = all; left; left &= left - 1) {  // begin the next trace where this one ends
        const unsigned lane = lowest(left), thread = warp * LANES + lane;
        traces[thread].clear();
        for (unsigned i = 0; i < frames[lane].count; i++)
            add_step(thread, {rest_of(frames[lane].node[i]), frames[lane].depth[i], 0});
    }
}

static void forget_traces() {
    recent.code = nullptr;
    for (List<Step>& trace : traces) trace.clear();
    memset(depths, 0, sizeof depths);
    waiting = 0;
}

static void forget_nodes() {
    for (size_t i = 1; i < nodes.count; i++)
        if (Spot* spot = nodes[i] ? spot_of(nodes[i]) : nullptr) spot->node = 0;
    if (edges.count) memset(edge_table, 0, sizeof edge_table);
    nodes.clear();
    nodes.add(nullptr);
    edges.clear();
    joined_edges = 0;
    memset(joins, 0, sizeof joins), memset(ends, 0, sizeof ends), memset(rest, 0, sizeof rest);
}

}  // namespace tt_emu
