"""A page about the kernels of an op: facts, source with counts beside it, pictures of threads, PTX."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tinytensor.errors import DeviceError, KernelError
from tinytensor.lab.html import Html, heat, page, tag
from tinytensor.lab.kernels.source import Piece, caller_of, split_place
from tinytensor.runtime.checked.counts import LineCount

if TYPE_CHECKING:
    from tinytensor.lab.kernels.kernel_view import KernelLaunch, Kernels

__all__ = ["kernel_page"]

PICTURES = 6  # lines of a kernel that are drawn
IDEAL = 0.99  # share of the moved bytes that were asked for; less gets a color
HEAD = ("", "accesses", "sectors/request", "used", "bank ways", "lanes", "FLOPs", "source")
STYLE = "body{max-width:100rem}.code td{padding:0 .45rem;border-width:0 1px;line-height:1.35}"
STYLE += ".code td:last-child{white-space:pre-wrap;min-width:30rem}"


def kernel_page(kernels: Kernels, architecture: int) -> str:
    """The page; see `Kernels.html`."""
    intro = (
        "Counts are those of the source's accesses in a watched run on the emulator, not times. A sector is "
        "32 bytes of global memory: 32 neighboring floats of a warp take 4. One bank way is a turn of shared "
        "memory without conflicts. Colored numbers ask for more than they need. What a function of a header "
        "asks for stands there, and at the line of the kernel that calls it."
    )
    body: list[str] = [tag("p", intro)]
    if kernels.findings:
        body += [tag("h2", "Findings"), tag("pre", "\n".join(map(str, kernels.findings)))]
    for launch in kernels:
        body += _section(launch, architecture)
    return page(f"Kernels of {kernels.op}", *body, style=STYLE)


def _section(launch: KernelLaunch, architecture: int) -> Iterator[Html]:
    facts = launch.facts(architecture)
    yield tag("h2", facts[0])
    yield tag("pre", "\n".join(facts[1:]), class_="scroll")
    for piece in launch.source:
        yield tag("div", _listing(launch, piece), class_="scroll")
    for picture in _pictures(launch):
        yield tag("div", picture, class_="scroll")
    yield _ptx(launch, architecture)


def _ptx(launch: KernelLaunch, architecture: int) -> Html:
    try:
        text = launch.ptx(architecture)
    except (DeviceError, KernelError) as error:
        return tag("p", f"There is no PTX here: {str(error).splitlines()[0]}.")
    return tag(
        "details", tag("summary", f"PTX for compute_{architecture}"), tag("pre", text, class_="scroll")
    )


def _listing(launch: KernelLaunch, piece: Piece) -> Html:
    """A table of lines; what was counted at a line stands beside it."""
    title = f"{piece.file.name}:{piece.first}–{piece.last} ({piece.what})"
    head = tag("tr", *[tag("th", text) for text in HEAD])
    rows = [_row(launch, piece, number) for number in range(piece.first, piece.last + 1)]
    return tag("table", tag("caption", title), head, *rows, class_="code")


def _row(launch: KernelLaunch, piece: Piece, number: int) -> Html:
    place = piece.file.name, number
    kinds: dict[tuple[str, str, int], list[LineCount]] = {}
    for line in launch.lines:
        if place in (split_place(line.place), caller_of(line.place)):
            kinds.setdefault((line.space, line.way, line.size), []).append(line)
    flops = sum(x.flops for x in launch.work if place in (split_place(x.place), caller_of(x.place)))
    costs = [_Cost.of(lines) for lines in kinds.values()]
    cells = [
        tag("td", str(number), class_="number"),
        tag("td", "\n".join([f"{space} {way} {size} B" for space, way, size in kinds])),
        _number([c.sectors for c in costs], [1 - c.share for c in costs]),
        _number([f"{c.share:.0%}" if c.sectors else "" for c in costs]),
        _number([c.ways for c in costs], [c.conflicts for c in costs]),
        _number([c.lanes for c in costs]),
        _number([f"{flops:,}" if flops else ""]),
        tag("td", piece.lines[number - piece.first]),
    ]
    return tag("tr", *cells)


class _Cost(NamedTuple):
    """Texts of one kind of access at a line; the share of moved bytes that was asked for, and how much turns
    of shared memory exceed what is needed, from 0 to 1.
    """

    sectors: str
    share: float
    ways: str
    conflicts: float
    lanes: str

    @staticmethod
    def of(lines: Sequence[LineCount]) -> _Cost:
        """Of several callers together."""
        requests, sectors = sum(x.requests for x in lines), sum(x.sectors for x in lines)
        share = sum(x.bytes for x in lines) / (32 * sectors) if sectors else 1.0
        ideal = sum(x.ideal for x in lines)
        ways = sum(x.wavefronts for x in lines) / ideal if ideal else 1.0
        return _Cost(
            f"{sectors / requests:.2f}" if sectors else "",
            share,
            f"{ways:.2f}" if ideal else "",
            min((ways - 1) / 4, 1.0),
            f"{sum(x.lanes for x in lines) / requests:.1f}",
        )


def _number(texts: Sequence[str], warnings: Sequence[float] = ()) -> Html:
    """A cell with a line for each kind of access; each line has its own color."""
    lines: list[str] = []
    for i, text in enumerate(texts):
        warning = warnings[i] if warnings else 0.0
        lines += ["\n"] * bool(i)
        lines.append(tag("span", text, **heat(warning)) if text and warning > 1 - IDEAL else text)
    return tag("td", *lines, class_="number")


def _pictures(launch: KernelLaunch) -> Iterator[Html]:
    """Of lines of global memory one warp, and the block; of lines of shared memory the banks of one warp."""
    drawn: set[tuple[str, str]] = set()
    for line in launch.lines:
        asked = launch.requests(line.place, space=line.space)
        if not asked or (line.place, line.space) in drawn or len(drawn) == PICTURES:
            continue
        drawn.add((line.place, line.space))
        yield launch.threads(line.place, min(r.warp for r in asked), line.space)
        if line.space == "global" and len(asked) > 1:
            yield launch.threads(line.place, None, line.space)
