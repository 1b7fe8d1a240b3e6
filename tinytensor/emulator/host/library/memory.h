// Memory of the device: mappings with a guard page on both sides, a buffer at the end, rounded up to 256
// bytes. Host code must not touch memory of cudaMalloc: it is protected while no kernel runs.
#pragma once
#include <link.h>

#include <map>
#include <mutex>

namespace tt_program {

enum class MemoryKind { device, managed, pinned };

struct Block {
    size_t bytes;
    MemoryKind kind;
    char* pages;  // between the guards
    size_t size;
    const char* file;
    int line;
};

static auto& blocks = *new std::map<const char*, Block>;  // by address; never destroyed: used at exit
static std::recursive_mutex lock;
static size_t used_bytes;
static bool open_to_all;  // whether memory of the device is accessible at present

constexpr size_t PAGE = 4096, ROUND = 256, GUARD = (size_t)1 << 20, FILLED = (size_t)64 << 20,
                 PROTECTED = (size_t)64 << 10;

static size_t total_bytes() {
    static const size_t bytes = (size_t)sysconf(_SC_PHYS_PAGES) / 2 * (size_t)sysconf(_SC_PAGESIZE);
    return bytes;
}

static std::map<const char*, Block>::iterator block_at(const void* address) {
    auto next = blocks.upper_bound((const char*)address);
    if (next == blocks.begin()) return blocks.end();
    --next;
    const size_t offset = (size_t)((const char*)address - next->first);
    return offset < next->second.bytes || offset == 0 ? next : blocks.end();
}

// The block whose pages or guards contain an address.
static std::map<const char*, Block>::iterator block_near(const void* address) {
    for (auto at = blocks.begin(); at != blocks.end(); ++at) {
        const Block& b = at->second;
        if ((const char*)address >= b.pages - GUARD && (const char*)address < b.pages + b.size + GUARD)
            return at;
    }
    return blocks.end();
}

// The first pages only, where nearly every wrong access of the host begins: all of them would take long.
static void protect(const Block& b, int protection) {
    mprotect(b.pages, b.size < PROTECTED ? b.size : PROTECTED, protection);
}

static void set_open(bool open) {
    if (open == open_to_all) return;
    open_to_all = open;
    for (auto& [start, b] : blocks)
        if (b.kind == MemoryKind::device) protect(b, open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

// Within its scope the calling thread may touch memory of the device.
struct Opened {
    Opened() { set_open(true); }
    ~Opened() { set_open(false); }
};

static void* allocate(size_t bytes, MemoryKind kind, const char* file, int line) {
    const size_t size = (bytes + PAGE - 1) / PAGE * PAGE;
    if (size < bytes || used_bytes + size > total_bytes()) return nullptr;
    char* base =
        (char*)mmap(nullptr, size + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return nullptr;
    char* pages = base + GUARD;
    mprotect(pages, size, PROT_READ | PROT_WRITE);
    char* start = pages + size - (bytes + ROUND - 1) / ROUND * ROUND;
    if (kind == MemoryKind::device)
        memset(pages, 0xff, size < FILLED ? size : FILLED);  // uninitialized: NaN, or -1
    blocks[start] = {bytes, kind, pages, size, file, line};
    used_bytes += size;
    if (kind == MemoryKind::device && !open_to_all) protect(blocks[start], PROT_NONE);
    TT_CHECK(tt_checked_watch(start, bytes, kind != MemoryKind::device);)
    return start;
}

static void release(std::map<const char*, Block>::iterator at) {
    const Block& b = at->second;
    TT_CHECK(tt_checked_forget(at->first);)
    munmap(b.pages - GUARD, b.size + 2 * GUARD);
    used_bytes -= b.size;
    blocks.erase(at);
}

// The program's own file in memory: its code, and variables.
struct Program {
    const char *start = nullptr, *end = nullptr;
    Program() {
        dl_iterate_phdr(
            [](dl_phdr_info* info, size_t, void* to) {  // the first one is the program
                Program& p = *(Program*)to;
                p.start = p.end = (const char*)info->dlpi_addr;
                for (int i = 0; i < info->dlpi_phnum; i++) {
                    const auto& part = info->dlpi_phdr[i];
                    const char* end = p.start + part.p_vaddr + part.p_memsz;
                    if (part.p_type == PT_LOAD && end > p.end) p.end = end;
                }
                return 1;
            },
            this);
    }
    bool holds(const void* address) const {
        return (const char*)address >= start && (const char*)address < end;
    }
};

static const Program& program() {
    static const Program found;
    return found;
}

}  // namespace tt_program
