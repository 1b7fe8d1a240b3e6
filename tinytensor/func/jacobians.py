"""Jacobians and Hessians: `vmap` of products with the Jacobian over a basis."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tinytensor.api as tt
from tinytensor.func.derivatives import Argnums, Call, Function, positions
from tinytensor.func.trees import filled
from tinytensor.func.vmap import vmap
from tinytensor.tensor import Tensor

Blocks = list[list[Tensor]]  # for each output, one block of the Jacobian per input


def jacrev(
    function: Function, argnums: Argnums = 0, has_aux: bool = False, *, chunk_size: int | None = None
) -> Function:
    """A function that returns the Jacobian of `function`: one backward pass, of a batch of its rows.

    Args:
        chunk_size: the most rows that are computed at once; limits the memory.

    Returns:
        A function of the same arguments. For a result of shape S and an argument of shape T the Jacobian has
        shape (*S, *T); for structures, the structure of the result with those of the arguments in it.

    >>> tt.func.jacrev(lambda x: x * x)(tt.tensor([1.0, 3.0])).tolist()
    [[2.0, 0.0], [0.0, 6.0]]
    """
    return _jacobian("jacrev", _by_rows, function, argnums, has_aux, chunk_size)


def jacfwd(
    function: Function, argnums: Argnums = 0, has_aux: bool = False, *, chunk_size: int | None = None
) -> Function:
    """A function that returns the Jacobian of `function`: one pass, of a batch of its columns.

    Args:
        argnums, has_aux, chunk_size: as for `jacrev`, which is faster for results smaller than the arguments.

    >>> tt.func.jacfwd(tt.func.jacrev(lambda x: (x**3).sum()))(tt.tensor([1.0, 2.0])).tolist()
    [[6.0, 0.0], [0.0, 12.0]]
    """
    return _jacobian("jacfwd", _by_columns, function, argnums, has_aux, chunk_size)


def hessian(function: Function, argnums: Argnums = 0) -> Function:
    """A function that returns the Hessian of a scalar function: `jacfwd(jacrev(function))`.

    Returns:
        A function of the same arguments. For an argument of shape T the Hessian has shape (*T, *T).

    >>> tt.func.hessian(lambda x: x[0] * x[1])(tt.tensor([2.0, 3.0])).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    return jacfwd(jacrev(function, argnums), argnums)


def _jacobian(
    what: str,
    blocks: Callable[[Call, int | None], Blocks],
    function: Function,
    argnums: Argnums,
    aux: bool,
    chunk_size: int | None,
) -> Function:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        call = Call(what, function, args, positions(argnums), aux, kwargs)
        rows = [filled(call.trees, row) for row in blocks(call, chunk_size)]
        found = filled(call.result, [row[0] if isinstance(argnums, int) else tuple(row) for row in rows])
        return (found, call.shown(call.aux)) if aux else found

    return run


def _basis(x: Tensor) -> Tensor:
    """A tensor like x for each of its elements: 1 there, 0 elsewhere; (x.size, *x.shape)."""
    return tt.eye(x.size, dtype=x.dtype, device=x.device).reshape(x.size, *x.shape)


def _by_rows(call: Call, chunk_size: int | None) -> Blocks:
    table = []
    for k, y in enumerate(call.outputs):

        def row(unit: Tensor, k: int = k) -> list[Tensor]:
            return call.pull([unit if i == k else None for i in range(len(call.outputs))], call.create)

        blocks = vmap(row, chunk_size=chunk_size)(_basis(y))
        table.append([b.reshape(*y.shape, *x.shape) for b, x in zip(blocks, call.inputs, strict=True)])
    return table


def _by_columns(call: Call, chunk_size: int | None) -> Blocks:
    table: Blocks = [[] for _ in call.outputs]
    for k, x in enumerate(call.inputs):

        def column(unit: Tensor, k: int = k) -> list[Tensor]:
            tangents = [unit if i == k else None for i in range(len(call.inputs))]
            return call.push(tangents, call.create)

        blocks = vmap(column, out_dims=-1, chunk_size=chunk_size)(_basis(x))
        for row, y, block in zip(table, call.outputs, blocks, strict=True):
            row.append(block.reshape(*y.shape, *x.shape))
    return table
