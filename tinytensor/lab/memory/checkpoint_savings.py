"""What checkpoints would save, predicted from one recorded step: integers only, no model is run again.

A `tt.checkpoint` keeps the arguments of the function instead of what its nodes save. So what stays is what
nodes outside of all groups of blocks save, and the arguments of each group; a storage counts once. In
backward one group at a time has its values back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tinytensor.errors import ArgumentError

__all__ = ["Recomputed", "Recorded", "Sizes", "predict"]

Sizes = list[tuple[int, int]]  # number of a storage, and its bytes


@dataclass(frozen=True)
class Recomputed:
    """A step whose blocks are computed again in backward, so many at a time.

    Attributes:
        every: blocks that are computed again together.
        saved: bytes that are saved for backward at the end of forward.
        peak: the most that is saved at any time of forward and backward.
        without: what is saved at the end of forward if nothing is computed again.
    """

    every: int
    saved: int
    peak: int
    without: int


@dataclass
class Recorded:
    """What the nodes of a step saved, and which of them belong to blocks.

    Attributes:
        count: number of blocks.
        inputs: the arguments of each block.
        nodes: number of blocks that had begun, whether one was running, and what the node saved.
        recomputes: whether the step itself has checkpoints.
    """

    count: int
    inputs: list[Sizes] = field(default_factory=list)
    nodes: list[tuple[int, bool, Sizes]] = field(default_factory=list)
    recomputes: bool = False
    running: bool = False
    in_order: bool = True

    def enter(self, number: int, things: Sizes) -> None:
        """A block begins, with these arguments."""
        if self.running or number != len(self.inputs):
            self.in_order = False
        self.running = True
        self.inputs.append(things)

    def leave(self) -> None:
        """It ends."""
        self.running = False

    def node(self, things: Sizes) -> None:
        """A node saved these."""
        self.nodes.append((len(self.inputs), self.running, things))


def predict(recorded: Recorded, every: int) -> Recomputed:
    """What a step keeps if so many blocks at a time are computed again. See `Ledger.with_checkpoints`."""
    _check(recorded, every)
    starts = range(0, recorded.count, every)
    outside = [(begun, things) for begun, inside, things in recorded.nodes if not inside]
    inputs = [recorded.inputs[start] for start in starts]
    saved = _bytes([*inputs, *(things for _, things in outside)])
    peak = saved
    for i, start in enumerate(starts):  # backward has done with all that was recorded behind this group
        end = min(start + every, recorded.count)
        before = [things for begun, things in outside if begun <= start]
        again = [things for begun, inside, things in recorded.nodes if inside and start < begun <= end]
        peak = max(peak, _bytes([*inputs[: i + 1], *before, *again]))
    return Recomputed(every, saved, peak, _bytes([things for _, _, things in recorded.nodes]))


def _bytes(lists: Iterable[Sizes]) -> int:
    """Bytes of the storages in the lists, each once."""
    return sum({number: nbytes for things in lists for number, nbytes in things}.values())


def _check(recorded: Recorded, every: int) -> None:
    if every < 1:
        raise ArgumentError(
            f"with_checkpoints: every is {every}", why="it counts blocks", fix="give a number from 1 on"
        )
    if recorded.recomputes:
        raise ArgumentError(
            "with_checkpoints: the recorded step has checkpoints itself",
            why="what its blocks save was dropped before anybody could count it once",
            fix="record a step without checkpoints",
        )
    complete = recorded.in_order and not recorded.running  # a block that raised never ended
    if not recorded.count or not complete or len(recorded.inputs) != recorded.count:
        raise ArgumentError(
            f"with_checkpoints: {len(recorded.inputs)} calls of {recorded.count} blocks were recorded",
            why="the prediction needs one forward in which each block runs once, in order",
            fix="with lab.memory(model, blocks=[...]) as ledger: loss = model(...), and no second step in it",
        )
