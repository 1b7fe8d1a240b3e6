"""Wrong solutions: edits of the right one, with the reason for which the judge must refuse them."""

MUTANTS = {
    "map": [
        ("2 * x[i] + 1", "2 * x[i]", "wrong"),
        ("blockIdx.x * blockDim.x + threadIdx.x", "threadIdx.x", "wrong"),
        ("y[i] = 2 * x[i] + 1;", "y[i] = 2 * x[i + 1] + 1;", "out of bounds"),
    ],
    "guard": [
        ("if (i < n) ", "", "out of bounds"),
        ("i < n", "i <= n", "out of bounds"),
        ("i < n", "i < n - 1", "wrong"),
    ],
    "zip": [
        ("(n + 255) / 256", "n / 256", "wrong"),
        ("a * x[i] + y[i]", "x[i] + a * y[i]", "wrong"),
        ("blockDim.x + threadIdx.x;", "blockDim.x + threadIdx.x * 8 % 256 + threadIdx.x / 32;", "traffic"),
    ],
    "matrix": [
        ("r * n + c] = fmaxf(x[r * n + c]", "r * m + c] = fmaxf(x[r * m + c]", "wrong"),
        ("r < m && c < n", "r < m", "out of bounds"),
        ("(n + 31) / 32, (m + 7) / 8), block (32, 8)", "(n + 19) / 20, (m + 7) / 8), block (20, 8)", "lanes"),
    ],
    "broadcast": [
        ("x[r] + b[c]", "x[c] + b[r]", "out of bounds"),
        ("x[r] + b[c]", "x[r] + b[0]", "wrong"),
        (
            "c = blockIdx.x * blockDim.x + threadIdx.x, r = blockIdx.y * blockDim.y + threadIdx.y;",
            "t = 32 * threadIdx.y + threadIdx.x, c = blockIdx.x * 32 + t / 8, r = blockIdx.y * 8 + t % 8;",
            "traffic",
        ),
    ],
    "grid_stride": [
        ("i += gridDim.x * blockDim.x", "i += blockDim.x", "traffic"),
        ("i < n;", "i < n - 1;", "wrong"),
        (
            "int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x",
            "int k = (n + 127) / 128, t = (blockIdx.x * 64 + threadIdx.x) * k, i = t; i < min(n, t + k); i++",
            "traffic",
        ),
    ],
    "strided": [
        ("i / n * x_stride_0 + i % n * x_stride_1", "i", "wrong"),
        (
            "i / n * x_stride_0 + i % n * x_stride_1",
            "i % n * x_stride_0 + i / n * x_stride_1",
            "out of bounds",
        ),
        ("i % n * x_stride_1", "i % n * abs(x_stride_1)", "out of bounds"),
    ],
    "any_rank": [
        ("a = x_rank - 1; a >= 0", "a = x_rank - 1; a > 0", "wrong"),
        ("if (i >= y_size) return;", "if (i >= y_size || x_rank > 7) return;", "wrong"),
        (
            "template <class T>\n__global__ void any_rank(T* y, const T* x,",
            "__global__ void any_rank(float* y, const float* x,",
            "needs template",
        ),
    ],
}
