"""Wrong solutions of the chapter: see first_steps.py."""

LAST_BARRIER = "        __syncthreads();\n    }\n"

MUTANTS = {
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
}  # fmt: skip
