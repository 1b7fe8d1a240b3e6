"""Runtime of the device `checked`: emulated kernels with every memory access checked and counted.

Detects out-of-bounds and misaligned accesses, uninitialized reads and races, and counts the memory requests
of each source line.

Much slower than `emulated` (see `tinytensor.cuda.check`): for small shapes.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tinytensor.device import as_device
from tinytensor.emulator.check.compiler_warnings import uninitialized_variables
from tinytensor.emulator.check.counts import REFUSED, KernelCount, read_count
from tinytensor.emulator.check.findings import Finding, Named, read_failure, read_findings
from tinytensor.emulator.check.recording import read_recording
from tinytensor.emulator.check.report import CheckReport
from tinytensor.emulator.check.schedules import (
    Memory,
    Outcome,
    Raw,
    Schedule,
    Switch,
    copies,
    first_difference,
    position,
    restore,
)
from tinytensor.emulator.check.source_lines import places_of
from tinytensor.emulator.run.kernels import WATCHED
from tinytensor.emulator.run.runtime import HEADER, Core, EmulatedKernel, EmulatedRuntime
from tinytensor.errors import ArgumentError, KernelError
from tinytensor.runtime.base import Argument, Buffer, Dim, three_sizes
from tinytensor.runtime.user_lines import caller_frame

Sizes = tuple[Dim, Dim, int]
# How memory is compared, by the type of the parameter; other types byte by byte.
COMPARED = {
    "float": "f4",
    "double": "f8",
    "int": "i4",
    "unsigned": "u4",
    "unsigned int": "u4",
    "long long": "i8",
}


class CheckedCore(Core):
    """Functions of the checked core."""

    def __init__(self) -> None:
        super().__init__(WATCHED)
        pointer, size, unsigned = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint
        self.watch = self.function("watch", pointer, size, ctypes.c_int)
        self.forget = self.function("forget", pointer)
        self.fill = self.function("fill", pointer, size)
        self.move = self.function("move", pointer, pointer, size)
        self.unwritten = self.function("unwritten", pointer, size)
        self.begin = self.function("begin", pointer, unsigned)
        self.count_blocks = self.function("count_blocks", unsigned)
        self.record_blocks = self.function("record_blocks", unsigned)
        self.explore = self.function("explore", unsigned, ctypes.c_ulonglong)
        self.replay = self.function("replay", pointer, size)
        self.switches = self.function("switches", ctypes.c_char_p, size)
        self.keep_variables = self.function("keep_variables", ctypes.c_int)
        self._totals = self.function("totals", pointer)
        self.faulty_code = self.function("faulty_code")
        self.findings = self.function("findings", ctypes.c_char_p, size)
        self.lines = self.function("lines", ctypes.c_char_p, size)
        self.work = self.function("work", ctypes.c_char_p, size)
        self.record = self.function("record", ctypes.c_char_p, size)
        self._room = ctypes.create_string_buffer(1 << 16)

    def totals(self) -> list[int]:
        """Totals of the last launch."""
        numbers = (ctypes.c_uint64 * 5)()
        self._totals(numbers)
        return list(numbers)

    def text(self, function: Callable[..., int]) -> str:
        """Output of one of the printing functions."""
        while (used := function(self._room, len(self._room))) >= len(self._room):
            self._room = ctypes.create_string_buffer(2 * used)
        return self._room.raw[:used].decode(errors="replace")


@cache
def the_checked_core() -> CheckedCore:
    """The checked core of the process, compiled on first use; it runs on one worker."""
    core = CheckedCore()
    core.set_workers(1, 1e9)
    core.count_blocks(0)
    return core


class CheckedKernel(EmulatedKernel):
    """One kernel instance with checked accesses."""

    __slots__ = ()

    _runtime: CheckedRuntime
    _core: CheckedCore

    def start(self, packed: bytes, sizes: tuple[Dim, Dim, int], args: Sequence[Argument] = ()) -> None:
        """Run all threads, one after another. Findings are added to the reports of all active checks, or
        raised if there is none.
        """
        runtime = self._runtime
        with runtime.watching:
            runtime.follow_memory()
            schedules = max((check.schedules for check in runtime.checks), default=0) if args else 0
            kept = copies(runtime.live().items()) if schedules else None
            failure = self._run(packed, sizes, args)
            runtime.launches += 1
            names, caller = self._names(args), _caller()
            found = [replace(f, caller=caller) for f in self._findings(failure, names)]
            self._remember_outputs(sizes, args, caller)
            if runtime.checks:
                count = self._counts(packed)
                if runtime.records:
                    text = self._core.text(self._core.record)
                    count.recording = read_recording(text, self.library, names, found)
                for check in runtime.checks:
                    check.report.add([*found, *self._unset_variables(check.report)], count)
                if kept is not None and failure is None:
                    self._explore(packed, sizes, args, kept, {f.kind for f in found})
            elif found := [finding for finding in found if not finding.is_warning]:
                raise KernelError(
                    f"kernel {self.name}: {found[0]}",
                    why=f"device checked checks every access; grid {sizes[0]}, block {sizes[1]}"
                    + (f"; further findings: {len(found) - 1}" if len(found) > 1 else ""),
                    fix="correct the line; `with tt.cuda.check() as report` collects all findings",
                ) from None

    def _unset_variables(self, report: CheckReport) -> list[Finding]:
        """Compiler warnings about variables of the kernel that the report does not have yet."""
        said = uninitialized_variables(self.library, self.name, tuple(self.source.signatures))
        known = {(f.kernel, f.place, f.text) for f in report.warnings} if said else ()
        return [f for f in said if (f.kernel, f.place, f.text) not in known]

    def _remember_outputs(self, sizes: Sizes, args: Sequence[Argument], caller: str) -> None:
        """Remember which launch may write which buffers, for a finding if the host reads other bytes."""
        runtime = self._runtime
        launch = Finding(
            *("unwritten output", self.name, "", "", ""),
            launch=runtime.launches,
            grid=three_sizes(sizes[0]),
            block=three_sizes(sizes[1]),
            caller=caller,
        )
        for name, at in self._packer.outputs(args) if args else ():
            start = runtime.start_of(at)
            if start is not None:
                runtime.outputs[start] = name, launch

    def _run(self, packed: bytes, sizes: Sizes, args: Sequence[Argument]) -> KernelError | None:
        """Run all threads; returns the error that ended the launch."""
        self._core.begin(self._handle, max(sizes[2], 0))
        try:
            super().start(packed, sizes, args)
        except KernelError as error:
            return error
        return None

    def _explore(
        self, packed: bytes, sizes: Sizes, args: Sequence[Argument], kept: dict[int, bytes], kinds: set[str]
    ) -> None:
        """Launch with other schedules on the same memory, and add a schedule with another result to the
        reports. Then the memory is that of the default schedule.
        """
        core, runtime = self._core, self._runtime
        gx, gy, gz, bx, by, bz, _, _ = HEADER.unpack_from(packed)
        after = copies(runtime.live().items())
        if after is None:
            return
        expected = Outcome(self._memory(args), frozenset(kinds))
        core.keep_variables(0)
        core.count_blocks(0)

        def outcome() -> Outcome:
            restore(kept)
            core.keep_variables(1)
            failure = self._run(packed, sizes, args)
            if failure is not None and "schedules are for kernels" in str(failure):  # grid_checks.h
                raise failure
            found = frozenset(f.kind for f in self._findings(failure, {}))
            return Outcome(self._memory(args), found, self._switches())

        def run(one_in: int, seed: int) -> Outcome:
            if not one_in:
                return expected
            core.explore(one_in, seed)
            return outcome()

        def replay(given: Sequence[Raw]) -> Outcome:
            numbers = [number for switch in given for number in switch]
            core.replay((ctypes.c_ulonglong * len(numbers))(*numbers), len(given))
            return outcome()

        try:
            for check in [check for check in runtime.checks if check.schedules]:
                if (difference := first_difference(run, replay, check.schedules)) is not None:
                    text, made, seed = difference
                    grid, block = (gx, gy, gz), (bx, by, bz)
                    switches = [
                        Switch(position(b, grid), position(t, block), position(to, block), step, place)
                        for (b, t, step, to), place in made
                    ]
                    recording = None
                    if runtime.records:  # of the last run, which had these switches
                        recorded = core.text(core.record)
                        recording = read_recording(recorded, self.library, self._names(args), ())
                    schedule = Schedule(self.name, text, tuple(switches), seed, recording)
                    check.report.schedules.append(schedule)
        finally:
            core.explore(0, 0)
            core.count_blocks(max(check.blocks for check in runtime.checks))
            restore(after)

    def _memory(self, args: Sequence[Argument]) -> Memory:
        """Contents of the buffers of the pointer arguments."""
        types = {p.name: p.type for p in self._packer.signature.parameters}
        found: Memory = {}
        for name, at in self._packer.pointers(args):
            start = self._runtime.start_of(at)
            if start is not None:
                kind = types[name].removeprefix("const ").partition("*")[0].strip()
                data = ctypes.string_at(start, self._runtime.size_of(start))
                dtype = np.dtype(COMPARED.get(kind, "u1"))
                found[name] = np.frombuffer(data[: len(data) // dtype.itemsize * dtype.itemsize], dtype)
        return found

    def _switches(self) -> list[tuple[Raw, str]]:
        rows = [row.split("\t") for row in self._core.text(self._core.switches).splitlines()]
        places = places_of(self.library, {(row[4], row[5], row[6]) for row in rows})
        raw = [(int(row[0]), int(row[1]), int(row[2]), int(row[3])) for row in rows]
        return [(switch, places[row[4], row[5], row[6]]) for switch, row in zip(raw, rows, strict=True)]

    def _findings(self, failure: KernelError | None, names: dict[int, Named]) -> list[Finding]:
        core = self._core
        found = read_findings(core.text(core.findings), self.name, self.library, names)
        if failure is None:
            return found
        if not core.totals()[REFUSED]:  # else it is the last one of the findings
            code = f"{core.faulty_code():x}", "", ""
            found.append(read_failure(failure.why, self.name, places_of(self.library, [code])[code]))
        return [*found[:-1], replace(found[-1], stopped=True)]

    def _names(self, args: Sequence[Argument]) -> dict[int, Named]:
        """Buffers of the pointer arguments, by address."""
        names: dict[int, Named] = {}
        tensors: dict[object, Any] = {getattr(a, "ptr", None): a for a in args}
        for name, at in self._packer.pointers(args) if args else ():
            start = self._runtime.start_of(at)
            if start is not None:
                dtype, shape = getattr(tensors.get(at), "dtype", None), ()
                if getattr(tensors.get(at), "is_contiguous", False):
                    shape = tensors[at].shape
                names.setdefault(start, Named(name, at - start, dtype, shape))
        return names

    def _counts(self, packed: bytes) -> KernelCount:
        core = self._core
        gx, gy, gz, bx, by, bz, shared, _ = HEADER.unpack_from(packed)
        launch = KernelCount(self.name, (gx, gy, gz), (bx, by, bz), shared, self.library, self)
        return read_count(launch, core.totals(), core.text(core.lines), core.text(core.work))


def _caller() -> str:
    """file:line of the user's code that launches; "" if there is none."""
    frame = caller_frame()
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}" if frame is not None else ""


class Check:
    """One active `tt.cuda.check`.

    Attributes:
        before: number of launches that were checked before it began.
    """

    def __init__(self, blocks: int, record: bool, schedules: int, before: int) -> None:
        self.blocks, self.record, self.schedules, self.before = blocks, record, schedules, before
        self.report = CheckReport()


class CheckedRuntime(EmulatedRuntime):
    """Runtime of the device `checked`; implements `base.Runtime`.

    Attributes:
        checks: active checks, of any thread: findings are added to their reports, or raised if there is none.
        launches: number of launches so far.
        records: number of blocks of each launch that are recorded.
    """

    build = WATCHED
    kernel_class = CheckedKernel
    core: CheckedCore

    def __init__(self) -> None:
        super().__init__()
        self.device = as_device("checked")
        self.checks: list[Check] = []
        self.records = 0
        self.watching = self._lock
        self.watcher = self
        self._guest: EmulatedRuntime | None = None
        self._known: dict[int, int] = {}
        self.launches = 0
        self.outputs: dict[
            int, tuple[str, Finding]
        ] = {}  # by address: parameter, and the finding if unwritten
        os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        """Reset the lock and the checks in a forked process, which does not have their threads."""
        self.watching = self._lock = threading.RLock()
        if self._guest is not None:
            self._guest.instead = self._guest.watcher = None
        self.checks, self._guest = [], None

    def _make_core(self) -> CheckedCore:
        return the_checked_core()

    # ---- memory, of this device and, while a check is active, of the emulated one

    def allocated(self, buffer: Buffer) -> None:
        """Register new, uninitialized memory: reading it is a finding."""
        with self.watching:
            self.outputs.pop(buffer.ptr, None)
            if self._known.pop(buffer.ptr, None) is not None:
                self.core.forget(buffer.ptr)
            if buffer.nbytes:
                self.core.watch(buffer.ptr, buffer.nbytes, 0)
                self._known[buffer.ptr] = buffer.nbytes

    def written(self, ptr: int, nbytes: int) -> None:
        """Mark bytes as written by the host."""
        with self.watching:
            self.core.fill(ptr, nbytes)

    def moved(self, target: int, source: int, nbytes: int) -> None:
        """Copy the initialization state of bytes copied within the device."""
        with self.watching:
            self.core.move(target, source, nbytes)

    def read(self, ptr: int, nbytes: int) -> None:
        """Report an output of a kernel of which the host reads bytes that nothing wrote, once."""
        with self.watching:
            first = self.core.unwritten(ptr, nbytes) if nbytes else 0
            start = self.start_of(ptr) if first else None
            if start is None or start not in self.outputs:
                return
            name, launch = self.outputs.pop(start)
            at = ptr + first - 1 - start
            text = f"the host reads `{name}`, of which no thread has written byte {at}; too few blocks?"
            finding = replace(launch, text=text)
            for check in self.checks:
                number = max(launch.launch - check.before, 0)  # 0: before this check
                check.report.findings.append(replace(finding, launch=number))
        if not self.checks:
            raise KernelError(
                f"kernel {launch.kernel}: {finding}",
                why="device checked remembers which bytes were written since the memory was allocated",
                fix="launch enough threads, or fill the output before",
            )

    def follow_memory(self) -> None:
        """Update the core's list of buffers, which are freed without notice."""
        live = self.live()
        for at, nbytes in list(self._known.items()):
            if live.get(at) != nbytes:
                self.core.forget(at)
                del self._known[at]
        for at, nbytes in live.items():
            if at not in self._known:
                self.core.watch(at, nbytes, 1)
                self._known[at] = nbytes

    def live(self) -> dict[int, int]:
        """Addresses and sizes of all buffers."""
        live = {at: n for at, n in self.memory.live() if n}
        if self._guest is not None:
            live |= {at: n for at, n in self._guest.memory.live() if n}
        return live

    def size_of(self, start: int) -> int:
        """Size of the buffer that starts there."""
        return self._known[start]

    def start_of(self, address: int) -> int | None:
        """Start address of the buffer that contains this address; None if there is none."""
        for runtime in (self, self._guest):
            found = runtime.memory.near(address) if runtime is not None else None
            if found is not None:
                return found[0]
        return None

    # ---- checks

    @contextlib.contextmanager
    def check(
        self, guest: EmulatedRuntime, blocks: int, record: bool = False, schedules: int = 0
    ) -> Iterator[CheckReport]:
        """Collect findings, also of kernels of the emulated device, which run here during the check. The
        first `blocks` blocks of each launch are counted, and recorded on demand. Each launch is repeated with
        `schedules` random schedules.
        """
        if type(blocks) is not int or not 0 <= blocks < 1 << 31:
            raise ArgumentError(
                f"check: blocks={blocks!r}",
                why="the number of counted blocks of each launch must be an integer, at least 0",
                fix="blocks=4",
            )
        check = Check(blocks, record, schedules, self.launches)
        with self.watching:
            self.checks.append(check)
            self._follow_checks(guest)
        try:
            yield check.report
        finally:
            with self.watching:
                self.checks.remove(check)
                self._follow_checks(guest)

    def _follow_checks(self, guest: EmulatedRuntime) -> None:
        if len(self.checks) <= 1:  # first check begins or last one ended: memory was not tracked
            for at in self._known.keys() - {at for at, _ in self.memory.live()}:
                self.core.forget(at)
                del self._known[at]
        self._guest = guest if self.checks else None
        guest.instead = self._run_for_guest if self.checks else None
        guest.watcher = self if self.checks else None
        self.core.count_blocks(max((check.blocks for check in self.checks), default=0))
        self.records = max((check.blocks for check in self.checks if check.record), default=0)
        self.core.record_blocks(self.records)

    def _run_for_guest(
        self, kernel: EmulatedKernel, packed: bytes, sizes: tuple[Dim, Dim, int], args: Sequence[Argument]
    ) -> None:
        name = kernel.declared
        self.statistics.launch_calls -= 1  # already counted by the emulated runtime
        self.kernel(kernel.source.path, name, *kernel.arguments).start(packed, sizes, args)
