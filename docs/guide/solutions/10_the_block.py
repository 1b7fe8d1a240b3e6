"""Lesson 10, the block: checks and solutions of its exercises."""

import numpy as np
from lesson import RIGHT, Exercise

import tinytensor as tt


def matrices(answer):
    if answer == 12 * 12 * 768 * 768:
        return RIGHT
    hints = {
        12 * 768 * 768: "that is one block; there are 12",
        12 * 4 * 768 * 768: "these are the attention parts; the feed-forward parts are twice as large",
        12 * 8 * 768 * 768: "these are the feed-forward parts; attention has 4 C² more",
    }
    return hints.get(answer, "a block has 4 C² in attention and 8 C² in feed-forward")


def later(answer):
    x = np.array([1.0, 2.0])
    got = answer(x, lambda z: z + 10, lambda z: 2 * z, lambda z: z - 1, lambda z: -z)
    if got is None:
        return "the function returns nothing yet"
    first = x + (x + 10) - 1
    expected = -(first + 2 * first)
    if np.allclose(got, expected):
        return RIGHT
    if np.allclose(got, (x + (x - 1) + 10) + 2 * -(x + (x - 1) + 10)):
        return "this is pre-norm: here each norm comes after its sum"
    return "first attention, its sum, norm_1; then feed_forward, its sum, norm_2"


def post_norm(x, attention, feed_forward, norm_1, norm_2):
    """The stream after a block of the 2017 transformer."""
    x = norm_1(x + attention(x))
    return norm_2(x + feed_forward(x))


def root(answer):
    x = 3.0 + 2.0 * tt.randn(2, 5, 16, generator=tt.Generator(7))
    got = answer(x)
    if got is None:
        return "the function returns nothing yet"
    if np.allclose(got.numpy(), tt.rms_norm(x, (16,), eps=1e-5).numpy(), atol=1e-4):
        return RIGHT
    if np.allclose(got.numpy(), tt.layer_norm(x, (16,)).numpy(), atol=1e-4):
        return "this is layer norm: leave the mean where it is"
    return "square, mean over the last axis (keepdims=True), add eps, root, divide"


def rms_norm(x, eps=1e-5):
    """x divided by the root of (the mean of its squares + eps), row by row."""
    return x / tt.sqrt((x * x).mean(-1, keepdims=True) + eps)


EXERCISES = [
    Exercise(
        matrices,
        solution=84_934_656,
        why="12 C² for each block: 12 · 12 · 768² = 84,934,656. Most of the rest is the token table.",
        wrong=[12 * 768 * 768, 12 * 4 * 768 * 768, 12 * 8 * 768 * 768, 124_439_808],
    ),
    Exercise(
        later,
        solution=post_norm,
        why="The norm is in the direct path from bottom to top, twice in each block.",
        wrong=[
            lambda x, attention, feed_forward, norm_1, norm_2: None,
            lambda x, a, f, n, m: (y := x + a(n(x))) + f(m(y)),
            lambda x, a, f, n, m: m(x + f(n(x + a(x)))),
            lambda x, a, f, n, m: m(f(n(a(x)))),
        ],
    ),
    Exercise(
        root,
        solution=rms_norm,
        why="No mean is taken off, so one pass less over the numbers; models learn as well with it.",
        wrong=[
            lambda x, eps=1e-5: None,
            lambda x, eps=1e-5: x / tt.sqrt((x * x).mean() + eps),
            lambda x, eps=1e-5: x / ((x * x).mean(-1, keepdims=True) + eps),
            lambda x, eps=1e-5: tt.layer_norm(x, (16,), eps=eps),
        ],
    ),
]
