"""Rows of tinytensor/ops/reductions/min_max.py."""

from typing import Any

from tinytensor.op_table.row import ALL, REAL, Input, Row, bools, both, distinct, numbers, ties


def row(name: str, x: Input, params: Any = (), theirs: str = "", **more: Any) -> Row:
    """A row of a reduction with parameters, of which PyTorch's function takes the axis."""
    function, given = name.partition(":")[0], dict(params)
    return Row(name, (x,), lambda xp, x: getattr(xp, function)(x, **given),
        torch=bool(theirs) and (lambda torch, x: getattr(torch, theirs)(x, given.get("axis", ()))),
        **more)  # fmt: skip


def extreme(name: str, **timed: Any) -> list[Row]:
    """max and min: values without ties, where the gradient exists, and with ties."""
    more: Any = {"ops": (name, "tie_share")}
    return [
        row(name, distinct((3, 4)), (), f"a{name}", also=(((),), ((1, 1),)), **more),
        row(f"{name}:axis", distinct((3, 4, 2)), {"axis": 1}, f"a{name}", also=(((0, 2),), ((2, 3, 0),)),
            large="r c", **timed, **more),
        row(f"{name}:first", distinct((3, 4)), {"axis": 0}, f"a{name}", large="r c", **more),
        row(f"{name}:keepdims", distinct((3, 2, 4)), {"axis": (0, -1), "keepdims": True}, **more),
        row(f"{name}:ties", ties((5, 4)), {"axis": 0}, f"a{name}", ops=(name,), dtypes=REAL, grad=False),
    ]  # fmt: skip


def place(name: str) -> list[Row]:
    """argmax and argmin, with ties."""
    more: Any = {"dtypes": REAL, "grad": False}
    return [
        row(name, ties((3, 4)), also=(((),), ((1,),)), large="r c", **more),
        row(f"{name}:axis", ties((3, 4, 2)), {"axis": 1}, also=(((0, 3),), ((2, 3, 0),)), **more),
        row(f"{name}:rows", distinct((3, 4)), {"axis": 1}, name, grad=False, large="r c",
            timed=f"{name} of rows"),
        row(f"{name}:columns", distinct((3, 4)), {"axis": 0}, name, grad=False, large="r c"),
        row(f"{name}:keepdims", ties((3, 4)), {"axis": -1, "keepdims": True}, **more),
        row(f"{name}:keepdims_all", ties((3, 4)), {"keepdims": True}, **more),
    ]  # fmt: skip


def truth(name: str, op: str) -> list[Row]:
    """any, all and count_nonzero."""
    more: Any = {"ops": (op,), "grad": False, "result": "int64" if name == "count_nonzero" else "bool"}
    return [
        row(name, numbers((3, 4)), dtypes=ALL, also=(((),), ((0, 3),)), large="", **more),
        row(f"{name}:axis", ties((5, 2)), {"axis": 1}, dtypes=REAL, also=(((2, 0),), ((0, 2),)), **more),
        row(f"{name}:mask", bools((3, 4)), {"axis": 1}, name, large="r c", timed=f"{name} of rows", **more),
        row(f"{name}:keepdims", ties((2, 3, 2)), {"axis": (0, 2), "keepdims": True}, dtypes=REAL, **more),
    ]  # fmt: skip


ROWS = [
    *extreme("max", timed=both("max of rows")),
    *extreme("min", timed="min of rows"),
    *place("argmax"),
    *place("argmin"),
    *truth("any", "any_true"),
    *truth("all", "all_true"),
    *truth("count_nonzero", "count_nonzero"),
]
