// launch: grid m, block 32
__global__ void vote(int* count, const float* x, int n) {
    // count[r] = number of positive elements of row r
}
