"""tinytensor: a tensor engine that a person can see through."""

import signal as _signal
import sys as _sys
from typing import TYPE_CHECKING

# `python -m tinytensor` and `python -m gpt`: Ctrl-C ends the imports below without a traceback; their
# __main__.py restores the handler.
if (
    _sys.argv[:1] == ["-m"]
    and {"tinytensor", "gpt"} & {*_sys.orig_argv}
    and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
):
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

from tinytensor import api as _api
from tinytensor import autograd as _autograd
from tinytensor import fft as fft
from tinytensor import func as func
from tinytensor import linalg as linalg
from tinytensor import nn as nn
from tinytensor import optim as optim
from tinytensor import utils as utils
from tinytensor.api import *
from tinytensor.argument_checks import with_argument_errors as _checked
from tinytensor.argument_errors import FUNCTIONS as _FUNCTIONS
from tinytensor.argument_errors import missing as _missing
from tinytensor.interop import backends as backends
from tinytensor.interop.einops_backend import offer as _offer
from tinytensor.interop.namespaces import namespaces as _namespaces

__version__ = "0.1.0"
_offer()
_namespaces.update({"tinytensor": _sys.modules[__name__], "linalg": linalg, "fft": fft})
vars(_autograd).update(  # tt.autograd.Function is PyTorch's name of tt.Function
    {
        name: getattr(_api, name)
        for name in ("Function", "detect_anomaly", "grad", "gradcheck", "gradgradcheck")
    }
)
if not TYPE_CHECKING:  # type checkers follow the star import, and report a missing name themselves
    __all__ = sorted([*_api.__all__, "backends", "fft", "func", "linalg", "nn", "optim", "utils"])

    for _module in (nn, nn.functional, nn.utils, optim, optim.lr_scheduler, utils.data):
        for _name in _module.__all__:  # clear errors for wrong arguments: see argument_checks.py
            _thing = getattr(_module, _name)
            if callable(_thing):
                setattr(_module, _name, _checked(_thing, module=_module.__name__))

    def __getattr__(name):  # called only for names that do not exist
        _missing(__name__, _FUNCTIONS, name)
