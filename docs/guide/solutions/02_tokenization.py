"""Lesson 2, tokenization: checks and solutions of its exercises."""

from collections import Counter
from itertools import pairwise

from lesson import RIGHT, Exercise


def first_pair(answer):
    counts = Counter(pairwise("low lower lowest"))
    pair = tuple(answer)
    if pair not in counts:
        return "these two do not stand side by side in the text"
    most = max(counts.values())
    if counts[pair] < most:
        return f"this pair comes {counts[pair]} times, and another one comes {most} times"
    return RIGHT


def bytes_of(answer):
    if answer == 6:
        return RIGHT
    if answer == 2:
        return "these are the characters; without merges, each token is one byte"
    return "look at how many bytes each of the two takes in UTF-8, above"


def decoder(answer):
    vocabulary = [b"\xc3", b"\xa9", b"ca", b"t"]
    for ids, expected in (([2, 3], "cat"), ([], ""), ([0, 1], "é"), ([2, 3, 0, 1], "caté")):
        got = answer(ids, vocabulary)
        if got is None:
            return "the function returns nothing yet"
        if got != expected:
            return f"decode({ids}, {vocabulary}) gave {got!r}, and {expected!r} is right"
    return RIGHT


def decode(ids, vocabulary):
    """The text of ids."""
    return b"".join([vocabulary[i] for i in ids]).decode("utf-8")


def decode_one_by_one(ids, vocabulary):
    return "".join([vocabulary[i].decode("utf-8") for i in ids])


EXERCISES = [
    Exercise(
        first_pair,
        solution=("l", "o"),
        why="(l, o) and (o, w) both come three times, more than any other; a fixed rule says which is first.",
        wrong=[("l", "w"), ("w", "e"), ("e", "s"), "x", 3],
    ),
    Exercise(
        bytes_of,
        solution=6,
        why="é takes two bytes and 🙂 takes four.",
        wrong=[2, 4, 8, "six"],
    ),
    Exercise(
        decoder,
        solution=decode,
        why="Join the bytes first, then read them as UTF-8: half a character is no text.",
        wrong=[decode_one_by_one, lambda ids, vocabulary: None, lambda ids, vocabulary: str(ids)],
    ),
]
