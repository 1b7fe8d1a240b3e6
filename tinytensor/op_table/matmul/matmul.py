"""Rows of tinytensor/ops/matmul/matmul.py and linear_gelu.py."""

from typing import Any

from tinytensor.op_table.elementwise.gelu import gelu
from tinytensor.op_table.row import COMPLEX, FLOATS, INTS, Row, Shape, both, floats, numbers

ARITHMETIC = FLOATS + INTS + COMPLEX


def product(name: str, a: Shape, b: Shape, *also: tuple[Shape, Shape], **more: Any) -> Row:
    """A row for `a @ b`; more pairs of shapes are tried for values only."""
    return Row(f"matmul{name}", (numbers(a), numbers(b)), torch=True, dtypes=ARITHMETIC, also=also, **more)


def of_transposes(name: str, a: Shape, b: Shape, large: str) -> Row:
    """A row for `a.mT @ b.mT`: gradients flow through views of both operands."""
    return Row(f"matmul:{name}", (numbers(a), numbers(b)), lambda _, x, y: x.mT @ y.mT, torch=True,
        ops=("matmul", "permute"), dtypes=ARITHMETIC, large=large)  # fmt: skip


def affine(
    name: str, weight: Shape, lead: tuple[Shape, ...], x: Shape = (2, 3, 4), *, bias: bool = True,
    transposed: bool = False, approximate: str = "", **more: Any,
) -> Row:  # fmt: skip
    """A row for linear, or for linear_gelu if an approximation is given; `lead` are further shapes of x."""
    function = "linear_gelu" if approximate else "linear"
    params = {"transposed": transposed, **({"approximate": approximate} if approximate else {})}
    inputs = (floats(x), floats(weight), *([floats((weight[0 if transposed else 1],))] if bias else []))

    def reference(x: Any, w: Any, b: Any = 0.0) -> Any:
        y = x @ (w.T if transposed else w) + b
        return gelu(y, approximate) if approximate else y

    def theirs(torch: Any, x: Any, w: Any, b: Any = None) -> Any:
        y = torch.nn.functional.linear(x, w if transposed else w.T, b)
        return torch.nn.functional.gelu(y, approximate=approximate) if approximate else y

    return Row(f"{function}{name}", inputs, lambda xp, *xs: getattr(xp, function)(*xs, **params), reference,
        theirs, ops=("linear", "linear_backward", function), roundings=2 if approximate else 1,
        also=tuple((s, *[i.shape for i in inputs[1:]]) for s in lead), **more)  # fmt: skip


LEAD: tuple[Shape, ...] = ((4,), (0, 4))
ROWS = [
    product("", (3, 4), (4, 5), ((0, 4), (4, 5)), ((3, 0), (0, 5)), ((1, 1), (1, 1)), large="r c, c k",
            timed="matmul"),
    product(":batch", (2, 1, 3, 4), (5, 4, 2), ((0, 3, 4), (4, 2)), ((1, 3, 4), (7, 4, 1))),
    product(":batch by matrix", (2, 3, 4), (4, 2)),
    product(":matrix by batch", (3, 4), (2, 4, 5)),
    product(":matrix by vector", (2, 3, 4), (4,), ((3, 0), (0,)), large="r c, c"),
    product(":vector by matrix", (3,), (2, 3, 4), ((3,), (3, 4)), large="c, c k"),
    product(":vectors", (4,), (4,), ((0,), (0,))),
    product(":vector by batch", (3,), (2, 1, 3, 2)),
    of_transposes("of transposes", (4, 3), (5, 4), large="c r, k c"),
    of_transposes("of transposed batches", (2, 4, 3), (1, 2, 4), large="3 c r, 1 k c"),
    affine("", (4, 5), LEAD, large="r c, c k, k", timed=both("linear")),
    affine(":no bias", (4, 5), LEAD, bias=False),
    affine(":transposed", (5, 4), LEAD, transposed=True, large="r c, k c, k"),
    affine(":transposed, no bias", (5, 4), LEAD, bias=False, transposed=True),
    affine(":vector", (4, 5), LEAD, (4,)),
    affine(":many rows", (2, 2), ((2,), (0, 2)), (5, 14, 2)),
    affine("", (4, 5), LEAD, large="r c, c k, k", timed="linear with GELU", approximate="tanh"),
    affine(":no bias", (4, 5), LEAD, bias=False, approximate="tanh"),
    affine(":transposed", (5, 4), LEAD, transposed=True, approximate="tanh"),
    affine(":none", (4, 5), LEAD, approximate="none"),
    affine(":one row", (4, 7), (), (1, 4), approximate="tanh"),
    affine(":many rows", (2, 2), ((1, 2), (70_000, 2)), (5, 14, 2), approximate="tanh"),
    Row("outer", (numbers((3,)), numbers((4,))), torch=True, ops=("multiply",), dtypes=ARITHMETIC,
        also=(((0,), (4,)),)),
]  # fmt: skip
