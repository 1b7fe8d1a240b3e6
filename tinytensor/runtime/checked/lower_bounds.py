"""Lower bounds of the time that a kernel takes on some GPUs, from what a checked run counted.

A model, not a measurement: each part of the GPU is taken to work at its peak from the first moment to the
last, and nothing else to take time. Peaks are those of the data sheets. A multiprocessor is taken to serve
one line of 128 bytes per clock from its L1 cache, as if all of it were there, and one wavefront of shared
memory per clock. Blocks that were not counted are taken to do as much as those that were, and what a kernel
reads to lie in memory, not in the L2 cache, where small tensors of the kernel before may still be.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinytensor.runtime.checked.counts import KernelCount

__all__ = ["CARDS", "Bound", "Card", "bounds_of"]


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
    """How long one launch takes at least.

    Attributes:
        card: where.
        parts: seconds of each part by itself: "memory", "L1", "shared memory", and operations by precision.
    """

    card: Card
    parts: dict[str, float]

    @property
    def limit(self) -> str:
        """The part that takes longest."""
        return max(self.parts, key=lambda name: self.parts[name])

    @property
    def seconds(self) -> float:
        """The bound."""
        return self.parts[self.limit]


def bounds_of(count: KernelCount) -> list[Bound]:
    """Bounds on each card for one launch of a kernel; none if none of its blocks was counted."""
    if not count.counted:
        return []
    blocks = count.blocks / count.times
    scale = blocks / count.counted  # from the counted blocks to one launch
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
