"""autocast: matrix products in 16 bits; reductions, exponentials and losses in float32 (`Op.autocast`)."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tinytensor.autograd.levels import Batched
from tinytensor.autograd.modes import Cast, casting, grad_enabled, using
from tinytensor.device import Device, as_device, cpu
from tinytensor.dtypes import DType, bfloat16, float16, float32
from tinytensor.errors import DTypeError
from tinytensor.op import Precision
from tinytensor.ops.optim.multi_tensor import cast_all
from tinytensor.ops.views.manipulation import cast
from tinytensor.tensor import is_tensor
from tinytensor.transforms.capture import current

__all__ = ["autocast", "get_autocast_dtype", "is_autocast_enabled"]

F = TypeVar("F", bound=Callable[..., Any])


class autocast(using):  # noqa: N801 - a context manager and a decorator, named as in PyTorch
    """Run matrix products and attention in 16 bits, and sums, norms, exponentials and losses in float32.

    Parameters and optimizer states stay in float32: inside, products use rounded copies of them, and their
    gradients are float32. Wrap forward and loss in it, and call backward outside. float64 and integer tensors
    are not cast. Thread-local.

    With float16, in which small gradients underflow, use `optim.GradScaler`; bfloat16 has the
    range of float32 and needs none.

    Args:
        device_type: "cpu", "cuda", …: cast the inputs of ops on such devices alone. May be left out, as in
            `tt.autocast(tt.bfloat16)`: then it is all devices.
        dtype: `tt.bfloat16` or `tt.float16`; default float16 for "cuda", as in PyTorch, else bfloat16.
        enabled: False disables autocast, also inside another autocast block.
        cache: round a parameter once, not at every use, until the context ends or it is modified.

    Raises:
        DTypeError: dtype is not a 16-bit float.
        DeviceError: there is no such type of device.

    >>> layer, x = tt.nn.Linear(3, 2), tt.ones(1, 3)
    >>> with tt.autocast(tt.bfloat16):
    ...     y = layer(x)
    ...     loss = y.sum()
    >>> y.dtype, loss.dtype
    (tinytensor.bfloat16, tinytensor.float32)
    """

    def __init__(
        self,
        device_type: str | DType | None = None,
        dtype: DType | None = None,
        *,
        enabled: bool = True,
        cache: bool = True,
    ) -> None:
        if isinstance(device_type, DType):
            device_type, dtype = None, device_type
        self.device_type = None if device_type is None else as_device(device_type, "autocast").type
        if dtype is None:
            dtype = float16 if self.device_type == "cuda" else bfloat16
        if dtype not in (bfloat16, float16):
            raise DTypeError(
                f"autocast: products in {dtype}",
                why="autocast supports 16-bit floats only; for other dtypes cast the tensors themselves",
                fix="autocast(tt.bfloat16) or autocast(tt.float16)",
            )
        super().__init__(None)
        self.dtype, self.enabled, self.cache = dtype, bool(enabled), bool(cache)

    def inside(self) -> Cast | None:
        """The casting function inside the block, with an empty cache for each `with`."""
        return _Casting(self.device_type, self.dtype, self.cache) if self.enabled else None

    def __call__(self, function: F) -> F:
        """Decorate: each call of `function` runs in this mode."""

        @functools.wraps(function)
        def in_mode(*args: Any, **kwargs: Any) -> Any:
            with autocast(self.device_type, self.dtype, enabled=self.enabled, cache=self.cache):
                return function(*args, **kwargs)

        return in_mode  # type: ignore[return-value]  # wraps() keeps the signature


def is_autocast_enabled() -> bool:
    """Whether autocast is active in this thread.

    >>> with tt.autocast(tt.bfloat16):
    ...     tt.is_autocast_enabled()
    True
    """
    return casting() is not None


def get_autocast_dtype(device_type: str | Device) -> DType | None:
    """The 16-bit dtype of products on such devices if autocast is active for them in this thread, else None.

    Args:
        device_type: "cpu", "cuda", …, or a device.

    Differs from: torch.get_autocast_dtype, which does not depend on whether autocast is active.

    >>> with tt.autocast("cpu"):
    ...     tt.get_autocast_dtype("cpu"), tt.get_autocast_dtype("cuda")
    (tinytensor.bfloat16, None)
    """
    cast: Any = casting()
    if cast is None or cast.device_type not in (None, as_device(device_type, "get_autocast_dtype").type):
        return None
    dtype: DType = cast.dtype
    return dtype


class _Casting:
    """Casts the inputs of ops inside one `with` block, with a cache of rounded parameters.

    Args:
        device_type, dtype, cache: see `autocast`.
        alone: round each parameter where it is used first, so that two runs of a function record the same.
    """

    def __init__(self, device_type: str | None, dtype: DType, cache: bool, alone: bool = False) -> None:
        self.device_type, self.dtype, self.cache, self.alone = device_type, dtype, cache, alone
        # (leaf, its version, the capture that computes what follows, if any, rounded)
        self.known: dict[tuple[int, bool], tuple[Any, int, Any, Any]] = {}
        self.group: list[weakref.ref[Any]] | None = None  # the leaves of this block

    def __call__(self, precision: Precision | None, ins: Sequence[Any]) -> Sequence[Any]:
        """The inputs that an op of this precision gets."""
        if self.device_type and any([is_tensor(x) and not self.covers(x) for x in ins]):
            return ins
        if precision == "narrow":
            return [self._narrow(x) if is_tensor(x) else x for x in ins]
        if precision == "wide":
            return [cast(x, float32) if is_tensor(x) and x.storage.dtype.narrow else x for x in ins]
        return ins

    def covers(self, x: Any) -> bool:
        """Whether ops on the device of the tensor x are cast."""
        return self.device_type is None or x.storage.device.type == self.device_type

    def afresh(self) -> _Casting:
        """A copy with an empty cache, for a function that will run twice."""
        return _Casting(self.device_type, self.dtype, self.cache, alone=True)

    def _narrow(self, x: Any) -> Any:
        dtype = x.storage.dtype
        if dtype is self.dtype or not (dtype is float32 or dtype.narrow):
            return x
        if not self.cache or x._edge is not None or not x._requires:
            return cast(x, self.dtype)
        key = id(x), grad_enabled()
        found, graph = self.known.get(key), current()
        if found is not None and found[0] is x and found[1] == x.storage.version and found[2] is graph:
            return found[3]
        if self.alone or x.storage.device is cpu or isinstance(x, Batched):
            leaves, copies = [x], [cast(x, self.dtype)]
        else:
            leaves = self._together(x)
            copies = cast_all(leaves, self.dtype)
            if graph is not None:
                graph.kept += leaves  # which its function may not use itself
        for leaf, rounded in zip(leaves, copies, strict=True):
            self.known[id(leaf), grad_enabled()] = leaf, leaf.storage.version, graph, rounded
        return self.known[key][3]

    def _together(self, x: Any) -> list[Any]:
        """The leaves of a device to round now, x among them: all that were rounded in blocks that began with
        x, such as the last training step. A launch costs more than the rounding of a small one.
        """
        if self.group is None:
            if len(_groups) >= _MOST_GROUPS:
                _groups.clear()
            self.group = _groups.setdefault(id(x), [])
            alive = [leaf for ref in self.group if (leaf := ref()) is not None]
            begins = bool(alive) and alive[0] is x  # else it is of another leaf, which had this id
            self.group[:] = map(weakref.ref, alive if begins else [x])
            if begins:
                return [leaf for leaf in alive if _alike(leaf, x)]
        elif not any([ref() is x for ref in self.group]):
            self.group.append(weakref.ref(x))
        return [x]


_groups: dict[int, list[weakref.ref[Any]]] = {}  # by the id of the first leaf
_MOST_GROUPS = 64


def _alike(leaf: Any, x: Any) -> bool:
    """Whether a leaf can be rounded together with x."""
    s, t = leaf.storage, x.storage
    return leaf._requires and leaf._edge is None and s.dtype is t.dtype and s.device is t.device
