"""Lesson 3, blocks: checks and solutions of its exercises."""

from lesson import RIGHT, Exercise

STEPS = ["show", "predict", "compare", "adjust"]


def how_many(answer):
    if answer == 12:
        return RIGHT
    if answer == 13:
        return "so many windows fit, but the last one has no token after it, so its last target is missing"
    if answer == 2:
        return "blocks may overlap: the next one begins one token later"
    return (
        "the first begins at token 0; at which token does the last one begin that still has all its targets?"
    )


def order(answer):
    given = [str(word).lower() for word in answer]
    if sorted(given) != sorted(STEPS):
        return f"use each of the four words once; you have {given}"
    for i, (got, right) in enumerate(zip(given, STEPS)):
        if got != right:
            return f"step {i + 1} is not {got!r}: what does it need that only another step brings?"
    return RIGHT


def cutter(answer):
    for ids, T in (([5, 6, 7, 8], 2), ([1, 2], 1), ([1, 2, 3], 3)):
        expected = windows(ids, T)
        got = answer(list(ids), T)
        if got is None:
            return "the function returns nothing yet"
        got = [(list(block), list(targets)) for block, targets in got]
        if got != expected:
            return f"windows({ids}, {T}) gave {got}, and {expected} is right"
    return RIGHT


def windows(ids, T):
    """All blocks and their targets."""
    return [(ids[s : s + T], ids[s + 1 : s + T + 1]) for s in range(len(ids) - T)]


def without_last_target(ids, T):
    return [(ids[s : s + T], ids[s + 1 : s + T + 1]) for s in range(len(ids) - T + 1)]


EXERCISES = [
    Exercise(
        how_many,
        solution=12,
        why="Block and targets take 9 tokens in a row, and 9 of 20 can begin at 12 places: 20 - 8.",
        wrong=[13, 2, 20, 11, "twelve"],
    ),
    Exercise(
        order,
        solution=STEPS,
        why="Without a prediction there is nothing to compare; without comparing, no way to adjust.",
        wrong=[
            ["predict", "show", "compare", "adjust"],
            ["show"],
            ["show", "predict", "adjust", "compare"],
            4,
        ],
    ),
    Exercise(
        cutter,
        solution=windows,
        why="There are len(ids) - T of them, and the targets begin one token later.",
        wrong=[
            without_last_target,
            lambda ids, T: None,
            lambda ids, T: [(ids[:T], ids[:T])],
            lambda ids, T: [(ids[s : s + T], ids[s + T]) for s in range(len(ids) - T)],
        ],
    ),
]
