"""Tensor: storage + layout + gradient. Methods come from the op families; here is the object itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from tinytensor.argument_errors import METHODS, Elsewhere
from tinytensor.autograd.backward import Node, Output
from tinytensor.autograd.hooks import LeafHooks
from tinytensor.device import Device, as_device, cpu
from tinytensor.dispatch import apply, elementwise, views
from tinytensor.dispatch import transfer as arrays
from tinytensor.dispatch.apply import edge_of, requires
from tinytensor.dispatch.transfer import arr, values
from tinytensor.dtypes import BY_NAME, DType
from tinytensor.errors import ArgumentError, DeviceError, DTypeError, GradError, ShapeError
from tinytensor.explain import ExplainMethods
from tinytensor.interop import ExchangeMethods
from tinytensor.layout import Layout
from tinytensor.namespace import __array_api_version__
from tinytensor.ops import inplace
from tinytensor.ops.elementwise.activation import ActivationMethods
from tinytensor.ops.elementwise.arithmetic import ArithmeticMethods
from tinytensor.ops.elementwise.bitwise import BitwiseMethods
from tinytensor.ops.elementwise.comparison import ComparisonMethods
from tinytensor.ops.elementwise.exponential import ExponentialMethods
from tinytensor.ops.elementwise.gelu import GeluMethods
from tinytensor.ops.elementwise.power import PowerMethods
from tinytensor.ops.elementwise.rounding import RoundingMethods
from tinytensor.ops.elementwise.sign_and_complex import PartsMethods
from tinytensor.ops.elementwise.trigonometric import TrigonometricMethods
from tinytensor.ops.indexing.gathering import GatheringMethods
from tinytensor.ops.indexing.indexing import IndexingMethods
from tinytensor.ops.indexing.masking import MaskingMethods
from tinytensor.ops.inplace import copy_
from tinytensor.ops.joining.joining import JoiningMethods
from tinytensor.ops.matmul.einsum import EinsumMethods
from tinytensor.ops.matmul.matmul import MatmulMethods
from tinytensor.ops.nn.softmax import SoftmaxMethods
from tinytensor.ops.reductions.min_max import ExtremesMethods
from tinytensor.ops.reductions.reduction import ReductionMethods
from tinytensor.ops.reductions.scan import ScanMethods
from tinytensor.ops.reductions.sorting import SortingMethods
from tinytensor.ops.reductions.statistics import StatisticsMethods
from tinytensor.ops.views.axes import AxesMethods, matrix_transpose
from tinytensor.ops.views.device_transfer import transfer
from tinytensor.ops.views.manipulation import ManipulationMethods, alias, permute, reshape
from tinytensor.ops.views.slicing import SlicingMethods
from tinytensor.ops.views.splitting import SplittingMethods
from tinytensor.representation import represent
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cpu.memory import NUMPY, Array, out_of_memory
from tinytensor.storage import Storage
from tinytensor.transforms.gradients import GradientMethods, check_gradient


class Tensor(
    ExchangeMethods,
    SoftmaxMethods,
    GeluMethods,
    GradientMethods,
    ArithmeticMethods,
    PartsMethods,
    PowerMethods,
    ComparisonMethods,
    BitwiseMethods,
    RoundingMethods,
    ExponentialMethods,
    TrigonometricMethods,
    ActivationMethods,
    ManipulationMethods,
    AxesMethods,
    ReductionMethods,
    MatmulMethods,
    IndexingMethods,
    GatheringMethods,
    EinsumMethods,
    SlicingMethods,
    SplittingMethods,
    JoiningMethods,
    ScanMethods,
    ExtremesMethods,
    MaskingMethods,
    SortingMethods,
    StatisticsMethods,
    ExplainMethods,
):
    """A flat buffer read through shape, strides and offset, with a place in the graph.

    Attributes:
        storage: the flat buffer; views share it.
        layout: shape, strides and offset, in elements.
        grad: the gradient that `backward` added up here, or None.

    Make tensors with `tt.tensor`, `tt.asarray`, `tt.zeros` and their like.

    Example:
        >>> x = tt.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad.tolist()
        [[2.0, 4.0], [6.0, 8.0]]
        >>> x.T.shares_memory(x), x.T.strides
        (True, (1, 2))
    """

    # _array: the NumPy view, built once; _requires, _edge: place in the graph; _base, _seen, _origin: of
    # views
    __slots__ = (
        "__weakref__",
        "_array",
        "_base",
        "_edge",
        "_grad",
        "_hooks",
        "_origin",
        "_parameter",
        "_requires",
        "_seen",
        "layout",
        "storage",
    )

    storage: Storage
    layout: Layout
    _grad: Tensor | None
    _array: Array | None
    _requires: bool
    _edge: Any
    _base: Tensor | None
    _seen: int
    _origin: str | None
    _hooks: LeafHooks | None
    _parameter: bool

    __array_ufunc__ = None  # ndarray * tensor reaches our reflected method, which says what to do
    __hash__ = object.__hash__

    def __init__(self, *_: object, **__: object) -> None:
        raise DTypeError(
            "Tensor: the class is not called directly",
            why="a tensor is made from data, or from a shape and a dtype",
            fix="tt.tensor([1.0, 2.0]), tt.asarray(array) or tt.zeros(2, 3)",
        )

    # ---- what it is ---------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.layout.shape

    @property
    def strides(self) -> tuple[int, ...]:
        """Steps of the axes through the storage, in elements."""
        return self.layout.strides

    @property
    def offset(self) -> int:
        """Position of the first element in the storage, in elements."""
        return self.layout.offset

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.layout.shape)

    @property
    def size(self) -> int:
        """Number of elements (the array API's name for `numel`)."""
        return self.layout.size

    @property
    def numel(self) -> int:
        """Number of elements."""
        return self.layout.size

    @property
    def dtype(self) -> DType:
        """Type of one element."""
        return self.storage.dtype

    @property
    def device(self) -> Device:
        """Where the bytes live."""
        return self.storage.device

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.storage.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of the elements; the storage behind a view may hold more or fewer."""
        return self.layout.size * self.storage.dtype.itemsize

    @property
    def version(self) -> int:
        """In-place writes to the storage so far."""
        return self.storage.version

    @property
    def base(self) -> Tensor | None:
        """The tensor that owns this view's memory; None if this one does."""
        return self._base

    def is_contiguous(self) -> bool:
        """Whether the elements lie densely in C order."""
        return self.layout.is_contiguous

    def shares_memory(self, other: Tensor) -> bool:
        """Whether some element of one is also an element of the other (exact)."""
        if self.storage.device is cpu and other.storage.device is cpu:
            return bool(self.layout.size and other.layout.size and np.shares_memory(arr(self), arr(other)))
        return self.storage is other.storage and _meet(self.storage.size, self.layout, other.layout)

    @property
    def T(self) -> Tensor:  # noqa: N802 - the name that NumPy and the array API give it
        """All axes reversed: a view. For matrices, the transpose."""
        return permute(self, tuple(range(len(self.layout.shape) - 1, -1, -1)))

    @property
    def mT(self) -> Tensor:  # noqa: N802
        """The last two axes swapped: a view."""
        return matrix_transpose(self)

    # ---- the graph ----------------------------------------------------------------------------------------

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` added up here, or None."""
        return self._grad

    @grad.setter
    def grad(self, new: Tensor | None) -> None:
        if new is not None:
            check_gradient("grad", new, self)
            if new.storage.dtype is not self.storage.dtype:
                raise DTypeError(
                    f"grad: the gradient has dtype {new.dtype}, the tensor {self.dtype}",
                    why="backward adds to it in the dtype of the tensor",
                    fix=f"x.grad = gradient.astype(tt.{self.dtype})",
                )
        self._grad = new

    @property
    def requires_grad(self) -> bool:
        """Whether backward reaches this tensor; a view has it from its base."""
        return requires(self)

    @requires_grad.setter
    def requires_grad(self, on: bool) -> None:
        self.requires_grad_(on)

    def requires_grad_(self, on: bool = True) -> Tensor:
        """Start (or stop) recording what is computed from this leaf; returns itself."""
        if on and not self.dtype.is_floating:
            raise GradError(
                f"requires_grad_: dtype {self.dtype} cannot have a gradient",
                why="gradients are real numbers, so only floating tensors have them",
                fix="cast first: x.astype(tt.float32)",
            )
        if not on and not self.is_leaf:
            raise GradError(
                "requires_grad_: the tensor is the result of a recorded operation",
                why="only leaves can stop requiring a gradient",
                fix="use x.detach()",
            )
        self._requires = bool(on)
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether it is not the result of a recorded operation."""
        return not self.requires_grad or edge_of(self) is self

    @property
    def node(self) -> Node | None:
        """The recorded operation that made it, if any."""
        edge = edge_of(self)
        return edge.node if type(edge) is Output else edge if type(edge) is Node else None

    # ---- to and from Python and NumPy ---------------------------------------------------------------------

    def __array_namespace__(self, *, api_version: str | None = None) -> ModuleType:
        if api_version not in (None, "2021.12", "2022.12", "2023.12", __array_api_version__):
            raise ArgumentError(
                f"__array_namespace__: version {api_version!r} of the array API is not known",
                why=f"this namespace follows {__array_api_version__}",
                fix="leave the version out",
            )
        return sys.modules[__name__.rpartition(".")[0]]

    def item(self) -> Any:
        """The one element as a Python number.

        Raises:
            ShapeError: there is not exactly one element.

        Example:
            >>> tt.tensor([[2.5]]).item()
            2.5
        """
        if self.layout.size != 1:
            raise ShapeError(
                f"item: shape {self.shape} has {self.layout.size} elements",
                why="a Python number is one element",
                fix="reduce first, for example x.sum().item(), or use x.tolist()",
            )
        return values(self).item()

    def tolist(self) -> Any:
        """The elements as nested Python lists (a plain number if there are no axes)."""
        try:
            return values(self).tolist()
        except MemoryError:
            raise out_of_memory("tolist") from None

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __format__(self, spec: str) -> str:
        """f"{loss:.4f}" formats the one element."""
        return format(self.item(), spec) if spec else repr(self)

    def __index__(self) -> int:
        if self.dtype.kind not in ("int", "uint") or self.layout.size != 1:
            raise DTypeError(
                f"index: a tensor of dtype {self.dtype} and shape {self.shape} is not an index",
                why="only integer tensors with one element can stand for a Python integer",
                fix="int(x), or index with the tensor itself",
            )
        return int(values(self).item())

    def __bool__(self) -> bool:
        if self.layout.size != 1:
            raise ShapeError(
                f"bool: a tensor of shape {self.shape} is neither true nor false",
                why="only a single element has a truth value",
                fix="use x.any() or x.all()",
            )
        return bool(values(self).item())

    def __len__(self) -> int:
        if not self.layout.shape:
            raise _without_axes("len")
        return self.layout.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.layout.shape:
            raise _without_axes("iter")
        return iter(self.unbind(0))

    def __contains__(self, value: object) -> bool:
        return bool((values(self) == (values(value) if isinstance(value, Tensor) else value)).any())

    def to(self, target: Any) -> Tensor:
        """The same values on another device or in another dtype; itself if nothing changes.

        Args:
            target: a device ("cpu", "cuda", "emulated", "checked") or a dtype.

        Raises:
            DeviceError: the device does not exist here.

        Example:
            >>> tt.ones(2).to("cpu").to(tt.float64).dtype
            tinytensor.float64
        """
        if isinstance(target, Device) or (isinstance(target, str) and target not in BY_NAME):
            return transfer(self, _present(target, "to"))
        return self.astype(target, copy=False)

    def cpu(self) -> Tensor:
        """The same values on the CPU: itself if it is there, else a copy."""
        return transfer(self, cpu)

    def cuda(self, index: int = 0) -> Tensor:
        """The same values on a GPU: itself if it is there, else a copy."""
        return transfer(self, _present(f"cuda:{index}" if index else "cuda", "cuda"))

    def to_device(self, device: Any, /, *, stream: None = None) -> Tensor:
        """The array API's name for `to`; the copy waits for its device, so there is no stream to choose."""
        if stream is not None:
            raise ArgumentError(
                f"to_device: stream is of type {type(stream).__name__}",
                why="a copy runs on the stream of the device that it comes from or goes to",
                fix="leave the stream out",
            )
        return transfer(self, _present(device, "to_device"))

    def reshape(self, *shape: Any, copy: bool | None = None) -> Tensor:
        """See `tt.reshape`; sizes may be given one by one."""
        one = len(shape) == 1 and not isinstance(shape[0], int)
        return reshape(self, shape[0] if one else shape, copy=copy)

    copy_ = copy_

    def __repr__(self) -> str:
        return represent(self)

    def __dir__(self) -> list[str]:
        return [name for name in object.__dir__(self) if name not in METHODS]

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._edge is not None:
            raise GradError(
                "deepcopy: the tensor is the result of a recorded operation",
                why="its history cannot be copied",
                fix="x.detach().clone()",
            )
        copy = self.detach().clone()
        copy._requires = self._requires
        if getattr(self, "_parameter", False):
            copy._parameter = True
        memo[id(self)] = copy
        return copy

    def __copy__(self) -> Tensor:
        """A view of the whole: it shares the storage, and the history if there is one."""
        if self._edge is not None:
            return alias(self)
        copy = self.detach()
        copy._requires = self._requires
        if getattr(self, "_parameter", False):
            copy._parameter = True
        return copy

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by value: elements, dtype and `requires_grad`; neither history nor gradient."""
        if self.storage.device is not cpu:
            raise DeviceError(
                f"pickle: the tensor is on {self.device}",
                why="another process or machine may lack the device",
                fix='copy it first: x.to("cpu")',
            )
        marked = getattr(self, "_parameter", False)
        return _from_values, (arr(self), self.dtype.name, self._requires, marked)


def _from_values(array: Any, dtype: str, requires_grad: bool, parameter: bool) -> Tensor:
    """The tensor of a pickle. Takes elements that NumPy has read, and makes nothing else."""
    kind = BY_NAME[dtype]
    if not isinstance(array, np.ndarray) or array.dtype != NUMPY[kind]:
        raise DTypeError(
            f"unpickle: {type(array).__name__} of {getattr(array, 'dtype', None)} for a tensor of {dtype}",
            why="the pickle was not written by tinytensor, or is damaged",
            fix="write it again, or load weights from safetensors",
        )
    x = apply.from_array(np.require(array, requirements=["C", "W", "A"]), kind)
    x._requires = bool(requires_grad)
    if parameter:
        x._parameter = True
    return x


def _present(device: Any, what: str) -> Device:
    """A device that this machine has, from its name."""
    place = as_device(device, what)
    if place is not cpu:
        runtime_of(place)
    return place


def _without_axes(what: str) -> DTypeError:
    return DTypeError(  # a TypeError, which Python's own protocols expect
        f"{what}: the tensor has no axes",
        why="a single number has no length, and nothing to walk over",
        fix="x.item() is the number, x.reshape(1) has an axis",
    )


def _meet(size: int, a: Layout, b: Layout) -> bool:
    """Whether two layouts of one storage reach a common element: NumPy decides it on memory never touched."""
    flat = np.empty(size, np.uint8)
    x, y = [np.ndarray(view.shape, np.uint8, flat, view.offset, view.strides) for view in (a, b)]
    return bool(a.size and b.size and np.shares_memory(x, y))


for _name in METHODS:  # no __getattr__, which would make each access to an attribute slower
    setattr(Tensor, _name, Elsewhere(_name))
for _module in (arrays, apply, elementwise, views, inplace):
    _module.use_result_class(Tensor)
