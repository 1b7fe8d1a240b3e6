"""Shows the kernels of an op: source, launch, registers, PTX, and memory accesses of each line.

The op runs once on the device `emulated` under `tt.cuda.check`, so no GPU is needed; registers and PTX come
from NVRTC, if it is installed. No times are measured.
"""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, overload

import tinytensor as tt
from tinytensor.errors import ArgumentError, DeviceError, KernelError
from tinytensor.lab.html import Html, heat, page, preformatted, tag
from tinytensor.lab.kernels.generated_loops import GeneratedLoops, loops_of
from tinytensor.lab.kernels.source import Piece, caller_of, pieces_of, split_place
from tinytensor.lab.kernels.thread_map import NamedMemory, bank_map, thread_map
from tinytensor.lab.patching import replaced
from tinytensor.runtime import runtime_of
from tinytensor.runtime.base import Dim, three_sizes
from tinytensor.runtime.checked.counts import KernelCount, LineCount, LineWork, lines_of, work_of
from tinytensor.runtime.checked.findings import Finding
from tinytensor.runtime.checked.warp_requests import Request
from tinytensor.runtime.cuda import nvrtc
from tinytensor.runtime.cuda.occupancy import LIMITS, Occupancy, Resources, occupancy
from tinytensor.runtime.emulated.runtime import EmulatedKernel
from tinytensor.runtime.signature import Signature, spelled

ARCHITECTURE = 90  # default architecture for registers and PTX
Sizes = tuple[int, int, int]


@dataclass
class KernelLaunch:
    """A kernel that the op launched.

    Attributes:
        instance: name with template arguments.
        file: the .cu file.
        signature: declaration.
        template: template parameter → argument, in C++ spelling.
        grid, block: sizes, x first.
        shared: bytes of dynamic shared memory.
        times: number of launches with this configuration.
        count: access counts of the checked run.
        memory: the tensors of the op on the device.
        together: the instances of the same file that the op launched: compiled at once, since starting a
            compiler costs more than an instance.
    """

    instance: str
    file: Path
    signature: Signature
    template: dict[str, str]
    grid: Sizes
    block: Sizes
    shared: int
    times: int
    count: KernelCount = field(repr=False)
    memory: list[NamedMemory] = field(repr=False)
    together: list[str] = field(default_factory=list, repr=False)

    @cached_property
    def lines(self) -> list[LineCount]:
        """Memory accesses of each source line: sectors per request, bank conflicts, active lanes."""
        return lines_of([self.count])

    @cached_property
    def work(self) -> list[LineWork]:
        """Floating-point operations of each source line; empty if they cannot be counted."""
        return work_of([self.count]) or []

    @cached_property
    def source(self) -> list[Piece]:
        """Source chunks: the kernel, functors, and header functions in which it accesses memory."""
        places = [line.place for line in self.lines] + [line.place for line in self.work]
        return pieces_of(self.file, self.signature.name, self.template.values(), places)

    def ptx(self, architecture: int = ARCHITECTURE) -> str:
        """PTX of this kernel, compiled by NVRTC.

        Args:
            architecture: compute capability times ten.

        Returns:
            The entry of this kernel in the PTX of its file.

        Raises:
            DeviceError: NVRTC is not installed.
            KernelError: it does not compile for this architecture.
        """
        compiled = self._compiled(f"compute_{architecture}")
        text = compiled.image.decode().rstrip("\0")
        symbol = re.escape(compiled.symbols[self.instance])
        target = re.search(r"^\.version.*?^\.address_size \d+$", text, re.DOTALL | re.MULTILINE)
        entry = re.search(rf"^[^\n]*\.entry {symbol}\(.*?^\}}$", text, re.DOTALL | re.MULTILINE)
        return "\n\n".join([found[0] for found in (target, entry) if found])

    def _compiled(self, target: str) -> nvrtc.Compiled:
        return nvrtc.build(self.file, self.together or [self.instance], target)

    def resources(self, architecture: int = ARCHITECTURE) -> Resources:
        """Registers, shared memory, stack and spills; arguments and errors as for `ptx`."""
        return self._compiled(f"sm_{architecture}").resources[self.instance]

    def occupancy(self, architecture: int = ARCHITECTURE) -> Occupancy:
        """Occupancy: resident blocks per multiprocessor; arguments and errors as for `ptx`.

        Raises:
            ArgumentError: the limits of this architecture are not known.

        Source: NVIDIA's cuda_occupancy.h, through `runtime/cuda/occupancy.py`.
        """
        if architecture not in LIMITS:
            raise ArgumentError(
                f"occupancy: architecture {architecture}",
                why=f"limits are known for {', '.join(map(str, LIMITS))}",
                fix=f"occupancy({ARCHITECTURE})",
            )
        used = self.resources(architecture)
        threads = self.block[0] * self.block[1] * self.block[2]
        return occupancy(architecture, threads, used.registers, used.shared + self.shared)

    # ---- threads

    def requests(
        self, place: str | None = None, warp: int | None = None, space: str | None = None
    ) -> list[Request]:
        """Memory requests of the warps in the first block.

        Args:
            place: file:line, as in `lines`, with or without its caller; None for all.
            warp: warp of the block; None for all.
            space: "global" or "shared"; None for both.
        """
        return [
            r
            for r in self.count.requests
            if place in (None, r.place, r.place.partition(" from ")[0])
            and warp in (None, r.warp)
            and space in (None, r.space)
        ]

    def threads(self, place: str, warp: int | None = 0, space: str | None = None) -> Html:
        """Picture of the elements that each thread accesses at one line, from the recorded addresses.

        Args:
            place: file:line, as in `lines`.
            warp: show the first request of this warp; None for all requests of the first block.
            space: "global" or "shared", for a line that accesses both; default: the first accessed.

        Returns:
            One `svg` element: elements of a tensor with the threads that access them, colored by sector; for
            shared memory the banks.

        Raises:
            ArgumentError: this warp made no access at the line.
        """
        found = self.requests(place, warp, space)
        if not found:
            raise ArgumentError(
                f"threads: {place}, warp {warp}",
                why="the checked run made no request there in its first block",
                fix=f"lines with requests: {', '.join(sorted({r.place for r in self.count.requests}))}",
            )
        who = "all requests of the first block" if warp is None else f"the first request of warp {warp}"
        title = f"{place}: {found[0].way} of {found[0].size} bytes, {who}"
        if found[0].space == "shared":
            return bank_map(found[0], title)
        memory = self.memory_of(found[0])
        same = [r for r in found if r.way == found[0].way and self.memory_of(r) is memory]
        return thread_map(same if warp is None else same[:1], memory, title)

    def memory_of(self, request: Request) -> NamedMemory | None:
        """The tensor that a request accesses; None for scratch memory."""
        first = next(a for a in request.addresses if a is not None)
        return next((m for m in self.memory if first in m), None)

    # ---- text

    def text(self, architecture: int = ARCHITECTURE) -> str:
        """Facts, and source annotated with counts; arguments as for `facts`."""
        return "\n".join([*self.facts(architecture), "", *self._listing()])

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return preformatted(str(self))

    def facts(self, architecture: int = ARCHITECTURE) -> list[str]:
        """Launch, template arguments, registers and occupancy, as lines of text.

        Args:
            architecture: architecture for registers; compute capability times ten.
        """
        where = self.source[0] if self.source else None
        lines = f":{where.first}–{where.last}" if where else ""
        template = ", ".join(f"{name} = {value}" for name, value in self.template.items())
        return [
            self.instance,
            f"  source    {where.file.name if where else self.file.name}{lines}"
            + (f", instantiated by {self.file.name}" if where and where.file != self.file else ""),
            f"  launch    grid {_sizes(self.grid)}, block {_sizes(self.block)}, {self.shared:,} bytes of "
            f"dynamic shared memory, {self.times} time{'s' * (self.times != 1)}",
            *([f"  template  {template}"] if template else []),
            *[f"  {text}" for text in self._needs(architecture)],
            f"  traffic   {'together ' * (self.times > 1)}{self.count.read_bytes:,} bytes read and "
            f"{self.count.written_bytes:,} written, each once; {self.count.counted} of {self.count.blocks} "
            f"block{'s' * (self.count.blocks != 1)} counted",
        ]

    def _needs(self, architecture: int) -> list[str]:
        try:
            used, fits = self.resources(architecture), self.occupancy(architecture)
        except (DeviceError, KernelError) as error:
            return [f"sm_{architecture}     {str(error).splitlines()[0]}"]
        return [
            f"sm_{architecture}     {used.registers} registers, {used.shared:,} bytes of static shared "
            f"memory, {used.stack} bytes of stack, {used.spill_stores + used.spill_loads} bytes of spills",
            f"          occupancy {fits.share:.0%}: {fits.blocks} blocks on a multiprocessor, limited by "
            f"{fits.limiter} (formula: NVIDIA's cuda_occupancy.h)",
        ]

    def notes(self) -> dict[tuple[str, int], list[str]]:
        """Annotations of source lines, by file and line."""
        found: dict[tuple[str, int], list[str]] = {}
        for line in self.lines:
            cost = (
                f"{line.sectors_per_request:.2f} sectors/request, {line.efficiency:.0%} used"
                if line.space == "global"
                else f"{line.bank_conflict_ways:.2f} bank ways"
            )
            inner, _, caller = line.place.partition(" from ")
            text = f"{line.space} {line.way} {line.size} B: {cost}"
            if caller:
                found.setdefault(split_place(caller), []).append(f"{text}, in {inner}")
                text += f", from {caller}"
            found.setdefault(split_place(inner), []).append(text)
        for work in self.work:
            found.setdefault(split_place(work.place), []).append(f"{work.flops:,} FLOPs")
        return found

    def _listing(self) -> list[str]:
        notes, text = self.notes(), []
        for piece in self.source:
            text.append(f"{piece.file.name}, {piece.what}")
            for number, line in enumerate(piece.lines, piece.first):
                about = "; ".join(dict.fromkeys(notes.get((piece.file.name, number), [])))
                text.append(f"{number:>5} | {line}" + (f"    ← {about}" if about else ""))
            text.append("")
        return text


def _sizes(sizes: Sizes) -> str:
    return str(sizes[0]) if sizes[1:] == (1, 1) else str(sizes)


@dataclass(repr=False)
class Kernels:
    """All kernels that an op launched, in the order of their first launches; print it, or save its `html()`.

    Attributes:
        op: name of the op.
        launches: the kernels.
        findings: defects that the checked run found.
    """

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
        """Text for the terminal.

        Args:
            architecture: architecture for registers; compute capability times ten.
        """
        return "\n".join([*map(str, self.findings), *[launch.text(architecture) for launch in self]])

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"kernels of {self.op}: {', '.join([k.instance for k in self])}; print them for their source"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return preformatted(str(self))

    def html(self, architecture: int = ARCHITECTURE) -> str:
        """Self-contained HTML page: facts, source with counts, thread pictures, PTX.

        Args:
            architecture: architecture for registers and PTX; compute capability times ten.
        """
        return kernel_page(self, architecture)


# ---- running the op ----------------------------------------------------------------------------------------


@dataclass
class _Launched:
    """A launch, with references that keep its memory alive."""

    kernel: EmulatedKernel
    grid: Sizes
    block: Sizes
    shared: int
    args: Sequence[Any]

    @property
    def key(self) -> tuple[object, ...]:
        return self.kernel.name, self.grid, self.block, self.shared


@contextmanager
def _launches() -> Iterator[list[_Launched]]:
    """Collect this thread's launches on the emulator while the block runs."""
    found: list[_Launched] = []
    plain, thread = EmulatedKernel.__call__, threading.get_ident()

    def call(kernel: EmulatedKernel, grid: Dim, block: Dim, args: Sequence[Any], shared: int = 0) -> None:
        plain(kernel, grid, block, args, shared)
        if threading.get_ident() == thread:
            found.append(_Launched(kernel, three_sizes(grid), three_sizes(block), shared, args))

    with replaced([(EmulatedKernel, "__call__", call)]):
        yield found


@overload
def kernel(op: tt.CapturedGraph) -> GeneratedLoops: ...
@overload
def kernel(
    op: str | Callable[..., Any], *args: Any, backward: bool = False, blocks: int = 4, **params: Any
) -> Kernels: ...
def kernel(
    op: Any, *args: Any, backward: bool = False, blocks: int = 4, **params: Any
) -> Kernels | GeneratedLoops:
    """Run an op once on the emulator under checks and return its kernels; or the loops of a captured graph.

    Args:
        op: the name of a public function ("softmax"), any function of tensors, or a user kernel
            `k[grid, block]` of `tt.cuda.kernel`. Or a graph of `tt.capture` on the CPU, alone: nothing runs.
        args: its arguments; tensors of any shapes on any device are copied to `emulated` with their strides.
        backward: include the kernels of the gradient of the summed results with respect to all floating
            arguments.
        blocks: number of blocks of each launch that are counted.
        params: keyword arguments of the op.

    Returns:
        The kernels. The kernels that an op launches may depend on the architecture, here that of the emulator
        (sm_80). Of a graph, the C++ loops that are generated from its elementwise ops.

    Raises:
        ArgumentError: there is no such op, it launches no kernel, it has no gradient although backward is
            set, or blocks is not a positive integer; a graph has no loops.
        KernelError: there is no C++ compiler, or a kernel fails.

    Example:
        >>> from tinytensor import lab
        >>> k = lab.kernel("softmax", tt.ones(4, 64))
        >>> k[0].instance, k[0].template
        ('softmax_forward<float, false>', {'T': 'float', 'LOG': 'false'})
        >>> load = next(line for line in k[0].lines if line.way == "load")
        >>> load.sectors_per_request, load.efficiency
        (8.0, 1.0)
        >>> x = tt.ones(100)
        >>> lab.kernel(tt.capture(lambda: x * 2.0 + 1.0, device="cpu", warmup=0))[0].splitlines()[0]
        '// multiply, add'
    """
    if isinstance(op, tt.CapturedGraph) and not (args or params or backward):
        return loops_of(op)
    name, function = _function(op)
    tensors = [_moved(a) for a in args]
    params = {key: _moved(a) for key, a in params.items()}
    leaves = [a for a in _flat([*tensors, *params.values()]) if a.dtype.is_floating]
    if backward:
        for leaf in leaves:
            leaf.requires_grad_()
    checked: Any = runtime_of(tt.Device("checked"))
    with checked.check(runtime_of(tt.Device("emulated")), blocks, keep=1) as report, _launches() as launched:
        with nullcontext() if backward else tt.no_grad():
            results = function(*tensors, **params)
        outputs = _flat([results])
        grads: Sequence[tt.Tensor | None] = ()
        if backward:
            grads = _gradients(name, outputs, leaves)
    if not launched:
        raise ArgumentError(
            f"kernel: {name} launches no kernel",
            why="it returns a view, computes nothing, or exists for the CPU only",
            fix='name an op that computes, such as lab.kernel("softmax", x)',
        )
    named = _named(function, tensors, params)
    named += [("y" if len(outputs) == 1 else f"y{i}", y) for i, y in enumerate(outputs)]
    given = dict(zip(map(id, leaves), grads, strict=False))
    named += [(f"d{n}", g) for n, t in list(named) if (g := given.get(id(t))) is not None]
    memory = [_memory(n, t) for n, t in named if t.size]
    counts = {(c.kernel, c.grid, c.block, c.shared): c for c in report.kernels}
    found: dict[tuple[object, ...], KernelLaunch] = {}
    for one in launched:
        if one.key in found:
            found[one.key].times += 1
        elif one.key in counts:
            found[one.key] = _launch(one, counts[one.key], memory)
    for launch in found.values():
        launch.together = sorted({one.instance for one in found.values() if one.file == launch.file})
    return Kernels(name, list(found.values()), report.findings)


def _gradients(
    name: str, outputs: Sequence[tt.Tensor], leaves: Sequence[tt.Tensor]
) -> Sequence[tt.Tensor | None]:
    """Gradients of the sum of the outputs with respect to each leaf."""
    ends = [y for y in outputs if y.requires_grad]
    if not ends:
        raise ArgumentError(
            f"kernel: {name} has no gradient",
            why="none of its results requires grad: arguments or results are not floating",
            fix="leave backward out",
        )
    ones = [tt.ones(*y.shape, dtype=y.dtype, device=y.device) for y in ends]
    return tt.grad(ends, leaves, ones, allow_unused=True)


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
        near = get_close_matches(str(op), known, n=1, cutoff=0.7)
        raise ArgumentError(
            f"kernel: there is no op {op!r}",
            why="op must be the name of a public function of tinytensor",
            fix=f"did you mean {near[0]}?"
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


def _named(
    function: Callable[..., Any], args: Sequence[Any], params: dict[str, Any]
) -> list[tuple[str, tt.Tensor]]:
    """Tensors among the arguments, named after the parameters if these have names."""
    try:
        bound = dict(inspect.signature(function).bind(*args, **params).arguments)
    except (TypeError, ValueError):
        bound = {f"arg{i}": a for i, a in enumerate(args)} | params
    flat = [
        (key if not isinstance(value, tuple | list) else f"{key}{i}", a)
        for key, value in bound.items()
        for i, a in enumerate(value if isinstance(value, tuple | list) else (value,))
    ]
    return [(key, a) for key, a in flat if isinstance(a, tt.Tensor)]


def _memory(name: str, x: tt.Tensor) -> NamedMemory:
    storage = x.storage
    return NamedMemory(name, storage.buffer.ptr, x.layout, x.itemsize, storage.buffer.nbytes)


def _launch(one: _Launched, count: KernelCount, memory: list[NamedMemory]) -> KernelLaunch:
    source = one.kernel.source
    signature = source.signature(one.kernel.name.partition("<")[0])
    given = [spelled(a) for a in one.kernel.arguments]
    names = [p.name or f"argument {i}" for i, p in enumerate(signature.template)]
    defaults = [p.default or "" for p in signature.template]
    template = dict(zip(names, [*given, *defaults[len(given) :]], strict=True))
    return KernelLaunch(
        one.kernel.name, source.path, signature, template, one.grid, one.block, one.shared, 1, count, memory
    )


PICTURES = 6  # maximum lines of a kernel that are drawn
IDEAL = 0.99  # used share of the transferred bytes; less is highlighted
HEAD = ("", "accesses", "sectors/request", "used", "bank ways", "lanes", "FLOPs", "source")
STYLE = "body{max-width:100rem}.code td{padding:0 .45rem;border-width:0 1px;line-height:1.35}"
STYLE += ".code td:last-child{white-space:pre-wrap;min-width:30rem}"


def kernel_page(kernels: Kernels, architecture: int) -> str:
    """HTML page; see `Kernels.html`."""
    intro = (
        "Counts are those of the source's accesses in a checked run on the emulator, not times. A sector is "
        "32 bytes of global memory: 32 neighboring floats of a warp take 4. One bank way is a pass of shared "
        "memory without conflicts. Colored numbers request more than they need. Accesses in a function of a "
        "header are shown there, and at the line of the kernel that calls it."
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
    """Table of source lines with their counts."""
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
    """Texts of one kind of access at a line; the used share of transferred bytes, and the excess of shared
    memory passes over the minimum, from 0 to 1.
    """

    sectors: str
    share: float
    ways: str
    conflicts: float
    lanes: str

    @staticmethod
    def of(lines: Sequence[LineCount]) -> _Cost:
        """Combined cost of several callers."""
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
    """Cell with a line for each kind of access; each line has its own color."""
    lines: list[str] = []
    for i, text in enumerate(texts):
        warning = warnings[i] if warnings else 0.0
        lines += ["\n"] * bool(i)
        lines.append(tag("span", text, **heat(warning)) if text and warning > 1 - IDEAL else text)
    return tag("td", *lines, class_="number")


def _pictures(launch: KernelLaunch) -> Iterator[Html]:
    """Pictures: a warp and the block for global memory lines, a warp's banks for shared memory lines."""
    drawn: set[tuple[str, str]] = set()
    for line in launch.lines:
        asked = launch.requests(line.place, space=line.space)
        if not asked or (line.place, line.space) in drawn or len(drawn) == PICTURES:
            continue
        drawn.add((line.place, line.space))
        yield launch.threads(line.place, min(r.warp for r in asked), line.space)
        if line.space == "global" and len(asked) > 1:
            yield launch.threads(line.place, None, line.space)
