"""Local communicator: ranks are threads of one process, for tests and experiments."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import reduce
from typing import TypeVar

import tinytensor as tt
from tinytensor.distributed.communicator import CommunicationError, Communicator, Operation

Result = TypeVar("Result")


class Meeting:
    """One collective operation in progress; the last rank to arrive computes the results of all."""

    def __init__(self, group: Group) -> None:
        self.group, self.operations, self.over = group, dict[int, Operation](), False

    def done(self) -> bool:
        """Whether all ranks have arrived."""
        return self.over

    def wait(self) -> None:
        """Wait until all ranks have arrived; raises if a missing rank has failed or ended."""
        group = self.group
        with group.changed:
            while not self.over:
                if group.failure is not None:
                    raise CommunicationError(
                        f"rank {group.failed_rank} has failed: {group.failure}",
                        why="the other ranks cannot continue without it",
                        fix="see its exception",
                    ) from group.failure
                if gone := sorted(group.left - self.operations.keys()):
                    raise CommunicationError(
                        f"rank {gone[0]} has ended, and others wait for it",
                        why="all ranks call the same operations in the same order",
                        fix="run the same number of steps on each rank",
                    )
                group.changed.wait()


class Group:
    """Shared state of the ranks of one process."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.changed = threading.Condition()
        self.meetings: dict[int, Meeting] = {}
        self.left: set[int] = set()  # ranks whose function has returned
        self.failure: BaseException | None = None
        self.failed_rank = -1

    def come(self, number: int, rank: int, operation: Operation) -> Meeting:
        """Contribute to the operation with this number, without waiting."""
        with self.changed:
            meeting = self.meetings.setdefault(number, Meeting(self))
            meeting.operations[rank] = operation
            if len(meeting.operations) == self.size:
                del self.meetings[number]
                try:
                    perform([meeting.operations[rank] for rank in range(self.size)])
                except BaseException as error:
                    self.fail(rank, error)
                    raise
                meeting.over = True
                self.changed.notify_all()
            return meeting

    def fail(self, rank: int, error: BaseException) -> None:
        """Record the failure of a rank, and wake up all waiting ranks."""
        with self.changed:
            if self.failure is None:
                self.failure, self.failed_rank = error, rank
            self.changed.notify_all()

    def leave(self, rank: int) -> None:
        """Record that the function of a rank has returned."""
        with self.changed:
            self.left.add(rank)
            self.changed.notify_all()


class LocalCommunicator(Communicator):
    """Communicator of a rank that is a thread; the only rank if no group is given."""

    def __init__(self, group: Group | None = None, rank: int = 0) -> None:
        self._group = Group(1) if group is None else group
        self.rank, self.size = self.local_rank, self.local_size = rank, self._group.size
        self._count = 0  # operations so far: ranks match operations by this number

    def start(self, operation: Operation) -> Meeting:
        """Contribute without waiting; the last rank to arrive computes."""
        self._count += 1
        return self._group.come(self._count, self.rank, operation)


def perform(operations: list[Operation]) -> None:
    """Execute an operation to which all ranks have contributed; sums are in rank order."""
    if len({str(operation) for operation in operations}) > 1:
        raise CommunicationError(
            "ranks call different operations: "
            + "; ".join(f"rank {rank}: {operation}" for rank, operation in enumerate(operations)),
            why="all ranks call the same operations in the same order, with tensors of one size",
            fix="look for a branch that depends on the rank or on its data",
        )
    first, xs = operations[0], [operation.x for operation in operations if operation.x is not None]
    with tt.no_grad():
        if first.kind == "broadcast":
            result = xs[first.root]
        elif first.kind == "all_reduce":
            two = {"max": tt.maximum, "min": tt.minimum}.get(first.reduction, tt.add)
            result = reduce(two, [x.detach() for x in xs])
            result = result * (1 / len(xs)) if first.reduction == "mean" else result
        for x in xs:
            if x is not result:
                x.copy_(result)


def run_local(size: int, function: Callable[[Communicator], Result]) -> list[Result]:
    """Run a function once for each rank, concurrently, in threads of this process.

    All ranks share `tt.default_generator`; give each rank its own generator.
    Raises the exception of the first rank that failed; the others are woken up and end.

    >>> def total(ranks):
    ...     x = tt.tensor([float(ranks.rank)])
    ...     ranks.all_reduce(x).wait()
    ...     return x.item()
    >>> run_local(3, total)
    [3.0, 3.0, 3.0]
    """
    if size < 1:
        raise tt.ArgumentError(f"run_local: size={size}", why="at least one rank is needed", fix="size=2")
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
