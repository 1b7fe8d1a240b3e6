"""Rows of tinytensor/ops/elementwise/comparison.py; those of `where` are among the arithmetic."""

from tinytensor.op_table.row import ALL, FLOATS, REAL, Row, bools, floats, numbers

SMALL, SMALLER = numbers((3, 4), -2, 2), numbers((3, 4), -1, 1)

ROWS = [
    *[
        Row(name, (SMALL, SMALL), torch="torch.eq" if name == "equal" else True,
            dtypes=ALL if "equal" in (name, name[4:]) else REAL, grad=False,
            also=(((3, 1), (4,)), ((), ()), ((0,), (1,))))
        for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
    ],
    *[
        Row(f"{name}:row", (SMALL, numbers((4,))), dtypes=REAL, grad=False, large="r c, c")
        for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
    ],
    *[
        Row(name, (SMALLER, SMALLER), torch=True, dtypes=ALL, grad=False,
            also=(((3, 1), (4,)), ((), ())))
        for name in ("logical_and", "logical_or", "logical_xor")
    ],
    Row("logical_not", (SMALLER,), torch=True, dtypes=ALL, grad=False),
    *[
        Row(f"{name}:mask", (bools((3, 4)),) * count, torch=True, grad=False,
            large=", ".join(["r c"] * count), timed=name)
        for name, count in [("logical_and", 2), ("logical_or", 2), ("logical_xor", 2), ("logical_not", 1)]
    ],
    *[
        Row(f"{name}:row of a mask", (bools((3, 4)), bools((4,))), torch=True, grad=False, large="r c, c")
        for name in ("logical_and", "logical_or", "logical_xor")
    ],
    *[
        Row(name, (SMALLER,), lambda xp, x, name=name: getattr(xp, name)(1.0 / x), dtypes=REAL, grad=False,
            ops=(name, "divide"), large="")
        for name in ("isfinite", "isinf", "isnan")
    ],
    *[
        Row(f"{name}:finite", (SMALL,), torch=True, dtypes=FLOATS, grad=False, large="r c", timed=name)
        for name in ("isfinite", "isinf", "isnan")
    ],
    Row("isnan:zero", (floats((3, 4)),), lambda xp, x: xp.isnan((x - x) / (x - x)), grad=False),
    Row("signbit", (numbers((3, 4)),), torch=True, dtypes=REAL, grad=False),
    Row("isclose", (floats((3, 4), 0.3, 1.0), floats((3, 4), -2, 2)),
        lambda xp, a, b: xp.isclose(a, a + b * 1e-3, rtol=1e-3, atol=0.0), dtypes=("float64", "float32"),
        grad=False, large=""),
    Row("isclose:apart", (SMALL, SMALL), torch=True, grad=False, large="r c, r c", timed="isclose"),
    Row("isclose:numbers", (numbers((3, 4)), numbers((4,))), lambda xp, a, b: xp.isclose(a, b, atol=0.5),
        dtypes=ALL, grad=False, large="r c, c"),
]  # fmt: skip
