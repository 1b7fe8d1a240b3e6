"""Neural network modules, losses and initialization, built on the public functions of tinytensor.

Names, arguments and defaults are PyTorch's; docs/from_pytorch.md lists what differs.
"""

from typing import TYPE_CHECKING

from tinytensor.argument_errors import NN as _NN
from tinytensor.argument_errors import missing as _missing
from tinytensor.nn import functional, init, utils
from tinytensor.nn.activation import (
    ELU,
    GELU,
    GLU,
    SELU,
    Dropout,
    Dropout2d,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
)
from tinytensor.nn.attention import MultiheadAttention
from tinytensor.nn.container import (
    Flatten,
    Identity,
    ModuleDict,
    ModuleList,
    ParameterList,
    Sequential,
    Unflatten,
)
from tinytensor.nn.convolution import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AvgPool1d,
    AvgPool2d,
    Conv1d,
    Conv2d,
    ConvTranspose1d,
    ConvTranspose2d,
    MaxPool1d,
    MaxPool2d,
    Unfold,
)
from tinytensor.nn.embedding import Embedding
from tinytensor.nn.linear import Linear, LinearGelu
from tinytensor.nn.loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
)
from tinytensor.nn.module import Module, Parameter, as_module
from tinytensor.nn.normalization import (
    BatchNorm1d,
    BatchNorm2d,
    CosineSimilarity,
    GroupNorm,
    LayerNorm,
    RMSNorm,
)
from tinytensor.nn.quantized import QuantizedEmbedding, QuantizedLinear, quantize_layers
from tinytensor.nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from tinytensor.nn.transformer import (
    TransformerEncoder,
    TransformerEncoderLayer,
)

__all__ = [
    "ELU",
    "GELU",
    "GLU",
    "GRU",
    "LSTM",
    "RNN",
    "SELU",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv1d",
    "Conv2d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "CosineSimilarity",
    "CrossEntropyLoss",
    "Dropout",
    "Dropout2d",
    "Embedding",
    "Flatten",
    "GRUCell",
    "GroupNorm",
    "Hardswish",
    "Hardtanh",
    "HuberLoss",
    "Identity",
    "KLDivLoss",
    "L1Loss",
    "LSTMCell",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LinearGelu",
    "LogSigmoid",
    "LogSoftmax",
    "MSELoss",
    "MaxPool1d",
    "MaxPool2d",
    "Mish",
    "Module",
    "ModuleDict",
    "ModuleList",
    "MultiheadAttention",
    "NLLLoss",
    "Parameter",
    "ParameterList",
    "QuantizedEmbedding",
    "QuantizedLinear",
    "RMSNorm",
    "RNNCell",
    "ReLU",
    "ReLU6",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SmoothL1Loss",
    "Softmax",
    "Softplus",
    "Softsign",
    "Tanh",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "Unflatten",
    "Unfold",
    "as_module",
    "functional",
    "init",
    "quantize_layers",
    "utils",
]

if not TYPE_CHECKING:

    def __getattr__(name):  # called only for missing names
        _missing(__name__, _NN, name)
