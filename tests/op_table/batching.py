"""Row of the op of tinytensor/dispatch/batching.py."""

from typing import Any

import tinytensor as tt
from tests.op_table.row import ALL, Row, numbers


def views(x: Any) -> Any:
    return tt.func.vmap(lambda one: one[1:].permute(1, 0))(x)


ROWS = [
    Row("func.vmap:views", views, lambda x: x[:, 1:].swapaxes(1, 2), (numbers((2, 3, 4)),), dtypes=ALL,
        ops=("view_of_samples",), contiguous=False, also=(((0, 3, 4),), ((1, 1, 2),))),
]  # fmt: skip
