"""Ranks as threads of one program: for tests and for trying out what several ranks do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import tinytensor as tt
from tinytensor.distributed.communicator import CommunicationError, Communicator, Operation

__all__ = ["LocalCommunicator", "run_local"]

Result = TypeVar("Result")


class Meeting:
    """One operation, to which ranks come one after the other; the last one does the work of all."""

    def __init__(self, size: int) -> None:
        self.operations: list[Operation | None] = [None] * size
        self.over = False

    def missing(self) -> list[int]:
        """The ranks that have not come."""
        return [rank for rank, operation in enumerate(self.operations) if operation is None]


class Group:
    """What the ranks of one program share.

    Args:
        size: how many there are.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.changed = threading.Condition()
        self.meetings: dict[int, Meeting] = {}
        self.left: set[int] = set()  # ranks whose function has returned
        self.failure: BaseException | None = None
        self.failed_rank = -1

    def come(self, number: int, rank: int, operation: Operation) -> Meeting:
        """Contribute to the operation of this number."""
        with self.changed:
            meeting = self.meetings.setdefault(number, Meeting(self.size))
            meeting.operations[rank] = operation
            if not meeting.missing():
                del self.meetings[number]
                try:
                    perform([o for o in meeting.operations if o is not None])
                except BaseException as error:
                    self.fail(rank, error)
                    raise
                meeting.over = True
                self.changed.notify_all()
            return meeting

    def wait(self, meeting: Meeting) -> None:
        """Wait until all have come; an error if that cannot be any more."""
        with self.changed:
            while not meeting.over:
                if self.failure is not None:
                    raise CommunicationError(
                        f"rank {self.failed_rank} has failed: {self.failure}",
                        why="the other ranks cannot go on without it",
                        fix="see what it raised",
                    ) from self.failure
                if gone := sorted(self.left.intersection(meeting.missing())):
                    raise CommunicationError(
                        f"rank {gone[0]} has ended, and others wait for it",
                        why="all ranks call the same operations in the same order",
                        fix="let each rank take as many steps as the others",
                    )
                self.changed.wait()

    def fail(self, rank: int, error: BaseException) -> None:
        """Wake up all who wait: there is nothing to wait for."""
        with self.changed:
            if self.failure is None:
                self.failure, self.failed_rank = error, rank
            self.changed.notify_all()

    def leave(self, rank: int) -> None:
        """A rank is at its end."""
        with self.changed:
            self.left.add(rank)
            self.changed.notify_all()


class LocalHandle:
    """See `Handle`."""

    def __init__(self, group: Group, meeting: Meeting) -> None:
        self._group, self._meeting = group, meeting

    def done(self) -> bool:
        """Whether all ranks have come."""
        return self._meeting.over

    def wait(self) -> None:
        """Wait for them."""
        self._group.wait(self._meeting)


class LocalCommunicator(Communicator):
    """A rank that is a thread; alone if no group is given.

    Args:
        group: what it shares with the others.
        rank: which one it is.
    """

    def __init__(self, group: Group | None = None, rank: int = 0) -> None:
        self._group = Group(1) if group is None else group
        self.rank, self.size = self.local_rank, self.local_size = rank, self._group.size
        self._count = 0  # operations so far: the same number is the same operation on every rank

    def start(self, operation: Operation) -> LocalHandle:
        """Contribute, and go on; whoever comes last computes."""
        self._count += 1
        return LocalHandle(self._group, self._group.come(self._count, self.rank, operation))


def perform(operations: list[Operation]) -> None:
    """Do the operation to which all ranks have contributed; sums are taken in the order of the ranks."""
    if len({str(operation) for operation in operations}) > 1:
        raise CommunicationError(
            "ranks do different things: "
            + "; ".join(f"rank {rank}: {operation}" for rank, operation in enumerate(operations)),
            why="all ranks call the same operations in the same order, with tensors of one size",
            fix="look for a branch that depends on the rank or on its data",
        )
    kind, root = operations[0].kind, operations[0].root
    if kind == "barrier":
        return
    sources = [_flat(operation.source) for operation in operations]
    targets = [_flat(operation.target) for operation in operations]
    with tt.no_grad():
        if kind == "broadcast":
            results = [sources[root]] * len(targets)
        elif kind == "all_gather":
            results = [tt.concat(sources)] * len(targets)
        else:
            total = _reduced(sources, operations[0].reduction)
            parts = len(targets) if kind == "reduce_scatter" else 1
            results = [total] * len(targets) if parts == 1 else list(total.split(parts))
        for target, result in zip(targets, results, strict=True):
            if target is not result:
                target.copy_(result)


def _flat(x: tt.Tensor | None) -> tt.Tensor:
    assert x is not None, "only a barrier moves nothing"
    return x.detach().reshape(-1)


def _reduced(sources: list[tt.Tensor], reduction: str) -> tt.Tensor:
    total = sources[0].clone()
    for source in sources[1:]:
        if reduction == "max":
            total = tt.maximum(total, source)
        elif reduction == "min":
            total = tt.minimum(total, source)
        else:
            total += source
    return total * (1 / len(sources)) if reduction == "mean" else total


def run_local(size: int, function: Callable[[Communicator], Result]) -> list[Result]:
    """Call a function once for each rank, at the same time, in threads of this program.

    Random numbers of `tt.default_generator` are drawn by all of them in turn; give each rank its own.

    Args:
        size: how many ranks.
        function: gets its communicator; all ranks must call the same operations.

    Returns:
        What the ranks returned, in their order.

    Raises:
        ArgumentError: size is below 1.
        BaseException: what the first rank that failed has raised; the others are woken up and end.

    Example:
        >>> from tinytensor.distributed import run_local
        >>> def total(ranks):
        ...     x = tt.tensor([float(ranks.rank)])
        ...     ranks.all_reduce(x).wait()
        ...     return x.item()
        >>> run_local(3, total)
        [3.0, 3.0, 3.0]
    """
    if size < 1:
        raise tt.ArgumentError(f"run_local: size={size}", why="there is at least one rank", fix="size=2")
    group = Group(size)
    results: dict[int, Result] = {}

    def rank_of(rank: int) -> None:
        try:
            results[rank] = function(LocalCommunicator(group, rank))
        except BaseException as error:
            group.fail(rank, error)
        finally:
            group.leave(rank)

    threads = [threading.Thread(target=rank_of, args=(rank,), name=f"rank {rank}") for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if group.failure is not None:
        raise group.failure
    return [results[rank] for rank in range(size)]
