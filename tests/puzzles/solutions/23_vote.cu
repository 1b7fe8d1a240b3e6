// launch: grid m, block 32
__global__ void vote(int* count, const float* x, int n) {
    const int r = blockIdx.x, lane = threadIdx.x;
    int found = 0;
    for (int c = 0; c < n; c += 32) {
        found += __popc(__ballot_sync(0xffffffffu, c + lane < n && x[r * n + c + lane] > 0));
    }
    if (lane == 0) count[r] = found;
}
