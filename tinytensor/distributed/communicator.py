"""Collective operations (all_reduce, broadcast, barrier): interface and argument checks.

A rank is one of `size` equal processes. All ranks call the same operations in the same order; each call is
asynchronous and returns a handle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import tinytensor as tt

Reduction = Literal["sum", "mean", "max", "min"]


class CommunicationError(tt.TinyTensorError, RuntimeError):
    """Ranks call different operations, or one of them has failed."""


class Handle(Protocol):
    """Handle of an asynchronous operation."""

    def done(self) -> bool:
        """Whether the operation is complete; does not block."""
        ...

    def wait(self) -> None:
        """Wait: the host for CPU tensors, the thread's stream on GPUs. CommunicationError if it failed."""
        ...


@dataclass(frozen=True, eq=False)
class Operation:
    """Contribution of one rank to a collective operation, which changes x in place."""

    kind: Literal["all_reduce", "broadcast", "barrier"]
    x: tt.Tensor | None = None
    reduction: Reduction | Literal[""] = ""
    root: int = -1

    def __str__(self) -> str:
        size = "" if self.x is None else f"{self.x.size} x {self.x.dtype}"
        root = "" if self.root < 0 else f"from rank {self.root}"
        return f"{self.kind}({', '.join(word for word in (size, self.reduction, root) if word)})"


class Communicator:
    """Communicator of one rank. Tensors must be contiguous, of equal size and dtype on all ranks.

    Attributes:
        rank: index of this rank, from 0.
        size: number of ranks.
        local_rank, local_size: the same among the ranks of this machine.
        device: device of this rank.

    >>> from tinytensor import distributed
    >>> ranks = distributed.init("local")
    >>> x = tt.ones(3)
    >>> ranks.all_reduce(x).wait()
    >>> ranks.rank, ranks.size, x.tolist()
    (0, 1, [1.0, 1.0, 1.0])
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    device: tt.Device = tt.Device("cpu")

    def all_reduce(self, x: tt.Tensor, reduction: Reduction = "sum") -> Handle:
        """Reduce x over all ranks to its sum (or "mean", "max", "min"), in place. It must not be read or
        written before the handle is complete.
        """
        if reduction not in ("sum", "mean", "max", "min"):
            raise tt.ArgumentError(
                f"all_reduce: reduction={reduction!r}",
                why="the reductions are sum, mean, max and min",
                fix='reduction="sum"',
            )
        if reduction == "mean" and not x.dtype.is_floating:
            raise tt.DTypeError(
                f"all_reduce: the mean of {x.dtype}",
                why="the mean of integers is not an integer",
                fix='reduction="sum", and divide',
            )
        return self._go(Operation("all_reduce", x, reduction))

    def broadcast(self, x: tt.Tensor, root: int = 0) -> Handle:
        """Copy x of the root rank to all ranks."""
        if not 0 <= root < self.size:
            raise tt.ArgumentError(
                f"broadcast: root={root}", why=f"the ranks are 0 to {self.size - 1}", fix="root=0"
            )
        return self._go(Operation("broadcast", x, root=root))

    def barrier(self) -> None:
        """Wait until every rank has reached this call."""
        self._go(Operation("barrier")).wait()

    def share(self, text: str, root: int = 0) -> str:
        """Broadcast a string from one rank; returns it on all ranks."""
        mine = text.encode()
        length = tt.tensor([len(mine)])
        self.broadcast(length, root).wait()
        data = tt.tensor(list(mine) if self.rank == root else [0] * int(length.item()), dtype=tt.uint8)
        self.broadcast(data, root).wait()
        return bytes(data.tolist()).decode()

    def _go(self, operation: Operation) -> Handle:
        x = operation.x
        if x is not None and not x.is_contiguous():
            raise tt.ShapeError(
                f"{operation.kind}: strides {x.strides} of shape {x.shape}",
                why="a communicator transfers contiguous memory",
                fix="x.contiguous(), or send the whole tensor that x is a view of",
            )
        with tt.no_grad():
            if x is not None:
                x.storage.bump(operation.kind)
            return self.start(operation)

    # ---- what subclasses define

    def start(self, operation: Operation) -> Handle:
        """Start an operation whose arguments were checked. Subclasses define it."""
        raise CommunicationError(
            f"{type(self).__name__}: operations are not implemented",
            why="a communicator must define start(operation)",
            fix="use init(), or define start",
        )

    def abort(self, code: int) -> None:
        """Terminate the processes of all ranks at once; for ranks that are threads it returns."""

    def share_of_cores(self) -> float:
        """Share of the usable cores that belongs to this rank: 1 if no other rank uses them."""
        return 1.0
