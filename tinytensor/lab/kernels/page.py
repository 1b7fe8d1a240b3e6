"""Kernels on a page: their replay, beside the source with its counts; facts and PTX below."""

from __future__ import annotations

from collections.abc import Sequence

from tinytensor.emulator.check.counts import LineCount
from tinytensor.emulator.check.recording import Recording
from tinytensor.emulator.check.schedules import Schedule
from tinytensor.emulator.run.kernels import read
from tinytensor.errors import DeviceError, KernelError
from tinytensor.lab.html import Html, heat, tag
from tinytensor.lab.kernels.launch import KernelLaunch
from tinytensor.lab.kernels.source import Piece, caller_of, split_place
from tinytensor.lab.replay.data import Source, replay_data, schedule_data
from tinytensor.lab.replay.page import replay_report
from tinytensor.lab.report import Report

MOST_EVENTS = 1 << 17  # on a page: 2 to 3 MB
IDEAL = 0.99  # used share of the transferred bytes; less is highlighted
INTRO = (
    "Counts are those of the source's accesses in a checked run on the emulator, not times. A sector is 32 "
    "bytes of global memory: 32 neighboring floats of a warp take 4. One bank way is a pass of shared memory "
    "without conflicts. Colored numbers request more than they need. Accesses in a function of a header are "
    "shown there, and at the line of the kernel that calls it."
)


def kernels_report(title: str, launches: Sequence[KernelLaunch], architecture: int | None) -> Report:
    """Replay of some launches.

    Args:
        title: the heading.
        launches: what a checked run counted and recorded.
        architecture: whose registers and PTX are shown; None for none.
    """
    recorded = [
        (launch, recording, schedule)
        for launch in launches
        for schedule in (None, *launch.schedules)
        if (recording := (schedule or launch.count).recording) and recording.events
    ]
    sources = [tag("div", *[_listing(launch, piece) for piece in launch.source]) for launch, _, _ in recorded]
    more = [tag("p", INTRO, class_="soft")]
    for launch in launches if architecture else ():
        facts = launch.facts(architecture or 0)
        more += [tag("h2", facts[0]), tag("pre", "\n".join(facts[1:]), class_="scroll")]
        more.append(_ptx(launch, architecture or 0))
    each = MOST_EVENTS // max(len(recorded), 1)
    return replay_report(title, [_data(*one, each) for one in recorded], sources, *more)


def _data(
    launch: KernelLaunch, recording: Recording, schedule: Schedule | None, most: int
) -> dict[str, object]:
    files = {path.name: path for path in read(launch.file).modified}
    parameters = {p.name: p.type for p in launch.signature.parameters}
    source = Source(files, launch.template, parameters)
    data = replay_data(recording, launch.instance, launch.grid, launch.block, source, most)
    return data if schedule is None else data | schedule_data(schedule, recording, launch.grid, launch.block)


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
    place = piece.file.name, number
    kinds: dict[tuple[str, str, int], list[LineCount]] = {}
    for line in launch.lines:
        if place in (split_place(line.place), caller_of(line.place)):
            kinds.setdefault((line.space, line.way, line.size), []).append(line)
    flops = sum(x.flops for x in launch.work if place in (split_place(x.place), caller_of(x.place)))
    notes = [_note(*kind, lines) for kind, lines in kinds.items()]
    notes += [tag("small", f"{flops:,} FLOPs")] if flops else []
    return tag(
        "tr",
        tag("td", str(number), class_="number"),
        tag("td", piece.lines[number - piece.first], *notes),
        data_line=f"{piece.file.name}:{number}",
    )


def _note(space: str, way: str, size: int, lines: Sequence[LineCount]) -> Html:
    """Cost of one kind of access at a line, of all callers together."""
    requests, sectors = sum(x.requests for x in lines), sum(x.sectors for x in lines)
    ideal = sum(x.ideal for x in lines)
    cost: list[str] = []
    if sectors:
        used = sum(x.bytes for x in lines)
        share, most_needed = (
            used / (32 * sectors),
            requests + (used - size * requests) / 32,
        )  # 1 for `size` bytes
        excess = 1 - share if sectors > most_needed else 0.0
        cost = [_marked(f"{sectors / requests:.2f}", excess), f" sectors/request, {share:.0%} used"]
    elif ideal:
        ways = sum(x.wavefronts for x in lines) / ideal
        cost = [_marked(f"{ways:.2f}", min((ways - 1) / 4, 1.0)), " bank ways"]
    lanes = sum(x.lanes for x in lines) / requests
    about = f"{space} {way} {size} B: {requests:,} requests, "
    return tag("small", about, *cost, f", {lanes:.1f} lanes")


def _marked(number: str, excess: float) -> str:
    """A number, colored by the share of its cost that is avoidable."""
    return tag("span", number, **heat(excess)) if excess > 1 - IDEAL else number
