"""Memory reuse: checks by reference counts that only the running op references a tensor's memory."""

from __future__ import annotations

import sys
from typing import Any

from tinytensor.autograd.backward import ATTACHED
from tinytensor.dtypes import DType
from tinytensor.layout import Layout
from tinytensor.runtime.cpu.arrays import NUMPY
from tinytensor.storage import DeviceStorage, GraphStorage, PooledStorage, alloc
from tinytensor.tensor import Tensor


def reusable(x: Tensor, layout: Layout, dtype: DType) -> bool:
    """Whether a result of this layout and dtype may reuse x's memory: same size, no other references."""
    s = x.storage
    if (
        getattr(x, "_origin", None) is not ATTACHED
        or x.layout != layout
        or layout.extent[1] + 1 != s.size
        or s.dtype is not dtype
        or sys.getrefcount(s) > _HELD_TWICE
    ):
        return False
    if type(s) is DeviceStorage or type(s) is GraphStorage:  # whose steps run in order
        return True
    return (
        type(s) is PooledStorage
        and sys.getrefcount(s.block.bytes) <= _ONE_VIEW
        and sys.getrefcount(s.buffer) <= _ONE_ARRAY
    )


class _Holder:
    """Placeholder for a tensor while reference counts are measured."""

    storage: object
    _array: object


def _measure_held() -> tuple[int, int, int]:
    """Reference counts that `reusable` expects: of a storage referenced by a saved record and a re-attached
    tensor only, of a block referenced by the storage's own array only, and of that array referenced by those
    three and by the list of arrays for the op. Measured, since they differ between Python versions.
    """
    array, storage = alloc((1,), next(iter(NUMPY)))
    holder = _Holder()
    holder.storage, holder._array = storage, array
    saved, arrays = [(storage, None, array, 0)], [array]
    del storage, array

    def probe(x: Any) -> tuple[int, int, int]:
        s = x.storage
        return sys.getrefcount(s), sys.getrefcount(s.block.bytes), sys.getrefcount(s.buffer)

    counts = probe(holder)
    del saved, arrays
    return counts


_HELD_TWICE, _ONE_VIEW, _ONE_ARRAY = _measure_held()
