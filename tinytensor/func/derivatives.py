"""Gradients, and products with the Jacobian: `grad`, `vjp`, `jvp`, `hvp`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import tinytensor.api as tt
from tinytensor.autograd.levels import active
from tinytensor.autograd.scope import Scope
from tinytensor.dispatch.batching import everywhere
from tinytensor.errors import ArgumentError, DTypeError, GradError, ShapeError
from tinytensor.func.trees import Tree, filled, leaves, mapped
from tinytensor.tensor import Tensor
from tinytensor.transforms.gradients import pushed

Function = Callable[..., Any]
Argnums = int | tuple[int, ...]

_depth: ContextVar[int] = ContextVar("tinytensor_transforms", default=0)


class _Running(Scope):
    """Counts the transforms that are running: the derivatives of an inner one are recorded."""

    variable = _depth

    def inside(self) -> int:
        """The number inside the block."""
        return _depth.get() + 1


# ---- a recorded call ---------------------------------------------------------------------------------------


class Call:
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
            given += leaves(args[n])
            inside[n] = mapped(lambda x: _variable(what, x), args[n])
        self.create = _depth.get() > 0 or any([x.requires_grad for x in given])
        self.trees = [inside[n] for n in argnums]
        self.inputs = leaves(self.trees)
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
        self.outputs = leaves(self.result)

    def pull(self, cotangents: Sequence[Tensor | None], create: bool, retain: bool = True) -> list[Tensor]:
        """Product of cotangents (one per output; None: 0) with the Jacobian, one per input."""
        given = zip(self.outputs, cotangents, strict=True)
        pairs = [(y, c) for y, c in given if c is not None and y.requires_grad]
        found: Sequence[Tensor | None] = [None] * len(self.inputs)
        if pairs and self.inputs:
            ys, starts = zip(*pairs, strict=True)
            found = tt.grad(
                ys, self.inputs, starts, create_graph=create, retain_graph=retain, allow_unused=True
            )
        return [tt.zeros_like(x) if g is None else g for x, g in zip(self.inputs, found, strict=True)]

    def push(self, tangents: Sequence[Tensor | None], create: bool, retain: bool = True) -> list[Tensor]:
        """Product of the Jacobian with tangents (one per input; None: 0), one per output."""
        ends = [y for y in self.outputs if y.requires_grad]
        found = iter(
            pushed(ends, self.inputs, tangents, create, retain) if self.inputs else [None] * len(ends)
        )
        products = [next(found) if y.requires_grad else None for y in self.outputs]
        return [tt.zeros_like(y) if p is None else p for y, p in zip(self.outputs, products, strict=True)]

    def shown(self, tree: Tree) -> Tree:
        """Results for the caller: without history, unless it is needed."""
        return tree if self.create else mapped(lambda x: x.detach(), tree)


def _variable(what: str, x: Tensor) -> Tensor:
    """A tensor with the elements of x that requires grad, and leads to x if x has history."""
    if not x.dtype.is_floating:
        raise DTypeError(
            f"{what}: an input of shape {x.shape} has dtype {x.dtype}",
            why="only floating tensors have derivatives",
            fix="cast it: x.astype(tt.float32), or leave it out of argnums",
        )
    x = everywhere(x, active())  # so that each sample of a vmap has its own gradient
    return x.reshape(x.shape) if x.requires_grad else x.detach().requires_grad_()


def positions(argnums: Argnums) -> tuple[int, ...]:
    """The arguments to differentiate, as a tuple."""
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
        GradError: the result is not a tensor with one element.

    >>> value, slope = tt.func.value_and_grad(lambda x: x**3)(tt.tensor(2.0))
    >>> value.item(), slope.item()
    (8.0, 12.0)
    """

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        call = Call("grad", function, args, positions(argnums), has_aux, kwargs)
        if not (isinstance(call.result, Tensor) and call.result.size == 1):
            got = call.result.shape if isinstance(call.result, Tensor) else type(call.result).__name__
            raise GradError(
                f"grad: the function returned {got}",
                why="a gradient is that of one number",
                fix="return a tensor with one element, or use tt.func.jacrev",
            )
        one = tt.ones_like(call.result)
        found = call.pull([one], create=call.create, retain=call.create)
        grads = filled(call.trees, found)
        value = call.shown(call.result)
        return (value, call.shown(call.aux)) if has_aux else value, (
            grads[0] if isinstance(argnums, int) else tuple(grads)
        )

    return run


def grad(function: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """A function that returns the gradients of `function`; with `has_aux`, (gradients, aux).

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

    Returns:
        (result, pull), or (result, pull, aux). `pull(cotangent)`, of the structure and shapes of the result,
        returns a tuple with one product per primal; it may be called again.

    >>> y, pull = tt.func.vjp(lambda x: x * x, tt.tensor([1.0, 2.0]))
    >>> pull(tt.tensor([1.0, 10.0]))[0].tolist()
    [2.0, 40.0]
    """
    call = Call("vjp", function, primals, range(len(primals)), has_aux)

    def pull(cotangent: Tree) -> tuple[Any, ...]:
        given = leaves(cotangent)
        _check_shapes("vjp", "cotangent", given, call.outputs)
        create = call.create or _depth.get() > 0 or any([c.requires_grad for c in given])
        return tuple(filled(call.trees, call.pull(given, create)))

    result = call.shown(call.result)
    return (result, pull, call.shown(call.aux)) if has_aux else (result, pull)


def _check_tuples(what: str, primals: object, tangents: object) -> None:
    for name, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, tuple | list):
            raise ArgumentError(
                f"{what}: {name} of type {type(given).__name__}",
                why="primals and tangents are tuples, with one value per argument of the function",
                fix=f"{what}(f, (x,), (v,)) for a function of one argument",
            )


def jvp(
    function: Function, primals: Sequence[Tree], tangents: Sequence[Tree], has_aux: bool = False
) -> tuple[Any, ...]:
    """Result of `function`, and the product of its Jacobian with tangents: the derivative in their direction.

    Returns:
        (result, product), or (result, product, aux); the product has the structure of the result.

    Memory: what the function records for a backward pass; each op frees its part as its tangent is computed.

    >>> y, slope = tt.func.jvp(tt.sin, (tt.tensor(0.0),), (tt.tensor(2.0),))
    >>> slope.item()
    2.0
    """
    _check_tuples("jvp", primals, tangents)
    call = Call("jvp", function, primals, range(len(primals)), has_aux)
    given = leaves(list(tangents))
    _check_shapes("jvp", "tangent", given, call.inputs)
    create = call.create or any([t.requires_grad for t in given])
    found = call.push(given, create, retain=create)
    own = [p.clone() if any([p.storage is t.storage for t in given]) else p for p in found]
    product = filled(call.result, own)  # in no memory of the tangents
    result = call.shown(call.result)
    return (result, product, call.shown(call.aux)) if has_aux else (result, product)


def hvp(function: Function, primals: Sequence[Tree], tangents: Sequence[Tree]) -> tuple[Tensor, Any]:
    """Value of a scalar function, and the product of its Hessian with tangents, without the Hessian itself.

    Args:
        function: returns a tensor with one element.

    Returns:
        (value, products): one product per primal, as a tuple.

    >>> x, v = tt.tensor([1.0, 2.0]), tt.tensor([1.0, 0.0])
    >>> value, (product,) = tt.func.hvp(lambda x: (x**3).sum(), (x,), (v,))
    >>> product.tolist()
    [6.0, 0.0]
    """
    _check_tuples("hvp", primals, tangents)
    both = value_and_grad(function, tuple(range(len(primals))))
    (value, _), (_, products) = jvp(both, primals, tangents)
    return value, products
