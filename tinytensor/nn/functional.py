"""The functions of networks, by PyTorch's names, with its arguments and results.

Each is defined beside its module; `tt.cross_entropy` is the same function. Late options are keywords, since
PyTorch has obsolete arguments between them.
"""

from typing import TYPE_CHECKING

import tinytensor.api as _tt
from tinytensor.api import (
    dropout,
    gelu,
    linear,
    log_softmax,
    one_hot,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)
from tinytensor.argument_errors import FUNCTIONAL as _FUNCTIONAL
from tinytensor.argument_errors import FUNCTIONS as _FUNCTIONS
from tinytensor.argument_errors import missing as _missing
from tinytensor.nn.activation import (
    dropout2d,
    elu,
    glu,
    hardswish,
    hardtanh,
    leaky_relu,
    logsigmoid,
    mish,
    relu6,
    selu,
    softsign,
)
from tinytensor.nn.attention import (
    scaled_dot_product_attention,
)
from tinytensor.nn.convolution import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    avg_pool1d,
    avg_pool2d,
    conv1d,
    conv2d,
    conv_transpose1d,
    conv_transpose2d,
    max_pool1d,
    max_pool2d,
    pad,
    unfold,
)
from tinytensor.nn.embedding import (
    embedding,
)
from tinytensor.nn.loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from tinytensor.nn.normalization import (
    batch_norm,
    cosine_similarity,
    group_norm,
    layer_norm,
    normalize,
    rms_norm,
)

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d",     "avg_pool1d", "avg_pool2d", "batch_norm", "binary_cross_entropy",
    "binary_cross_entropy_with_logits", "conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d",
    "cosine_similarity", "cross_entropy", "dropout", "dropout2d",
    "elu", "embedding", "gelu", "glu", "group_norm", "hardswish", "hardtanh",
    "huber_loss", "kl_div", "l1_loss", "layer_norm", "leaky_relu", "linear",
    "log_softmax", "logsigmoid", "max_pool1d", "max_pool2d", "mish", "mse_loss", "nll_loss", "normalize",
    "one_hot", "pad", "relu", "relu6", "rms_norm", "scaled_dot_product_attention", "selu",
    "sigmoid", "silu", "smooth_l1_loss", "softmax", "softplus", "softsign", "tanh", "unfold",
]  # fmt: skip

if not TYPE_CHECKING:

    def __getattr__(name):  # called only for missing names
        _missing(__name__, _FUNCTIONS | {ours: f"tt.{ours}" for ours in _tt.__all__} | _FUNCTIONAL, name)
