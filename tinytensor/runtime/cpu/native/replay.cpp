// Calls of kernels, one after the other: a part of a captured graph. See steps.h and runtime/cpu/chain.py.

using Index = long long;

struct Call {
    bool (*step)(const void* slots);
    const void* slots;
};

// The calls from `begin` on, up to the first that leaves its work to NumPy: its number, or `end`.
extern "C" __attribute__((visibility("default"))) Index tt_replay(const Call* calls, Index begin, Index end) {
    for (Index i = begin; i < end; i++)
        if (!calls[i].step(calls[i].slots)) return i;
    return end;
}
