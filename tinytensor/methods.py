"""The methods of `Tensor`: binds functions of the op modules as methods and operators.

At run time the methods are copied into `Tensor`; for type checkers `Methods` is its base class.
"""

# mypy: disable-error-code=misc
# (the `self` of a function below is a Tensor, of which `Methods` is a base class to type checkers only)

from __future__ import annotations

from typing import Any

from tinytensor import display
from tinytensor.argument_checks import guarded, has_options
from tinytensor.argument_errors import METHODS, Elsewhere
from tinytensor.autograd.graph import Node
from tinytensor.device import Device
from tinytensor.dispatch.elementwise import reflected
from tinytensor.dispatch.record import requires
from tinytensor.dtypes import BY_NAME
from tinytensor.interop import array_api, conversion, copying, numpy_protocols, pytorch_names
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
from tinytensor.ops.reductions import min_max, reduction, scan, sorting, statistics
from tinytensor.ops.views import device_transfer, manipulation, slicing
from tinytensor.tensor import Tensor, is_tensor
from tinytensor.transforms import gradients


class Methods:
    """Methods of `Tensor`, grouped by the module that defines them."""

    __slots__ = ()

    # elementwise/arithmetic
    __add__ = arithmetic.add
    __sub__ = arithmetic.subtract
    __mul__ = arithmetic.multiply
    __truediv__ = arithmetic.divide
    __floordiv__ = arithmetic.floor_divide
    __mod__ = arithmetic.remainder
    __neg__ = arithmetic.negative
    __pos__ = arithmetic.positive
    __radd__ = reflected(arithmetic.add)
    __rsub__ = reflected(arithmetic.subtract)
    __rmul__ = reflected(arithmetic.multiply)
    __rtruediv__ = reflected(arithmetic.divide)
    __rfloordiv__ = reflected(arithmetic.floor_divide)
    __rmod__ = reflected(arithmetic.remainder)
    __iadd__ = add_ = in_place(arithmetic.Add, "x + y")
    __isub__ = sub_ = in_place(arithmetic.Subtract, "x - y")
    __imul__ = mul_ = in_place(arithmetic.Multiply, "x * y")
    __itruediv__ = div_ = in_place(arithmetic.Divide, "x / y")
    __ifloordiv__ = in_place(arithmetic.FloorDivide, "x // y")
    __imod__ = in_place(arithmetic.Remainder, "x % y")
    neg_ = in_place(arithmetic.Negative, "-x")
    clip_ = arithmetic.clip_
    zero_ = arithmetic.zero_
    copy_ = fill_ = copy_
    clip = arithmetic.clip
    maximum = arithmetic.maximum
    minimum = arithmetic.minimum

    # elementwise/sign_and_complex
    __abs__ = sign_and_complex.abs
    abs = sign_and_complex.abs
    sign = sign_and_complex.sign
    conj = sign_and_complex.conj

    @property
    def real(self: Tensor) -> Tensor:
        """The real part; the tensor itself if it is real."""
        return sign_and_complex.real(self)

    @property
    def imag(self: Tensor) -> Tensor:
        """The imaginary part, a real tensor."""
        return sign_and_complex.imag(self)

    # elementwise/power
    __pow__ = power.pow
    __rpow__ = reflected(power.pow)
    __ipow__ = in_place(power.Pow, "x ** y")
    sqrt_ = in_place(power.Sqrt, "sqrt(x)")
    pow = power.pow
    square = power.square
    reciprocal = power.reciprocal
    sqrt = power.sqrt
    rsqrt = power.rsqrt

    # elementwise/exponential
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
    exp_ = in_place(exponential.Exp, "exp(x)")
    tanh_ = in_place(exponential.Tanh, "tanh(x)")

    # elementwise/trigonometric
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

    # elementwise/activation
    relu = activation.relu
    relu_ = in_place(activation.Relu, "max(x, 0)")

    # elementwise/gelu
    gelu = gelu
    silu = silu

    # elementwise/rounding
    __ceil__ = rounding.ceil
    __floor__ = rounding.floor
    __trunc__ = rounding.trunc
    __round__ = rounding.round
    ceil = rounding.ceil
    floor = rounding.floor
    trunc = rounding.trunc
    round = rounding.round

    # elementwise/comparison
    __eq__ = comparison._eq
    __ne__ = comparison._ne
    __lt__ = comparison.less
    __le__ = comparison.less_equal
    __gt__ = comparison.greater
    __ge__ = comparison.greater_equal
    equal = comparison.equal
    not_equal = comparison.not_equal
    less = comparison.less
    less_equal = comparison.less_equal
    greater = comparison.greater
    greater_equal = comparison.greater_equal
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

    # elementwise/bitwise
    __and__ = bitwise.bitwise_and
    __or__ = bitwise.bitwise_or
    __xor__ = bitwise.bitwise_xor
    __lshift__ = bitwise.bitwise_left_shift
    __rshift__ = bitwise.bitwise_right_shift
    __invert__ = bitwise.bitwise_invert
    __rand__ = reflected(bitwise.bitwise_and)
    __ror__ = reflected(bitwise.bitwise_or)
    __rxor__ = reflected(bitwise.bitwise_xor)
    __rlshift__ = reflected(bitwise.bitwise_left_shift)
    __rrshift__ = reflected(bitwise.bitwise_right_shift)
    __iand__ = in_place(bitwise.BitwiseAnd, "x & y")
    __ior__ = in_place(bitwise.BitwiseOr, "x | y")
    __ixor__ = in_place(bitwise.BitwiseXor, "x ^ y")
    __ilshift__ = in_place(bitwise.BitwiseLeftShift, "x << y")
    __irshift__ = in_place(bitwise.BitwiseRightShift, "x >> y")

    # reductions/reduction
    sum = reduction.sum
    mean = reduction.mean
    prod = reduction.prod

    # reductions/min_max
    max = min_max.max
    min = min_max.min
    argmax = min_max.argmax
    argmin = min_max.argmin
    any = min_max.any
    all = min_max.all
    count_nonzero = min_max.count_nonzero

    # reductions/statistics
    var = statistics.var
    std = statistics.std
    logsumexp = statistics.logsumexp
    norm = statistics.norm

    # reductions/scan
    cumulative_sum = scan.cumulative_sum
    cumulative_prod = scan.cumulative_prod
    diff = scan.diff

    # reductions/sorting
    sort = sorting.sort
    argsort = sorting.argsort
    topk = sorting.topk
    unique = sorting.unique

    # matmul/matmul
    __matmul__ = matmul
    __rmatmul__ = reflected(matmul)
    matmul = matmul

    # matmul/einsum
    trace = einsum.trace

    # nn/softmax
    softmax = softmax
    log_softmax = log_softmax

    # indexing/indexing
    __getitem__ = indexing.getitem
    __setitem__ = indexing.setitem

    # indexing/gathering
    take = gathering.take
    gather = gathering.gather
    scatter_add = gathering.scatter_add
    nonzero = gathering.nonzero

    # indexing/masking
    tril = masking.tril
    triu = masking.triu
    masked_fill = masking.masked_fill

    # views/manipulation
    @property
    def T(self: Tensor) -> Tensor:  # noqa: N802 - the name that NumPy and the array API give it
        """View with all axes reversed; for matrices, the transpose."""
        return manipulation.permute(self, tuple(range(len(self.layout.shape) - 1, -1, -1)))

    @property
    def mT(self: Tensor) -> Tensor:  # noqa: N802
        """View with the last two axes swapped."""
        return manipulation.matrix_transpose(self)

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

        Example:
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

    # views/slicing
    diagonal = slicing.diagonal
    unfold = slicing.unfold
    as_strided = slicing.as_strided

    split = joining.split
    chunk = joining.chunk
    unbind = joining.unbind

    # joining/joining
    repeat = joining.repeat
    tile = joining.tile
    roll = joining.roll

    # transforms/gradients
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

    # interop.conversion
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
    numpy = conversion.numpy
    __array__ = conversion.as_array
    __array_ufunc__ = numpy_protocols.ufunc
    __array_function__ = numpy_protocols.function
    __dlpack__ = conversion.dlpack
    __dlpack_device__ = conversion.dlpack_device
    __cuda_array_interface__ = property(conversion.cuda_array_interface)

    # display
    __repr__ = display.represent
    explain = display.explain
    _repr_html_ = display.in_notebook

    __reduce__ = copying.reduced
    __copy__ = copying.shallow
    __deepcopy__ = copying.deep

    # pytorch_names; the dtypes come last, since they hide built-in names from annotations
    absolute = sign_and_complex.abs
    add = arithmetic.add
    addcdiv = pytorch_names.addcdiv
    addcmul = pytorch_names.addcmul
    addmm = addmv = baddbmm = pytorch_names.addmm
    amax = pytorch_names.amax
    amin = pytorch_names.amin
    argwhere = pytorch_names.argwhere
    clamp = arithmetic.clip
    clamp_ = arithmetic.clip_
    clamp_max = pytorch_names.clamp_max
    clamp_min = pytorch_names.clamp_min
    cumprod = scan.cumulative_prod
    cumsum = scan.cumulative_sum
    dim = ndimension = pytorch_names.dim
    div = pytorch_names.div
    divide = true_divide = arithmetic.divide
    dot = mm = bmm = mv = matmul
    element_size = pytorch_names.element_size
    eq = comparison.equal
    expand_as = pytorch_names.expand_as
    flatten = pytorch_names.flatten
    floor_divide = arithmetic.floor_divide
    ge = comparison.greater_equal
    gt = comparison.greater
    index_select = pytorch_names.index_select
    is_floating_point = pytorch_names.is_floating_point
    le = comparison.less_equal
    lerp = pytorch_names.lerp
    lt = comparison.less
    masked_fill_ = pytorch_names.masked_fill_
    masked_select = pytorch_names.masked_select
    movedim = manipulation.moveaxis
    mul = multiply = arithmetic.multiply
    nan_to_num = pytorch_names.nan_to_num
    narrow = pytorch_names.narrow
    ne = comparison.not_equal
    neg = negative = arithmetic.negative
    nelement = pytorch_names.nelement
    new_empty = pytorch_names.new_empty
    new_full = pytorch_names.new_full
    new_ones = pytorch_names.new_ones
    new_tensor = pytorch_names.new_tensor
    new_zeros = pytorch_names.new_zeros
    outer = ger = outer
    ravel = pytorch_names.ravel
    remainder = arithmetic.remainder
    repeat_interleave = pytorch_names.repeat_interleave
    reshape_as = pytorch_names.reshape_as
    scatter_add_ = pytorch_names.scatter_add_
    select = pytorch_names.select
    storage_offset = pytorch_names.storage_offset
    stride = pytorch_names.stride
    sub = subtract = arithmetic.subtract
    swapaxes = swapdims = manipulation.transpose
    t = pytorch_names.t
    type_as = pytorch_names.type_as
    unflatten = pytorch_names.unflatten
    view_as = pytorch_names.view_as

    @property
    def is_cuda(self: Tensor) -> bool:
        """Whether the tensor is on a GPU."""
        return self.storage.device.type == "cuda"

    bfloat16 = pytorch_names.as_bfloat16
    byte = pytorch_names.as_uint8
    double = pytorch_names.as_float64
    half = pytorch_names.as_float16
    long = pytorch_names.as_int64
    short = pytorch_names.as_int16
    bool = pytorch_names.as_bool
    float = pytorch_names.as_float32
    int = pytorch_names.as_int32

    def __dir__(self: Tensor) -> list[str]:
        return [name for name in object.__dir__(self) if name not in METHODS]


def _bind() -> None:
    for name, attribute in vars(Methods).items():
        if name not in ("__module__", "__slots__", "__doc__", "__dict__", "__weakref__", "__hash__"):
            setattr(Tensor, name, attribute)
    for name in dir(Tensor):
        if not name.startswith("_") and has_options(method := getattr(Tensor, name), behind=1):
            setattr(Tensor, name, guarded(method))
    for name in METHODS:  # not by __getattr__, which would slow down every attribute access
        setattr(Tensor, name, Elsewhere(name))


_bind()
