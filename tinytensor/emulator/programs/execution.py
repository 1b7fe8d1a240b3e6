"""Runs a compiled CUDA program, and reads what it reports of its kernels."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tinytensor.emulator.check.counts import REFUSED, KernelCount, read_count
from tinytensor.emulator.check.findings import Finding, Named, read_failure, read_findings
from tinytensor.emulator.check.report import CheckReport
from tinytensor.emulator.check.source_lines import frames, places_of
from tinytensor.runtime.signature import Signature, parse

__all__ = ["ProgramRun", "run_program"]

FIELD, RECORD = "\x1f", b"\x1e"
_ARRAY = re.compile(r" of (?=dynamic shared memory,|an array of type)")
KINDS = ("cudaMalloc", "cudaMallocManaged", "cudaHostAlloc")


@dataclass(slots=True)
class ProgramRun:
    """Result of a run of a program.

    Attributes:
        code: exit code; 128 plus the number of the signal that ended it.
        output: its standard output, if that was captured.
        report: findings, and launches if every access was checked.
    """

    code: int = 0
    output: str = ""
    report: CheckReport = field(default_factory=CheckReport)


def run_program(
    program: Path,
    arguments: Sequence[str],
    sources: Sequence[Path],
    *,
    check: bool = False,
    capture: bool = False,
    tell: Callable[[Finding], None] | None = None,
    before: Sequence[str] = (),
) -> ProgramRun:
    """Run a program that `build_program` made, to its end.

    Args:
        program: the executable.
        arguments: of its command line.
        sources: of which it was made: the parameters of kernels are named as there.
        check: whether it was built so; then every error of an API call, and memory that is never freed, are
            findings, too.
        capture: whether to collect its standard output.
        tell: is called with each finding as soon as it is known.
        before: a command that starts the program, which follows it, such as ("timeout", "60").

    Returns:
        Its exit code and findings. Ctrl-C ends the program, and counts as a signal.
    """
    reader, writer = os.pipe()
    environment = {**os.environ, "TINYTENSOR_PROGRAM_REPORT": str(writer)}
    if check:
        environment["TINYTENSOR_PROGRAM_LEAKS"] = "1"
    run, records = ProgramRun(), _Records(program, sources, check)
    sys.stdout.flush()
    # To a file, since a full pipe would stop the program while its reports are read.
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(tempfile.TemporaryFile("w+", errors="replace")) if capture else None
        process = subprocess.Popen(
            [*before, str(program), *arguments], pass_fds=[writer], env=environment, stdout=output
        )
        os.close(writer)
        stack.enter_context(process)  # waits for it
        stack.callback(process.kill)  # which does nothing after its end
        while True:
            try:
                for text in _records(reader):
                    for finding in records.read(text, run.report):
                        if tell is not None:
                            tell(finding)
                code = process.wait()
                break
            except KeyboardInterrupt:  # the terminal has sent it to the program, too
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGINT)
        os.close(reader)
        if output is not None:
            output.seek(0)
            run.output = output.read()
    run.code = code if code >= 0 else 128 - code
    return run


def _records(reader: int) -> Iterator[str]:
    """The records of a pipe, until all writers have closed it."""
    left = b""
    while piece := os.read(reader, 1 << 16):
        *whole, left = (left + piece).split(RECORD)
        yield from (record.decode(errors="replace") for record in whole)


class _Records:
    """Reads records of one program; reports.h writes them."""

    def __init__(self, program: Path, sources: Sequence[Path], check: bool) -> None:
        self.program, self.check = program, check
        self.signatures: dict[str, Signature] = {}
        self.texts: dict[str, str] = {}
        for source in sources:
            with contextlib.suppress(Exception):  # only for names of parameters and arrays
                self.texts[source.name] = source.read_text(encoding="utf-8", errors="replace")
                self.signatures |= parse(self.texts[source.name])

    def read(self, text: str, report: CheckReport) -> list[Finding]:
        """Add one record to a report; returns its findings."""
        kind, *fields = text.split(FIELD)
        if kind == "launch":
            found, count = self._launch(fields)
            if count is not None:
                report.add(found, count)
                return found
        elif kind == "host":
            found = [self._host_access(fields)]
        elif kind == "error" and self.check:
            function, name, file, line, why = fields
            what = f"{function} returned {name}" + (f": {why}" if why else "")
            found = [Finding("CUDA error", function, _place(file, line), "", what)]
        elif kind == "leak":
            size, of, file, line = fields
            what = f"{int(size):,} bytes of {KINDS[int(of)]} were never freed"
            found = [Finding("memory leak", "", _place(file, line), "", what)]
        else:
            found = []
        for finding in found:
            (report.warnings if finding.is_warning else report.findings).append(finding)
        return found

    def _launch(self, fields: list[str]) -> tuple[list[Finding], KernelCount | None]:
        name, file, line, gx, gy, gz, bx, by, bz, shared, result, said, pointers, offset, size, code = fields[
            :16
        ]
        launched = _place(file, line)
        if offset:
            past = int(offset) - int(size)
            side = f"{past} bytes past the end" if past >= 0 else f"byte {offset}"
            said += f"; that is {side} of a buffer of {int(size):,} bytes"
        offsets = f"{int(code):x}", "", ""
        place = places_of(self.program, [offsets])[offsets]
        if len(fields) < 17:
            finding = read_failure(said, name, place)
            return [self._complete(finding, launched)], None
        totals = [int(number) for number in fields[16:21]]
        names = self._names(name, pointers)
        found = read_findings(fields[21], name, self.program, names)
        if int(result) and not totals[REFUSED]:
            found.append(read_failure(said, name, place))
        grid, block = (int(gx), int(gy), int(gz)), (int(bx), int(by), int(bz))
        count = KernelCount(name, grid, block, int(shared), self.program)
        count = read_count(count, totals, fields[22], fields[23])
        return [self._complete(finding, launched) for finding in found], count

    def _complete(self, finding: Finding, launched: str) -> Finding:
        """A finding with the launch, and with the name of the array that its line indexes."""
        finding = _at_launch(finding, launched)
        file, _, line = finding.place.partition(":")
        if file not in self.texts or not line.isdigit() or not (of := _ARRAY.search(finding.text)):
            return finding
        name = _array_on(self.texts[file].splitlines()[: int(line)])
        if not name:
            return finding
        return replace(finding, text=f"{finding.text[: of.start()]} of `{name}`, {finding.text[of.end() :]}")

    def _names(self, kernel: str, pointers: str) -> dict[int, Named]:
        """Buffers of the pointer arguments, by address."""
        bare = kernel.partition("<")[0].split("::")[-1].strip("() *&")
        signature = self.signatures.get(bare)
        names: dict[int, Named] = {}
        for word in pointers.split():
            position, start, offset = (int(part) for part in word.split(":"))
            known = signature is not None and position < len(signature.parameters)
            name = signature.parameters[position].name if known and signature else f"argument {position + 1}"
            names.setdefault(start, Named(name, offset))
        return names

    def _host_access(self, fields: list[str]) -> Finding:
        code, address, number, *block = fields
        found = frames(self.program, [int(code) - 1]).get(int(code) - 1, []) if int(code) else []
        place = found[0] if found else ""
        if not block:
            what = f"{signal.Signals(int(number)).name}: host code accesses address {int(address):#x}"
            return Finding("host crash", "", place, "", what)
        offset, size, kind, file, line = block
        what = f"host code accesses byte {int(offset):,} of a buffer of {int(size):,} bytes of "
        what += f"{KINDS[int(kind)]} at {_place(file, line)}"
        if kind == "0" and 0 <= int(offset) < int(size):
            what += ": memory of the device; copy it with cudaMemcpy, or allocate it with cudaMallocManaged"
        elif -16 <= int(offset) < 0:
            what += ", where free() and delete look for the size; such memory takes cudaFree"
        return Finding("host access", "", place, "", what)


def _place(file: str, line: str) -> str:
    return f"{Path(file).name}:{line}" if file else ""


def _array_on(lines: Sequence[str]) -> str:
    """The one array that the last line indexes; "" if there are several, since no column is known."""
    words = set(re.findall(r"\b([A-Za-z_]\w*)\s*\[", lines[-1])) if lines else set()
    before = "\n".join(lines)
    type_ = r"\b(?!(?:return|else)\b)\w+|>"
    arrays = [w for w in words if re.search(rf"(?:(?:{type_})\s+|,\s*){w}\s*\[", before)]
    return arrays[0] if len(arrays) == 1 else ""


def _at_launch(finding: Finding, launched: str) -> Finding:
    """A finding with names of files without folders; if its place is unknown it gets that of the launch."""
    place, other = (re.sub(r"\S*/", "", text) for text in (finding.place, finding.other))
    place = place or launched
    told = "" if launched in ("", place) else f", launched at {launched}"
    text = re.sub(r"\bat \S*/", "at ", finding.text + told)
    return replace(finding, place=place, other=other, text=text)
