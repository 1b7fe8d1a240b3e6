"""What ranks say to each other: the operations, checked in one place; how bytes travel is for subclasses.

A rank is one of `size` equal programs that run side by side. All ranks call the same operations in the same
order; each call starts one and gives a handle, so that work goes on meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import tinytensor as tt

__all__ = ["CommunicationError", "Communicator", "Handle", "Operation", "Reduction"]

Reduction = Literal["sum", "mean", "max", "min"]
Kind = Literal["all_reduce", "reduce_scatter", "all_gather", "broadcast", "barrier"]


class CommunicationError(tt.TinyTensorError, RuntimeError):
    """Ranks do not agree on what they do, or one of them has failed."""


class Handle(Protocol):
    """An operation that was started."""

    def done(self) -> bool:
        """Whether it is over; does not wait."""
        ...

    def wait(self) -> None:
        """Wait until it is over; raises CommunicationError if it failed."""
        ...


@dataclass(frozen=True, eq=False)
class Operation:
    """What one rank contributes to an operation of all.

    Attributes:
        kind: which one.
        source, target: what is read, what is written; the same tensor where it happens in place.
        reduction: how the contributions become one, or "".
        root: whose contribution is taken, or -1.
    """

    kind: Kind
    source: tt.Tensor | None = None
    target: tt.Tensor | None = None
    reduction: Reduction | Literal[""] = ""
    root: int = -1

    def __str__(self) -> str:
        size = "" if self.source is None else f"{self.source.numel} x {self.source.dtype}"
        root = "" if self.root < 0 or self.kind != "broadcast" else f"from rank {self.root}"
        return f"{self.kind}({', '.join(word for word in (size, self.reduction, root) if word)})"


class Communicator:
    """One rank's view of all ranks. Tensors are contiguous and of equal size and dtype on all ranks.

    Attributes:
        rank: which one this is, from 0.
        size: how many there are.
        local_rank, local_size: the same among the ranks of this machine.
        device: where this rank computes.

    Example:
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
        """Let x become the sum (or mean, maximum, minimum) over all ranks, in its memory.

        Args:
            x: contiguous; must not be read or written until the handle was waited for.
            reduction: "sum", "mean", "max" or "min"; a mean is of floating-point numbers only.

        Returns:
            A handle.

        Raises:
            ShapeError, DTypeError, ArgumentError: x or the reduction is of the wrong kind.
        """
        self._check("all_reduce", x, reduction)
        return self._go(Operation("all_reduce", x, x, reduction))

    def reduce_scatter(self, target: tt.Tensor, source: tt.Tensor, reduction: Reduction = "sum") -> Handle:
        """Sum up sources, and leave each rank a part of the result: rank r gets the r-th.

        Args:
            target: contiguous, n elements.
            source: contiguous, n * size elements; stays as it is.
            reduction: see `all_reduce`.

        Returns:
            A handle.
        """
        self._check("reduce_scatter", source, reduction)
        self._check_pair("reduce_scatter", target, source, target.numel * self.size, source.numel)
        return self._go(Operation("reduce_scatter", source, target, reduction))

    def all_gather(self, target: tt.Tensor, source: tt.Tensor) -> Handle:
        """Put the sources of all ranks one behind the other, on every rank.

        Args:
            target: contiguous, n * size elements.
            source: contiguous, n elements.

        Returns:
            A handle.
        """
        self._check("all_gather", source)
        self._check_pair("all_gather", target, source, target.numel, source.numel * self.size)
        return self._go(Operation("all_gather", source, target))

    def broadcast(self, x: tt.Tensor, root: int = 0) -> Handle:
        """Let x become what it is on one rank.

        Args:
            x: contiguous; read on the root, written elsewhere.
            root: the rank that has it.

        Returns:
            A handle.

        Raises:
            ArgumentError: there is no such rank.
        """
        self._check("broadcast", x)
        if not 0 <= root < self.size:
            raise tt.ArgumentError(
                f"broadcast: root={root}", why=f"the ranks are 0 to {self.size - 1}", fix="root=0"
            )
        return self._go(Operation("broadcast", x, x, root=root))

    def barrier(self) -> None:
        """Wait until every rank has come here."""
        self._go(Operation("barrier")).wait()

    def share(self, text: str, root: int = 0, device: tt.Device | str = "cpu") -> str:
        """A text that one rank has, on all ranks.

        Args:
            text: what the root has to say; what others give is left out.
            root: whose text it is.
            device: where this communicator moves tensors.

        Returns:
            The text of the root.
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
        """Start an operation that was checked."""
        raise CommunicationError(
            f"{type(self).__name__}: no operation can be started",
            why="start(operation) is what a communicator is made of",
            fix="use init(), or define start",
        )

    def abort(self, code: int) -> None:
        """End the processes of all ranks, now: for a rank that has failed and said why. Where ranks are
        threads it returns, and the exception of one ends the others.
        """

    def share_of_cores(self) -> float:
        """Which part of the cores that this program may use is its own: 1 where no other rank uses them."""
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
                why="bytes travel in the order in which they lie in memory",
                fix="x.contiguous(), or send the whole tensor that x is a view of",
            )
        if reduction is None:
            return
        if reduction not in ("sum", "mean", "max", "min"):
            raise tt.ArgumentError(
                f"{kind}: reduction={reduction!r}",
                why="there are sum, mean, max and min",
                fix='reduction="sum"',
            )
        if reduction == "mean" and not x.dtype.is_floating:
            raise tt.DTypeError(
                f"{kind}: the mean of {x.dtype}", why="it is no integer", fix='reduction="sum", and divide'
            )

    def _check_pair(
        self, kind: Kind, target: tt.Tensor, source: tt.Tensor, large: int, expected: int
    ) -> None:
        self._check(kind, target)
        if large != expected or target.dtype is not source.dtype:
            raise tt.ShapeError(
                f"{kind}: {source.numel} x {source.dtype} to {target.numel} x {target.dtype}",
                why=f"one of them has {self.size} times as many elements, of the same dtype",
                fix="tt.empty of that many elements as the target",
            )
