"""What a step gets: a device, the time that is left, and a place for its findings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.contest.contestants import ROOT

PATH = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
DRY, EMULATED = "dry", "emulated"  # rehearsals: on the GPU that computes nothing, and on the emulator
GRACE = 5.0  # seconds before its limit at which a step stops to begin work


@dataclass(frozen=True)
class Finished:
    """A program that ended, or was ended: its exit code (None at its limit), and its last words."""

    code: int | None
    output: str

    @property
    def ended(self) -> str:
        """How it ended, after the word "ended"."""
        return "at its limit" if self.code is None else f"with exit code {self.code}"


class Day:
    """One run of one step.

    Args:
        file: gets each finding as a line of JSON, as soon as it is made.
        rehearsal: "" on a GPU, DRY or EMULATED.
        seconds: limit of the step.

    Attributes:
        device: "cuda", or "emulated".
        small: whether sizes are small, and nothing is timed.
    """

    def __init__(self, file: Path, rehearsal: str, seconds: float) -> None:
        self.file, self.rehearsal = file, rehearsal
        self.device = "emulated" if rehearsal == EMULATED else "cuda"
        self.small = bool(rehearsal)
        self._end = time.monotonic() + seconds - GRACE

    def left(self) -> float:
        """Seconds until the step should end; never negative."""
        return max(0.0, self._end - time.monotonic())

    def has(self, seconds: float, what: str) -> bool:
        """Whether there is time for some work; notes what is left out otherwise."""
        if self.left() >= seconds:
            return True
        self.say(f"left out for lack of time: {what}")
        return False

    def say(self, text: str) -> None:
        """Add a paragraph."""
        self._write({"say": text})

    def row(self, table: str, **cells: Any) -> None:
        """Add a row to a table; the cells are by column."""
        self._write({"table": table, "row": cells})

    def _write(self, finding: Mapping[str, Any]) -> None:
        with self.file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(finding) + "\n")

    def time(self, seconds: float | None) -> float | None:
        """A measured time for a cell; None in a rehearsal, whose times say nothing."""
        return None if self.small or seconds is None else seconds

    # ---- programs

    def python(self, module: str, *words: str) -> list[str]:
        """Command of a module of Python, which sees the GPU that this step sees."""
        over = ["benchmarks.first_day.on_dry", module] if self.rehearsal == DRY else [module]
        return [sys.executable, "-m", *over, *words]

    def run(self, command: Sequence[str], most: float | None = None, **environment: str) -> Finished:
        """Run a program until it ends, or its time or that of the step is over. Its output is logged, too.

        Args:
            command: the program and its arguments.
            most: seconds; default: what is left of the step.
            environment: more variables.
        """
        limit = max(1.0, self.left() if most is None else min(most, self.left()))
        env = os.environ | {"PYTHONPATH": PATH} | environment
        process = subprocess.Popen(
            command, cwd=ROOT, env=env, text=True, errors="replace", start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            output, code = process.communicate(timeout=limit)[0], process.returncode
        except subprocess.TimeoutExpired:
            end(process)
            output, code = process.communicate()[0], None
        except BaseException:  # the step itself is ended
            end(process)
            raise
        print(f"$ {' '.join(command)}\n{output}\nexit code {code}", flush=True)
        return Finished(code, output)


def end(process: subprocess.Popen[Any], patience: float = 3.0) -> None:
    """End a process that has a session of its own, with what it has started: politely, then at once."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
        os.killpg(process.pid, signal.SIGKILL)


def last_lines(text: str, count: int = 3) -> str:
    """The last lines of an output, in one."""
    return " | ".join([line.strip() for line in text.splitlines() if line.strip()][-count:])
