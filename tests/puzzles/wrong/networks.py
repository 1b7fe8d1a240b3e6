"""Wrong solutions of the chapter: see first_steps.py."""

MUTANTS = {
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
}  # fmt: skip
