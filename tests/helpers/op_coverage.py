"""The table of docs/developers/op_coverage.md, from the registry and the op table; to write it anew:
python -m tests.helpers.op_coverage
"""

from collections.abc import Iterable

from tests.helpers.layouts import NAMES, layouts_of
from tests.helpers.source import ROOT
from tinytensor.dispatch import batching
from tinytensor.dispatch.elementwise import Elementwise
from tinytensor.dispatch.views import ViewOp
from tinytensor.op import Op, registry
from tinytensor.op_table import ROWS, Row
from tinytensor.op_table.row import BOOL, COMPLEX, FLOATS, INTS, for_the_cpu

PATH = ROOT / "docs" / "developers" / "op_coverage.md"
HEAD = """# Coverage of ops

Every op of the engine, and what tests try of it. Made from the registry and the op table by
`python -m tests.helpers.op_coverage`; a test compares this file with them.

- **dtypes, layouts**: of the inputs in [`test_op_values.py`](../../tests/ops/test_op_values.py).
  floats: of 16, 32 and 64 bits; ints: signed and unsigned, of 8 to 64 bits. {layouts} layouts: {names}.
- **backward, twice**: gradients, and gradients of gradients, against central differences; –: there are none.
- **jvp**: `tt.func.jvp` against central differences, once and nested.
- **vmap**: how it runs on batched tensors, against a loop over the samples. *broadcast*: its operands do;
  *view*: a view of all samples; *at once*: a rule runs it on all samples; *by ops*: by ops that have rules;
  *each*: a loop over the samples; *refused*: it writes into tensors that all samples share; *random*: as
  `randomness` says; –: it is only recorded, never run.
- **devices**: NumPy is the specification; C++: a kernel of the host, too; CUDA: a kernel that runs on `cuda`,
  `emulated` and `checked`; library: there is none, and CuPy computes it on `cuda`, NumPy on the other two.

| op | dtypes | layouts | backward | twice | jvp | vmap | devices |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""
GROUPS = {"floats": FLOATS, "ints": INTS, "bool": BOOL, "complex": COMPLEX}


def dtypes(rows: Iterable[Row]) -> str:
    """The dtypes that rows try, groups by their names."""
    tried = {d for row in rows for d in row.dtypes}
    found = [name if tried >= set(group) else sorted(tried & set(group)) for name, group in GROUPS.items()]
    return ", ".join([part if isinstance(part, str) else " ".join(part) for part in found if part]) or "–"


def vmap(op: type[Op]) -> str:
    """How an op runs on batched tensors."""
    if issubclass(op, ViewOp):
        return "view"
    if not hasattr(op, "infer"):
        return "–"
    if op.writes:
        return "refused"
    if "stream" in op.inputs and op.vmap is None:
        return "random"
    if op.vmap is None:
        return "broadcast" if issubclass(op, Elementwise) else "each"
    return "by ops" if op.vmap.__qualname__.startswith(batching.composed.__name__) else "at once"


def devices(op: type[Op]) -> str:
    """Where an op runs."""
    kernel = issubclass(op, ViewOp | Elementwise) or (hasattr(op, "cuda") and not for_the_cpu(op))
    return ", ".join(
        ["NumPy", *["C++"] * (op.host is not None), *["CUDA"] * kernel, *["library"] * op.library]
    )


def line(name: str, op: type[Op]) -> str:
    """One line of the table."""
    rows = [row for row in ROWS if name in (row.ops or ()) and row.has_reference]
    layouts = {layout for row in rows for layout in layouts_of(row)}
    once = hasattr(op, "backward") and any(row.grad for row in rows)
    twice = once and any(row.grad and row.second for row in rows)
    marks = ["yes" if mark else "–" for mark in (once, twice, twice)]
    cells = [f"`{name}`", dtypes(rows), f"{len(layouts)}", *marks, vmap(op), devices(op)]
    return f"| {' | '.join(cells)} |\n"


def table() -> str:
    """The text of the document."""
    own = {name: op for name, op in registry.items() if op.__module__.startswith("tinytensor.")}
    head = HEAD.format(layouts=len(NAMES), names=", ".join(NAMES))
    return head + "".join([line(name, own[name]) for name in sorted(own)])


if __name__ == "__main__":
    PATH.write_text(table(), encoding="utf-8")
