"""Kernels on a page: their replay, beside the source with its counts; facts and PTX below."""

from __future__ import annotations

from collections.abc import Sequence

from tinytensor.emulator.check.recording import Recording
from tinytensor.emulator.check.schedules import Schedule
from tinytensor.emulator.run.kernels import read
from tinytensor.errors import DeviceError, KernelError
from tinytensor.lab.html import Html, heat, tag
from tinytensor.lab.kernels.launch import KernelLaunch
from tinytensor.lab.kernels.source import Piece
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
