"""Neural network modules, losses and initialization, built on the public functions of tinytensor."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from tinytensor.argument_errors import NN as _NN
from tinytensor.argument_errors import missing as _missing
from tinytensor.nn import init
from tinytensor.nn.activation import GELU, ReLU, Sigmoid, SiLU, Softmax, Tanh
from tinytensor.nn.attention import MultiHeadAttention
from tinytensor.nn.container import ModuleDict, ModuleList, ParameterList, Sequential
from tinytensor.nn.convolution import AvgPool2d, Conv1d, Conv2d, Flatten, MaxPool2d
from tinytensor.nn.dropout import Dropout
from tinytensor.nn.embedding import Embedding
from tinytensor.nn.linear import Linear, LinearGelu
from tinytensor.nn.loss import CrossEntropyLoss, MSELoss
from tinytensor.nn.module import Module
from tinytensor.nn.normalization import LayerNorm, RMSNorm
from tinytensor.nn.parameter import Parameter

__all__ = [
    "GELU",
    "AvgPool2d",
    "Conv1d",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "LayerNorm",
    "Linear",
    "LinearGelu",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleDict",
    "ModuleList",
    "MultiHeadAttention",
    "Parameter",
    "ParameterList",
    "RMSNorm",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "init",
]

if TYPE_CHECKING:
    from tinytensor.nn import functional as functional
else:

    def __getattr__(name):  # called only for missing names
        if name == "functional":  # loaded when it is first asked for
            return _import_module("tinytensor.nn.functional")
        _missing(__name__, _NN, name)
