// Work for `overlap`: y = x after `rounds` steps of a recurrence, long enough to hide a copy behind. The
// rungs are in overlap.py: one stream (copy in, compute, copy out, one after another), then several streams,
// each with a part of the data: the copies of one part run while another part computes.
__global__ void overlap_work(float* y, const float* x, int n, int rounds) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float value = x[i];
    for (int r = 0; r < rounds; r++) value = value * 0.999f + 0.001f;
    y[i] = value;
}
