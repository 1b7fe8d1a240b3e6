"""PyTorch's names and keywords that are others in tinytensor: aliases of keywords, and clear errors.

Calls in our words never look up these tables: Tensor has a descriptor for each name, packages have a
`__getattr__`, which Python calls only for missing attributes.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from tinytensor.errors import ArgumentError, MissingNameError, nearest

_NAMES = {  # PyTorch's other names of functions that are here
    **{f"arc{name}": f"a{name}" for name in ("cos", "cosh", "sin", "sinh", "tan", "tanh", "tan2")},
    **{
        name: f"linalg.{name}"
        for name in ("cholesky", "cross", "det", "matrix_power", "qr", "slogdet", "svd")
    },
    "absolute": "abs",
    "bitwise_not": "bitwise_invert",
    "broadcast_tensors": "broadcast_arrays",
    "bucketize": "searchsorted",
    "fix": "trunc",
    "ger": "outer",
    "inverse": "linalg.inv",
    "pinverse": "linalg.pinv",
    "promote_types": "result_type",
    "row_stack": "vstack",
    "sgn": "sign",
    "split_with_sizes": "split",
    "swapdims": "swapaxes",
    "take_along_dim": "take_along_axis",
}
_WRITE_INTO_A_COPY = "y = x.clone(), then y[index] = values"
_EXPRESSIONS = {  # PyTorch's functions of tensors x and y, in functions that are here
    **{name: f"tt.{ours}" for name, ours in _NAMES.items()},
    **dict.fromkeys(("addmm", "baddbmm"), "beta * x + alpha * (a @ b)"),
    **dict.fromkeys(("atleast_1d", "atleast_2d", "atleast_3d"), "x[None], if an axis is missing"),
    **dict.fromkeys(("corrcoef", "cov"), "c @ c.T / (n - 1), of c = x - tt.mean(x, 1, True)"),
    **dict.fromkeys(("cummax", "cummin"), "numpy.maximum.accumulate(x.numpy(), axis)"),
    **dict.fromkeys(("gcd", "lcm"), "numpy.gcd(x.numpy(), y.numpy())"),
    **dict.fromkeys(("index_reduce", "scatter_reduce"), "tt.scatter_add(x, index, y, axis), if it is a sum"),
    **dict.fromkeys(("nanmedian", "nanquantile"), "tt.quantile(x[~tt.isnan(x)], 0.5)"),
    **dict.fromkeys(("std_mean", "var_mean"), "tt.std(x, axis, correction=1), tt.mean(x, axis)"),
    **dict.fromkeys(("hsplit", "vsplit", "dsplit", "tensor_split"), "tt.chunk(x, parts, axis)"),
    **dict.fromkeys(("trapezoid", "trapz"), "tt.sum(x[..., 1:] + x[..., :-1], -1) * (dx / 2)"),
    **dict.fromkeys(
        (
            *("diagonal_scatter", "index_copy", "index_fill", "index_put", "masked_scatter", "put"),
            *("select_scatter", "slice_scatter"),
        ),
        _WRITE_INTO_A_COPY,
    ),
    "addbmm": "beta * x + alpha * tt.sum(a @ b, 0)",
    "addcdiv": "x + value * y / z",
    "addcmul": "x + value * y * z",
    "addmv": "beta * x + alpha * (a @ v)",
    "addr": "beta * x + alpha * tt.outer(u, v)",
    "adjoint": "tt.conj(x.mT)",
    "aminmax": "tt.min(x, axis), tt.max(x, axis)",
    "angle": "tt.atan2(tt.imag(x), tt.real(x)), of a complex x",
    "block_diag": "tt.zeros(rows, columns), into whose blocks y[i:j, k:l] the matrices are written",
    "broadcast_shapes": "numpy.broadcast_shapes",
    "cartesian_prod": 'tt.stack(tt.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)',
    "chain_matmul": "a @ b @ c",
    "clamp_max": "tt.clip(x, max=most)",
    "clamp_min": "tt.clip(x, min=least)",
    "column_stack": "tt.stack(vectors, 1), or tt.concat(matrices, 1)",
    "combinations": "x[tt.tensor(list(itertools.combinations(range(n), 2)))]",
    "cumulative_trapezoid": "tt.cumulative_sum(x[..., 1:] + x[..., :-1], -1) * (dx / 2)",
    "deg2rad": "x * (math.pi / 180)",
    "diag_embed": "x[..., None] * tt.eye(n)",
    "diagflat": "tt.diag(x.flatten())",
    "dist": "tt.norm(x - y)",
    "dstack": "tt.stack(matrices, 2)",
    "exp2": "2.0**x",
    "fliplr": "tt.flip(x, 1)",
    "flipud": "tt.flip(x, 0)",
    "float_power": "x.double() ** y",
    "fmax": "tt.where(tt.isnan(y) | (x >= y), x, y)",
    "fmin": "tt.where(tt.isnan(y) | (x <= y), x, y)",
    "fmod": "x - y * tt.trunc(x / y)",
    "frac": "x - tt.trunc(x)",
    "histc": "numpy.histogram(x.numpy(), bins)[0]",
    "index_select": "tt.take(x, index, axis)",
    "inner": "x @ y.mT",
    "is_complex": 'x.dtype.kind == "complex"',
    "is_nonzero": "bool(x)",
    "is_same_size": "x.shape == y.shape",
    "is_signed": 'x.dtype.kind not in ("bool", "uint")',
    "isneginf": "x == -math.inf",
    "isposinf": "x == math.inf",
    "isreal": "tt.imag(x) == 0, of a complex x",
    "kron": "(x[:, None, :, None] * y[:, None]).flatten(2).flatten(0, 1)",
    "kthvalue": "tt.sort(x, -1)[..., k - 1]",
    "ldexp": "x * 2.0**y",
    "logaddexp2": "tt.logaddexp(x * math.log(2), y * math.log(2)) / math.log(2)",
    "logcumsumexp": "m + tt.log(tt.cumulative_sum(tt.exp(x - m), axis)), of the largest element m",
    "logdet": "tt.linalg.slogdet(x).logabsdet",
    "logit": "tt.log(x / (1 - x))",
    "logspace": "10.0 ** tt.linspace(start, stop, num)",
    "mode": "tt.unique_counts(x)",
    "msort": "tt.sort(x, 0)",
    "nanmean": "tt.mean(x[~tt.isnan(x)])",
    "nansum": "tt.sum(tt.where(tt.isnan(x), 0.0, x))",
    "pdist": "tt.cdist(x, x)[i, j], of i, j = tt.nonzero(tt.triu(tt.ones(n, n), 1))",
    "rad2deg": "x * (180 / math.pi)",
    "renorm": "x * tt.clip(maxnorm / norms, max=1.0), of norms = tt.norm(x, 2, axis, keepdims=True)",
    "rot90": "tt.flip(x.T, 0)",
    "rsub": "y - x",
    "sinc": "tt.where(x == 0, 1.0, tt.sin(math.pi * x) / (math.pi * x))",
    "unique_consecutive": "x[1:][x[1:] != x[:-1]], after x[:1]",
    "unravel_index": "index // columns, index % columns",
    "vander": "x[:, None] ** tt.arange(n - 1, -1, -1)",
    "vdot": "tt.vecdot(x, y)",
    "xlogy": "tt.where(x == 0, 0.0, x * tt.log(y))",
}
_OUT_OF_PLACE = (  # functions that are here, not in place
    *("acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "bitwise_and", "bitwise_left_shift"),
    *("bitwise_or", "bitwise_right_shift", "bitwise_xor", "copysign", "cosh", "cumprod", "cumsum", "divide"),
    *("eq", "erf", "erfc", "expm1", "floor_divide", "ge", "greater", "greater_equal", "gt", "heaviside"),
    *("hypot", "le", "less", "less_equal", "log10", "log1p", "log2", "logical_and", "logical_not"),
    *("logical_or", "logical_xor", "lt", "multiply", "ne", "negative", "nextafter", "not_equal"),
    *("remainder", "sinh", "subtract", "tan", "true_divide", "trunc"),
)
METHODS = {
    **_EXPRESSIONS,
    **{f"{name}_": f"x.copy_(result), of result = {text}" for name, text in _EXPRESSIONS.items()},
    **{f"{name}_": f"x.copy_(tt.{name}(…))" for name in _OUT_OF_PLACE},
    **dict.fromkeys(("byte", "cdouble", "cfloat", "char", "short"), "x.astype(tt.uint8), or another dtype"),
    **dict.fromkeys(
        ("index_copy_", "index_fill_", "index_put_", "masked_scatter_", "put_"), "x[index] = values"
    ),
    "bernoulli_": "x.copy_(tt.bernoulli(tt.full_like(x, p)))",
    "data_ptr": "x.numpy().ctypes.data on the CPU; x.shares_memory(y) compares",
    "detach_": "x.detach()",
    "element_size": "x.itemsize",
    "expand_as": "x.expand(y.shape)",
    "exponential_": "x.copy_(tt.log1p(-tt.rand(*x.shape)) / -rate)",
    "fill_diagonal_": "x.diagonal().fill_(value)",
    "get_device": "x.device",
    "grad_fn": "x.node",
    "ndimension": "x.ndim",
    "nelement": "x.size",
    "new_tensor": "tt.tensor(data, dtype=x.dtype, device=x.device)",
    "pin_memory": "tt.cuda.pinned(*x.shape, dtype=x.dtype).copy_(x), or tt.utils.data.DataLoader with "
    "pin_memory=True",
    "random_": "x.copy_(tt.randint(low, high, x.shape))",
    "reshape_as": "x.reshape(y.shape)",
    "share_memory_": "tt.asarray(array), the array of NumPy in multiprocessing.shared_memory",
    "storage_offset": "x.offset",
    "sum_to_size": "tt.sum(x, axis, keepdims=True)",
    "type": "x.astype(dtype), or x.dtype",
    "type_as": "x.to(y)",
    "view_as": "x.view(y.shape)",
    "where": "tt.where(condition, x, y)",
}
_NOT_YET = "not here yet: "
_AMP = "tt.autocast, and tt.optim.GradScaler for float16"
_MEMORY = "from tinytensor import lab; with lab.memory() as ledger: ..."
_INFO = "python -m tinytensor info, in a shell"
FUNCTIONS = {
    **_EXPRESSIONS,
    "DataLoader": "tt.utils.data.DataLoader",
    "FloatTensor": "tt.tensor(data, dtype=tt.float32)",
    "LongTensor": "tt.tensor(data, dtype=tt.int64)",
    "Size": "a tuple, as x.shape is",
    "amp": _AMP,
    "bce_with_logits": "tt.nn.functional.binary_cross_entropy_with_logits",
    "compile": f"{_NOT_YET}fused ops such as tt.linear_gelu and tt.capture, which replays a step, save calls",
    "digamma": "tt.asarray(scipy.special.psi(x.numpy()))",
    "distributions": f"{_NOT_YET}tt.normal, tt.multinomial and tt.bernoulli draw, tt.log_softmax has "
    "log-probabilities",
    "dtype": "tt.DType",
    "get_default_dtype": "tt.float32",
    "jit": f"{_NOT_YET}fused ops such as tt.linear_gelu and tt.capture, which replays a step, save calls",
    "jvp": "tt.func.jvp",
    "lgamma": "tt.asarray(scipy.special.gammaln(x.numpy()))",
    "lstsq": "tt.linalg.pinv(A) @ b",
    "multiprocessing": "multiprocessing of Python, which sends copies of tensors",
    "profiler": "from tinytensor import lab; with lab.profile() as profile: ...",
    "polar": "abs * tt.exp(1j * angle)",
    "polygamma": "tt.asarray(scipy.special.polygamma(n, x.numpy()))",
    "randint_like": "tt.randint(low, high, x.shape)",
    "random": "tt.manual_seed, tt.default_generator",
    "scalar_tensor": "tt.tensor(number)",
    "set_default_device": 'device="cuda" where a tensor is made, and model.to("cuda")',
    "set_default_dtype": "dtype=tt.float64 where a tensor is made, or model.to(tt.float64)",
    "set_float32_matmul_precision": "tt.config.tf32 = True, for products of float32 in TF32 on a device",
    "solve": "tt.linalg.solve",
    **{
        f"{part}_indices": f"tt.stack(tt.nonzero(tt.{part}(tt.ones(rows, columns), offset)))"
        for part in ("tril", "triu")
    },
    "unfold": "x.unfold(axis, size, step); tt.nn.functional.unfold has windows of images, as columns",
    "view_as_complex": "x[..., 0] + 1j * x[..., 1]",
    "view_as_real": "tt.stack([z.real, z.imag], -1)",
    "vmap": "tt.func.vmap",
}
_GONE = {  # rare functions of networks, in functions that are here
    **{f"adaptive_max_pool{n}d": f"tt.nn.functional.max_pool{n}d(x, size // parts)" for n in (1, 2)},
    "bilinear": 'tt.einsum("...i,oij,...j->...o", x, weight, y) + bias',
    "celu": "tt.nn.functional.elu(x / alpha) * alpha",
    **dict.fromkeys(("ctc_loss", "fold"), f"{_NOT_YET}tt.logsumexp and tt.scatter_add make it in a loop"),
    "channel_shuffle": "x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)",
    "cosine_embedding_loss": "tt.where(y == 1, 1 - cos, tt.relu(cos - margin)).mean()",
    "dropout1d": "x * tt.nn.functional.dropout(tt.ones(*x.shape[:2], 1), p, training)",
    "gaussian_nll_loss": "tt.mean(tt.log(var) + (x - y) ** 2 / var) / 2",
    "gumbel_softmax": "tt.softmax((x - tt.log(-tt.log(tt.rand(*x.shape)))) / tau, -1)",
    "hardshrink": "tt.where(tt.abs(x) > lambd, x, 0.0)",
    "hardsigmoid": "tt.clip(x / 6 + 0.5, 0, 1)",
    "hinge_embedding_loss": "tt.mean(tt.where(y == 1, x, tt.relu(margin - x)))",
    "instance_norm": "tt.nn.functional.group_norm(x, x.shape[1])",
    "interpolate": "tt.repeat(tt.repeat(x, 2, -2), 2, -1), for images of twice the size",
    "margin_ranking_loss": "tt.mean(tt.relu(margin - y * (x1 - x2)))",
    "pairwise_distance": "tt.norm(x - y, 2, -1)",
    "pixel_shuffle": "x.unflatten(1, (-1, r, r)).permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3)",
    "pixel_unshuffle": "tt.nn.functional.unfold(x, r, stride=r).unflatten(2, (-1, width // r))",
    "poisson_nll_loss": "tt.mean(tt.exp(x) - y * x)",
    "prelu": "tt.where(x > 0, x, weight * x)",
    "soft_margin_loss": "tt.mean(tt.softplus(-y * x))",
    "softmin": "tt.softmax(-x, axis)",
    "softshrink": "tt.sign(x) * tt.relu(tt.abs(x) - lambd)",
    "tanhshrink": "x - tt.tanh(x)",
    "threshold": "tt.where(x > threshold, x, value)",
    "triplet_margin_loss": "tt.mean(tt.relu(margin + tt.norm(x - near, 2, -1) - tt.norm(x - far, 2, -1)))",
}
NN = {
    **{name: _GONE[name.lower()] for name in ("CELU", "Hardshrink", "Hardsigmoid", "Softmin", "Softshrink")},
    **{name: _GONE[name.lower()] for name in ("Tanhshrink", "Threshold")},
    **{f"AdaptiveMaxPool{n}d": _GONE[f"adaptive_max_pool{n}d"] for n in (1, 2)},
    "Bilinear": _GONE["bilinear"],
    "CosineEmbeddingLoss": _GONE["cosine_embedding_loss"],
    "Dropout1d": _GONE["dropout1d"],
    "GaussianNLLLoss": _GONE["gaussian_nll_loss"],
    "HingeEmbeddingLoss": _GONE["hinge_embedding_loss"],
    **{f"InstanceNorm{n}d": "tt.nn.GroupNorm(channels, channels, affine=False)" for n in (1, 2)},
    "MarginRankingLoss": _GONE["margin_ranking_loss"],
    "PairwiseDistance": _GONE["pairwise_distance"],
    "PReLU": _GONE["prelu"],
    "PixelShuffle": _GONE["pixel_shuffle"],
    "PixelUnshuffle": _GONE["pixel_unshuffle"],
    "PoissonNLLLoss": _GONE["poisson_nll_loss"],
    "SoftMarginLoss": _GONE["soft_margin_loss"],
    "TripletMarginLoss": _GONE["triplet_margin_loss"],
    **dict.fromkeys(
        [
            f"{kind}Pad{n}d"
            for kind in ("Circular", "Constant", "Reflection", "Replication", "Zero")
            for n in (1, 2)
        ],
        "tt.nn.functional.pad, in forward",
    ),
    "CTCLoss": _GONE["ctc_loss"],
    "Fold": _GONE["fold"],
    "Softmax2d": "tt.nn.Softmax(dim=-3)",
    "Upsample": _GONE["interpolate"],
    **dict.fromkeys(
        ("DataParallel", "parallel"),
        "from tinytensor.distributed import DataParallel, for several processes",
    ),
    **dict.fromkeys(("LazyConv2d", "LazyLinear"), "tt.nn.Linear or tt.nn.Conv2d, with the number of inputs"),
    "MultiHeadAttention": "tt.nn.MultiheadAttention, whose masks exclude where they are True",
    "BatchNorm3d": f"{_NOT_YET}tt.nn.BatchNorm1d of x.flatten(2)",
    "Conv3d": f"{_NOT_YET}tt.nn.Conv1d and tt.nn.Conv2d",
}
FUNCTIONAL = {
    **_GONE,
    "multi_head_attention_forward": "tt.nn.MultiheadAttention",
}
OPTIM = {
    **dict.fromkeys(
        ("ASGD", "Adadelta", "Adagrad", "Adamax", "NAdam", "RAdam", "Rprop"),
        f"{_NOT_YET}tt.optim.Adam, tt.optim.RMSprop and others; tt.optim.Optimizer is the base of one's own",
    ),
    "LBFGS": f"{_NOT_YET}scipy.optimize.minimize takes tt.func.value_and_grad, with numbers of NumPy",
    "swa_utils": "w += (p - w) * 0.001 for each parameter p and its average w, under tt.no_grad()",
}
SCHEDULERS = dict.fromkeys(
    ("CyclicLR", "MultiplicativeLR", "OneCycleLR"),
    f"{_NOT_YET}tt.optim.lr_scheduler.LambdaLR takes any function of the epoch, "
    "tt.optim.lr_scheduler.SequentialLR one scheduler after the other",
)
AUTOGRAD = {
    "Variable": "tt.tensor(data, requires_grad=True)",
    "forward_ad": "tt.func.jvp",
    "functional": "tt.func",
    "no_grad": "tt.no_grad",
    "profiler": "from tinytensor import lab; with lab.profile() as profile: ...",
    "set_detect_anomaly": "with tt.detect_anomaly(): ...",
}
_CAPTURE = 'step = tt.capture(function, device="cuda"), then step.replay()'
CUDA = {
    **dict.fromkeys(
        ("max_memory_allocated", "memory_allocated", "memory_reserved", "reset_peak_memory_stats"), _MEMORY
    ),
    **dict.fromkeys(("get_device_name", "get_device_properties", "get_device_capability"), _INFO),
    **dict.fromkeys(("set_device", "current_device"), 'x.to("cuda:1"); each tensor knows its x.device'),
    "CUDAGraph": _CAPTURE,
    "Event": f"{_NOT_YET}tt.cuda.synchronize before a clock of Python is read",
    "amp": _AMP,
    "graph": _CAPTURE,
}
FFT = {
    **{f"{name}2": f"tt.fft.{name}n(x, axes=(-2, -1))" for name in ("fft", "ifft", "rfft", "irfft")},
}
FUNC = {
    "grad_and_value": "tt.func.value_and_grad, whose result has the value first",
    "linearize": "tt.func.jvp",
    "make_functional": "tt.func.functional_call",
}
LINALG = {
    **dict.fromkeys(
        ("eig", "eigvals"),
        f"{_NOT_YET}tt.linalg.eigh and tt.linalg.eigvalsh take symmetric matrices; numpy.linalg takes others",
    ),
    "lstsq": "tt.linalg.pinv(A) @ b",
    "multi_dot": "a @ b @ c",
    "solve_triangular": "tt.linalg.solve",
}
NN_ATTENTION = {
    "SDPBackend": "nothing: the engine chooses the kernel of tt.nn.functional.scaled_dot_product_attention",
    "flex_attention": "tt.nn.functional.scaled_dot_product_attention, with attn_mask in place of a score_mod",
    "sdpa_kernel": "nothing: the engine chooses the kernel of tt.nn.functional.scaled_dot_product_attention",
}
NN_UTILS = {
    **dict.fromkeys(
        ("parametrizations", "parametrize", "spectral_norm", "weight_norm"),
        f"{_NOT_YET}compute the weight in forward, and pass it to tt.nn.functional.linear",
    ),
    "parameters_to_vector": "tt.concat([p.flatten() for p in parameters])",
    "vector_to_parameters": "p.copy_(part.reshape(p.shape)) of tt.split(vec, sizes), under tt.no_grad()",
    "rnn": f"{_NOT_YET}tt.nn.LSTM takes sequences of one length; tt.nn.functional.pad lengthens them",
}
UTILS = {
    "checkpoint": "tt.checkpoint",
    "tensorboard": "from tensorboardX import SummaryWriter",
}
DATA = {
    "ChainDataset": "yield from one; yield from other, in __iter__ of a tt.utils.data.IterableDataset",
    "DistributedSampler": "tt.utils.data.Subset(dataset, range(rank, len(dataset), ranks))",
    "get_worker_info": "nothing: a DataLoader makes batches in its own process",
    "StackDataset": "tt.utils.data.TensorDataset, or a dataset whose __getitem__ returns a tuple",
    "SubsetRandomSampler": "shuffle=True of tt.utils.data.Subset(dataset, indices)",
}
BACKENDS = {
    "cudnn": "nothing: there is no cuDNN here, and no choice between its kernels",
}
MODULE = {
    "add_module": "setattr(m, name, module), or m.name = module",
    "get_parameter": "dict(m.named_parameters())[name]",
    "register_module": "setattr(m, name, module), or m.name = module",
}

_KEYWORDS = {
    **dict.fromkeys(("dim", "dimension"), ("axis",)),
    "dim0": ("axis1",),
    "dim1": ("axis2",),  # of transpose; of diagonal it is axis1
    "dim2": ("axis2",),
    "diagonal": ("k",),
    "dims": ("axis", "axes"),
    "end": ("stop",),
    "exponent": ("b",),
    "f": ("path",),
    "in_axes": ("in_dims",),  # these two are JAX's
    "index": ("indices",),
    "keepdim": ("keepdims",),
    "m": ("n_cols",),
    "map_location": ("device",),
    "mat2": ("b",),
    "n": ("n_rows",),
    "other": ("b",),
    "out_axes": ("out_dims",),
    "shifts": ("shift",),
    "size": ("shape", "sizes"),
    "steps": ("num",),
    "tensors": ("arrays",),
    "unbiased": ("correction",),
}
"""PyTorch's keywords, and what they are called here; `input` is the first argument, whatever its name."""


_CHOSEN = ((None, False), "leave it out: the step is computed in the one way that is here")
_IN_PROCESS = (
    "leave it out: batches are made in this process; make slow samples once, in a file for np.memmap"
)
_REDUCED = ((None,), 'reduction="mean", "sum" or "none" of a loss; tt.scatter_add, if scatter should add')
_ABSENT: dict[str, tuple[tuple[Any, ...], str]] = {
    **dict.fromkeys(("foreach", "fused"), _CHOSEN),
    **dict.fromkeys(("kdim", "vdim"), ((None,), "a tt.nn.Linear before it, which gives embed_dim channels")),
    **dict.fromkeys(("reduce", "size_average"), _REDUCED),
    "add_bias_kv": ((False,), "leave it out"),
    "alpha": ((1,), "y * alpha, in place of y"),
    "add_zero_attn": ((False,), "leave it out"),
    "amsgrad": ((False,), "leave it out: the steps are those of Adam without the maximum"),
    "ceil_mode": ((False,), "tt.nn.functional.pad before, so that the windows end with the input"),
    "beta": ((1, 1.0), "{name}(beta * x) / beta"),
    "capturable": ((False,), "leave it out: tt.capture replays the steps of every optimizer"),
    "decoupled_weight_decay": ((False,), "tt.optim.AdamW"),
    "differentiable": ((False,), "tt.func.grad, and p - lr * g in operations that are recorded"),
    "dilation": ((1,), "leave it out: the elements of a window are neighbors"),
    "divisor_override": ((None,), "leave it out: the mean is that of the elements of a window"),
    "dtype": ((None,), "x.astype(dtype), in place of x"),
    "enable_nested_tensor": ((True, False), "leave it out"),
    "in_order": ((True,), "leave it out: batches come in the order of the sampler"),
    "inplace": ((False,), "leave it out: the result is a new tensor"),
    "last_epoch": ((-1,), "load_state_dict of the optimizer and of the scheduler, which go on"),
    "mask_check": ((True, False), "leave it out"),
    "max_norm": ((None,), "scale the rows of the weight that are too long, under tt.no_grad()"),
    "maximize": ((False,), "(-loss).backward(): the least of -loss is the greatest of loss"),
    "norm_type": ((2, 2.0), "leave it out: norms here are of order 2"),
    **dict.fromkeys(("multiprocessing_context", "prefetch_factor", "worker_init_fn"), ((None,), _IN_PROCESS)),
    **dict.fromkeys(("num_workers", "persistent_workers", "timeout"), ((0, False), _IN_PROCESS)),
    "out": ((None,), "y.copy_({name}(...)), or y[...] = {name}(...)"),
    "padding_mode": (("zeros",), "leave it out: there is nothing around the input but zeros"),
    "proj_size": ((0,), "a tt.nn.Linear behind it"),
    "return_indices": ((False,), "leave it out: a pool returns values"),
    "right": ((False,), 'side="right"'),
    "requires_grad": ((False,), "tt.{name}(..., dtype=tt.float32).requires_grad_(), of a floating dtype"),
    "out_int32": ((False,), "x.astype(tt.int32), in place of x, the result"),
    "pin_memory_device": (("",), "leave it out: pin_memory=True pins for the GPU in use"),
    "threshold": ((20, 20.0), "leave it out: it is exact everywhere"),
    "scale_grad_by_freq": ((False,), "leave it out"),
    "sorted": ((True, False), "leave it out"),
    "sparse": ((False,), "leave it out: gradients are dense"),
    "verbose": ((False, "deprecated"), "print(scheduler.get_last_lr()) after scheduler.step()"),
}
"""Keywords of PyTorch that functions here have not: the values that change nothing, and what to do instead of
others.
"""
_PLAIN = (str, bool, int, float, type(None))  # types of such values; others, such as tensors, need no ==

_CORRECTION = "x.{name}(axis=1, correction=1) divides by n - 1, as PyTorch does, x.{name}(axis=1) by n"
_PLACES = "x.{name}(axis=1) has the values, x.{places}(axis=1) their positions"
_DIFFERS = {
    "equal": "(x == y).all() is one bool for both tensors; tt.equal(x, y) has one for each element",
    "max": _PLACES.format(name="max", places="argmax") + "; tt.maximum(x, y) the larger of two tensors",
    "min": _PLACES.format(name="min", places="argmin") + "; tt.minimum(x, y) the smaller of two tensors",
    "sort": _PLACES.format(name="sort", places="argsort"),
    "std": _CORRECTION.format(name="std"),
    "var": _CORRECTION.format(name="var"),
}
"""Functions whose result in PyTorch is another one, so that its keywords are refused: both spellings."""
_SAID = ("correction", "unbiased")  # with one of these, a call of std or var says what it means


def translate_keywords(
    function: Callable[..., Any], name: str, count: int, given: Mapping[str, Any]
) -> dict[str, Any]:
    """The keywords of a call with `count` other arguments, PyTorch's in our words: `dim` is `axis`. Those of
    no effect (`out=None`) are left out.

    Raises:
        ArgumentError: the keyword would mean something else here, or has a value that is not here.
    """
    ours = _parameters(function)
    if ours is None:
        return dict(given)
    found: dict[str, Any] = {}
    for word, value in given.items():
        key = word if word in ours else _ours(word, ours)
        if key is None and word in _ABSENT:
            if isinstance(value, _PLAIN) and value in _ABSENT[word][0]:
                continue
            made = word != "requires_grad" or "device" in ours
            raise ArgumentError(
                f"{name}: the argument {word} is not here",
                why=f"it is an argument of PyTorch; the arguments here are {', '.join(ours)}",
                fix=_ABSENT[word][1].format(name=name) if made else "x.requires_grad_(), where x is made",
            )
        if word not in ours and function.__name__ in _DIFFERS and word in (*_KEYWORDS, "input"):
            said = any([w in ours and (w in given or count > ours.index(w)) for w in _SAID])
            if not said and "unbiased" not in given:
                raise ArgumentError(
                    f"{name}: the argument {word} is PyTorch's, where {name} means something else",
                    why="a keyword does not change what a name means",
                    fix=f"write which one is meant: {_DIFFERS[function.__name__]}",
                )
        key = key or word
        if key in found:
            raise ArgumentError(
                f"{name}: {key} is given twice", why=f"{word} is {key}", fix=f"leave out {word}"
            )
        found[key] = int(value) if word == "unbiased" else value
    return found


@functools.lru_cache(maxsize=1024)  # reading a signature takes longer than most calls
def _parameters(function: Callable[..., Any]) -> tuple[str, ...] | None:
    """The names of its parameters; None if it takes any."""
    parameters = inspect.signature(function).parameters
    if any([p.kind is p.VAR_KEYWORD for p in parameters.values()]):
        return None
    return tuple([name for name, p in parameters.items() if p.kind is not p.VAR_POSITIONAL])


def _ours(word: str, names: tuple[str, ...]) -> str | None:
    """The parameter, among these, that PyTorch calls `word`."""
    if word == "input" and names:
        return names[names[0] == "condition"]  # the first, but the second of `where`
    if word == "dim1" and "offset" in names:
        return "axis1"
    return next((name for name in _KEYWORDS.get(word, ()) if name in names), None)


def missing(module: str, names: Mapping[str, str], name: str) -> NoReturn:
    """Raise for a missing attribute of a package: with the name here if known, or a similar one."""
    short = module.replace("tinytensor.interop", "tt").replace("tinytensor", "tt")
    if name in names:
        raise named_otherwise(f"{short}.{name}", names[name])
    public = [] if name.startswith("_") else getattr(sys.modules[module], "__all__", [])
    if near := nearest(name, public, 0.7):
        raise MissingNameError(
            f"{short}.{name}: there is no such name",
            why=f"it is not one of the public names of {module}",
            fix=f"did you mean {short}.{near}?",
        )
    raise AttributeError(f"module {module!r} has no attribute {name!r}")


def named_otherwise(name: str, ours: str) -> MissingNameError:
    """The error for a PyTorch name, with its tinytensor equivalent."""
    return MissingNameError(
        f"{name}: there is no such name",
        why="it is a PyTorch name; names here follow the array API or are descriptive",
        fix=ours if ours.startswith(_NOT_YET) else f"write {ours}",
    )


class RenamedMethod:
    """Descriptor of a missing PyTorch tensor method: access raises an error that names the equivalent."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, obj: object, owner: type) -> NoReturn:
        raise named_otherwise(f"x.{self.name}", METHODS[self.name])
