"""Wrong solutions of the chapter: see first_steps.py. The start files themselves are others."""

MUTANTS = {
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
