"""Devices that programs for PyTorch ask for, by the names of torch.backends."""

from typing import TYPE_CHECKING

from tinytensor.argument_errors import BACKENDS as _BACKENDS
from tinytensor.argument_errors import missing as _missing
from tinytensor.errors import ArgumentError as _ArgumentError

__all__ = ["cuda", "mps"]


class _Matmul:
    """How products of float32 are computed: in float32."""

    __slots__ = ()

    @property
    def allow_tf32(self) -> bool:
        """False; True is an error."""
        return False

    @allow_tf32.setter
    def allow_tf32(self, on: bool) -> None:
        if on:
            raise _ArgumentError(
                "tt.backends.cuda.matmul.allow_tf32 = True",
                why="products of float32 are computed in float32: no kernel here rounds them to TF32",
                fix="leave the line out; tt.autocast computes products in 16 bits",
            )


class cuda:  # noqa: N801 - the name of a module in PyTorch
    """GPUs of NVIDIA."""

    matmul = _Matmul()


class mps:  # noqa: N801 - the name of a module in PyTorch
    """GPUs of Apple, which no kernel here runs on."""

    @staticmethod
    def is_available() -> bool:
        """False."""
        return False

    is_built = is_available


if not TYPE_CHECKING:

    def __getattr__(name):  # called only for missing names
        _missing(__name__, _BACKENDS, name)
