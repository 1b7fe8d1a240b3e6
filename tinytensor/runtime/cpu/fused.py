"""Elementwise steps of a captured CPU graph as generated C++ loops.

Consecutive steps with results of one shape become one loop, which reads each operand once; a result that no
later step reads is not written. Only ops with a formula take part, and only those whose bits equal NumPy's on
this machine.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from tinytensor.runtime.cpu.arrays import LARGE, Array, silent
from tinytensor.runtime.cpu.library import NATIVE, load
from tinytensor.runtime.cpu.threads import pool_address

_TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double", np.dtype(bool): "bool"}
_GRAIN = 32_768  # elements that a thread takes at a time
# Address, strides and dtype of an array in a loop: equal ones have the same elements in the same order.
_Slot = tuple[int, tuple[int, ...], np.dtype[Any]]


class Lifetime:
    """Lifetime of the storage of a step's result: `end` is the number of steps when it goes, or None.

    `clock` has the number of steps so far, and None after the capture. It is not the graph, which would then
    refer to itself, and keep its memory until the garbage collector runs.
    """

    __slots__ = ("_ref", "end")

    def __init__(self, storage: Any, clock: list[int | None]) -> None:
        self.end: int | None = None

        def gone(_: object) -> None:
            self.end = clock[0]

        self._ref = weakref.ref(storage, gone)


class Formula(NamedTuple):
    """A step y = expression, for arrays that a loop can process together.

    Attributes:
        expression: C++ expression of the operands {0}, {1}, {2}.
        ufunc: NumPy's function with the same bits.
        y: the result.
        operands: arrays that broadcast to the shape of y.
        life: of the result; None for memory that existed before the step.
        name: of the op.
    """

    expression: str
    ufunc: Callable[..., Any]
    y: Array
    operands: tuple[Array, ...]
    life: Lifetime | None
    name: str


class Loops(NamedTuple):
    """Generated code for consecutive steps.

    Attributes:
        name: of the function.
        source: C++ source of it.
        addresses: of the arrays that it reads and writes, in the order of its argument.
        steps: number of steps.
    """

    name: str
    source: str
    addresses: list[int]
    steps: int


def formula_of(
    expression: str,
    ufunc: Callable[..., Any],
    y: Array,
    operands: Sequence[Any],
    life: Lifetime | None,
    name: str,
) -> Formula | None:
    """The formula of a step; None if dtypes or layouts do not fit."""
    arrays = tuple([np.asarray(x) for x in operands])
    floats = {a.dtype for a in (y, *arrays) if a.dtype != bool}
    if not expression or y.size == 0 or len(floats) != 1 or not floats <= _TYPES.keys():
        return None
    if y.size >= LARGE and not all([a.flags.c_contiguous for a in (y, *arrays) if a.size > 1]):
        return None  # strided memory is read in strips
    if any([_conflict(_slot(y, y.shape), y, _slot(a, y.shape), a) for a in arrays]):
        return None
    return Formula(expression, ufunc, y, arrays, life, name)


def fuse(formulas: Sequence[Formula | None]) -> dict[int, Loops]:
    """Loops for all runs of consecutive steps with a formula, by the index of the first step."""
    found: dict[int, Loops] = {}
    usable = _exact_ones(formulas)
    i = 0
    while i < len(formulas):
        end = i
        while end < len(formulas) and usable[end]:
            end += 1
        if end > i:
            run = [f for f in formulas[i:end] if f is not None]
            found[i] = _loops(run, i, f"tt_loops_{i}")
        i = max(end, i + 1)
    return found


# ---- grouping ----------------------------------------------------------------------------------------------


def _slot(a: Array, shape: tuple[int, ...]) -> _Slot:
    """Address, strides (in bytes) and dtype of an array broadcast to a shape, without axes of size 1."""
    strides = np.broadcast_to(a, shape).strides
    kept = tuple([s for s, n in zip(strides, shape, strict=True) if n > 1])
    return a.ctypes.data, kept, a.dtype


def _extent(a: Array) -> tuple[int, int]:
    """Addresses of the first byte of an array and of the one after its last."""
    low, high = np.lib.array_utils.byte_bounds(a)
    return int(low), int(high)


def _conflict(written: _Slot, y: Array, other: _Slot, a: Array) -> bool:
    """Whether a loop that writes y could change elements of `a` that it has yet to read."""
    if written == other:
        return False
    (low, high), (begin, end) = _extent(y), _extent(a)
    return low < end and begin < high


def _groups(formulas: Sequence[Formula]) -> list[list[Formula]]:
    """Consecutive formulas that one loop can compute."""
    groups: list[list[Formula]] = []
    for formula in formulas:
        if groups and groups[-1][0].y.shape == formula.y.shape and not _clash(groups[-1], formula):
            groups[-1].append(formula)
        else:
            groups.append([formula])
    return groups


def _clash(group: Sequence[Formula], formula: Formula) -> bool:
    shape = formula.y.shape
    mine = [(_slot(a, shape), a) for a in (formula.y, *formula.operands)]
    for other in group:
        theirs = [(_slot(a, shape), a) for a in (other.y, *other.operands)]
        if any([_conflict(*mine[0], *one) for one in theirs]) or any(
            [_conflict(*theirs[0], *one) for one in mine]
        ):
            return True
    return False


# ---- C++ ---------------------------------------------------------------------------------------------------


class _Pointers:
    """The arrays of a function: names of pointers, by address and dtype."""

    def __init__(self) -> None:
        self.names: dict[tuple[int, np.dtype[Any]], str] = {}

    def name(self, slot: _Slot) -> str:
        return self.names.setdefault((slot[0], slot[2]), f"p{len(self.names)}")


def _loops(formulas: Sequence[Formula], first: int, name: str) -> Loops:
    """The function of consecutive formulas, of which the first is step number `first`."""
    pointers, functions, calls, end = _Pointers(), [], [], first
    for k, group in enumerate(_groups(formulas)):
        end += len(group)
        functions.append(_loop(pointers, group, end, f"{name}_{k}"))
        calls.append(functions[-1].call)
    kinds = [_TYPES[dtype] for _, dtype in pointers.names]
    lines = [f"    {kind}* p{i} = ({kind}*)p[{i}];" for i, kind in enumerate(kinds)]
    whole = [f"HOST_KERNEL bool {name}(const void* const* p) {{", *lines, *calls, "    return true;", "}"]
    source = "\n\n".join([*[f.source for f in functions], "\n".join(whole)])
    return Loops(name, source, [address for address, _ in pointers.names], len(formulas))


class _Function(NamedTuple):
    source: str
    call: str


def _loop(pointers: _Pointers, group: Sequence[Formula], end: int, name: str) -> _Function:
    """The loop over the elements of a group as a function; `end`: number of steps up to its last."""
    shape = tuple([n for n in group[0].y.shape if n > 1])
    slots = [[_slot(f.y, f.y.shape), *[_slot(a, f.y.shape) for a in f.operands]] for f in group]
    shape, steps = _collapsed(shape, [s for row in slots for s in row])
    values: dict[_Slot, str] = {}  # variables with elements that this iteration has read or written
    once: list[str] = []  # lines before the loop
    lines: list[str] = []
    used: dict[str, str] = {}  # parameters of the function

    def variable(slot: _Slot, expression: str, where: list[str]) -> str:
        values[slot] = f"v{len(once) + len(lines)}"
        where.append(f"{_TYPES[slot[2]]} {values[slot]} = {expression};")
        return values[slot]

    def read(slot: _Slot) -> str:
        if slot in values:
            return values[slot]
        return variable(slot, place(slot), lines if any(steps[slot]) or not shape else once)

    def place(slot: _Slot) -> str:
        pointer = pointers.name(slot)
        used[pointer] = f"{_TYPES[slot[2]]}* {pointer}"
        terms = [f"{s // slot[2].itemsize} * i{k}" for k, s in enumerate(steps[slot]) if s]
        return f"{pointer}[{' + '.join(terms) or '0'}]"

    stores: dict[_Slot, str] = {}
    for formula, (y, *operands) in zip(group, slots, strict=True):
        names = [read(slot) for slot in operands]
        variable(y, formula.expression.format(*names), lines)
        if formula.life is None or formula.life.end is None or formula.life.end > end:
            stores[y] = f"{place(y)} = {values[y]};"
        else:
            stores.pop(y, None)  # no later step reads it
    body, call = _nest(shape, [*lines, *stores.values()], ", ".join([f"{name}(begin, end", *used]) + ");")
    head = f"static void {name}({', '.join(['Index begin, Index end', *used.values()])}) {{"
    ops = f"// {', '.join([formula.name for formula in group])}"
    return _Function("\n".join([ops, head, *[f"    {line}" for line in once], *body, "}"]), call)


def _collapsed(
    shape: tuple[int, ...], slots: Sequence[_Slot]
) -> tuple[tuple[int, ...], dict[_Slot, tuple[int, ...]]]:
    """The shape with neighboring axes merged where all operands allow it, and the strides of each."""
    sizes, columns = list(shape), {slot: list(slot[1]) for slot in slots}
    axis = len(sizes) - 2
    while axis >= 0:
        if all([c[axis] == c[axis + 1] * sizes[axis + 1] for c in columns.values()]):
            sizes[axis : axis + 2] = [sizes[axis] * sizes[axis + 1]]
            for c in columns.values():
                del c[axis]
        axis -= 1
    return tuple(sizes), {slot: tuple(c) for slot, c in columns.items()}


def _nest(shape: tuple[int, ...], lines: Sequence[str], call: str) -> tuple[list[str], str]:
    """Nested loops around lines, with limits for the outermost, which threads share if there are many."""
    sizes = shape or (1,)
    written: list[str] = []
    for k, n in enumerate(sizes):
        if k == len(sizes) - 1:
            written.append("#pragma GCC ivdep")
        begin, end = ("begin", "end") if k == 0 else ("0", str(n))
        written.append(f"{'    ' * (k + 1)}for (Index i{k} = {begin}; i{k} < {end}; i{k}++) {{")
    written += [f"{'    ' * (len(sizes) + 1)}{line}" for line in lines]
    written += [f"{'    ' * (k + 1)}}}" for k in reversed(range(len(sizes)))]
    inner = prod(sizes[1:])
    if sizes[0] * inner <= _GRAIN:
        return written, f"    {call.replace('begin, end', f'0, {sizes[0]}')}"
    grain = max(1, _GRAIN // inner)
    return written, f"    parallel_for({sizes[0]}, {grain}, [&](Index begin, Index end) {{ {call} }});"


def source_of(loops: Sequence[Loops]) -> str:
    """C++ source of all functions."""
    return "\n\n".join([each.source for each in loops])


def compiled(loops: Sequence[Loops]) -> list[tuple[int, Any]]:
    """Address of each function, and its argument: a table of the arrays' addresses."""
    library = load(NATIVE / "loops.cpp", source_of(loops), ("-ffp-contract=off",))
    ctypes.c_void_p.in_dll(library, "tt_threads").value = pool_address()
    found = []
    for each in loops:
        table = (ctypes.c_void_p * max(1, len(each.addresses)))(*each.addresses)
        found.append((ctypes.cast(getattr(library, each.name), ctypes.c_void_p).value or 0, table))
    return found


# ---- equal bits --------------------------------------------------------------------------------------------

_Key = tuple[str, Callable[..., Any], tuple[np.dtype[Any], ...]]  # expression, NumPy's function, dtypes
_exact: dict[_Key, bool] = {}


def _key(formula: Formula) -> _Key:
    return formula.expression, formula.ufunc, tuple([a.dtype for a in (formula.y, *formula.operands)])


def _exact_ones(formulas: Sequence[Formula | None]) -> list[bool]:
    """Whether each formula has NumPy's bits here: tried once for each op, on special and random values."""
    keys = [None if f is None else _key(f) for f in formulas]
    new = {key: _example(key) for key in keys if key is not None and key not in _exact}
    functions = [_loops([f], 0, f"tt_loops_{i}") for i, f in enumerate(new.values())]
    for (key, formula), (address, table) in zip(new.items(), compiled(functions), strict=True):
        ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)(address)(table)
        found, wanted = formula.y, silent().run(formula.ufunc, *formula.operands)
        equal = found.dtype == wanted.dtype and np.array_equal(found, wanted, equal_nan=found.dtype != bool)
        real = wanted == wanted
        _exact[key] = equal and np.array_equal(np.signbit(found[real]), np.signbit(wanted[real]))
    return [key is not None and _exact[key] for key in keys]


def _example(key: _Key) -> Formula:
    expression, ufunc, (result, *kinds) = key
    numbers = [0.0, 1.0, 0.5, 3.0, 1e-40, 1e30, np.inf, np.nan]
    pairs = np.meshgrid([*numbers, *[-x for x in numbers]], [*numbers, *[-x for x in numbers]])
    rng = np.random.default_rng(0)
    a, b = [np.concatenate([x.reshape(-1), rng.standard_normal(745)]) for x in pairs]
    operands = tuple([x.astype(kind) for x, kind in zip((a, b, b[::-1]), kinds, strict=False)])
    return Formula(expression, ufunc, np.empty(a.shape, result), operands, None, "")
