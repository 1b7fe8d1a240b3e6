"""Clear errors for names and keywords of PyTorch that have another name in tinytensor.

Successful calls never look up these tables: Tensor has a descriptor for each name, packages have a
`__getattr__`, which Python calls only for missing attributes.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, NoReturn

from tinytensor.errors import ArgumentError, MissingNameError

__all__ = [
    "AUTOGRAD",
    "FUNCTIONAL",
    "FUNCTIONS",
    "METHODS",
    "MODULE",
    "NN",
    "OPTIM",
    "Elsewhere",
    "missing",
    "named_otherwise",
    "other_keyword",
]

_DTYPES = {
    **{"double": "float64", "float": "float32", "half": "float16"},
    **{"long": "int64", "int": "int32", "short": "int16", "byte": "uint8"},
}
# As a method and as a function.
_BOTH = {
    "absolute": "x.abs()",
    "amax": "x.max(axis)",
    "amin": "x.min(axis)",
    "bmm": "a @ b",
    "clamp": "x.clip(low, high)",
    "cumprod": "x.cumulative_prod(axis)",
    "cumsum": "x.cumulative_sum(axis)",
    "div": "x / y",
    "dot": "a @ b",
    "eq": "x == y",
    "flatten": "x.reshape(-1)",
    "ge": "x >= y",
    "gt": "x > y",
    "index_select": "x.take(indices, axis)",
    "le": "x <= y",
    "lt": "x < y",
    "masked_select": "x[mask]",
    "mm": "a @ b",
    "mul": "x * y",
    "mv": "a @ b",
    "narrow": "x[start : start + length]",
    "ne": "x != y",
    "neg": "-x",
    "repeat_interleave": "x.repeat(repeats, axis)",
    "sub": "x - y",
    "swapaxes": "x.transpose(axis1, axis2)",
    "t": "x.T",
}
METHODS = {
    **_BOTH,
    **{name: f"x.astype(tt.{ours})" for name, ours in _DTYPES.items()},
    **{name: f"x.astype(tt.{name})" for name in ("bfloat16", "bool")},
    "data": "x.detach(); to change it in place: with tt.no_grad(): x -= step",
    "data_ptr": "x.numpy().ctypes.data on the CPU; x.shares_memory(y) compares",
    "detach_": "x.detach()",
    "dim": "x.ndim",
    "element_size": "x.itemsize",
    "expand_as": "x.expand(y.shape)",
    "grad_fn": "x.node",
    "is_cuda": 'x.device.type == "cuda"',
    "is_floating_point": "x.dtype.is_floating",
    "masked_fill_": "x.copy_(tt.masked_fill(x, mask, value)), or x[mask] = value for a mask of x's own shape",
    "ndimension": "x.ndim",
    "nelement": "x.size",
    "new_zeros": "tt.zeros(shape, dtype=x.dtype, device=x.device)",
    "normal_": "tt.nn.init.normal_(x)",
    "scatter_": "x[rows, index] = values, with an index tensor for each axis",
    "reshape_as": "x.reshape(y.shape)",
    "scatter_add_": "x.scatter_add(index, values, axis)",
    "storage_offset": "x.offset",
    "stride": "x.strides",
    "type": "x.astype(dtype), or x.dtype",
    "type_as": "x.astype(y.dtype)",
    "uniform_": "tt.nn.init.uniform_(x)",
    "unflatten": "x.reshape(shape)",
    "view_as": "x.view(y.shape)",
}
_NOT_YET = "not here yet: "
_FILES = "tt.nn.Module.state_dict, and NumPy or safetensors to write it: see docs/from_pytorch.md"
FUNCTIONS = {
    **_BOTH,
    **{name: f"tt.{ours}" for name, ours in _DTYPES.items()},
    "FloatTensor": "tt.tensor(data, dtype=tt.float32)",
    "LongTensor": "tt.tensor(data, dtype=tt.int64)",
    "Size": "a tuple, as x.shape is",
    "compile": f"{_NOT_YET}fused ops such as tt.linear_gelu and tt.capture, which replays a step, save calls",
    "as_tensor": "tt.asarray(data)",
    "concatenate": "tt.concat(tensors, axis=0)",
    "device": 'tt.Device("cpu"), or the name alone: tt.ones(3, device="cpu")',
    "hstack": "tt.concat(tensors, axis=1)",
    "jit": f"{_NOT_YET}fused ops such as tt.linear_gelu and tt.capture, which replays a step, save calls",
    "is_tensor": "isinstance(x, tt.Tensor)",
    "load": _FILES,
    "numel": "x.size",
    "rand_like": "tt.rand(x.shape)",
    "randn_like": "tt.randn(x.shape)",
    "randperm": "tt.permutation(n)",
    "save": _FILES,
    "set_default_dtype": "dtype=tt.float64 where a tensor is made, or model.to(tt.float64)",
    "vmap": f"{_NOT_YET}ops broadcast, so a batch is one more axis in front",
    "utils": "tt.optim.clip_grad_norm_, tt.checkpoint; batches are slices of a tensor",
    "vstack": "tt.concat(tensors, axis=0)",
}
NN = {
    **dict.fromkeys(
        ("BatchNorm1d", "BatchNorm2d"), f"{_NOT_YET}tt.nn.LayerNorm and tt.nn.RMSNorm normalize each row"
    ),
    **dict.fromkeys(
        ("GRU", "LSTM", "RNN"),
        f"{_NOT_YET}a step is tt.nn.Linear, tt.sigmoid and tt.tanh in a loop over time",
    ),
    "BCEWithLogitsLoss": "tt.bce_with_logits",
    "Identity": "tt.nn.Sequential()",
    "LogSoftmax": "tt.log_softmax(x, axis)",
    "MaxPool1d": "tt.max_pool1d",
    "MultiheadAttention": "tt.nn.MultiHeadAttention",
    "NLLLoss": "tt.nll_loss",
    "Softplus": "tt.softplus",
    "utils": "tt.optim.clip_grad_norm_(parameters, max_norm)",
}
FUNCTIONAL = {
    "batch_norm": f"{_NOT_YET}layer_norm, rms_norm and group_norm normalize each example",
    "bilinear": 'tt.einsum("bi,oij,bj->bo", x1, weight, x2)',
    "ctc_loss": f"{_NOT_YET}tt.logaddexp sums over alignments, in a loop over time",
    "gumbel_softmax": "tt.softmax(x - tt.log(-tt.log(tt.rand(*x.shape))), -1)",
    "interpolate": f"{_NOT_YET}x.repeat(2, axis) for each axis of the image doubles it (mode nearest)",
    "multi_head_attention_forward": "tt.nn.MultiHeadAttention",
}
OPTIM = {
    "lr_scheduler": "tt.optim.schedule",
}
AUTOGRAD = {
    "Function": "tt.Function",
    "Variable": "tt.tensor(data, requires_grad=True)",
    "detect_anomaly": "tt.detect_anomaly",
    "functional": "tt.grad",
    "grad": "tt.grad",
    "gradcheck": "tt.gradcheck",
}
MODULE = {
    **{device: f'm.to("{device}")' for device in ("cuda", "cpu")},
    **{word: f"m.to(tt.{_DTYPES[word]})" for word in ("double", "float", "half")},
    "add_module": "setattr(m, name, module), or m.name = module",
    "bfloat16": "m.to(tt.bfloat16)",
    "get_parameter": "dict(m.named_parameters())[name]",
    "register_module": "setattr(m, name, module), or m.name = module",
}

_KEYWORDS = {"dim": "axis", "keepdim": "keepdims", "dims": "axis", "input": "x", "other": "b"}
_KEYWORDS |= {"diagonal": "k", "unbiased": "correction", "size": "shape"}
_NUMBERED = ("dim0", "dim1", "dim2")


def missing(module: str, names: Mapping[str, str], name: str) -> NoReturn:
    """Raise for a missing attribute of a package (in its `__getattr__`), with the name here if known, or a
    similar one.
    """
    short = module.replace("tinytensor", "tt")
    if name in names:
        raise named_otherwise(f"{short}.{name}", names[name])
    public = [] if name.startswith("_") else getattr(sys.modules[module], "__all__", [])
    if near := get_close_matches(name, public, n=1, cutoff=0.7):
        raise MissingNameError(
            f"{short}.{name}: there is no such name",
            why=f"it is not one of the public names of {module}",
            fix=f"did you mean {short}.{near[0]}?",
        )
    raise AttributeError(f"module {module!r} has no attribute {name!r}")


def named_otherwise(name: str, ours: str) -> MissingNameError:
    """The error for a PyTorch name, with its tinytensor equivalent."""
    return MissingNameError(
        f"{name}: there is no such name",
        why="it is a PyTorch name; names here follow the array API or are descriptive",
        fix=ours if ours.startswith(_NOT_YET) else f"write {ours}",
    )


class Elsewhere:
    """Descriptor of a missing PyTorch tensor method: access raises an error that names the equivalent."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, obj: object, owner: type) -> NoReturn:
        raise named_otherwise(f"x.{self.name}", METHODS[self.name])


def other_keyword(function: Callable[..., Any], given: Mapping[str, Any]) -> ArgumentError | None:
    """The error for a call with a PyTorch keyword; None if there was none."""
    signature = inspect.signature(function)
    ours = list(signature.parameters)
    if "requires_grad" in given and "requires_grad" not in ours:
        return ArgumentError(
            f"{function.__name__}: there is no argument requires_grad",
            why=f"the arguments are {', '.join(ours)}",
            fix="mark the result, of a floating dtype: "
            f"tt.{function.__name__}(..., dtype=tt.float32).requires_grad_()",
        )
    several = {name for name, p in signature.parameters.items() if p.kind is p.VAR_POSITIONAL}
    wrong = [word for word in given if word in (*_KEYWORDS, *_NUMBERED) and word not in ours]
    if not wrong:
        return None
    values = {
        **given,
        **{word: int(given[word]) for word in wrong if type(given[word]) is bool and word == "unbiased"},
    }
    known = [(_KEYWORDS.get(word, ""), values[word]) for word in wrong]
    pairs = ", ".join(
        f"*{value!r}" if name in several else f"{name}={value!r}"
        for name, value in known
        if name in ours and type(value) in _SHORT
    )
    return ArgumentError(
        f"{function.__name__}: there is no argument {', '.join(wrong)}",
        why=f"the arguments are {', '.join(ours)}, as in NumPy and the array API",
        fix=f"write {pairs or ', '.join(ours)}",
    )


_SHORT = (bool, int, tuple, list)
