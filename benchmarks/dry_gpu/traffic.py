"""Bytes and FLOPs of a launch, from its arguments: each byte that it needs once, as with ideal caches.

Tensors among the arguments count with their distinct elements; kernels that get addresses in structs or
tables have a rule of their own. FLOPs are those of matrix products, attention and AdamW: no other kernel is
limited by them.
"""

from __future__ import annotations

import ctypes
import re
import struct
from collections.abc import Callable, Mapping
from math import prod
from typing import Any, NamedTuple

from tinytensor.dispatch.launch import View
from tinytensor.ops.attention.launch import PROBLEM
from tinytensor.ops.matmul.gemm import PRODUCT

SIZE = {
    **dict.fromkeys(("double", "long long", "unsigned long long"), 8),
    **dict.fromkeys(("float", "int", "unsigned"), 4),
    **dict.fromkeys(("__half", "__nv_bfloat16", "short", "unsigned short"), 2),
    **dict.fromkeys(("bool", "signed char", "unsigned char"), 1),
}


class Measured(NamedTuple):
    """Bytes and FLOPs of one launch."""

    nbytes: float
    flops: float = 0.0


Named = Mapping[str, Any]  # arguments by the names of the kernel's parameters


def measure(kernel: Any, arguments: Any) -> Measured:
    """Bytes and FLOPs of a launch of a CupyKernel."""
    names = [parameter.name for parameter in kernel._packer.signature.parameters]
    named = dict(zip(names, arguments, strict=True))
    base, _, rest = kernel.name.partition("<")
    template = re.split(r",\s*", rest.removesuffix(">")) if rest else []
    for start, rule in RULES.items():
        if base.startswith(start):
            return rule(base, template, named)
    return Measured(touched(named))


def distinct(view: View) -> int:
    """Bytes of the distinct elements of a View."""
    return prod(n for n, step in zip(view.shape, view.strides, strict=True) if step) * view.itemsize


def touched(named: Named) -> int:
    """Bytes of the distinct elements of all Views."""
    return sum(distinct(v) for v in named.values() if isinstance(v, View))


# ---- kernels that get addresses in structs or tables -------------------------------------------------------


def _elementwise(base: str, template: list[str], named: Named) -> Measured:
    """The `Operands` of elementwise.cuh."""
    _, result, first, others, count, *rest = template
    packed, n, operands = named["o"], named["n"], int(count)
    pointers = struct.unpack_from("@" + "P" * (operands + 1), packed)
    sizes = [SIZE[result], SIZE[first], *[SIZE[others]] * (operands - 1)]
    if base == "elementwise_contiguous":
        return Measured(n * sum(size for size, p in zip(sizes, pointers, strict=True) if p))
    rank, code = int(rest[0]), "q" if rest[1] == "long long" else "i"
    numbers = struct.unpack_from(f"={code * rank * (operands + 2)}", packed, 8 * (2 * operands + 1))
    shape, *strides = [numbers[i : i + rank] for i in range(0, len(numbers), rank)]
    nbytes = 0
    for size, pointer, steps in zip(sizes, pointers, strides, strict=True):
        if pointer:
            nbytes += size * prod(n for n, step in zip(shape, steps, strict=True) if step)
    return Measured(nbytes)


def _product(base: str, template: list[str], named: Named) -> Measured:
    """The `Product` of matmul.cuh."""
    fields = PRODUCT.unpack(named["p"])
    rows, columns, inner = fields[:3]
    nbytes = touched(named)
    if base == "matmul_sum" or named["a"] is None:  # sums of parts, and of columns
        return Measured(nbytes)
    matrices = fields[8] // (rows * columns)
    if base == "matmul_hopper":  # tensor maps of the operands
        lines = [n * (matrices if named[many] else 1) for n, many in ((rows, "many_a"), (columns, "many_b"))]
        nbytes += sum(lines) * inner * SIZE[template[1]]
    return Measured(nbytes, 2.0 * rows * columns * inner * matrices)


# Times that a kernel reads or writes all queries (or as much), all keys; products per pair of them.
_ATTENTION = {"forward": (2, 2, 2), "delta": (2, 0, 0), "backward": (3, 4, 5), "add_parts": (1, 0, 0)}


def _attention(base: str, template: list[str], named: Named) -> Measured:
    """The `Problem` of attention.cuh; causal: only pairs that are visible count."""
    _, queries, keys, size, value_size, reach, *_ = PROBLEM.unpack_from(named["p"])[38:]
    caches = [named[name] for name in ("lse", "delta", "sums") if named.get(name) is not None]
    heads = 1
    if caches:  # (B, H, T) or (B H, parts, T, size)
        heads = caches[0].size // queries if caches[0].ndim == 3 else caches[0].shape[0]
    visible = sum(min(keys, max(0, i + reach + 1)) for i in range(queries))
    of_queries, of_keys, products = _ATTENTION[base.removeprefix("attention_").removesuffix("_hopper")]
    width = (size + value_size) / 2
    nbytes = heads * width * SIZE[template[0]] * (of_queries * queries + of_keys * keys) + touched(named)
    return Measured(nbytes, 2.0 * heads * visible * width * products)


def _many(reads_and_writes: Callable[[int], int], flops: float) -> Callable[..., Measured]:
    """Kernels over a table of tensors: their `Entry` has the number of elements in its fifth column."""

    def rule(base: str, template: list[str], named: Named) -> Measured:
        table = named["table"]
        entries = (ctypes.c_longlong * table.size).from_address(table.ptr)
        n = sum(entries[4 :: table.shape[1]])
        return Measured(n * reads_and_writes(SIZE[template[0]]) + touched(named), flops * n)

    return rule


def _gathered(base: str, template: list[str], named: Named) -> Measured:
    """As many rows are read as are written."""
    return Measured(2 * distinct(named["y"]) + distinct(named["indices"]))


def _region_add(base: str, template: list[str], named: Named) -> Measured:
    return Measured(3 * named["n"] * SIZE[template[0]])


RULES: dict[str, Callable[[str, list[str], Named], Measured]] = {
    "elementwise_": _elementwise,
    "matmul_": _product,
    "attention_": _attention,
    "adamw": _many(lambda size: 3 * size + 4 * max(size, 4), 13.0),  # of means in float32
    "sum_of_squares_many": _many(lambda size: size, 2.0),
    "cast_many": _many(lambda size: size + 2, 0.0),  # to 16 bits
    "scale_many": _many(lambda size: 2 * size, 1.0),
    "embedding_forward": _gathered,
    "region_add": _region_add,
}

# ---- families ----------------------------------------------------------------------------------------------

FAMILIES = (
    ("matrix products", r"matmul_"),
    ("attention", r"attention_|cached_attention"),
    ("casts", r"elementwise_\w+<Cast, |cast_many|copy_"),
    ("elementwise", r"elementwise_"),
    ("dropout", r"dropout_"),
    ("norms", r"layer_norm|rms_norm|add_norm"),
    ("softmax and loss", r"softmax|cross_entropy|nll_"),
    ("embedding", r"embedding_|region_add"),
    ("optimizer and clipping", r"adamw|sum_of_squares|scale_many"),
    ("others", r""),
)


def family(instance: str) -> str:
    """Family of a kernel, for tables.

    Example:
        >>> family("elementwise_contiguous<Cast, float, float, float, 1, int>"), family("scan_rows<Sum>")
        ('casts', 'others')
    """
    return next(name for name, pattern in FAMILIES if re.match(pattern, instance))
