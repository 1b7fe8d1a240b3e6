"""Which instances of which kernels the engine launches: recorded, so that nobody has to list them.

The rows of the op table, forward and backward, in all dtypes and layouts, and the calls of `more` run on a
device that only writes down what it is asked to launch.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from math import prod
from typing import Any, NoReturn

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.models.gpt import GPT
from tests import FULL
from tests.helpers import op_functions as ops
from tests.helpers.drivers import placed
from tests.helpers.layouts import MIXED, layouts_of, prepared, tensors
from tinytensor.device import Device, as_device
from tinytensor.dispatch import bounds, launch
from tinytensor.errors import DeviceError, TinyTensorError
from tinytensor.op_table import ROWS, Row
from tinytensor.op_table.row import COMPLEX, FLOATS, as_tuple
from tinytensor.runtime import _runtimes as runtimes
from tinytensor.runtime.base import Argument, Buffer, DeviceStatistics, Dim, Source, TemplateArgument
from tinytensor.runtime.cuda import nvrtc
from tinytensor.runtime.kernel_files import kernel_files, kernel_path
from tinytensor.runtime.signature import STRUCT, Packer, Signature, instance

Arguments = tuple[TemplateArgument, ...]
MAIN = {"float32", "bfloat16", "int64"}  # dtypes that stand for the others
NARROW, WIDE = "int", "long long"  # types of positions
PROGRAM = 100  # instances that are compiled at once: starting costs as much as one, memory grows with all


# ---- calls that the op table lacks -------------------------------------------------------------------------


def more(dtype: str, device: str) -> Iterator[Callable[[], object]]:
    """Calls for kernels that no row of the op table launches. Large tensors cost nothing here."""

    def new(*shape: int) -> tt.Tensor:
        return tt.empty(*shape, dtype=dtype, device=device)

    long = new(1 << 24)
    for name in ("sum", "prod", "max", "min", "argmax", "argmin", "all", "any", "mean", "var"):
        yield partial(getattr(tt, name), long)
    for name in ("cumulative_sum", "cumulative_prod", "sort", "argsort"):
        yield partial(getattr(tt, name), long)
        yield partial(getattr(tt, name), new(1 << 12, 1 << 12), axis=0)
    for rows, inner, columns in [(4096, 4096, 4096), (512, 512, 512), (64, 1 << 18, 64), (1, 4096, 4096)]:
        yield partial(tt.matmul, new(rows, inner), new(inner, columns))
        yield partial(tt.matmul, new(rows, inner), new(columns, inner).T)
        yield partial(tt.matmul, new(inner, rows).T, new(inner, columns))
    if dtype in ("float16", "bfloat16"):
        weights = tt.empty(8, 8, device=device, requires_grad=True)
        yield partial(_multiply_in_16_bits, weights, dtype)
    if dtype in FLOATS:
        yield partial(tt.multinomial, new(2, 3000), 600, replacement=False)
        yield partial(_pick_many, new(50, 8).requires_grad_())
        yield partial(_gather_long, new(2, 4096).requires_grad_())
        yield partial(_step_of_a_gpt, dtype, device)
        yield partial(_large_blocks, new(5000, 20).requires_grad_(), new(2, 20_000).requires_grad_())
        for size in (32, 64, 128, 256):
            yield partial(_attend, new(1, 100, 3 * size).requires_grad_())
            yield partial(_attend, new(1, 10, 3 * size).requires_grad_())
        yield partial(_attend, new(1, 100, 3 * 128).requires_grad_(), 0.1)


def _step_of_a_gpt(dtype: str, device: str) -> None:
    """One block of GPT-2 in training: what its shapes launch, and the optimizer."""
    config = GPTConfig(vocab_size=64, block_size=256, n_layer=1, n_head=12, n_embd=768, dropout=0.1)
    model = GPT(config).to(device).to(getattr(tt, dtype))
    optimizer = tt.optim.AdamW(list(model.parameters()), lr=1e-3)
    tokens = tt.zeros(4, 256, dtype=tt.int64, device=device)
    loss = ops.cross_entropy(model(tokens).reshape(-1, 64), tokens.reshape(-1))
    loss.backward()
    tt.optim.clip_grad_norm_(list(model.parameters()), 1.0)
    optimizer.step()


def _multiply_in_16_bits(weights: tt.Tensor, dtype: str) -> None:
    with tt.autocast(getattr(tt, dtype)):
        tt.matmul(weights.detach(), weights)


def _pick_many(x: tt.Tensor) -> None:
    """So many rows that the gradient is added up in several chunks."""
    x[tt.zeros(1000, dtype=tt.int64, device=x.device)].sum().backward()


def _gather_long(x: tt.Tensor) -> None:
    """Rows that are too long for one block to add up a gradient."""
    x.gather(1, tt.zeros(2, 3, dtype=tt.int64, device=x.device)).sum().backward()


def _large_blocks(rows: tt.Tensor, columns: tt.Tensor) -> None:
    """Reductions of one block of 1,024 threads, and rows and lines of blocks of 512."""
    for x in (rows, columns):
        targets = tt.zeros(len(x), dtype=tt.int64, device=x.device)
        ops.cross_entropy(x, targets).backward()
        ops.nll_loss(x, targets).backward()
    tt.softmax(rows, axis=0).sum().backward()
    large = tt.empty(3000 * 8192, dtype=rows.dtype, device=rows.device)
    tt.optim.clip_grad_norm_([_with_grad(large)], 1.0)


def _with_grad(x: tt.Tensor) -> tt.Tensor:
    leaf = x.detach().requires_grad_()
    leaf.grad = x
    return leaf


def _attend(qkv: tt.Tensor, dropout: float = 0.0) -> None:
    """Attention of one head, and its gradient."""
    y = tt.causal_self_attention(qkv, 1, dropout=dropout)
    y.backward(tt.empty_like(y))


# ---- recording ---------------------------------------------------------------------------------------------


@dataclass
class Launched:
    """How an instance was launched: sizes of blocks, bytes of dynamic shared memory, sizes of structs,
    and in which dtypes.
    """

    blocks: set[int] = field(default_factory=set)
    shared: int = 0
    structs: set[tuple[int, ...]] = field(default_factory=set)
    dtypes: set[str] = field(default_factory=set)

    def add(self, other: Launched) -> None:
        self.blocks |= other.blocks
        self.shared = max(self.shared, other.shared)
        self.structs |= other.structs
        self.dtypes |= other.dtypes


class Recorder:
    """A runtime whose memory is nowhere and whose kernels do nothing. What is read back is 1: a kernel that
    counts has always found something.

    Attributes:
        was_read: whether the host has read from it, so that other numbers might have led elsewhere.
    """

    def __init__(self, architecture: int) -> None:
        self.device: Device = as_device("cuda")
        self.returned: deque[Buffer] = deque(maxlen=0)
        self.statistics = DeviceStatistics()
        self.multiprocessors = 132
        self.capturing = False
        self.launched: defaultdict[tuple[str, str, Arguments], Launched] = defaultdict(Launched)
        self.dtype = ""
        self.was_read = False
        self._asked = False
        self._kernels: dict[tuple[str, str, Arguments], RecordedKernel] = {}
        self._architecture = architecture
        self._end = 1 << 40

    @property
    def architecture(self) -> int:
        self._asked = True
        return self._architecture

    def run(self, dtype: str, job: Callable[[], object]) -> bool:
        """Whether the call looked at the architecture. What it refuses is for other tests to say."""
        self.dtype, self._asked = dtype, False
        with suppress(TinyTensorError):
            job()
        return self._asked

    def library(self, what: str) -> NoReturn:
        raise DeviceError(f"{what}: no library", why="memory is nowhere", fix="launch kernels")

    def alloc(self, nbytes: int) -> Buffer:
        self._end += (nbytes + 511) // 512 * 512
        return Buffer(self._end, nbytes, self)

    def copy_in(self, ptr: int, source: Any) -> None:
        pass

    def copy_out(self, target: Any, ptr: int) -> None:
        target.fill(1)
        self.was_read = True

    def copy(self, target: int, source: int, nbytes: int) -> None:
        pass

    def memset(self, ptr: int, value: int, nbytes: int) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def tensor_map(self, *tensor_and_box: object) -> bytes:
        return bytes(128)

    def kernel(
        self,
        source: Source,
        name: str,
        *arguments: TemplateArgument,
        together: Sequence[tuple[str, Arguments]] = (),
    ) -> RecordedKernel:
        key = str(source), name, arguments
        if key not in self._kernels:
            self._kernels[key] = RecordedKernel(Packer(signatures(key[0])[name], arguments), self, key)
        return self._kernels[key]


class RecordedKernel:
    def __init__(self, packer: Packer, recorder: Recorder, key: tuple[str, str, Arguments]) -> None:
        self.name, self._packer, self._recorder, self._key = packer.name, packer, recorder, key

    def __call__(self, grid: Dim, block: Dim, args: Sequence[Argument], shared: int = 0) -> None:
        self._packer.pack(args)
        found = self._recorder.launched[self._key]
        found.blocks.add(block if isinstance(block, int) else prod(block))
        found.shared = max(found.shared, shared)
        found.structs.add(tuple(len(a) for a, k in zip(args, self._packer.kinds, strict=True) if k == STRUCT))
        found.dtypes.add(self._recorder.dtype)


class _NoReports(dict[Any, Any]):
    """Reports of indices out of range, of which none is ever found: all that a recorder reads is 1."""

    def get(self, key: Any, default: Any = None) -> Any:
        return default


@contextmanager
def recording(architecture: int) -> Iterator[Recorder]:
    """Let device cuda be a recorder."""
    recorder = Recorder(architecture)
    before = runtimes.get(recorder.device), launch._launches, bounds._reports
    runtimes[recorder.device] = recorder
    launch._launches = {}
    bounds._reports = _NoReports()
    try:
        yield recorder
    finally:
        real, launch._launches, bounds._reports = before
        runtimes.pop(recorder.device)
        if real is not None:
            runtimes[recorder.device] = real


Launches = dict[tuple[str, str, Arguments], Launched]
Job = Callable[[], object]


@cache
def recorded(architecture: int, *, main: bool = False) -> Launches:
    """All launches of the op table and of `more`, by file, kernel and template arguments.

    Args:
        architecture: what ops may choose kernels by.
        main: in the dtypes of MAIN alone.
    """
    common, choosing = _recorded_once()
    with recording(architecture) as recorder:
        for key, launched in common.items():
            if launched.dtypes & MAIN or not main:
                recorder.launched[key].add(launched)
        for dtype, job in choosing:
            if dtype in MAIN or not main:
                recorder.run(dtype, job)
    return dict(recorder.launched)


@cache
def _recorded_once() -> tuple[Launches, list[tuple[str, Job]]]:
    """What is launched on every architecture, and the calls that look at it."""
    choosing = []
    with recording(max(nvrtc.ARCHITECTURES)) as recorder:
        common = recorder.launched
        for dtype, job in _jobs():
            recorder.launched = defaultdict(Launched)
            if recorder.run(dtype, job):
                choosing.append((dtype, job))
            else:
                for key, launched in recorder.launched.items():
                    common[key].add(launched)
    return dict(common), choosing


def _jobs() -> Iterator[tuple[str, Job]]:
    for dtype in dict.fromkeys(d for row in ROWS for d in row.dtypes if d not in COMPLEX):
        for row in ROWS:
            if dtype in row.dtypes and row.on_devices():
                yield dtype, partial(_run, row, dtype)
        for call in more(dtype, "cuda"):
            yield dtype, call


def _run(row: Row, dtype: str) -> None:
    """Forward, then backward. In dtypes other than MAIN in two layouts only, unless TINYTENSOR_FULL=1:
    `instances` takes the numbers of axes from all dtypes.
    """
    wanted = layouts_of(row)
    if not FULL and dtype not in MAIN:
        wanted = [layout for layout in wanted if layout in ("packed", MIXED)]
    for layout in wanted:
        inputs = [placed(x, "cuda") for x in tensors(row, prepared(row, dtype, layout), dtype, layout)]
        with suppress(TinyTensorError):
            row.call(*inputs)
        if row.grad and dtype in FLOATS:
            for i in row.differentiable():
                inputs[i] = inputs[i].detach().requires_grad_()
            with suppress(TinyTensorError):
                outputs = [y for y in as_tuple(row.call(*inputs)) if y.requires_grad]
                starts = [(y * 0.0 + 0.5).detach() for y in outputs]
                tt.grad(outputs, [inputs[i] for i in row.differentiable()], starts, allow_unused=True)


# ---- instances ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Instance:
    """One instance of a kernel of one file, and how it is launched.

    Attributes:
        is_recorded: it was launched as it is, with no template argument changed.
    """

    stem: str
    kernel: str
    arguments: Arguments
    launched: Launched = field(compare=False)
    is_recorded: bool = field(compare=False)

    @property
    def name(self) -> str:
        return instance(self.kernel, self.arguments)

    @property
    def packer(self) -> Packer:
        return Packer(signatures(self.stem)[self.kernel], self.arguments)

    @property
    def functor(self) -> str:
        """The class of the .cu file that a kernel of a shared header is made for, or nothing."""
        first = self.arguments[0] if self.arguments else ""
        return first if isinstance(first, str) and first not in (NARROW, WIDE) else ""

    @property
    def is_wide(self) -> bool:
        """Whether it counts positions in 64 bits."""
        return WIDE in self.arguments


@cache
def signatures(stem: str) -> dict[str, Signature]:
    return nvrtc.signatures(kernel_path(stem, ".cu"))


def stems() -> list[str]:
    """Names of the files with kernels."""
    return list(kernel_files(".cu"))


@cache
def main_instances(stem: str, architecture: int) -> tuple[Instance, ...]:
    """What was recorded of a file in the dtypes of MAIN."""
    launches = recorded(architecture, main=True)
    return tuple(Instance(*key, launched, True) for key, launched in launches.items() if key[0] == stem)


@cache
def instances(stem: str, architecture: int) -> tuple[Instance, ...]:
    """What the ops of a file may launch on this architecture: what was recorded, also with each number of
    axes that the kernel is launched with anywhere, and for positions of 64 bits.
    """
    launches, ranks = recorded(architecture), _ranks(architecture)
    found: dict[tuple[str, Arguments], Launched] = {}
    for (file, name, given), launched in launches.items():
        if file == stem:
            at = _rank_at(signatures(stem)[name])
            for rank in ranks.get(name, [0]):
                arguments = given if at is None else (*given[:at], rank, *given[at + 1 :])
                wide = tuple(WIDE if a == NARROW else a for a in arguments)
                for key in ((name, arguments), (name, wide)):
                    found.setdefault(key, launches.get((stem, *key), launched))
    return tuple(
        Instance(stem, name, arguments, launched, (stem, name, arguments) in launches)
        for (name, arguments), launched in found.items()
    )


def _rank_at(signature: Signature) -> int | None:
    """Which template parameter is the number of axes."""
    names = [parameter.name for parameter in signature.template]
    return names.index("ND") if "ND" in names else None


@cache
def _ranks(architecture: int) -> dict[str, set[TemplateArgument]]:
    """The numbers of axes that each kernel is launched with."""
    found: dict[str, set[TemplateArgument]] = defaultdict(set)
    for stem, name, arguments in recorded(architecture):
        if (at := _rank_at(signatures(stem)[name])) is not None:
            found[name].add(arguments[at])
    return dict(found)


def compiled(chosen: Sequence[Instance], architecture: int) -> Iterator[tuple[Instance, nvrtc.Compiled]]:
    """Each instance (all of one file) with the program that it was compiled in."""
    ordered = sorted(chosen, key=lambda i: i.name)
    for start in range(0, len(ordered), PROGRAM):
        part = ordered[start : start + PROGRAM]
        file = kernel_path(part[0].stem, ".cu")
        program = nvrtc.build(file, [i.name for i in part], f"sm_{architecture}")
        for i in part:
            yield i, program
