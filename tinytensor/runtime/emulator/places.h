// Places in the source, and the memory that a checked kernel may touch.
#pragma once
#include <elf.h>
#include <link.h>

#include "launches.h"

namespace tt_emu {

// Where an access stands: an address in the code of the unit, or a file and line where the emulator knows
// them.
struct Place {
    const void* code;
    Site site;
    bool operator==(const Place& other) const {
        return code == other.code && site.line == other.site.line && site.file == other.site.file;
    }
};

// A list that grows. The core has no C++ library.
template <class T>
struct List {
    T* items = nullptr;
    size_t count = 0, room = 0;

    T& add(const T& item) {
        if (count == room) {
            room = room ? 2 * room : 16;
            items = (T*)realloc((void*)items, room * sizeof(T));
            if (!items) abort();
        }
        return items[count++] = item;
    }
    T& operator[](size_t i) { return items[i]; }
    void clear() { count = 0; }
};

// ---- memory of the device

struct Word;  // what is known of 4 bytes, in this launch (races.h)

struct Range {  // one buffer
    const char *start, *end;
    unsigned char* initialized;  // per word 4 bits: which of its bytes were written; null: all
    Word* words;                 // made when the first access is seen
    size_t count() const { return ((size_t)(end - start) + 3) / 4; }
};

static List<Range> ranges;  // by ascending address
static Range* last_range;

static void* pages(size_t bytes) {
    void* memory =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? nullptr : memory;
}

// The first range that ends behind an address.
static size_t place_of(const char* address) {
    size_t low = 0, high = ranges.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (ranges[middle].end <= address) low = middle + 1;
        else high = middle;
    }
    return low;
}

static Range* range_of(const char* address) {
    if (last_range && address >= last_range->start && address < last_range->end) return last_range;
    size_t at = place_of(address);
    if (at == ranges.count || ranges[at].start > address) return nullptr;
    return last_range = &ranges[at];
}

// ---- memory of the running unit

struct Image {
    const char *start, *end;              // all of the library
    const char *shared_start, *shared_end;  // zeroed data: the __shared__ variables
};
static Image image;

static int find_image(dl_phdr_info* info, size_t, void* wanted) {
    const char* base = (const char*)info->dlpi_addr;
    if (base != (const char*)wanted) return 0;
    image = {base, base, base, base};
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const auto& part = info->dlpi_phdr[i];
        if (part.p_type != PT_LOAD) continue;
        const char* end = base + part.p_vaddr + part.p_memsz;
        if (end > image.end) image.end = end;
        if (!(part.p_flags & PF_W)) continue;
        image.shared_start = base + part.p_vaddr + part.p_filesz;
        image.shared_end = end;
    }
    return 1;
}

// A __shared__ array of __half is a static variable of a class, so C++ keeps beside it whether it was
// constructed. No kernel knows of these guards.
static List<const char*> guards;

static void find_guards(const char* path, const char* base) {
    guards.clear();
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    const size_t size = (size_t)lseek(file, 0, SEEK_END);
    void* mapped = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    if (mapped == MAP_FAILED) return;
    const char* data = (const char*)mapped;
    const auto* head = (const ElfW(Ehdr)*)data;
    const auto* sections = (const ElfW(Shdr)*)(data + head->e_shoff);
    for (int i = 0; i < head->e_shnum; i++) {
        if (sections[i].sh_type != SHT_SYMTAB) continue;
        const auto* symbols = (const ElfW(Sym)*)(data + sections[i].sh_offset);
        const char* names = data + sections[sections[i].sh_link].sh_offset;
        for (size_t k = 0; k < sections[i].sh_size / sizeof *symbols; k++)
            if (strncmp(names + symbols[k].st_name, "_ZGV", 4) == 0) guards.add(base + symbols[k].st_value);
    }
    munmap(mapped, size);
}

static bool is_guard(const char* address) {
    for (size_t i = 0; i < guards.count; i++)
        if (address >= guards[i] && address < guards[i] + 8) return true;
    return false;
}

static void look_at(const Kernel& kernel) {
    Dl_info info;
    if (!dladdr((const void*)kernel.run, &info)) return;
    dl_iterate_phdr(find_image, info.dli_fbase);
    find_guards(info.dli_fname, (const char*)info.dli_fbase);
}

}  // namespace tt_emu

// Buffers of nbytes at address; `initialized` says whether the host has filled it already.
TT_API void tt_checked_watch(const char* address, size_t nbytes, int initialized) {
    using namespace tt_emu;
    last_range = nullptr;
    Range range = {address, address + nbytes, nullptr, nullptr};
    if (!initialized) range.initialized = (unsigned char*)pages(range.count());
    ranges.add(range);
    size_t at = ranges.count - 1;
    for (; at > 0 && ranges[at - 1].start > address; at--) ranges[at] = ranges[at - 1];
    ranges[at] = range;
}

TT_API void tt_checked_forget(const char* address) {
    using namespace tt_emu;
    last_range = nullptr;
    for (size_t i = 0; i < ranges.count; i++) {
        if (ranges[i].start != address) continue;
        size_t count = ranges[i].count();
        if (ranges[i].initialized) munmap(ranges[i].initialized, count);
        if (ranges[i].words) munmap((void*)ranges[i].words, count * 48);
        for (size_t j = i + 1; j < ranges.count; j++) ranges[j - 1] = ranges[j];
        ranges.count--;
        return;
    }
}

// The host has written these bytes.
TT_API void tt_checked_fill(const char* address, size_t nbytes) {
    using namespace tt_emu;
    Range* range = range_of(address);
    if (!range || !range->initialized) return;
    for (size_t i = 0; i < nbytes; i++) {
        size_t at = (size_t)(address + i - range->start);
        range->initialized[at / 4] |= (unsigned char)(1 << at % 4);
    }
}
