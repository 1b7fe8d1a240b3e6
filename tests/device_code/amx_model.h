// The tile instructions of AMX in plain C++, for processors without them: the eight registers of a thread,
// and what each instruction does to them, as Intel's manual (volume 2: TDPBF16PS, TILELOADD) has it.
#pragma once
#include <immintrin.h>
#include <string.h>
#define __AMX_BF16__ 1

namespace amx {
struct Register {
    unsigned char row[16][64];
};
inline thread_local Register registers[8];
inline thread_local bool configured = false;

inline void load(int n, const void* from, long long stride) {
    if (!configured) __builtin_trap();
    for (int i = 0; i < 16; i++) memcpy(registers[n].row[i], (const char*)from + i * stride, 64);
}
inline void store(int n, void* to, long long stride) {
    if (!configured) __builtin_trap();
    for (int i = 0; i < 16; i++) memcpy((char*)to + i * stride, registers[n].row[i], 64);
}
inline float number(const unsigned char* at) {
    unsigned short bits;
    memcpy(&bits, at, 2);
    unsigned wide = (unsigned)bits << 16;
    float x;
    memcpy(&x, &wide, 4);
    return x;
}
inline void add_products(int sums, int a, int b) {
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 16; n++) {
            float sum;
            memcpy(&sum, registers[sums].row[m] + 4 * n, 4);
            for (int k = 0; k < 16; k++)
                for (int half = 0; half < 2; half++)
                    sum += number(registers[a].row[m] + 4 * k + 2 * half) *
                           number(registers[b].row[k] + 4 * n + 2 * half);
            memcpy(registers[sums].row[m] + 4 * n, &sum, 4);
        }
}
// Eight registers of 16 rows of 64 bytes: nothing else is modelled.
inline void configure(const void* shapes) {
    const unsigned char* bytes = (const unsigned char*)shapes;
    if (bytes[0] != 1 || bytes[1] != 0) __builtin_trap();
    for (int n = 0; n < 8; n++)
        if (bytes[16 + 2 * n] != 64 || bytes[17 + 2 * n] != 0 || bytes[48 + n] != 16) __builtin_trap();
    memset(registers, 0, sizeof registers);
    configured = true;
}
inline void release() { configured = false; }
}  // namespace amx

#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#undef _tile_loadconfig
#undef _tile_release
#define _tile_loadd(n, from, stride) amx::load(n, from, stride)
#define _tile_stored(n, to, stride) amx::store(n, to, stride)
#define _tile_zero(n) memset(&amx::registers[n], 0, 1024)
#define _tile_dpbf16ps(sums, a, b) amx::add_products(sums, a, b)
#define _tile_loadconfig(shapes) amx::configure(shapes)
#define _tile_release() amx::release()
#include <sys/syscall.h>
#include <unistd.h>
#define syscall(...) 0  // the system grants the registers
