"""Step 7: our kernels beside cuBLAS, PyTorch and CuPy, at the sizes of both models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import tinytensor as tt
from benchmarks.contest.contestants import Case, LazySuite, Suite
from benchmarks.first_day.contests import Entry, clock_of, compete, prepare
from benchmarks.first_day.day import Day
from benchmarks.peers.op_libraries import digest

ROWS, VOCABULARIES = 16_384, (50_257, 50_304)  # tokens of a step of both models; 50,304: padded
WIDTHS = {"gpt2": 768, "shakespeare": 384}
HEADS = {"gpt2": (16, 12, 1024, 64), "shakespeare": (64, 6, 256, 64)}  # B, H, T, D
KINDS = ("bfloat16", "float32", "tf32")
TOLERANCE = {"bfloat16": 3e-2, "float32": 3e-4, "tf32": 5e-3}
VALUES = 512  # that are compared


@dataclass(frozen=True)
class Work:
    """One case: what is computed, at which size and in which type.

    Attributes:
        name: of the case.
        op: "product", "attention", "layer_norm", "cross_entropy", "embedding" or "adamw".
        sizes: of the op.
        kind: bfloat16, float32, or tf32 (float32 on tensor cores).
        flops, nbytes: what it computes, and the least that it moves.
    """

    name: str
    op: str
    sizes: tuple[int, ...]
    kind: str
    flops: float
    nbytes: float


def works(*, small: bool = False) -> dict[str, Work]:
    """All cases, the most important ones first: products of GPT-2 in bfloat16; TF32 last."""
    found: list[Work] = []
    for kind in KINDS:
        for model in WIDTHS:
            found += _products(model, kind, small)
            found += [] if kind == "tf32" else _others(model, kind, small)
        if kind == "bfloat16":
            rows, v, c, n = (40, 65, 24, 1000) if small else (ROWS, 50_257, 768, 124_000_000)
            moved = 4 * c * (4 * rows + v)
            found.append(_work("gpt2", "embedding both", "embedding", (rows, v, c), "float32", 0, moved))
            found.append(_work("gpt2", "adamw", "adamw", (n,), "float32", 0, 28 * n))
    return {work.name: work for work in found}


def _products(model: str, kind: str, small: bool) -> list[Work]:
    """The products of a layer and of the head, forward and of both gradients."""
    size, c, rows = 2 if kind == "bfloat16" else 4, WIDTHS[model], ROWS
    vocabularies: tuple[int, ...] = VOCABULARIES if model == "gpt2" else ()
    if small:
        c, rows, vocabularies = 24, 40, (65, 72)[: len(vocabularies)]
    layers = {"qkv": (c, 3 * c), "proj": (c, c), "fc": (c, 4 * c), "fcproj": (4 * c, c)}
    layers |= {f"head {v}": (c, v) for v in vocabularies}
    found = []
    for layer, (k, n) in layers.items():
        for way, (a, b, d) in {"forward": (rows, k, n), "dx": (rows, n, k), "dw": (k, rows, n)}.items():
            moved, flops = size * (a * b + b * d + a * d), 2.0 * a * b * d
            found.append(_work(model, f"{layer} {way}", "product", (a, b, d), kind, flops, moved))
    return found


def _others(model: str, kind: str, small: bool) -> list[Work]:
    """Attention, layer norm and loss."""
    size, c, rows, heads = 2 if kind == "bfloat16" else 4, WIDTHS[model], ROWS, HEADS[model]
    vocabularies: tuple[int, ...] = VOCABULARIES if model == "gpt2" else ()
    if small:
        c, rows, heads, vocabularies = 24, 40, (1, 2, 33, 16), (65, 72)[: len(vocabularies)]
    flops = 2.0 * heads[0] * heads[1] * heads[2] * (heads[2] + 1) * heads[3]
    q, x = size * heads[0] * heads[1] * heads[2] * heads[3], size * rows * c
    both = 3.5 * flops  # two products forward, five at least backward
    return [
        _work(model, "attention forward", "attention", (*heads, 0), kind, flops, 4 * q),
        _work(model, "attention both", "attention", (*heads, 1), kind, both, 12 * q),
        _work(model, "layer norm forward", "layer_norm", (rows, c, 0), kind, 0, 2 * x),
        _work(model, "layer norm both", "layer_norm", (rows, c, 1), kind, 0, 5 * x),
        *[
            _work(model, f"loss {v} both", "cross_entropy", (rows, v), kind, 0, 3 * size * rows * v)
            for v in vocabularies
        ],
    ]


def _work(
    model: str, what: str, op: str, sizes: tuple[int, ...], kind: str, flops: float, nbytes: float
) -> Work:
    return Work(f"{model} {what} {kind}", op, sizes, kind, flops, float(nbytes))


# ---- the libraries -----------------------------------------------------------------------------------------


def _vector(n: int, seed: int) -> np.ndarray[Any, Any]:
    """Values of one sign, so that sums do not cancel and relative tolerances apply."""
    return np.random.default_rng(seed).uniform(0.5, 1.5, n).astype(np.float32)


class Ours:
    """tinytensor; `vendor`: its products by cuBLAS."""

    def __init__(self, device: str, vendor: bool = False) -> None:
        self.device = device
        tt.config.matmul = "vendor" if vendor else "auto"

    def matrix(self, m: int, n: int, kind: str, seed: int = 0) -> tt.Tensor:
        """(m, n): the product of a column and a row."""
        tt.config.tf32 = kind == "tf32"
        u, v = [tt.from_numpy(_vector(k, seed + i)).to(self.device) for i, k in enumerate((m, n))]
        made: tt.Tensor = u[:, None] * v[None, :]
        return made.to(tt.bfloat16) if kind == "bfloat16" else made

    def integers(self, n: int, below: int) -> tt.Tensor:
        return tt.from_numpy(np.random.default_rng(5).integers(0, below, n)).to(self.device)

    attention = staticmethod(partial(tt.scaled_dot_product_attention, causal=True))
    layer_norm = staticmethod(tt.layer_norm)
    cross_entropy = staticmethod(tt.cross_entropy)
    embedding = staticmethod(tt.embedding)
    grad = staticmethod(lambda y, xs, g: tt.grad(y, xs, g, retain_graph=True))

    def release(self) -> None:
        """Give back the memory of the last case."""
        tt.cuda.empty_cache()

    def adamw(self, weights: Any) -> Callable[[], Any]:
        return tt.optim.AdamW([weights], lr=1e-3, weight_decay=0.01).step

    def floats(self, x: tt.Tensor) -> list[float]:
        return digest([x.detach().reshape(-1)[:VALUES].to(tt.float32).cpu().numpy()])


class Torch:
    """PyTorch, with the same calls."""

    def __init__(self, device: str) -> None:
        import torch

        self.torch, self.device, self.F = torch, device, torch.nn.functional

    def matrix(self, m: int, n: int, kind: str, seed: int = 0) -> Any:
        torch = self.torch
        torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
        u, v = [torch.from_numpy(_vector(k, seed + i)).to(self.device) for i, k in enumerate((m, n))]
        made = u[:, None] * v[None, :]
        return made.to(torch.bfloat16) if kind == "bfloat16" else made

    def integers(self, n: int, below: int) -> Any:
        return self.torch.from_numpy(np.random.default_rng(5).integers(0, below, n)).to(self.device)

    def attention(self, q: Any, k: Any, v: Any) -> Any:
        return self.F.scaled_dot_product_attention(q, k, v, is_causal=True)

    def layer_norm(self, x: Any, weight: Any, bias: Any) -> Any:
        return self.F.layer_norm(x, x.shape[-1:], weight, bias)

    def cross_entropy(self, logits: Any, targets: Any) -> Any:
        return self.F.cross_entropy(logits, targets)

    def embedding(self, weight: Any, indices: Any) -> Any:
        return self.F.embedding(indices, weight)

    def grad(self, y: Any, xs: Any, g: Any) -> Any:
        return self.torch.autograd.grad(y, xs, g, retain_graph=True)

    def release(self) -> None:
        if self.device == "cuda":
            self.torch.cuda.empty_cache()

    def adamw(self, weights: Any) -> Callable[[], Any]:
        fused = self.torch.optim.AdamW([weights], lr=1e-3, weight_decay=0.01, fused=True)
        return fused.step

    def floats(self, x: Any) -> list[float]:
        return digest([x.detach().reshape(-1)[:VALUES].float().cpu().numpy()])


class Cupy:
    """CuPy, which has products alone; NumPy on a machine without a GPU."""

    def __init__(self, device: str) -> None:
        if device == "cuda":
            import cupy as module
        else:
            import numpy as module
        self.module, self.device = module, device

    def matrix(self, m: int, n: int, kind: str, seed: int = 0) -> Any:
        u, v = [self.module.asarray(_vector(k, seed + i)) for i, k in enumerate((m, n))]
        return u[:, None] * v[None, :]

    def release(self) -> None:
        if self.device == "cuda":
            self.module.get_default_memory_pool().free_all_blocks()

    def floats(self, x: Any) -> list[float]:
        values = x.reshape(-1)[:VALUES]
        return digest([values.get() if self.device == "cuda" else values])


LIBRARIES: Mapping[str, Callable[..., Any]] = {
    "tinytensor": Ours,
    "cuBLAS in tinytensor": partial(Ours, vendor=True),
    "PyTorch": Torch,
    "CuPy": Cupy,
}


# ---- the calls ---------------------------------------------------------------------------------------------


def call_of(library: Any, work: Work) -> Callable[[], Any]:
    """The timed call of a library; returns tensors."""
    sizes, kind = work.sizes, work.kind
    if work.op == "product":
        m, k, n = sizes
        way = work.name.split()[-2]
        a = library.matrix(k, m, kind).T if way == "dw" else library.matrix(m, k, kind)
        turned = (way == "dx") != ("head" in work.name)  # the head multiplies by the transposed table
        turned = turned and way != "dw"
        b = library.matrix(n, k, kind, 2).T if turned else library.matrix(k, n, kind, 2)
        return lambda: [a @ b]
    if work.op == "attention":
        *shape, both = sizes
        B, H, T, D = shape
        flat = [library.matrix(B * H * T, D, kind, seed) for seed in (0, 2, 4)]
        q, k, v = [x.reshape(B, H, T, D).requires_grad_() for x in flat]
        return _with_gradient(library, lambda: library.attention(q, k, v), [q, k, v], both, kind)
    if work.op == "layer_norm":
        rows, c, both = sizes
        x = library.matrix(rows, c, kind).requires_grad_()
        w, b = [library.matrix(1, c, kind, i).reshape(c).requires_grad_() for i in (2, 4)]
        return _with_gradient(library, lambda: library.layer_norm(x, w, b), [x, w, b], both, kind)
    if work.op == "cross_entropy":
        rows, v = sizes
        x, targets = library.matrix(rows, v, kind).requires_grad_(), library.integers(rows, v)
        return _with_gradient(library, lambda: library.cross_entropy(x, targets), [x], 1, kind)
    if work.op == "embedding":
        rows, v, c = sizes
        table, indices = library.matrix(v, c, kind).requires_grad_(), library.integers(rows, v)
        return _with_gradient(library, lambda: library.embedding(table, indices), [table], 1, kind)
    weights = library.matrix(1, sizes[0], kind).requires_grad_()
    weights.grad = library.matrix(1, sizes[0], kind, 2)
    step = library.adamw(weights)
    return lambda: [step(), weights][1:]


def _with_gradient(library: Any, call: Any, leaves: list[Any], both: int, kind: str) -> Callable[[], Any]:
    """The call, with its gradients if `both`."""
    if not both:
        return lambda: [call()]
    shape = tuple(call().shape)
    grad = None if not shape else library.matrix(int(np.prod(shape[:-1])), shape[-1], kind, 6).reshape(shape)
    return lambda: [y := call(), *library.grad(y, leaves, grad)]


def suite(library: str, device: str, rehearsal: str) -> Suite:
    """Suite of one library; a case is made when it is asked for."""
    prepare(rehearsal)
    at, cases = LIBRARIES[library](device), works(small=bool(rehearsal))

    def make(name: str) -> Case:
        at.release()
        call = call_of(at, cases[name])
        check = lambda: [value for x in call() for value in at.floats(x)]  # noqa: E731
        return Case(call, check, device, clock_of(library, device, rehearsal))

    return LazySuite(list(cases), make, device)


def takes_part(library: str, work: Work) -> bool:
    """Whether a library has the call of a case."""
    if library == "CuPy":
        return work.op == "product" and work.kind == "float32"
    return library != "cuBLAS in tinytensor" or work.op == "product"


def run(day: Day) -> None:
    """Compare and time all cases."""
    cases = works(small=day.small)
    entries = [
        Entry(name, [who for who in LIBRARIES if takes_part(who, work)], TOLERANCE[work.kind])
        for name, work in cases.items()
    ]
    suites = {who: (f"{__name__}:suite", {"library": who}) for who in LIBRARIES}
    for found in compete(day, suites, entries):
        work, times = cases[found.case], found.seconds
        ours, peer = times.get("tinytensor"), times.get("PyTorch")
        rate = {"FLOP/s" if work.flops else "B/s": None if not ours else (work.flops or work.nbytes) / ours}
        speed = None if not ours or not peer else peer / ours
        by_name = {who: times.get(who) for who in LIBRARIES}
        day.row("kernels", case=found.case, **by_name, **rate, speed=speed, results=found.results)
