"""Functions of ops that `tt.nn.functional` wraps, as tests of ops call them: classes last, and so on."""

from tinytensor.argument_checks import with_argument_errors
from tinytensor.ops.attention import attention
from tinytensor.ops.joining import padding
from tinytensor.ops.matmul import convolution
from tinytensor.ops.nn import embedding as table
from tinytensor.ops.nn import layer_norm as layer
from tinytensor.ops.nn import loss
from tinytensor.ops.nn.cross_entropy import cross_entropy as logits_loss

scaled_dot_product_attention = with_argument_errors(attention.scaled_dot_product_attention)
pad = with_argument_errors(padding.pad)
conv1d, conv2d = map(with_argument_errors, (convolution.conv1d, convolution.conv2d))
max_pool1d, max_pool2d = map(with_argument_errors, (convolution.max_pool1d, convolution.max_pool2d))
avg_pool1d, avg_pool2d = map(with_argument_errors, (convolution.avg_pool1d, convolution.avg_pool2d))
cross_entropy, nll_loss = map(with_argument_errors, (logits_loss, loss.nll_loss))
mse_loss, bce_with_logits = map(with_argument_errors, (loss.mse_loss, loss.bce_with_logits))
embedding = with_argument_errors(table.embedding)
layer_norm, rms_norm = map(with_argument_errors, (layer.layer_norm, layer.rms_norm))
