"""Shows the kernels of an op: source, launch, registers, PTX, and memory accesses of each line.

The op runs once on the device `emulated` under `tt.cuda.check`, so no GPU is needed; registers and PTX come
from NVRTC, if it is installed. No times are measured.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import tinytensor as tt
from tinytensor.emulator.check.findings import Finding
from tinytensor.emulator.check.recording import Recording
from tinytensor.emulator.check.report import CheckReport
from tinytensor.emulator.check.schedules import Schedule
from tinytensor.emulator.run.kernels import read
from tinytensor.errors import ArgumentError, DeviceError, KernelError, nearest
from tinytensor.lab.html import Html, Page, heat, tag
from tinytensor.lab.kernels.launch import ARCHITECTURE, KernelLaunch
from tinytensor.lab.kernels.source import Piece
from tinytensor.lab.replay.data import Source, replay_data, schedule_data
from tinytensor.lab.report import Report, Shown, tabs

MOST_EVENTS = 1 << 17  # on a page: 2 to 3 MB
VIEWER = Path(__file__).parents[1] / "replay"
SCRIPTS = ("model.js", "words.js", "panels.js", "viewer.js")
IDEAL = 0.99  # used share of the transferred bytes; less is highlighted
INTRO = (
    "Counts are those of the source's accesses in a checked run on the emulator, not times. A sector is 32 "
    "bytes of global memory: 32 neighboring floats of a warp take 4. One bank way is a pass of shared memory "
    "without conflicts. Colored numbers request more than they need. Accesses in a function of a header are "
    "shown there, and at the line of the kernel that calls it."
)


@dataclass(repr=False)
class Kernels(Shown):
    """All kernels that an op launched, in the order of first launches; print it, or save its `html()`."""

    op: str
    launches: list[KernelLaunch]
    findings: list[Finding]

    def __iter__(self) -> Iterator[KernelLaunch]:
        return iter(self.launches)

    def __len__(self) -> int:
        return len(self.launches)

    def __getitem__(self, i: int) -> KernelLaunch:
        return self.launches[i]

    def text(self, architecture: int = ARCHITECTURE) -> str:
        """Text for the terminal, with registers of an architecture: compute capability times ten."""
        return "\n".join([*map(str, self.findings), *[launch.text(architecture) for launch in self]])

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"kernels of {self.op}: {', '.join([k.instance for k in self])}; print them for their source"

    def report(self, architecture: int | None = ARCHITECTURE) -> Report:
        """For `lab.page`; arguments as for `html`."""
        return kernels_report(f"Kernels of {self.op}", self.launches, architecture)

    def html(self, architecture: int | None = ARCHITECTURE) -> str:
        """Self-contained page: replay, source with counts; registers and PTX unless architecture is None."""
        return self.report(architecture).html()


# ---- the page ----------------------------------------------------------------------------------------------


def kernels_report(title: str, launches: Sequence[KernelLaunch], architecture: int | None) -> Report:
    """Replay of some launches beside their sources with counts; facts and PTX below, if an architecture is
    given. `replay/viewer.html` has the controls and panels of the replay, which the scripts fill.
    """
    recorded = [
        (launch, recording, schedule)
        for launch in launches
        for schedule in (None, *launch.schedules)
        if (recording := (schedule or launch.count).recording) and recording.events
    ]
    more = [tag("p", INTRO, class_="soft")]
    for launch in launches if architecture else ():
        facts = launch.facts(architecture or 0)
        more += [tag("h2", facts[0]), tag("pre", "\n".join(facts[1:]), class_="scroll")]
        more.append(_ptx(launch, architecture or 0))
    if not recorded:
        text = "There are no steps: no recorded thread read or wrote memory."
        return Report(title, (tag("p", text), *more))
    data = [_data(*one, MOST_EVENTS // len(recorded)) for one in recorded]
    listings = [
        tag("div", tag("div", *[_listing(launch, piece) for piece in launch.source]), data_launch=i)
        for i, (launch, _, _) in enumerate(recorded)
    ]
    body = Html(_file("viewer.html").replace("SOURCES", "".join(listings)))
    script = "".join(map(_file, SCRIPTS))
    return Report(title, (body, *more), _file("viewer.css"), {"replay-data": data}, script)


@cache
def _file(name: str) -> str:
    return (VIEWER / name).read_text(encoding="utf-8")


def _data(
    launch: KernelLaunch, recording: Recording, schedule: Schedule | None, most: int
) -> dict[str, object]:
    files = {path.name: path for path in read(launch.file).modified}
    parameters = {p.name: p.type for p in launch.signature.parameters}
    source, sizes = Source(files, launch.template, parameters), (launch.count.grid, launch.count.block)
    data = replay_data(recording, launch.instance, *sizes, source, most)
    return data if schedule is None else data | schedule_data(schedule, recording, *sizes)


def _ptx(launch: KernelLaunch, architecture: int) -> Html:
    try:
        text = launch.ptx(architecture)
    except (DeviceError, KernelError) as error:
        return tag("p", f"There is no PTX here: {str(error).splitlines()[0]}.")
    return tag(
        "details", tag("summary", f"PTX for compute_{architecture}"), tag("pre", text, class_="scroll")
    )


def _listing(launch: KernelLaunch, piece: Piece) -> Html:
    """Table of source lines; below a line its counts."""
    title = f"{piece.file.name}:{piece.first}–{piece.last} ({piece.what})"
    rows = [_row(launch, piece, number) for number in range(piece.first, piece.last + 1)]
    return tag("table", tag("caption", title), *rows, class_="code")


def _row(launch: KernelLaunch, piece: Piece, number: int) -> Html:
    notes = [
        tag("small", about, tag("span", cost, **heat(excess)) if excess > 1 - IDEAL else cost, after)
        for about, cost, after, excess in launch.notes(piece.file.name, number)
    ]
    return tag(
        "tr",
        tag("td", str(number), class_="number"),
        tag("td", piece.lines[number - piece.first], *notes),
        data_line=f"{piece.file.name}:{number}",
    )


def kernels_of(name: str, report: CheckReport) -> Kernels:
    """The kernels of a report; `name`: of what launched them."""
    schedules: dict[str, list[Schedule]] = {}
    for schedule in report.schedules:
        schedules.setdefault(schedule.kernel, []).append(schedule)
    launches = [
        KernelLaunch(count, count.launched, schedules.pop(count.kernel, ()))
        for count in report.kernels
        if count.launched
    ]
    for launch in launches:
        launch.together = sorted({one.instance for one in launches if one.file == launch.file})
    return Kernels(name, launches, report.findings)


def replay_of(report: CheckReport) -> Report:
    """The recorded blocks step by step: which thread reads and writes which element, by which line, between
    which barriers, and the two accesses of each race. ArgumentError if nothing was recorded.
    """
    if not any(count.recording for count in report.kernels):
        raise ArgumentError(
            "replay: nothing was recorded",
            why="a check records on demand, and only while kernels are launched inside of it",
            fix="with tt.cuda.check(record=True) as report: ...",
        )
    launches = kernels_of("", report).launches
    names = list(dict.fromkeys([launch.signature.name for launch in launches]))
    title = f"Replay of {', '.join(names[:3])}{' and others' * (len(names) > 3)}"
    return kernels_report(title, launches, None)


def page(*things: Shown | CheckReport, title: str = "Looking inside") -> Page:
    """Self-contained HTML page with a tab for each thing, for `lab.html.write`; in a notebook it is in a
    frame.

    Args:
        things: results of `x.explain()` and of the functions of the lab, and reports of
            `tt.cuda.check(record=True)`; of `lab.kernel` and such reports one, as a replay has one address.

    Example:
        >>> from tinytensor import lab
        >>> x = tt.ones(2, 3, requires_grad=True)
        >>> "tensor, requires_grad=True</label>" in lab.page(x.explain(), lab.graph(x.sum()))
        True
    """
    reports = [replay_of(thing) if isinstance(thing, CheckReport) else thing.report() for thing in things]
    if not reports or sum(bool(report.script) for report in reports) > 1:
        raise ArgumentError(
            f"page: {len(reports)} things",
            why="a page has one tab or more, and at most one replay: its position is the address of the page",
            fix="lab.page(x.explain(), lab.graph(loss), report)",
        )
    return tabs(title, *reports)


# ---- running the op ----------------------------------------------------------------------------------------


def kernel(
    op: str | Callable[..., Any], *args: Any, backward: bool = False, blocks: int = 4, **params: Any
) -> Kernels:
    """Run an op once on the emulator under checks and return its kernels, which may depend on the
    architecture, here that of the emulator (sm_80).

    Args:
        op: the name of a public function ("softmax"), any function of tensors, or a user kernel
            `k[grid, block]` of `tt.cuda.kernel`.
        args: its arguments; tensors on any device are copied to `emulated` with their strides.
        backward: include the kernels of the gradient of the summed results with respect to all floating
            arguments.
        blocks: number of blocks of each launch that are counted.

    Example:
        >>> from tinytensor import lab
        >>> k = lab.kernel("softmax", tt.ones(4, 64))
        >>> k[0].instance, k[0].template
        ('softmax_forward<float, false>', {'T': 'float', 'LOG': 'false'})
        >>> load = next(line for line in k[0].lines if line.way == "load")
        >>> load.sectors_per_request, load.efficiency
        (16.0, 1.0)
    """
    name, function = _function(op)
    tensors = [_moved(a) for a in args]
    params = {key: _moved(a) for key, a in params.items()}
    leaves = [a for a in _flat([*tensors, *params.values()]) if a.dtype.is_floating]
    if backward:
        for leaf in leaves:
            leaf.requires_grad_()
    with tt.cuda.check(blocks=blocks, record=True) as report:
        with nullcontext() if backward else tt.no_grad():
            results = function(*tensors, **params)
        if backward:
            _gradients(name, _flat([results]), leaves)
    if not report.kernels:
        raise ArgumentError(
            f"kernel: {name} launches no kernel",
            why="it returns a view, computes nothing, or exists for the CPU only",
            fix='name an op that computes, such as lab.kernel("softmax", x)',
        )
    return kernels_of(name, report)


def _gradients(name: str, outputs: Sequence[tt.Tensor], leaves: Sequence[tt.Tensor]) -> None:
    """Compute the gradients of the sum of the outputs with respect to each leaf."""
    ends = [y for y in outputs if y.requires_grad]
    if not ends:
        raise ArgumentError(
            f"kernel: {name} has no gradient",
            why="none of its results requires grad: arguments or results are not floating",
            fix="leave backward out",
        )
    ones = [tt.ones(*y.shape, dtype=y.dtype, device=y.device) for y in ends]
    tt.grad(ends, leaves, ones, allow_unused=True)


def _function(op: str | Callable[..., Any]) -> tuple[str, Callable[..., Any]]:
    if isinstance(op, tt.cuda.Kernel):
        raise ArgumentError(
            f"kernel: {op.signature.name} without grid and block",
            why="a launch needs the number of blocks, and of threads in each",
            fix="lab.kernel(k[grid, block], ...), for example lab.kernel(k[(n + 255) // 256, 256], ...)",
        )
    if callable(op):
        launcher = getattr(op, "kernel", None)
        name = launcher.signature.name if isinstance(launcher, tt.cuda.Kernel) else ""
        return name or getattr(op, "__name__", type(op).__name__), op
    known = [name for name in dir(tt) if inspect.isfunction(getattr(tt, name))]
    if op not in known:
        near = nearest(str(op), known, 0.7)
        raise ArgumentError(
            f"kernel: there is no op {op!r}",
            why="op must be the name of a public function of tinytensor",
            fix=f"did you mean {near}?"
            if near
            else 'lab.kernel("softmax", x), or pass a function: lab.kernel(lambda x: x @ x.T, x)',
        )
    return op, getattr(tt, op)


def _flat(things: Sequence[Any]) -> list[tt.Tensor]:
    """Tensors among the values, and in their lists and tuples."""
    parts = [a for x in things for a in (x if isinstance(x, tuple | list) else [x])]
    return [a for a in parts if isinstance(a, tt.Tensor)]


def _moved(x: Any) -> Any:
    """Detached copy of a tensor on the emulator with the same strides; applied to each tensor of a list."""
    if isinstance(x, tuple | list):
        return type(x)([_moved(a) for a in x])
    if not isinstance(x, tt.Tensor):
        return x
    x = x.detach().to("cpu")
    if not x.size:
        return x.to("emulated")
    low, high = x.layout.extent
    flat = tt.as_strided(x, (high - low + 1,), (1,), low)
    return tt.as_strided(flat.contiguous().to("emulated"), x.shape, x.strides, x.offset - low).detach()
