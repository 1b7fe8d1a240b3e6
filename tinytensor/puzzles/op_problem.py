"""The problem of an op: a row of the op table. Tensors have the names of the op's inputs and outputs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import partial

import numpy as np

import tinytensor as tt
from tinytensor.dtypes import DType, as_dtype
from tinytensor.errors import ArgumentError, nearest
from tinytensor.op import registry
from tinytensor.op_table import ROWS, Row
from tinytensor.op_table.row import COMPLEX, FLOATS, as_tuple, silent
from tinytensor.puzzles.problem import Case, Problem, least_bytes

# Of the letters in `Row.large`: rows, columns, inner axes; batch, heads, queries, keys and width of a head;
# images. Three sets with remainders (no multiples of block, tile or vector sizes), one of them with more
# columns than a block has threads; one for the cost, without.
_LETTERS = "rcknbhtsdyx"
LENGTHS = (
    dict(zip(_LETTERS, (37, 70, 45, 150, 2, 2, 40, 45, 24, 9, 11), strict=True)),
    dict(zip(_LETTERS, (12, 34, 20, 33, 1, 3, 7, 9, 8, 7, 8), strict=True)),
    dict(zip(_LETTERS, (5, 1100, 5, 1500, 1, 1, 3, 300, 8, 5, 40), strict=True)),
)
MEASURED = dict(zip(_LETTERS, (64, 256, 64, 4096, 2, 2, 64, 64, 32, 32, 32), strict=True))
MOST = 100_000  # elements of an input
# Their results are finite where exp of an input is not: they are judged with large inputs, too.
STABLE = [
    *("softmax", "log_softmax", "logsumexp", "cross_entropy", "sigmoid", "softplus", "silu", "gelu", "tanh"),
]


def problem_of(name: str) -> Problem:
    """The problem of a row of the op table, by its name, "softmax:axis", or the name of an op, "softmax";
    shapes are those of the row and larger ones. ArgumentError if there is no such row, or it cannot be
    judged.

    Example:
        >>> found = problem_of("softmax")
        >>> found.outputs, found.inputs
        (('y',), ('x',))
    """
    rows = [row for row in ROWS if name in (row.name, row.function)]
    rows.sort(key=lambda row: (row.name != name, not row.large))
    if not rows:
        near = nearest(name, {row.name for row in ROWS})
        raise ArgumentError(
            f"judge: there is no op {name!r}",
            why="ops are the rows of tinytensor/op_table",
            fix=f"did you mean {near}?" if near else "see docs/developers/op_coverage.md",
        )
    row = rows[0]
    if row.random or row.writes or row.main_dtype() in COMPLEX or not row.has_reference:
        raise ArgumentError(
            f"judge: {row.name} cannot be judged",
            why="it draws random numbers, overwrites its inputs, or has complex results",
            fix="judge an op without",
        )
    main = row.main_dtype()
    dtypes = (main, *[d for d in ("float16", "bfloat16") if main in FLOATS and d in row.dtypes])
    shapes = [row, *[row.reshaped(shapes) for shapes in row.also]]
    large = [row.enlarged(lengths.__getitem__) for lengths in LENGTHS] if row.large else []
    measured = row.enlarged(MEASURED.__getitem__) if row.large else row
    first = _case(row, as_dtype(main), 0)
    return Problem(
        title=f"op {row.name}",
        outputs=tuple(first.outputs),
        inputs=tuple(first.inputs),
        dtypes=dtypes,
        cases=partial(_cases, [r for r in (*shapes, *large) if _size(r) <= MOST], row.function in STABLE),
        measured=partial(_case, measured),
        tolerance=row.tol * row.roundings,
    )


def _size(row: Row) -> int:
    return max((int(np.prod(x.shape)) for x in row.inputs), default=0)


def _cases(rows: list[Row], stable: bool, dtype: DType, seed: int) -> Iterator[Case]:
    for row in rows:
        yield _case(row, dtype, seed)
    if stable:
        yield _case(rows[0], dtype, seed, scale=128.0)  # exact in every dtype


def _case(row: Row, dtype: DType, seed: int, scale: float = 1.0) -> Case:
    arrays = [a * a.dtype.type(scale) if a.dtype.kind == "f" else a for a in row.sample(dtype.name, seed)]
    dtypes = [as_dtype(x.dtype(dtype.name)) for x in row.inputs]
    ours = as_tuple(row.call(*[tt.tensor(a, dtype=d) for a, d in zip(arrays, dtypes, strict=True)]))
    with silent():
        theirs = [np.asarray(y) for y in as_tuple(row.reference(*arrays))]
    inputs, outputs = _names(row, len(ours))
    results = {
        name: (y if y.shape == x.shape else np.broadcast_to(y, x.shape), x.dtype)
        for name, y, x in zip(outputs, theirs, ours, strict=True)
    }
    given = {name: (a, d) for name, a, d in zip(inputs, arrays, dtypes, strict=True)}
    return Case(dtype, {}, {}, given, results, least_bytes(given, results))


def _names(row: Row, results: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of inputs and outputs: those of the op, or of the parameters of the function."""
    op = registry.get(row.function)
    inputs: tuple[str, ...] = op.inputs if op is not None else ()
    if len(inputs) != len(row.inputs):
        function = getattr(tt, row.function, None)
        inputs = tuple(inspect.signature(function).parameters) if function else ()
    if len(inputs) < len(row.inputs):
        inputs = tuple(f"x{i}" for i in range(len(row.inputs)))
    inputs = inputs[: len(row.inputs)]
    outputs = op.outputs[:results] if op is not None and len(op.outputs) >= results else ()
    if len(outputs) < results or set(inputs) & set(outputs):
        first = "out" if "y" in inputs else "y"
        outputs = tuple(f"{first}{i}" if i else first for i in range(results))
    return inputs, outputs
