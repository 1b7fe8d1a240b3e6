"""User-written kernels: functions on tensors from CUDA C++ source, on `cuda`, `emulated` and `checked`.

The engine itself does not use this module.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from tinytensor.autograd.modes import grad_enabled
from tinytensor.device import Device, as_device, cpu
from tinytensor.dispatch.checks import common_device
from tinytensor.dispatch.launch import view_of
from tinytensor.dispatch.watch import watched
from tinytensor.emulator.check.report import CheckReport
from tinytensor.errors import ArgumentError, DeviceError, DTypeError, KernelError, ShapeError
from tinytensor.ops.inplace import check_target, has_history
from tinytensor.runtime import runtime_of
from tinytensor.runtime.base import TemplateArgument
from tinytensor.runtime.cuda_source import device_text, merged
from tinytensor.runtime.kernel_cache import cache_folder, write_private
from tinytensor.runtime.signature import CPP, Parameter, Signature, canonical, parse, spelled
from tinytensor.tensor import Tensor, is_tensor

# Pointers to these types accept tensors of any dtype: built-in vectors are used to move bytes.
RAW = re.compile(r"void|(u?(char|short|int|long|longlong)|float|double|half|(__)?nv_bfloat16|__half)[1-4]+")


class Pointer:
    """Address of a tensor's first element, for any layout; made by `pointer`."""

    __slots__ = ("tensor", "view")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.view = tensor, view_of(tensor)


def pointer(x: Tensor) -> Pointer:
    """A tensor of any layout as a pointer argument; its strides must be passed to the kernel separately.

    Without it, launching with a non-contiguous tensor raises, since a kernel gets only an address.

    >>> k = tt.cuda.kernel('''
    ... __global__ void column(float* y, const float* x, int n, int stride) {
    ...     if (threadIdx.x < n) y[threadIdx.x] = x[threadIdx.x * stride];
    ... }''')
    >>> x = tt.arange(6, dtype=tt.float32).reshape(3, 2).to("emulated")[:, 1]
    >>> y = tt.empty(3, device="emulated")
    >>> k[1, 32](y, tt.cuda.pointer(x), 3, x.strides[0])
    >>> y.tolist()
    [1.0, 3.0, 5.0]
    """
    _refuse_cpu("pointer", x.device)
    return Pointer(x)


class Kernel:
    """A user-written kernel, made by `kernel`.

    Launch it with `k[grid, block](*arguments)`, or with bytes of dynamic shared memory with
    `k[grid, block, shared](*arguments)`.

    Grid and block are integers or tuples of up to three, x first. Arguments follow the signature in the
    source: tensors for pointers, None for a null pointer, Python numbers for scalars, bytes for structs.
    Tensors passed for pointers without `const` count as written in place.

    Attributes:
        source: path of the source file.
        signature: the declaration.

    >>> k = tt.cuda.kernel("__global__ void put(int* y, int v) { y[threadIdx.x] = v; }")
    >>> y = tt.empty(2, dtype=tt.int32, device="emulated")
    >>> k[1, 2](y, 7)
    >>> y.tolist()
    [7, 7]
    """

    def __init__(self, source: Path, signature: Signature, template: tuple[TemplateArgument, ...]) -> None:
        self.source, self.signature, self.template = source, signature, template
        self._elements = [_element(p.type, signature, template) for p in signature.parameters]

    def __repr__(self) -> str:
        return f"Kernel({self.signature})"

    def __getitem__(self, sizes: Any) -> Launcher:
        if not isinstance(sizes, tuple) or len(sizes) not in (2, 3):
            raise ArgumentError(
                f"kernel {self.signature.name}: [{sizes}] is not a launch configuration",
                why="a launch needs grid and block, and optionally bytes of shared memory",
                fix="k[grid, block](...), k[(gx, gy), (bx, by)](...) or k[grid, block, shared](...)",
            )
        return Launcher(self, *sizes)

    def __call__(self, *arguments: Any) -> NoReturn:
        """Raise ArgumentError: a launch needs grid and block."""
        raise ArgumentError(
            f"kernel {self.signature.name}: called without grid and block",
            why="a launch needs the number of blocks, and of threads in each",
            fix="k[grid, block](...), for example k[(n + 255) // 256, 256](...)",
        )


class Launcher:
    """A kernel with its launch configuration; call it to launch."""

    __slots__ = ("block", "grid", "kernel", "shared")

    def __init__(self, kernel: Kernel, grid: Any, block: Any, shared: int = 0) -> None:
        self.kernel, self.grid, self.block, self.shared = kernel, grid, block, shared

    def __call__(self, *arguments: Any) -> None:
        """Launch the kernel, in order with the other work on the same device."""
        k, name = self.kernel, f"kernel {self.kernel.signature.name}"
        arguments = (*arguments, *_defaults(k.signature.parameters[len(arguments) :]))
        tensors = [a for a in arguments if is_tensor(a)]
        device = common_device(name, tensors)
        views = [a.view for a in arguments if isinstance(a, Pointer)]
        if not tensors and not views:
            raise ArgumentError(
                f"{name}: no argument is a tensor",
                why="a kernel runs on the device of its tensors",
                fix=f"pass the declared arguments: {k.signature}",
            )
        if not tensors:
            device = views[0].storage.device
        _refuse_cpu(name, device)
        written = []
        for i, argument in enumerate(arguments[: len(k._elements)]):
            element, constant = k._elements[i]
            if is_tensor(argument) or isinstance(argument, Pointer):
                _check_element(name, k.signature.parameters[i].name, element, argument)
                if not constant:
                    target = argument.tensor if isinstance(argument, Pointer) else argument
                    check_target(target, grad_enabled() and has_history(target), name)
                    written.append(target)
        packed = [view_of(a) if is_tensor(a) else a.view if isinstance(a, Pointer) else a for a in arguments]
        instance = runtime_of(device).kernel(k.source, k.signature.key, *k.template)

        def run() -> Sequence[Any]:
            instance(self.grid, self.block, packed, self.shared)
            return ()

        watched(k.signature.name, device, [getattr(a, "tensor", a) for a in arguments], run)
        for x in written:
            x.storage.bump(name)


def _defaults(left: Sequence[Parameter]) -> tuple[Any, ...]:
    """The default arguments of the parameters that were not given; empty if one of them has none."""
    known = {"true": True, "false": False, "nullptr": None, "NULL": None}
    values: list[Any] = []
    for parameter in left:
        text = parameter.default or ""
        if text in known:
            values.append(known[text])
        elif re.fullmatch(r"-?\d+", text):
            values.append(int(text))
        elif re.fullmatch(r"-?(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?f?", text):
            values.append(float(text.rstrip("f")))
        else:
            return ()
    return tuple(values)


def _element(kind: str, signature: Signature, template: Sequence[TemplateArgument]) -> tuple[str, bool]:
    """Element type of a pointer, "" for bytes of any type, "no pointer" for others; whether it is const."""
    if not kind.rstrip().endswith("*"):
        return "no pointer", True
    element = kind.rstrip()[:-1].strip()
    constant = "const" in element.split()
    bare = element.replace("const", "").strip()
    given = dict(zip([p.name for p in signature.template], [spelled(a) for a in template], strict=False))
    name = given.get(bare, bare)
    return "" if RAW.fullmatch(name) else canonical(name), constant


def _check_element(what: str, parameter: str, element: str, argument: Any) -> None:
    view = argument.view if isinstance(argument, Pointer) else view_of(argument)
    have = CPP.get(view.dtype, "")
    # A type of the source, or void: it cannot be checked.
    unknown = element in ("struct", "pointer")
    if element not in (have, "") and not (unknown and isinstance(argument, Pointer)):
        raise DTypeError(
            f"{what}: a tensor of dtype {view.dtype} for the parameter {parameter!r}",
            why="its type in the source is not a dtype"
            if unknown
            else f"the kernel declares it as {element}, and would misread the bytes",
            fix="tt.cuda.pointer(x) passes the address without a type check"
            if unknown
            else "cast the tensor with .astype(...), or change the declaration",
        )
    if not isinstance(argument, Pointer) and not view.is_contiguous:
        raise ShapeError(
            f"{what}: the tensor of shape {view.shape} for {parameter!r} has strides {view.strides}",
            why="a kernel gets the address of the first element, without strides",
            fix="pass x.contiguous(), or tt.cuda.pointer(x) with x.strides as further arguments",
        )


def _refuse_cpu(what: str, device: Device) -> None:
    if device is cpu:
        raise DeviceError(
            f"{what}: the tensors are on the CPU",
            why="kernels run on devices: cuda, emulated (the CPU, by the same source) or checked",
            fix='move them first: x.to("emulated")',
        )


def kernel(source: str | Path, name: str | None = None, *template: TemplateArgument) -> Kernel:
    """A kernel from CUDA C++ source, compiled for a device at its first launch there.

    Args:
        source: the text, or the path of a .cu file (a string that ends in .cu). It may include headers of
            `tinytensor/kernels` ("common.cuh", "reduce.cuh", "mma.cuh", …); `docs/kernels.md` lists the
            supported CUDA features.
        name: name of the kernel in the source; optional if there is only one. Its tensors may have any shape:
            the arguments determine which elements it reads.
        template: template arguments: dtypes, integers, bools, or text.

    Returns:
        The kernel; launch it with `k[grid, block](*arguments)`.

    Raises:
        KernelError: there is no such kernel; at the first launch also if it does not compile.

    >>> k = tt.cuda.kernel('''
    ... __global__ void axpy(float* y, const float* x, float a, int n) {
    ...     int i = blockIdx.x * blockDim.x + threadIdx.x;
    ...     if (i < n) y[i] += a * x[i];
    ... }''')
    >>> x, y = tt.ones(1000, device="emulated"), tt.zeros(1000, device="emulated")
    >>> k[4, 256](y, x, 2.0, 1000)
    >>> y[:3].tolist()
    [2.0, 2.0, 2.0]
    """
    is_path = isinstance(source, Path) or (source.endswith(".cu") and "\n" not in source)
    try:
        found = parse(merged(Path(source), str)[0] if is_path else device_text(str(source)))
    except OSError as error:
        raise KernelError(
            f"kernel: {source} cannot be read ({error.strerror})",
            why="a source is CUDA C++ text, or the path of a file with it",
            fix="check the path",
        ) from None
    if name is None and len(found) == 1:
        name = next(iter(found))
    if name is None or name not in found:
        wanted = name or "no name was given, and the source"
        raise KernelError(
            f"kernel: {wanted} {'was not found' if name else 'is ambiguous'}",
            why=f"the source has the kernels {', '.join(sorted(found)) or '(none)'}",
            fix="tt.cuda.kernel(source, name)" if found else "declare one: __global__ void name(...) { ... }",
        )
    path = Path(source) if is_path else _file_of(str(source), next(iter(found)))
    return Kernel(path, found[name], template)


@cache
def _file_of(text: str, name: str) -> Path:
    """Write the text to a file named after its kernel and version, for messages and debuggers."""
    data = text.encode()
    path = cache_folder("sources") / f"{name}_{hashlib.sha256(data).hexdigest()[:6]}.cu"
    if not path.exists() or path.read_bytes() != data:  # an empty file, after a power failure, is rewritten
        write_private(path, data)
    return path


@contextmanager
def check(*, blocks: int = 4, record: bool = False, schedules: int = 0) -> Iterator[CheckReport]:
    """Check every memory access of the kernels that run inside, in any thread, on `emulated` and `checked`,
    and count the accesses of each source line. For small shapes: 2 to 45 times slower than `emulated`.

    Detects: "out of bounds" (of buffers, of arrays whose size the compiler knows), "misaligned
    access", "uninitialized shared read", "uninitialized global read", "shared race", "global race",
    "unfinished copy" (an access to the target of an asynchronous copy before waiting for it), of `wgmma` an
    "unfinished product", "product without fence" and "register race" (a written operand before the wait),
    "divergent barrier", "divergent warp operation", "wrong mask", "deadlock", "failed assertion", "trap",
    "division by zero", "invalid free" (in a kernel), and "launch failed" for others. A launch ends at an
    access that a GPU could not execute, and when its threads cannot continue; after other findings it
    continues. A failed launch does not raise here. Also "inactive lane" (a shuffle reads from a lane that
    has ended although the mask names it, or stores what came from one that the mask does not name), "endless
    wait" (threads poll what no thread will write) and "unwritten output" (the host reads what no thread has
    written). Races on which no result depends are `warnings` of the report: a "same-value race", a "read
    before an atomic operation" that compares what was read, and a "read before a warp operation", such as a
    vote on what was read: CUDA says that it orders no memory. So are a "value of an inactive lane" that no
    number in memory was seen to depend on, an "uninitialized variable", which the compiler sees, a
    "conversion out of range" and a "shift out of range", whose results differ on a GPU.

    Threads are ordered by barriers, and by a fence and then an atomic or volatile operation on one side, an
    atomic or volatile operation on the same address and then a fence or a barrier on the other.

    Does not detect: a local array with elements that are not set; a shared float array that is not aligned
    for float4 on a GPU, but is here; __restrict__ pointers that alias; structs passed by value to recursive
    functions and through pointers to functions; an index that leaves one array and reaches another through a
    pointer; reorderings of a weak memory model; with clang, copies of whole structs to or from a misaligned
    address.

    Args:
        blocks: number of blocks of each launch whose accesses are counted; findings are reported for all
            blocks.
        record: keep each access of these blocks with its value, 65,536 of a launch at most, for
            `lab.page(report)`.
        schedules: number of random schedules with which each launch is repeated, with switches between
            threads at any access. If one gives another result, it is reduced to the few switches that make
            the difference (`CheckReport.schedules`). The memory is then that of the default schedule.

    Returns:
        The report, filled while the block runs; print it, or read `findings` and `lines`. Checks may be
        nested: each report contains everything inside its block.

    >>> x = tt.arange(64, dtype=tt.float32, device="emulated")
    >>> with tt.cuda.check() as report:
    ...     y = x + 1.0
    >>> report.findings, report.launches
    ([], 1)
    """
    checked: Any = runtime_of(as_device("checked"))
    with checked.check(runtime_of(as_device("emulated")), blocks, record, schedules) as report:
        yield report
