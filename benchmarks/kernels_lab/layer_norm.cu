// Layer norm of each row of x (rows, width): y = (x - mean) / sqrt(variance + eps) * weight + bias.
// The floor is one read and one write. What to watch: passes over the row; digits lost by rung 2.

__device__ float sum_in_warp(float value) {
    for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
    return value;
}

// 1. One thread per row, three passes: not coalesced.
__global__ void layer_norm_thread_per_row(
    float* y, const float* x, const float* weight, const float* bias, int rows, int width, float eps) {
    const int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    const float* in = x + row * width;
    float mean = 0, variance = 0;
    for (int i = 0; i < width; i++) mean += in[i];
    mean /= width;
    for (int i = 0; i < width; i++) variance += (in[i] - mean) * (in[i] - mean);
    const float scale = rsqrtf(variance / width + eps);
    for (int i = 0; i < width; i++) y[row * width + i] = (in[i] - mean) * scale * weight[i] + bias[i];
}

// 2. One warp per row; mean and mean square in one pass. Where the mean is large beside the deviation, the
//    difference E[x^2] - E[x]^2 has no digits left: shown as a warning, and tested to be worse than rung 3.
__global__ void layer_norm_one_pass(
    float* y, const float* x, const float* weight, const float* bias, int rows, int width, float eps) {
    const int row = blockIdx.x * blockDim.y + threadIdx.y, lane = threadIdx.x;
    if (row >= rows) return;
    const float* in = x + row * width;
    float sum = 0, squares = 0;
    for (int i = lane; i < width; i += 32) {
        sum += in[i];
        squares += in[i] * in[i];
    }
    const float mean = sum_in_warp(sum) / width;
    const float scale = rsqrtf(sum_in_warp(squares) / width - mean * mean + eps);
    for (int i = lane; i < width; i += 32) y[row * width + i] = (in[i] - mean) * scale * weight[i] + bias[i];
}

// 3. One warp per row, the row in registers: one read, and a variance from centered values. Up to 32 * 32
//    elements.
__global__ void layer_norm_registers(
    float* y, const float* x, const float* weight, const float* bias, int rows, int width, float eps) {
    const int row = blockIdx.x * blockDim.y + threadIdx.y, lane = threadIdx.x;
    if (row >= rows) return;
    float value[32], sum = 0, squares = 0;
#pragma unroll
    for (int j = 0; j < 32; j++) {
        const int i = lane + j * 32;
        value[j] = i < width ? x[row * width + i] : 0.0f;
        sum += value[j];
    }
    const float mean = sum_in_warp(sum) / width;
#pragma unroll
    for (int j = 0; j < 32; j++) {
        value[j] -= mean;
        if (lane + j * 32 < width) squares += value[j] * value[j];
    }
    const float scale = rsqrtf(sum_in_warp(squares) / width + eps);
#pragma unroll
    for (int j = 0; j < 32; j++) {
        const int i = lane + j * 32;
        if (i < width) y[row * width + i] = value[j] * scale * weight[i] + bias[i];
    }
}
