"""Neural network modules, losses and initialization, built on the public functions of tinytensor.

Names, arguments and defaults are PyTorch's; docs/from_pytorch.md lists what differs.
"""

from typing import TYPE_CHECKING

from tinytensor.argument_checks import publish as _publish
from tinytensor.argument_errors import NN as _NN
from tinytensor.nn import functional as functional
from tinytensor.nn import init as init
from tinytensor.nn import utils as utils
from tinytensor.nn.activation import ELU as ELU
from tinytensor.nn.activation import GELU as GELU
from tinytensor.nn.activation import GLU as GLU
from tinytensor.nn.activation import SELU as SELU
from tinytensor.nn.activation import Dropout as Dropout
from tinytensor.nn.activation import Dropout2d as Dropout2d
from tinytensor.nn.activation import Hardswish as Hardswish
from tinytensor.nn.activation import Hardtanh as Hardtanh
from tinytensor.nn.activation import LeakyReLU as LeakyReLU
from tinytensor.nn.activation import LogSigmoid as LogSigmoid
from tinytensor.nn.activation import LogSoftmax as LogSoftmax
from tinytensor.nn.activation import Mish as Mish
from tinytensor.nn.activation import ReLU as ReLU
from tinytensor.nn.activation import ReLU6 as ReLU6
from tinytensor.nn.activation import Sigmoid as Sigmoid
from tinytensor.nn.activation import SiLU as SiLU
from tinytensor.nn.activation import Softmax as Softmax
from tinytensor.nn.activation import Softplus as Softplus
from tinytensor.nn.activation import Softsign as Softsign
from tinytensor.nn.activation import Tanh as Tanh
from tinytensor.nn.attention import MultiheadAttention as MultiheadAttention
from tinytensor.nn.container import *
from tinytensor.nn.convolution import AdaptiveAvgPool1d as AdaptiveAvgPool1d
from tinytensor.nn.convolution import AdaptiveAvgPool2d as AdaptiveAvgPool2d
from tinytensor.nn.convolution import AvgPool1d as AvgPool1d
from tinytensor.nn.convolution import AvgPool2d as AvgPool2d
from tinytensor.nn.convolution import Conv1d as Conv1d
from tinytensor.nn.convolution import Conv2d as Conv2d
from tinytensor.nn.convolution import ConvTranspose1d as ConvTranspose1d
from tinytensor.nn.convolution import ConvTranspose2d as ConvTranspose2d
from tinytensor.nn.convolution import MaxPool1d as MaxPool1d
from tinytensor.nn.convolution import MaxPool2d as MaxPool2d
from tinytensor.nn.convolution import Unfold as Unfold
from tinytensor.nn.embedding import Embedding as Embedding
from tinytensor.nn.linear import Linear as Linear
from tinytensor.nn.linear import LinearGelu as LinearGelu
from tinytensor.nn.loss import BCELoss as BCELoss
from tinytensor.nn.loss import BCEWithLogitsLoss as BCEWithLogitsLoss
from tinytensor.nn.loss import CrossEntropyLoss as CrossEntropyLoss
from tinytensor.nn.loss import HuberLoss as HuberLoss
from tinytensor.nn.loss import KLDivLoss as KLDivLoss
from tinytensor.nn.loss import L1Loss as L1Loss
from tinytensor.nn.loss import MSELoss as MSELoss
from tinytensor.nn.loss import NLLLoss as NLLLoss
from tinytensor.nn.loss import SmoothL1Loss as SmoothL1Loss
from tinytensor.nn.module import *
from tinytensor.nn.normalization import BatchNorm1d as BatchNorm1d
from tinytensor.nn.normalization import BatchNorm2d as BatchNorm2d
from tinytensor.nn.normalization import CosineSimilarity as CosineSimilarity
from tinytensor.nn.normalization import GroupNorm as GroupNorm
from tinytensor.nn.normalization import LayerNorm as LayerNorm
from tinytensor.nn.normalization import RMSNorm as RMSNorm
from tinytensor.nn.quantized import *
from tinytensor.nn.recurrent import *
from tinytensor.nn.transformer import *

if not TYPE_CHECKING:
    _publish(globals(), _NN, ("functional", "init", "utils"))
