"""The public names of tinytensor below `nn`: re-exports the `__all__` of the modules below.

`nn` and `optim` are built on top of this module; functions of networks are in `nn.functional`.
"""

from functools import cache as _cache
from typing import TYPE_CHECKING

from tinytensor import dtypes as _dtypes
from tinytensor import errors as errors
from tinytensor import methods as _methods  # noqa: F401 - binds the methods of Tensor
from tinytensor.argument_checks import has_options as _has_options
from tinytensor.argument_checks import with_argument_errors as _checked
from tinytensor.autograd.graph import *
from tinytensor.autograd.modes import *
from tinytensor.config import *
from tinytensor.creation import *
from tinytensor.device import *
from tinytensor.device import Device as _Device
from tinytensor.display import *
from tinytensor.dtypes import *
from tinytensor.errors import *
from tinytensor.generator import *
from tinytensor.interop.array_api import *
from tinytensor.interop.array_api import __array_api_version__ as __array_api_version__
from tinytensor.interop.array_api import __array_namespace_info__ as __array_namespace_info__
from tinytensor.interop.pytorch import *
from tinytensor.layout import *
from tinytensor.ops.attention.cached_attention import *
from tinytensor.ops.attention.causal_self_attention import *
from tinytensor.ops.elementwise.activation import *
from tinytensor.ops.elementwise.arithmetic import *
from tinytensor.ops.elementwise.bitwise import *
from tinytensor.ops.elementwise.comparison import *
from tinytensor.ops.elementwise.exponential import *
from tinytensor.ops.elementwise.gelu import *
from tinytensor.ops.elementwise.power import *
from tinytensor.ops.elementwise.rounding import *
from tinytensor.ops.elementwise.sign_and_complex import *
from tinytensor.ops.elementwise.trigonometric import *
from tinytensor.ops.indexing.gathering import *
from tinytensor.ops.indexing.masking import *
from tinytensor.ops.joining.joining import *
from tinytensor.ops.joining.joining import unbind as _unbind
from tinytensor.ops.matmul.einsum import *
from tinytensor.ops.matmul.linear_gelu import *
from tinytensor.ops.matmul.matmul import *
from tinytensor.ops.nn.add_norm import *
from tinytensor.ops.nn.dropout import *
from tinytensor.ops.nn.softmax import *
from tinytensor.ops.optim.adamw import *
from tinytensor.ops.optim.multi_tensor import *
from tinytensor.ops.quantized.dequantize import *
from tinytensor.ops.quantized.kinds import *
from tinytensor.ops.quantized.quantized_linear import *
from tinytensor.ops.random.random import *
from tinytensor.ops.random.sampling import *
from tinytensor.ops.reductions.min_max import *
from tinytensor.ops.reductions.reduction import *
from tinytensor.ops.reductions.scan import *
from tinytensor.ops.reductions.sorting import *
from tinytensor.ops.reductions.statistics import *
from tinytensor.ops.views.manipulation import *
from tinytensor.ops.views.slicing import *
from tinytensor.runtime.compile_reports import *
from tinytensor.runtime.cpu.kernels import *
from tinytensor.runtime.cpu.threads import *
from tinytensor.storage import *
from tinytensor.tensor import *
from tinytensor.transforms.anomaly import *
from tinytensor.transforms.autocast import *
from tinytensor.transforms.capture import *
from tinytensor.transforms.checkpoint import *
from tinytensor.transforms.function import *
from tinytensor.transforms.gradcheck import *
from tinytensor.transforms.gradients import *

bool, byte, short, int = _dtypes.bool_, _dtypes.uint8, _dtypes.int16, _dtypes.int32  # PyTorch's names
long, half, float, double = _dtypes.int64, _dtypes.float16, _dtypes.float32, _dtypes.float64
device = _Device
unstack = _unbind  # the array API's name

if not TYPE_CHECKING:  # type checkers follow the star imports
    __all__ = sorted(
        [name for name in globals() if not name.startswith("_") and name != "TYPE_CHECKING"]
        + ["__array_api_version__", "__array_namespace_info__"]
    )
    _checked = _cache(_checked)  # a function of two names is one function
    for _name in __all__:  # clear errors for wrong arguments: see argument_checks.py
        _thing = globals()[_name]
        _made = _name in ("arange", "empty", "eye", "full", "ones", "zeros")
        if getattr(_thing, "__module__", "").startswith("tinytensor.ops.") or _made or _has_options(_thing):
            globals()[_name] = _checked(_thing, module="tinytensor")
