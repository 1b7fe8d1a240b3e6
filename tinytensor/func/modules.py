"""Modules as functions of their parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tinytensor.api as tt
from tinytensor.errors import ArgumentError
from tinytensor.nn.module import Module
from tinytensor.tensor import Tensor

State = Mapping[str, Tensor]


def functional_call(
    module: Module,
    parameters_and_buffers: State | Sequence[State],
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """Call a module with other tensors in place of its parameters and buffers.

    Args:
        parameters_and_buffers: by name, as in `named_parameters()` and `named_buffers()`; or several such
            dictionaries. What they lack is the module's own. A tensor that several names share (tied weights)
            is replaced under all of them.
        args, kwargs: of the call; an argument that is no tuple is the only one.

    Returns:
        What the module returns; differentiable in the given tensors.

    Raises:
        ArgumentError: a name is not one of the module's.

    Example: per-sample gradients.
        >>> model = tt.nn.Linear(2, 1)
        >>> params = {name: p.detach() for name, p in model.named_parameters()}
        >>> def loss(params, x, y):
        ...     return ((tt.func.functional_call(model, params, (x,)) - y) ** 2).sum()
        >>> each = tt.func.vmap(tt.func.grad(loss), in_dims=(None, 0, 0))
        >>> each(params, tt.ones(5, 2), tt.zeros(5, 1))["weight"].shape[0]
        5
    """
    states = (
        [parameters_and_buffers] if isinstance(parameters_and_buffers, Mapping) else parameters_and_buffers
    )
    new = {name: tensor for state in states for name, tensor in state.items()}
    slots = {
        f"{prefix}{name}": (kind, name)
        for prefix, part in _parts(module)
        for kind in (part._parameters, part._buffers)
        for name in kind
    }
    if unknown := [name for name in new if name not in slots]:
        raise ArgumentError(
            f"functional_call: {type(module).__name__} has no {', '.join(unknown[:5])}",
            why=f"it has {', '.join(list(slots)[:5]) or 'no parameters'}{', …' if len(slots) > 5 else ''}",
            fix="use the names of module.named_parameters() and module.named_buffers()",
        )
    by_tensor = {id(slots[name][0][slots[name][1]]): tensor for name, tensor in new.items()}
    before = [(kind, name, kind[name]) for kind, name in slots.values() if id(kind[name]) in by_tensor]
    try:
        for kind, name, own in before:
            kind[name] = by_tensor[id(own)]
        return module(*(args if isinstance(args, tuple) else (args,)), **(kwargs or {}))
    finally:
        for kind, name, own in before:
            kind[name] = own


def _parts(module: Module) -> list[tuple[str, Module]]:
    """The module and those in it, with the prefixes of their names."""
    return [(f"{prefix}." if prefix else "", part) for prefix, part in module.named_modules()]


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters and the buffers of modules of one architecture, stacked: for `vmap` over an ensemble.

    Returns:
        (parameters, buffers) by name, the models along the first axis; the parameters are leaves that require
        grad.

    Raises:
        ArgumentError: there is no model, or they have other names or shapes than the first.

    >>> models = [tt.nn.Linear(2, 1) for _ in range(3)]
    >>> params, buffers = tt.func.stack_module_state(models)
    >>> call = lambda params, x: tt.func.functional_call(models[0], params, x)
    >>> tt.func.vmap(call, in_dims=(0, None))(params, tt.ones(4, 2)).shape
    (3, 4, 1)
    """
    kinds = [[dict(m.named_parameters()) for m in models], [dict(m.named_buffers()) for m in models]]
    shapes = [[{name: t.shape for name, t in one.items()} for one in kind] for kind in kinds]
    if not models or any([one != kind[0] for kind in shapes for one in kind]):
        raise ArgumentError(
            f"stack_module_state: {len(models)} modules that cannot be stacked",
            why="it takes at least one, and all have parameters and buffers of the same names and shapes",
            fix="make them by the same call",
        )
    params, buffers = [
        {name: tt.stack([one[name].detach() for one in kind]) for name in kind[0]} for kind in kinds
    ]
    return {name: p.requires_grad_() for name, p in params.items()}, buffers
