"""Layered graph layout: layer assignment, ordering and coordinates. Works on integers and widths alone.

Layers are longest paths. An edge over several layers gets a routing point in each, so it passes between nodes
and not through them; if there would be too many points, as for a weight that every step of a long loop reads,
the longest edges get none. Order and coordinates in a layer follow the barycenters of the neighbors, in
several sweeps up and down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Edge = tuple[int, int]  # from a node to a later one
SWEEPS = 8
MOST_POINTS = 20_000  # of all edges together: a second of work
GAP, POINT = 24.0, 8.0  # between two nodes, and the width of a point of an edge
STRAIGHT, LEAF = 8.0, 0.25  # weights of routing points and of leaves in the placement; nodes: 1


@dataclass(frozen=True)
class Placed:
    """Result of the layout, in pixels.

    Attributes:
        layer, center: of each node; layer 0 is the first.
        routes: for each edge the centers in all layers that it passes, including its ends; only the ends for
            edges that are too long.
    """

    layer: tuple[int, ...]
    center: tuple[float, ...]
    routes: dict[Edge, tuple[float, ...]]
    width: float


def place(widths: Sequence[float], edges: Sequence[Edge]) -> Placed:
    """Layered layout of nodes of these widths, in pixels; edges are pairs of source and later target."""
    layer = _layers(len(widths), edges)
    sizes, chains = list(widths), {}
    rows: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for node, row in enumerate(layer):
        rows[row].append(node)
    above: list[list[int]] = [[] for _ in sizes]
    edges = list(dict.fromkeys(edges))
    straight = _straight(edges, layer)
    for edge in edges:
        chain = [edge[0]]
        for row in range(layer[edge[0]] + 1, 0 if edge in straight else layer[edge[1]]):
            chain.append(len(sizes))
            rows[row].append(len(sizes))
            sizes.append(POINT)
            above.append([])
        chains[edge] = [*chain, edge[1]]
        for one, other in pairwise(chains[edge]):
            above[other].append(one)
    center = _centers(rows, sizes, *_guides(above, chains))
    left = min([c - s / 2 for c, s in zip(center, sizes, strict=True)], default=0.0)
    center = [c - left for c in center]
    width = max([c + s / 2 for c, s in zip(center, sizes, strict=True)], default=0.0)
    routes = {edge: tuple([center[item] for item in chain]) for edge, chain in chains.items()}
    return Placed(tuple(layer), tuple(center[: len(widths)]), routes, width)


def _straight(edges: Sequence[Edge], layer: Sequence[int]) -> set[Edge]:
    """The longest edges, which exceed the budget of routing points."""
    points, found = 0, set()
    for one, other in sorted(edges, key=lambda edge: layer[edge[1]] - layer[edge[0]]):
        points += layer[other] - layer[one] - 1
        if points > MOST_POINTS:
            found.add((one, other))
    return found


def _guides(above: list[list[int]], chains: dict[Edge, list[int]]) -> tuple[list[list[int]], list[list[int]]]:
    """Neighbors above and below by which each item is aligned. A node is placed below its inputs, and its
    leaves next to these: leaves follow the node, so the node does not follow them.
    """
    below: list[list[int]] = [[] for _ in above]
    for item, others in enumerate(above):
        for other in others:
            below[other].append(item)
    computed = {behind for _, behind in chains}
    for (source, behind), chain in chains.items():
        if source not in computed and len(above[behind]) > 1:
            above[behind] = [item for item in above[behind] if item != chain[-2]] or above[behind][:1]
    return above, below


def _layers(count: int, edges: Sequence[Edge]) -> list[int]:
    """Longest path to each node; a node without inputs is placed one layer above its first consumer."""
    behind: list[list[int]] = [[] for _ in range(count)]
    before: list[list[int]] = [[] for _ in range(count)]
    for one, other in edges:
        behind[one].append(other)
        before[other].append(one)
    layer = [0] * count
    for node in range(count):
        layer[node] = max([layer[b] + 1 for b in before[node]], default=0)
    for node in range(count):
        if not before[node] and behind[node]:
            layer[node] = min([layer[b] for b in behind[node]]) - 1
    return layer


def _centers(
    rows: list[list[int]], sizes: Sequence[float], above: list[list[int]], below: list[list[int]]
) -> list[float]:
    """Order and place the items of each row by the barycenters of their neighbors in the previous row."""
    center = [0.0] * len(sizes)
    weights = [STRAIGHT if size == POINT else 1.0 if above[i] else LEAF for i, size in enumerate(sizes)]
    for row in rows:
        _pack(row, [0.0] * len(row), sizes, center, weights)
    for sweep in range(2 * SWEEPS):
        down = sweep % 2 == 0
        sides = above if down else below
        for row in rows if down else reversed(rows):
            near = {item: [center[n] for n in sides[item]] or [center[item]] for item in row}
            wanted = {item: sum(centers) / len(centers) for item, centers in near.items()}
            if sweep < SWEEPS:
                row.sort(key=wanted.__getitem__)
            _pack(row, [wanted[item] for item in row], sizes, center, weights)
    return center


def _pack(
    row: Sequence[int],
    wanted: Sequence[float],
    sizes: Sequence[float],
    center: list[float],
    weights: Sequence[float],
) -> None:
    """Place the items of a row in order, without overlaps, as close to their target positions as possible:
    neighbors that would overlap form a block, which is placed at the weighted mean of its targets.
    """
    blocks: list[tuple[float, float, int]] = []  # position, weight, number of items
    offset, offsets = 0.0, []
    for i, (item, wish) in enumerate(zip(row, wanted, strict=True)):
        offset += sizes[item] / 2 + (sizes[row[i - 1]] / 2 + GAP if i else 0.0)
        offsets.append(offset)
        place, weight, count = wish - offset, weights[item], 1
        while blocks and blocks[-1][0] > place:
            other, heavy, several = blocks.pop()
            place = (place * weight + other * heavy) / (weight + heavy)
            weight, count = weight + heavy, count + several
        blocks.append((place, weight, count))
    places = [place for place, _, count in blocks for _ in range(count)]
    for item, place, shift in zip(row, places, offsets, strict=True):
        center[item] = place + shift
