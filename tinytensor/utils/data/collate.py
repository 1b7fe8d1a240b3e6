"""From samples to a batch: stack what they have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import tinytensor.api as tt

__all__ = ["default_collate", "default_convert"]


def default_collate(batch: Sequence[Any]) -> Any:
    """Join samples of one structure into a batch.

    Args:
        batch: at least one sample. Tensors and arrays (…) of one shape become a tensor (N, …), and numbers a
            tensor (N,): floats of float64, integers of int64. Texts stay as they are. Dicts, tuples and lists
            are joined inside: a dict (a named tuple, a list) of batches.

    >>> tt.utils.data.default_collate([(tt.ones(2), 0), (tt.zeros(2), 1)])
    [tensor([[1., 1.],
            [0., 0.]]), tensor([0, 1])]
    """
    if not batch:
        raise tt.ArgumentError(
            "default_collate: no samples", why="a batch has one at least", fix="drop_last=True"
        )
    first = batch[0]
    if isinstance(first, tt.Tensor):
        return tt.stack(_alike(batch))
    if isinstance(first, np.ndarray):
        return tt.from_numpy(np.stack(_alike(batch)))
    if isinstance(first, float) and not isinstance(first, np.generic):
        return tt.tensor(batch, dtype=tt.float64)
    if isinstance(first, bool | int | np.generic):
        return tt.tensor(batch)
    if isinstance(first, str | bytes):
        return batch
    if isinstance(first, Mapping):
        return _like(first, {key: default_collate(_column(batch, key)) for key in first})
    if isinstance(first, Sequence):
        if len({len(sample) for sample in batch}) > 1:
            raise _uneven("lengths", sorted({len(sample) for sample in batch}))
        columns = [default_collate(column) for column in zip(*batch)]
        return type(first)(*columns) if hasattr(first, "_fields") else columns
    raise tt.DTypeError(
        f"default_collate: a sample of type {type(first).__name__}",
        why="it joins tensors, arrays, numbers and texts, in dicts, tuples and lists",
        fix="give a collate_fn, which makes a batch of a list of samples",
    )


def _alike(batch: Sequence[Any]) -> Sequence[Any]:
    if len(shapes := {sample.shape for sample in batch}) > 1:
        raise _uneven("shapes", sorted(shapes))
    return batch


def _uneven(what: str, found: list[Any]) -> tt.ShapeError:
    return tt.ShapeError(
        f"default_collate: samples of {what} {', '.join(map(str, found[:4]))}",
        why="a batch has one size along each axis",
        fix="make samples of one size, or give a collate_fn that pads them",
    )


def _column(batch: Sequence[Mapping[Any, Any]], key: Any) -> list[Any]:
    if not all(key in sample and len(sample) == len(batch[0]) for sample in batch):
        raise tt.ArgumentError(
            "default_collate: samples with different keys",
            why=f"one has the keys {list(batch[0])}, and another one has not, or has more",
            fix="make dicts with the same keys, or give a collate_fn",
        )
    return [sample[key] for sample in batch]


def default_convert(sample: Any) -> Any:
    """A sample as a loader without batches gives it: arrays as tensors, in whatever structure they are.

    Args:
        sample: arrays (…) and NumPy's numbers, in dicts, tuples and lists; all else stays what it is.

    Returns:
        The same structure, with lists for tuples, as in a batch.

    >>> tt.utils.data.default_convert({"x": np.ones(2), "name": "one"})
    {'x': tensor([1., 1.], dtype=float64), 'name': 'one'}
    """
    return _inside(sample, _as_tensor)


def _as_tensor(x: Any) -> Any:
    return tt.asarray(x) if isinstance(x, np.ndarray | np.generic) and x.dtype.kind in "biufc" else x


def pinned(batch: Any) -> Any:
    """A batch with copies of its CPU tensors in page-locked memory, from which a GPU reads directly."""
    return _inside(batch, _as_pinned)


def _as_pinned(x: Any) -> Any:
    if not isinstance(x, tt.Tensor) or x.device.type != "cpu":
        return x
    from tinytensor.cuda import pinned as page_locked

    return page_locked(x.shape, dtype=x.dtype).copy_(x)


def _inside(sample: Any, function: Callable[[Any], Any]) -> Any:
    """The same structure of dicts, tuples and lists, with function(x) in place of every other x."""
    if isinstance(sample, Mapping):
        return _like(sample, {key: _inside(value, function) for key, value in sample.items()})
    if isinstance(sample, tuple) and hasattr(sample, "_fields"):
        return type(sample)(*[_inside(item, function) for item in sample])
    if isinstance(sample, tuple | list):
        return [_inside(item, function) for item in sample]
    return function(sample)


def _like(example: Mapping[Any, Any], made: dict[Any, Any]) -> Mapping[Any, Any]:
    """A mapping of the class of the example, if that can be made of a dict; else the dict."""
    try:
        return type(example)(made)  # type: ignore[call-arg]
    except TypeError:
        return made
