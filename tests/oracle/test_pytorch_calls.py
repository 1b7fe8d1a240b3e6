"""Common calls of PyTorch, as text: run by both libraries, each gives the same."""

from typing import Any

import numpy as np
import pytest

import tinytensor as tt
from tests.helpers.pytorch_calls import DATA, RANDOM, SAME, known, lines, run, same

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore::UserWarning")]  # of names to come


@pytest.mark.parametrize("text", SAME)
def test_the_same_text_gives_the_same(text: str) -> None:
    same(known(run(text, tt), tt), known(run(text, torch), torch))


def gradients(text: str, lib: Any) -> list[Any]:
    """Gradients of a weighted sum of the result, for each input that has one; none if nothing is recorded."""
    leaves: dict[str, Any] = {}
    y = run(text, lib, leaves)
    if not isinstance(y, lib.Tensor) or not y.requires_grad:
        return []
    weights = np.cos(np.arange(y.detach().numpy().size)).reshape(y.shape) + 1.5
    (y * lib.tensor(weights).to(y.dtype)).sum().backward()
    grads = {name: leaf.grad for name, leaf in leaves.items()}
    return [np.zeros(DATA[name].shape) if g is None else g.numpy() for name, g in grads.items()]


# Where PyTorch refuses or warns of tensors that require gradients.
NO_GRADIENT = lines("""
x.data.mul(2)
x // y
x.numpy()
float(s)
int(s)
bool(s)
x.heaviside(y)
torch.quantile(n[:2], 0.5)
k.bincount(v[:2])
torch.scatter(x, 1, g[:1], y)
""")


@pytest.mark.parametrize("text", [line for line in SAME if line not in NO_GRADIENT])
def test_the_same_text_gives_the_same_gradients(text: str) -> None:
    ours, theirs = gradients(text, tt), gradients(text, torch)
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("text", lines(RANDOM))
def test_random_numbers_have_the_same_shape_and_dtype(text: str) -> None:
    assert known(run(text, tt), tt)[:2] == known(run(text, torch), torch)[:2]
