// Sizes of variables of functions, from the symbols of the program's file.
#pragma once
#include <elf.h>
#include <string.h>

#include <fstream>
#include <iterator>

#include "memory.h"

namespace tt_program {

struct Symbol {
    std::string name;
    uint64_t value, size;
    bool is_function;
};

// Functions and variables of the program; none if its file has no symbols.
static std::vector<Symbol> read_symbols() {
    std::ifstream file("/proc/self/exe", std::ios::binary);
    const std::string data{std::istreambuf_iterator<char>(file), {}};
    std::vector<Symbol> found;
    if (data.size() < sizeof(Elf64_Ehdr) || memcmp(data.data(), ELFMAG, SELFMAG)) return found;
    const auto* const header = (const Elf64_Ehdr*)data.data();
    const auto* const sections = (const Elf64_Shdr*)(data.data() + header->e_shoff);
    for (int i = 0; i < header->e_shnum; i++) {
        if (sections[i].sh_type != SHT_SYMTAB) continue;
        const char* const names = data.data() + sections[sections[i].sh_link].sh_offset;
        const auto* symbol = (const Elf64_Sym*)(data.data() + sections[i].sh_offset);
        for (const auto* end = symbol + sections[i].sh_size / sizeof *symbol; symbol < end; symbol++) {
            const int type = ELF64_ST_TYPE(symbol->st_info);
            const bool function = type == STT_FUNC;
            if (function || type == STT_OBJECT || type == STT_TLS)
                found.push_back({names + symbol->st_name, symbol->st_value, symbol->st_size, function});
        }
    }
    return found;
}

// Bytes of the __shared__ variables that a kernel declares: x of the function _Z1kPf is called
// _ZZ1kPfE1xB6shared, since the macro for __shared__ makes it so.
static size_t static_shared(const void* kernel) {
    static const std::vector<Symbol> symbols = read_symbols();
    const auto place = (uint64_t)((const char*)kernel - program().start);
    std::string prefix;
    for (const Symbol& s : symbols)
        if (s.is_function && s.value == place && s.name.rfind("_Z", 0) == 0)
            prefix = "_Z" + s.name.substr(1) + "E";
    if (prefix.empty()) return 0;
    size_t bytes = 0;
    for (const Symbol& s : symbols)
        if (s.name.rfind(prefix, 0) == 0 && s.name.find("B6shared") != std::string::npos) bytes += s.size;
    return bytes;
}

}  // namespace tt_program
