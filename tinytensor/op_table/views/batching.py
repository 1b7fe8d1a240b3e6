"""Row of the op of tinytensor/dispatch/batching.py."""

from typing import Any

from tinytensor.op_table.row import ALL, Row, numbers


def views(xp: Any, x: Any) -> Any:
    return xp.func.vmap(lambda one: one[1:].permute(1, 0))(x)


ROWS = [
    Row("func.vmap:views", (numbers((2, 3, 4)),), views, lambda x: x[:, 1:].swapaxes(1, 2), dtypes=ALL,
        ops=("view_of_samples",), contiguous=False, also=(((0, 3, 4),), ((1, 1, 2),))),
]  # fmt: skip
