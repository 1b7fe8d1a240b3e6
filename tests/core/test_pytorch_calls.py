"""Common calls of PyTorch, as text, against its recorded results (tests/golden/make_pytorch_calls.py)."""

from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.pytorch_calls import RANDOM, REFUSED, SAME, known, lines, run, same
from tinytensor.interop import pytorch
from tinytensor.methods import Methods


def read(value: Any) -> Any:
    """A recorded result, as `known` has it."""
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        dtype, shape, numbers = content
        return dtype, tuple(shape), np.array(numbers, dtype).reshape(shape)
    return np.array(content) if kind == "array" else tuple([read(x) for x in content])


@pytest.mark.parametrize("text", SAME)
def test_the_same_text_gives_what_pytorch_gives(text: str) -> None:
    same(known(run(text, tt), tt), read(SAME[text]))


@pytest.mark.parametrize("text", lines(REFUSED))
def test_what_means_something_else_is_an_error(text: str) -> None:
    with pytest.raises((tt.TinyTensorError, TypeError, AttributeError)):
        run(text, tt)


def test_each_name_is_called() -> None:
    called = "\n".join(SAME) + RANDOM
    assert [name for name in pytorch.__all__ if f".{name}(" not in called] == []
    names: dict[Any, list[str]] = {}
    for name, f in vars(Methods).items():
        if getattr(f, "__module__", "") == pytorch.__name__:
            names.setdefault(f, []).append(name)
    assert [same for same in names.values() if not any(f".{name}(" in called for name in same)] == []
