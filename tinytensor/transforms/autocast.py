"""autocast: products in 16 bits, what adds up or grows quickly in float32, as `Op.autocast` says."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tinytensor.autograd.modes import Cast, casting, grad_enabled, using
from tinytensor.dtypes import DType, bfloat16, float16, float32
from tinytensor.errors import DTypeError
from tinytensor.op import Precision
from tinytensor.ops.views.manipulation import cast
from tinytensor.tensor import is_tensor

__all__ = ["autocast", "is_autocast_enabled"]

F = TypeVar("F", bound=Callable[..., Any])


class autocast(using):  # noqa: N801 - a context manager and a decorator, named as in PyTorch
    """Run matrix products and attention in 16 bits, and sums, norms, exponentials and losses in float32.

    Parameters and optimizer states stay in float32: inside, products get rounded copies of them, and the
    gradients arrive in float32 again. Wrap forward and loss in it, and call backward outside. Tensors of
    float64 and of integers are left alone. The mode belongs to the thread.

    With float16, whose smallest numbers swallow small gradients, use `optim.GradScaler`; bfloat16 has the
    range of float32 and needs none.

    Args:
        dtype: `tt.bfloat16` or `tt.float16`.
        enabled: False does nothing; inside another autocast it switches that one off.
        cache: round a parameter once, not at every use, until the context ends or it is written to.

    Raises:
        DTypeError: another dtype.

    Example:
        >>> layer, x = tt.nn.Linear(3, 2), tt.ones(1, 3)
        >>> with tt.autocast(tt.bfloat16):
        ...     y = layer(x)
        ...     loss = y.sum()
        >>> y.dtype, loss.dtype
        (tinytensor.bfloat16, tinytensor.float32)
    """

    def __init__(self, dtype: DType = bfloat16, *, enabled: bool = True, cache: bool = True) -> None:
        if dtype not in (bfloat16, float16):
            raise DTypeError(
                f"autocast: products in {dtype}",
                why="it is about 16-bit floats; anything else is a dtype of the tensors themselves",
                fix="autocast(tt.bfloat16) or autocast(tt.float16)",
            )
        super().__init__(None)
        self.dtype, self.enabled, self.cache = dtype, bool(enabled), bool(cache)

    def inside(self) -> Cast | None:
        """What does the casting inside: for each `with` another, with nothing rounded yet."""
        return _Casting(self.dtype, self.cache) if self.enabled else None

    def __call__(self, function: F) -> F:
        """Decorate: each call of `function` runs in this mode."""

        @functools.wraps(function)
        def in_mode(*args: Any, **kwargs: Any) -> Any:
            with autocast(self.dtype, enabled=self.enabled, cache=self.cache):
                return function(*args, **kwargs)

        return in_mode  # type: ignore[return-value]  # wraps() keeps the signature


def is_autocast_enabled() -> bool:
    """Whether products of this thread run in 16 bits now, whatever the shapes.

    Example:
        >>> with tt.autocast(tt.bfloat16):
        ...     tt.is_autocast_enabled()
        True
    """
    return casting() is not None


class _Casting:
    """What one `with` does to the inputs of ops."""

    def __init__(self, dtype: DType, cache: bool) -> None:
        self.dtype, self.cache = dtype, cache
        self.known: dict[tuple[int, bool], tuple[Any, int, Any]] = {}  # (leaf, its version, rounded)

    def __call__(self, precision: Precision | None, ins: Sequence[Any]) -> Sequence[Any]:
        """The inputs that an op of this precision gets."""
        if precision == "narrow":
            return [self._narrow(x) if is_tensor(x) else x for x in ins]
        if precision == "wide":
            return [cast(x, float32) if is_tensor(x) and x.storage.dtype.narrow else x for x in ins]
        return ins

    def afresh(self) -> _Casting:
        """The same, with nothing rounded yet."""
        return _Casting(self.dtype, self.cache)

    def _narrow(self, x: Any) -> Any:
        dtype = x.storage.dtype
        if dtype is self.dtype or not (dtype is float32 or dtype.narrow):
            return x
        if not self.cache or x._edge is not None or not x._requires:
            return cast(x, self.dtype)
        key = id(x), grad_enabled()
        found = self.known.get(key)
        if found is not None and found[0] is x and found[1] == x.storage.version:
            return found[2]
        rounded = cast(x, self.dtype)
        self.known[key] = x, x.storage.version, rounded
        return rounded
