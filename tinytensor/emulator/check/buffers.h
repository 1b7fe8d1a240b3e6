// Device buffers that a kernel may access.
#pragma once
#include "check/shadow.h"

namespace tt_emu {

struct Buffer {
    const char *start, *end;
    unsigned char* initialized;  // per 4 bytes 4 bits: which of them were written; null: all
    Shadow shadow;
    size_t size() const { return (size_t)(end - start); }
    size_t words() const { return (size() + 3) / 4; }
};

static List<Buffer> buffers;  // by ascending address
static Buffer* last_buffer;

constexpr unsigned REMEMBERED = 64;
static struct { const char *start, *end; } freed[REMEMBERED];  // the buffers that were freed last
static unsigned freed_next;

// The first buffer that ends after an address.
static size_t place_of(const char* address) {
    size_t low = 0, high = buffers.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (buffers[middle].end <= address) low = middle + 1;
        else high = middle;
    }
    return low;
}

static Buffer* buffer_of(const char* address) {
    if (last_buffer && address >= last_buffer->start && address < last_buffer->end) return last_buffer;
    size_t at = place_of(address);
    if (at == buffers.count || buffers[at].start > address) return nullptr;
    return last_buffer = &buffers[at];
}

static unsigned char bits_of(const Buffer& b, size_t offset) {
    return b.initialized ? b.initialized[offset / 4] >> offset % 4 & 1 : 1;
}

// Bits of bytes from..to-1 become those of `values`, or 1.
static void set_bits(Buffer& b, size_t from, size_t to, const Buffer* values, size_t shift) {
    if (!b.initialized) return;
    for (size_t i = from; i < to; i++) {
        const unsigned char bit = (unsigned char)(1 << i % 4);
        if (!values || bits_of(*values, i - from + shift)) b.initialized[i / 4] |= bit;
        else b.initialized[i / 4] &= (unsigned char)~bit;
    }
}

static void remove_buffer(size_t at) {
    Buffer& b = buffers[at];
    freed[freed_next++ % REMEMBERED] = {b.start, b.end};
    if (b.initialized) munmap(b.initialized, b.words());
    b.shadow.drop();
    for (size_t j = at + 1; j < buffers.count; j++) buffers[j - 1] = buffers[j];
    buffers.count--;
}

static void drop_shadows() {
    for (Buffer& b : buffers) b.shadow.drop();
}

static void follow_buffers();  // accesses.h

}  // namespace tt_emu

// Registers a buffer of nbytes at address; `initialized`: whether it is filled already. Replaces earlier
// buffers there.
TT_API void tt_checked_watch(const char* address, size_t nbytes, int initialized) {
    using namespace tt_emu;
    last_buffer = nullptr;
    Buffer buffer = {address, address + nbytes, nullptr, {}};
    if (!initialized) buffer.initialized = (unsigned char*)pages(buffer.words());
    size_t at = place_of(address);
    while (at < buffers.count && buffers[at].start < buffer.end) remove_buffer(at);
    buffers.add(buffer);
    for (size_t i = buffers.count - 1; i > at; i--) buffers[i] = buffers[i - 1];
    buffers[at] = buffer;
    follow_buffers();
}

TT_API void tt_checked_forget(const char* address) {
    using namespace tt_emu;
    last_buffer = nullptr;
    const size_t at = place_of(address);
    if (at < buffers.count && buffers[at].start == address) remove_buffer(at);
    follow_buffers();
}

// The host has written these bytes.
TT_API void tt_checked_fill(const char* address, size_t nbytes) {
    using namespace tt_emu;
    Buffer* b = buffer_of(address);
    const size_t from = b ? (size_t)(address - b->start) : 0;
    if (b && nbytes <= b->size() - from) set_bits(*b, from, from + nbytes, nullptr, 0);
}

// Of bytes that the host reads, the number of the first that nothing wrote, from 1; 0 if all were written.
TT_API size_t tt_checked_unwritten(const char* address, size_t nbytes) {
    using namespace tt_emu;
    Buffer* b = buffer_of(address);
    if (!b || !b->initialized) return 0;
    const size_t from = (size_t)(address - b->start);
    for (size_t i = from; i < from + nbytes && i < b->size(); i++)
        if (!bits_of(*b, i)) return i - from + 1;
    return 0;
}

// Bytes were copied within the device: uninitialized ones remain uninitialized. Buffers that are not
// registered yet, since no kernel has run with them, count as written.
TT_API void tt_checked_move(const char* to, const char* from, size_t nbytes) {
    using namespace tt_emu;
    Buffer *target = buffer_of(to), *source = buffer_of(from);
    if (!target) return;
    const size_t at = (size_t)(to - target->start);
    set_bits(*target, at, at + nbytes, source, source ? (size_t)(from - source->start) : 0);
}
