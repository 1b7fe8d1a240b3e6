// Philox 4x32-10 random words, 64 blocks at a time: bitwise equal to ops/random/philox.py.
#pragma once

using Word = unsigned int;
using Position = unsigned long long;
constexpr int TOGETHER = 64;  // blocks

// words[w][i] = word w of block first + i * step.
inline void philox(Word (&words)[4][TOGETHER], Position seed, Position first, Position step) {
    for (int i = 0; i < TOGETHER; i++) {
        words[0][i] = (Word)(first + i * step);
        words[1][i] = (Word)((first + i * step) >> 32);
        words[2][i] = words[3][i] = 0;
    }
    Word key0 = (Word)seed, key1 = (Word)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < TOGETHER; i++) {
            Position a = 0xD2511F53ull * words[0][i], b = 0xCD9E8D57ull * words[2][i];
            words[0][i] = (Word)(b >> 32) ^ words[1][i] ^ key0;
            words[2][i] = (Word)(a >> 32) ^ words[3][i] ^ key1;
            words[1][i] = (Word)b;
            words[3][i] = (Word)a;
        }
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
}

// Whether dropout drops an element: the upper 24 bits of its word are below threshold = ceil(p * 2**24).
inline bool is_below(Word word, Word threshold) { return word >> 8 < threshold; }
