"""Containers of modules and parameters, and modules that change shapes alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, KeysView, Mapping, Sequence, ValuesView
from typing import Any, Self, overload

import tinytensor.api as tt
from tinytensor.nn.module import Module, Parameter, as_module, is_parameter

__all__ = ["Flatten", "Identity", "ModuleDict", "ModuleList", "ParameterList", "Sequential", "Unflatten"]


class ModuleList(Module):
    """List of modules, registered under the names 0, 1, 2, …; it has no forward.

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


class ModuleDict(Module):
    """Modules by name, registered under these names; it has no forward.

    >>> heads = tt.nn.ModuleDict({"mean": tt.nn.Linear(2, 1), "scale": tt.nn.Linear(2, 1)})
    >>> heads["mean"](tt.ones(3, 2)).shape, list(heads)
    ((3, 1), ['mean', 'scale'])
    >>> [name for name, _ in heads.named_parameters()][:2]
    ['mean.weight', 'mean.bias']
    """

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        self.update(modules or {})

    def update(self, modules: Mapping[str, Module]) -> None:
        """Add modules, or replace those of the same names."""
        for name, module in modules.items():
            self[name] = module

    def __setitem__(self, name: str, module: Module) -> None:
        if not isinstance(module, Module):
            raise tt.ArgumentError(
                f"ModuleDict: {name!r} is a {type(module).__name__}",
                why="it contains modules only, so that their parameters are registered",
                fix="wrap functions as modules, for example nn.ReLU() instead of tt.relu",
            )
        taken = name not in self._modules and hasattr(self, name)
        if not name or "." in name or taken:
            raise tt.ArgumentError(
                f"ModuleDict: a module is named {name!r}",
                why="the name is part of the names of parameters, which dots separate, and an attribute",
                fix="choose another name, for example one with an underscore at its end",
            )
        setattr(self, name, module)

    def __getitem__(self, name: str) -> Any:
        if name not in self._modules:
            raise tt.ArgumentError(
                f"ModuleDict: there is no module {name!r}",
                why=f"it holds {', '.join(self._modules) or 'none'}",
                fix="use one of these names, or add the module first",
            )
        return self._modules[name]

    def __delitem__(self, name: str) -> None:
        self[name]  # raises for an unknown name
        delattr(self, name)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> ValuesView[Module]:
        """The modules."""
        return self._modules.values()

    def items(self) -> Iterable[tuple[str, Module]]:
        """Pairs of name and module."""
        return self._modules.items()


class ParameterList(Module):
    """List of parameters, registered under the names 0, 1, 2, …; it has no forward.

    Args:
        values: parameters, or floating tensors, which become parameters.

    >>> scales = tt.nn.ParameterList([tt.ones(2), tt.ones(3)])
    >>> len(scales), scales[-1].shape, [name for name, _ in scales.named_parameters()]
    (2, (3,), ['0', '1'])
    """

    def __init__(self, values: Iterable[Any] = ()) -> None:
        super().__init__()
        for value in values:
            self.append(value)

    def append(self, value: Any) -> Self:
        """Append a parameter; returns self."""
        self.register_parameter(str(len(self)), value if is_parameter(value) else Parameter(value))
        return self

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parameters.values())

    def __getitem__(self, index: int) -> Any:
        values = list(self._parameters.values())
        if not -len(values) <= index < len(values):
            raise tt.IndexRangeError(
                f"ParameterList: index {index}",
                why=f"it holds {len(values)} parameters",
                fix=f"use -{len(values)} to {len(values) - 1}" if values else "append a parameter first",
            )
        return values[index]


class Sequential(ModuleList):
    """Modules applied one after the other.

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


class Identity(Module):
    """The input as it is; all arguments are ignored, as they are in PyTorch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        """x → x."""
        return x


def _unflatten(x: tt.Tensor, dim: int, unflattened_size: Sequence[int]) -> tt.Tensor:
    """One axis split into several."""
    return tt.unflatten(x, dim, unflattened_size)


Flatten = as_module("Flatten", tt.flatten, start_dim=1)
Unflatten = as_module("Unflatten", _unflatten)
