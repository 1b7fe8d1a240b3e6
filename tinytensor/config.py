"""The few switches of the engine, typed, in one place. None changes what is computed, only how."""

from __future__ import annotations

import os
from typing import Literal

from tinytensor.errors import ArgumentError

__all__ = ["config"]


class Config:
    """Switches of the engine; `tt.config` is the one instance.

    Attributes:
        strict_layout: raise where an op would copy an input only because of its layout (default False).
        debug: fill fresh results with NaN and hand read-only inputs to ops, so that an element that an op
            forgot to write, or an input that it wrote to, is seen (default False; the tests of the op table
            run with it).
        host_kernels: whether the CPU computes hot ops by compiled C++ ("auto") or all by NumPy ("off"). A
            kernel is compiled when it is first needed, once per machine; where there is no compiler NumPy
            does its work. The environment variable TINYTENSOR_HOST_KERNELS sets what it is at first
            (default "auto").
        matmul: who multiplies matrices. On a GPU: "own" kernels, the "vendor" (cuBLAS; not in a captured
            graph), or "auto", which takes the faster one by a table in `gemm.py`: our own, so far.
            On "emulated" and "checked", "vendor" raises DeviceError. On the CPU: "own" kernels (where they
            are compiled and fit: see `host_kernels`), the "vendor" (the BLAS of NumPy), or "auto", by the
            table of shapes and processors in `kernels/matmul/matmul_choice.h` (default "auto").
        tf32: let products of float32 matrices on devices run on tensor cores, which round each factor to 11
            bits: several times as fast, with errors of 0.0005 instead of 0.00000006. Needs sm_80; the CPU and
            older GPUs compute in float32 as before (default False).

    Example:
        >>> tt.config.strict_layout
        False
        >>> tt.config.matmul
        'auto'
    """

    __slots__ = ("debug", "host_kernels", "matmul", "strict_layout", "tf32")

    strict_layout: bool
    debug: bool
    host_kernels: Literal["auto", "off"]
    matmul: Literal["auto", "own", "vendor"]
    tf32: bool

    def __init__(self) -> None:
        for name, values in VALUES.items():
            object.__setattr__(self, name, values[0])
        self.host_kernels = os.environ.get("TINYTENSOR_HOST_KERNELS") or "auto"  # type: ignore[assignment]

    def __setattr__(self, name: str, value: object) -> None:
        if name not in VALUES:
            raise ArgumentError(
                f"config: there is no switch {name!r}",
                why=f"the switches are {', '.join(self.__slots__)}",
                fix=f"set one of them, e.g. tt.config.{self.__slots__[0]} = True",
            )
        values = VALUES[name]
        if type(value) is not type(values[0]) or value not in values:
            on_off = values is ON_OFF
            raise ArgumentError(
                f"config.{name}: {value!r} is not {'a bool' if on_off else 'one of its values'}",
                why="this switch is on or off" if on_off else f"they are {', '.join(map(repr, values))}",
                fix=f"tt.config.{name} = {values[-1]!r}",
            )
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return "config(" + ", ".join(f"{k}={getattr(self, k)!r}" for k in self.__slots__) + ")"


ON_OFF = (False, True)
# What each switch can be set to, the default first.
VALUES: dict[str, tuple[object, ...]] = {
    "strict_layout": ON_OFF,
    "debug": ON_OFF,
    "host_kernels": ("auto", "off"),
    "matmul": ("auto", "own", "vendor"),
    "tf32": ON_OFF,
}

config = Config()
