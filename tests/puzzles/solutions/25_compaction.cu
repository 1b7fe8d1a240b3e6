// launch: grid 1, block 32
__global__ void compaction(float* y, int* count, const float* x, int n) {
    const unsigned lane = threadIdx.x;
    int place = 0;
    for (int first = 0; first < n; first += 32) {
        const float v = first + lane < n ? x[first + lane] : 0.0f;
        const unsigned votes = __ballot_sync(0xffffffffu, v > 0);
        if (v > 0) y[place + __popc(votes & ((1u << lane) - 1))] = v;
        place += __popc(votes);
    }
    if (lane == 0) *count = place;
}
