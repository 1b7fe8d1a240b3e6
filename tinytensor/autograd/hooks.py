"""Gradient hooks: user functions called during backward that may replace gradients."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tinytensor.errors import DeviceError, GradError
from tinytensor.op import Grads


class Removable:
    """Handle that removes a hook: call `remove()`, or use it as a context manager."""

    def __init__(self, hooks: list[Any], hook: Callable[..., Any]) -> None:
        self._hooks, self._entry = hooks, partial(hook)  # unique object: a hook may be registered twice
        hooks.append(self._entry)

    def remove(self) -> None:
        """Remove the hook; may be called more than once."""
        self._hooks[:] = [h for h in self._hooks if h is not self._entry]

    def __enter__(self) -> Removable:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class LeafHooks(list[Callable[[Any], Any]]):
    """Hooks of a leaf: a list of gradient hooks, and the post-accumulate hooks.

    Attributes:
        after: called with the leaf as soon as its `.grad` is complete in a pass.
    """

    def __init__(self) -> None:
        super().__init__()
        self.after: list[Callable[[Any], None]] = []


class Extra:
    """Optional data of a node: hooks, tensors with `retain_grad`, and the forward trace (anomaly mode)."""

    __slots__ = ("after", "before", "retained", "trace")

    def __init__(self) -> None:
        self.before: list[Callable[[Grads], Grads | None]] = []
        self.after: list[Callable[[Grads, Grads], Grads | None]] = []
        self.retained: list[tuple[weakref.ref[Any], int]] = []  # tensors and their output index
        self.trace: str = ""

    def run_before(self, given: list[Any]) -> tuple[list[Any], list[tuple[Any, Any]]]:
        """The gradients of the outputs after the hooks, and (tensor, its gradient) for `retain_grad`."""
        grads = tuple(given)
        for hook in tuple(self.before):
            grads = replaced_all("register_prehook", grads, hook(grads))
        kept = [(ref(), grads[index]) for ref, index in self.retained]
        return list(grads), [(t, g) for t, g in kept if t is not None and g is not None]

    def run_after(self, back: Grads, grads: Grads) -> Grads:
        """The gradients of the inputs after the hooks."""
        for hook in tuple(self.after):
            back = replaced_all("register_hook", back, hook(back, grads))
        return back


def run_tensor_hooks(hooks: Sequence[Callable[[Any], Any]] | None, grad: Any) -> Any:
    """The gradient after a tensor's hooks, called in registration order."""
    for hook in tuple(hooks or ()):
        grad = replaced("register_hook", grad, hook(grad))
    return grad


def replaced(what: str, grad: Any, new: Any) -> Any:
    """Checked result of a tensor hook: the old gradient for None, else one of the same shape and dtype."""
    if new is None or new is grad:
        return grad
    if type(new) is not type(grad):
        raise GradError(
            f"{what}: the hook returned a {type(new).__name__}",
            why="a hook must return a tensor that replaces the gradient, or None to keep it",
            fix="return tt.asarray(…), or nothing",
        )
    if new.shape != grad.shape or new.dtype is not grad.dtype:
        raise GradError(
            f"{what}: the hook returned shape {new.shape}, dtype {new.dtype}",
            why=f"it replaces a gradient of shape {grad.shape}, dtype {grad.dtype}",
            fix="return a tensor of the same shape and dtype",
        )
    if new.device is not grad.device:
        raise DeviceError(
            f"{what}: the hook returned a tensor of shape {new.shape} on {new.device}",
            why=f"it replaces a gradient on {grad.device}",
            fix=f"return grad.to({str(grad.device)!r})",
        )
    return new


def replaced_all(what: str, grads: Grads, new: Any) -> Grads:
    """Checked result of a node hook: the old gradients for None; a None in the tuple stops that gradient."""
    if new is None:
        return grads
    if not isinstance(new, tuple) or len(new) != len(grads):
        got = f"{len(new)} gradients" if isinstance(new, tuple) else f"a {type(new).__name__}"
        raise GradError(
            f"{what}: the hook returned {got}",
            why=f"it replaces a tuple of {len(grads)}",
            fix="return a tuple with a tensor or None for each, or nothing",
        )
    for i, (g, n) in enumerate(zip(grads, new, strict=True)):
        if g is None and n is not None:
            raise GradError(
                f"{what}: the hook returned a gradient at position {i}, where there is none",
                why="nothing says which shape and dtype it has, or it is not needed",
                fix="return None in its place",
            )
    return tuple([None if n is None else replaced(what, g, n) for g, n in zip(grads, new, strict=True)])
