"""Devices that programs for PyTorch ask for, by the names of torch.backends."""

from typing import TYPE_CHECKING

from tinytensor.argument_errors import BACKENDS as _BACKENDS
from tinytensor.argument_errors import missing as _missing
from tinytensor.config import config as _config

__all__ = ["cuda", "mps"]


class _Matmul:
    """Settings of products of float32 on devices."""

    __slots__ = ()

    @property
    def allow_tf32(self) -> bool:
        """`tt.config.tf32`."""
        return _config.tf32

    @allow_tf32.setter
    def allow_tf32(self, on: bool) -> None:
        _config.tf32 = on


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
