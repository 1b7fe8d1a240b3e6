"""tinytensor: a tensor engine that a person can see through."""

from typing import TYPE_CHECKING

from tinytensor import cuda, errors
from tinytensor.argument_errors import FUNCTIONS as _FUNCTIONS
from tinytensor.argument_errors import missing as _missing
from tinytensor.autograd.backward import Node
from tinytensor.autograd.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from tinytensor.boundary import guarded as _guarded
from tinytensor.boundary import has_options as _has_options
from tinytensor.config import config
from tinytensor.creation import (
    asarray,
    empty,
    empty_like,
    from_dlpack,
    from_numpy,
    full,
    full_like,
    ones,
    ones_like,
    tensor,
    zeros,
    zeros_like,
)
from tinytensor.device import Device
from tinytensor.dtypes import (
    DType,
    bfloat16,
    can_cast,
    complex64,
    complex128,
    finfo,
    float16,
    float32,
    float64,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    isdtype,
    result_type,
    uint8,
    uint16,
    uint32,
    uint64,
)
from tinytensor.dtypes import bool_ as bool
from tinytensor.errors import (
    AllocationError,
    ArgumentError,
    DeviceError,
    DTypeError,
    FormatError,
    GradError,
    IndexRangeError,
    KernelError,
    NumberRangeError,
    ShapeError,
    TinyTensorError,
)
from tinytensor.generator import Generator, default_generator, initial_seed, manual_seed
from tinytensor.layout import Layout
from tinytensor.namespace import __array_api_version__ as __array_api_version__
from tinytensor.namespace import __array_namespace_info__ as __array_namespace_info__
from tinytensor.namespace import e, inf, nan, newaxis, pi
from tinytensor.ops.attention.attention import scaled_dot_product_attention
from tinytensor.ops.attention.cached_attention import cached_self_attention
from tinytensor.ops.attention.causal_self_attention import causal_self_attention
from tinytensor.ops.elementwise.activation import heaviside, relu
from tinytensor.ops.elementwise.arithmetic import (
    add,
    clip,
    divide,
    floor_divide,
    maximum,
    minimum,
    multiply,
    negative,
    positive,
    remainder,
    subtract,
)
from tinytensor.ops.elementwise.bitwise import (
    bitwise_and,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
)
from tinytensor.ops.elementwise.comparison import (
    allclose,
    equal,
    greater,
    greater_equal,
    isclose,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    not_equal,
    signbit,
    where,
)
from tinytensor.ops.elementwise.exponential import (
    erf,
    exp,
    expm1,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    sigmoid,
    softplus,
    tanh,
)
from tinytensor.ops.elementwise.gelu import gelu, silu
from tinytensor.ops.elementwise.power import hypot, pow, reciprocal, rsqrt, sqrt, square
from tinytensor.ops.elementwise.rounding import ceil, floor, round, trunc
from tinytensor.ops.elementwise.sign_and_complex import (
    abs,
    conj,
    copysign,
    imag,
    nextafter,
    real,
    sign,
)
from tinytensor.ops.elementwise.trigonometric import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    cos,
    cosh,
    sin,
    sinh,
    tan,
)
from tinytensor.ops.indexing.gathering import (
    gather,
    nonzero,
    one_hot,
    scatter_add,
    take,
    take_along_axis,
)
from tinytensor.ops.indexing.masking import masked_fill, tril, triu
from tinytensor.ops.joining.joining import (
    broadcast_arrays,
    cat,
    concat,
    meshgrid,
    repeat,
    roll,
    stack,
    tile,
)
from tinytensor.ops.joining.padding import pad
from tinytensor.ops.matmul.convolution import (
    avg_pool1d,
    avg_pool2d,
    conv1d,
    conv2d,
    max_pool1d,
    max_pool2d,
)
from tinytensor.ops.matmul.einsum import einsum, tensordot, trace, vecdot
from tinytensor.ops.matmul.linear_gelu import linear_gelu
from tinytensor.ops.matmul.matmul import linear, matmul, outer
from tinytensor.ops.nn.cross_entropy import cross_entropy
from tinytensor.ops.nn.dropout import dropout
from tinytensor.ops.nn.embedding import embedding
from tinytensor.ops.nn.layer_norm import layer_norm
from tinytensor.ops.nn.loss import bce_with_logits, mse_loss, nll_loss
from tinytensor.ops.nn.rms_norm import rms_norm
from tinytensor.ops.nn.softmax import log_softmax, softmax
from tinytensor.ops.optim.adamw import adamw_hyper, adamw_step, grad_norm
from tinytensor.ops.optim.multi_tensor import scale_all_, zero_all_
from tinytensor.ops.random.random import normal, rand, randint, randn, uniform
from tinytensor.ops.random.sampling import bernoulli, multinomial, permutation
from tinytensor.ops.reductions.min_max import all, any, argmax, argmin, count_nonzero, max, min
from tinytensor.ops.reductions.reduction import mean, prod, sum
from tinytensor.ops.reductions.scan import cumulative_prod, cumulative_sum, diff
from tinytensor.ops.reductions.sorting import (
    argsort,
    searchsorted,
    sort,
    topk,
    unique,
    unique_all,
    unique_counts,
    unique_inverse,
    unique_values,
)
from tinytensor.ops.reductions.statistics import (
    logsumexp,
    matrix_norm,
    norm,
    std,
    var,
    vector_norm,
)
from tinytensor.ops.views.axes import expand_dims, matrix_transpose, moveaxis, permute_dims
from tinytensor.ops.views.manipulation import (
    astype,
    broadcast_to,
    clone,
    contiguous,
    detach,
    expand,
    flip,
    permute,
    reshape,
    squeeze,
    transpose,
    unsqueeze,
)
from tinytensor.ops.views.slicing import as_strided, diagonal, unfold
from tinytensor.ops.views.splitting import chunk, split, unbind
from tinytensor.ops.views.splitting import unbind as unstack
from tinytensor.runtime.cpu.threads import get_num_threads, set_num_threads
from tinytensor.sequences import arange, eye, linspace
from tinytensor.storage import Storage
from tinytensor.tensor import Tensor
from tinytensor.transforms.anomaly import detect_anomaly
from tinytensor.transforms.autocast import autocast, is_autocast_enabled
from tinytensor.transforms.capture import CapturedGraph, before_replay, capture
from tinytensor.transforms.checkpoint import checkpoint
from tinytensor.transforms.function import Function
from tinytensor.transforms.gradcheck import gradcheck, gradgradcheck
from tinytensor.transforms.gradients import grad

__version__ = "0.1.0"

# last, because layers and optimizers are written with the names above
from tinytensor import nn, optim

__all__ = [
    "AllocationError",
    "ArgumentError",
    "CapturedGraph",
    "DType",
    "DTypeError",
    "Device",
    "DeviceError",
    "FormatError",
    "Function",
    "Generator",
    "GradError",
    "IndexRangeError",
    "KernelError",
    "Layout",
    "Node",
    "NumberRangeError",
    "ShapeError",
    "Storage",
    "Tensor",
    "TinyTensorError",
    "abs",
    "acos",
    "acosh",
    "adamw_hyper",
    "adamw_step",
    "add",
    "all",
    "allclose",
    "any",
    "arange",
    "argmax",
    "argmin",
    "argsort",
    "as_strided",
    "asarray",
    "asin",
    "asinh",
    "astype",
    "atan",
    "atan2",
    "atanh",
    "autocast",
    "avg_pool1d",
    "avg_pool2d",
    "bce_with_logits",
    "before_replay",
    "bernoulli",
    "bfloat16",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "bool",
    "broadcast_arrays",
    "broadcast_to",
    "cached_self_attention",
    "can_cast",
    "capture",
    "cat",
    "causal_self_attention",
    "ceil",
    "checkpoint",
    "chunk",
    "clip",
    "clone",
    "complex64",
    "complex128",
    "concat",
    "config",
    "conj",
    "contiguous",
    "conv1d",
    "conv2d",
    "copysign",
    "cos",
    "cosh",
    "count_nonzero",
    "cross_entropy",
    "cuda",
    "cumulative_prod",
    "cumulative_sum",
    "default_generator",
    "detach",
    "detect_anomaly",
    "diagonal",
    "diff",
    "divide",
    "dropout",
    "e",
    "einsum",
    "embedding",
    "empty",
    "empty_like",
    "enable_grad",
    "equal",
    "erf",
    "errors",
    "exp",
    "expand",
    "expand_dims",
    "expm1",
    "eye",
    "finfo",
    "flip",
    "float16",
    "float32",
    "float64",
    "floor",
    "floor_divide",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "gather",
    "gelu",
    "get_num_threads",
    "grad",
    "grad_norm",
    "gradcheck",
    "gradgradcheck",
    "greater",
    "greater_equal",
    "heaviside",
    "hypot",
    "iinfo",
    "imag",
    "inf",
    "inference_mode",
    "initial_seed",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_autocast_enabled",
    "is_grad_enabled",
    "isclose",
    "isdtype",
    "isfinite",
    "isinf",
    "isnan",
    "layer_norm",
    "less",
    "less_equal",
    "linear",
    "linear_gelu",
    "linspace",
    "log",
    "log1p",
    "log2",
    "log10",
    "log_softmax",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "logsumexp",
    "manual_seed",
    "masked_fill",
    "matmul",
    "matrix_norm",
    "matrix_transpose",
    "max",
    "max_pool1d",
    "max_pool2d",
    "maximum",
    "mean",
    "meshgrid",
    "min",
    "minimum",
    "moveaxis",
    "mse_loss",
    "multinomial",
    "multiply",
    "nan",
    "negative",
    "newaxis",
    "nextafter",
    "nll_loss",
    "nn",
    "no_grad",
    "nonzero",
    "norm",
    "normal",
    "not_equal",
    "one_hot",
    "ones",
    "ones_like",
    "optim",
    "outer",
    "pad",
    "permutation",
    "permute",
    "permute_dims",
    "pi",
    "positive",
    "pow",
    "prod",
    "rand",
    "randint",
    "randn",
    "real",
    "reciprocal",
    "relu",
    "remainder",
    "repeat",
    "reshape",
    "result_type",
    "rms_norm",
    "roll",
    "round",
    "rsqrt",
    "scale_all_",
    "scaled_dot_product_attention",
    "scatter_add",
    "searchsorted",
    "set_grad_enabled",
    "set_num_threads",
    "sigmoid",
    "sign",
    "signbit",
    "silu",
    "sin",
    "sinh",
    "softmax",
    "softplus",
    "sort",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "subtract",
    "sum",
    "take",
    "take_along_axis",
    "tan",
    "tanh",
    "tensor",
    "tensordot",
    "tile",
    "topk",
    "trace",
    "transpose",
    "tril",
    "triu",
    "trunc",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "unbind",
    "unfold",
    "uniform",
    "unique",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
    "unsqueeze",
    "unstack",
    "var",
    "vecdot",
    "vector_norm",
    "where",
    "zero_all_",
    "zeros",
    "zeros_like",
]

for _name in __all__:  # at the border, wrong arguments are named; see boundary.py
    _thing = globals()[_name]
    if getattr(_thing, "__module__", "").startswith("tinytensor.ops.") or _has_options(_thing):
        globals()[_name] = _guarded(_thing)
for _name in dir(Tensor):
    if not _name.startswith("_") and _has_options(_thing := getattr(Tensor, _name, None), behind=1):
        setattr(Tensor, _name, _guarded(_thing))
del _name, _thing

if not TYPE_CHECKING:  # a type checker shall miss what is missing
    globals().pop("device")  # the module; who calls tt.device means tt.Device

    def __getattr__(name):  # only for names that are not there
        _missing(__name__, _FUNCTIONS, name)
