// Requests of warps: the address of each lane. Those of the first blocks are stored individually on demand.
#pragma once
#include "findings.h"

namespace tt_emu {

enum Space : int { GLOBAL, SHARED };
enum Motion : int { LOAD, STORE, UPDATE };  // the last one by an atomic operation
static const char* const space_names[] = {"global", "shared"};
static const char* const motion_names[] = {"load", "store", "atomic"};

struct Request {
    unsigned lanes;
    uint64_t address[LANES];
};

struct Kept {
    uint16_t place;
    Space space;
    Motion motion;
    unsigned size, block, warp;  // size: bytes per lane
    Request request;
};

constexpr size_t MOST_KEPT = 1 << 14;  // 5 MB
static List<Kept> kept;
static unsigned blocks_to_keep;

static void keep_request(const Kept& one) {
    if (one.block < blocks_to_keep && kept.count < MOST_KEPT) kept.add(one);
}

}  // namespace tt_emu

// Number of blocks of a launch whose requests are stored.
TT_API void tt_checked_keep_blocks(unsigned blocks) { tt_emu::blocks_to_keep = blocks; }

// Writes the stored requests: line, block and warp of each, and the addresses of its lanes, 0 for inactive
// lanes.
TT_API size_t tt_checked_requests(char* to, size_t room) {
    using namespace tt_emu;
    Text text = {to, room, 0};
    for (const Kept& k : kept) {
        text.add("%s\t%s\t%u", space_names[k.space], motion_names[k.motion], k.size);
        print_place(text, places[k.place]);
        text.add("\t%u\t%u", k.block, k.warp);
        for (unsigned lane = 0; lane < LANES; lane++)
            text.add("\t%llx", k.request.lanes >> lane & 1 ? (unsigned long long)k.request.address[lane] : 0);
        text.add("\n");
    }
    return text.used;
}
