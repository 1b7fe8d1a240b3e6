"""Neural network modules, losses and initialization, built on the public functions of tinytensor.

Names, arguments and defaults are PyTorch's; docs/from_pytorch.md lists what differs.
"""

from typing import TYPE_CHECKING

from tinytensor.argument_errors import NN as _NN
from tinytensor.argument_errors import missing as _missing
from tinytensor.nn import functional, init, utils
from tinytensor.nn.attention import MultiHeadAttention
from tinytensor.nn.container import ModuleDict, ModuleList, ParameterList, Sequential
from tinytensor.nn.convolution import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d
from tinytensor.nn.embedding import Embedding
from tinytensor.nn.linear import Bilinear, Linear, LinearGelu, PReLU
from tinytensor.nn.module import Module
from tinytensor.nn.normalization import (
    BatchNorm1d,
    BatchNorm2d,
    GroupNorm,
    InstanceNorm1d,
    InstanceNorm2d,
    LayerNorm,
    RMSNorm,
)
from tinytensor.nn.parameter import Parameter
from tinytensor.nn.quantized import QuantizedEmbedding, QuantizedLinear, quantize_layers
from tinytensor.nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from tinytensor.nn.stateless.activation import (
    ELU,
    GELU,
    GLU,
    SELU,
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
from tinytensor.nn.stateless.dropout import Dropout, Dropout1d, Dropout2d
from tinytensor.nn.stateless.loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CosineEmbeddingLoss,
    CrossEntropyLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
)
from tinytensor.nn.stateless.pooling import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AvgPool1d,
    AvgPool2d,
    MaxPool1d,
    MaxPool2d,
)
from tinytensor.nn.stateless.shape import (
    CosineSimilarity,
    Flatten,
    Identity,
    Unflatten,
    Unfold,
)
from tinytensor.nn.transformer import (
    MultiheadAttention,
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
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
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Bilinear",
    "Conv1d",
    "Conv2d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "CosineEmbeddingLoss",
    "CosineSimilarity",
    "CrossEntropyLoss",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Embedding",
    "Flatten",
    "GRUCell",
    "GroupNorm",
    "Hardswish",
    "Hardtanh",
    "HuberLoss",
    "Identity",
    "InstanceNorm1d",
    "InstanceNorm2d",
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
    "MultiHeadAttention",
    "MultiheadAttention",
    "NLLLoss",
    "PReLU",
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
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "Unflatten",
    "Unfold",
    "functional",
    "init",
    "quantize_layers",
    "utils",
]

if not TYPE_CHECKING:

    def __getattr__(name):  # called only for missing names
        _missing(__name__, _NN, name)
