"""Kernel ladders: successive optimizations of matmul, transpose, reduction, scan, softmax and others.

A rung is a function that launches its kernels on device tensors and returns the result. All rungs of a ladder
are verified against NumPy before anything is counted or timed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import tinytensor as tt

HERE = Path(__file__).parent
Arrays = dict[str, np.ndarray[Any, Any]]
Tensors = dict[str, tt.Tensor]
Sizes = Mapping[str, int]


@dataclass(frozen=True)
class Rung:
    """One version.

    Attributes:
        title: name of the version.
        run: launches its kernels: (inputs, sizes) → result; of the ladder `overlap`: job → result.
        lesson: the change from the previous version and its effect.
        rtol: tolerance for the comparison with NumPy.
    """

    title: str
    run: Callable[..., tt.Tensor]
    lesson: str
    rtol: float = 1e-5


@dataclass(frozen=True)
class Ladder:
    """One problem.

    Attributes:
        name: name of the ladder and its .cu file.
        question: the computed function.
        small, large: sizes for the emulator and for a GPU.
        inputs: generates the arrays.
        reference: NumPy implementation.
        shape: of the result; a name stands for the size of this name.
        rungs: versions from naive to optimized.
        floor: minimum bytes of any version, from the sizes.
        flops: floating-point operations, from the sizes.
    """

    name: str
    question: str
    small: Sizes
    large: Sizes
    inputs: Callable[[np.random.Generator, Sizes], Arrays]
    reference: Callable[[Arrays], np.ndarray[Any, Any]]
    shape: tuple[str | int, ...]
    rungs: tuple[Rung, ...]
    floor: Callable[[Sizes], int]
    flops: Callable[[Sizes], int]
    dtype: tt.DType = tt.float32  # of the result


@cache
def kernel(name: str) -> Any:
    """Kernel of this folder, from the file whose stem is a prefix of its name."""
    stem = next(path.stem for path in sorted(HERE.glob("*.cu")) if name.startswith(path.stem + "_"))
    return tt.cuda.kernel(HERE / f"{stem}.cu", name)


def blocks(n: int, per_block: int) -> int:
    return -(-n // per_block)


def like(x: tt.Tensor, *shape: int, dtype: tt.DType = tt.float32) -> tt.Tensor:
    return tt.empty(shape, dtype=dtype, device=x.device)


def floats(*names_and_axes: tuple[str, tuple[str, ...]]) -> Callable[[np.random.Generator, Sizes], Arrays]:
    """Generator of float32 inputs in [-1, 1), each with the named sizes as its shape."""

    def draw(rng: np.random.Generator, sizes: Sizes) -> Arrays:
        return {
            name: rng.uniform(-1, 1, [sizes[axis] for axis in axes]).astype(np.float32)
            for name, axes in names_and_axes
        }

    return draw


def version(launch: Callable[..., tt.Tensor]) -> Callable[..., Callable[[Tensors, Sizes], tt.Tensor]]:
    """Maker of versions from a function of inputs, sizes, and what differs between them."""
    return lambda *how, **options: lambda x, sizes: launch(x, sizes, *how, **options)


# ---- matrix product ----------------------------------------------------------------------------------------


@version
def product(
    x: Tensors, sizes: Sizes, name: str, block: tuple[int, ...], tile: tuple[int, int],
    *, by_row: bool = False, dtype: tt.DType = tt.float32,
) -> tt.Tensor:  # fmt: skip
    """Matmul version whose blocks compute tiles of (rows, columns)."""
    m, n, k = sizes["M"], sizes["N"], sizes["K"]
    c = like(x["a"], m, n)
    down, across = blocks(m, tile[0]), blocks(n, tile[1])
    grid = (down, across) if by_row else (across, down)
    a, b = (x[name].astype(dtype, copy=False) for name in ("a", "b"))
    kernel(name)[grid, block](c, a, b, m, n, k)
    return c


MATMUL = Ladder(
    name="matmul",
    question="C = A @ B, float32",
    small={"M": 128, "N": 128, "K": 64},
    large={"M": 4096, "N": 4096, "K": 4096},
    inputs=floats(("a", ("M", "K")), ("b", ("K", "N"))),
    reference=lambda x: x["a"].astype(np.float64) @ x["b"].astype(np.float64),
    shape=("M", "N"),
    rungs=(
        Rung("naive", product("matmul_naive", (32, 8), (32, 8), by_row=True), "lanes stand a row apart"),
        Rung("coalesced", product("matmul_coalesced", (32, 8), (8, 32)), "lanes stand side by side"),
        Rung("shared tiles", product("matmul_tiled", (32, 32), (32, 32)), "32 times fewer global reads"),
        Rung("column", product("matmul_column_per_thread", (512,), (64, 64)), "8 products per load"),
        Rung("square", product("matmul_square_per_thread", (256,), (128, 128)), "64 products per 16 loads"),
        Rung("vectorized", product("matmul_vectorized", (256,), (128, 128)), "16 bytes per access"),
        Rung("two buffers", product("matmul_double_buffered", (256,), (128, 128)), "one barrier per step"),
        Rung(
            "tensor cores",
            product("matmul_tensor_cores", (128,), (64, 64), dtype=tt.float16),
            "16 x 8 x 16 products per instruction; inputs rounded to float16",
            rtol=4e-3,
        ),
    ),
    floor=lambda s: 4 * (s["M"] * s["K"] + s["K"] * s["N"] + s["M"] * s["N"]),
    flops=lambda s: 2 * s["M"] * s["N"] * s["K"],
)  # fmt: skip


# ---- movement and sums -------------------------------------------------------------------------------------


@version
def moved(x: Tensors, sizes: Sizes, name: str) -> tt.Tensor:
    m, n = sizes["M"], sizes["N"]
    y = like(x["x"], n, m)
    kernel(name)[(blocks(n, 32), blocks(m, 32)), (32, 8)](y, x["x"], m, n)
    return y


TRANSPOSE = Ladder(
    name="transpose",
    question="y = x transposed, float32",
    small={"M": 96, "N": 128},
    large={"M": 8192, "N": 8192},
    inputs=floats(("x", ("M", "N"))),
    reference=lambda x: x["x"].T,
    shape=("N", "M"),
    rungs=(
        Rung("naive", moved("transpose_naive"), "coalesced reads, scattered writes", 0.0),
        Rung("shared memory", moved("transpose_shared"), "coalesced both ways, 32 bank conflicts", 0.0),
        Rung("padded", moved("transpose_padded"), "an unused column: no conflicts", 0.0),
        Rung("swizzled", moved("transpose_swizzled"), "no conflicts, nothing unused", 0.0),
    ),
    floor=lambda s: 8 * s["M"] * s["N"],
    flops=lambda s: 0,
)


@version
def summed(x: Tensors, sizes: Sizes, name: str, *, few: bool = False) -> tt.Tensor:
    """Reduction version: partial sums per block, then one block."""
    n = sizes["N"]
    grid = min(blocks(n, 1024), 1024) if few else blocks(n, 256)
    partial, total = like(x["x"], grid), like(x["x"], 1)
    kernel(name)[grid, 256](partial, x["x"], n)
    kernel("reduction_finish")[1, 256](total, partial, grid)
    return total


def summed_by_atomics(x: Tensors, sizes: Sizes) -> tt.Tensor:
    """Reduction version with atomics instead of a tree."""
    total = tt.zeros(1, device=x["x"].device)
    kernel("reduction_atomic")[blocks(sizes["N"], 256), 256](total, x["x"], sizes["N"])
    return total


REDUCTION = Ladder(
    name="reduction",
    question="the sum of n floats",
    small={"N": 10_000},
    large={"N": 1 << 28},
    inputs=lambda rng, s: {"x": rng.uniform(0, 1, s["N"]).astype(np.float32)},
    reference=lambda x: np.array([x["x"].sum(dtype=np.float64)]),
    shape=(1,),
    rungs=(
        Rung("atomic", summed_by_atomics, "all threads wait for one address; order differs", 1e-3),
        Rung("interleaved", summed("reduction_interleaved"), "lanes diverge"),
        Rung("strided", summed("reduction_strided"), "bank conflicts in place of divergence"),
        Rung("halves", summed("reduction_halves"), "neighbors work on neighbors"),
        Rung("shuffle", summed("reduction_shuffle"), "one barrier in place of eight"),
        Rung("vectorized", summed("reduction_vectorized", few=True), "16 bytes per load, many per thread"),
    ),
    floor=lambda s: 4 * s["N"],
    flops=lambda s: s["N"],
)


def scanned(name: str) -> Callable[[Tensors, Sizes], tt.Tensor]:
    """Scan version: scan blocks, scan their totals, add."""

    def scan(x: tt.Tensor, n: int) -> tt.Tensor:
        y, grid = like(x, n), blocks(n, 256)
        totals = like(x, grid)
        kernel(name)[grid, 256](y, totals, x, n)
        if grid > 1:
            kernel("scan_add_offsets")[grid, 256](y, scan(totals, grid), n)
        return y

    return lambda x, sizes: scan(x["x"], sizes["N"])


SCAN = Ladder(
    name="scan",
    question="running sums of n floats",
    small={"N": 10_000},
    large={"N": 1 << 26},
    inputs=lambda rng, s: {"x": rng.uniform(0, 1, s["N"]).astype(np.float32)},
    reference=lambda x: np.cumsum(x["x"], dtype=np.float64),
    shape=("N",),
    rungs=(
        Rung("Hillis-Steele", scanned("scan_hillis_steele"), "8 additions per element"),
        Rung("Blelloch", scanned("scan_blelloch"), "2 additions per element, 16 barriers"),
        Rung("shuffle", scanned("scan_shuffle"), "2 barriers"),
    ),
    floor=lambda s: 8 * s["N"],
    flops=lambda s: s["N"],
)


@version
def counted(x: Tensors, sizes: Sizes, name: str) -> tt.Tensor:
    counts = tt.zeros(256, dtype=tt.int32, device=x["x"].device)
    kernel(name)[min(blocks(sizes["N"], 4096), 512), 256](counts, x["x"], sizes["N"])
    return counts


HISTOGRAM = Ladder(
    name="histogram",
    question="how often each byte value occurs among n bytes",
    small={"N": 20_000},
    large={"N": 1 << 28},
    inputs=lambda rng, s: {"x": rng.integers(0, 256, s["N"]).astype(np.uint8)},
    reference=lambda x: np.bincount(x["x"], minlength=256),
    shape=(256,),
    dtype=tt.int32,
    rungs=(
        Rung("global atomics", counted("histogram_global"), "one global addition per byte", 0.0),
        Rung("per block", counted("histogram_shared"), "additions meet in shared memory", 0.0),
        Rung("per warp", counted("histogram_per_warp"), "fewer threads per counter", 0.0),
        Rung("vectorized", counted("histogram_vectorized"), "16 bytes per load", 0.0),
    ),
    floor=lambda s: s["N"],
    flops=lambda s: 0,
)


@version
def convolved(x: Tensors, sizes: Sizes, name: str, rows: int) -> tt.Tensor:
    """Stencil version whose blocks compute tiles of `rows` rows and 32 columns."""
    h, w = sizes["H"], sizes["W"]
    y = like(x["x"], h, w)
    kernel(name)[(blocks(w, 32), blocks(h, rows)), (32, 8)](y, x["x"], x["w"], h, w)
    return y


def convolve(x: Arrays) -> np.ndarray[Any, Any]:
    """NumPy reference of the 5 x 5 convolution with zero padding."""
    image, (h, w) = np.pad(x["x"].astype(np.float64), 2), x["x"].shape
    return sum(x["w"][i, j] * image[i : i + h, j : j + w] for i in range(5) for j in range(5))


STENCIL = Ladder(
    name="stencil",
    question="a 5 x 5 convolution of an image",
    small={"H": 70, "W": 100},
    large={"H": 8192, "W": 8192},
    inputs=lambda rng, s: {
        "x": rng.uniform(-1, 1, (s["H"], s["W"])).astype(np.float32),
        "w": rng.uniform(-1, 1, (5, 5)).astype(np.float32),
    },
    reference=convolve,
    shape=("H", "W"),
    rungs=(
        Rung("naive", convolved("stencil_naive", 8), "25 global reads per element"),
        Rung("shared tile", convolved("stencil_tiled", 8), "1.7 global reads per element"),
        Rung("registers", convolved("stencil_registers", 32), "1.3, and 2 shared reads per product saved"),
    ),
    floor=lambda s: 8 * s["H"] * s["W"],
    flops=lambda s: 50 * s["H"] * s["W"],
)


# ---- rows --------------------------------------------------------------------------------------------------


@version
def rowwise(
    x: Tensors, sizes: Sizes, name: str, threads: int | tuple[int, int], rows_per_block: int
) -> tt.Tensor:
    rows, width = sizes["rows"], sizes["width"]
    y = like(x["x"], rows, width)
    rest = (x["weight"], x["bias"], rows, width, 1e-5) if "weight" in x else (rows, width)
    kernel(name)[blocks(rows, rows_per_block), threads](y, x["x"], *rest)
    return y


def softmax(x: Arrays) -> np.ndarray[Any, Any]:
    e = np.exp(x["x"].astype(np.float64) - x["x"].max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


SOFTMAX = Ladder(
    name="softmax",
    question="softmax of each row",
    small={"rows": 40, "width": 1000},
    large={"rows": 16384, "width": 4096},
    inputs=floats(("x", ("rows", "width"))),
    reference=softmax,
    shape=("rows", "width"),
    rungs=(
        Rung("thread per row", rowwise("softmax_thread_per_row", 32, 32), "lanes stand a row apart"),
        Rung(
            "three passes", rowwise("softmax_three_passes", 256, 1), "coalesced; the row is read three times"
        ),
        Rung("online", rowwise("softmax_online", 256, 1), "maximum and sum in one pass: two reads"),
        Rung("registers", rowwise("softmax_registers", 256, 1), "one read, one write"),
    ),
    floor=lambda s: 8 * s["rows"] * s["width"],
    flops=lambda s: 4 * s["rows"] * s["width"],
)


def layer_norm(x: Arrays) -> np.ndarray[Any, Any]:
    """NumPy reference of layer norm along rows, eps 1e-5."""
    wide = x["x"].astype(np.float64)
    centered = wide - wide.mean(axis=1, keepdims=True)
    return centered / np.sqrt((centered**2).mean(axis=1, keepdims=True) + 1e-5) * x["weight"] + x["bias"]


LAYER_NORM = Ladder(
    name="layer_norm",
    question="layer norm of each row",
    small={"rows": 40, "width": 768},
    large={"rows": 32768, "width": 768},
    inputs=floats(("x", ("rows", "width")), ("weight", ("width",)), ("bias", ("width",))),
    reference=layer_norm,
    shape=("rows", "width"),
    rungs=(
        Rung("thread per row", rowwise("layer_norm_thread_per_row", 32, 32), "lanes stand a row apart"),
        Rung(
            "one pass", rowwise("layer_norm_one_pass", (32, 8), 8), "coalesced; loses digits: E[x²] - E[x]²"
        ),
        Rung("registers", rowwise("layer_norm_registers", (32, 8), 8), "one read, centered variance"),
    ),
    floor=lambda s: 8 * s["rows"] * s["width"],
    flops=lambda s: 8 * s["rows"] * s["width"],
)


def attention_in_three(x: Tensors, sizes: Sizes) -> tt.Tensor:
    """Attention version with separate kernels for scores, softmax and values."""
    t = sizes["T"]
    s, y = like(x["q"], t, t), like(x["q"], t, 64)
    kernel("attention_scores")[(blocks(t, 32), blocks(t, 8)), (32, 8)](s, x["q"], x["k"], t)
    kernel("attention_softmax")[blocks(t, 8), (32, 8)](s, t)
    kernel("attention_values")[t, 64](y, s, x["v"], t)
    return y


@version
def attention_in_one(x: Tensors, sizes: Sizes, name: str, rows: int) -> tt.Tensor:
    """Fused attention version, without scores in memory."""
    t = sizes["T"]
    y = like(x["q"], t, 64)
    kernel(name)[blocks(t, rows), (32, 8)](y, x["q"], x["k"], x["v"], t)
    return y


def attend(x: Arrays) -> np.ndarray[Any, Any]:
    """NumPy reference of causal attention, one head."""
    q, k, v = (x[name].astype(np.float64) for name in "qkv")
    s = np.where(np.tri(len(q), dtype=bool), q @ k.T / np.sqrt(q.shape[1]), -np.inf)
    return softmax({"x": s}) @ v


ATTENTION = Ladder(
    name="attention",
    question="causal attention of one head, 64 wide",
    small={"T": 100, "D": 64},
    large={"T": 8192, "D": 64},
    inputs=floats(("q", ("T", "D")), ("k", ("T", "D")), ("v", ("T", "D"))),
    reference=attend,
    shape=("T", "D"),
    rungs=(
        Rung("three kernels", attention_in_three, "T x T scores to memory and back"),
        Rung("online", attention_in_one("attention_online", 8), "no scores in memory; keys read per query"),
        Rung("flash", attention_in_one("attention_flash", 32), "32 queries share each tile of keys"),
    ),
    floor=lambda s: 16 * s["T"] * s["D"],
    flops=lambda s: 2 * s["T"] * s["T"] * s["D"],
)  # fmt: skip

LADDERS = {
    ladder.name: ladder
    for ladder in (MATMUL, TRANSPOSE, REDUCTION, SCAN, HISTOGRAM, STENCIL, SOFTMAX, LAYER_NORM, ATTENTION)
}
