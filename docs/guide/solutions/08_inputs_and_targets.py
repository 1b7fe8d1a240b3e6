"""Lesson 8, inputs and targets: checks and solutions of its exercises."""

from lesson import RIGHT, Exercise

import tinytensor as tt


def predictions(answer):
    if answer == 64 * 256:
        return RIGHT
    hints = {
        64: "that is the number of rows; how many questions does a row hold?",
        256: "that is one row; a step sees the whole batch",
        64 * 255: "each of the 256 inputs has a target: the window is cut one token longer",
    }
    return hints.get(answer, "each place of each row is one question")


def cutter(answer):
    ids = tt.arange(37)
    for T, n in ((9, 4), (10, 3), (12, 3), (36, 1)):
        got = answer(ids, T)
        if got is None:
            return "the function returns nothing yet"
        x, y = got
        if x.shape != (n, T) or y.shape != (n, T):
            return f"37 ids, T={T}: the shapes are {x.shape} and {y.shape}, and {(n, T)} is right"
        if x.reshape(-1).tolist() != list(range(n * T)):
            return f"T={T}: the inputs are not the first {n * T} ids in order"
        if y.reshape(-1).tolist() != list(range(1, n * T + 1)):
            return f"T={T}: each target is the token after its input, also at the end of a row"
    return RIGHT


def cut(ids, T):
    """Inputs and targets (n, T) of ids (N,)."""
    n = (len(ids) - 1) // T  # one token more than n * T is needed, for the last target
    return ids[: n * T].reshape(n, T), ids[1 : n * T + 1].reshape(n, T)


def keeper(answer):
    targets = tt.arange(9)
    got = answer(targets, 3, 5)
    if got is None:
        return "the function returns nothing yet"
    if targets.tolist() != list(range(9)):
        return "the targets that were given have changed: work on a copy"
    expected = [-100, -100, -100, 3, 4, -100, -100, -100, -100]
    if got.tolist() != expected:
        return f"only(0 … 8, 3, 5) gave {got.tolist()}, and {expected} is right"
    loss = tt.cross_entropy(tt.zeros(9, 9), got).item()
    return RIGHT if abs(loss - 2.1972) < 1e-3 else f"the loss of a fair draw is {loss}, not ln 9"


def only(targets, begin, end):
    """A copy of the targets with −100 outside of begin … end - 1."""
    kept = tt.full(targets.shape, -100, dtype=targets.dtype)
    kept[begin:end] = targets[begin:end]
    return kept


def _only_in_place(targets, begin, end):
    targets[:begin] = -100
    targets[end:] = -100
    return targets


EXERCISES = [
    Exercise(
        predictions,
        solution=16_384,
        why="64 rows of 256 places, and each place is a question with an answer: 16,384.",
        wrong=[64, 256, 64 * 255, 320, "many"],
    ),
    Exercise(
        cutter,
        solution=cut,
        why="Both are views of the same ids; the targets begin one number later.",
        wrong=[
            lambda ids, T: None,
            lambda ids, T: (ids[: len(ids) // T * T].reshape(-1, T), ids[: len(ids) // T * T].reshape(-1, T)),
            lambda ids, T: (ids.unfold(0, T)[:-1], ids.unfold(0, T)[1:]),
            lambda ids, T: (ids[:36].reshape(-1, T)[:, :-1], ids[:36].reshape(-1, T)[:, 1:]),
            "cut",
        ],
    ),
    Exercise(
        keeper,
        solution=only,
        why="cross_entropy leaves out targets of -100: they add nothing to loss and gradient.",
        wrong=[
            lambda targets, begin, end: None,
            lambda targets, begin, end: targets[begin:end],
            lambda targets, begin, end: targets.clone(),
            _only_in_place,
            "only",
        ],
    ),
]
