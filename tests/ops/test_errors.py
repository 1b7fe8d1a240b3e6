"""Wrong calls of ops: each raises the right error, which says what, why and how to fix it. An axis
out of range in each function that takes one: an IndexError, as in NumPy and the array API.
"""

import inspect
import operator
from collections.abc import Callable

import numpy as np
import pytest

import tinytensor as tt
from tests.core.test_errors import INF, A, D, G, Range, S, V, check_wrong_call, f, leaf
from tests.helpers import op_functions as ops
from tinytensor import nn

attend, ce, step = ops.scaled_dot_product_attention, ops.cross_entropy, tt.adamw_step
I8, BOOL, C, INT = (
    tt.tensor([1, 0], dtype=tt.int8),
    tt.tensor([True, False]),
    tt.tensor([1j, 2.0]),
    f(2, 2).long(),
)
SINGULAR, SQUARE = tt.tensor([[1.0, 2.0], [2.0, 4.0]]), tt.tensor([[2.0, 1.0], [1.0, 3.0]])
BAD = tt.stack([SQUARE, SINGULAR, SQUARE])
IMAGE, KERNEL, FLOATS, PACKED = f(2, 4, 5, 5), f(2, 4, 3, 3), f(4, 64), tt.quantize(f(4, 64), "q8_0")
X, IDS, Q, HYPER = f(2, 3), tt.tensor([0, 1]), f(1, 2, 3, 4), tt.adamw_hyper(lr=0.1, step=1)

CALLS = [
    # elementwise, and in place
    (lambda: I8 // 0, A, "floor_divide: an integer is divided by 0"),
    (lambda: I8 // I8, A, "floor_divide: an integer"),
    (lambda: I8 % I8, A, "remainder: an integer is divided by 0"),
    (lambda: operator.ifloordiv(I8, I8), A, "floor_divide: an integer"),
    (lambda: I8**-1, A, "pow: an integer is raised to a negative integer"),
    (lambda: I8 ** (I8 - 1), A, "pow: an integer"),
    (lambda: BOOL - BOOL, D, "subtract: dtype bool"),
    (lambda: -BOOL, D, "negative: dtype bool"),
    (lambda: BOOL.clone().neg_(), D, "negative: dtype bool"),
    (lambda: +BOOL, D, "positive: dtype bool"),
    (lambda: abs(BOOL), D, "abs: dtype bool"),
    (lambda: BOOL << BOOL, D, "bitwise_left_shift:"),
    (lambda: f(2) & 1, D, "bitwise_and: dtype float32"),
    (lambda: ~f(2), D, "bitwise_invert: dtype float32"),
    (lambda: operator.iand(f(2), f(2)), D, "bitwise_and: dtype float32"),
    (lambda: f(2) << 1, D, "bitwise_left_shift: dtype float32"),
    (lambda: C < C, D, "less: dtype complex64"),
    (lambda: tt.maximum(C, C), D, "maximum: dtype complex64"),
    (lambda: tt.sigmoid(C), D, "sigmoid: dtype complex64"),
    (lambda: C * leaf(2), G, "multiply: the result is complex"),
    (lambda: leaf(1).astype(tt.complex64), G, "cast: the result is complex"),
    (lambda: tt.concat([C, leaf(1)]), G, "cast: the result is complex"),
    (lambda: C.clone().copy_(leaf(2)), G, "copy_: the target is complex"),
    (lambda: C.clone().__setitem__(slice(1), leaf(1)), G, "copy_: the target is complex"),
    (lambda: C.clone().__setitem__([0], leaf(1)), G, "cast: the result is complex"),
    (lambda: tt.imag(f(2)), D, "imag: dtype float32"),
    (lambda: tt.real(1.0), D, "real: no operand is a tensor"),
    (lambda: tt.nextafter(tt.ones(2, dtype=tt.float16), 2.0), D, "nextafter: an operand of dtype"),
    (lambda: tt.where(f(2), 1.0, 2.0), D, "where: the condition is a tensor of dtype float32"),
    (lambda: tt.where(True, f(2), 2.0), D, "where: the condition is bool"),
    (lambda: f(2) + "a", D, "add: an operand of type str"),
    (lambda: f(2) + None, D, "add: an operand of type NoneType"),
    (lambda: f(2) < "a", D, "less: an operand of type str"),
    (lambda: f(2) + np.ones(2), D, "add: an operand of type ndarray"),
    (lambda: tt.exp(1.0), D, "exp: no operand is a tensor"),
    (lambda: tt.exp([1.0]), D, "exp: an operand of type list"),
    (lambda: f(2) == f(3), S, "equal:"),
    (lambda: tt.where(BOOL, f(3), 0.0), S, "where:"),
    (lambda: tt.clip(f(2), f(3)), S, "clip:"),
    (lambda: operator.itruediv(tt.tensor([1, 2]), 2), D, "divide_: a result of dtype float32"),
    (lambda: tt.tensor([1, 2]).exp_(), D, "exp_: a result of dtype float32"),
    (lambda: tt.tensor([1, 2]).fill_(0.5), D, "copy_:"),
    (lambda: leaf(1).exp_(), G, "exp_: the target is a leaf"),
    (lambda: leaf(1).add_(1.0), G, "add_: the target is a leaf"),
    (lambda: f(1).expand(3).exp_(), G, "exp_: the target of shape"),
    (lambda: I8 + 1000, OverflowError, "add: the Python number 1000 does not fit into int8"),
    (lambda: tt.tensor([1], dtype=tt.uint8) == -1, OverflowError, "equal: the Python number -1"),
    (lambda: f(2) * 10**400, OverflowError, "multiply: the Python number"),
    # joining, reductions, sorting
    (lambda: tt.concat([]), S, "concat: no tensors"),
    (lambda: tt.stack(f(2)), D, "stack: a Tensor"),
    (lambda: tt.concat([f(2), 1.0]), D, "concat: item 1"),
    (lambda: tt.concat([f(2, 3), f(2, 4)]), S, "concat: shapes"),
    (lambda: tt.stack([f(2), f(3)]), S, "stack: shapes"),
    (lambda: tt.concat([tt.tensor(1.0)]), S, "concat: axis 0"),
    (lambda: ops.pad(f(2, 2), (1, 2, 3)), S, "pad: widths"),
    (lambda: ops.pad(f(2), -1), S, "pad: widths"),
    (lambda: ops.pad(f(0), 1, "edge"), S, "pad: axis 0"),
    (lambda: ops.pad(f(2), 1, "mirror"), A, "pad: mode"),
    (lambda: ops.pad(f(2), 1, "edge", 3.0), A, "pad: mode"),
    (lambda: ops.pad(tt.arange(3), 1, constant_values=0.5), D, "pad: the value"),
    (lambda: ops.pad(tt.ones(2, dtype=tt.int8), 1, constant_values=300), OverflowError, "pad:"),
    (lambda: tt.repeat(f(2), -1), S, "repeat:"),
    (lambda: tt.repeat(f(2), tt.tensor([1, 2, 3])), S, "repeat:"),
    (lambda: tt.repeat(f(2), f(2)), D, "repeat:"),
    (lambda: tt.tile(f(2), (2, -1)), S, "tile:"),
    (lambda: tt.roll(f(2, 2), (1, 2), 0), S, "roll:"),
    (lambda: tt.meshgrid(f(2, 2)), S, "meshgrid:"),
    (lambda: tt.meshgrid(f(2), indexing="yx"), A, "meshgrid:"),
    (lambda: tt.tril(f(3)), S, "tril:"),
    (lambda: tt.masked_fill(f(2), f(2), 0.0), D, "masked_fill: a mask"),
    (lambda: tt.masked_fill(tt.arange(2), tt.asarray([True, False]), 0.5), D, "masked_fill:"),
    (lambda: tt.masked_fill(f(2), tt.asarray([[True, False]] * 2), 0.0), S, "masked_fill:"),
    (lambda: tt.arange(3).mean(), D, "mean:", "astype"),
    (lambda: tt.arange(3).var(), D, "var:"),
    (lambda: tt.arange(3).logsumexp(), D, "logsumexp:"),
    (lambda: tt.arange(3).norm(INF), D, "vector_norm:"),
    (lambda: tt.matrix_norm(f(2, 2), ord="nuc"), A, "matrix_norm:"),
    (lambda: tt.matrix_norm(f(2)), S, "matrix_norm:"),
    (lambda: tt.ones(2, dtype=tt.complex64).max(), D, "max:"),
    (lambda: tt.ones(2, dtype=tt.complex64).argmin(), D, "argmin:"),
    (lambda: tt.ones(2, dtype=tt.complex64).sort(), D, "sort:"),
    (lambda: tt.topk(f(2), 3), S, "topk: k = 3"),
    (lambda: tt.sort(tt.tensor(1.0)), S, "sort:"),
    (lambda: tt.searchsorted(f(2), f(2), side="middle"), A, "searchsorted:"),
    (lambda: tt.searchsorted(f(2, 2), f(2)), S, "searchsorted:"),
    (lambda: tt.cumulative_sum(f(2, 2)), S, "cumulative_sum:"),
    (lambda: tt.diff(tt.asarray([True, False])), D, "diff:"),
    (lambda: f(2).sum(1), S, "sum:"),
    (lambda: tt.tensor(1.0).sum(-1), S, "sum:"),
    (lambda: f(2, 2).sum(True), D, "sum: an axis"),
    (lambda: f(2, 2).mean(1.0), D, "mean: an axis"),
    (lambda: f(2, 2).prod((0, -2)), S, "prod:", "twice"),
    # linear algebra, Fourier transforms
    (lambda: tt.linalg.inv(SINGULAR), A, "inv: matrix of shape (2, 2) is singular"),
    (lambda: tt.linalg.inv(BAD), A, "inv: matrix 1 of shape (2, 2) is singular"),
    (lambda: tt.linalg.solve(BAD.unsqueeze(0), SQUARE), A, "solve: matrix (0, 1) of shape"),
    (lambda: tt.linalg.matrix_power(SINGULAR, -1), A, "inv: matrix of shape"),
    (lambda: tt.linalg.cholesky(-SQUARE), A, "not positive definite"),
    (lambda: tt.linalg.svd(tt.full((2, 2), tt.nan)), A, "nan or inf"),
    (lambda: tt.linalg.pinv(tt.full((2, 2), tt.nan)), A, "pinv: "),
    (lambda: tt.linalg.qr(SQUARE, mode="r"), A, "qr: mode 'r'"),
    (lambda: tt.linalg.matrix_norm(SQUARE, ord=3), A, "matrix_norm: ord 3"),
    (lambda: tt.linalg.inv(f(2, 3)), S, "must be square"),
    (lambda: tt.linalg.det(f(3)), S, "no last two axes"),
    (lambda: tt.linalg.solve(SQUARE, f(3)), S, "solve: matrices of shape"),
    (lambda: tt.linalg.solve(SQUARE, tt.tensor(1.0)), S, "x2 has no axes"),
    (lambda: tt.linalg.solve(BAD, f(2, 2, 1)), S, "solve"),
    (lambda: tt.linalg.cross(f(2), f(2)), S, "three elements"),
    (lambda: tt.linalg.pinv(SQUARE, rtol=f(3)), S, "pinv: rtol"),
    (lambda: tt.linalg.inv(INT), D, "inv: ", "has dtype int64"),
    (lambda: tt.linalg.solve(INT, INT), D, "solve: ", "has dtype int64"),
    (lambda: tt.linalg.svd(SQUARE.astype(tt.bfloat16)), D, "svd: ", "has dtype bfloat16"),
    (lambda: tt.linalg.cholesky(SQUARE.astype(tt.float16)), D, "cholesky: ", "has dtype float16"),
    (lambda: tt.linalg.matrix_power(SQUARE, 0.5), D, "matrix_power"),
    (lambda: tt.linalg.inv([[1.0]]), D, "inv: an operand of type list"),
    (lambda: tt.linalg.inv(tt.zeros(2, 2, device="emulated")), A, "inv: matrix of ", " is singular"),
    (lambda: tt.fft.fft(leaf(4)), G, "it computes with complex numbers"),
    (lambda: tt.fft.irfft(tt.fft.rfft(leaf(4))), G, "x.detach()"),
    (lambda: tt.fft.irfft(leaf(4)), G, "irfft: it computes"),
    (lambda: tt.fft.fft(tt.ones(4, dtype=tt.int64)), D, "dtype int64"),
    (lambda: tt.fft.fft(tt.ones(4, dtype=tt.bfloat16)), D, "dtype bfloat16"),
    (lambda: tt.fft.rfft(tt.ones(4, dtype=tt.complex64)), D, "dtype complex64"),
    (lambda: tt.fft.fft(f(4), n=0), S, "at least one number"),
    (lambda: tt.fft.irfft(f(1)), S, "at least one number"),
    (lambda: tt.fft.fft(f(4), axis=1), Range, "axis 1"),
    (lambda: tt.fft.fftn(f(4), s=(2,), axes=(0, 0)), S, "fftn"),
    (lambda: tt.fft.fftn(f(4), s=(2, 2), axes=(0,)), S, "2 sizes for 1 axes"),
    (lambda: tt.fft.fftn(tt.tensor(1.0)), S, "no axes"),
    (lambda: tt.fft.fft(f(4), norm="both"), A, "norm 'both'"),
    (lambda: tt.fft.hfft(f(4), norm="both"), A, "hfft: norm"),
    (lambda: tt.fft.fftfreq(0), A, "positive n"),
    (lambda: tt.fft.rfftfreq(4, d=0.0), A, "d is 0"),
    (lambda: tt.fft.fftfreq(4, dtype=tt.int64), D, "dtype int64"),
    (lambda: tt.fft.fft(f(4).to("emulated")), V, 'x.to("cpu")'),
    # products by an equation
    (lambda: tt.einsum(3, f(2)), D, "einsum: ", "the equation is a int"),
    (lambda: tt.einsum("i,j", f(2)), A, "einsum: ", "2 terms for 1 operands"),
    (lambda: tt.einsum("i", f(2), f(2)), A, "einsum: ", "1 terms for 2 operands"),
    (lambda: tt.einsum(""), A, "einsum: ", "1 terms for 0 operands"),
    (lambda: tt.einsum("i->i->i", f(2)), A, "einsum: ", "more than one ->"),
    (lambda: tt.einsum("i1", f(2, 2)), A, "einsum: ", "'1'"),
    (lambda: tt.einsum("ä", f(2)), A, "einsum: ", "'ä'"),
    (lambda: tt.einsum("i-j", f(2, 2)), A, "einsum: ", "'-'"),
    (lambda: tt.einsum("..i", f(2, 2)), A, "einsum: ", "two ellipses"),
    (lambda: tt.einsum("...i...", f(2, 2)), A, "einsum: ", "two ellipses in one term '...i...'"),
    (lambda: tt.einsum("i->j", f(2)), A, "einsum: ", "letter 'j' that no operand has"),
    (lambda: tt.einsum("i->ii", f(2)), A, "einsum: ", "letter 'i', twice"),
    (lambda: tt.einsum("...i->......i", f(2, 2)), A, "einsum: ", "two ellipses"),
    (lambda: tt.einsum("...i->i", f(2, 3)), A, "einsum: ", "without an ellipsis"),
    (lambda: tt.einsum("ij", f(2)), S, "einsum: ", "operand 0 of shape (2,)"),
    (lambda: tt.einsum("i", f(2, 3)), S, "einsum: ", "operand 0 of shape (2, 3)"),
    (lambda: tt.einsum("...ij", f(2)), S, "einsum: ", "names 2 axes, the operand has 1"),
    (lambda: tt.einsum("ij,jk", f(2, 3), f(4, 5)), S, "einsum: ", "letter 'j' of 'ij,jk' has sizes 3 and 4"),
    (lambda: tt.einsum("ii", f(2, 3)), S, "einsum: ", "letter 'i' of 'ii' has sizes 2 and 3"),
    (lambda: tt.einsum("i,i", f(1), f(3)), S, "einsum: ", "has sizes 1 and 3"),
    (lambda: tt.einsum("...i,...i", f(2, 4), f(3, 4)), S, "einsum: ", "einsum"),
    (lambda: tt.tensordot(f(2, 3), f(3, 4), 3), S, "tensordot: "),
    (lambda: tt.tensordot(f(2, 3), f(3, 4), -1), S, "tensordot: "),
    (lambda: tt.tensordot(f(2, 3), f(3, 4), ([0], [0])), S, "tensordot: "),
    (lambda: tt.tensordot(f(2, 3), f(3, 4), ([0, 1], [1])), S, "tensordot: "),
    (lambda: tt.tensordot(f(2, 3), f(3, 4), ([0, 0], [1, 1])), S, "tensordot: "),
    (lambda: tt.tensordot(f(2, 3), f(3, 4), ([5], [0])), S, "tensordot: "),
    (lambda: tt.tensordot(f(2, 3), f(3, 4), (0,)), A, "tensordot: "),
    (lambda: tt.vecdot(f(2, 3), f(2, 1)), S, "vecdot: "),
    (lambda: tt.vecdot(f(2, 3), f(2), axis=0), S, "vecdot: "),
    (lambda: tt.einsum("i", [1.0]), D, "list"),
    (lambda: tt.einsum("i,i", BOOL, BOOL), D, "bool"),
    # convolution and pooling
    (lambda: ops.conv2d(IMAGE, f(2, 4, 6, 1)), S, "kernel of size (6, 1) on an image"),
    (lambda: ops.conv2d(IMAGE, KERNEL, dilation=3), S, "with dilation (3, 3) over (7, 7)"),
    (lambda: ops.conv2d(IMAGE[0, 0], KERNEL), S, "axes are (B, C_in, H, W)"),
    (lambda: ops.conv2d(IMAGE, KERNEL[0]), S, "axes are (C_out, C_in, kh, kw)"),
    (lambda: ops.conv1d(IMAGE, KERNEL), S, "axes are (B, C_in, L)"),
    (lambda: ops.conv2d(IMAGE, KERNEL, groups=2), S, "number of channels"),
    (lambda: ops.conv2d(IMAGE, f(3, 2, 1, 1), groups=2), S, "divide the number of output"),
    (lambda: ops.conv2d(IMAGE, KERNEL[:, :, :0]), S, "empty kernel"),
    (lambda: ops.conv2d(IMAGE, KERNEL, f(3)), S, "bias"),
    (lambda: ops.conv2d(IMAGE, KERNEL, stride=0), A, "stride=0"),
    (lambda: ops.conv2d(IMAGE, KERNEL, stride=(1, 1, 1)), A, "stride"),
    (lambda: ops.conv2d(IMAGE, KERNEL, padding=-1), A, "padding=-1"),
    (lambda: ops.conv2d(IMAGE, KERNEL, padding="same", stride=2), A, "same"),
    (lambda: ops.conv2d(IMAGE, KERNEL, padding="full"), A, "full"),
    (lambda: ops.conv2d(IMAGE, KERNEL, dilation=0), A, "dilation=0"),
    (lambda: ops.conv2d(IMAGE, KERNEL, groups=0), A, "groups=0"),
    (lambda: ops.conv2d(IMAGE, [1.0]), D, "list"),
    (lambda: ops.max_pool2d(IMAGE, 9), S, "kernel of size (9, 9)"),
    (lambda: ops.max_pool2d(IMAGE, 2, padding=2), A, "at most half"),
    (lambda: ops.max_pool2d(IMAGE, 0), A, "kernel_size=0"),
    (lambda: ops.avg_pool2d(IMAGE[0, 0, 0], 2), S, "last 2 axes"),
    (lambda: ops.avg_pool1d(tt.arange(4), 2), D, "int64"),
    (lambda: ops.max_pool1d(IMAGE.astype(tt.complex64), 2), D, "complex"),
    # packed weights
    (lambda: tt.quantize(FLOATS, "q9"), A, "q8_0, q4_0"),
    (lambda: tt.quantize(FLOATS[:, :31], "q8_0"), S, "block of q8_0 has 32"),
    (lambda: tt.dequantize(FLOATS, "q8_0"), D, "blocks are bytes"),
    (lambda: tt.dequantize(PACKED, "q4_0"), S, "blocks of 18 bytes"),
    (lambda: tt.quantized_linear(FLOATS[:, :32], PACKED, "q8_0"), S, "has 64 values"),
    (lambda: tt.quantized_embedding(tt.tensor([9]), PACKED, "q8_0"), Range, "9"),
    (lambda: nn.QuantizedLinear(PACKED, "q4_0"), S, "blocks of 18 bytes"),
    # fused ops
    (lambda: tt.softmax(IDS, -1), D, "softmax"),
    (lambda: tt.softmax(tt.tensor(1.0), -1), S, "no axes"),
    (lambda: tt.log_softmax(X, 2), S, "axis 2 is out of range"),
    (lambda: ops.layer_norm(X, f(2)), S, "weight (2,)"),
    (lambda: ops.layer_norm(X, None, f(1, 3)), S, "bias (1, 3)"),
    (lambda: ops.layer_norm(X, tt.ones(3, dtype=tt.float64)), D, "float64"),
    (lambda: ops.layer_norm(IDS), D, "layer_norm"),
    (lambda: ops.layer_norm(tt.tensor(1.0)), S, "axis"),
    (lambda: ops.rms_norm(X, f(4)), S, "weight (4,)"),
    (lambda: tt.gelu(X, "exact"), A, "'exact'"),
    (lambda: tt.gelu(IDS, "tanh"), D, "gelu"),
    (lambda: tt.silu(IDS), D, "silu"),
    (lambda: ce(X, tt.tensor([0])), S, "(1,)"),
    (lambda: ce(X, f(2)), D, "targets are integers", "(2,) and dtype float32"),
    (lambda: ce(tt.arange(6).reshape(2, 3), IDS), D, "cross_entropy"),
    (lambda: ce(X, tt.tensor([0, 3])), Range, "targets[1] is 3"),
    (lambda: ce(f(1, 2, 3), tt.tensor([[0, -1]])), Range, "targets[0, 1] is -1"),
    (lambda: ce(X, tt.tensor([0, 2**63], dtype=tt.uint64)), Range, str(2**63)),
    (lambda: ce(X, IDS, label_smoothing=1.5), A, "1.5"),
    (lambda: ce(X, IDS, reduction="avg"), A, "'avg'"),
    (lambda: ce(f(2, 0), IDS), S, "(2, 0)"),
    (lambda: ops.nll_loss(X, tt.tensor([[0]])), S, "(1, 1)"),
    (lambda: ops.nll_loss(X, tt.tensor([0, 5])), Range, "targets[1] is 5"),
    (lambda: ops.nll_loss(X, f(2)), D, "targets"),
    (lambda: ops.mse_loss(X, f(3)), S, "mistake"),
    (lambda: ops.mse_loss(IDS, IDS), D, "mse_loss"),
    (lambda: ops.bce_with_logits(X, f(2, 1)), S, "differ"),
    (lambda: ops.bce_with_logits(X, X, reduction=""), A, "reduction"),
    (lambda: ops.embedding(IDS, X), D, "embedding"),
    (lambda: ops.embedding(f(3), IDS), S, "(3,)"),
    (lambda: ops.embedding(X, tt.tensor([-1])), Range, "indices[0] is -1"),
    (lambda: ops.embedding(X, tt.tensor([[0, 2]])), Range, "indices[0, 1] is 2"),
    (lambda: ops.embedding(X, tt.tensor(7)), Range, "indices is 7"),
    (lambda: tt.dropout(X, 1.5), A, "1.5"),
    (lambda: tt.dropout(X, float("nan")), A, "nan"),
    (lambda: tt.dropout(IDS), D, "dropout"),
    (lambda: attend(X, X, X), S, "split the heads"),
    (lambda: attend(Q, Q, f(1, 2, 5, 4)), S, "Tk"),
    (lambda: attend(Q, Q, Q.astype(tt.float64)), D, "float64"),
    (lambda: attend(f(1, 2, 5, 4), Q, Q, causal=True), S, "5 queries"),
    (lambda: attend(Q, Q[:, :, :0], Q[:, :, :0]), S, "0 keys"),
    (lambda: attend(Q, Q, Q, mask=f(4, 3)), S, "mask"),
    (lambda: attend(Q, Q, Q, mask=f(2, 2, 3, 3)), S, "mask"),
    (lambda: attend(Q, Q, Q, mask=tt.ones(3, 3, dtype=tt.int64)), D, "int64"),
    (lambda: tt.causal_self_attention(f(1, 2, 12), 5), S, "n_head"),
    (lambda: tt.causal_self_attention(f(2, 12), 2), S, "(2, 12)"),
    (lambda: tt.causal_self_attention(tt.ones(1, 2, 12, dtype=tt.int64), 2), D, "causal_self"),
    (lambda: tt.causal_self_attention(f(1, 2, 12), 0), S, "n_head is 0"),
    (lambda: tt.causal_self_attention(f(1, 3, 12), 2, dropout=1.5), A, "causal_self_attention: p is 1.5"),
    (lambda: tt.causal_self_attention(f(1, 3, 12), 2, dropout=0.5, generator=3), D, "generator is a int"),
    (lambda: step([X], [], [X], [X], HYPER), S, "0 grads"),
    (lambda: step([X], [f(3)], [X], [X], HYPER), S, "grad (3,)"),
    (lambda: step([X], [X], [X], [X], f(8)), S, "hyper"),
    (lambda: step([X], [X], [X.astype("float16")], [X], HYPER), D, "float16"),
    (lambda: step([X.T], [X.T], [X.T], [X.T], HYPER), S, "contiguous"),
    (lambda: tt.adamw_hyper(lr=0.1, step=0), A, "step is 0"),
    (lambda: tt.adamw_hyper(lr=0.1, step=1, betas=(0.9, 1.0)), A, "1.0"),
    (lambda: tt.grad_norm([]), A, "no tensor"),
    (lambda: tt.grad_norm([IDS]), D, "grad_norm"),
    (lambda: tt.softmax([1.0], -1), D, "list"),
    (lambda: ops.layer_norm(X, X.numpy()[0]), D, "ndarray"),
    (lambda: ce(X, [0, 1]), D, "asarray"),
    (lambda: ops.embedding(X, [0, 1]), D, "list"),
    (lambda: attend(Q.numpy(), Q, Q), D, "ndarray"),
    (lambda: ops.mse_loss(X, 1.0), D, "float"),
    (lambda: tt.dropout(X, 0.5, generator=7), D, "generator is a int"),
    (lambda: step([X], [[1.0]], [X], [X], HYPER), D, "list"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "words"), [(c, e, w) for c, e, *w in CALLS], ids=range(len(CALLS)))
def test_wrong_calls_say_what_why_and_fix(call, error, words):
    check_wrong_call(call, error, words)
    assert (I8.tolist(), X.tolist()) == ([1, 0], [[1.0] * 3] * 2), "an operand was written before the error"


CUBE = tt.ones(2, 3, 4)
INDEX = tt.zeros(2, 3, 4, dtype=tt.int64)
NAMES = ("axis", "axes", "axis1", "dim", "start_dim")
MOVES = ["moveaxis", "movedim"]  # whose axes are source and destination
PLACES = tt.arange(2)
# functions that take more than x and the axis
AXIS_CALLS: dict[str, Callable[[int], object]] = {
    "amax": lambda axis: tt.amax(CUBE, axis),
    "amin": lambda axis: tt.amin(CUBE, axis),
    "cat": lambda axis: tt.cat([CUBE, CUBE], axis),
    "chunk": lambda axis: tt.chunk(CUBE, 2, axis),
    "concat": lambda axis: tt.concat([CUBE, CUBE], axis),
    "concatenate": lambda axis: tt.concatenate([CUBE, CUBE], axis),
    "diagonal": lambda axis: tt.diagonal(CUBE, 0, axis, 1),
    "flatten": lambda axis: tt.flatten(CUBE, axis),
    "gather": lambda axis: tt.gather(CUBE, axis, INDEX),
    "index_add": lambda axis: tt.index_add(CUBE, axis, PLACES, CUBE[:, :2]),
    "moveaxis": lambda axis: tt.moveaxis(CUBE, axis, 0),
    "movedim": lambda axis: tt.movedim(CUBE, axis, 0),
    "narrow": lambda axis: tt.narrow(CUBE, axis, 0, 1),
    "permute": lambda axis: tt.permute(CUBE, 0, 1, axis),
    "permute_dims": lambda axis: tt.permute_dims(CUBE, (0, 1, axis)),
    "quantile": lambda axis: tt.quantile(CUBE, 0.5, axis),
    "repeat": lambda axis: tt.repeat(CUBE, 2, axis=axis),
    "repeat_interleave": lambda axis: tt.repeat_interleave(CUBE, 2, axis),
    "roll": lambda axis: tt.roll(CUBE, 1, axis),
    "scatter": lambda axis: tt.scatter(CUBE, axis, INDEX, CUBE),
    "scatter_add": lambda axis: tt.scatter_add(CUBE, axis, INDEX, CUBE),
    "select": lambda axis: tt.select(CUBE, axis, 0),
    "split": lambda axis: tt.split(CUBE, 2, axis),
    "stack": lambda axis: tt.stack([CUBE, CUBE], axis),
    "swapaxes": lambda axis: tt.swapaxes(CUBE, 0, axis),
    "take": lambda axis: tt.take(CUBE, tt.arange(2), axis),
    "take_along_axis": lambda axis: tt.take_along_axis(CUBE, INDEX, axis),
    "tensordot": lambda axis: tt.tensordot(CUBE, CUBE, ((axis,), (0,))),
    "topk": lambda axis: tt.topk(CUBE, 1, axis),
    "trace": lambda axis: tt.trace(CUBE, 0, axis, 1),
    "transpose": lambda axis: tt.transpose(CUBE, 0, axis),
    "unflatten": lambda axis: tt.unflatten(CUBE, axis, (2, -1)),
    "vecdot": lambda axis: tt.vecdot(CUBE, CUBE, axis=axis),
}


def _takes_axis() -> list[str]:
    functions = {name: getattr(tt, name) for name in tt.__all__}
    functions = {name: f for name, f in functions.items() if inspect.isfunction(f)}
    return MOVES + [
        name for name, f in functions.items() if any(p in inspect.signature(f).parameters for p in NAMES)
    ]


def _by_keyword(name: str, axis: int) -> object:
    function = getattr(tt, name)
    word = next(p for p in NAMES if p in inspect.signature(function).parameters)
    return function(CUBE, **{word: axis})


def test_the_table_is_of_use() -> None:
    assert len(_takes_axis()) >= 36
    assert set(AXIS_CALLS) <= set(_takes_axis())


@pytest.mark.parametrize("axis", [4, -5, 2**70])
@pytest.mark.parametrize("name", _takes_axis())
def test_an_axis_out_of_range_is_an_index_error(name: str, axis: int) -> None:
    call = AXIS_CALLS.get(name, lambda axis: _by_keyword(name, axis))
    with pytest.raises(tt.IndexRangeError, match=f"^{name}: axis {axis}|: axis .* out of range") as caught:
        call(axis)
    assert isinstance(caught.value, IndexError)
    assert isinstance(caught.value, ValueError)  # as NumPy's AxisError, which is both
