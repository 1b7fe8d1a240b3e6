"""All verifiable tasks by name."""

from gpt.fields import closest
from gpt.tasks.base import VerifiableTask
from gpt.tasks.letters import Counting, Reversing, Sorting, Spelling
from gpt.tasks.numbers import Arithmetic
from tinytensor.errors import ArgumentError

TASKS: dict[str, VerifiableTask] = {
    one.name: one for one in (Spelling(), Counting(), Sorting(), Reversing(), Arithmetic())
}


def task(name: str) -> VerifiableTask:
    """Task of a name.

    Example:
        >>> task("arithmetic").problem(1, "test")
        Problem(question='Compute 17 + 3.', answer='20', working='7 + 3 = 10, 10 + 10 = ')
    """
    if name not in TASKS:
        near = closest(name, TASKS)
        raise ArgumentError(
            f"task {name!r}: no such task",
            why=f"there are {', '.join(TASKS)}",
            fix=f"did you mean {near[0]}?" if near else "choose one of them",
        )
    return TASKS[name]
