"""Lesson 11, weights and the model: checks and solutions of its exercises."""

import numpy as np
from lesson import RIGHT, Exercise

import tinytensor as tt
from gpt.models.parameter_shapes import parameter_shapes
from gpt.presets import preset


def gigabytes(answer):
    if abs(answer - 14) <= 1:
        return RIGHT
    hints = {7: "that is one byte for each weight; 16 bits are two", 28: "that is four bytes for each weight"}
    return hints.get(answer, "16 bits are 2 bytes; how many bytes are 7 billion times 2?")


def counter(answer):
    for name in ("gpt2", "gpt2-medium", "gpt3"):
        config = preset(name)[0]
        expected = sum([int(np.prod(shape)) for shape in parameter_shapes(config).values()])
        sizes = (config.vocab_size, config.block_size, config.n_layer, config.n_embd)
        got = answer(*sizes)
        if got is None:
            return "the function returns nothing yet"
        if got != expected:
            return f"{name}: weights_of{sizes} gave {got:,}, and {expected:,} is right: {got - expected:+,}"
    return RIGHT


def weights_of(V, T, L, C):
    """The number of weights."""
    matrices = 3 * C * C + C * C + 4 * C * C + 4 * C * C
    biases = 3 * C + C + 4 * C + C
    norms = 2 * 2 * C
    return V * C + T * C + L * (matrices + biases + norms) + 2 * C


def view_of_head(answer):
    packed = tt.arange(12.0 * 36.0).reshape(12, 36)
    for n_head, head in ((3, 0), (3, 2), (4, 1)):
        size = 12 // n_head
        got = answer(packed, n_head, head)
        if got is None:
            return "the function returns nothing yet"
        if got.shape != (12, size):
            return f"12 channels, {n_head} heads: the shape is {got.shape}, and {(12, size)} is right"
        if got.tolist() != packed.numpy()[:, head * size : (head + 1) * size].tolist():
            return f"head {head} of {n_head}: the numbers are those of other columns"
        if not got.shares_memory(packed):
            return "the numbers are right, but they were copied: take a slice"
    return RIGHT


def query_matrix(packed, n_head, head):
    """W_q of a head, (C, C / n_head)."""
    size = packed.shape[0] // n_head
    return packed[:, head * size : (head + 1) * size]


EXERCISES = [
    Exercise(
        gigabytes,
        solution=14,
        why="7 billion weights of 2 bytes are 14 GB; a little less or more, as the 7 is rounded.",
        wrong=[7, 28, 56, 3.5, "large"],
    ),
    Exercise(
        counter,
        solution=weights_of,
        why="Per block that is 12 C² + 13 C. In large models the C² decide, so 12 L C² is a good estimate.",
        wrong=[
            lambda V, T, L, C: None,
            lambda V, T, L, C: V * C + T * C + L * 12 * C * C,
            lambda V, T, L, C: V * C + T * C + L * (12 * C * C + 13 * C),
            lambda V, T, L, C: 2 * V * C + T * C + L * (12 * C * C + 13 * C) + 2 * C,
            124_439_808,
        ],
    ),
    Exercise(
        view_of_head,
        solution=query_matrix,
        why="Columns of a matrix are a view: the same strides, another offset, fewer columns.",
        wrong=[
            lambda packed, n_head, head: None,
            lambda packed, n_head, head: packed[head * 12 // n_head : (head + 1) * 12 // n_head],
            lambda packed, n_head, head: packed[:, head * 36 // n_head : (head + 1) * 36 // n_head],
            lambda packed, n_head, head: packed[:, head * 12 // n_head : (head + 1) * 12 // n_head].clone(),
            "W_q",
        ],
    ),
]
