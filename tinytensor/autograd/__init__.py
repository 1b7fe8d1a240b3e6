"""Reverse-mode autograd: the graph that forward records, hooks, recording modes, and the backward pass."""

from typing import TYPE_CHECKING

from tinytensor.argument_errors import AUTOGRAD as _AUTOGRAD
from tinytensor.argument_errors import missing as _missing

if not TYPE_CHECKING:

    def __getattr__(name):  # called only for names that do not exist: `tt.autograd.Function`
        _missing(__name__, _AUTOGRAD, name)
