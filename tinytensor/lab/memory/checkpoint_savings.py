"""Predicts the memory use of checkpointing from one recorded step, without running the model again.

A `tt.checkpoint` saves the arguments of the function instead of the tensors that its nodes save. The
remaining memory is that saved by nodes outside of all groups of blocks, plus the arguments of each group; a
storage counts once. In backward one group at a time is recomputed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tinytensor.errors import ArgumentError

Sizes = list[tuple[int, int]]  # storage number and bytes


@dataclass(frozen=True)
class Recomputed:
    """Predicted memory of a step whose blocks are recomputed in backward, `every` at a time.

    Attributes:
        every: number of blocks that are recomputed together.
        saved: bytes saved for backward at the end of forward.
        peak: peak of the saved bytes over forward and backward.
        without: bytes saved at the end of forward without recomputation.
    """

    every: int
    saved: int
    peak: int
    without: int


@dataclass
class Recorded:
    """Saved tensors of the nodes of a step, and the blocks that they belong to.

    Attributes:
        count: number of blocks.
        inputs: arguments of each block.
        nodes: number of blocks begun, whether one was running, and the tensors that the node saved.
        recomputes: whether the step itself has checkpoints.
    """

    count: int
    inputs: list[Sizes] = field(default_factory=list)
    nodes: list[tuple[int, bool, Sizes]] = field(default_factory=list)
    recomputes: bool = False
    running: bool = False
    awaits_sum: bool = False
    in_order: bool = True

    def enter(self, number: int, things: Sizes, is_sum: bool = False) -> None:
        """Record that a block begins, with these arguments; `is_sum`: the first one is a term of a sum of its
        size, which is the argument of a checkpoint, and which the first node of the block saves.
        """
        if self.running or number != len(self.inputs):
            self.in_order = False
        self.running = True
        self.awaits_sum = is_sum
        self.inputs.append(things)

    def leave(self) -> None:
        """Record that the block ends."""
        self.running = False

    def node(self, things: Sizes) -> None:
        """Record the tensors that a node saved."""
        if self.awaits_sum:
            first = self.inputs[-1][0]
            sums = [thing for thing in things if thing[1] == first[1]]
            self.inputs[-1][0] = sums[0] if sums else first
            self.awaits_sum = not sums
        self.nodes.append((len(self.inputs), self.running, things))


def predict(recorded: Recorded, every: int) -> Recomputed:
    """Predicted memory if `every` blocks at a time are recomputed; see `Ledger.with_checkpoints`."""
    _check(recorded, every)
    starts = range(0, recorded.count, every)
    outside = [(begun, things) for begun, inside, things in recorded.nodes if not inside]
    inputs = [recorded.inputs[start] for start in starts]
    saved = _bytes([*inputs, *(things for _, things in outside)])
    peak = saved
    for i, start in enumerate(starts):  # backward has freed everything recorded after this group
        end = min(start + every, recorded.count)
        before = [things for begun, things in outside if begun <= start]
        again = [things for begun, inside, things in recorded.nodes if inside and start < begun <= end]
        peak = max(peak, _bytes([*inputs[: i + 1], *before, *again]))
    return Recomputed(every, saved, peak, _bytes([things for _, _, things in recorded.nodes]))


def _bytes(lists: Iterable[Sizes]) -> int:
    """Total bytes of the distinct storages in the lists."""
    return sum({number: nbytes for things in lists for number, nbytes in things}.values())


def _check(recorded: Recorded, every: int) -> None:
    if every < 1:
        raise ArgumentError(
            f"with_checkpoints: every is {every}", why="it counts blocks", fix="give a number from 1 on"
        )
    if recorded.recomputes:
        raise ArgumentError(
            "with_checkpoints: the recorded step has checkpoints itself",
            why="the tensors that its blocks save were dropped before they could be counted",
            fix="record a step without checkpoints",
        )
    complete = recorded.in_order and not recorded.running  # a block that raised did not end
    if not recorded.count or not complete or len(recorded.inputs) != recorded.count:
        raise ArgumentError(
            f"with_checkpoints: {len(recorded.inputs)} calls of {recorded.count} blocks were recorded",
            why="the prediction needs one forward in which each block runs once, in order",
            fix="with lab.memory(model, blocks=[...]) as ledger: loss = model(...), and no second step in it",
        )
