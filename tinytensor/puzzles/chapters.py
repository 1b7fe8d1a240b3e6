"""All puzzles, by chapter; their numbers are their places."""

from __future__ import annotations

from tinytensor.errors import ArgumentError
from tinytensor.puzzles.catalogue import (
    backward_passes,
    broadcasting,
    bugs,
    first_steps,
    gradients,
    matrix_products,
    networks,
    reductions,
    shared_memory,
    strides,
    warps,
)
from tinytensor.puzzles.puzzle import Puzzle

__all__ = ["CHAPTERS", "PUZZLES", "puzzle"]

CHAPTERS: dict[str, tuple[Puzzle, ...]] = {
    "First steps": first_steps.PUZZLES,
    "Shared memory": shared_memory.PUZZLES,
    "Reductions": reductions.PUZZLES,
    "Warps and counts": warps.PUZZLES,
    "Matrix products": matrix_products.PUZZLES,
    "Networks": networks.PUZZLES,
    "Backward passes": backward_passes.PUZZLES,
    "Find the bug": bugs.PUZZLES,
    "Strides": strides.PUZZLES,
    "Broadcasting": broadcasting.PUZZLES,
    "Gradients": gradients.PUZZLES,
}
PUZZLES: tuple[Puzzle, ...] = tuple(p for puzzles in CHAPTERS.values() for p in puzzles)


def puzzle(number: int) -> Puzzle:
    """The puzzle of a number, from 1 on; ArgumentError if there is none.

    Example:
        >>> puzzle(1).title
        'Map'
    """
    if not 1 <= number <= len(PUZZLES):
        raise ArgumentError(
            f"puzzle: there is no puzzle {number}",
            why=f"they have the numbers 1 to {len(PUZZLES)}",
            fix="python -m tinytensor puzzles lists them",
        )
    return PUZZLES[number - 1]
