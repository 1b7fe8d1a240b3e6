"""All rows of all families: every module here lists its own as `ROWS`."""

import pkgutil
from importlib import import_module

from .row import Row

FAMILIES = sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "row")
ROWS: list[Row] = [row for family in FAMILIES for row in import_module(f"{__name__}.{family}").ROWS]

__all__ = ["FAMILIES", "ROWS", "Row"]
