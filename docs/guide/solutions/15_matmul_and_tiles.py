"""Lesson 15, matrix product and tiles: checks and solutions of its exercises."""

from lesson import RIGHT, Exercise


def half_tile(answer):
    if answer == 2:
        return RIGHT
    hints = {
        4: "a tile has a quarter of the numbers, but there are more tiles",
        0.5: "smaller tiles fetch more often",
    }
    return hints.get(answer, "each number that was fetched is used 16 times, and not 32 times")


def tiled_loads(answer):
    for m, n, k, tile in ((64, 64, 64, 32), (32, 64, 128, 16), (8, 8, 8, 8)):
        expected = 2 * m * n * k // tile
        got = answer(m, n, k, tile)
        if got is None:
            return "the function returns nothing yet"
        if got != expected:
            return f"({m}, {k}) @ ({k}, {n}) with tiles of {tile}: {got:,}, and {expected:,} is right"
    return RIGHT


def loads_of(m, n, k, tile):
    """Loads from global memory by all threads together."""
    blocks = (m // tile) * (n // tile)
    steps = k // tile
    return blocks * steps * 2 * tile * tile


def largest(answer):
    if answer == 64:
        return RIGHT
    hints = {
        128: "two tiles of 128 × 128 floats are 131,072 bytes",
        32: "it fits, but twice the side does, too",
        78: "it fits; which power of 2 is below it?",
    }
    return hints.get(answer, "two tiles have 2 · side² · 4 bytes")


EXERCISES = [
    Exercise(
        half_tile,
        solution=2,
        why="Loads are 2 n³ / tile: half the side, twice the loads.",
        wrong=[4, 0.5, 16, 1, "more"],
    ),
    Exercise(
        tiled_loads,
        solution=loads_of,
        why="It comes to 2 m n k / tile: a multiplication needs two numbers, and each serves `tile` times.",
        wrong=[
            lambda m, n, k, tile: None,
            lambda m, n, k, tile: 2 * m * n * k,
            lambda m, n, k, tile: 2 * m * n * k // tile**2,
            lambda m, n, k, tile: m * k + k * n,
            16_384,
        ],
    ),
    Exercise(
        largest,
        solution=64,
        why="2 · 64² · 4 = 32,768 bytes fit, 2 · 128² · 4 = 131,072 do not.",
        wrong=[128, 32, 78, 48, "all"],
    ),
]
