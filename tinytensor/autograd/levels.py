"""Batched tensors, and the levels of the `vmap`s that run.

Inside of `tt.func.vmap` an argument is a `Batched`: a Tensor that looks like one sample, and holds the value
of all samples, with the batch as first axis. Its metadata is in no plan, so the fast paths of `apply` miss
it; the slow path, views and in-place writes ask for the innermost level of their operands, and leave the call
to it (`dispatch/batching.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from itertools import count
from typing import Any, ClassVar

from tinytensor.autograd.scope import Scope
from tinytensor.device import cpu
from tinytensor.dtypes import bool_
from tinytensor.errors import TransformError
from tinytensor.layout import Layout
from tinytensor.storage import Storage
from tinytensor.tensor import Meta, Tensor, new

_numbers = count()


class Level:
    """One running `vmap`.

    Attributes:
        number: larger for one that began later, so for an inner one.
        size: number of samples.
        randomness: "error", "different" or "same": what random functions do.
    """

    __slots__ = ("number", "randomness", "size")

    call: ClassVar[Callable[..., Any]]  # these two are in dispatch/batching.py
    view: ClassVar[Callable[..., Tensor]]
    stack: ClassVar[Callable[..., Tensor]]  # samples as one value; ops/joining hands it down

    def __init__(self, size: int, randomness: str = "error") -> None:
        self.number = next(_numbers)
        self.size = size
        self.randomness = randomness


_active: ContextVar[tuple[Level, ...]] = ContextVar("tinytensor_levels", default=())
active = _active.get  # the levels whose tensors may be used, the outermost first


class Levels(Scope):
    """Set the levels whose tensors may be used."""

    variable = _active

    def __init__(self, levels: tuple[Level, ...]) -> None:
        self._levels = levels

    def inside(self) -> tuple[Level, ...]:
        """The levels inside the block."""
        return self._levels


class _Unread(Storage):
    """The storage that a batched tensor shows: dtype, device and version of that of its value, no memory."""

    __slots__ = ("of",)

    of: Storage

    @property
    def version(self) -> int:  # type: ignore[override]  # read through, never set
        """Number of in-place writes to the value."""
        return self.of.version

    @property
    def buffer(self) -> Any:
        """Raises: there is no one value to read."""
        raise TransformError(
            "vmap: the elements of a batched tensor were asked for, as by item(), bool(), numpy() or a mask",
            why="the function runs once for all samples, so the number of one cannot decide what it does",
            fix="choose with tt.where(condition, a, b); outside of vmap read the results that it returned",
        )


class Batched(Tensor):
    """One sample of a batch, as the function of a `vmap` sees it.

    Attributes:
        value: the tensor of all samples, the batch as first axis, with the autograd history.
        level: the vmap. A value may be batched itself, at a level further out.

    The layout is that of sample 0 in the memory of the value: a view of the sample with strides s is the view
    of the value with strides (that of the batch, *s).
    """

    __slots__ = ("level", "value")

    level: Level
    value: Tensor

    @property
    def _requires(self) -> bool:
        base = self.value._base
        return self.value._requires or (base is not None and base._requires)

    @_requires.setter
    def _requires(self, on: bool) -> None:
        self.value._requires = on

    @property
    def _edge(self) -> Any:
        return self.value._edge

    @property
    def _base(self) -> None:  # type: ignore[override]  # the value has one
        return None

    def __repr__(self) -> str:
        return f"Tensor(batched by vmap, shape={self.shape}, dtype={self.dtype}, {self.level.size} samples)"

    _repr_html_ = None  # notebooks show the text


_META = Meta((), (), bool_, cpu)  # no plan has it


def batched(value: Tensor, level: Level) -> Batched:
    """The sample of a value whose first axis is the batch."""
    t = new(Batched)
    t.value, t.level = value, level
    have = value.layout
    t.layout = Layout(have.shape[1:], have.strides[1:], have.offset)
    storage = new(_Unread)
    storage.of, storage.dtype, storage.device = value.storage, value.storage.dtype, value.storage.device
    t.storage = storage
    t._meta = _META
    t._array = t._grad = t._hooks = None
    return t


def innermost(xs: Sequence[Any]) -> Level | None:
    """The innermost level of batched tensors among the operands; None if there is none."""
    found: Level | None = None
    for x in xs:
        if isinstance(x, Batched) and (found is None or x.level.number > found.number):
            found = x.level
    if found is not None and found not in active():
        raise TransformError(
            "vmap: a batched tensor is used after the function of its vmap has returned",
            why="it stands for one sample of a call that has ended",
            fix="return it from the function: vmap then returns the tensor of all samples",
        )
    return found
