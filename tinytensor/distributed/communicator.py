"""Collective operations (all_reduce, all_gather, broadcast, …): interface and argument checks.

A rank is one of `size` equal processes. All ranks call the same operations in the same order; each call is
asynchronous and returns a handle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import tinytensor as tt

Reduction = Literal["sum", "mean", "max", "min"]
Kind = Literal["all_reduce", "reduce_scatter", "all_gather", "broadcast", "barrier"]


class CommunicationError(tt.TinyTensorError, RuntimeError):
    """Ranks call different operations, or one of them has failed."""


class Handle(Protocol):
    """Handle of an asynchronous operation."""

    def done(self) -> bool:
        """Whether the operation is complete; does not block."""
        ...

    def wait(self) -> None:
        """Wait for completion: the host for operations on CPU tensors, later work of the thread's stream on
        GPUs. Raises CommunicationError if the operation failed.
        """
        ...


@dataclass(frozen=True, eq=False)
class Operation:
    """Contribution of one rank to a collective operation.

    Attributes:
        kind: name of the operation.
        source, target: tensor that is read, tensor that is written; the same tensor if in place.
        reduction: reduction of the contributions, or "".
        root: root rank, or -1.
    """

    kind: Kind
    source: tt.Tensor | None = None
    target: tt.Tensor | None = None
    reduction: Reduction | Literal[""] = ""
    root: int = -1

    def __str__(self) -> str:
        size = "" if self.source is None else f"{self.source.size} x {self.source.dtype}"
        root = "" if self.root < 0 or self.kind != "broadcast" else f"from rank {self.root}"
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
        """Reduce x over all ranks to its sum (or mean, maximum, minimum), in place.

        Args:
            x: contiguous; must not be read or written before the handle is complete.
            reduction: "sum", "mean", "max" or "min"; a mean is of floating-point numbers only.

        """
        self._check("all_reduce", x, reduction)
        return self._go(Operation("all_reduce", x, x, reduction))

    def reduce_scatter(self, target: tt.Tensor, source: tt.Tensor, reduction: Reduction = "sum") -> Handle:
        """Reduce the sources over all ranks and scatter the result: rank r gets the r-th part.

        Args:
            target: contiguous, n elements.
            source: contiguous, n * size elements; not modified.
        """
        self._check("reduce_scatter", source, reduction)
        self._check_pair("reduce_scatter", target, source, target.size * self.size, source.size)
        return self._go(Operation("reduce_scatter", source, target, reduction))

    def all_gather(self, target: tt.Tensor, source: tt.Tensor) -> Handle:
        """Concatenate the sources of all ranks, on every rank.

        Args:
            target: contiguous, n * size elements.
            source: contiguous, n elements.
        """
        self._check("all_gather", source)
        self._check_pair("all_gather", target, source, target.size, source.size * self.size)
        return self._go(Operation("all_gather", source, target))

    def broadcast(self, x: tt.Tensor, root: int = 0) -> Handle:
        """Copy x of the root rank to all ranks.

        Args:
            root: the rank to copy from.

        """
        self._check("broadcast", x)
        if not 0 <= root < self.size:
            raise tt.ArgumentError(
                f"broadcast: root={root}", why=f"the ranks are 0 to {self.size - 1}", fix="root=0"
            )
        return self._go(Operation("broadcast", x, x, root=root))

    def barrier(self) -> None:
        """Wait until every rank has reached this call."""
        self._go(Operation("barrier")).wait()

    def share(self, text: str, root: int = 0, device: tt.Device | str = "cpu") -> str:
        """Broadcast a string from one rank; returns it on all ranks.

        Args:
            text: the string on the root; ignored on other ranks.
        """
        mine = text.encode()
        length = tt.tensor([len(mine)], dtype=tt.int64, device=device)
        self.broadcast(length, root).wait()
        count = int(length.item())
        said = tt.tensor(list(mine) if self.rank == root else [0] * count, dtype=tt.uint8, device=device)
        self.broadcast(said, root).wait()
        return bytes(said.tolist()).decode()

    # ---- what subclasses define

    def start(self, operation: Operation) -> Handle:
        """Start an operation whose arguments were checked. Subclasses define it."""
        raise CommunicationError(
            f"{type(self).__name__}: operations are not implemented",
            why="a communicator must define start(operation)",
            fix="use init(), or define start",
        )

    def abort(self, code: int) -> None:
        """Terminate the processes of all ranks immediately, after a rank has reported its failure. If ranks
        are threads it returns, and the exception of one ends the others.
        """

    def share_of_cores(self) -> float:
        """Share of the usable cores that belongs to this rank: 1 if no other rank uses them."""
        return 1.0

    # ---- checks

    def _go(self, operation: Operation) -> Handle:
        with tt.no_grad():
            if operation.target is not None:
                operation.target.storage.bump(operation.kind)
            return self.start(operation)

    def _check(self, kind: Kind, x: tt.Tensor, reduction: Reduction | None = None) -> None:
        if not x.is_contiguous():
            raise tt.ShapeError(
                f"{kind}: strides {x.strides} of shape {x.shape}",
                why="a communicator transfers contiguous memory",
                fix="x.contiguous(), or send the whole tensor that x is a view of",
            )
        if reduction is None:
            return
        if reduction not in ("sum", "mean", "max", "min"):
            raise tt.ArgumentError(
                f"{kind}: reduction={reduction!r}",
                why="the reductions are sum, mean, max and min",
                fix='reduction="sum"',
            )
        if reduction == "mean" and not x.dtype.is_floating:
            raise tt.DTypeError(
                f"{kind}: the mean of {x.dtype}",
                why="the mean of integers is not an integer",
                fix='reduction="sum", and divide',
            )

    def _check_pair(
        self, kind: Kind, target: tt.Tensor, source: tt.Tensor, large: int, expected: int
    ) -> None:
        self._check(kind, target)
        if large != expected or target.dtype is not source.dtype:
            raise tt.ShapeError(
                f"{kind}: {source.size} x {source.dtype} to {target.size} x {target.dtype}",
                why=f"one of them has {self.size} times as many elements, of the same dtype",
                fix="tt.empty of that many elements as the target",
            )
