"""Lesson 12, gradient descent: checks and solutions of its exercises."""

import numpy as np
from lesson import RIGHT, Exercise

import tinytensor as tt


def limit(answer):
    if answer == 1:
        return RIGHT
    hints = {
        0.5: "at 0.5 the factor is 0: one step is enough",
        2: "at 2 the factor is −3; where is it −1?",
        0: "at 0 nothing moves, but just above it does",
    }
    return hints.get(answer, "the distance stays the same where the factor 1 − 2 lr is −1")


def gradient(answer):
    rng = np.random.default_rng(3)
    for N, C in ((6, 3), (1, 2)):
        x, w, y = rng.normal(size=(N, C)), rng.normal(size=C), rng.normal(size=N)
        asked = tt.tensor(w.tolist(), dtype=tt.float64, requires_grad=True)
        ((tt.asarray(x) @ asked - tt.asarray(y)) ** 2).mean().backward()
        got = answer(x, w, y)
        if got is None:
            return "the function returns nothing yet"
        if np.shape(got) != (C,):
            return f"the shape is {np.shape(got)}, and {(C,)} is right"
        if not np.allclose(got, asked.grad.numpy()):
            factor = np.mean(got / asked.grad.numpy())
            return f"N={N}: the engine finds other numbers (yours are {factor:.3g} times as large on average)"
    return RIGHT


def slope(x, w, y):
    """The gradient, (C,)."""
    return 2 * x.T @ (x @ w - y) / len(y)


def momentum(answer):
    for lr, share, steps in ((0.1, 0.0, 1), (0.1, 0.0, 7), (0.1, 0.5, 2), (0.05, 0.9, 20)):
        w = tt.tensor(0.0, dtype=tt.float64, requires_grad=True)
        optimizer = tt.optim.SGD([w], lr=lr, momentum=share)
        for _ in range(steps):
            optimizer.zero_grad()
            ((w - 3.0) ** 2).backward()
            optimizer.step()
        got = answer(lr, share, steps)
        if got is None:
            return "the function returns nothing yet"
        if abs(got - w.item()) > 1e-6:
            return f"lr={lr}, momentum={share}, {steps} steps: {got:.4f}, and {w.item():.4f} is right"
    return RIGHT


def with_momentum(lr, momentum, steps):
    """The weight after so many steps."""
    w = b = 0.0
    for _ in range(steps):
        b = momentum * b + 2 * (w - 3)
        w = w - lr * b
    return w


def _averaged(lr, momentum, steps):
    w = b = 0.0
    for _ in range(steps):
        b = momentum * b + (1 - momentum) * 2 * (w - 3)
        w = w - lr * b
    return w


EXERCISES = [
    Exercise(
        limit,
        solution=1.0,
        why="At 1 the factor is −1: the weight jumps between 0 and 6 for ever. Above it, it runs away.",
        wrong=[0.5, 2, 0, 0.97, "one"],
    ),
    Exercise(
        gradient,
        solution=slope,
        why="The slope of a square is 2 · (x w − y), that of x w is x; and the mean divides by N.",
        wrong=[
            lambda x, w, y: None,
            lambda x, w, y: 2 * x.T @ (x @ w - y),
            lambda x, w, y: x.T @ (x @ w - y) / len(y),
            lambda x, w, y: 2 * x.T @ (y - x @ w) / len(y),
            lambda x, w, y: 2 * (x @ w - y) / len(y),
        ],
    ),
    Exercise(
        momentum,
        solution=with_momentum,
        why="Steps in the same direction add up, steps to and fro cancel: so valleys are crossed less often.",
        wrong=[
            lambda lr, momentum, steps: None,
            lambda lr, momentum, steps: 3 - 3 * (1 - 2 * lr) ** steps,
            _averaged,
            3.0,
        ],
    ),
]
