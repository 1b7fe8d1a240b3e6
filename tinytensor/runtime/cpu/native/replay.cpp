// Replays consecutive kernel calls of a captured graph. See steps.h and runtime/cpu/chain.py.

using Index = long long;

struct Call {
    bool (*step)(const void* slots);
    const void* slots;
};

// Makes the calls from `begin` on, up to the first that falls back to NumPy; returns its index, or `end`.
extern "C" __attribute__((visibility("default"))) Index tt_replay(const Call* calls, Index begin, Index end) {
    for (Index i = begin; i < end; i++)
        if (!calls[i].step(calls[i].slots)) return i;
    return end;
}
