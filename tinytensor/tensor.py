"""The `Tensor` class: a storage, a layout (shape, strides, offset) and autograd state; and its constructors.

`methods.py` binds the operations to it as methods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from tinytensor.device import Device, cpu
from tinytensor.dtypes import DType
from tinytensor.errors import DeviceError, DTypeError, ShapeError
from tinytensor.events import fire, observers
from tinytensor.layout import MAX_INTERNED, SMALL, Layout, contiguous
from tinytensor.runtime import runtime_of
from tinytensor.runtime.cpu.arrays import NUMPY, Array
from tinytensor.shapes import normalize_axis
from tinytensor.storage import Storage, adopt, alloc, alloc_on, view_buffer

__all__ = ["Tensor"]

if TYPE_CHECKING:  # for type checkers and editors; at run time `methods.py` binds them
    from tinytensor.methods import Methods
else:
    Methods = object

new = object.__new__
Shape = tuple[int, ...]


class Tensor(Methods):
    """An n-dimensional array: a flat storage read through shape, strides and offset, with autograd state.

    Attributes:
        storage: the flat buffer; views share it with their base.
        layout: shape, strides and offset, in elements.
        grad: the gradient accumulated by `backward`, or None.

    Create tensors with `tt.tensor`, `tt.asarray`, `tt.zeros` and other creation functions.

    >>> x = tt.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad.tolist()
    [[2.0, 4.0], [6.0, 8.0]]
    >>> x.T.shares_memory(x), x.T.strides
    (True, (1, 2))
    """

    # _array: the NumPy view, built once; _meta: what plans depend on, looked up once; _requires, _edge:
    # autograd state; _base, _seen, _origin: view state
    __slots__ = (
        "__weakref__",
        "_array",
        "_base",
        "_edge",
        "_grad",
        "_hooks",
        "_meta",
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
    _meta: Meta | None
    _requires: bool
    _edge: Any
    _base: Tensor | None
    _seen: int
    _origin: str | None
    _hooks: Any  # autograd.hooks.LeafHooks, once there is a hook
    _parameter: bool

    __hash__ = object.__hash__

    def __init__(self, *_: object, **__: object) -> None:
        raise DTypeError(
            "Tensor: the class cannot be called directly",
            why="a tensor is created from data, or from a shape and a dtype",
            fix="tt.tensor([1.0, 2.0]), tt.asarray(array) or tt.zeros(2, 3)",
        )

    # ---- properties ---------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.layout.shape

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the axes in the storage, in elements."""
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
    def size(self) -> Size:
        """Number of elements, as in the array API; the call `x.size(0)` is PyTorch's: of the shape."""
        return _sizes.get(self.layout.shape) or _size_of(self.layout)

    @property
    def dtype(self) -> DType:
        """Data type of the elements."""
        return self.storage.dtype

    @property
    def device(self) -> Device:
        """Device of the storage."""
        return self.storage.device

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.storage.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Number of elements times itemsize; the storage of a view may be larger or smaller."""
        return self.layout.size * self.storage.dtype.itemsize

    @property
    def version(self) -> int:
        """Number of in-place writes to the storage."""
        return self.storage.version

    @property
    def base(self) -> Tensor | None:
        """The tensor that owns this view's memory; None if this one does."""
        return self._base

    def is_contiguous(self) -> bool:
        """Whether the elements are contiguous in C order."""
        return self.layout.is_contiguous

    def shares_memory(self, other: Tensor) -> bool:
        """Whether the two tensors have an element in common (exact)."""
        if self.storage.device is cpu and other.storage.device is cpu:
            return bool(self.layout.size and other.layout.size and np.shares_memory(arr(self), arr(other)))
        return self.storage is other.storage and _meet(self.storage.size, self.layout, other.layout)

    def __len__(self) -> int:
        if not self.layout.shape:
            raise without_axes("len")
        return self.layout.shape[0]


class Size(int):
    """`x.size`, an integer for the array API and a method for PyTorch."""

    shape: Shape

    def __call__(self, dim: int | None = None) -> Any:
        """The shape, or the size of one axis."""
        return self.shape if dim is None else self.shape[normalize_axis(dim, len(self.shape), "size")]


_sizes: dict[Shape, Size] = {}  # by shape: to look one up takes a third of the time that making it takes


def _size_of(layout: Layout) -> Size:
    """The Size of a layout, kept."""
    if len(_sizes) >= MAX_INTERNED:
        _sizes.clear()
    size = _sizes[layout.shape] = Size(layout.size)
    size.shape = layout.shape
    return size


class Meta:
    """Metadata of a tensor: shape, strides, dtype and device. Interned: equal metadata is the same object.

    The offset is not part of it, so that rows of a matrix, x[0], x[1], …, have the same metadata.
    """

    __slots__ = ("device", "dtype", "shape", "strides")

    def __init__(self, shape: Shape, strides: Shape, dtype: DType, device: Device) -> None:
        self.shape = shape
        self.strides = strides
        self.dtype = dtype
        self.device = device


_metas: dict[tuple[Shape, Shape, DType, Device], Meta] = {}


def interned(layout: Layout, dtype: DType, device: Device) -> Meta:
    """The metadata of tensors with this layout, dtype and device."""
    key = layout.shape, layout.strides, dtype, device
    found = _metas.get(key)
    if found is None:
        if len(_metas) >= MAX_INTERNED:
            _metas.clear()  # loses identity only: plans are made again
        found = _metas.setdefault(key, Meta(*key))
    return found


def meta_of(t: Tensor) -> Meta:
    """The metadata of t, looked up once; the NumPy view of a CPU tensor is made, too."""
    meta = t._meta
    if meta is None:
        if t._array is None and t.storage.device is cpu:
            arr(t)
        # last: with it, other threads take paths that read the array
        t._meta = meta = interned(t.layout, t.storage.dtype, t.storage.device)
    return meta


def _meet(size: int, a: Layout, b: Layout) -> bool:
    """Whether two layouts of one storage overlap; NumPy decides it on memory that is never accessed."""
    flat = np.empty(size, np.uint8)
    x, y = [np.ndarray(view.shape, np.uint8, flat, view.offset, view.strides) for view in (a, b)]
    return bool(a.size and b.size and np.shares_memory(x, y))


# ---- constructors ------------------------------------------------------------------------------------------


def is_tensor(x: object) -> TypeGuard[Tensor]:
    """Whether x is a Tensor."""
    return isinstance(x, Tensor)


def wrap(array: Array | None, layout: Layout, storage: Storage) -> Tensor:
    """Tensor over a storage, without autograd history."""
    t = new(Tensor)
    t.storage = storage
    t.layout = layout
    t._grad = None
    t._array = array
    t._requires = False
    t._edge = t._base = t._hooks = t._meta = None
    return t


def from_array(array: Array, dtype: DType) -> Tensor:
    """Tensor over a C-contiguous array that it takes ownership of."""
    return wrap(array, contiguous(array.shape), adopt(array, dtype))


def same_memory(t: Tensor) -> Tensor:
    """Tensor with the same storage and layout, without autograd history."""
    return wrap(arr(t) if t.storage.device is cpu else None, t.layout, t.storage)


def arr(t: Tensor) -> Array:
    """The NumPy view of a CPU tensor, in its stored dtype; built once."""
    array = t._array
    if array is None:
        layout, storage = t.layout, t.storage
        if storage.device is not cpu:
            raise DeviceError(
                f"the tensor of shape {layout.shape} is on {storage.device}",
                why="this step reads host memory, and the host cannot access device memory",
                fix='copy it first: x.to("cpu")',
            )
        try:
            if layout.size:
                array = view_buffer(storage, layout)
            else:
                array = np.empty(layout.shape, NUMPY[storage.dtype])
        except ValueError:
            raise ShapeError(
                f"reading: shape {layout.shape} of dtype {storage.dtype} is too large to be read",
                why="NumPy counts its bytes in 64 bits: repeated ones, too, and in an empty shape 1 for 0",
                fix="read a part of it: x[:10]",
            ) from None
        t._array = array
    return array


def empty(shape: Shape, dtype: DType, device: Device = cpu, layout: Layout | None = None) -> Tensor:
    """Uninitialized tensor, C-contiguous or of another layout of this shape, which has offset 0."""
    if layout is None:
        layout = contiguous(shape)
    if device is not cpu:
        return wrap(None, layout, alloc_on(runtime_of(device), layout.extent[1] + 1, dtype))
    if layout.is_contiguous and layout.size <= SMALL:
        return small(layout, dtype)
    array, storage = alloc(shape, dtype)
    return wrap(array if layout.is_contiguous else None, layout, storage)


def small(layout: Layout, dtype: DType) -> Tensor:
    """Uninitialized CPU tensor of a small layout, in memory allocated by NumPy."""
    storage = new(Storage)
    storage.buffer = array = np.empty(layout.shape, NUMPY[dtype])
    storage.dtype = dtype
    storage.device = cpu
    storage.version = 0
    if observers:
        fire("storage", storage)
    return wrap(array, layout, storage)


def without_axes(what: str) -> DTypeError:
    """DTypeError for the length of a 0-d tensor, or for iterating over it."""
    return DTypeError(  # a TypeError, which Python's own protocols expect
        f"{what}: the tensor has no axes",
        why="a 0-d tensor has no length and cannot be iterated over",
        fix="use x.item() for the number, or x.reshape(1) to add an axis",
    )
