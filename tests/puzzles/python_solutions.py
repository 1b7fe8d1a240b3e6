"""Bodies of the functions that solve the Python puzzles, and wrong ones with the reason for which the judge
must refuse them.
"""

N = "tt.arange(n)"
X = "tt.arange(x.shape[0])"
SOFTMAX = "y = tt.softmax(x)\n    "

SOLUTIONS = {
    # ---- views
    "transpose_view": (
        "return x.as_strided((x.shape[1], x.shape[0]), (1, x.shape[1]), 0)",
        ("return x.as_strided((x.shape[1], x.shape[0]), (x.shape[0], 1), 0)", "wrong"),
        ("return x.T", "not allowed"),
        ("return x.as_strided(x.shape, (1, x.shape[1]), 0)", "wrong shape"),
    ),
    "diagonal": (
        "return x.as_strided((x.shape[0],), (x.shape[0] + 1,), 0)",
        ("return x.as_strided((x.shape[0],), (x.shape[0],), 0)", "wrong"),
        ("return x.as_strided((x.shape[0],), (x.shape[0] + 1,), 0) + 0", "copy"),
        ("return x.as_strided((x.shape[0] + 1,), (x.shape[0] + 1,), 0)", "exception"),
    ),
    "antidiagonal": (
        "return x.as_strided((x.shape[0],), (x.shape[0] - 1,), x.shape[0] - 1)",
        ("return x.as_strided((x.shape[0],), (x.shape[0] - 1,), 0)", "wrong"),
        ("return x.as_strided((x.shape[0],), (x.shape[0] + 1,), x.shape[0] - 1)", "exception"),
        ("n = x.shape[0]\n    return x.as_strided((n,), (n - 1,), n - 1)", "not allowed"),
    ),
    "rows_backwards": (
        "return x.as_strided(x.shape, (-x.shape[1], 1), x.size - x.shape[1])",
        ("return x.as_strided(x.shape, (-x.shape[1], 1), 0)", "exception"),
        ("return x.as_strided(x.shape, (-x.shape[1], -1), x.size - 1)", "wrong"),
        ("return x[::-1].as_strided(x.shape, (x.shape[1], 1), 0)", "wrong"),
    ),
    "windows": (
        "return x.as_strided((x.shape[0] - 2, 3), (1, 1), 0)",
        ("return x.as_strided((x.shape[0] - 2, 3), (3, 1), 0)", "exception"),
        ("return x.as_strided((3, x.shape[0] - 2), (1, 1), 0)", "wrong shape"),
        ("return x.as_strided((x.shape[0] - 2, 3), (1, 0), 0)", "wrong"),
    ),
    "repeat_rows": (
        "return x.as_strided((4, x.shape[0]), (0, 1), 0)",
        ("return x.as_strided((4, x.shape[0]), (1, 0), 0)", "exception"),
        ("return x.expand(4, x.shape[0])", "not allowed"),
        ("return x.as_strided((4, x.shape[0]), (0, 0), 0)", "wrong"),
    ),
    "interior": (
        "return x.as_strided((x.shape[0] - 2, x.shape[1] - 2), (x.shape[1], 1), x.shape[1] + 1)",
        ("return x.as_strided((x.shape[0] - 2, x.shape[1] - 2), (x.shape[1], 1), 1)", "wrong"),
        ("return x.as_strided((x.shape[0] - 2, x.shape[1] - 2), (x.shape[1] - 2, 1), x.shape[1] + "
         "1)", "wrong"),
        ("return x.as_strided((x.shape[0] - 1, x.shape[1] - 1), (x.shape[1], 1), 0)", "wrong shape"),
    ),
    "tiles": (
        "return x.as_strided((x.shape[0] // 2, x.shape[1] // 2, 2, 2), (2 * x.shape[1], 2, x.shape[1], "
        "1), 0)",
        ("return x.as_strided((x.shape[0] // 2, x.shape[1] // 2, 2, 2), (2 * x.shape[1], 2, 1, "
         "x.shape[1]), 0)", "wrong"),
        ("return x.as_strided((x.shape[0] // 2, x.shape[1] // 2, 2, 2), (x.shape[1], 2, x.shape[1], 1), "
         "0)", "wrong"),
        ("return x.as_strided((x.shape[0], x.shape[1], 2, 2), (2 * x.shape[1], 2, x.shape[1], 1), "
         "0)", "exception"),
    ),
    "heads": (
        "return x.as_strided((x.shape[1] // d, x.shape[0], d), (d, x.shape[1], 1), 0)",
        ("return x.as_strided((x.shape[1] // d, x.shape[0], d), (d * x.shape[0], d, 1), 0)", "wrong"),
        ("return x.as_strided((x.shape[0], x.shape[1] // d, d), (x.shape[1], d, 1), 0)", "wrong shape"),
        ("return x.as_strided((x.shape[1] // d, x.shape[0], d), (1, x.shape[1], x.shape[1] // d), "
         "0)", "wrong"),
    ),
    "toeplitz": (
        "return x.as_strided(((x.size + 1) // 2, (x.size + 1) // 2), (1, -1), x.size // 2)",
        ("return x.as_strided(((x.size + 1) // 2, (x.size + 1) // 2), (-1, 1), x.size // 2)", "wrong"),
        ("return x.as_strided(((x.size + 1) // 2, (x.size + 1) // 2), (1, 1), 0)", "wrong"),
        ("return x.as_strided(((x.size + 1) // 2, (x.size + 1) // 2), (1, -1), 0)", "exception"),
    ),
    # ---- values
    "ones": (
        f"return tt.where({N} >= 0, 1, 0)",
        (f"return tt.where({N} > 0, 1, 0)", "wrong"),
        ("return tt.ones(n)", "not allowed"),
        ("return tt.where(n >= tt.arange(n + 1), 1, 0)", "wrong shape"),
    ),
    "outer": (
        "return a[:, None] * b",
        ("return a[:, None] + b", "wrong"),
        ("return a * b[:, None]", "wrong shape"),
        ("return tt.outer(a, b)", "not allowed"),
    ),
    "identity": (
        f"return tt.where({N}[:, None] == {N}, 1, 0)",
        (f"return tt.where({N}[:, None] >= {N}, 1, 0)", "wrong"),
        (f"return tt.where({N} == {N}, 1, 0)", "wrong shape"),
        ("return tt.eye(n)", "not allowed"),
    ),
    "causal": (
        f"return tt.where({N}[:, None] >= {N}, 1, 0)",
        (f"return tt.where({N}[:, None] <= {N}, 1, 0)", "wrong"),
        (f"return tt.where({N}[:, None] > {N}, 1, 0)", "wrong"),
        ("return tt.tril(tt.ones(n, n))", "not allowed"),
    ),
    "one_hot": (
        "return tt.where(index[:, None] == tt.arange(classes), 1, 0)",
        ("return tt.where(index == tt.arange(classes)[:, None], 1, 0)", "wrong shape"),
        ("return tt.where(index[:, None] == tt.arange(classes) + 1, 1, 0)", "wrong"),
        ("return tt.where(index[:, None] == tt.arange(classes), 1, 0)[0]", "wrong shape"),
    ),
    "distances": (
        "return (a[:, None] - b) ** 2",
        ("return a[:, None] - b", "wrong"),
        ("return (a[:, None] + b) ** 2", "wrong"),
        ("return (a - b[:, None]) ** 2", "wrong shape"),
    ),
    "running_sum": (
        f"return x @ tt.where({X}[:, None] <= {X}, 1.0, 0.0)",
        (f"return x @ tt.where({X}[:, None] >= {X}, 1.0, 0.0)", "wrong"),
        ("return x.cumsum(0)", "not allowed"),
        (f"return x @ tt.where({X}[:, None] < {X}, 1.0, 0.0)", "wrong"),
    ),
    "reverse": (
        f"return x[x.shape[0] - 1 - {X}]",
        (f"return x[x.shape[0] - {X}]", "exception"),
        ("return x.flip(0)", "not allowed"),
        (f"return x[0 - {X}]", "wrong"),
    ),
    "roll": (
        f"return x[({X} + 1) % x.shape[0]]",
        (f"return x[{X} + 1]", "exception"),
        (f"return x[({X} - 1) % x.shape[0]]", "wrong"),
        ("return tt.roll(x, -1)", "not allowed"),
    ),
    "padding_mask": (
        "return tt.where(tt.arange(x.shape[1]) < length[:, None], x, 0)",
        ("return tt.where(tt.arange(x.shape[1]) <= length[:, None], x, 0)", "wrong"),
        ("return tt.where(tt.arange(x.shape[0]) < length, x, 0)", "exception"),
        ("return x * (tt.arange(x.shape[1]) < length[:, None]).astype(x.dtype)", "not allowed"),
    ),
    # ---- gradients
    "product_gradient": (
        "return dy * b, dy * a",
        ("return dy * a, dy * b", "wrong"),
        ("return dy * b", "wrong shape"),
        ("return tt.grad(a * b, (a, b), dy)", "not allowed"),
    ),
    "sum_gradient": (
        "return dy.expand(*x.shape)",
        ("return dy", "wrong shape"),
        ("return x * dy", "wrong"),
        ("return dy.expand(*x.shape) / x.size", "wrong"),
    ),
    "mean_gradient": (
        "return (dy / x.shape[1])[:, None].expand(*x.shape)",
        ("return dy[:, None].expand(*x.shape)", "wrong"),
        ("return (dy / x.size)[:, None].expand(*x.shape)", "wrong"),
        ("return dy / x.shape[1]", "wrong shape"),
    ),
    "bias_gradient": (
        "return dy, dy.sum(0)",
        ("return dy, dy", "wrong shape"),
        ("return dy, dy.mean(0)", "wrong"),
        ("return dy.sum(0), dy", "wrong shape"),
    ),
    "outer_gradient": (
        "return (dy * b).sum(1, keepdims=True), (dy * a).sum(0, keepdims=True)",
        ("return dy * b, dy * a", "wrong shape"),
        ("return (dy * b).sum(1), (dy * a).sum(0)", "wrong shape"),
        ("return dy.sum(1, keepdims=True), dy.sum(0, keepdims=True)", "wrong"),
    ),
    "exp_gradient": (
        "return dy * tt.exp(x)",
        ("return tt.exp(x)", "wrong"),
        ("return dy * x", "wrong"),
        ("return dy", "wrong"),
    ),
    "reciprocal_gradient": (
        "return -dy / (x * x)",
        ("return dy / (x * x)", "wrong"),
        ("return -dy / x", "wrong"),
        ("return -dy * nothing", "exception"),
    ),
    "tanh_gradient": (
        "return dy * (1 - tt.tanh(x) ** 2)",
        ("return dy * (1 - x ** 2)", "wrong"),
        ("return dy * tt.tanh(x) ** 2", "wrong"),
        ("x.requires_grad_()\n    return dy", "not allowed"),
    ),
    "sigmoid_gradient": (
        "s = tt.sigmoid(x)\n    return dy * s * (1 - s)",
        ("s = tt.sigmoid(x)\n    return dy * s", "wrong"),
        ("return dy * x * (1 - x)", "wrong"),
        ("s = tt.sigmoid(x)\n    return s * (1 - s)", "wrong"),
    ),
    "relu_gradient": (
        "return tt.where(x > 0, dy, 0.0)",
        ("return tt.where(dy > 0, dy, 0.0)", "wrong"),
        ("return tt.where(x > 0, 1.0, 0.0)", "wrong"),
        ("return dy", "wrong"),
    ),
    "norm_gradient": (
        "return x * (dy / tt.sqrt((x * x).sum(1)))[:, None]",
        ("return x * dy[:, None]", "wrong"),
        ("return 2 * x * (dy / tt.sqrt((x * x).sum(1)))[:, None]", "wrong"),
        ("return dy / tt.sqrt((x * x).sum(1))", "wrong shape"),
    ),
    "max_gradient": (
        "return tt.where(x == x.max(1, keepdims=True), dy[:, None], 0.0)",
        ("return tt.where(x == x.max(), dy[:, None], 0.0)", "wrong"),
        ("return tt.where(x == x.max(1, keepdims=True), 1.0, 0.0)", "wrong"),
        ("return dy[:, None]", "wrong shape"),
    ),
    "transpose_gradient": (
        "return dy.T",
        ("return dy", "wrong shape"),
        ("return dy.reshape(x.shape)", "wrong"),
        ("return dy.T * x", "wrong"),
    ),
    "slice_gradient": (
        "dx = tt.zeros_like(x)\n    dx[:, 1:] = dy\n    return dx",
        ("dx = tt.zeros_like(x)\n    dx[:, :-1] = dy\n    return dx", "wrong"),
        ("return dy", "wrong shape"),
        ("dx = tt.ones_like(x)\n    dx[:, 1:] = dy\n    return dx", "wrong"),
    ),
    "matmul_gradient": (
        "return dy @ b.T, a.T @ dy",
        ("return b.T @ dy, dy @ a.T", "exception"),
        ("return dy @ b.T, dy.T @ a", "wrong shape"),
        ("return dy @ b.T, -(a.T @ dy)", "wrong"),
    ),
    "lookup_gradient": (
        "hot = tt.where(index[:, None] == tt.arange(w.shape[0]), 1.0, 0.0)\n    return hot.T @ dy",
        ("dw = tt.zeros_like(w)\n    dw[index] = dy\n    return dw", "wrong"),
        ("return dy", "wrong shape"),
        ("return w * 0", "wrong"),
    ),
    "softmax_gradient": (
        SOFTMAX + "return y * (dy - (dy * y).sum(1, keepdims=True))",
        (SOFTMAX + "return y * dy", "wrong"),
        (SOFTMAX + "return y * (1 - y) * dy", "wrong"),
        (SOFTMAX + "return y * (dy - (dy * y).sum())", "wrong"),
    ),
    "cross_entropy_gradient": (
        "hot = tt.where(target[:, None] == tt.arange(x.shape[1]), 1.0, 0.0)\n"
        "    return (tt.softmax(x) - hot) * (dy / x.shape[0])",
        ("return tt.softmax(x) * (dy / x.shape[0])", "wrong"),
        ("hot = tt.where(target[:, None] == tt.arange(x.shape[1]), 1.0, 0.0)\n"
         "    return (tt.softmax(x) - hot) * dy", "wrong"),
        ("hot = tt.where(target[:, None] == tt.arange(x.shape[1]), 1.0, 0.0)\n"
         "    return (hot - tt.softmax(x)) * (dy / x.shape[0])", "wrong"),
    ),
    "layer_norm_gradient": (
        "y = tt.layer_norm(x, x.shape[1:])\n    scale = 1 / tt.sqrt(x.var(1, keepdims=True) + 1e-5)\n"
        "    return scale * (dy - dy.mean(1, keepdims=True) - y * (dy * y).mean(1, keepdims=True))",
        ("scale = 1 / tt.sqrt(x.var(1, keepdims=True) + 1e-5)\n    return scale * dy", "wrong"),
        ("scale = 1 / tt.sqrt(x.var(1, keepdims=True) + 1e-5)\n"
         "    return scale * (dy - dy.mean(1, keepdims=True))", "wrong"),
        ("return dy.mean(1)", "wrong shape"),
    ),
    "attention_gradient": (
        "d = q.shape[1] ** 0.5\n    mask = tt.arange(q.shape[0])[:, None] >= tt.arange(q.shape[0])\n"
        "    w = tt.softmax(tt.where(mask, q @ k.T / d, -1e30))\n    dw = dy @ v.T\n"
        "    ds = w * (dw - (dw * w).sum(1, keepdims=True)) / d\n    return ds @ k, ds.T @ q, w.T @ dy",
        ("w = tt.softmax(q @ k.T / q.shape[1] ** 0.5)\n    return dy @ k.T @ k, dy @ q.T @ q, w.T @ "
         "dy", "wrong"),
        ("d = q.shape[1] ** 0.5\n    w = tt.softmax(q @ k.T / d)\n    dw = dy @ v.T\n"
         "    ds = w * (dw - (dw * w).sum(1, keepdims=True)) / d\n    return ds @ k, ds.T @ q, w.T @ "
         "dy", "wrong"),
        ("return dy, dy", "wrong shape"),
    ),
}  # fmt: skip
