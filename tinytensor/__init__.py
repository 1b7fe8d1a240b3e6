"""tinytensor: a tensor engine that a person can see through."""

import sys as _sys
from importlib import import_module as _import_module
from typing import TYPE_CHECKING

# `python -m tinytensor` and `python -m gpt`: Ctrl-C ends the imports below without a traceback; their
# __main__.py restores the handler.
if _sys.argv[:1] == ["-m"] and {"tinytensor", "gpt"} & {*_sys.orig_argv}:
    import signal as _signal

    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

from tinytensor import api as _api
from tinytensor import autograd as _autograd
from tinytensor.api import *
from tinytensor.argument_errors import FUNCTIONS as _FUNCTIONS
from tinytensor.argument_errors import missing as _missing
from tinytensor.interop import backends as backends
from tinytensor.interop.einops_backend import offer as _offer
from tinytensor.interop.namespaces import namespaces as _namespaces

__version__ = "0.1.0"
_offer()
_namespaces["tinytensor"] = _sys.modules[__name__]
vars(_autograd).update(  # tt.autograd.Function is PyTorch's name of tt.Function
    {
        name: getattr(_api, name)
        for name in ("Function", "detect_anomaly", "grad", "gradcheck", "gradgradcheck")
    }
)
if TYPE_CHECKING:  # type checkers follow the imports, and report a missing name themselves
    from tinytensor import cuda as cuda
    from tinytensor import fft as fft
    from tinytensor import func as func
    from tinytensor import linalg as linalg
    from tinytensor import nn as nn
    from tinytensor import optim as optim
    from tinytensor import utils as utils
    from tinytensor.interop.saving import load as load
    from tinytensor.interop.saving import save as save
    from tinytensor.nn.functional import avg_pool1d as avg_pool1d
    from tinytensor.nn.functional import avg_pool2d as avg_pool2d
    from tinytensor.nn.functional import conv1d as conv1d
    from tinytensor.nn.functional import conv2d as conv2d
    from tinytensor.nn.functional import cross_entropy as cross_entropy
    from tinytensor.nn.functional import embedding as embedding
    from tinytensor.nn.functional import layer_norm as layer_norm
    from tinytensor.nn.functional import max_pool1d as max_pool1d
    from tinytensor.nn.functional import max_pool2d as max_pool2d
    from tinytensor.nn.functional import mse_loss as mse_loss
    from tinytensor.nn.functional import nll_loss as nll_loss
    from tinytensor.nn.functional import pad as pad
    from tinytensor.nn.functional import rms_norm as rms_norm
    from tinytensor.nn.functional import scaled_dot_product_attention as scaled_dot_product_attention
else:  # imported when a program asks for them
    _MODULES = ("cuda", "fft", "func", "linalg", "nn", "optim", "utils")
    _OF_NETWORKS = (
        *("avg_pool1d", "avg_pool2d", "conv1d", "conv2d", "cross_entropy", "embedding", "layer_norm"),
        *("max_pool1d", "max_pool2d", "mse_loss", "nll_loss", "pad", "rms_norm"),
        "scaled_dot_product_attention",
    )
    _HOMES = {
        **dict.fromkeys(_OF_NETWORKS, "nn.functional"),
        **dict.fromkeys(("load", "save"), "interop.saving"),
    }
    __all__ = sorted([*_api.__all__, *_MODULES, *_HOMES, "backends"])

    def __dir__():
        return sorted({*globals(), *__all__})

    def __getattr__(name):  # called for names that do not exist, or not yet
        if name in _MODULES:
            return _import_module(f"{__name__}.{name}")
        if name not in _HOMES:
            _missing(__name__, _FUNCTIONS, name)
        globals()[name] = getattr(_import_module(f"{__name__}.{_HOMES[name]}"), name)
        return globals()[name]
