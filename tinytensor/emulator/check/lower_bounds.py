"""Roofline lower bounds of the kernel time on some GPUs, from the counters of a checked run.

A model, not a measurement: each unit of the GPU is assumed to work at its peak all the time, without other
overhead. Peaks are from data sheets. A multiprocessor is assumed to serve one line of 128 bytes per clock
from its L1 cache, with all hits, and one wavefront of shared memory per clock. Blocks that were not counted
are assumed to do as much as those that were, and inputs to be in memory, not in the L2 cache, where small
tensors of the previous kernel may still be.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinytensor.emulator.check.counts import KernelCount


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU: bytes per second of its memory, multiprocessors, clock in Hz, operations per second."""

    name: str
    bandwidth: float
    multiprocessors: int
    clock: float
    single: float
    double: float
    half: float
    tf32: float


CARDS = (
    Card("A100 80GB SXM", 2.039e12, 108, 1.41e9, 19.5e12, 9.7e12, 312e12, 156e12),
    Card("H100 SXM", 3.35e12, 132, 1.98e9, 67e12, 34e12, 989e12, 494.7e12),
    Card("RTX 4090", 1.008e12, 128, 2.52e9, 82.6e12, 1.29e12, 165.2e12, 82.6e12),
)


@dataclass(frozen=True, slots=True)
class Bound:
    """Lower bound of the time of one launch on one card.

    Attributes:
        card: the GPU.
        parts: seconds of each unit alone: "memory", "L1", "shared memory", and operations by precision.
    """

    card: Card
    parts: dict[str, float]

    @property
    def limit(self) -> str:
        """The limiting unit: the part with the longest time."""
        return max(self.parts, key=lambda name: self.parts[name])

    @property
    def seconds(self) -> float:
        """The lower bound in seconds."""
        return self.parts[self.limit]


def bounds_of(count: KernelCount) -> list[Bound]:
    """Bounds on each card for one launch of a kernel; empty if none of its blocks was counted."""
    if not count.counted:
        return []
    blocks = count.blocks / count.times
    scale = blocks / count.counted  # scales the counted blocks to one launch
    flops = count.flops_by_kind() or {}
    found = []
    for card in CARDS:
        busy = min(blocks, card.multiprocessors)
        parts = {
            "memory": count.bytes / count.times / card.bandwidth,
            "L1": scale * count.moved_bytes / (128 * busy * card.clock),
            "shared memory": scale * count.wavefronts / (busy * card.clock),
        }
        for kind, operations in flops.items():
            peak: float = getattr(card, kind) * busy / card.multiprocessors
            parts[f"{kind} precision"] = scale * operations / peak
        found.append(Bound(card, parts))
    return found
