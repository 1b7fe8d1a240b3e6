"""Wrong solutions of the chapter: see first_steps.py."""

MUTANTS = {
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
}
