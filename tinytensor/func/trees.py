"""Trees: tensors, and tuples, lists and dicts of trees; other objects in them are constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinytensor.errors import ArgumentError
from tinytensor.tensor import Tensor

Tree = Any


def mapped(function: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """The tree with function(x, …) in place of each tensor x; … are what other trees have in its place.

    Another tree may end earlier: what it has there counts for all tensors of this one below.
    """
    if isinstance(tree, Tensor):
        return function(tree, *others)
    if isinstance(tree, dict):
        return {
            key: mapped(function, value, *[o[key] if isinstance(o, dict) else o for o in others])
            for key, value in tree.items()
        }
    if isinstance(tree, list | tuple):
        parts = [
            mapped(function, part, *[o[i] if isinstance(o, list | tuple) else o for o in others])
            for i, part in enumerate(tree)
        ]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return tree


def check_prefix(what: str, name: str, prefix: Tree, tree: Tree) -> None:
    """ArgumentError unless a tree of axes fits another: the same containers, or one axis for a whole one."""
    if isinstance(prefix, int) or prefix is None:
        return
    same = isinstance(prefix, dict) == isinstance(tree, dict) and isinstance(tree, dict | list | tuple)
    if same and len(prefix) == len(tree) and (not isinstance(tree, dict) or prefix.keys() == tree.keys()):
        for key in tree if isinstance(tree, dict) else range(len(tree)):
            check_prefix(what, name, prefix[key], tree[key])
        return
    raise ArgumentError(
        f"{what}: {name} has {prefix!r} for a {type(tree).__name__}",
        why="it has an axis, None, or the same tuples, lists and dicts as what it is about",
        fix=f"{name}=0 for all, or one entry for each",
    )


def leaves(tree: Tree) -> list[Tensor]:
    """The tensors of a tree, in order."""
    found: list[Tensor] = []
    mapped(found.append, tree)
    return found


def filled(tree: Tree, values: Sequence[Any]) -> Tree:
    """The tree with these values in place of its tensors."""
    left = iter(values)
    return mapped(lambda _: next(left), tree)
