"""Layers and their trees. Written with nothing but the public functions of tinytensor."""

from typing import TYPE_CHECKING

from ..pytorch_names import NN as _NN
from ..pytorch_names import missing as _missing
from . import init
from .activation import GELU, ReLU, Sigmoid, SiLU, Softmax, Tanh
from .attention import MultiHeadAttention
from .container import ModuleList, Sequential
from .convolution import AvgPool2d, Conv1d, Conv2d, Flatten, MaxPool2d
from .dropout import Dropout
from .embedding import Embedding
from .linear import Linear, LinearGelu
from .loss import CrossEntropyLoss, MSELoss
from .module import Module
from .normalization import LayerNorm, RMSNorm
from .parameter import Parameter

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
    "ModuleList",
    "MultiHeadAttention",
    "Parameter",
    "RMSNorm",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "init",
]

if not TYPE_CHECKING:

    def __getattr__(name):  # only for names that are not there
        _missing(__name__, _NN, name)
