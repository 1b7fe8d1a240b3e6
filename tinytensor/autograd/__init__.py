"""Reverse-mode autograd: graph nodes, hooks, grad modes, and the backward pass."""

from typing import TYPE_CHECKING

from tinytensor.argument_errors import AUTOGRAD as _AUTOGRAD
from tinytensor.argument_errors import missing as _missing

if not TYPE_CHECKING:

    def __getattr__(name):  # called only for missing names
        _missing(__name__, _AUTOGRAD, name)
