"""Module containers: ModuleList and Sequential."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Self, overload

import tinytensor.api as tt
from tinytensor.nn.module import Module

__all__ = ["ModuleList", "Sequential"]


class ModuleList(Module):
    """List of modules, registered under the names 0, 1, 2, …; it has no forward.

    Args:
        modules: the modules.

    Example:
        >>> layers = tt.nn.ModuleList([tt.nn.Linear(2, 2), tt.nn.Linear(2, 1)])
        >>> len(layers), layers[-1].weight.shape
        (2, (2, 1))
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> Self:
        """Append a module; returns self."""
        if not isinstance(module, Module):
            raise tt.ArgumentError(
                f"{type(self).__name__}: item {len(self)} is a {type(module).__name__}",
                why="it contains modules only, so that their parameters are registered",
                fix="wrap functions as modules, for example nn.ReLU() instead of tt.relu",
            )
        setattr(self, str(len(self)), module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> ModuleList: ...

    def __getitem__(self, index: int | slice) -> Any:
        modules = list(self._modules.values())
        if isinstance(index, slice):
            return self._of(modules[index])
        if not -len(modules) <= index < len(modules):
            raise tt.IndexRangeError(
                f"{type(self).__name__}: index {index}",
                why=f"it holds {len(modules)} modules",
                fix=f"use -{len(modules)} to {len(modules) - 1}" if modules else "append a module first",
            )
        return modules[index]

    def _of(self, modules: list[Module]) -> ModuleList:
        return ModuleList(modules)


class Sequential(ModuleList):
    """Modules applied one after the other.

    Args:
        modules: the modules, in order.

    Example:
        >>> model = tt.nn.Sequential(tt.nn.Linear(3, 4), tt.nn.Linear(4, 2))
        >>> model(tt.ones(5, 3)).shape, model[:1](tt.ones(5, 3)).shape
        ((5, 2), (5, 4))
    """

    def __init__(self, *modules: Module) -> None:
        super().__init__(modules)

    def _of(self, modules: list[Module]) -> ModuleList:
        return Sequential(*modules)

    def forward(self, x: Any) -> Any:
        """Apply the modules in order."""
        for module in self:
            x = module(x)
        return x
