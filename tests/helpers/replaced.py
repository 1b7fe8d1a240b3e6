"""Methods of ops, replaced for a test."""

from collections.abc import Callable
from inspect import getattr_static
from typing import Any

import pytest

from tinytensor.op import registry


def around(monkeypatch: pytest.MonkeyPatch, name: str, part: str, change: Callable[..., Any]) -> None:
    """Let `change(right, *arguments)` run in the place of a method; `right` takes the arguments alone."""
    kind = registry[name]
    right, static = getattr(kind, part), isinstance(getattr_static(kind, part), staticmethod)

    def call(*args: Any) -> Any:
        if static:
            return change(right, *args)
        op, *arguments = args
        return change(lambda *xs: right(op, *xs), *arguments)

    monkeypatch.setattr(kind, part, staticmethod(call) if static else call)
