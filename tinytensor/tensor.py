"""Tensor: storage + layout + gradient. Methods come from the op families; here is the object itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from . import autograd, dispatch, elementwise, inplace, viewing
from .autograd import Node, Output, extra_of, retain
from .device import Device, as_device, cpu
from .dispatch import arr, edge_of, from_array, requires, values
from .dtypes import DType, bfloat16, float32
from .errors import DeviceError, DTypeError, GradError, ShapeError
from .hooks import Removable, replaced
from .inplace import copy_
from .layout import Layout
from .ops.arithmetic import ArithmeticMethods
from .ops.gathering import GatheringMethods
from .ops.indexing import IndexingMethods
from .ops.joining import JoiningMethods
from .ops.manipulation import ManipulationMethods, matrix_transpose, permute, reshape
from .ops.matmul import MatmulMethods
from .ops.reduction import ReductionMethods
from .ops.slicing import SlicingMethods
from .ops.splitting import SplittingMethods
from .runtime.host import NUMPY, Array
from .storage import Storage


class Tensor(
    ArithmeticMethods,
    ManipulationMethods,
    ReductionMethods,
    MatmulMethods,
    IndexingMethods,
    GatheringMethods,
    SlicingMethods,
    SplittingMethods,
    JoiningMethods,
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
        "_hooks",
        "_origin",
        "_parameter",
        "_requires",
        "_seen",
        "grad",
        "layout",
        "storage",
    )

    storage: Storage
    layout: Layout
    grad: Tensor | None
    _array: Array | None
    _requires: bool
    _edge: Any
    _base: Tensor | None
    _seen: int
    _origin: str | None
    _hooks: list[Callable[[Tensor], Tensor | None]] | None
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
        return bool(self.layout.size and other.layout.size and np.shares_memory(arr(self), arr(other)))

    @property
    def T(self) -> Tensor:  # noqa: N802 - the name that NumPy and the array API give it
        """All axes reversed: a view. For matrices, the transpose."""
        return permute(self, tuple(reversed(range(self.ndim))))

    @property
    def mT(self) -> Tensor:  # noqa: N802
        """The last two axes swapped: a view."""
        return matrix_transpose(self)

    # ---- the graph ----------------------------------------------------------------------------------------

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

    def backward(
        self, gradient: Tensor | None = None, *, retain_graph: bool = False, create_graph: bool = False
    ) -> None:
        """Add d(self)/d(leaf) to `.grad` of every leaf that self was computed from.

        Args:
            gradient: the gradient to start from, of self's shape; may be left out if self has one element.
            retain_graph: keep what forward saved, so that backward can run again.
            create_graph: record the backward pass itself, for higher derivatives.

        Raises:
            GradError: self does not require grad, needs a gradient argument, or its graph was already used.
            ShapeError: the gradient does not have self's shape.

        Example:
            >>> x = tt.tensor(3.0, requires_grad=True)
            >>> (x * x).backward()
            >>> x.grad.item()
            6.0
        """
        edge = edge_of(self)
        if edge is None:
            raise GradError(
                f"backward: the tensor of shape {self.shape} does not require grad",
                why="nothing was recorded that leads to it",
                fix="make an input with requires_grad=True, outside tt.no_grad()",
            )
        root = start_gradient(self, gradient, "backward")
        autograd.run([(edge, root)], retain=retain_graph, create=create_graph)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Removable:
        """Call `hook(grad)` when this tensor's gradient is known; a tensor that it returns replaces it.

        Returns:
            A handle; `handle.remove()` takes the hook out.

        Raises:
            GradError: the tensor does not require grad.

        Example:
            >>> x = tt.ones(2, requires_grad=True)
            >>> handle = x.register_hook(lambda grad: grad * 10)
            >>> x.sum().backward()
            >>> x.grad.tolist()
            [10.0, 10.0]
        """
        edge = edge_of(self)
        if edge is None:
            raise GradError(
                "register_hook: the tensor does not require grad",
                why="no gradient will reach it",
                fix="set requires_grad_() on it or on an input",
            )
        if edge is self:
            self._hooks = self._hooks or []
            return Removable(self._hooks, hook)
        index = edge.index if type(edge) is Output else 0
        node: Node = edge.node if type(edge) is Output else edge

        def on_node(grads: autograd.Grads) -> autograd.Grads | None:
            grad = grads[index]
            if grad is None or (new := hook(grad)) is None:
                return None
            return (*grads[:index], replaced("register_hook", grad, new), *grads[index + 1 :])

        return Removable(extra_of(node).before, on_node)

    def retain_grad(self) -> None:
        """Keep `.grad` of a tensor that is not a leaf, too; in-place writes and hooks count, as for a leaf.

        Raises:
            GradError: the tensor does not require grad.

        Example:
            >>> x = tt.ones(2, requires_grad=True)
            >>> y = x * 2
            >>> y.retain_grad()
            >>> (y * y).sum().backward()
            >>> y.grad.tolist()
            [4.0, 4.0]
        """
        edge = edge_of(self)
        if edge is None:
            raise GradError(
                "retain_grad: the tensor does not require grad",
                why="no gradient will reach it",
                fix="set requires_grad_() on it or on an input",
            )
        if edge is not self:
            retain(self)

    # ---- to and from Python and NumPy ---------------------------------------------------------------------

    def numpy(self) -> Array:
        """A NumPy array on the same memory, for tensors on the CPU without history.

        Writes through it reach the tensor, but do not count as in-place operations: the version stays.

        Returns:
            The array, strided like the tensor; read-only if the tensor's memory is.

        Raises:
            GradError: the tensor requires grad.
            DTypeError: bfloat16, unless ml_dtypes is installed.

        Example:
            >>> tt.arange(3).numpy()
            array([0, 1, 2])
        """
        if self.requires_grad:
            raise GradError(
                f"numpy: the tensor of shape {self.shape} requires grad",
                why="what NumPy does to it would not be recorded",
                fix="call x.detach().numpy()",
            )
        self._on_cpu("numpy")
        if self.dtype is bfloat16:
            return arr(self).view(_ml_bfloat16())
        return arr(self)

    def _on_cpu(self, what: str) -> None:
        if self.storage.device is not cpu:
            raise DeviceError(
                f"{what}: the tensor is on {self.device}",
                why="NumPy reads host memory only",
                fix=f'copy it first: x.to("cpu").{what}()',
            )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(f"__array__: a cast from {array.dtype} to {dtype} needs a copy")
            return array.astype(dtype)
        return array.copy() if copy else array

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
        return values(self).tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

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
            raise TypeError("len() of a tensor without axes")
        return self.layout.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.layout.shape:
            raise TypeError("iteration over a tensor without axes")
        return iter(self.unbind(0))

    def __contains__(self, value: object) -> bool:
        return bool((values(self) == (values(value) if isinstance(value, Tensor) else value)).any())

    def to(self, target: Any) -> Tensor:
        """The same values on another device or in another dtype; itself if nothing changes.

        Args:
            target: a device ("cpu") or a dtype.

        Raises:
            DeviceError: the device does not exist here.

        Example:
            >>> tt.ones(2).to("cpu").to(tt.float64).dtype
            tinytensor.float64
        """
        if isinstance(target, Device) or (isinstance(target, str) and not _names_dtype(target)):
            require_cpu(as_device(target), "to")
            return self
        return self.astype(target, copy=False)

    def reshape(self, *shape: Any, copy: bool | None = None) -> Tensor:
        """See `tt.reshape`; sizes may be given one by one."""
        return reshape(
            self, shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape, copy=copy
        )

    copy_ = copy_

    # ---- reflected operators ------------------------------------------------------------------------------

    def __radd__(self, other: Any) -> Tensor:
        return self._reflected(type(self).__add__, other)

    def __rsub__(self, other: Any) -> Tensor:
        return self._reflected(type(self).__sub__, other)

    def __rmul__(self, other: Any) -> Tensor:
        return self._reflected(type(self).__mul__, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return self._reflected(type(self).__truediv__, other)

    def __rpow__(self, other: Any) -> Tensor:
        return self._reflected(type(self).__pow__, other)

    def _reflected(self, function: Callable[..., Tensor], other: Any) -> Tensor:
        if isinstance(other, np.ndarray):
            raise DTypeError(
                f"{function.__name__}: a NumPy array of shape {other.shape} meets a tensor",
                why="arrays and tensors are not mixed behind your back",
                fix="make it a tensor first: tt.asarray(array)",
            )
        return function(other, self)

    def __repr__(self) -> str:
        return _repr(self)

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

    def __reduce__(self) -> Any:
        raise TypeError(
            "a tensor is not pickled: unpickling runs code; save weights as safetensors, or pickle x.numpy()"
        )


def _repr(t: Tensor) -> str:
    with np.printoptions(threshold=50, edgeitems=3, precision=4, suppress=True):
        body = np.array2string(values(t), separator=", ", prefix="tensor(")
    parts = [body]
    if t.layout.size == 0:
        parts.append(f"shape={t.shape}")
    if t.dtype.name not in ("float32", "int64", "bool"):
        parts.append(f"dtype={t.dtype}")
    if t.device is not cpu:
        parts.append(f"device='{t.device}'")
    if t.requires_grad:
        parts.append(_place_in_graph(t))
    return f"tensor({', '.join(parts)})"


def _place_in_graph(t: Tensor) -> str:
    try:
        return "requires_grad=True" if t.node is None else f"node={t.node.name}"
    except GradError:  # a view that can no longer be differentiated can still be looked at
        return "node=invalid"


def _ml_bfloat16() -> Any:
    try:
        import ml_dtypes
    except ImportError:
        raise DTypeError(
            "numpy: NumPy has no bfloat16",
            why="the dtype comes from the package ml_dtypes, which is not installed",
            fix="cast first: x.astype(tt.float32).numpy(), or pip install ml_dtypes",
        ) from None
    return ml_dtypes.bfloat16


def _names_dtype(text: str) -> bool:
    from .dtypes import BY_NAME

    return text in BY_NAME


def require_cpu(device: Device, what: str) -> None:
    """DeviceError for a device that this release cannot run on."""
    if device is not cpu:
        raise DeviceError(
            f"{what}: device {device} is not available",
            why="this release runs on the CPU; a device never silently stands in for another",
            fix='use device="cpu"',
        )


def start_gradient(output: Tensor, gradient: Tensor | None, what: str) -> Tensor:
    """The gradient that a backward pass starts from, checked."""
    if gradient is None:
        if output.layout.size != 1:
            raise GradError(
                f"{what}: an output of shape {output.shape} needs a gradient to start from",
                why="only a single number has an obvious one, 1",
                fix="reduce it with .sum(), or pass a gradient of the output's shape",
            )
        return from_array(np.ones(output.shape, NUMPY[float32]), float32).astype(output.dtype, copy=False)
    if not isinstance(gradient, Tensor):
        raise DTypeError(
            f"{what}: the gradient is a {type(gradient).__name__}",
            why="gradients are tensors",
            fix="pass tt.asarray(gradient)",
        )
    if gradient.shape != output.shape:
        raise ShapeError(
            f"{what}: the gradient has shape {gradient.shape}, the output {output.shape}",
            why="there is one gradient per element of the output",
            fix=f"pass a gradient of shape {output.shape}",
        )
    return gradient.astype(output.dtype, copy=False)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of outputs in inputs, returned and not added to `.grad`.

    Args:
        outputs: tensor(s) to differentiate; each of one element unless grad_outputs is given.
        inputs: tensor(s) to differentiate in: leaves, or results on the way.
        grad_outputs: gradient(s) to start from, one per output.
        retain_graph: keep what forward saved; default: the value of create_graph.
        create_graph: record the pass, so that the gradients can be differentiated again.
        allow_unused: give None for an input that the outputs do not depend on, instead of raising.

    Returns:
        One gradient per input, of its shape.

    Raises:
        GradError: an output or input does not require grad, or an input was not used.

    Example:
        >>> x = tt.tensor(2.0, requires_grad=True)
        >>> (slope,) = tt.grad(x**3, x, create_graph=True)
        >>> slope.item(), tt.grad(slope, x)[0].item()
        (12.0, 12.0)
    """
    outs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    ins = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    starts = (
        [grad_outputs] * len(outs)
        if grad_outputs is None or isinstance(grad_outputs, Tensor)
        else list(grad_outputs)
    )
    if len(starts) != len(outs):
        raise ShapeError(
            f"grad: {len(starts)} grad_outputs for {len(outs)} outputs", why="each output needs one",
            fix="pass one gradient (or None) per output",
        )  # fmt: skip
    for kind, tensors in (("output", outs), ("input", ins)):
        for i, t in enumerate(tensors):
            if not isinstance(t, Tensor):
                raise DTypeError(
                    f"grad: {kind} {i} is a {type(t).__name__}",
                    why="only tensors have gradients",
                    fix="pass tensors, made with requires_grad=True",
                )
            if edge_of(t) is None:
                raise GradError(
                    f"grad: {kind} {i} of shape {t.shape} does not require grad",
                    why="nothing was recorded for it",
                    fix="make the inputs with requires_grad=True, outside tt.no_grad()",
                )
    roots = [(edge_of(o), start_gradient(o, s, "grad")) for o, s in zip(outs, starts, strict=True)]
    keep = create_graph if retain_graph is None else retain_graph
    found = autograd.run(roots, wanted=[edge_of(x) for x in ins], retain=keep, create=create_graph)
    for i, g in enumerate(found):
        if g is None and not allow_unused:
            raise GradError(
                f"grad: the outputs do not depend on input {i} of shape {ins[i].shape}",
                why="no recorded path leads from one to the other",
                fix="leave the input out, or pass allow_unused=True to get None",
            )
    return tuple(found)


for _module in (dispatch, elementwise, viewing, inplace):
    _module.use_result_class(Tensor)
