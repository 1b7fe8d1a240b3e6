"""Devices that programs for PyTorch ask for, by the names of torch.backends."""

from typing import TYPE_CHECKING

from tinytensor.argument_errors import BACKENDS as _BACKENDS
from tinytensor.argument_errors import missing as _missing

__all__ = ["mps"]


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
