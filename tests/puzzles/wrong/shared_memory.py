"""Wrong solutions of the chapter: see first_steps.py."""

BARRIER = "    __syncthreads();\n"
NO_BARRIER = (BARRIER, "", "shared race")

MUTANTS = {
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
}  # fmt: skip
