"""Lesson 5, embeddings: checks and solutions of its exercises."""

import numpy as np
from lesson import RIGHT, Exercise


def numbers(answer):
    if answer == 64_000:
        return RIGHT
    if answer == 1064:
        return "the sizes are multiplied, not added: each of the 1,000 rows has 64 numbers"
    return "one row for each token; how many numbers are in a row, and how many rows are there?"


def queen(answer):
    given = tuple(answer)
    if len(given) != 2:
        return "a pair of numbers, such as (0, 0)"
    if given == (4, 3):
        return RIGHT
    if given == (4, -1):
        return "take the step from man to woman, not back"
    return "king - man + woman, number by number"


def finder(answer):
    words = ["short", "long", "other"]
    vectors = np.array([[0.1, 0.0], [5.0, 4.0], [0.0, 1.0]])
    for target, right in (([1.0, 0.0], "short"), ([0.0, 3.0], "other"), ([1.0, 1.0], "long")):
        got = answer(np.array(target), list(words), vectors.copy())
        if got is None:
            return "the function returns nothing yet"
        if got != right:
            return f"for {target} it gave {got!r}, and {right!r} is right; the vectors are {vectors.tolist()}"
    return RIGHT


def nearest(target, words, vectors):
    """The word that points in the direction of target."""
    lengths = np.linalg.norm(vectors, axis=1)
    return words[int(np.argmax(vectors @ target / lengths))]


def by_product(target, words, vectors):
    return words[int(np.argmax(vectors @ target))]


def by_distance(target, words, vectors):
    return words[int(np.argmin(np.linalg.norm(vectors - target, axis=1)))]


EXERCISES = [
    Exercise(
        numbers,
        solution=64_000,
        why="1,000 rows of 64 numbers.",
        wrong=[1064, 1000, 64, 128_000],
    ),
    Exercise(
        queen,
        solution=(4, 3),
        why="king - man + woman = (4, 1) - (1, 0) + (1, 2).",
        wrong=[(4, -1), (4, 1), (5, 3), (4, 3, 0), 4],
    ),
    Exercise(
        finder,
        solution=nearest,
        why="Products divided by the lengths compare directions; the length of target is the same for all.",
        wrong=[by_product, by_distance, lambda target, words, vectors: None],
    ),
]
