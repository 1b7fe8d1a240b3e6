"""The few switches of the engine, typed, in one place. Nothing here changes a result."""

from __future__ import annotations

from .errors import ArgumentError

__all__ = ["Config", "config"]


class Config:
    """Switches of the engine; `tt.config` is the one instance.

    Attributes:
        strict_layout: raise where an op would copy an input only because of its layout (default False).
        debug: fill fresh results with NaN and hand read-only inputs to ops, so that an element that an op
            forgot to write, or an input that it wrote to, is seen (default False; the tests of the op table
            run with it).

    Example:
        >>> tt.config.strict_layout
        False
    """

    __slots__ = ("debug", "strict_layout")

    def __init__(self) -> None:
        object.__setattr__(self, "strict_layout", False)
        object.__setattr__(self, "debug", False)

    def __setattr__(self, name: str, value: object) -> None:
        if name not in self.__slots__:
            raise ArgumentError(
                f"config: there is no switch {name!r}",
                why=f"the switches are {', '.join(self.__slots__)}",
                fix=f"set one of them, e.g. tt.config.{self.__slots__[0]} = True",
            )
        if not isinstance(value, bool):
            raise ArgumentError(
                f"config.{name}: {value!r} is not a bool",
                why="each switch is on or off",
                fix=f"tt.config.{name} = True",
            )
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return "config(" + ", ".join(f"{k}={getattr(self, k)}" for k in self.__slots__) + ")"

    strict_layout: bool
    debug: bool


config = Config()
