"""Memory ledger: bytes in use by category, now and at the peak.

Use: `with lab.memory(model, optimizer) as ledger`. An open ledger observes each storage that is created, by a
weak reference also its end, and each node that is recorded. Ops compute the same, so results and memory use
equal those of an unobserved run. What weak references report is queued without a lock and processed later.
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinytensor.autograd.graph import Node
from tinytensor.device import Device, as_device
from tinytensor.errors import ArgumentError
from tinytensor.events import Observer, observers
from tinytensor.lab.html import Html, tag
from tinytensor.lab.report import Report, Shown, Table, block
from tinytensor.lab.svg import px, svg
from tinytensor.nn import Module
from tinytensor.optim import Optimizer
from tinytensor.storage import BorrowedStorage, GraphStorage, Storage
from tinytensor.tensor import Tensor, is_tensor
from tinytensor.transforms.checkpoint import Dropped, Region

CATEGORIES = (
    "parameters",
    "gradients",
    "optimizer state",
    "saved for backward",
    "activations and temporaries",
    "other",
)
_PARAMETERS, _GRADIENTS, _STATE, _SAVED, _ACTIVATIONS, _OTHER = CATEGORIES


@dataclass(frozen=True)
class Usage:
    """Bytes of the storages of a device at one point in time: by CATEGORIES; allocated from the pool, on
    devices all; and `adopted`, small ones allocated by NumPy.
    """

    by_category: dict[str, int]
    pooled: int
    adopted: int

    @property
    def total(self) -> int:
        """Bytes of all categories, pooled and adopted."""
        return self.pooled + self.adopted


@dataclass(frozen=True, slots=True)
class Point:
    """Bytes by category, in the order of CATEGORIES, right after a storage was created."""

    nbytes: tuple[int, ...]


@dataclass(slots=True, eq=False)
class _Thing:
    """The ledger's record of a storage."""

    nbytes: int
    pooled: bool
    alive: Any  # a weak reference with a callback
    before: bool  # created before the ledger was opened
    role: str = ""  # the category of its tensors, if it does not depend on nodes
    category: str = ""
    keepers: int = 0


@dataclass(slots=True, eq=False)
class _Keep:
    """Storages that a node or a checkpointed call keeps alive for backward."""

    things: list[_Thing]
    node: weakref.ref[Node] | None = None
    alive: Any = None  # a weak reference with a callback


class _SavedList(list[Any]):
    """List of saved tensors that supports weak references."""

    __slots__ = ("__weakref__",)


@dataclass(eq=False)
class Ledger(Shown, Observer):
    """Memory use of one device while a block of code runs; created by `memory`.

    Attributes:
        timeline: a Point for each storage created.
        marks: timeline index and label of each `mark` call.
    """

    device: Device
    model: Module | None = None
    optimizer: Optimizer | None = None
    timeline: list[Point] = field(default_factory=list)
    marks: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._events: deque[tuple[Any, ...]] = deque()
        self._lock = threading.RLock()  # reentrant: the garbage collector may run finalizers here
        self._things: dict[int, _Thing] = {}  # by id of the storage
        self._keeps: set[_Keep] = set()
        self._regions: weakref.WeakSet[Region] = weakref.WeakSet()
        self._leaves: dict[int, weakref.ref[Tensor]] = {}
        self._roles: dict[int, str] = {}  # id of a storage → category of its tensors
        self._bytes = dict.fromkeys(CATEGORIES, 0)
        self._pooled = 0
        self._closed = False
        self._most = dict.fromkeys(CATEGORIES, 0)
        self._peak = self._usage()

    # ---- queries

    @property
    def now(self) -> Usage:
        """Current usage; after the block, the usage at its end."""
        with self._lock:
            self._settle()
            return self._usage()

    @property
    def peak(self) -> Usage:
        """Usage at the largest total so far."""
        with self._lock:
            self._settle()
            return self._peak

    @property
    def at_most(self) -> dict[str, int]:
        """Maximum bytes of each category, each at its own time."""
        with self._lock:
            self._settle()
            return dict(self._most)

    def mark(self, label: str) -> None:
        """Label the current point of the timeline by a short text, such as "backward"."""
        with self._lock:
            self._settle()
            self.marks.append((len(self.timeline), label))

    def svg(self) -> Html:
        """SVG of the timeline: stacked categories, with the peak and the marks."""
        return memory_picture(self)

    def table(self) -> Table:
        """Bytes by category, now, at the peak and at most."""
        now, peak, most = self.now, self.peak, self.at_most
        rows = [(name, now.by_category[name], n, most[name]) for name, n in peak.by_category.items()]
        rows.append(("total", now.total, peak.total, peak.total))
        return Table((f"bytes on {self.device}", "now", "at the peak", "at most"), "lrrr", rows)

    def report(self) -> Report:
        """The picture and the table, for `lab.page`."""
        picture = tag("div", self.svg(), class_="scroll")
        return Report("Memory of a block of code", (tag("p", INTRO), picture, self.table()))

    # ---- events

    def storage(self, storage: Storage) -> None:
        """A storage was created."""
        with self._lock:
            self._settle()
            self._events.append(("made", id(storage), self._look(storage)))

    def node(self, node: Node, outs: Sequence[Any]) -> None:
        """A node was recorded."""
        with self._lock:
            self._settle()
            if self.model is None and self.optimizer is None:
                self._meet(p for p in node.parents if is_tensor(p))
            if isinstance(node.saved, list) and (
                things := self._saved_things(r[0] for r in node.saved if type(r) is tuple)
            ):
                if type(node.saved) is list:
                    node.saved = _SavedList(node.saved)
                self._keep(things, node.saved, node)
            elif isinstance(node.saved, Dropped):  # recorded before the ledger was opened
                self._meet_region(node.saved.region)

    def look_around(self) -> None:
        """Record the storages that exist when the ledger is opened."""
        there = gc.get_objects()
        with self._lock:
            for found in there:
                if isinstance(found, Storage) and hasattr(found, "buffer") and hasattr(found, "device"):
                    self._enter(id(found), self._look(found), before=True)
            for found in there:
                if type(found) is Node:
                    self.node(found, ())
            self._settle()
            self._peak = self._usage()

    def close(self) -> None:
        """Stop listening; `now` keeps its value."""
        with self._lock:
            self._settle()
            self._closed = True
            self._events.clear()
            self._keeps.clear()

    # ---- classification

    def _settle(self) -> None:
        """Process the queued events in order."""
        if self._closed:
            return
        while self._events:
            what, key, about = self._events.popleft()
            if what == "made":
                self._enter(key, about, before=False)
                self._assign_roles(pending=True)
                self.timeline.append(Point(tuple(self._bytes.values())))
                self._note_most()
                if sum(self._bytes.values()) > self._peak.total:
                    self._peak = self._usage()
            elif what == "gone":
                if (thing := self._things.pop(key, None)) is not None:
                    self._roles.pop(key, None)
                    self._move(thing, "")
            else:
                self._drop(about)
        self._assign_roles()
        self._note_most()

    def _look(self, found: Storage) -> tuple[int, bool, Any] | None:
        """Bytes of a storage, whether the pool allocated them, and a weak reference; None if not counted."""
        kind = type(found)
        if found.device is not self.device or kind in (BorrowedStorage, GraphStorage):
            return None
        if kind is Storage and found.buffer.base is not None:  # external memory, or part of an arena
            return None
        gone, key = self._events.append, id(found)
        alive = weakref.ref(found, lambda _: gone(("gone", key, None)))
        return found.nbytes, kind is not Storage, alive

    def _enter(self, key: int, seen: tuple[int, bool, Any] | None, *, before: bool) -> None:
        if seen is None or key in self._things:  # created by another thread while the ledger was opening
            return
        self._things[key] = _Thing(*seen, before, role=self._roles.get(key, ""))
        self._sort(self._things[key])

    def _sort(self, thing: _Thing) -> None:
        """Classify a storage: by the role of its tensors, otherwise by whether a node saved it."""
        kept = _SAVED if thing.keepers else _OTHER if thing.before else _ACTIVATIONS
        self._move(thing, thing.role or kept)

    def _move(self, thing: _Thing, category: str) -> None:
        """Move a storage to another category; "" if it is freed."""
        for name, sign in ((thing.category, -1), (category, 1)):
            if name:
                self._bytes[name] += sign * thing.nbytes
        if thing.pooled:
            self._pooled += thing.nbytes * (bool(category) - bool(thing.category))
        thing.category = category

    def _assign_roles(self, *, pending: bool = False) -> None:
        """Find the role of each storage; while events are `pending`, one that lost its role keeps it."""
        roles: dict[int, str] = {}
        parameters = list(self._parameters())
        for category, tensors in (
            (_STATE, self._state()),
            (_GRADIENTS, (p.grad for p in parameters if p.grad is not None)),
            (_PARAMETERS, parameters),
        ):
            for t in tensors:
                roles[id(t.storage)] = category
        if pending:
            roles = self._roles | roles
        before, self._roles = self._roles, roles
        for key in before.keys() | roles.keys():
            if before.get(key) != roles.get(key) and (thing := self._things.get(key)) is not None:
                thing.role = roles.get(key, "")
                self._sort(thing)

    def _parameters(self) -> Iterator[Tensor]:
        if self.model is not None:
            yield from self.model.parameters()
            yield from self.model.buffers()
        if self.optimizer is not None:
            for group in self.optimizer.param_groups:
                yield from group["params"]
        for ref in tuple(self._leaves.values()):
            if (leaf := ref()) is not None:
                yield leaf

    def _state(self) -> Iterator[Tensor]:
        if self.optimizer is not None:
            for kept in self.optimizer.state.values():
                yield from (value for value in kept.values() if is_tensor(value))

    def _meet(self, leaves: Iterable[Tensor]) -> None:
        """Count leaves that require grad as parameters if no model or optimizer was given."""
        for leaf in leaves:
            known = self._leaves.get(id(leaf))
            if known is None or known() is not leaf:
                self._leaves[id(leaf)] = weakref.ref(leaf)
                self._roles[id(leaf.storage)] = _PARAMETERS
                if (thing := self._things.get(id(leaf.storage))) is not None:
                    thing.role = _PARAMETERS
                    self._sort(thing)

    def _saved_things(self, storages: Iterable[Storage]) -> list[_Thing]:
        known = (self._things.get(id(s)) for s in storages)
        return list(dict.fromkeys([thing for thing in known if thing is not None]))

    def _keep(self, things: list[_Thing], keeper: Any, node: Node | None = None) -> None:
        keep = _Keep(things, None if node is None else weakref.ref(node))
        note = self._events.append
        keep.alive = weakref.ref(keeper, lambda _: note(("dropped", 0, keep)))
        self._keeps.add(keep)
        for thing in things:
            thing.keepers += 1
            self._sort(thing)

    def _drop(self, keep: _Keep) -> None:
        self._keeps.discard(keep)
        for thing in keep.things:
            thing.keepers -= 1
            if thing.category:  # not freed
                self._sort(thing)
        node = None if keep.node is None else keep.node()
        if node is not None and isinstance(node.saved, Dropped):
            self._meet_region(node.saved.region)

    def _meet_region(self, region: Region) -> None:
        """Record a checkpointed call, which saves its arguments in place of its nodes' tensors."""
        if region not in self._regions:
            self._regions.add(region)
            self._keep(self._saved_things(t.storage for t in region.tensors), region)

    def _note_most(self) -> None:
        self._most = {name: max(n, self._bytes[name]) for name, n in self._most.items()}

    def _usage(self) -> Usage:
        return Usage(dict(self._bytes), self._pooled, sum(self._bytes.values()) - self._pooled)


@block
def memory(
    model: Module | None = None, optimizer: Optimizer | None = None, *, device: Any = "cpu"
) -> Iterator[Ledger]:
    """Record the memory use of all tensors on a device while the code inside runs.

    Its total equals that of the pool plus the small results that NumPy allocated, at all times and to the
    byte. Memory used inside ops (scratch, NumPy temporaries) does not count, nor does memory of other
    libraries that tensors share.

    Args:
        model: its parameters and buffers are "parameters"; their `.grad` are "gradients".
        optimizer: the tensors of its state are "optimizer state"; its parameters count like the model's.
            Without model and optimizer, leaves that require grad count as parameters once an op records them.

    Example:
        >>> from tinytensor import lab
        >>> w = tt.ones(1000, requires_grad=True)
        >>> with lab.memory() as ledger:
        ...     y = tt.exp(w * 2.0)
        >>> ledger.now.by_category["parameters"], ledger.now.by_category["saved for backward"]
        (4000, 4000)
    """
    _check(model, Module)
    _check(optimizer, Optimizer)
    ledger = Ledger(as_device(device, "memory"), model, optimizer)
    observers.insert(0, ledger)  # it reads what nodes saved before a checkpoint drops that
    try:
        ledger.look_around()
        yield ledger
    finally:
        observers.remove(ledger)
        ledger.close()


def _check(given: object, kind: type) -> None:
    if given is not None and not isinstance(given, kind):
        raise ArgumentError(
            f"memory: a {type(given).__name__} where a {kind.__name__} is expected",
            why="its tensors are needed to classify memory",
            fix='memory(model, optimizer, device="cpu"), each of which may be left out',
        )


# ---- the picture -------------------------------------------------------------------------------------------

COLORS = ("hue1", "hue0", "hue5", "hue2", "hue6", "box")  # classes of `svg.py`, by category
LEFT, TOP, WIDTH, HEIGHT = 76, 56, 840, 300  # of the plot area
ROW, COLUMN = 20, 240  # of the legend


def size_of(nbytes: int) -> str:
    """Bytes as short text, such as an axis label.

    Example:
        >>> size_of(1536), size_of(3 << 20)
        ('1.5 KiB', '3 MiB')
    """
    value, unit = float(nbytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.4g} {unit}"


INTRO = (
    "Each point is the moment after a storage was created. Tensors saved for backward are held by nodes "
    "of the graph (lab.graph shows what each saves); parameters, gradients and optimizer state always count "
    "as such."
)


def memory_picture(ledger: Ledger) -> Html:
    """SVG of the timeline: stacked categories, the peak, and the marks."""
    peak, timeline, floor = ledger.peak, ledger.timeline, TOP + HEIGHT
    step = max(1, -(-len(timeline) // WIDTH))  # at most one point per pixel, the largest, so no peak is lost
    parts_of = [timeline[i : i + step] for i in range(0, len(timeline), step)]
    shown = [max(part, key=lambda p: sum(p.nbytes)) for part in parts_of]
    most, parts, below = max(peak.total, 1), list[Html](), [0] * len(shown)
    for i, (name, nbytes) in enumerate(peak.by_category.items()):
        above = [low + p.nbytes[i] for low, p in zip(below, shown, strict=True)]
        if above != below:
            tip = tag("title", f"{name}: {nbytes:,} bytes at the peak")
            parts.append(tag("path", tip, class_=COLORS[i], d=_outline(below, above, most)))
        below = above
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = floor - HEIGHT * share
        parts.append(tag("path", class_="line", d=f"M{LEFT} {px(y)}H{LEFT + WIDTH}"))
        parts.append(tag("text", size_of(round(most * share)), x=LEFT - 6, y=px(y + 4), text_anchor="end"))
    for index, label in ledger.marks:
        parts += _upright(index / max(len(ledger.timeline), 1), label, floor + 16)
    if shown:
        at = max(range(len(shown)), key=lambda i: sum(shown[i].nbytes))
        parts += _upright((at + 0.5) / len(shown), f"peak {size_of(most)}", TOP - 10)
    for i, name in enumerate(peak.by_category):
        x, y = LEFT + COLUMN * (i % 3), floor + 40 + ROW * (i // 3)
        parts.append(tag("rect", class_=COLORS[i], x=x, y=y - 10, width=12, height=12))
        parts.append(tag("text", name, x=x + 18, y=y))
    return svg(f"Memory on {ledger.device}, storage by storage", LEFT + WIDTH + 16, floor + 76, *parts)


def _outline(below: Sequence[int], above: Sequence[int], most: int) -> str:
    """SVG path of the area between two curves, in steps: bytes stay until the next storage."""
    step = WIDTH / len(above)
    upper = [(LEFT + (i + end) * step, value) for i, value in enumerate(above) for end in (0, 1)]
    lower = [(LEFT + (i + end) * step, value) for i, value in enumerate(below) for end in (0, 1)]
    corners = [f"{x:.1f} {TOP + HEIGHT * (1 - value / most):.1f}" for x, value in [*upper, *reversed(lower)]]
    return f"M{'L'.join(corners)}Z"


def _upright(share: float, label: str, y: float) -> list[Html]:
    """Vertical line at a point of the timeline, with a label kept inside the picture."""
    x = LEFT + WIDTH * share
    anchor, shift = ("end", -4) if share > 0.8 else ("start", 4)
    line = tag("path", class_="edge", stroke_dasharray="3 3", d=f"M{px(x)} {TOP - 6}V{TOP + HEIGHT + 6}")
    return [line, tag("text", label, x=px(x + shift), y=y, text_anchor=anchor)]
