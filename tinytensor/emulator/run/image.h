// The image of the running unit: its variables, from the symbols of its file.
#pragma once
#include "run/source_locations.h"

namespace tt_emu {

struct Variable {
    const char *start, *end;
    Space space;  // shared, or global: __device__; or constant
    char name[48];
};

struct Image {
    const char *start, *end;                // all of the library
    const char* data_start;                 // of writable data, up to shared_end
    const char *shared_start, *shared_end;  // zero-initialized data with the __shared__ variables
    const char* private_start;              // of threadIdx and what else is the emulator's
    size_t private_size;
    List<Variable> variables;
};
static List<Image> images;
static Image image;  // of the running kernel

static int find_image(dl_phdr_info* info, size_t, void* wanted) {
    const char* base = (const char*)info->dlpi_addr;
    if (base != (const char*)wanted) return 0;
    image = {base, base, base, base, base, base, 0, {}};
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const auto& part = info->dlpi_phdr[i];
#ifndef TT_CHECKED  // in a program each worker has its own shared variables
        if (part.p_type == PT_TLS && info->dlpi_tls_data) {
            const char* own = (const char*)info->dlpi_tls_data;
            image.variables.add({own, own + part.p_memsz, SHARED, "variables of a worker"});
        }
#endif
        if (part.p_type != PT_LOAD) continue;
        const char* end = base + part.p_vaddr + part.p_memsz;
        if (end > image.end) image.end = end;
        if (!(part.p_flags & PF_W)) continue;
        image.data_start = (const char*)((uintptr_t)(base + part.p_vaddr) & ~(uintptr_t)15);
        image.shared_start = base + part.p_vaddr + part.p_filesz;
        image.shared_end = end;
    }
    return 1;
}

// A variable of a function is called _ZZ<function>E<length><name>, and then B6shared if it is __shared__;
// one of a namespace _ZN, lengths and names, E; a static one of the file _ZL<length><name>; others have
// their name.
static void name_variable(Variable& v, const char* symbol) {
    const bool local = strncmp(symbol, "_ZZ", 3) == 0;
    if (local && strstr(symbol, "B6shared")) v.space = SHARED;
    const bool within = strncmp(symbol, "_ZN", 3) == 0;
    const char* name = symbol;
    size_t length = strlen(name);
    if (within || strncmp(symbol, "_ZL", 3) == 0) {
        const char* part = symbol + (within ? 3 : 2);
        for (char* rest; part += *part == 'L', *part >= '1' && *part <= '9'; part = name + length) {
            length = strtoul(part, &rest, 10);
            name = rest;
        }
        if (*part == 'I') name = symbol, length = strlen(symbol);  // a member of a class template
    }
    for (const char* at = symbol; local && *at; at++) {
        if (*at != 'E' || at[1] < '1' || at[1] > '9') continue;
        char* rest;
        const size_t given = strtoul(at + 1, &rest, 10);
        if (strlen(rest) >= given) name = rest, length = given;
    }
    snprintf(v.name, sizeof v.name, "`%.*s`", (int)length, name);
}

// The symbols of objects, from the file.
static void read_variables(const char* path) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (file < 0) return;
    if (fstat(file, &status) == 0) {
        const size_t size = (size_t)status.st_size;
        const char* elf = (const char*)mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
        if (elf != MAP_FAILED) {
            const auto* head = (const ElfW(Ehdr)*)elf;
            const auto* sections = (const ElfW(Shdr)*)(elf + head->e_shoff);
            const char* titles = elf + sections[head->e_shstrndx].sh_offset;
            for (unsigned s = 0; s < head->e_shnum; s++) {
                if (strcmp(titles + sections[s].sh_name, "tt_private") == 0)
                    image.private_start = image.start + sections[s].sh_addr,
                    image.private_size = sections[s].sh_size;
                if (sections[s].sh_type != SHT_SYMTAB) continue;
                const auto* symbols = (const ElfW(Sym)*)(elf + sections[s].sh_offset);
                const char* names = elf + sections[sections[s].sh_link].sh_offset;
                for (size_t i = 0; i < sections[s].sh_size / sizeof *symbols; i++) {
                    const char* start = image.start + symbols[i].st_value;
                    if ((symbols[i].st_info & 15) != STT_OBJECT || start < image.data_start ||
                        start >= image.shared_end || symbols[i].st_shndx >= head->e_shnum)
                        continue;
                    const char* title = titles + sections[symbols[i].st_shndx].sh_name;
                    const bool constant = strcmp(title, "tt_constant") == 0;
                    const bool shared = strcmp(title, "tt_shared") == 0;
                    if (!constant && !shared && strcmp(title, ".data") != 0 && strcmp(title, ".bss") != 0)
                        continue;
                    const Space space = constant ? CONSTANT : shared ? SHARED : GLOBAL;
                    Variable v = {start, start + symbols[i].st_size, space, {}};
                    if (strncmp(names + symbols[i].st_name, "_ZGV", 4) == 0) v.space = NOWHERE;
                    name_variable(v, names + symbols[i].st_name);
                    image.variables.add(v);
                }
            }
            munmap((void*)elf, size);
        }
    }
    close(file);
}

static void look_at(const Kernel& kernel) {
    const char* code = (const char*)kernel.run;
    if (code >= image.start && code < image.end) return;
    for (Image& known : images) {
        if (code < known.start || code >= known.end) continue;
        image = known;
        return;
    }
    Dl_info info;
    if (!dladdr(code, &info) || !dl_iterate_phdr(find_image, info.dli_fbase)) return;
    read_variables(info.dli_fname);
    images.add(image);
}

static const Variable* variable_at(const char* address) {
    for (const Variable& v : image.variables)
        if (address >= v.start && address < v.end) return &v;
    return nullptr;
}

}  // namespace tt_emu
