// launch: grid (n + 255) / 256, block 256
__global__ void histogram(int* counts, const unsigned char* x, int n) {
    // counts[v] = how often v occurs in x
}
