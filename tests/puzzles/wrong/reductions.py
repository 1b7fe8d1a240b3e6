"""Wrong solutions of the chapter: see first_steps.py."""

MUTANTS = {
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
}  # fmt: skip
