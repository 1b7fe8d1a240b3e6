"""How a row of the op table is run on a device: its tensors are moved there, called, differentiated."""

from collections.abc import Callable, Sequence

import tinytensor as tt
from tinytensor.layout import contiguous
from tinytensor.op_table import Row
from tinytensor.op_table.row import as_tuple
from tinytensor.tensor import wrap


def placed(t: tt.Tensor, device: str) -> tt.Tensor:
    """The same tensor with the whole of its storage on a device, in the same layout."""
    flat = wrap(None, contiguous((t.storage.size,)), t.storage)
    return flat.to(device).as_strided(t.shape, t.strides, t.offset).detach()


def outputs(row: Row, inputs: list[tt.Tensor]) -> list[tt.Tensor]:
    """What the row's call returns, as a list."""
    return list(as_tuple(row.call(*inputs)))


def gradients(row: Row, inputs: list[tt.Tensor], order: int) -> list[tt.Tensor]:
    """Gradients, or the gradients of the sum of their squares, in all inputs that have one."""
    which = row.differentiable()
    leaves = [x.detach().requires_grad_() if i in which else x for i, x in enumerate(inputs)]
    results = [y for y in outputs(row, leaves) if y.requires_grad]
    starts = [(y * 0.0 + 0.5).detach() for y in results]
    wanted = [leaves[i] for i in which]
    first = tt.grad(results, wanted, starts, create_graph=order > 1, allow_unused=True)
    if order == 1:
        return [g for g in first if g is not None]
    second = [(g * g).sum() for g in first if g is not None and g.requires_grad]
    if not second:
        return []
    return [g for g in tt.grad(second, wanted, allow_unused=True) if g is not None]


def floating(row: Row, inputs: list[tt.Tensor], which: Sequence[int]) -> Callable[..., tuple[tt.Tensor, ...]]:
    """The floating results of a row as a function of the inputs with these numbers."""

    def call(*chosen: tt.Tensor) -> tuple[tt.Tensor, ...]:
        given = dict(zip(which, chosen, strict=True))
        results = as_tuple(row.call(*[given.get(i, x) for i, x in enumerate(inputs)]))
        return tuple([y for y in results if y.dtype.is_floating])

    return call
