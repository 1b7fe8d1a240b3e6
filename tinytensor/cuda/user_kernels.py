"""Own kernels: CUDA C++ goes in, a function on tensors comes out; for `cuda`, `emulated` and `checked` alike.

Nothing here is needed to use the engine on a GPU; it is the door for people who write kernels.
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
from tinytensor.dispatch.bounds import raise_reported
from tinytensor.dispatch.checks import common_device
from tinytensor.dispatch.launch import view_of
from tinytensor.errors import ArgumentError, DeviceError, DTypeError, KernelError, ShapeError
from tinytensor.ops.inplace import check_target, has_history
from tinytensor.runtime import runtime_of
from tinytensor.runtime.base import TemplateArgument
from tinytensor.runtime.checked.report import CheckReport
from tinytensor.runtime.kernel_cache import cache_folder, write_private
from tinytensor.runtime.signature import CPP, Signature, canonical, parse, spelled
from tinytensor.tensor import Tensor, is_tensor

__all__ = [
    "CheckReport",
    "Kernel",
    "check",
    "is_available",
    "kernel",
    "pointer",
    "synchronize",
]


# Pointers to these take tensors of any dtype: the built-in vectors are how bytes are moved.
RAW = re.compile(r"void|(u?(char|short|int|long|longlong)|float|double|half|(__)?nv_bfloat16|__half)[1-4]+")


class Pointer:
    """The address of a tensor's first element, whatever its layout; made by `pointer`."""

    __slots__ = ("tensor", "view")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.view = tensor, view_of(tensor)


def pointer(x: Tensor) -> Pointer:
    """A tensor of any layout as a pointer argument: the kernel must read it through strides that you pass.

    Without it, a launch refuses a tensor that is not contiguous, since a kernel sees nothing but an address.

    Args:
        x: a tensor on a device, of any shape.

    Returns:
        An argument for a kernel: the address of x's first element.

    Raises:
        DeviceError: x is on the CPU.

    Example:
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
    """A kernel of one's own, made by `kernel`: launched by `k[grid, block](*arguments)`, or with bytes of
    dynamic shared memory by `k[grid, block, shared](*arguments)`.

    Grid and block are integers or tuples of up to three, x first. Arguments follow the signature in the
    source: tensors for pointers, None for a null pointer, Python numbers for scalars, bytes for structs.
    Tensors passed for pointers without `const` count as written in place.

    Attributes:
        source: the file it comes from.
        signature: its declaration.

    Example:
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
                f"kernel {self.signature.name}: [{sizes}] is no launch configuration",
                why="a launch needs the grid and the block, and may have bytes of shared memory",
                fix="k[grid, block](...), k[(gx, gy), (bx, by)](...) or k[grid, block, shared](...)",
            )
        return Launcher(self, *sizes)

    def __call__(self, *arguments: Any) -> NoReturn:
        """Refuse: a launch needs its sizes."""
        raise ArgumentError(
            f"kernel {self.signature.name}: called without grid and block",
            why="a launch needs to know how many blocks, and how many threads in each",
            fix="k[grid, block](...), for example k[(n + 255) // 256, 256](...)",
        )


class Launcher:
    """A kernel with its grid and block, ready to be called."""

    __slots__ = ("block", "grid", "kernel", "shared")

    def __init__(self, kernel: Kernel, grid: Any, block: Any, shared: int = 0) -> None:
        self.kernel, self.grid, self.block, self.shared = kernel, grid, block, shared

    def __call__(self, *arguments: Any) -> None:
        """Launch. The work is ordered with that of tensors on the same device."""
        k, name = self.kernel, f"kernel {self.kernel.signature.name}"
        tensors = [a for a in arguments if is_tensor(a)]
        device = common_device(name, tensors)
        views = [a.view for a in arguments if isinstance(a, Pointer)]
        if not tensors and not views:
            raise ArgumentError(
                f"{name}: no argument is a tensor",
                why="a kernel runs on the device of its tensors",
                fix=f"pass what it declares: {k.signature}",
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
        instance = runtime_of(device).kernel(k.source, k.signature.name, *k.template)
        instance(self.grid, self.block, packed, self.shared)
        for x in written:
            x.storage.bump(name)


def _element(kind: str, signature: Signature, template: Sequence[TemplateArgument]) -> tuple[str, bool]:
    """The element type behind a pointer parameter, and whether it is const; "" for bytes of any type, and
    "no pointer" for anything else.
    """
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
    # A name of the source, or void: only the caller can know that the bytes are right.
    unknown = element in ("struct", "pointer")
    if element not in (have, "") and not (unknown and isinstance(argument, Pointer)):
        raise DTypeError(
            f"{what}: a tensor of dtype {view.dtype} for the parameter {parameter!r}",
            why="its type in the source is no dtype"
            if unknown
            else f"the kernel declares it as {element}, and would read the bytes as such",
            fix="tt.cuda.pointer(x) passes the address whatever the type"
            if unknown
            else "cast the tensor with .astype(...), or change the declaration",
        )
    if not isinstance(argument, Pointer) and not view.is_contiguous:
        raise ShapeError(
            f"{what}: the tensor of shape {view.shape} for {parameter!r} has strides {view.strides}",
            why="a kernel sees the address of the first element and knows nothing of strides",
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
    """A kernel from CUDA C++ source; compiled for a device when it is first launched there.

    Args:
        source: the text, or the path of a .cu file (a string that ends in .cu). It may include what
            `tinytensor/kernels` offers
            ("common.cuh", "reduce.cuh", "mma.cuh", …); `docs/kernels.md` says what a kernel may use.
        name: which kernel of the source; may be left out if there is one. Its tensors may have any shape:
            what it reads follows from the arguments.
        template: template arguments: dtypes, integers, bools, or text.

    Returns:
        The kernel; launch it with `k[grid, block](*arguments)`.

    Raises:
        KernelError: there is no such kernel; at the first launch also: it does not compile.

    Example:
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
    path = Path(source) if is_path else _file_of(str(source))
    try:
        found = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise KernelError(
            f"kernel: {path} cannot be read ({error.strerror})",
            why="a source is CUDA C++ text, or the path of a file with it",
            fix="check the path",
        ) from None
    if name is None and len(found) == 1:
        name = next(iter(found))
    if name is None or name not in found:
        wanted = name or "no name was given, and the source"
        raise KernelError(
            f"kernel: {wanted} {'is not there' if name else 'has not just one'}",
            why=f"the source has the kernels {', '.join(sorted(found)) or '(none)'}",
            fix="tt.cuda.kernel(source, name)" if found else "declare one: __global__ void name(...) { ... }",
        )
    return Kernel(path, found[name], template)


@cache
def _file_of(text: str) -> Path:
    """The text as a file, so that messages and debuggers can show its lines."""
    path = cache_folder("sources") / f"kernel_{hashlib.sha256(text.encode()).hexdigest()[:16]}.cu"
    data = text.encode()
    if not path.exists() or path.read_bytes() != data:  # one that a power cut has emptied is another kernel
        write_private(path, data)
    return path


@contextmanager
def check(*, blocks: int = 4) -> Iterator[CheckReport]:
    """Watch every access of the kernels that run inside, in any thread, on `emulated` and `checked`, and
    count what each source line asks of memory. For small shapes: it is about seventy times slower than
    `emulated`.

    What is found: "out of bounds" (of buffers, of arrays whose size the compiler knows), "misaligned
    access", "uninitialized shared read", "uninitialized global read", "shared race", "global race",
    "unfinished copy" (an access to the target of an asynchronous copy that nobody has waited for),
    "divergent barrier", "divergent warp operation", "wrong mask", "deadlock", "failed assertion", "trap",
    "division by zero", and "launch failed" for the rest. A launch ends at an access that a GPU could not
    make, and at whatever stops its threads; other findings let it go on. A launch that fails here raises
    nothing.

    What is not: order between blocks by other means than __threadfence and atomic operations on both sides;
    an index that leaves one array and meets another through a pointer; what a weak memory model allows; where
    clang compiles, copies of whole structs to or from a misaligned address.

    Args:
        blocks: how many blocks of each launch are counted; the findings are of all blocks.

    Returns:
        The report, filled while the block runs; print it, or look at `findings` and `lines`. Checks may be
        nested: each report gets all that happens inside.

    Example:
        >>> x = tt.arange(64, dtype=tt.float32, device="emulated")
        >>> with tt.cuda.check() as report:
        ...     y = x + 1.0
        >>> report.findings, report.launches
        ([], 1)
    """
    checked: Any = runtime_of(as_device("checked"))
    with checked.check(runtime_of(as_device("emulated")), blocks) as report:
        yield report


def is_available() -> bool:
    """Whether there is a GPU that the device "cuda" can use; tensors of any shape then move there.

    Example:
        >>> tt.cuda.is_available() in (True, False)
        True
    """
    try:
        runtime_of(as_device("cuda"))
    except DeviceError:
        return False
    return True


def synchronize(device: Device | str = "cuda") -> None:
    """Wait for all work of a device, and raise what its kernels reported.

    Args:
        device: "cuda", "cuda:1", "emulated" or "checked"; work on tensors of any shape.

    Raises:
        DeviceError: the device is not there.
        IndexRangeError: a kernel met an index that is out of range.

    Example:
        >>> tt.cuda.synchronize("emulated")
    """
    runtime = runtime_of(as_device(device))
    runtime.synchronize()
    raise_reported(runtime)
