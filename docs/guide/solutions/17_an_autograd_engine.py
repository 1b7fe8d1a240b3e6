"""Lesson 17, an autograd engine: checks and solutions of its exercises."""

import numpy as np
from lesson import RIGHT, Exercise

import tinytensor as tt


def product(answer):
    if answer == 9:
        return RIGHT
    hints = {
        7: "that is the way through the second factor; a is in the sum, too",
        2: "that is the way through the sum; a is the second factor, too",
        14: "that is y itself",
    }
    return hints.get(answer, "two ways lead from y to a: add what comes along each")


def sigmoid(answer):
    x = tt.tensor([-2.0, 0.0, 0.5, 3.0], dtype=tt.float64, requires_grad=True)
    y = tt.sigmoid(x)
    g = np.array([1.0, 2.0, -1.0, 0.5])
    (y * tt.asarray(g)).sum().backward()
    got = answer(g, y.detach().numpy())
    if got is None:
        return "the function returns nothing yet"
    if not np.allclose(got, x.grad.numpy()):
        return f"the engine finds {x.grad.numpy().round(4)}, and you {np.round(got, 4)}"
    return RIGHT


def sigmoid_slope(g, y):
    """The gradient of x, for y = sigmoid(x)."""
    return g * y * (1 - y)


def bias(answer):
    for shape in ((5, 3), (1, 4), (2, 2)):
        g = np.arange(1.0, 1.0 + shape[0] * shape[1]).reshape(shape)
        got = answer(g)
        if got is None:
            return "the function returns nothing yet"
        if np.shape(got) != shape[1:]:
            return f"the shape is {np.shape(got)}, and {shape[1:]} is right"
        if not np.allclose(got, g.sum(0)):
            return f"for {g.tolist()} it is {g.sum(0).tolist()}, and not {np.round(got, 3).tolist()}"
    return RIGHT


def bias_gradient(g):
    """The gradient of the bias, (C,)."""
    return g.sum(axis=0)


EXERCISES = [
    Exercise(
        product,
        solution=9,
        why="Through the sum comes a = 2, through the second factor a + b = 7: together 9.",
        wrong=[7, 2, 14, 10, "nine"],
    ),
    Exercise(
        sigmoid,
        solution=sigmoid_slope,
        why="The slope of the sigmoid is y (1 − y): only the result is needed, so it alone is kept.",
        wrong=[
            lambda g, y: None,
            lambda g, y: y * (1 - y),
            lambda g, y: g * (1 - y * y),
            lambda g, y: g * y,
            0.25,
        ],
    ),
    Exercise(
        bias,
        solution=bias_gradient,
        why="Each row used the bias once, so the gradients of all rows add up: `summed_to` does this.",
        wrong=[
            lambda g: None,
            lambda g: g,
            lambda g: g.mean(axis=0),
            lambda g: g.sum(axis=1),
            lambda g: g[0],
        ],
    ),
]
