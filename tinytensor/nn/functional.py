"""The functions of networks, by PyTorch's names, with its arguments and results.

Each is defined beside its module, or where its op is; `tt.cross_entropy` is the same function. Late options
are keywords, since PyTorch has obsolete arguments between them.
"""

from typing import TYPE_CHECKING

import tinytensor.api as _tt
from tinytensor.api import dropout as dropout
from tinytensor.api import gelu as gelu
from tinytensor.api import linear as linear
from tinytensor.api import log_softmax as log_softmax
from tinytensor.api import one_hot as one_hot
from tinytensor.api import relu as relu
from tinytensor.api import sigmoid as sigmoid
from tinytensor.api import silu as silu
from tinytensor.api import softmax as softmax
from tinytensor.api import softplus as softplus
from tinytensor.api import tanh as tanh
from tinytensor.argument_checks import publish as _publish
from tinytensor.argument_errors import FUNCTIONAL as _FUNCTIONAL
from tinytensor.argument_errors import FUNCTIONS as _FUNCTIONS
from tinytensor.nn.activation import dropout2d as dropout2d
from tinytensor.nn.activation import elu as elu
from tinytensor.nn.activation import glu as glu
from tinytensor.nn.activation import hardswish as hardswish
from tinytensor.nn.activation import hardtanh as hardtanh
from tinytensor.nn.activation import leaky_relu as leaky_relu
from tinytensor.nn.activation import logsigmoid as logsigmoid
from tinytensor.nn.activation import mish as mish
from tinytensor.nn.activation import relu6 as relu6
from tinytensor.nn.activation import selu as selu
from tinytensor.nn.activation import softsign as softsign
from tinytensor.nn.attention import scaled_dot_product_attention as scaled_dot_product_attention
from tinytensor.nn.convolution import adaptive_avg_pool1d as adaptive_avg_pool1d
from tinytensor.nn.convolution import adaptive_avg_pool2d as adaptive_avg_pool2d
from tinytensor.nn.convolution import conv_transpose1d as conv_transpose1d
from tinytensor.nn.convolution import conv_transpose2d as conv_transpose2d
from tinytensor.nn.convolution import pad as pad
from tinytensor.nn.convolution import unfold as unfold
from tinytensor.nn.embedding import embedding as embedding
from tinytensor.nn.loss import binary_cross_entropy as binary_cross_entropy
from tinytensor.nn.loss import binary_cross_entropy_with_logits as binary_cross_entropy_with_logits
from tinytensor.nn.loss import cross_entropy as cross_entropy
from tinytensor.nn.loss import huber_loss as huber_loss
from tinytensor.nn.loss import kl_div as kl_div
from tinytensor.nn.loss import l1_loss as l1_loss
from tinytensor.nn.loss import nll_loss as nll_loss
from tinytensor.nn.loss import smooth_l1_loss as smooth_l1_loss
from tinytensor.nn.normalization import batch_norm as batch_norm
from tinytensor.nn.normalization import cosine_similarity as cosine_similarity
from tinytensor.nn.normalization import group_norm as group_norm
from tinytensor.nn.normalization import layer_norm as layer_norm
from tinytensor.nn.normalization import normalize as normalize
from tinytensor.nn.normalization import rms_norm as rms_norm
from tinytensor.ops.matmul.convolution import avg_pool1d as avg_pool1d
from tinytensor.ops.matmul.convolution import avg_pool2d as avg_pool2d
from tinytensor.ops.matmul.convolution import conv1d as conv1d
from tinytensor.ops.matmul.convolution import conv2d as conv2d
from tinytensor.ops.matmul.convolution import max_pool1d as max_pool1d
from tinytensor.ops.matmul.convolution import max_pool2d as max_pool2d
from tinytensor.ops.nn.loss import mse_loss as mse_loss

if not TYPE_CHECKING:
    _publish(globals(), _FUNCTIONS | {ours: f"tt.{ours}" for ours in _tt.__all__} | _FUNCTIONAL)
