"""Data of the replay of a launch, for the script of the page: steps, memory, source locations, findings."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from tinytensor.emulator.check.findings import Finding
from tinytensor.emulator.check.recording import MOST_EVENTS, Event, Memory, Recording
from tinytensor.emulator.check.schedules import Schedule
from tinytensor.lab.kernels.source import split_place
from tinytensor.lab.replay.steps import Step, steps_of
from tinytensor.runtime.signature import CPP, FORMATS, QUALIFIERS, canonical

MOST_SHARED = 232448  # bytes, of one block
ROW = 128  # bytes: a cache line of global memory, and one word of each bank of shared memory
_SHARED = re.compile(
    r"\b__shared__\s+(?:__align__\s*\([^)]*\)|alignas\s*\([^)]*\))?\s*"
    r"([\w:<>\s]+?)\s+(\w+)\s*((?:\[[^\]]*\]\s*)*);"
)
_CONTROL = re.compile(r"\b(if|for|while|switch)\b.*|\belse\b")
_NAMED = re.compile(r"(?<![\w.>&])(\w+)\s*$")  # not a member, and no address
_ASSIGNED = re.compile(r"\s*=(?!=)")


class _Declared(NamedTuple):
    """A declaration of a shared variable."""

    file: str = ""
    line: int = 0
    kind: str = ""
    shape: Sequence[int] = ()

    def is_above(self, place: str) -> bool:
        file, number = split_place(place)
        return file == self.file and self.line <= number


class Source:
    """Lines of the files of a kernel, by name, its own first, and what they declare. `template`: template
    parameter → argument; `parameters`: parameter of the kernel → type, as in the declaration.
    """

    def __init__(
        self, files: Mapping[str, Path], template: Mapping[str, str], parameters: Mapping[str, str]
    ) -> None:
        def spelled(kind: str) -> str:
            return canonical(template.get(kind, kind))

        self._parameters = {
            name: spelled(QUALIFIERS.sub("", kind).strip("* ")) for name, kind in parameters.items()
        }
        pointers = [self._parameters[name] for name, kind in parameters.items() if "*" in kind]
        self._types = [*[canonical(kind) for kind in template.values()], *pointers]
        self.file = next(iter(files))
        self._lines = {n: p.read_text(encoding="utf-8").splitlines() for n, p in files.items()}
        self._shared: dict[str, list[_Declared]] = {}
        self._dynamic: list[str] = []
        for file, lines in self._lines.items():
            text = "\n".join(lines)
            for match in _SHARED.finditer(text):
                kind, name, sizes = match.groups()
                shape = [int(n) if n.isdigit() else 0 for n in re.findall(r"\[\s*([^\]]*?)\s*\]", sizes)]
                line = text.count("\n", 0, match.start()) + 1
                one = _Declared(file, line, spelled(kind), shape if all(shape) else [])
                self._shared.setdefault(name, []).append(one)
                self._dynamic += [name] * (sizes.replace(" ", "") == "[]")

    def declared(self, memory: Memory, places: Sequence[str]) -> tuple[str, str, list[int]]:
        """Name, element type and shape of a memory; "" and [] if they are unknown.

        Of several shared variables of a name it is the one declared last before a line that accesses it.
        """
        name = memory.name
        if name == "dynamic shared memory" and len(set(self._dynamic)) == 1:
            name = self._dynamic[0]
        if memory.space == "shared":
            known = self._shared.get(name, [])
            above = [one for place in places for one in reversed(known) if one.is_above(place)]
            best = (above + known[-1:] + [_Declared()])[0]
            return name, best.kind, list(best.shape)
        kind = CPP[memory.dtype] if memory.dtype else self._parameters.get(name, "")
        return name, kind, list(memory.shape)

    def guess(self, size: int) -> tuple[str, int]:
        """For bytes that the kernel casts: the first of its types that fits into accesses of this size, with
        its own size; "" if there is none.
        """
        sizes = {kind: struct.calcsize("<" + FORMATS[kind]) for kind in self._types if kind in FORMATS}
        return next(((kind, item) for kind, item in sizes.items() if size % item == 0), ("", min(size, 8)))

    def access_of(self, index: Event, memories: Iterable[Memory]) -> Event:
        """The access of a refused array index: of a shared array with one axis, if the source says which one
        (GCC gives the column of the closing bracket); else the index as it is.
        """
        file, number = split_place(index.place)
        lines = self._lines.get(file, [])
        line = lines[number - 1].encode() if 0 < number <= len(lines) else b""
        if line[index.column - 1 : index.column] != b"]":
            return index
        text, after = line[: index.column].decode(), line[index.column :].decode()
        opening = len(text) - 1
        while opening and (text[opening] != "[" or text.count("[", opening) != text.count("]", opening)):
            opening -= 1
        name = _NAMED.search(text[:opening])
        if name is None or name[1] not in self._shared:
            return index
        known = [m for m in memories if m.space == "shared" and m.name == name[1]]
        memory = [*known, Memory("shared", name[1], 0)][0]
        _, kind, shape = self.declared(memory, [index.place])
        if len(shape) != 1 or kind not in FORMATS:
            return index
        item, what = struct.calcsize("<" + FORMATS[kind]), "store" if _ASSIGNED.match(after) else "load"
        return replace(index, what=what, size=item, memory=memory, offset=index.offset * item)

    def under(self, place: str) -> list[str]:
        """The conditions and loops around file:line, the innermost first: by indentation."""
        file, number = split_place(place)
        lines = self._lines.get(file, [])
        if not 0 < number <= len(lines):
            return []
        own, found = lines[number - 1], []
        if control := _CONTROL.match(own.lstrip()):
            found.append(f"{control[0].strip()} (line {number})")
        indent = _indent(own)
        for i in range(number - 1, 0, -1):
            line = lines[i - 1]
            if not line.strip() or _indent(line) >= indent:
                continue
            indent = _indent(line)
            if control := _CONTROL.search(line.split("//")[0]):
                found.append(f"{control[0].strip().rstrip('{').strip()} (line {i})")
            if not indent:
                break
        return found


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def replay_data(
    recording: Recording, name: str, grid: Sequence[int], block: Sequence[int], source: Source, most: int
) -> dict[str, Any]:
    """Data of one launch, for JSON, of `most` events; later steps are left out.

    Memory is a list; a step has the number of its memory and place, and for each active thread the offset,
    the values and the number of the event in the recording.
    """
    if recording.events and recording.events[-1].what == "array index":
        *before, last = recording.events
        refused = source.access_of(last, [e.memory for e in before if e.memory])
        recording = replace(recording, events=(*before, refused))
    memories = list(dict.fromkeys([e.memory for e in recording.events if e.memory]))
    places = list(dict.fromkeys([e.place for e in recording.events]))
    kinds = [_kind(m, source, recording.events, _first_bank(m, memories)) for m in memories]
    for i, kind in enumerate([kind for kind in kinds if kind["name"] == "a buffer"], 1):
        kind["name"] = f"buffer {i}"  # of an operand in a struct
    blocks, left_out = [], 0
    for index in recording.blocks:
        packed: list[list[Any]] = []
        for step in steps_of(recording.events, index):
            most -= len(step.events)
            left_out += most < 0
            if most >= 0 or not packed:
                packed.append(_step(step, recording.events, memories, places, kinds))
        blocks.append({"index": index, "steps": packed})
    return {
        "name": name,
        "file": source.file,
        "grid": list(grid),
        "block": list(block),
        "cut": _cut(recording, left_out),
        "memories": kinds,
        "places": [{"at": place, "under": source.under(place)} for place in places],
        "blocks": blocks,
        "findings": [_finding(f, recording, grid, block) for f in recording.findings],
        "stopped": _stopped(recording, grid),
    }


def _cut(recording: Recording, left_out: int) -> str:
    """Sentence about the events that are missing."""
    full = f"Only {MOST_EVENTS:,} events of a launch are recorded: later ones are missing. "
    short = f"{left_out:,} later steps are left out to keep the page small."
    return full * recording.is_cut + short * bool(left_out)


def _first_bank(memory: Memory, memories: Sequence[Memory]) -> int:
    """Address of the first bank: on a GPU shared memory begins there; for global memory 0."""
    if memory.space == "global":
        return 0
    return min(
        [m.start for m in memories if m.space == "shared" and abs(m.start - memory.start) < MOST_SHARED]
    )


def _kind(memory: Memory, source: Source, events: Sequence[Event], base: int) -> dict[str, Any]:
    """Name, element type and alignment of a memory; the smallest access is an element of an unknown type."""
    places = list(dict.fromkeys([e.place for e in events if e.memory == memory]))
    name, kind, shape = source.declared(memory, places)
    least = min([e.size for e in events if e.memory == memory])
    item = struct.calcsize("<" + FORMATS[kind]) if kind in FORMATS else 0
    if not item or (item < least and item == 1):  # bytes, which the kernel casts
        kind, item = source.guess(least)
    return {
        "name": name,
        "space": memory.space,
        "type": kind,
        "item": item,
        "shape": shape,
        "align": (memory.start - base) % ROW,
    }


def _step(
    step: Step,
    events: Sequence[Event],
    memories: list[Memory],
    places: list[str],
    kinds: list[dict[str, Any]],
) -> list[Any]:
    warp = -1 if step.warp is None else step.warp
    head = [step.what, places.index(step.place), warp, step.size]
    if step.memory is None:
        return [*head, min(step.events.values())]
    memory, threads = memories.index(step.memory), sorted(step.events)
    numbers = [step.events[t] for t in threads]
    own = [events[number] for number in numbers]
    mask = sum(1 << t % 32 for t in threads)
    offsets = [e.offset + (e.memory.start - step.memory.start if e.memory else 0) for e in own]
    values = [v for e in own for v in _values(e, kinds[memory])]
    return [*head, _short(numbers), memory, mask, _short(offsets), _same(values)]


def _short(numbers: list[int]) -> list[Any]:
    """An arithmetic progression as null, its start and its difference."""
    if len(numbers) > 3 and len({b - a for a, b in pairwise(numbers)}) == 1:
        return [None, numbers[0], numbers[1] - numbers[0]]
    return numbers


def _same(values: list[Any]) -> list[Any]:
    """Equal values as null and one of them."""
    return [None, values[0]] if len(values) > 2 and len(set(values)) == 1 else values


def _values(event: Event, kind: dict[str, Any]) -> list[float | str]:
    """Values of the elements of an access; of an unknown type as hexadecimal digits."""
    item = kind["item"]
    parts = [event.value[i : i + item] for i in range(0, len(event.value), item)]
    return [_value(part, kind["type"]) for part in parts if len(part) == item]


def _value(part: bytes, kind: str) -> float | str:
    if kind == "__nv_bfloat16":
        part, kind = b"\0\0" + part, "float"
    if not kind:
        return part[::-1].hex()
    (value,) = struct.unpack("<" + FORMATS[kind], part)
    if isinstance(value, float):
        short = float(f"{value:.5g}")
        return (
            int(short)
            if short.is_integer() and abs(short) < 1e15
            else short
            if short - short == 0
            else str(short)
        )
    return int(value)


def _finding(
    finding: Finding, recording: Recording, grid: Sequence[int], block: Sequence[int]
) -> dict[str, Any]:
    """A finding with the events that it is about: the one at which it was found, and the one before in
    conflict with it. The last event may be of another block or thread, if those of this one are not recorded.
    """
    events, blocks = recording.events, recording.blocks
    second = finding.at - 1
    found = {"kind": finding.kind, "text": str(finding)}
    is_there = 0 <= second < len(events) and _is_about(finding, events[second], grid, block)
    first = _conflicting(finding, events, second, block) if is_there else None
    numbers = [n for n in (first, second if is_there else None) if n is not None]
    return {**found, "events": [[blocks.index(events[n].block), n] for n in numbers]}


def _is_about(finding: Finding, event: Event, grid: Sequence[int], block: Sequence[int]) -> bool:
    """Whether the event has the place, block and thread of the finding; a warp operation has many threads."""
    words = [f"block {_position(event.block, grid)}"]
    words += [f"thread {_position(event.thread, block)}"] * (event.memory is not None)
    return event.place == finding.place and all(word in finding.text for word in words)


def _stopped(recording: Recording, grid: Sequence[int]) -> dict[str, Any] | None:
    """Numbers of finding, recorded block and event (or -1) where the launch was stopped; None if it ended."""
    last = recording.events[-1]
    finding = next((i for i, f in enumerate(recording.findings) if f.stopped), -1)
    if finding < 0 and not last.refused:
        return None
    text = recording.findings[finding].text if finding >= 0 else ""
    is_here = last.refused or f"block {_position(last.block, grid)}" in text
    return {
        "finding": finding,
        "block": recording.blocks.index(last.block) if is_here else -1,
        "event": len(recording.events) - 1 if last.refused else -1,
    }


def schedule_data(
    schedule: Schedule, recording: Recording, grid: Sequence[int], block: Sequence[int]
) -> dict[str, Any]:
    """Data of a run with switches between threads, which are its findings, each before an access."""
    found = []
    for switch in schedule.switches:
        who = _number(switch.block, grid), _number(switch.thread, block)
        own = [i for i, e in enumerate(recording.events) if e.memory and (e.block, e.thread) == who]
        there = [i for i in own[switch.step :] + own if recording.events[i].place == switch.place]
        blocks = recording.blocks
        events = [[blocks.index(who[0]), i] for i in there[:1]]
        found.append(
            {"kind": "another thread runs before this access", "text": str(switch), "events": events}
        )
    name = f"{schedule.kernel}, in another order of threads"
    note = f"In this order {schedule.result}. "
    entry = {"name": name, "of": schedule.kernel, "result": schedule.result, "note": note}
    return {**entry, "order": "run", "findings": found}


def _position(number: int, sizes: Sequence[int]) -> tuple[int, int, int]:
    return number % sizes[0], number // sizes[0] % sizes[1], number // sizes[0] // sizes[1]


def _number(position: Sequence[int], sizes: Sequence[int]) -> int:
    return position[0] + sizes[0] * (position[1] + sizes[1] * position[2])


def _conflicting(finding: Finding, events: Sequence[Event], second: int, block: Sequence[int]) -> int | None:
    """The latest earlier access of the same bytes, by the thread that the finding names."""
    if not finding.other:
        return None
    before = finding.text.partition(" by ")[2].partition(" by ")[2]
    for number in range(second - 1, -1, -1):
        event = events[number]
        t = event.thread
        if (
            event.place == finding.other
            and (event.block, t) != (events[second].block, events[second].thread)
            and event.overlaps(events[second])
            and f"thread {_position(t, block)}" in before
        ):
            return number
    return None
