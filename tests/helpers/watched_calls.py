"""Calls that together launch every kernel: rows of the op table, and what is larger than those.

What each call launches is recorded first (kernel_matrix.py): so the instances of a file are compiled at once,
and tests can say which kernels the calls leave out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import cast

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.models.gpt import GPT
from tests import FULL
from tests.helpers import op_functions as ops
from tests.helpers.drivers import gradients, outputs, placed
from tests.helpers.emulated import compile_together
from tests.helpers.kernel_matrix import Arguments, recording
from tests.helpers.layouts import layouts_of, prepared, tensors
from tinytensor.commands.larger_calls import LARGER, Tensors
from tinytensor.dispatch.launch import limited_blocks
from tinytensor.emulator.check.findings import Finding
from tinytensor.emulator.run.runtime import EmulatedRuntime
from tinytensor.op_table import ROWS, Row
from tinytensor.op_table.row import COMPLEX, FLOATS
from tinytensor.runtime import runtime_of
from tinytensor.runtime.signature import instance

UNIT = 40  # instances that are compiled at once


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


def trained(dtype: str, device: str) -> Tensors:
    """One step of a small GPT: the loss, and the parameters after it."""
    tt.manual_seed(3)
    config = GPTConfig(vocab_size=37, block_size=21, n_layer=1, n_head=2, n_embd=24, dropout=0.1)
    model = GPT(config).to(device).to(getattr(tt, dtype))
    params = list(model.parameters())
    optimizer = tt.optim.AdamW(params, lr=1e-3)
    tokens = tt.arange(3 * 22, device=device).reshape(3, 22) * 7 % 37
    loss = ops.cross_entropy(model(tokens[:, :-1]).reshape(-1, 37), tokens[:, 1:].reshape(-1))
    loss.backward()
    tt.optim.clip_grad_norm_(params, 0.5)
    optimizer.step()
    return [loss, *params]


ROWS_OF_BLOCKS = ("softmax", "losses", "layer_norm", "rms_norm")
MORE: dict[str, tuple[str, ...]] = {  # dtypes that `check` leaves out
    **dict.fromkeys(ROWS_OF_BLOCKS, ("bfloat16",)),
    "sort": ("int64",),
    "contiguous": ("uint8",),
    "matmul": ("float16", "float64", "int32"),
    "attention of 64": ("float32", "float16"),
}
ALL: dict[str, tuple[str, ...]] = {
    "powers": ("int64", "int32", "int16", "int8", "uint8"),
    "sort": (*FLOATS, "int64", "int16", "uint8"),
    "contiguous": ("float64", "float32", "float16", "uint8"),
    "matmul": (*FLOATS, "int64", "int32", "int16", "int8", "uint8"),
    **dict.fromkeys(
        ("optimizer", "autocast", "matmul in tf32", "matmul in 16 bits", "add_norm", "norm of doubles"), ()
    ),
    **dict.fromkeys(("matmul by warpgroups", "attention by warpgroups"), ()),
}


def limited(most: int, run: Callable[..., Tensors], *arguments: str) -> Tensors:
    """In grids of at most so many blocks, which then have several rows or tiles each."""
    with limited_blocks(most):
        return run(*arguments)


def larger() -> Iterator[Call]:
    """What launches the kernels that small tensors do not need."""
    for call in LARGER:
        light = (*call.dtypes, *MORE.get(call.name, ()))
        for dtype in (ALL.get(call.name, FLOATS) if FULL else ()) or light:
            yield Call(f"larger {call.name}-{dtype}", partial(call.run, dtype))
            loops = not call.files[0].startswith("attention")  # which has one block for each tile
            for most in (1, 2) if loops and (FULL or dtype == call.dtypes[0]) else ():
                yield Call(f"larger {call.name}-{dtype}-{most}", partial(limited, most, call.run, dtype))
    for dtype in FLOATS if FULL else ("float32", "bfloat16"):
        yield Call(f"larger gpt-{dtype}", partial(trained, dtype))


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
    return {call.name: recorded(call) for call in CALLS}


def recorded(call: Call) -> Plan:
    """What a call would launch; it computes nothing."""
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


def prepare(call: Call, device: str) -> None:
    """Compile what a call needs."""
    for stem, wanted in plans()[call.name].instances.items():
        for one in wanted:
            compile_together(stem, units(stem)[one], device)


def prepare_all(calls: Iterable[Call], device: str) -> None:
    """Compile what other calls need, the instances of each file at once."""
    found: dict[str, set[Instance]] = {}
    for call in calls:
        for stem, wanted in recorded(call).instances.items():
            found.setdefault(stem, set()).update(wanted)
    for stem, instances in found.items():
        compile_together(stem, tuple(sorted(instances, key=str)), device)


def watch(call: Call) -> tuple[list[Finding], Kernels]:
    """Run a call on the device `checked`: what is found, and the kernels that ran."""
    prepare(call, "checked")
    with tt.cuda.check(blocks=0) as report:
        call.run("checked")
    return report.findings, {(k.library.name.partition("-")[0], k.kernel) for k in report.kernels}
