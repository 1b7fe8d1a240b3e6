"""The table of ops: rows that tests, `python -m tinytensor check` and `selftest`, and the benchmarks run.

Every module in a folder here lists its own as `ROWS`. Folders and modules have the names of those in `ops/`.
"""

import pkgutil
from importlib import import_module

from tinytensor import fft as _fft  # noqa: F401 - ops of rows, registered on demand
from tinytensor import linalg as _linalg  # noqa: F401
from tinytensor.op_table.row import Row

__all__ = ["FAMILIES", "ROWS", "Row"]

FAMILIES: dict[str, list[Row]] = {  # by module: "nn.softmax"
    module.name.removeprefix(f"{__name__}."): import_module(module.name).ROWS
    for module in pkgutil.walk_packages(__path__, f"{__name__}.")
    if not module.ispkg and module.name != Row.__module__
}
ROWS = [row for rows in FAMILIES.values() for row in rows]
