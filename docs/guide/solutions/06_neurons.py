"""Lesson 6, neurons and activations: checks and solutions of its exercises."""

from math import erf, isclose, sqrt

from lesson import RIGHT, Exercise


def output(answer):
    if answer == 0:
        return RIGHT
    if answer == -1:
        return "that is the weighted sum; ReLU gives nothing below zero"
    if answer == -2:
        return "the bias is missing, and ReLU after it"
    return "2 · 1 - 1 · 4 + 1, and then ReLU"


def nand(answer):
    w1, w2, bias = answer
    for a in (0, 1):
        for b in (0, 1):
            z = w1 * a + w2 * b + bias
            right = int(not (a and b))
            if int(z > 0) != right:
                return f"for ({a}, {b}) the weighted sum is {z:g}, so it gives {int(z > 0)}, not {right}"
    return RIGHT


def bend(answer):
    for z in (0.0, 1.0, -1.0, 3.5, -4.0):
        got = answer(z)
        if got is None:
            return "the function returns nothing yet"
        right = gelu(z)
        if not isclose(got, right, abs_tol=1e-3):
            return f"gelu({z}) gave {got:.4f}, and {right:.4f} is right"
    return RIGHT


def gelu(z):
    """z · Φ(z)."""
    return z * (1 + erf(z / sqrt(2))) / 2


EXERCISES = [
    Exercise(output, solution=0, why="2 · 1 - 1 · 4 + 1 = -1, and ReLU gives 0.", wrong=[-1, -2, 1, 3]),
    Exercise(
        nand,
        solution=(-1, -1, 1.5),
        why="Each input takes 1 away, and only two of them bring 1.5 below zero. Many other numbers do, too.",
        wrong=[(1, 1, -1.5), (1, 1, -0.5), (-1, -1, 1), (0, 0, 1), 3, (1, 2)],
    ),
    Exercise(
        bend,
        solution=gelu,
        why="For large z the share is nearly 1, and GELU is nearly z; for very negative z it is nearly 0.",
        wrong=[lambda z: None, lambda z: max(0.0, z), lambda z: (1 + erf(z / sqrt(2))) / 2, lambda z: z],
    ),
]
