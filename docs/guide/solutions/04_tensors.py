"""Lesson 4, tensors: checks and solutions of its exercises."""

from lesson import RIGHT, Exercise

import tinytensor as tt

EXPRESSIONS = ["x.T", "x[1:3]", "x[:, ::2]", "x.reshape(2, 12)", "x.T.reshape(24)", "x.T.contiguous()"]


def strides(answer):
    given = tuple(answer)
    right = tt.zeros(4, 5, 6).strides
    if given == right:
        return RIGHT
    if len(given) != 3:
        return "each of the three axes has one stride"
    if given == (1, 4, 20):
        return "that is the order of the first axis fastest; here the last axis is"
    if given == (4, 5, 6):
        return "that is the shape; a stride says how many elements to walk for one step along the axis"
    if given[-1] != 1:
        return "one step along the last axis is the next element in memory"
    return "one step along an axis walks over everything that the axes behind it hold"


def places(answer):
    x = tt.arange(60, dtype=tt.float32).reshape(3, 4, 5)
    for view in (x, x.T, x[1:, ::2], x.flip(0), x[0, 1]):
        index = tuple(n - 1 for n in view.shape)
        got = answer(index, view.strides, view.offset)
        if got is None:
            return "the function returns nothing yet"
        expected = int(view[index].item())  # arange: each element equals its position
        if got != expected:
            return f"position_of({index}, {view.strides}, {view.offset}) gave {got}, and {expected} is right"
    return RIGHT


def position_of(index, strides, offset):
    """A position in the storage."""
    return offset + sum(i * stride for i, stride in zip(index, strides))


def without_offset(index, strides, offset):
    return sum(i * stride for i, stride in zip(index, strides))


def copies(answer):
    given = set(answer)
    if unknown := given - set(EXPRESSIONS):
        return f"{sorted(unknown)} is none of the six"
    x = tt.zeros(4, 6)
    right = {text for text in EXPRESSIONS if not eval(text, {"x": x}).shares_memory(x)}
    if given == right:
        return RIGHT
    if given - right:
        return f"{min(given - right)} only looks at the same memory: strides and offset can say it"
    return "one more needs an order of elements that no strides give"


EXERCISES = [
    Exercise(
        strides,
        solution=(30, 6, 1),
        why="The last axis steps by 1, the middle one over 6 elements, the first over 5 · 6 = 30.",
        wrong=[(1, 4, 20), (4, 5, 6), (30, 6), (6, 30, 1), (120, 30, 6), 30],
    ),
    Exercise(
        places,
        solution=position_of,
        why="Offset, plus index times stride for each axis; it holds for every view.",
        wrong=[without_offset, lambda index, strides, offset: None, lambda index, strides, offset: offset],
    ),
    Exercise(
        copies,
        solution={"x.T.reshape(24)", "x.T.contiguous()"},
        why="Both ask for the order of the transpose in memory; all others are strides and an offset.",
        wrong=[{"x.T"}, {"x.T.reshape(24)"}, set(EXPRESSIONS), {"y"}, set()],
    ),
]
