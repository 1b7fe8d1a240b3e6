"""The device `checked`: the emulated kernels with every access watched. Finds accesses outside of buffers,
misaligned ones, reads of what nobody wrote, races, and counts what each source line asks of memory.

About seventy times slower than `emulated`: for small shapes.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator, Sequence
from functools import cache

from ..device import as_device
from ..errors import KernelError
from .base import Argument, Buffer, Dim
from .check_report import CheckReport, Finding, read_findings, read_lines
from .emulated_kernels import WATCHED
from .emulated_runtime import Core, EmulatedKernel, EmulatedRuntime
from .host import Array

__all__ = ["CheckedRuntime"]

ROOM = 1 << 20  # bytes for what the core prints


class CheckedCore(Core):
    """The functions of the core that watches."""

    def __init__(self) -> None:
        super().__init__(WATCHED)
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        self.watch = self.library.tt_checked_watch
        self.watch.argtypes = [pointer, size, ctypes.c_int]
        self.forget = self.library.tt_checked_forget
        self.forget.argtypes = [pointer]
        self.fill = self.library.tt_checked_fill
        self.fill.argtypes = [pointer, size]
        self.begin = self.library.tt_checked_begin
        self.begin.argtypes = [pointer]
        self.count_blocks = self.library.tt_checked_count_blocks
        self.count_blocks.argtypes = [ctypes.c_uint]
        self.findings = self.library.tt_checked_findings
        self.lines = self.library.tt_checked_lines
        for function in (self.findings, self.lines):
            function.argtypes, function.restype = [ctypes.c_char_p, size], size
        self.room = ctypes.create_string_buffer(ROOM)

    def text(self, function: Callable[..., int]) -> str:
        """What one of the printing functions writes."""
        used = function(self.room, ROOM)
        return self.room.raw[:used].decode(errors="replace")


@cache
def the_checked_core() -> CheckedCore:
    """One core for the process, compiled on first use; it runs on one worker."""
    core = CheckedCore()
    core.set_workers(1, 1e9)
    return core


class CheckedKernel(EmulatedKernel):
    """One instance of a kernel, watched."""

    __slots__ = ()

    _runtime: CheckedRuntime
    _core: CheckedCore

    def start(self, packed: bytes, sizes: tuple[Dim, Dim, int], args: Sequence[Argument] = ()) -> None:
        """Run all threads, one after another. Findings go into the report of the running `check`, or else are
        raised.
        """
        runtime, core = self._runtime, self._core
        with runtime.watching:
            runtime.follow_memory()
            core.begin(self._handle)
            failure: KernelError | None = None
            try:
                super().start(packed, sizes, args)
            except KernelError as error:
                failure = error
            names = {at: name for name, at in self._packer.pointers(args)} if args else {}
            found = read_findings(core.text(core.findings), self.name, self.library, names)
            if failure is not None and not found:
                found = [Finding("launch failed", self.name, "", "", failure.why, 1)]
            report = runtime.report
            if report is not None:
                report.launches += 1
                report.findings += found
                report.add_lines(read_lines(core.text(core.lines), self.name, self.library))
            elif found:
                raise KernelError(
                    f"kernel {self.name}: {found[0]}",
                    why=f"device checked watches every access; grid {sizes[0]}, block {sizes[1]}"
                    + (f"; {len(found) - 1} more findings" if len(found) > 1 else ""),
                    fix="mend the line; `python -m tinytensor check` shows all findings",
                ) from None


class CheckedRuntime(EmulatedRuntime):
    """The runtime of the device `checked`; see `base.Runtime`.

    Attributes:
        report: where findings go while a check is on; None: they are raised.
    """

    build = WATCHED
    kernel_class = CheckedKernel
    core: CheckedCore

    def __init__(self) -> None:
        super().__init__()
        self.device = as_device("checked")
        self.report: CheckReport | None = None
        self.watching = self._lock
        self._guest: EmulatedRuntime | None = None
        self._known: dict[int, int] = {}

    def _make_core(self) -> CheckedCore:
        return the_checked_core()

    # ---- memory

    def alloc(self, nbytes: int) -> Buffer:
        """Bytes that nobody has written yet: to read one is a finding."""
        buffer = super().alloc(nbytes)
        with self.watching:
            if self._known.pop(buffer.ptr, None) is not None:
                self.core.forget(buffer.ptr)
            if nbytes:
                self.core.watch(buffer.ptr, nbytes, 0)
                self._known[buffer.ptr] = nbytes
        return buffer

    def follow_memory(self) -> None:
        """Tell the core which buffers exist: buffers come and go without telling it."""
        live = {at: n for at, n in self.memory.live() if n}
        if self._guest is not None:
            live |= {at: n for at, n in self._guest.memory.live() if n}
        for at, nbytes in list(self._known.items()):
            if live.get(at) != nbytes:
                self.core.forget(at)
                del self._known[at]
        for at, nbytes in live.items():
            if at not in self._known:
                self.core.watch(at, nbytes, 1)
                self._known[at] = nbytes

    def copy_in(self, ptr: int, source: Array) -> None:
        """Host to device."""
        super().copy_in(ptr, source)
        self.core.fill(ptr, source.nbytes)

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """Within the device."""
        super().copy(target, source, nbytes)
        self.core.fill(target, nbytes)

    def memset(self, ptr: int, value: int, nbytes: int) -> None:
        """Set bytes."""
        super().memset(ptr, value, nbytes)
        self.core.fill(ptr, nbytes)

    # ---- checks

    @contextlib.contextmanager
    def check(self, guest: EmulatedRuntime, blocks: int) -> Iterator[CheckReport]:
        """Collect what is found, also in kernels of the emulated device, which run here meanwhile. The first
        `blocks` blocks of each launch are counted.
        """
        before = self.report, self._guest, guest.instead
        report = CheckReport()
        self.report, self._guest, guest.instead = report, guest, self._run_for_guest
        self.core.count_blocks(blocks)
        try:
            yield report
        finally:
            self.report, self._guest, guest.instead = before

    def _run_for_guest(
        self, kernel: EmulatedKernel, packed: bytes, sizes: tuple[Dim, Dim, int], args: Sequence[Argument]
    ) -> None:
        name = kernel.name.partition("<")[0]
        self.kernel(kernel.source.path, name, *kernel.arguments).start(packed, sizes, args)
