// Memory that kernels allocate with malloc and new, in a check: blocks one behind the other, each behind a
// header, so that an access beyond a block is in no other one. Memory of freed blocks is used again when the
// rest is used up, so that accesses to it are found for long.
#pragma once
#include "run/allocation.h"
#include "check/races.h"

namespace tt_emu {

constexpr size_t UNIT = 16, SPARE = (size_t)24 << 20;  // spare: for blocks that were freed

struct Header {
    uint64_t bytes;   // as asked for
    uint32_t length;  // in units, with the header
    uint32_t live;
};
static_assert(sizeof(Header) == UNIT, "a unit");

static Buffer heap;             // all of it
static uint32_t* heap_headers;  // of each unit the number of its block's header, from 1; 0: in no block
static size_t heap_used;        // units up to the end of the last block

static Header& header_at(size_t unit) { return *(Header*)(heap.start + unit * UNIT); }

static bool heap_holds(const char* address) { return address >= heap.start && address < heap.end; }

static bool make_heap() {
    if (heap.start) return true;
    const size_t room = heap_size + SPARE;
    heap_headers = (uint32_t*)pages(room / UNIT * sizeof *heap_headers);
    heap.initialized = (unsigned char*)pages(room / 4);
    const char* start = (const char*)pages(room);
    if (!heap_headers || !heap.initialized || !start) return false;
    heap.start = start, heap.end = start + room;
    return true;
}

// Where `length` units are free: behind all blocks, or in freed ones that follow one another.
static bool find_units(size_t& at, uint32_t& length) {
    if (length <= heap.size() / UNIT - heap_used) {
        at = heap_used;
        heap_used += length;
        return true;
    }
    size_t free = 0;
    for (size_t unit = 0; unit < heap_used; unit += header_at(unit).length) {
        free = header_at(unit).live ? 0 : free + header_at(unit).length;
        if (free < length) continue;
        at = unit + header_at(unit).length - free;
        length = (uint32_t)free;
        return true;
    }
    return false;
}

static void* allocate(size_t bytes) {
    if (!make_heap() || !take_of_heap(bytes)) return nullptr;  // as on a GPU
    size_t at;
    uint32_t length = (uint32_t)(1 + (bytes + UNIT - 1) / UNIT);
    if (!find_units(at, length)) return give_to_heap(bytes), nullptr;
    header_at(at) = {bytes, length, 1};
    for (size_t unit = at; unit < at + length; unit++) heap_headers[unit] = (uint32_t)at + 1;
    const size_t from = (at + 1) * UNIT, size = (length - 1) * UNIT;
    memset((char*)heap.start + from, 0xff, size);  // as other memory that nothing has written
    memset(heap.initialized + from / 4, 0, size / 4);
    const Shadow& shadow = heap.shadow;
    if (shadow.words)
        memset((void*)(shadow.words + from / shadow.granule), 0, size / shadow.granule * sizeof(Word));
    return (char*)heap.start + from;
}

static void release(Worker& w, void* address, const Place& place) {
    if (!address) return;
    const size_t at = heap_holds((char*)address) ? (size_t)((char*)address - heap.start) / UNIT : 0;
    const bool known = at && (size_t)address % UNIT == 0 && heap_headers[at - 1] == at;
    if (known && header_at(at - 1).live) {
        header_at(at - 1).live = 0;
        give_to_heap(header_at(at - 1).bytes);
        return;
    }
    refuse_access(w, "invalid free", place,
                  known ? "free of a block that was freed already"
                        : "free of an address that malloc in a kernel did not return");
}

// Where an access to the heap is in its block; refuses one that is not in a block.
static size_t offset_in_block(Worker& w, Access a) {
    const size_t unit = (size_t)(a.address - heap.start) / UNIT;
    size_t number = heap_headers[unit];
    if (unit && unit + 1 == number) number = heap_headers[unit - 1];  // a header: behind the block before
    for (size_t before = unit; !number && before > 0;) number = heap_headers[--before];
    char text[160];
    if (!number) {
        snprintf(text, sizeof text, "%u-byte %s before all blocks of malloc", a.size, way_names[a.way]);
        a.offset = (size_t)(a.address - heap.start);
        refuse(w, a, "out of bounds", text);
    }
    const Header& header = header_at(number - 1);
    const ptrdiff_t offset = a.address - (heap.start + number * UNIT);
    a.offset = (size_t)offset;
    if (header.live && offset >= 0 && offset + a.size <= header.bytes) return a.offset;
    snprintf(text, sizeof text, "%u-byte %s at byte %td of a block of %zu bytes of malloc%s", a.size,
             way_names[a.way], offset, (size_t)header.bytes, header.live ? "" : " that was freed");
    refuse(w, a, "out of bounds", text);
}

}  // namespace tt_emu
