"""Where a mask is True. How many places there are depends on the data, so a device is waited for once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..device import cpu
from ..dispatch import arr, empty, from_array, values
from ..dtypes import int64
from ..launching import BLOCK, Launch, blocks_for, dense, index_type, view_of
from ..layout import Layout
from ..runtime import runtime_of
from ..viewing import make_view

if TYPE_CHECKING:
    from ..tensor import Tensor

_STRETCH = 4096  # elements that one block counts, as in kernels/nonzero.cu


def true_places(mask: Tensor) -> Tensor:
    """The row-major positions of the True elements of a mask: int64, shape (n,), ascending."""
    device = mask.storage.device
    if device is cpu:
        return from_array(np.flatnonzero(arr(mask)).astype(np.int64, copy=False), int64)
    size = mask.layout.size
    if size == 0:
        return empty((0,), int64, device=device)
    launch = Launch(runtime_of(device), "nonzero")
    source = dense(mask)
    stretches, index = -(-size // _STRETCH), index_type(source)
    starts = empty((stretches + 1,), int64, device=device)
    launch("nonzero_count", index, grid=stretches, block=BLOCK, args=(view_of(starts), source, size))
    launch("nonzero_add_up", grid=1, block=BLOCK, args=(view_of(starts), stretches))
    count = int(values(make_view(starts, Layout((), (), stretches), None, None)))  # waits for the device
    places = empty((count,), int64, device=device)
    if count:
        args = (view_of(places), source, view_of(starts), size)
        launch("nonzero_write", index, grid=stretches, block=BLOCK, args=args)
    return places


def true_indices(mask: Tensor) -> list[Tensor]:
    """The same as one index tensor per axis."""
    shape, device = mask.layout.shape, mask.storage.device
    if device is cpu:
        return [from_array(np.ascontiguousarray(i), int64) for i in np.nonzero(arr(mask))]
    places = true_places(mask)
    launch, n = Launch(runtime_of(device), "nonzero"), places.layout.size
    found, inner = [], 1
    for size in reversed(shape):
        index = empty((n,), int64, device=device)
        args = (view_of(index), view_of(places), size, inner, n)
        launch("nonzero_along", grid=blocks_for(n, BLOCK), block=BLOCK, args=args)
        found.append(index)
        inner *= size
    return found[::-1]
