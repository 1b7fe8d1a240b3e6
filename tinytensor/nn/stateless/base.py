"""Stateless: base class of the modules that call one function with options."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import KW_ONLY
from inspect import Parameter, Signature
from typing import Any, ClassVar, Literal, dataclass_transform, get_args, get_origin

import tinytensor.api as tt
from tinytensor.argument_errors import translate_keywords
from tinytensor.nn.module import Module

__all__ = ["Stateless"]


@dataclass_transform()
class Stateless(Module):
    """Base class of modules that call one function; the fields of a subclass are the options of the function.

    As in a dataclass, fields are the arguments of the class, in this order, those after `_: KW_ONLY` by
    keyword alone. A tensor is a buffer. A field that is a Literal takes only its values.

    Raises:
        ArgumentError: an option is none of the values of its Literal.

    Example:
        >>> class Power(tt.nn.stateless.base.Stateless):
        ...     exponent: float = 2.0
        ...     function = staticmethod(tt.pow)
        >>> Power(3.0), Power(exponent=3.0)(tt.tensor([1.0, 2.0])).tolist()
        (Power(exponent=3.0), [1.0, 8.0])
    """

    function: ClassVar[Callable[..., tt.Tensor]]
    __signature__: ClassVar[Signature]

    def __init_subclass__(cls) -> None:
        """Give the class the signature of its fields."""
        kind, fields = (
            Parameter.POSITIONAL_OR_KEYWORD,
            dict(getattr(cls, "__signature__", Signature()).parameters),
        )
        for name, annotation in inspect.get_annotations(cls, eval_str=True).items():
            if annotation is KW_ONLY:
                kind = Parameter.KEYWORD_ONLY  # type: ignore[assignment]  # another value of the same enum
            else:
                default = vars(cls).get(name, Parameter.empty)
                if default is not Parameter.empty:
                    delattr(cls, name)  # a class attribute would hide a buffer
                fields[name] = Parameter(name, kind, default=default, annotation=annotation)
        cls.__signature__ = Signature(list(fields.values()))

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__()
        name = type(self).__name__
        try:
            given = self.__signature__.bind(*args, **translate_keywords(type(self), name, len(args), options))
        except TypeError as error:
            raise TypeError(f"{name}: {error}") from None
        given.apply_defaults()
        for name, value in given.arguments.items():
            self._check(name, value)
            if isinstance(value, tt.Tensor):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def _check(self, name: str, value: Any) -> None:
        kind = self.__signature__.parameters[name].annotation
        if get_origin(kind) is Literal and value not in get_args(kind):
            raise tt.ArgumentError(
                f"{type(self).__name__}: {name} is {value!r}",
                why=f"it must be {' or '.join([repr(v) for v in get_args(kind)])}",
                fix=f"{type(self).__name__}({name}={get_args(kind)[0]!r})",
            )

    def options(self) -> dict[str, Any]:
        """The options by name."""
        return {name: getattr(self, name) for name in self.__signature__.parameters}

    def forward(self, *inputs: Any, **named: Any) -> tt.Tensor:
        """Call the function with the inputs and the options."""
        return type(self).function(*inputs, **named, **self.options())

    def extra_repr(self) -> str:
        """The options that differ from their defaults; tensors by their shape."""
        defaults = self.__signature__.parameters
        shown = {k: v for k, v in self.options().items() if v is not defaults[k].default}
        return ", ".join(
            [f"{k} {v.shape}" if isinstance(v, tt.Tensor) else f"{k}={v!r}" for k, v in shown.items()]
        )
