"""Wrong solutions of the chapter: see first_steps.py."""

MUTANTS = {
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
}  # fmt: skip
