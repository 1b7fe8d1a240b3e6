"""Global configuration, `tt.config`. No option changes what is computed, only how."""

from __future__ import annotations

import os
from typing import Literal

from tinytensor.errors import ArgumentError

__all__ = ["config"]


class Config:
    """Global options of the engine; `tt.config` is the only instance.

    Attributes:
        strict_layout: raise if an op would copy an input only because of its layout (default False).
        debug: fill new outputs with NaN and pass read-only inputs to ops, which reveals elements that an op
            does not write and inputs that it modifies (default False; the tests of the op table run with it).
        host_kernels: whether hot ops on the CPU run in C++ kernels ("auto") or all ops in NumPy ("off"). A
            kernel is compiled on first use, once per machine; without a compiler NumPy is used. The
            environment variable TINYTENSOR_HOST_KERNELS sets the initial value (default "auto"). Kernels are
            for this processor, or for the level that the environment variable TINYTENSOR_MARCH names:
            x86-64 (SSE2), x86-64-v2, x86-64-v3 (AVX2 and FMA), x86-64-v4 (AVX-512).
        matmul: backend of matrix products. On a GPU: "own" kernels, the "vendor" library (cuBLAS; not in a
            captured graph), or "auto", which takes the faster one by a table in `gemm.py`: so far always
            "own".
            On "emulated" and "checked", "vendor" raises DeviceError. On the CPU: "own" kernels (if compiled
            and applicable: see `host_kernels`), the "vendor" library (NumPy's BLAS), or "auto", by the
            table of shapes and processors in `kernels/matmul/matmul_choice.h` (default "auto").
        tf32: allow float32 matrix products on devices to use tensor cores, which round each factor to 11
        bits: several times faster, with errors of 0.0005 instead of 0.00000006. Needs sm_80; the CPU and
            older GPUs compute in float32 as before (default False).

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
                f"config: there is no option {name!r}",
                why=f"the options are {', '.join(self.__slots__)}",
                fix=f"set one of them, e.g. tt.config.{self.__slots__[0]} = True",
            )
        values = VALUES[name]
        if type(value) is not type(values[0]) or value not in values:
            on_off = values is ON_OFF
            raise ArgumentError(
                f"config.{name}: {value!r} is not {'a bool' if on_off else 'one of its values'}",
                why="the option is a bool" if on_off else f"they are {', '.join(map(repr, values))}",
                fix=f"tt.config.{name} = {values[-1]!r}",
            )
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return "config(" + ", ".join(f"{k}={getattr(self, k)!r}" for k in self.__slots__) + ")"


ON_OFF = (False, True)
# Allowed values of each option, the default first.
VALUES: dict[str, tuple[object, ...]] = {
    "strict_layout": ON_OFF,
    "debug": ON_OFF,
    "host_kernels": ("auto", "off"),
    "matmul": ("auto", "own", "vendor"),
    "tf32": ON_OFF,
}

config = Config()
