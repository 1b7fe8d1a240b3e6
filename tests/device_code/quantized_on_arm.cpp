// Reads x and packed weights; writes their products, then the values of the weights.
// Arguments: number of the kind, rows of x, rows and columns of the weight.
#include "quantized_linear.cpp"
#include <stdio.h>

static void run(void (*task)(void*, Index), void* context, Index parts) {
    for (Index part = 0; part < parts; part++)
        task(context, part);
}

int main(int, char** given) {
    const Threads alone = {[] { return 1; }, run};
    tt_threads = &alone;
    const int rows = atoi(given[2]), n = atoi(given[3]), width = atoi(given[4]);
    return !of_kind(atoi(given[1]), [&](auto of) {
        using Kind = decltype(of);
        const size_t blocks = n * width / Kind::values;
        float *x = new float[rows * width], *y = new float[rows * n], *values = new float[n * width];
        uint8_t* packed = new uint8_t[blocks * Kind::nbytes];
        if (fread(x, 4 * width, rows, stdin) != (size_t)rows) return false;
        if (fread(packed, Kind::nbytes, blocks, stdin) != blocks) return false;
        if (!rounded_product<Kind>(y, x, packed, rows, n, width)) return false;
        for (size_t i = 0; i < blocks; i++)
            values_of<Kind>(values + i * Kind::values, packed + i * Kind::nbytes);
        return fwrite(y, 4, rows * n, stdout) && fwrite(values, 4, n * width, stdout);
    });
}
