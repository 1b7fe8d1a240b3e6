"""Function transforms: gradients, Jacobians and directional derivatives of functions of tensors.

A transform takes a function and returns one, so transforms nest: `grad(grad(f))`, `jacfwd(jacrev(f))`. Names
and results are those of `torch.func`. Arguments and results are tensors, or tuples, lists and dicts of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import tinytensor.api as tt
from tinytensor.autograd.scope import Scope
from tinytensor.errors import ArgumentError, DTypeError, GradError, ShapeError
from tinytensor.tensor import Tensor

__all__ = ["grad", "hessian", "hvp", "jacfwd", "jacrev", "jvp", "value_and_grad", "vjp"]

Function = Callable[..., Any]
Tree = Any  # a tensor, or a tuple, list or dict of trees; other objects are constants
Argnums = int | tuple[int, ...]

_depth: ContextVar[int] = ContextVar("tinytensor_transforms", default=0)


class _Running(Scope):
    """Counts the transforms that are running: the derivatives of an inner one are recorded."""

    variable = _depth

    def inside(self) -> int:
        """The number inside the block."""
        return _depth.get() + 1


# ---- trees -------------------------------------------------------------------------------------------------


def _map(function: Callable[[Tensor], Any], tree: Tree) -> Tree:
    """The tree with function(x) in place of each tensor x."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, dict):
        return {key: _map(function, value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        parts = [_map(function, part) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return tree


def _leaves(tree: Tree) -> list[Tensor]:
    """The tensors of a tree, in order."""
    found: list[Tensor] = []
    _map(found.append, tree)
    return found


def _filled(tree: Tree, values: Sequence[Any]) -> Tree:
    """The tree with these values in place of its tensors."""
    left = iter(values)
    return _map(lambda _: next(left), tree)


# ---- a recorded call ---------------------------------------------------------------------------------------


class _Call:
    """A recorded call of a function on fresh variables.

    Attributes:
        trees, inputs: the chosen arguments as the function got them, and their tensors.
        result, outputs: what it returned, and its tensors.
        aux: what it returned beside that, with `has_aux`.
        create: whether derivatives are recorded: a transform around this one, or the caller, needs it.
    """

    def __init__(
        self,
        what: str,
        function: Function,
        args: Sequence[Any],
        argnums: Sequence[int],
        has_aux: bool = False,
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        inside = list(args)
        given: list[Tensor] = []
        for n in argnums:
            if not -len(args) <= n < len(args):
                raise ArgumentError(
                    f"{what}: argnums has {n}, and there are {len(args)} arguments",
                    why="argnums are positions of arguments",
                    fix="argnums=0 is the first one",
                )
            given += _leaves(args[n])
            inside[n] = _map(lambda x: _variable(what, x), args[n])
        self.create = _depth.get() > 0 or any([x.requires_grad for x in given])
        self.trees = [inside[n] for n in argnums]
        self.inputs = _leaves(self.trees)
        with _Running(), tt.enable_grad():
            self.result = function(*inside, **(kwargs or {}))
        self.aux = None
        if has_aux:
            if not (isinstance(self.result, tuple) and len(self.result) == 2):
                raise ArgumentError(
                    f"{what}: the function returned a {type(self.result).__name__}",
                    why="with has_aux=True it returns a pair: the result, and what is passed on",
                    fix="return y, aux",
                )
            self.result, self.aux = self.result
        self.outputs = _leaves(self.result)

    def pull(self, cotangents: Sequence[Tensor], create: bool, retain: bool = True) -> list[Tensor]:
        """Product of cotangents (one per output) with the Jacobian, one per input."""
        pairs = [(y, c) for y, c in zip(self.outputs, cotangents, strict=True) if y.requires_grad]
        found: Sequence[Tensor | None] = [None] * len(self.inputs)
        if pairs and self.inputs:
            ys, starts = zip(*pairs, strict=True)
            found = tt.grad(
                ys, self.inputs, starts, create_graph=create, retain_graph=retain, allow_unused=True
            )
        return [tt.zeros_like(x) if g is None else g for x, g in zip(self.inputs, found, strict=True)]

    def linear(self) -> tuple[list[Tensor], list[Tensor]]:
        """Cotangents, and the products with them, recorded: linear functions of the cotangents, whose own
        backward pass multiplies tangents by the Jacobian.
        """
        cotangents = [tt.zeros_like(y).requires_grad_() for y in self.outputs]
        with tt.enable_grad():
            return cotangents, self.pull(cotangents, create=True)

    def shown(self, tree: Tree) -> Tree:
        """Results for the caller: without history, unless it is needed."""
        return tree if self.create else _map(lambda x: x.detach(), tree)


def _variable(what: str, x: Tensor) -> Tensor:
    """A tensor with the elements of x that requires grad, and leads to x if x has history."""
    if not x.dtype.is_floating:
        raise DTypeError(
            f"{what}: an input of shape {x.shape} has dtype {x.dtype}",
            why="only floating tensors have derivatives",
            fix="cast it: x.astype(tt.float32), or leave it out of argnums",
        )
    return x.reshape(x.shape) if x.requires_grad else x.detach().requires_grad_()


def _push(cotangents: list[Tensor], products: list[Tensor], tangents: Sequence[Tensor], create: bool) -> Any:
    """Products of the Jacobian with tangents, one per output, from `_Call.linear`."""
    pairs = [(p, t) for p, t in zip(products, tangents, strict=True) if p.requires_grad]
    found: Sequence[Tensor | None] = [None] * len(cotangents)
    if pairs and cotangents:
        ps, ts = zip(*pairs, strict=True)
        found = tt.grad(ps, cotangents, ts, create_graph=create, retain_graph=True, allow_unused=True)
    return [tt.zeros_like(c) if g is None else g for c, g in zip(cotangents, found, strict=True)]


def _positions(argnums: Argnums) -> tuple[int, ...]:
    return (argnums,) if isinstance(argnums, int) else tuple(argnums)


def _check_shapes(what: str, kind: str, given: Sequence[Tensor], wanted: Sequence[Tensor]) -> None:
    shapes, expected = [x.shape for x in given], [x.shape for x in wanted]
    if shapes != expected:
        raise ShapeError(
            f"{what}: the {kind}s have shapes {shapes}",
            why=f"they need those of what they belong to: {expected}",
            fix=f"pass one {kind} per tensor, in the same tuples, lists and dicts",
        )


# ---- gradients ---------------------------------------------------------------------------------------------


def value_and_grad(function: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """A function that returns the value of `function` and its gradients.

    Args:
        function: returns a tensor with one element.
        argnums: position(s) of the arguments to differentiate.
        has_aux: the function returns (value, aux); aux is passed on, not differentiated.

    Returns:
        A function of the same arguments: (value, gradients), or ((value, aux), gradients). The gradients have
        the structure of the argument; for several argnums they are a tuple.

    Raises:
        ArgumentError: a position without an argument; no pair with `has_aux`.
        GradError: the result is not a tensor with one element.
        DTypeError: an argument has a tensor that is not floating.

    Example:
        >>> value, slope = tt.func.value_and_grad(lambda x: x**3)(tt.tensor(2.0))
        >>> value.item(), slope.item()
        (8.0, 12.0)
    """

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        call = _Call("grad", function, args, _positions(argnums), has_aux, kwargs)
        if not (isinstance(call.result, Tensor) and call.result.size == 1):
            got = call.result.shape if isinstance(call.result, Tensor) else type(call.result).__name__
            raise GradError(
                f"grad: the function returned {got}",
                why="a gradient is that of one number",
                fix="return a tensor with one element, or use tt.func.jacrev",
            )
        one = tt.ones_like(call.result)
        found = call.pull([one], create=call.create, retain=call.create)
        grads = _filled(call.trees, found)
        value = call.shown(call.result)
        return (value, call.shown(call.aux)) if has_aux else value, (
            grads[0] if isinstance(argnums, int) else tuple(grads)
        )

    return run


def grad(function: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """A function that returns the gradients of `function`; with `has_aux`, (gradients, aux).

    Args, raises: as for `value_and_grad`.

    Example:
        >>> tt.func.grad(tt.func.grad(lambda x: x**3))(tt.tensor(2.0)).item()
        12.0
    """
    both = value_and_grad(function, argnums, has_aux)

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        value, grads = both(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads

    return run


# ---- products with the Jacobian ----------------------------------------------------------------------------


def vjp(function: Function, *primals: Tree, has_aux: bool = False) -> tuple[Any, ...]:
    """Result of `function`, and a function that multiplies a cotangent by its Jacobian (reverse mode).

    Args:
        primals: arguments at which it is evaluated.
        has_aux: the function returns (result, aux).

    Returns:
        (result, pull), or (result, pull, aux). `pull(cotangent)`, of the structure and shapes of the result,
        returns a tuple with one product per primal; it may be called again.

    Raises:
        ShapeError: a cotangent has another shape than the result.
        DTypeError: a primal has a tensor that is not floating.

    Example:
        >>> y, pull = tt.func.vjp(lambda x: x * x, tt.tensor([1.0, 2.0]))
        >>> pull(tt.tensor([1.0, 10.0]))[0].tolist()
        [2.0, 40.0]
    """
    call = _Call("vjp", function, primals, range(len(primals)), has_aux)

    def pull(cotangent: Tree) -> tuple[Any, ...]:
        given = _leaves(cotangent)
        _check_shapes("vjp", "cotangent", given, call.outputs)
        create = call.create or _depth.get() > 0 or any([c.requires_grad for c in given])
        return tuple(_filled(call.trees, call.pull(given, create)))

    result = call.shown(call.result)
    return (result, pull, call.shown(call.aux)) if has_aux else (result, pull)


def jvp(
    function: Function, primals: Sequence[Tree], tangents: Sequence[Tree], has_aux: bool = False
) -> tuple[Any, ...]:
    """Result of `function`, and the product of its Jacobian with tangents: the derivative in their direction.

    Args:
        primals: tuple of arguments.
        tangents: one per primal, of its structure and shapes.
        has_aux: the function returns (result, aux).

    Returns:
        (result, product), or (result, product, aux); the product has the structure of the result.

    Raises:
        ShapeError: a tangent has another shape than its primal.
        DTypeError: a primal has a tensor that is not floating.

    Memory: that of a recorded backward pass. It multiplies cotangents by the Jacobian; its own backward pass
        multiplies tangents by it.
    Source: Townsend 2017, "A new trick for calculating Jacobian vector products".

    Example:
        >>> y, slope = tt.func.jvp(tt.sin, (tt.tensor(0.0),), (tt.tensor(2.0),))
        >>> slope.item()
        2.0
    """
    call = _Call("jvp", function, primals, range(len(primals)), has_aux)
    given = _leaves(list(tangents))
    _check_shapes("jvp", "tangent", given, call.inputs)
    create = call.create or any([t.requires_grad for t in given])
    product = _filled(call.result, _push(*call.linear(), given, create))
    result = call.shown(call.result)
    return (result, product, call.shown(call.aux)) if has_aux else (result, product)


def hvp(function: Function, primals: Sequence[Tree], tangents: Sequence[Tree]) -> tuple[Tensor, Any]:
    """Value of a scalar function, and the product of its Hessian with tangents, without the Hessian itself.

    Args:
        function: returns a tensor with one element.
        primals: tuple of arguments.
        tangents: one per primal, of its structure and shapes.

    Returns:
        (value, products): one product per primal, as a tuple.

    Raises:
        GradError: the result has not one element.
        ShapeError: a tangent has another shape than its primal.

    Example:
        >>> x, v = tt.tensor([1.0, 2.0]), tt.tensor([1.0, 0.0])
        >>> value, (product,) = tt.func.hvp(lambda x: (x**3).sum(), (x,), (v,))
        >>> product.tolist()
        [6.0, 0.0]
    """
    both = value_and_grad(function, tuple(range(len(primals))))
    (value, _), (_, products) = jvp(both, primals, tangents)
    return value, products


# ---- Jacobians ---------------------------------------------------------------------------------------------


def jacrev(function: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """A function that returns the Jacobian of `function`, by one backward pass per element of the result.

    Args:
        argnums: position(s) of the arguments to differentiate.
        has_aux: the function returns (result, aux).

    Returns:
        A function of the same arguments. For a result of shape S and an argument of shape T the Jacobian has
        shape (*S, *T); for structures, the structure of the result with those of the arguments in it.

    Raises:
        as `value_and_grad`, for any shape of the result.

    Example:
        >>> tt.func.jacrev(lambda x: x * x)(tt.tensor([1.0, 3.0])).tolist()
        [[2.0, 0.0], [0.0, 6.0]]
    """
    return _jacobian("jacrev", _by_rows, function, argnums, has_aux)


def jacfwd(function: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """A function that returns the Jacobian of `function`, by one pass per element of the arguments.

    Args, returns, raises: as for `jacrev`, which is faster for results that are smaller than the arguments.

    Example:
        >>> tt.func.jacfwd(tt.func.jacrev(lambda x: (x**3).sum()))(tt.tensor([1.0, 2.0])).tolist()
        [[6.0, 0.0], [0.0, 12.0]]
    """
    return _jacobian("jacfwd", _by_columns, function, argnums, has_aux)


def hessian(function: Function, argnums: Argnums = 0) -> Function:
    """A function that returns the Hessian of a scalar function: `jacfwd(jacrev(function))`.

    Example:
        >>> tt.func.hessian(lambda x: x[0] * x[1])(tt.tensor([2.0, 3.0])).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    return jacfwd(jacrev(function, argnums), argnums)


def _jacobian(
    what: str, blocks: Callable[[_Call], Any], function: Function, argnums: Argnums, aux: bool
) -> Function:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        call = _Call(what, function, args, _positions(argnums), aux, kwargs)
        table = blocks(call)  # for each output, one block per input
        rows = [_filled(call.trees, row) for row in table]
        found = _filled(call.result, [row[0] if isinstance(argnums, int) else tuple(row) for row in rows])
        return (found, call.shown(call.aux)) if aux else found

    return run


def _units(x: Tensor) -> list[Tensor]:
    """One tensor like x for each of its elements: 1 there, 0 elsewhere."""
    return [row.reshape(x.shape) for row in tt.eye(x.size, dtype=x.dtype, device=x.device)] if x.size else []


def _by_rows(call: _Call) -> list[list[Tensor]]:
    table = []
    for k, y in enumerate(call.outputs):
        rows = []
        for unit in _units(y):
            cotangents = [unit if i == k else tt.zeros_like(z) for i, z in enumerate(call.outputs)]
            rows.append(call.pull(cotangents, call.create))
        blocks = [_stacked([row[i] for row in rows], x) for i, x in enumerate(call.inputs)]
        table.append([b.reshape(*y.shape, *x.shape) for b, x in zip(blocks, call.inputs, strict=True)])
    return table


def _by_columns(call: _Call) -> list[list[Tensor]]:
    cotangents, products = call.linear()
    table: list[list[Tensor]] = [[] for _ in call.outputs]
    for k, x in enumerate(call.inputs):
        columns = []
        for unit in _units(x):
            tangents = [unit if i == k else tt.zeros_like(z) for i, z in enumerate(call.inputs)]
            columns.append(_push(cotangents, products, tangents, call.create))
        for row, y, i in zip(table, call.outputs, range(len(call.outputs)), strict=True):
            block = _stacked([column[i] for column in columns], y)  # (x.size, *y.shape)
            axes = (*range(1, block.ndim), 0)
            row.append(block.permute(axes).reshape(*y.shape, *x.shape))
    return table


def _stacked(parts: Sequence[Tensor], like: Tensor) -> Tensor:
    if parts:
        return tt.stack(parts)
    return tt.zeros(0, *like.shape, dtype=like.dtype, device=like.device)
