"""NumPy formulas that the references of puzzles use, on float64 arrays."""

from __future__ import annotations

import numpy as np

from tinytensor.puzzles.problem import Array


def softmax(x: Array) -> Array:
    """Softmax along the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True, initial=-np.inf))
    return np.asarray(e / e.sum(-1, keepdims=True))


def normalized(x: Array, eps: float = 1e-5) -> Array:
    """Rows of mean 0 and variance 1."""
    return np.asarray((x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps))


def gelu_slope(x: Array) -> Array:
    """Derivative of gelu in its form with tanh."""
    k = np.sqrt(2 / np.pi)
    t = np.tanh(k * (x + 0.044715 * x**3))
    return np.asarray(0.5 * (1 + t) + 0.5 * x * (1 - t**2) * k * (1 + 3 * 0.044715 * x**2))


def attention(q: Array, k: Array, v: Array) -> Array:
    """Causal attention of one head."""
    scores = q @ k.T / np.sqrt(q.shape[1])
    return np.asarray(softmax(np.where(np.tri(len(q), dtype=bool), scores, -np.inf)) @ v)


def blur(x: Array) -> Array:
    """Mean of an element and its neighbors within 1, along all axes; outside of x there are zeros."""
    padded, total = np.pad(x, 1), np.zeros_like(x)
    for shift in np.ndindex(*[3] * x.ndim):
        total = total + padded[tuple(slice(s, s + n) for s, n in zip(shift, x.shape, strict=True))]
    return np.asarray(total / 3**x.ndim)


def one_hot(index: Array, classes: int) -> Array:
    """Rows of zeros with a 1 at each index."""
    return np.asarray(index[:, None] == np.arange(classes), dtype=np.float64)
