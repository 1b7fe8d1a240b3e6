"""Calls that together launch every kernel: rows of the op table, and what is larger than those.

What each call launches is recorded first (kernel_matrix.py): so the instances of a file are compiled at once,
and tests can say which kernels the calls leave out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import cast

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.models.gpt import GPT
from tests.helpers.drivers import gradients, outputs, placed
from tests.helpers.kernel_matrix import Arguments, recording
from tests.helpers.layouts import layouts_of, prepared, tensors
from tests.helpers.on_emulated import normal
from tinytensor.dispatch.launch import Launch, view_of
from tinytensor.op_table import ROWS, Row
from tinytensor.op_table.row import COMPLEX, FLOATS
from tinytensor.ops.matmul import gemm
from tinytensor.runtime import runtime_of
from tinytensor.runtime.checked.findings import Finding
from tinytensor.runtime.emulated.runtime import EmulatedRuntime
from tinytensor.runtime.signature import instance

FULL = os.environ.get("TINYTENSOR_FULL") == "1"
UNIT = 40  # instances that are compiled at once
Tensors = list[tt.Tensor]


def emulator(device: str) -> EmulatedRuntime:
    """The runtime of `emulated` or `checked`."""
    return cast(EmulatedRuntime, runtime_of(tt.Device(device)))


@dataclass(frozen=True)
class Call:
    """Something that launches kernels.

    Attributes:
        name: says what.
        run: does it on a device, from the same numbers each time, and returns results and gradients.
    """

    name: str
    run: Callable[[str], Tensors]


# ---- rows --------------------------------------------------------------------------------------------------


def run_row(row: Row, dtype: str, layout: str, device: str) -> Tensors:
    """What a row returns, and its gradients."""
    host = tensors(row, prepared(row, dtype, layout), dtype, layout)
    results = outputs(row, [placed(x, device) for x in host])
    if row.grad and dtype in FLOATS:
        results += gradients(row, [placed(x, device) for x in host], 1)
    return results


def of_rows() -> Iterator[Call]:
    """Every row in one dtype, packed and mixed; every third one in another dtype, too; with FULL in all."""
    for at, row in enumerate(row for row in ROWS if row.on_devices()):
        dtypes = [d for d in row.dtypes if d not in COMPLEX]
        main = "float32" if "float32" in dtypes else dtypes[0] if dtypes else ""
        for dtype in dtypes:
            for layout in layouts_of(row):
                sampled = dtype == main and layout in ("packed", "mixed")
                further = at % 3 == 0 and dtype == dtypes[at // 3 % len(dtypes)]
                sampled = sampled or (layout == "packed" and further)
                if FULL or sampled:
                    yield Call(f"{row.name}-{dtype}-{layout}", partial(run_row, row, dtype, layout))


# ---- what is larger ----------------------------------------------------------------------------------------


def drawn(device: str, dtype: str, *shape: int, seed: int = 0) -> tt.Tensor:
    """Normal numbers; those of integers lie between -50 and 50, or 0 and 50."""
    values = normal(*shape, seed=seed)
    if dtype not in FLOATS:
        values = (values * 20).round().clip(0 if dtype.startswith("uint") else -50, 50)
    return tt.tensor(values).astype(dtype).to(device)


def with_gradients(call: Callable[..., tt.Tensor], *inputs: tt.Tensor) -> Tensors:
    """The result of a call, and the gradients of all inputs."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    y = call(*leaves)
    grad = drawn(str(y.device), y.dtype.name, *y.shape, seed=9)
    return [y, *[g for g in tt.grad(y, leaves, grad) if g is not None]]


def reduced(name: str, dtype: str, device: str) -> Tensors:
    """Several blocks for one row, and for columns."""
    call = getattr(tt, name)
    return [call(drawn(device, dtype, 8201)), call(drawn(device, dtype, 9001, 3), axis=0)]


def scanned(name: str, dtype: str, device: str) -> Tensors:
    """Several chunks of a line: along memory, and across."""
    call, size = getattr(tt, name), 0.01
    along, across = drawn(device, dtype, 8201), drawn(device, dtype, 301, 3)
    if name == "cumulative_prod":  # of numbers near 1
        along, across = along * size + 1.0, across * size + 1.0
    return [*with_gradients(call, along), *with_gradients(partial(call, axis=0), across)]


def normalized(dtype: str, device: str) -> Tensors:
    """Rows that several warps share, with and without room for them in registers; columns."""
    results = []
    for shape in [(3, 2101), (1, 16_501)]:
        x, weight = drawn(device, dtype, *shape), drawn(device, dtype, shape[1], seed=1)
        results += [*with_gradients(tt.softmax, x), *with_gradients(tt.log_softmax, x)]
        results += [
            *with_gradients(tt.layer_norm, x, weight, weight),
            *with_gradients(tt.rms_norm, x, weight),
        ]
        classes = tt.arange(shape[0], device=device) * 700
        results += with_gradients(lambda x, classes=classes: tt.cross_entropy(x, classes), x)
    return results + with_gradients(lambda x: tt.softmax(x, 0), drawn(device, dtype, 70, 5))


def normalized_whole(dtype: str, device: str) -> Tensors:
    """Rows that threads hold in whole vectors."""
    x, weight = drawn(device, dtype, 70, 256), drawn(device, dtype, 256, seed=1)
    return [*with_gradients(tt.layer_norm, x, weight, weight), *with_gradients(tt.rms_norm, x, weight)]


def rounded(dtype: str, device: str) -> Tensors:
    """Parameters that autocast rounds."""
    with tt.autocast(getattr(tt, dtype)):
        return with_gradients(tt.matmul, drawn(device, "float32", 5, 7), drawn(device, "float32", 7, 9))


def raised(dtype: str, device: str) -> Tensors:
    """Integers to the power of integers: negative exponents are looked for first."""
    x = drawn(device, dtype, 3, 4)
    return [x ** tt.abs(x)]


def found_by_mask(dtype: str, device: str) -> Tensors:
    """More elements than one block counts."""
    x = drawn(device, dtype, 9001)
    return [*tt.nonzero(x > 1.0), *with_gradients(lambda x: x[x > 1.0], x)]


def sorted_in_tiles(dtype: str, device: str) -> Tensors:
    """More than one block can sort."""
    x = drawn(device, dtype, 2, 2501)
    return [tt.sort(x), tt.argsort(x, descending=True), *tt.topk(x, 5), tt.sort(x.T, axis=0)]


def picked_often(dtype: str, device: str) -> Tensors:
    """So many picks of one row that its gradient is added up in chunks."""
    picks = tt.arange(150, device=device) // 70
    return with_gradients(lambda x: x[picks], drawn(device, dtype, 5, 8))


def gathered(dtype: str, device: str) -> Tensors:
    """A gradient along an axis that no block holds at once."""
    index = tt.arange(3 * 2500, device=device).reshape(3, 2500) * 7 % 9001
    return with_gradients(lambda x: tt.take_along_axis(x, index, 1), drawn(device, dtype, 3, 9001))


def transposed(dtype: str, device: str) -> Tensors:
    """Tiles with ragged edges."""
    x = drawn(device, dtype, 2, 37, 3, 45)
    return [x.mT.contiguous(), x.transpose(1, 3).contiguous(), drawn(device, dtype, 70, 9).T.contiguous()]


def multiplied(dtype: str, device: str) -> Tensors:
    """Products no size of which is a multiple of a tile; parts of a long inner axis; few rows, or one."""
    results = []
    sizes = [(37, 45, 70), (135, 21, 131), (20, 600, 30), (5, 7, 9), (1, 4201, 5), (1, 77, 300)]
    for rows, inner, columns in sizes:
        a, b = drawn(device, dtype, rows, inner), drawn(device, dtype, inner, columns, seed=1)
        results += [a @ b, a @ b.T.contiguous().T, a.T.contiguous().T @ b]
    batch = drawn(device, dtype, 3, 1, 17, 9), drawn(device, dtype, 2, 9, 33, seed=1)
    results.append(batch[0] @ batch[1])
    if dtype in FLOATS:
        weight, bias = drawn(device, dtype, 45, 70, seed=1), drawn(device, dtype, 70, seed=2)
        results += with_gradients(tt.linear, drawn(device, dtype, 37, 45), weight, bias)
    return results


def multiplied_in_tf32(device: str) -> Tensors:
    """float32 on tensor cores."""
    before, tt.config.tf32 = tt.config.tf32, True
    try:
        return multiplied("float32", device)
    finally:
        tt.config.tf32 = before


def multiplied_by_warpgroups(device: str) -> Tensors:
    """The kernel of compute capability 9.0, which the emulated devices do not choose."""
    a, b = drawn(device, "bfloat16", 72, 304), drawn(device, "bfloat16", 304, 272, seed=1)
    results = []
    for x in (a, a.T.contiguous().T):
        p = gemm.product_of(x.layout, b.layout, False, False)
        plan = gemm.plan_of(p, x.dtype, gemm.by_warpgroups(p, x.dtype, 1))
        results.append(tt.empty(72, 272, dtype=x.dtype, device=device))
        launch = Launch(runtime_of(x.device), "matmul")
        gemm.start(launch, plan, view_of(results[-1]), (view_of(x), view_of(b), None))
    return results


def attended(size: int, dtype: str, device: str) -> Tensors:
    """Several tiles of queries and keys with ragged edges, with and without a mask; no query; a short one."""
    attention = tt.scaled_dot_product_attention
    q, k, v = (drawn(device, dtype, 1, 1, n, size, seed=i) for i, n in enumerate((37, 70, 70)))
    mask = drawn(device, "float32", 37, 70, seed=3) > -0.5
    results = with_gradients(partial(attention, mask=mask), q, k, v)
    results += with_gradients(attention, q[:, :, :0], k, v)
    for tokens, dropout in ((69, 0.2), (69, 0.0), (5, 0.0)):
        qkv = drawn(device, dtype, 1, tokens, 3 * size)
        packed = partial(tt.causal_self_attention, n_head=1, dropout=dropout)
        results += with_gradients(lambda x, packed=packed: packed(x, generator=tt.Generator(7)), qkv)
    return results


def drawn_at_random(dtype: str, device: str) -> Tensors:
    """Draws with blocks that are not full, and from more classes than one block holds."""
    generator, p = tt.Generator(7), tt.abs(drawn(device, dtype, 2, 2100)).clip(0.1, 0.9)
    return [
        tt.rand(1003, dtype=dtype, device=device, generator=generator),
        tt.randn(1003, dtype=dtype, device=device, generator=generator),
        tt.multinomial(p, 600, replacement=True, generator=generator),
        *[tt.multinomial(p, n, replacement=False, generator=generator) for n in (5, 600)],
    ]


def trained(dtype: str, device: str) -> Tensors:
    """One step of a small GPT: the loss, and the parameters after it."""
    tt.manual_seed(3)
    config = GPTConfig(vocab_size=37, block_size=21, n_layer=1, n_head=2, n_embd=24, dropout=0.1)
    model = GPT(config).to(device).to(getattr(tt, dtype))
    params = list(model.parameters())
    optimizer = tt.optim.AdamW(params, lr=1e-3)
    tokens = tt.arange(3 * 22, device=device).reshape(3, 22) * 7 % 37
    loss = tt.cross_entropy(model(tokens[:, :-1]).reshape(-1, 37), tokens[:, 1:].reshape(-1))
    loss.backward()
    tt.optim.clip_grad_norm_(params, 0.5)
    optimizer.step()
    return [loss, *params]


def larger() -> Iterator[Call]:
    """What launches the kernels that small tensors do not need."""
    calls: list[tuple[str, Callable[..., Tensors], tuple[str, ...]]] = [
        *[(n, partial(reduced, n), ("float32",)) for n in ("sum", "max", "argmin", "any", "var")],
        *[(n, partial(scanned, n), ("float32",)) for n in ("cumulative_sum", "cumulative_prod")],
        ("rows", normalized, ("float32", "bfloat16")),
        ("whole rows", normalized_whole, ("float32",)),
        ("autocast", rounded, ("bfloat16",)),
        ("mask", found_by_mask, ("float32",)),
        ("sort", sorted_in_tiles, ("float32", "int64")),
        ("getitem", picked_often, ("float32",)),
        ("gather", gathered, ("float32",)),
        ("contiguous", transposed, ("float32", "uint8")),
        ("matmul", multiplied, ("float32", "float16", "bfloat16", "float64", "int32")),
        ("attention of 16", partial(attended, 16), ("float32", "bfloat16")),
        ("attention of 64", partial(attended, 60), ("float32", "float16")),
        ("attention of 128", partial(attended, 100), ("bfloat16",)),
        ("powers", raised, ("int64",)),
        ("random", drawn_at_random, ("float32", "float64")),
        ("gpt", trained, ("float32", "bfloat16")),
    ]
    every: dict[str, tuple[str, ...]] = {
        "autocast": ("float16", "bfloat16"),
        "powers": ("int64", "int32", "int16", "int8", "uint8"),
        "sort": (*FLOATS, "int64", "int16", "uint8"),
        "contiguous": ("float64", "float32", "float16", "uint8"),
        "matmul": (*FLOATS, "int64", "int32", "int16", "int8", "uint8"),
    }
    for name, run, dtypes in calls:
        for dtype in every.get(name, FLOATS) if FULL else dtypes:
            yield Call(f"larger {name}-{dtype}", partial(run, dtype))
    yield Call("larger matmul-tf32", multiplied_in_tf32)
    yield Call("larger matmul-hopper", multiplied_by_warpgroups)


CALLS = [*of_rows(), *larger()]


# ---- which kernels they launch -----------------------------------------------------------------------------

Instance = tuple[str, Arguments]  # a kernel and its template arguments
Kernels = set[tuple[str, str]]  # file and name of an instance


@dataclass
class Plan:
    """What a call launches.

    Attributes:
        instances: by file.
        is_sure: whether no number that is computed on the way may change them.
    """

    instances: dict[str, set[Instance]]
    is_sure: bool

    @property
    def kernels(self) -> Kernels:
        """The same by their names."""
        return {(stem, instance(*i)) for stem, found in self.instances.items() for i in found}


@cache
def plans() -> dict[str, Plan]:
    """The plan of each call."""
    return {call.name: _recorded(call) for call in CALLS}


def _recorded(call: Call) -> Plan:
    real = emulator("emulated")
    found: dict[str, set[Instance]] = {}
    with recording(real.architecture) as recorder:
        recorder.multiprocessors = real.multiprocessors
        recorder.run("", partial(call.run, "cuda"))
        for stem, name, arguments in recorder.launched:
            found.setdefault(stem, set()).add((name, arguments))
    return Plan(found, not recorder.was_read)


@cache
def units(stem: str) -> dict[Instance, tuple[Instance, ...]]:
    """The instances of a file that the calls launch, each with those that it is compiled with: together that
    is much faster than one by one.
    """
    found = set().union(*[plan.instances.get(stem, set()) for plan in plans().values()])
    ordered = sorted(found, key=str)
    parts = [tuple(ordered[i : i + UNIT]) for i in range(0, len(ordered), UNIT)]
    return {one: part for part in parts for one in part}


@cache
def compiled(stem: str, part: tuple[Instance, ...], device: str) -> None:
    """Compile instances of a file."""
    emulator(device).kernel(stem, part[0][0], *part[0][1], together=part)


def prepare(call: Call, device: str) -> None:
    """Compile what a call needs."""
    for stem, wanted in plans()[call.name].instances.items():
        for one in wanted:
            compiled(stem, units(stem)[one], device)


def prepare_all(calls: Iterable[Call], device: str) -> None:
    """Compile what other calls need, the instances of each file at once."""
    found: dict[str, set[Instance]] = {}
    for call in calls:
        for stem, wanted in _recorded(call).instances.items():
            found.setdefault(stem, set()).update(wanted)
    for stem, instances in found.items():
        compiled(stem, tuple(sorted(instances, key=str)), device)


def watch(call: Call) -> tuple[list[Finding], Kernels]:
    """Run a call on the device `checked`: what is found, and the kernels that ran."""
    prepare(call, "checked")
    with tt.cuda.check(blocks=0) as report:
        call.run("checked")
    return report.findings, {(k.library.name.partition("-")[0], k.kernel) for k in report.kernels}
