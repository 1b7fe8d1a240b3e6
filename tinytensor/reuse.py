"""Taking over memory: whether nobody but the running op can see a tensor's memory any more."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .dtypes import DType
from .runtime.host import NUMPY
from .storage import PooledStorage, alloc

if TYPE_CHECKING:
    from .tensor import Tensor


def reusable(x: Tensor, shape: tuple[int, ...], dtype: DType) -> bool:
    """Whether a result of this shape and dtype may lie in x's memory: all of it, held by nobody else."""
    s = x.storage
    return (
        type(s) is PooledStorage
        and x.layout.is_contiguous
        and x.layout.size == s.size
        and (x.layout.shape, s.dtype) == (shape, dtype)
        and sys.getrefcount(s) <= _HELD_TWICE
        and sys.getrefcount(s.block.bytes) <= _ONE_VIEW
    )


class _Holder:
    """Stands in for a tensor while reference counts are measured."""

    storage: object


def _measure_held() -> tuple[int, int]:
    """References that `reusable` counts to a storage held by a saved record and a re-attached tensor only,
    and to a block seen by the storage's own array only. Measured, since they differ between Python versions.
    """
    array, storage = alloc((1,), next(iter(NUMPY)))
    holder = _Holder()
    holder.storage = storage
    saved = [(storage, None, array, 0)]
    del storage

    def probe(x: Any) -> tuple[int, int]:
        s = x.storage
        return sys.getrefcount(s), sys.getrefcount(s.block.bytes)

    counts = probe(holder)
    del saved
    return counts


_HELD_TWICE, _ONE_VIEW = _measure_held()
