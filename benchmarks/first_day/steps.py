"""The nine steps, in order, and the process of one of them: `python -m benchmarks.first_day.steps NAME …`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from benchmarks.first_day.day import DRY, Day

MOST = 45 * 60  # seconds of all steps
CALL = 10 * 60  # seconds of one call


@dataclass(frozen=True)
class Step:
    """One step: its name, what it answers, its limit in seconds, and the function that does it."""

    name: str
    question: str
    seconds: int
    function: str

    def run(self, day: Day) -> None:
        """Do the step."""
        module, _, name = self.function.partition(":")
        work: Callable[[Day], None] = getattr(import_module(f"benchmarks.first_day.{module}"), name)
        work(day)


STEPS = {
    step.name: step
    for step in (
        Step("machine", "What is this GPU, and is it ours alone?", 60, "machine:run"),
        Step("selftest", "Does every kernel compute what the CPU computes?", 270, "correctness:selftest"),
        Step("tests", "Do the tests pass that need a GPU?", 540, "correctness:tests"),
        Step("sanitizer", "Do kernels leave their memory, or race?", 420, "correctness:sanitizer"),
        Step("bits", "Which results are equal to the bit?", 150, "bits:run"),
        Step("peaks", "What can the machine do at most?", 120, "peaks:run"),
        Step("kernels", "How fast are our kernels beside cuBLAS, PyTorch and CuPy?", 480, "kernels:run"),
        Step("training", "How fast are training and generation?", 480, "training:run"),
        Step("profile", "What do the heaviest kernels do with their time?", 180, "profile:run"),
    )
}


def calls(names: Sequence[str]) -> list[list[str]]:
    """Steps in groups, each of which is over within ten minutes.

    Example:
        >>> calls(["machine", "selftest", "tests"])
        [['machine', 'selftest'], ['tests']]
    """
    groups: list[list[str]] = []
    for name in names:
        spent = sum(STEPS[other].seconds for other in groups[-1]) if groups else CALL
        if spent + STEPS[name].seconds > CALL:
            groups.append([])
        groups[-1].append(name)
    return groups


def main(words: Sequence[str]) -> None:
    """Do a step: NAME, the file of its findings, "dry", "emulated" or "", and its limit in seconds."""
    name, file, rehearsal, seconds = words
    if rehearsal == DRY:
        from benchmarks.dry_gpu.gpu import install

        install()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # so that programs are ended, too
    STEPS[name].run(Day(Path(file), rehearsal, float(seconds)))


if __name__ == "__main__":
    main(sys.argv[1:])
