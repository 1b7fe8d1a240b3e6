"""Lesson 9, attention: checks and solutions of its exercises."""

from math import sqrt

import numpy as np
from lesson import RIGHT, Exercise

import tinytensor as tt


def triangle(answer):
    if answer == 1024 * 1025 // 2:
        return RIGHT
    hints = {
        1024 * 1024: "that is the whole square; half of it looks ahead",
        1024 * 1023 // 2: "each token may look at itself, too",
        1024 * 1024 // 2: "the diagonal belongs to the triangle as a whole, not by half",
    }
    return hints.get(answer, "the first row has 1 number, the second 2, … the last 1024")


def causal(answer):
    generator = tt.Generator(8)
    for T, d in ((1, 4), (5, 4), (7, 16)):
        q, k, v = [tt.randn(T, d, generator=generator) for _ in range(3)]
        expected = tt.scaled_dot_product_attention(q, k, v, is_causal=True)
        got = answer(q, k, v)
        if got is None:
            return "the function returns nothing yet"
        if tuple(got.shape) != (T, d):
            return f"the result is {tuple(got.shape)}, and {(T, d)} is right"
        wrong = ~np.isclose(got.numpy(), expected.numpy(), atol=1e-4).all(1)
        if wrong.any():
            return (
                f"T={T}, d={d}: row {int(wrong.argmax())} is wrong; is the scale there, and the place itself?"
            )
    return RIGHT


def place_by_place(q, k, v):
    """Causal attention, (T, d)."""
    rows = []
    for t in range(len(q)):
        scores = k[: t + 1] @ q[t] / sqrt(q.shape[1])  # (t + 1,)
        rows.append(tt.softmax(scores) @ v[: t + 1])
    return tt.stack(rows)


def sliding(answer):
    for T, window in ((5, 1), (5, 2), (6, 4), (4, 9)):
        got = answer(T, window)
        if got is None:
            return "the function returns nothing yet"
        distance = np.arange(T)[:, None] - np.arange(T)  # of the key behind the query
        expected = (distance < 0) | (distance >= window)
        if not np.array_equal(np.array(got.tolist()), expected):
            return f"T={T}, window={window}: {np.array(got.tolist()).astype(int).tolist()} is not it"
    return RIGHT


def hidden(T, window):
    """True where a query (row) may not attend to a key (column)."""
    ones = tt.ones(T, T)
    return (tt.triu(ones, 1) + tt.tril(ones, -window)) != 0


def _unscaled(q, k, v):
    return tt.stack([tt.softmax(k[: t + 1] @ q[t]) @ v[: t + 1] for t in range(len(q))])


def _without_itself(q, k, v):
    return tt.stack([tt.softmax(k[: t or 1] @ q[t] / sqrt(q.shape[1])) @ v[: t or 1] for t in range(len(q))])


def _sees_all(q, k, v):
    return tt.softmax(q @ k.T / sqrt(q.shape[1])) @ v


EXERCISES = [
    Exercise(
        triangle,
        solution=524_800,
        why="1 + 2 + … + 1024 = 1024 · 1025 / 2 = 524,800: half the square, and half the diagonal more.",
        wrong=[1024 * 1024, 1024 * 1023 // 2, 1024 * 512, 1024],
    ),
    Exercise(
        causal,
        solution=place_by_place,
        why="Place t takes the first t + 1 keys and values. A cache keeps these two when a model writes.",
        wrong=[
            lambda q, k, v: None,
            _unscaled,
            _without_itself,
            _sees_all,
            lambda q, k, v: v[:1],
            "attention",
        ],
    ),
    Exercise(
        sliding,
        solution=hidden,
        why="Above the diagonal lies the future; below it, from distance `window` on, what is too long ago.",
        wrong=[
            lambda T, window: None,
            lambda T, window: tt.triu(tt.ones(T, T), 1) != 0,
            lambda T, window: (tt.triu(tt.ones(T, T), 1) + tt.tril(tt.ones(T, T), -window - 1)) != 0,
            lambda T, window: (tt.triu(tt.ones(T, T), 1) + tt.tril(tt.ones(T, T), -window)) == 0,
            "hidden",
        ],
    ),
]
