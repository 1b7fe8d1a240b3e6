"""Wrong solutions: edits of the right ones, with the reason for which the judge must refuse them."""

BARRIER = "    __syncthreads();\n"
NO_BARRIER = (BARRIER, "", "shared race")
LAST_BARRIER = "        __syncthreads();\n    }\n"

MUTANTS = {
    # ---- first steps
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
    # ---- shared memory
    "even_odd": [
        NO_BARRIER,
        ("2 * (t - 64) + 1", "2 * t + 1", "out of bounds"),
        ("s[t < 64 ? 2 * t : 2 * (t - 64) + 1]", "x[first + (t < 64 ? 2 * t : 2 * (t - 64) + 1)]", "traffic"),
    ],
    "blur": [
        NO_BARRIER,
        ("if (t == 127) s[129]", "if (t == 128) s[129]", "uninitialized shared read"),
        ("i > 0 ? x[i - 1]", "i >= 0 ? x[i - 1]", "out of bounds"),
    ],
    "blur_2d": [
        NO_BARRIER,
        ("c >= 0 && c < n", "c < n", "wrong"),
        ("sum / 9", "sum / 8", "wrong"),
    ],
    "transpose": [
        ("y[c * m + r]", "y[c * n + r]", "wrong"),
        ("r < m && c < n", "r < m", "out of bounds"),
        ("c = blockIdx.x * 32 + threadIdx.x", "c = blockIdx.x * 32 + threadIdx.x / 2 * 2", "wrong"),
    ],
    "transpose_tiled": [
        NO_BARRIER,
        ("y[(c0 + j) * m + r0 + lane] = "
         "tile[lane][j]", "y[(c0 + lane) * m + r0 + j] = tile[j][lane]", "out of bounds"),
        ("r0 + j < m && c0 + lane < n) tile[j][lane] = x[(r0 + j) * n + c0 + lane]",
         "r0 + lane < m && c0 + j < n) tile[lane][j] = x[(r0 + lane) * n + c0 + j]", "traffic"),
    ],
    "transpose_padded": [
        NO_BARRIER,
        ("tile[32][33]", "tile[32][32]", "ways"),
        ("tile[32][33]", "tile[32][34]", "ways"),
    ],
    # ---- reductions
    "sum_atomic": [
        ("atomicAdd(y, x[i])", "y[0] += x[i]", "global race"),
        ("if (i < n) ", "", "out of bounds"),
        ("(n + 255) / 256", "n / 256", "wrong"),
    ],
    "sum_tree": [
        ("        __syncthreads();\n", "", "shared race"),
        ("k = 128; k > 0", "k = 128; k > 1", "wrong"),
        ("for (int k = 128; k > 0; k /= 2) {\n        __syncthreads();\n        if (t < k) s[t]",
         "for (int k = 1; k < 256; k *= 2) {\n        __syncthreads();\n        if (t % (2 * k) == 0) "
         "s[t]", "lanes"),
    ],
    "sum_shuffle": [
        ("    __syncthreads();\n", "", "shared race"),
        ("int k = 16;", "int k = 8;", "wrong"),
        ("t < 8 ? s[t]", "t < 9 ? s[t]", "out of bounds"),
    ],
    "sum_vector": [
        ("j < n / 4", "j < n", "out of bounds"),
        ("v.x + v.y + v.z + v.w", "v.x + v.y + v.z", "wrong"),
        ("const float4 v = "
         "row[j];", "const float* f = x + r * n + 4 * j; const float4 v = {f[0], f[1], f[2], f[3]};",
         "requests"),
    ],
    "scan_block": [
        ("        const float before = t >= k ? s[t - k] : 0.0f;\n        __syncthreads();\n",
         "        const float before = t >= k ? s[t - k] : 0.0f;\n", "shared race"),
        ("k < 256", "k < 128", "wrong"),
        ("t >= k ? s", "t > k ? s", "wrong"),
    ],
    "scan_long": [
        ("count = (n + 255) / 256", "count = min((n + 255) / 256, 128)", "wrong"),
        ("threadIdx.x == 255", "i == n - 1", "uninitialized global read"),
        ("if (t < count) totals[t] = sum;", "totals[t] = sum;", "out of bounds"),
    ],
    # ---- warps
    "histogram": [
        ("atomicAdd(&counts[x[i]], 1)", "counts[x[i]]++", "global race"),
        ("if (i < n) ", "", "out of bounds"),
        ("x[i]], 1)", "i % 64], 1)", "wrong"),
    ],
    "histogram_shared": [
        ("    if (threadIdx.x < 64) mine[threadIdx.x] = 0;\n", "", "uninitialized shared read"),
        ("= 0;\n    __syncthreads();\n", "= 0;\n", "shared race"),
        ("(n + 4095) / 4096", "(n + 255) / 256", "traffic"),
    ],
    "vote": [
        ("c + lane < n && x", "x", "out of bounds"),
        ("> 0", ">= 0", "wrong"),
        ("found += __popc", "found = __popc", "wrong"),
    ],
    "warp_maximum": [
        ("int k = 1; k < 32", "int k = 2; k < 32", "wrong"),
        ("__shfl_up_sync(0xffffffffu, v, k)", "__shfl_up_sync(0xffffu, v, k)", "wrong mask"),
        ("if (i >= n) return;\n", "", "out of bounds"),
    ],
    "compaction": [
        ("(1u << lane) - 1", "(2u << lane) - 1", "wrong"),
        ("if (lane == 0) *count", "if (n && lane == 0) *count", "wrong"),
        (
            "0.0f;\n        const unsigned votes = __ballot_sync(0xffffffffu, v > 0);\n        if (v > 0)",
            "-1.0f;\n        const unsigned votes = __ballot_sync(0xffffffffu, v >= 0);\n        if (v >= 0)",
            "wrong",
        ),
    ],
    # ---- matrix products
    "matmul": [
        ("row >= m || col >= n", "row >= m", "out of bounds"),
        ("b[i * n + col]", "b[col * k + i]", "wrong"),
        ("col = blockIdx.x * 32 + threadIdx.x, row = blockIdx.y * 8 + threadIdx.y",
         "t = threadIdx.y * 32 + threadIdx.x, col = blockIdx.x * 32 + t / 8, row = blockIdx.y * 8 + t "
         "% 8", "traffic"),
    ],
    "matmul_tiled": [
        ("        __syncthreads();\n        for", "        for", "shared race"),
        ("        __syncthreads();  // before", "        // before", "shared race"),
        ("as[y][x] = row < m && start + x < k ? a[row * k + start + x] : 0.0f;\n"
         "        bs[y][x] = start + y < k && col < n ? b[(start + y) * n + col] : 0.0f;\n",
         "if (start == 0) as[y][x] = bs[y][x] = 0.0f;\n"  # later the last tiles keep old elements
         "        if (row < m && start + x < k) as[y][x] = a[row * k + start + x];\n"
         "        if (start + y < k && col < n) bs[y][x] = b[(start + y) * n + col];\n", "wrong"),
    ],
    "matmul_registers": [
        (LAST_BARRIER, "    }\n", "shared race"),
        ("br < k && bc < n", "bc < n", "out of bounds"),
        ("step < 16", "step < 15", "wrong"),
    ],
    "matmul_vector": [
        (LAST_BARRIER, "    }\n", "shared race"),
        ("float as[16][64]", "float as[16][65]", "misaligned access"),
        ("const float u[4] = {p.x, p.y, p.z, p.w}", "const float* s = &as[step][4 * y]; const float u[4] = "
         "{s[0], s[1], s[2], s[3]}", "requests"),
    ],
    "matmul_tensor_cores": [
        ("pair(u + 8 * k), pair(u + 8)", "pair(u + 8), pair(u + 8 * k)", "wrong"),
        ("out[8 * n] = sum[2], out[8 * n + 1] = sum[3];", "out[8] = sum[2], out[9] = sum[3];", "wrong"),
        ("start < k; start += 16", "start <= k; start += 16", "out of bounds"),
    ],
    "double_buffer": [
        ("cp_async_wait<1>", "cp_async_wait<2>", "unfinished copy"),
        ("        __syncthreads();\n", "", "shared race"),
        ("        __syncthreads();  // before", "        // before", "unfinished copy"),
    ],
    # ---- networks
    "softmax": [
        ("sum += expf(x[i] - top)", "sum += expf(x[i])", "wrong"),
        ("float top = -3e38f", "float top = 0", "wrong"),
        ("for (int i = lane; i < n; i += 32) top",
         "for (int i = lane; i < min(n, 32); i += 32) top", "wrong"),
    ],
    "online_softmax": [
        ("sum * expf(top - grown) + expf(v - grown)", "sum + expf(v - grown)", "wrong"),
        ("others * expf(other - grown)", "others", "wrong"),
        ("y[i] = expf(x[i] - top) / sum;",
         "y[i] = x[i] - top;\n    for (int i = lane; i < n; i += 32) y[i] = expf(y[i]) / sum;", "traffic"),
    ],
    "layer_norm": [
        ("rsqrtf(variance + eps)", "(1 / (sqrtf(variance) + eps))", "wrong"),
        ("squares += (x[i] - mean) * (x[i] - mean);\n    const float variance = add_up(squares) / n;",
         "squares += x[i] * x[i];\n    const float variance = add_up(squares) / n - mean * mean;", "wrong"),
        ("* w[i] + b[i]", "* w[i] + b[i + 1]", "out of bounds"),
    ],
    "cross_entropy": [
        ("logf(sum) + top", "logf(sum)", "wrong"),
        ("x[target[r]]", "x[target[lane]]", "wrong"),
        ("sum += expf(x[i] - top)", "sum += expf(x[i])", "wrong"),
    ],
    "attention": [
        ("if (j > i) return;", "if (j >= i) return;", "uninitialized global read"),
        ("float top = -3e38f", "float top = 0", "wrong"),
        ("j = 0; j <= i; j++", "j = 0; j < t; j++", "uninitialized global read"),
    ],
    "flash_attention": [
        ("{-3e38f, -3e38f, -3e38f, -3e38f}", "{}", "wrong"),
        ("            __syncwarp();\n", "", "shared race"),
        ("        __syncthreads();  // before", "        // before", "shared race"),
    ],
    "embedding_gradient": [
        ("atomicAdd(&dw[index[i / c] * c + i % c], "
         "dy[i])", "dw[index[i / c] * c + i % c] += dy[i]", "global race"),
        ("index[i / c] * c", "index[i % n] * c", "wrong"),
        ("const int i = blockIdx.x * blockDim.x + threadIdx.x;",
         "const int t = blockIdx.x * blockDim.x + threadIdx.x, i = t < n * c ? t % n * c + t / n : "
         "t;", "traffic"),
    ],
    "adamw": [
        ("(first / c1)", "(m[i] / c1)", "wrong"),
        ("    m[i] = first;\n", "", "wrong"),
        ("(sqrtf(second / c2) + eps)", "sqrtf(second / c2 + eps)", "wrong"),
    ],
    # ---- backward passes
    "softmax_backward": [
        ("y[i] * (dy[i] - sum)", "y[i] * dy[i] - sum", "wrong"),
        ("sum += dy[i] * y[i]", "sum += dy[i]", "wrong"),
        ("i < n; i += 32) sum", "i <= n; i += 32) sum", "out of bounds"),
    ],
    "layer_norm_backward": [
        ("- h[first + i] * product", "- product", "wrong"),
        ("if (c >= n) return;", "", "out of bounds"),
        ("r < m; r++", "r < min(m, 32); r++", "wrong"),
    ],
    "gelu_backward": [
        ("(1 + 3 * 0.044715f * v * v)", "(1 + 0.044715f * v * v)", "wrong"),
        ("tanhf(k * (v + 0.044715f * v * v * v))",
         "[](float e) { return (e - 1) / (e + 1); }(expf(2 * k * (v + 0.044715f * v * v * v)))", "wrong"),
        ("if (i >= n) return;", "if (i > n) return;", "out of bounds"),
    ],
    # ---- bugs
    "bug_race": [
        ("        __syncthreads();\n        const", "        const", "shared race"),
        ("        __syncthreads();\n        s[t] "
         "+=", "        __syncwarp();\n        s[t] +=", "shared race"),
        ("k < 128", "k < 64", "wrong"),
    ],
    "bug_barrier": [
        ("        __syncthreads();  // before", "        __syncwarp();  // before", "shared race"),
        ("s[127 - t]", "s[t]", "wrong"),
        ("        __syncthreads();\n", "", "shared race"),
    ],
    "bug_fence": [
        ("    partial[blockIdx.x] = sum;\n    "
         "__threadfence();\n", "    partial[blockIdx.x] = sum;\n", "global race"),
        ("atomicAdd(done, 1)", "(*done)++", "global race"),
        ("< gridDim.x - 1", "< gridDim.x - 2", "global race"),
    ],
    "bug_bounds": [
        ("4 * i + 3 < n", "4 * i + 2 < n", "out of bounds"),
        ("        for (int j = 4 * i; j < n; j++) y[j] = 2 * x[j];\n", "", "wrong"),
        ("4 * i + 3 < n", "false && sizeof(float4)", "traffic"),
    ],
    "bug_uninitialized": [
        ("i < n ? x[i] : 0.0f", "i < n ? x[i] : 1.0f", "wrong"),
        ("i < n ? x[i] : 0.0f", "x[i]", "out of bounds"),
        ("        __syncthreads();\n", "", "shared race"),
    ],
    "bug_divergent": [
        ("        }\n        __syncthreads();\n", "        }\n", "shared race"),
        ("        __syncthreads();\n    }\n",
         "        if (t < k) __syncthreads();\n    }\n    __syncthreads();\n", "divergent barrier"),
        ("        }\n        __syncthreads();\n", "        }\n        __syncwarp();\n", "shared race"),
    ],
    "bug_banks": [
        ("tile[32][33]", "tile[32][36]", "ways"),
        ("        __syncwarp();\n        for", "        for", "shared race"),
        ("tile[32][33]", "tile[32][40]", "ways"),
    ],
    "bug_mask": [
        ("0xffffffffu", "0xffffu", "wrong mask"),
        ("    __syncthreads();\n", "", "shared race"),
        ("int k = 16", "int k = 8", "wrong"),
    ],
}  # fmt: skip
