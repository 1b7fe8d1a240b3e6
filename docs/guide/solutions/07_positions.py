"""Lesson 7, positions: checks and solutions of its exercises."""

from math import cos, sin

from lesson import RIGHT, Exercise


def at_zero(answer):
    given = [float(number) for number in answer]
    if given == [0, 1, 0, 1]:
        return RIGHT
    if given == [0, 0, 0, 0]:
        return "the sine of 0 is 0; what is the cosine?"
    if given == [0, 0, 1, 1]:
        return "sine and cosine take turns: channel 0 is a sine, channel 1 a cosine"
    return "at t = 0 every angle is 0: put that into sine and cosine"


def weights(answer):
    if answer == 1024 * 768:
        return RIGHT
    if answer == 50_257 * 768:
        return "that is the table of tokens; the table of positions has a row for each place in the block"
    if answer == 1024:
        return "that is the number of rows; how long is each?"
    return "block size times the length of an embedding"


def waves(answer):
    for t, C in ((0, 4), (3, 6), (100, 8)):
        got = answer(t, C)
        if got is None:
            return "the function returns nothing yet"
        if len(got) != C:
            return f"place({t}, {C}) has {len(got)} numbers, not {C}"
        for c, (own, right) in enumerate(zip(got, place(t, C))):
            if abs(own - right) > 1e-6:
                return f"place({t}, {C})[{c}] is {own:.4f}, and {right:.4f} is right"
    return RIGHT


def place(t, C):
    """Sines and cosines of position t."""
    return [(sin, cos)[c % 2](t / 10000 ** (c // 2 * 2 / C)) for c in range(C)]


def without_pairs(t, C):
    return [(sin, cos)[c % 2](t / 10000 ** (c / C)) for c in range(C)]


EXERCISES = [
    Exercise(
        at_zero,
        solution=[0, 1, 0, 1],
        why="All hands of the clocks stand at angle 0: sine 0, cosine 1.",
        wrong=[[0, 0, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0], [0, 1], 0],
    ),
    Exercise(
        weights,
        solution=786_432,
        why="1,024 places with 768 numbers each.",
        wrong=[50_257 * 768, 1024, 768, 0],
    ),
    Exercise(
        waves,
        solution=place,
        why="Both channels of a pair have the same rate: 2i is the even number below c.",
        wrong=[without_pairs, lambda t, C: None, lambda t, C: [sin(t)] * C, lambda t, C: []],
    ),
]
