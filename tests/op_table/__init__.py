"""All rows of all families: every module here lists its own as `ROWS`."""

import pkgutil
from functools import cache
from importlib import import_module

from tests.op_table.row import Row

FAMILIES = sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "row")


@cache
def rows() -> list[Row]:
    """The rows of all families, in the order of the families' names."""
    return [row for family in FAMILIES for row in import_module(f"{__name__}.{family}").ROWS]


def __getattr__(name: str) -> list[Row]:
    """`ROWS` is collected when somebody asks: what needs only `row` does not depend on every family."""
    if name != "ROWS":
        raise AttributeError(name)
    try:
        return rows()
    except AttributeError as error:  # `from .op_table import ROWS` would not say what is missing
        where = "functions are exported by `__all__` of their module, and modules by tinytensor/api.py"
        what = str(error).splitlines()[0]
        raise ImportError(f"a row of tests/op_table uses what is not there: {what}; {where}") from error


__all__ = ["FAMILIES", "ROWS", "Row"]
