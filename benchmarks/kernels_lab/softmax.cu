// Softmax of each row of x (rows, width): y = exp(x - max) / sum. The floor is one read and one write.
// What to watch: how often a row is read from global memory: three times, twice, once.

__device__ float row_max(float value) {  // of a block of 256; the same in all threads
    __shared__ float s[8];
    for (int step = 16; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, step));
    if (threadIdx.x % 32 == 0) s[threadIdx.x / 32] = value;
    __syncthreads();
    value = s[0];
    for (int w = 1; w < 8; w++) value = fmaxf(value, s[w]);
    __syncthreads();
    return value;
}

__device__ float row_sum(float value) {
    __shared__ float s[8];
    for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
    if (threadIdx.x % 32 == 0) s[threadIdx.x / 32] = value;
    __syncthreads();
    value = s[0];
    for (int w = 1; w < 8; w++) value += s[w];
    __syncthreads();
    return value;
}

// 1. One thread per row: neighbors read addresses a whole row apart.
__global__ void softmax_thread_per_row(float* y, const float* x, int rows, int width) {
    const int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    float largest = x[row * width], sum = 0;
    for (int i = 1; i < width; i++) largest = fmaxf(largest, x[row * width + i]);
    for (int i = 0; i < width; i++) sum += expf(x[row * width + i] - largest);
    for (int i = 0; i < width; i++) y[row * width + i] = expf(x[row * width + i] - largest) / sum;
}

// 2. One block per row: coalesced, but each pass reads the row again.
__global__ void softmax_three_passes(float* y, const float* x, int rows, int width) {
    const float* in = x + blockIdx.x * width;
    float largest = in[0], sum = 0;
    for (int i = threadIdx.x; i < width; i += 256) largest = fmaxf(largest, in[i]);
    largest = row_max(largest);
    for (int i = threadIdx.x; i < width; i += 256) sum += expf(in[i] - largest);
    sum = row_sum(sum);
    for (int i = threadIdx.x; i < width; i += 256) y[blockIdx.x * width + i] = expf(in[i] - largest) / sum;
}

// 3. Online (Milakov and Gimelshein 2018): the sum is rescaled whenever the maximum grows. Two passes.
__global__ void softmax_online(float* y, const float* x, int rows, int width) {
    const float* in = x + blockIdx.x * width;
    float largest = in[0], sum = 0;
    for (int i = threadIdx.x; i < width; i += 256) {
        const float value = in[i], grown = fmaxf(largest, value);
        sum = sum * expf(largest - grown) + expf(value - grown);
        largest = grown;
    }
    const float all = row_max(largest);
    sum = row_sum(sum * expf(largest - all));
    for (int i = threadIdx.x; i < width; i += 256) y[blockIdx.x * width + i] = expf(in[i] - all) / sum;
}

// 4. The row stays in registers: one read, one write. For rows of up to 256 * 16 elements.
__global__ void softmax_registers(float* y, const float* x, int rows, int width) {
    const float* in = x + blockIdx.x * width;
    float value[16], largest = in[0], sum = 0;
#pragma unroll
    for (int j = 0; j < 16; j++) {
        const int i = threadIdx.x + j * 256;
        value[j] = i < width ? in[i] : in[0];
        largest = fmaxf(largest, value[j]);
    }
    largest = row_max(largest);
#pragma unroll
    for (int j = 0; j < 16; j++) {
        value[j] = expf(value[j] - largest);
        if (threadIdx.x + j * 256 < width) sum += value[j];
    }
    sum = 1.0f / row_sum(sum);
#pragma unroll
    for (int j = 0; j < 16; j++) {
        const int i = threadIdx.x + j * 256;
        if (i < width) y[blockIdx.x * width + i] = value[j] * sum;
    }
}
