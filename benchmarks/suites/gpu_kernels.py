"""Our kernels beside cuBLAS, PyTorch and CuPy on a GPU, at the sizes of GPT-2 and of the Shakespeare preset.

On "emulated" and "dry" sizes are small and nothing is timed: results are compared, or calls are made.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from math import prod
from typing import Any, NamedTuple

import numpy as np

import tinytensor as tt
from benchmarks.contest.contest import PRETENDED, Plan, Report, agree
from benchmarks.contest.contestants import (
    BenchmarkError,
    Case,
    LazySuite,
    Process,
    Suite,
    installed,
    together,
)
from benchmarks.dry_gpu.gpu import installed_device
from benchmarks.peers.op_libraries import Cupy, Engine, Library, Torch, digest

OURS, VENDOR, TORCH, CUPY = "tinytensor", "cuBLAS in tinytensor", "PyTorch", "CuPy"
TOLERANCE = {"bfloat16": 3e-2, "float32": 3e-4, "tf32": 5e-3}
WIDTHS = {"gpt2": 768, "shakespeare": 384}
HEADS = {"gpt2": (16, 12, 1024, 64), "shakespeare": (64, 6, 256, 64)}  # B, H, T, D
ROWS, VOCABULARIES = 16_384, (50_257, 50_304)  # tokens of a step of both models; 50,304: padded
VALUES = 512  # that are compared


class Work(NamedTuple):
    """One case.

    Attributes:
        name: model, what, way and kind.
        op: "product", "attention", "layer_norm", "cross_entropy", "embedding" or "adamw".
        way: "forward" or "backward"; of products also "dx" and "dw".
        kind: bfloat16, float32, or tf32 (float32 on tensor cores).
        sizes: of the op.
        flops, nbytes: what it computes, and the least that it moves.
    """

    name: str
    op: str
    way: str
    kind: str
    sizes: tuple[int, ...]
    flops: float
    nbytes: float


def works(*, small: bool = False) -> dict[str, Work]:
    """All cases, the most important ones first: products of GPT-2 in bfloat16; TF32 last."""
    kinds = [(kind, model) for kind in TOLERANCE for model in WIDTHS]
    return {work.name: work for kind, model in kinds for work in _works(model, kind, small)}


def _works(model: str, kind: str, small: bool) -> Iterator[Work]:
    size, c, rows, heads = 2 if kind == "bfloat16" else 4, WIDTHS[model], ROWS, HEADS[model]
    vocabularies = VOCABULARIES if model == "gpt2" else ()
    if small:
        c, rows, heads, vocabularies = 24, 40, (1, 2, 33, 16), (65, 72)[: len(vocabularies)]

    def work(what: str, op: str, way: str, sizes: tuple[int, ...], flops: float, nbytes: float) -> Work:
        return Work(f"{model} {what} {way} {kind}", op, way, kind, sizes, flops, size * nbytes)

    layers = {"qkv": (c, 3 * c), "proj": (c, c), "fc": (c, 4 * c), "fcproj": (4 * c, c)}
    for layer, (k, n) in (layers | {f"head {v}": (c, v) for v in vocabularies}).items():
        for way, (a, b, d) in {"forward": (rows, k, n), "dx": (rows, n, k), "dw": (k, rows, n)}.items():
            yield work(layer, "product", way, (a, b, d), 2.0 * a * b * d, a * b + b * d + a * d)
    if kind == "tf32":
        return
    B, H, T, D = heads
    q, flops = B * H * T * D, 2.0 * B * H * T * (T + 1) * D
    # two products forward, five at least backward
    yield work("attention", "attention", "forward", heads, flops, 4 * q)
    yield work("attention", "attention", "backward", heads, 2.5 * flops, 8 * q)
    yield work("layer norm", "layer_norm", "forward", (rows, c), 0, 2 * rows * c)
    yield work("layer norm", "layer_norm", "backward", (rows, c), 0, 3 * rows * c)
    for v in vocabularies:
        yield work(f"loss {v}", "cross_entropy", "forward", (rows, v), 0, rows * v)
        yield work(f"loss {v}", "cross_entropy", "backward", (rows, v), 0, 2 * rows * v)
    if model == "gpt2" and kind == "float32":
        n, v = (1000, 65) if small else (124_000_000, 50_257)
        yield work("embedding", "embedding", "backward", (rows, v, c), 0, (rows + v) * c)
        yield work("adamw", "adamw", "forward", (n,), 0, 7 * n)


# ---- calls -------------------------------------------------------------------------------------------------


def _vector(n: int, seed: int) -> np.ndarray[Any, Any]:
    """Values of one sign, so that sums do not cancel and relative tolerances apply."""
    return np.random.default_rng(seed).uniform(0.5, 1.5, n).astype(np.float32)


def matrix(library: Library, m: int, n: int, kind: str, seed: int = 0) -> Any:
    """(m, n) on the device: the product of a column and a row."""
    made = library.made(_vector(m, seed))[:, None] * library.made(_vector(n, seed + 1))[None, :]
    return made.to(library.module.bfloat16) if kind == "bfloat16" else made


def call_of(library: Library, work: Work) -> Callable[[], Sequence[Any]]:
    """The timed call of a library; returns its results."""
    make, kind, sizes = (lambda m, n, seed=0: matrix(library, m, n, work.kind, seed)), work.kind, work.sizes
    if work.op == "product":
        m, k, n = sizes
        a = make(k, m).T if work.way == "dw" else make(m, k)
        head = " head " in work.name  # multiplies by the transposed table
        b = make(n, k, 2).T if work.way != "dw" and (work.way == "dx") != head else make(k, n, 2)
        return lambda: [a @ b]
    if work.op == "adamw":
        weights = make(1, sizes[0]).requires_grad_()
        weights.grad = make(1, sizes[0], 2)
        options: dict[str, Any] = {"fused": True} if isinstance(library, Torch) else {}
        step = library.module.optim.AdamW([weights], lr=1e-3, weight_decay=0.01, **options).step
        return lambda: [step(), weights][1:]
    indices = np.random.default_rng(5)
    inputs: list[Any]
    if work.op == "attention":
        B, H, T, D = sizes
        inputs = [make(B * H * T, D, seed).reshape(B, H, T, D) for seed in (0, 2, 4)]
    elif work.op == "layer_norm":
        inputs = [make(*sizes), *[make(1, sizes[1], seed).reshape(sizes[1]) for seed in (2, 4)]]
    elif work.op == "cross_entropy":
        inputs = [make(*sizes), library.made(indices.integers(0, sizes[1], sizes[0]))]
    else:
        inputs = [make(*sizes[1:]), library.made(indices.integers(0, sizes[1], sizes[0]))]
    function = _function(library, work.op)
    if work.way == "forward":
        return lambda: [function(*inputs)]
    leaves = [x.requires_grad_() for x in inputs[: None if work.op in ("attention", "layer_norm") else 1]]
    y = function(*inputs)
    shape = tuple(y.shape)
    start = matrix(library, prod(shape[:-1]), shape[-1], kind, 6).reshape(shape) if shape else None
    return lambda: list(library.module.autograd.grad(y, leaves, start, retain_graph=True))


def _function(library: Library, op: str) -> Callable[..., Any]:
    """A function of networks, of the same name and meaning in both libraries."""
    F = library.module.nn.functional if isinstance(library, Torch) else tt.nn.functional
    return {
        "attention": lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        "layer_norm": lambda x, w, b: F.layer_norm(x, x.shape[-1:], w, b),
        "cross_entropy": F.cross_entropy,
        "embedding": lambda weight, indices: F.embedding(indices, weight),
    }[op]


def suite(library: str, device: str) -> Suite:
    """Suite of one library; a case is made when it is asked for."""
    at = library_of(library, device)
    cases = works(small=device in PRETENDED)

    def floats(x: Any) -> Any:
        values = x.reshape(-1)[:VALUES]
        return at.array(values.to(at.module.float32) if hasattr(values, "to") else values)

    def make(name: str) -> Case:
        if isinstance(at, Engine):
            tt.cuda.empty_cache()
            tt.config.tf32 = cases[name].kind == "tf32"
            tt.config.matmul = "vendor" if library == VENDOR else "auto"
        elif isinstance(at, Torch):
            at.module.backends.cuda.matmul.allow_tf32 = cases[name].kind == "tf32"
        call = call_of(at, cases[name])
        return Case(call, lambda: digest([floats(x) for x in call()]), device, at.clock)

    return LazySuite(list(cases), make, device)


def library_of(library: str, device: str) -> Library:
    """The adapter of a library; others than ours are rehearsed on the CPU."""
    if library in (OURS, VENDOR):
        return Engine(installed_device(device))
    if library == TORCH:
        return Torch("cuda" if device == "cuda" else "cpu")
    return Cupy() if device == "cuda" else Library()


# ---- the contest -------------------------------------------------------------------------------------------


def takes_part(library: str, work: Work, device: str) -> bool:
    """Whether a library has the call of a case, and is there on this device."""
    if device == "dry":
        return library == OURS
    if library == CUPY:
        return work.op == "product" and work.kind == "float32"
    if library == TORCH:
        return installed("torch") and (device == "cuda" or work.kind != "tf32")
    return library == OURS or (device == "cuda" and work.op == "product")


def _processes(device: str, works: Sequence[Work]) -> AbstractContextManager[dict[str, Process]]:
    names = [n for n in (OURS, VENDOR, TORCH, CUPY) if any(takes_part(n, work, device) for work in works)]
    path = f"{__name__}:suite"
    return together({name: Process(path, {"library": name, "device": device}) for name in names})


def run(device: str = "cuda", *, only: str = "") -> Report:
    """Compare and time all cases; each line is printed when it is known.

    A case whose results differ is not timed. A fault makes a process lose its GPU: the cases after it go on
    in new processes.
    """
    report, waiting = Report("gpu_kernels", TORCH), list(works(small=device in PRETENDED).values())
    waiting = [work for work in waiting if only in work.name]
    rows: list[dict[str, Any]] = []
    report.findings["kernels"] = rows
    while waiting:
        with _processes(device, waiting) as everyone:
            while waiting:
                work = waiting.pop(0)
                here = {n: p for n, p in everyone.items() if takes_part(n, work, device)}
                try:
                    row = measured(report, here, work, device)
                except BenchmarkError as error:
                    row = {"results": str(error)}
                print(f"{work.name}: {', '.join(f'{k} {v}' for k, v in row.items())}", flush=True)
                rows.append({"case": work.name} | row)
                if any(process.ended() for process in everyone.values()):
                    break
    return report


def measured(report: Report, here: dict[str, Process], work: Work, device: str) -> dict[str, Any]:
    """A row: seconds of each contestant on the device, our rate, and our speed beside PyTorch."""
    plan = Plan(rounds=5, retries=3, seconds=0.05, foreign_limit=0.5, rtol=TOLERANCE[work.kind], atol=1e-7)
    row: dict[str, Any] = {"results": f"agree: {', '.join(here)}" if len(here) > 1 else "not compared"}
    if device in PRETENDED:
        agree(work.name, {name: process.check(work.name) for name, process in here.items()}, plan)
        return row
    (result,) = report.compete(here, plan, cases=[work.name], quiet=True)
    times = {n: float(np.median([r[n].device or r[n].seconds for r in result.used()])) for n in here}
    rate = (work.flops or work.nbytes) / times[OURS] / 1e12
    row |= {f"{name} µs": round(seconds * 1e6, 2) for name, seconds in times.items()}
    row["TFLOP/s" if work.flops else "TB/s"] = round(rate, 2)
    return row | ({"speed": round(times[TORCH] / times[OURS], 3)} if TORCH in times else {})
