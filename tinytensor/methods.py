"""The methods of `Tensor`: binds functions of the op modules as methods and operators.

At run time the methods are copied into `Tensor`; for type checkers `Methods` is its base class.
"""

# mypy: disable-error-code=misc
# (the `self` of a function below is a Tensor, of which `Methods` is a base class to type checkers only)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinytensor import display
from tinytensor.argument_checks import has_options, with_argument_errors
from tinytensor.argument_errors import METHODS, RenamedMethod
from tinytensor.autograd.graph import Node
from tinytensor.device import Device
from tinytensor.dispatch.elementwise import reflected
from tinytensor.dispatch.record import requires
from tinytensor.dtypes import BY_NAME
from tinytensor.errors import DTypeError, MissingNameError, ShapeError
from tinytensor.interop import array_api, conversion, copying, numpy_protocols, pytorch
from tinytensor.interop.pytorch import written
from tinytensor.ops.elementwise import (
    activation,
    arithmetic,
    bitwise,
    comparison,
    exponential,
    power,
    rounding,
    sign_and_complex,
    trigonometric,
)
from tinytensor.ops.elementwise.gelu import gelu, silu
from tinytensor.ops.indexing import gathering, indexing, masking
from tinytensor.ops.inplace import copy_, in_place
from tinytensor.ops.joining import joining
from tinytensor.ops.matmul import einsum
from tinytensor.ops.matmul.matmul import matmul, outer
from tinytensor.ops.nn.softmax import log_softmax, softmax
from tinytensor.ops.random import sampling
from tinytensor.ops.reductions import min_max, reduction, scan, sorting, statistics
from tinytensor.ops.views import device_transfer, manipulation, slicing
from tinytensor.tensor import Tensor, is_tensor
from tinytensor.transforms import gradients


def _attribute(call: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A property that not all tensors have: then hasattr is False, and `inspect.getmembers` goes on."""
    try:
        return call(x)
    except (DTypeError, ShapeError) as error:
        raise MissingNameError(error.what, why=error.why, fix=error.fix) from None


class Methods:
    """Methods of `Tensor`, grouped by the module that defines them."""

    __slots__ = ()

    __add__ = add = arithmetic.add
    __sub__ = sub = subtract = arithmetic.subtract
    __mul__ = mul = multiply = arithmetic.multiply
    __truediv__ = divide = true_divide = arithmetic.divide
    __floordiv__ = floor_divide = arithmetic.floor_divide
    __mod__ = remainder = arithmetic.remainder
    __neg__ = neg = negative = arithmetic.negative
    __pos__ = positive = arithmetic.positive
    __radd__ = reflected(arithmetic.add)
    __rsub__ = reflected(arithmetic.subtract)
    __rmul__ = reflected(arithmetic.multiply)
    __rtruediv__ = reflected(arithmetic.divide)
    __rfloordiv__ = reflected(arithmetic.floor_divide)
    __rmod__ = reflected(arithmetic.remainder)
    __iadd__ = add_ = in_place(arithmetic.add)
    __isub__ = sub_ = in_place(arithmetic.subtract)
    __imul__ = mul_ = in_place(arithmetic.multiply)
    __itruediv__ = div_ = in_place(arithmetic.divide)
    __ifloordiv__ = in_place(arithmetic.floor_divide)
    __imod__ = in_place(arithmetic.remainder)
    neg_ = in_place(arithmetic.negative)
    clip = clamp = arithmetic.clip
    clip_ = clamp_ = arithmetic.clip_
    zero_ = arithmetic.zero_
    copy_ = fill_ = copy_
    maximum = arithmetic.maximum
    minimum = arithmetic.minimum

    __abs__ = abs = sign_and_complex.abs
    sign = sign_and_complex.sign
    conj = sign_and_complex.conj
    copysign = sign_and_complex.copysign
    nextafter = sign_and_complex.nextafter
    abs_ = in_place(sign_and_complex.abs)
    sign_ = in_place(sign_and_complex.sign)

    @property
    def real(self: Tensor) -> Tensor:
        """The real part; the tensor itself if it is real."""
        return sign_and_complex.real(self)

    @property
    def imag(self: Tensor) -> Tensor:
        """The imaginary part, a real tensor; real tensors have no such attribute."""
        return _attribute(sign_and_complex.imag, self)

    __pow__ = pow = power.pow
    __rpow__ = reflected(power.pow)
    __ipow__ = pow_ = in_place(power.pow)
    square = power.square
    reciprocal = power.reciprocal
    sqrt = power.sqrt
    rsqrt = power.rsqrt
    hypot = power.hypot
    square_ = in_place(power.square)
    reciprocal_ = in_place(power.reciprocal)
    sqrt_ = in_place(power.sqrt)
    rsqrt_ = in_place(power.rsqrt)

    exp = exponential.exp
    expm1 = exponential.expm1
    log = exponential.log
    log1p = exponential.log1p
    log2 = exponential.log2
    log10 = exponential.log10
    logaddexp = exponential.logaddexp
    tanh = exponential.tanh
    sigmoid = exponential.sigmoid
    softplus = exponential.softplus
    erf = exponential.erf
    erfc = exponential.erfc
    exp_ = in_place(exponential.exp)
    log_ = in_place(exponential.log)
    tanh_ = in_place(exponential.tanh)
    sigmoid_ = in_place(exponential.sigmoid)

    sin = trigonometric.sin
    cos = trigonometric.cos
    tan = trigonometric.tan
    asin = trigonometric.asin
    acos = trigonometric.acos
    atan = trigonometric.atan
    atan2 = trigonometric.atan2
    sinh = trigonometric.sinh
    cosh = trigonometric.cosh
    asinh = trigonometric.asinh
    acosh = trigonometric.acosh
    atanh = trigonometric.atanh
    sin_ = in_place(trigonometric.sin)
    cos_ = in_place(trigonometric.cos)

    relu = activation.relu
    heaviside = activation.heaviside
    relu_ = in_place(activation.relu)

    gelu = gelu
    silu = silu

    __ceil__ = ceil = rounding.ceil
    __floor__ = floor = rounding.floor
    __trunc__ = trunc = rounding.trunc
    __round__ = round = rounding.round
    ceil_ = in_place(rounding.ceil)
    floor_ = in_place(rounding.floor)
    round_ = in_place(rounding.round)

    __eq__ = comparison._eq
    __ne__ = comparison._ne
    __lt__ = less = lt = comparison.less
    __le__ = less_equal = le = comparison.less_equal
    __gt__ = greater = gt = comparison.greater
    __ge__ = greater_equal = ge = comparison.greater_equal
    equal = eq = comparison.equal
    not_equal = ne = comparison.not_equal
    logical_and = comparison.logical_and
    logical_or = comparison.logical_or
    logical_xor = comparison.logical_xor
    logical_not = comparison.logical_not
    isfinite = comparison.isfinite
    isinf = comparison.isinf
    isnan = comparison.isnan
    isclose = comparison.isclose
    allclose = comparison.allclose
    signbit = comparison.signbit

    __and__ = bitwise_and = bitwise.bitwise_and
    __or__ = bitwise_or = bitwise.bitwise_or
    __xor__ = bitwise_xor = bitwise.bitwise_xor
    __lshift__ = bitwise_left_shift = bitwise.bitwise_left_shift
    __rshift__ = bitwise_right_shift = bitwise.bitwise_right_shift
    __invert__ = bitwise.bitwise_invert
    __rand__ = reflected(bitwise.bitwise_and)
    __ror__ = reflected(bitwise.bitwise_or)
    __rxor__ = reflected(bitwise.bitwise_xor)
    __rlshift__ = reflected(bitwise.bitwise_left_shift)
    __rrshift__ = reflected(bitwise.bitwise_right_shift)
    __iand__ = in_place(bitwise.bitwise_and)
    __ior__ = in_place(bitwise.bitwise_or)
    __ixor__ = in_place(bitwise.bitwise_xor)
    __ilshift__ = in_place(bitwise.bitwise_left_shift)
    __irshift__ = in_place(bitwise.bitwise_right_shift)

    sum = reduction.sum
    mean = reduction.mean
    prod = reduction.prod

    max = min_max.max
    min = min_max.min
    argmax = min_max.argmax
    argmin = min_max.argmin
    any = min_max.any
    all = min_max.all
    count_nonzero = min_max.count_nonzero

    var = statistics.var
    std = statistics.std
    logsumexp = statistics.logsumexp
    norm = pytorch.norm

    cumulative_sum = scan.cumulative_sum
    cumulative_prod = scan.cumulative_prod
    diff = scan.diff

    sort = sorting.sort
    argsort = sorting.argsort
    topk = sorting.topk

    __matmul__ = matmul
    __rmatmul__ = reflected(matmul)
    matmul = matmul

    trace = einsum.trace

    softmax = softmax
    log_softmax = log_softmax

    __getitem__ = indexing.getitem
    __setitem__ = indexing.setitem

    take = gathering.take
    gather = gathering.gather
    scatter_add = gathering.scatter_add
    nonzero = pytorch.nonzero

    tril = masking.tril
    triu = masking.triu
    masked_fill = masking.masked_fill

    @property
    def T(self: Tensor) -> Tensor:  # noqa: N802 - the name that NumPy and the array API give it
        """View with all axes reversed; for matrices, the transpose."""
        return manipulation.permute(self, tuple(range(len(self.layout.shape) - 1, -1, -1)))

    @property
    def mT(self: Tensor) -> Tensor:  # noqa: N802
        """View with the last two axes swapped; tensors of fewer axes have no such attribute."""
        return _attribute(manipulation.matrix_transpose, self)

    def reshape(self: Tensor, *shape: Any, copy: bool | None = None) -> Tensor:
        """See `tt.reshape`; sizes may be given one by one."""
        one = len(shape) == 1 and not isinstance(shape[0], int)
        return manipulation.reshape(self, shape[0] if one else shape, copy=copy)

    def to(
        self: Tensor,
        target: Any = None,
        dtype: Any = None,
        *,
        device: Any = None,
        copy: bool = False,
        non_blocking: bool = False,
    ) -> Tensor:
        """The tensor on another device or in another dtype; itself if nothing changes.

        Args:
            target: a device ("cpu", "cuda", "emulated", "checked"), a dtype, or a tensor that has both.
            dtype, device: the same by name; x.to("cuda", tt.float16) gives both.
            copy: a new tensor even if nothing changes.
            non_blocking: PyTorch's; changes nothing here.

        Raises:
            DeviceError: the device is not available.

        >>> tt.ones(2).to("cpu").to(tt.float64).dtype
        tinytensor.float64
        >>> tt.ones(2).to(device="cpu", dtype=tt.float16).dtype
        tinytensor.float16
        """
        if is_tensor(target):
            device, dtype = target.storage.device, target.storage.dtype
        elif isinstance(target, Device) or (isinstance(target, str) and target not in BY_NAME):
            device = target
        elif target is not None:
            dtype = target
        x = self if device is None else device_transfer.transfer(self, device_transfer.present(device, "to"))
        x = x if dtype is None else manipulation.astype(x, dtype, copy=False)
        return manipulation.clone(x) if copy and x is self else x

    cpu = device_transfer.to_cpu
    cuda = device_transfer.to_cuda
    to_device = device_transfer.to_device
    astype = manipulation.astype
    clone = manipulation.clone
    contiguous = manipulation.contiguous
    detach = manipulation.detach
    permute = manipulation.permute
    transpose = manipulation.transpose
    moveaxis = manipulation.moveaxis
    expand = manipulation.expand
    broadcast_to = manipulation.broadcast_to
    flip = manipulation.flip
    squeeze = manipulation.squeeze
    unsqueeze = manipulation.unsqueeze
    view = manipulation.view_as_shape

    diagonal = slicing.diagonal
    unfold = slicing.unfold
    as_strided = slicing.as_strided

    split = joining.split
    chunk = joining.chunk
    unbind = joining.unbind

    repeat = joining.repeat
    tile = joining.tile
    roll = joining.roll

    backward = gradients.backward
    register_hook = gradients.register_hook
    register_post_accumulate_grad_hook = gradients.register_post_accumulate_grad_hook
    retain_grad = gradients.retain_grad
    requires_grad_ = gradients.requires_grad_

    @property
    def grad(self: Tensor) -> Tensor | None:
        """The gradient accumulated by `backward`, or None."""
        return self._grad

    @grad.setter
    def grad(self: Tensor, new: Tensor | None) -> None:
        gradients.set_gradient(self, new)

    @property
    def requires_grad(self: Tensor) -> bool:
        """Whether gradients are computed for this tensor; a view inherits it from its base."""
        return requires(self)

    @requires_grad.setter
    def requires_grad(self: Tensor, on: bool) -> None:
        gradients.requires_grad_(self, on)

    @property
    def is_leaf(self: Tensor) -> bool:
        """Whether the tensor is a leaf of the graph: not the result of a recorded op."""
        return gradients.is_leaf(self)

    @property
    def node(self: Tensor) -> Node | None:
        """The graph node of the op that computed the tensor, or None."""
        return gradients.node_of(self)

    item = conversion.item
    tolist = conversion.tolist
    __float__ = conversion.as_float
    __int__ = conversion.as_int
    __complex__ = conversion.as_complex
    __bool__ = conversion.as_bool
    __index__ = conversion.as_index
    __format__ = conversion.formatted
    __contains__ = conversion.contains
    __iter__ = joining.iterate
    __array_namespace__ = array_api.array_namespace
    # to_numpy is what matplotlib asks for, else hist(x) takes rows for columns
    numpy = to_numpy = conversion.numpy
    __array__ = conversion.as_array
    __array_ufunc__ = numpy_protocols.ufunc
    __array_function__ = numpy_protocols.function
    __dlpack__ = conversion.dlpack
    __dlpack_device__ = conversion.dlpack_device
    __cuda_array_interface__ = property(conversion.cuda_array_interface)

    __repr__ = display.represent
    explain = display.explain
    _repr_html_ = display.in_notebook

    __reduce__ = copying.reduced
    __copy__ = copying.shallow
    __deepcopy__ = copying.deep

    # PyTorch's names, by the module of the function
    bernoulli = sampling.bernoulli
    multinomial = sampling.multinomial
    cumprod = scan.cumulative_prod
    cumsum = scan.cumulative_sum
    dot = mm = bmm = mv = matmul
    movedim = manipulation.moveaxis
    swapaxes = manipulation.transpose
    outer = outer

    div = pytorch.div
    lerp = pytorch.lerp
    nan_to_num = pytorch.nan_to_num
    amax = pytorch.amax
    amin = pytorch.amin
    bincount = pytorch.bincount
    isin = pytorch.isin
    median = pytorch.median
    quantile = pytorch.quantile
    unique = pytorch.unique
    flatten = pytorch.flatten
    narrow = pytorch.narrow
    ravel = pytorch.ravel
    repeat_interleave = pytorch.repeat_interleave
    select = pytorch.select
    t = pytorch.t
    unflatten = pytorch.unflatten
    argwhere = pytorch.argwhere
    index_add = pytorch.index_add
    masked_select = pytorch.masked_select
    scatter = pytorch.scatter
    diag = pytorch.diag
    is_floating_point = pytorch.is_floating_point
    new_empty = pytorch.new_empty
    new_full = pytorch.new_full
    new_ones = pytorch.new_ones
    new_zeros = pytorch.new_zeros
    normal_ = pytorch.normal_
    stride = pytorch.stride
    uniform_ = pytorch.uniform_
    dim = pytorch.dim
    numel = pytorch.numel

    # in place, from the result of a function
    lerp_ = written(pytorch.lerp)
    nan_to_num_ = written(pytorch.nan_to_num)
    index_add_ = written(pytorch.index_add)
    scatter_ = written(pytorch.scatter)
    scatter_add_ = written(gathering.scatter_add)
    masked_fill_ = written(masking.masked_fill)
    tril_ = written(masking.tril)
    triu_ = written(masking.triu)

    data = property(pytorch.data_of, pytorch.set_data)

    @property
    def is_cuda(self: Tensor) -> bool:
        """Whether the tensor is on a GPU."""
        return self.storage.device.type == "cuda"

    # the dtypes come last, since they hide built-in names from annotations
    bfloat16 = pytorch.as_bfloat16
    double = pytorch.as_float64
    half = pytorch.as_float16
    long = pytorch.as_int64
    bool = pytorch.as_bool
    float = pytorch.as_float32
    int = pytorch.as_int32

    def __dir__(self: Tensor) -> list[str]:
        return [name for name in object.__dir__(self) if name not in METHODS]


def _bind() -> None:
    for name, attribute in vars(Methods).items():
        if name not in ("__module__", "__slots__", "__doc__", "__dict__", "__weakref__", "__hash__"):
            setattr(Tensor, name, attribute)
    for name in dir(Tensor):
        method: Any = None if name.startswith("_") else getattr(Tensor, name)
        if has_options(method, behind=1) or name in ("add", "add_", "sub", "sub_"):  # alpha, …
            method = with_argument_errors(method)
            setattr(Tensor, name, method)
        if hasattr(method, "__wrapped__") or "<locals>" in getattr(method, "__qualname__", ""):
            method.__module__, method.__qualname__ = "tinytensor", f"Tensor.{name}"  # for pickle
    for name in METHODS:  # not by __getattr__, which would slow down every attribute access
        setattr(Tensor, name, RenamedMethod(name))


_bind()
