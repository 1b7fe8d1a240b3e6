"""Reverse-mode autograd: graph nodes, hooks, grad modes, and the backward pass."""

import sys
from typing import TYPE_CHECKING

from tinytensor.argument_errors import AUTOGRAD as _AUTOGRAD
from tinytensor.argument_errors import missing as _missing

if not TYPE_CHECKING:
    _LATER = ("Function", "detect_anomaly", "grad", "gradcheck", "gradgradcheck")  # of layers above this one

    def __getattr__(name):  # called only for missing names
        if name in _LATER:
            return getattr(sys.modules["tinytensor"], name)
        _missing(__name__, _AUTOGRAD, name)
