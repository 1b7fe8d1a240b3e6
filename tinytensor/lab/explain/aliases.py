"""Live tensors that share a storage, as a tree of owners and their views.

The engine has no list of views. They are found on demand through the referrers that Python's garbage
collector reports.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FrameType

import numpy as np

from tinytensor.layout import Layout
from tinytensor.tensor import Tensor, is_tensor

WORK = 100_000  # limit of np.shares_memory for whether two layouts overlap


@dataclass(frozen=True)
class Alias:
    """A live tensor on the storage of the explained tensor, with its global names and its views; `asked`: it
    is that tensor; `meets`: the two share an element, None if NumPy exceeded its work limit.
    """

    names: tuple[str, ...]
    layout: Layout
    asked: bool
    meets: bool | None
    views: tuple[Alias, ...] = ()


def aliases_of(x: Tensor) -> tuple[Alias, ...]:
    """The live tensors on a storage.

    Returns:
        Tensors that are not views, each with its views: at least x, or the base of x.

    Example:
        >>> x = tt.zeros(2, 3)
        >>> row = x[1]
        >>> [(alias.layout.shape, [view.layout.shape for view in alias.views]) for alias in aliases_of(row)]
        [((2, 3), [(3,)])]
    """
    live: list[Tensor] = [t for t in gc.get_referrers(x.storage) if is_tensor(t) and t.storage is x.storage]
    live.sort(key=lambda t: (t.offset, t.shape, t.strides))
    names = _names({id(t) for t in live})
    return tuple(
        [_alias(t, [view for view in live if view.base is t], x, names) for t in live if t.base is None]
    )


def _alias(t: Tensor, views: Sequence[Tensor], x: Tensor, names: Mapping[int, tuple[str, ...]]) -> Alias:
    below = tuple([_alias(view, (), x, names) for view in views])
    return Alias(names.get(id(t), ()), t.layout, t is x, meet(x.layout, t.layout, x.storage.size), below)


def meet(a: Layout, b: Layout, size: int) -> bool | None:
    """Whether two layouts of one storage of `size` elements share an element; None if undecided."""
    if not (a.size and b.size):
        return False
    flat = np.empty(size, np.uint8)  # never read or written
    x, y = [np.ndarray(view.shape, np.uint8, flat, view.offset, view.strides) for view in (a, b)]
    try:
        return bool(np.shares_memory(x, y, max_work=WORK))  # type: ignore[arg-type]  # the stub is too narrow
    except np.exceptions.TooHardError:
        return None


def _names(wanted: set[int]) -> Mapping[int, tuple[str, ...]]:
    """Names of global variables in loaded modules, by the id of the tensor that they refer to.

    Locals are left out: reading those of a function keeps them alive, before Python 3.13.
    """
    found: dict[int, list[str]] = {}
    frame: FrameType | None = sys._getframe()
    seen: set[int] = set()
    while frame is not None:
        variables = frame.f_globals
        if id(variables) not in seen:
            seen.add(id(variables))
            for name, value in list(variables.items()):
                if id(value) in wanted and not name.startswith("_"):
                    found.setdefault(id(value), []).append(name)
        frame = frame.f_back
    return {key: tuple(names) for key, names in found.items()}
