"""GPT training steps whose launches and traffic are counted, and their tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any
from unittest.mock import patch

import numpy as np

import tinytensor as tt
from benchmarks.contest.tables import aligned
from benchmarks.dry_gpu.gpu import DryGpu
from benchmarks.dry_gpu.record import Launch, Record
from benchmarks.dry_gpu.traffic import FAMILIES, family
from benchmarks.training import Training
from gpt.config import GPTConfig
from gpt.models.gpt import GPT
from gpt.presets import preset
from tinytensor import nn
from tinytensor.emulator.check.lower_bounds import CARDS

DTYPES = ("float32", "bfloat16")
CARD = next(card for card in CARDS if card.name.startswith("H100"))


@dataclass(frozen=True)
class Shape:
    """A model and its batch."""

    about: str
    config: GPTConfig
    batch: int

    @property
    def tokens(self) -> int:
        return self.batch * self.config.block_size


SHAPES = {
    "shakespeare": Shape(
        "10.7 M parameters, dropout 0.2, B 64, T 256",
        replace(preset("shakespeare-char")[0], vocab_size=65),
        64,
    ),
    "gpt2": Shape("GPT-2, 124 M parameters, B 16, T 1024", preset("gpt2")[0], 16),
}


def training(shape: Shape, dtype: str, *, captured: bool = False) -> Training:
    """Training on "cuda", without initial weights: their values do not matter here, and take seconds."""

    def untouched(weight: tt.Tensor, *_: Any, **__: Any) -> tt.Tensor:
        return weight

    with patch.multiple(nn.init, normal_=untouched, uniform_=untouched, zeros_=untouched):
        model = GPT(shape.config).to("cuda")
    size = (shape.batch, shape.config.block_size)
    ids = np.random.default_rng(0).integers(0, shape.config.vocab_size, size)
    return Training(model, repeat((ids, ids)), dtype=dtype, captured=captured)


def count(gpu: DryGpu, shape: Shape, dtype: str, *, captured: bool) -> tuple[Record, Record]:
    """What the model and its first three steps ask of a GPU (uploads of weights, compilations, the capture),
    and one step after that. The loss is read after each.
    """
    with gpu.counting() as start:
        steps = training(shape, dtype, captured=captured)
        for _ in range(3):
            steps.step().item()
    with gpu.counting() as step:
        steps.step().item()
    return start, step


def least_seconds(launch: Launch, dtype: str) -> float:
    """The least time on CARD: of the bytes, or of the operations, at the rates of its data sheet."""
    rate = CARD.half if dtype == "bfloat16" else CARD.single
    return max(launch.measured.nbytes / CARD.bandwidth, launch.measured.flops / rate)


def families(launches: Sequence[Launch], dtype: str) -> list[str]:
    """Launches, bytes, FLOPs and least time by family."""
    rows = [["", "launches", "GB", "GFLOP", "least ms"]]
    groups = [(name, [x for x in launches if family(x.name) == name]) for name, _ in FAMILIES]
    for name, members in [*groups, ("sum", list(launches))]:
        gigabytes = sum(launch.measured.nbytes for launch in members) / 1e9
        flops = sum(launch.measured.flops for launch in members) / 1e9
        least = sum(least_seconds(launch, dtype) for launch in members) * 1e3
        if members:
            rows.append([name, str(len(members)), f"{gigabytes:.2f}", f"{flops:,.0f}", f"{least:.2f}"])
    return aligned(rows, right=range(1, 5))


def calls(record: Record) -> list[str]:
    """What the host asks for: launches, copies, waits, allocations."""
    t = {name: f"{number:,}" for name, number in record.totals().items()}
    return [
        f"  launches {t['launches']}: {t['launch_calls']} by the host, others by {t['replays']} replays",
        f"  copies to the device {t['h2d']} ({t['h2d_bytes']} bytes), to the host {t['d2h']} "
        f"({t['d2h_bytes']} bytes), on the device {t['d2d']} ({t['d2d_bytes']} bytes); fills {t['memset']}",
        f"  waits of the host {t['waits']}, events {t['events']}, captures {t['captures']}",
        f"  allocations {t['allocations']} ({t['allocated_bytes']} bytes), of pinned memory {t['pinned']}",
        f"  compilations {t['compilations']}, of {t['instances']} kernels",
        f"  most memory held {record.peak / 1e9:.2f} GB",
    ]


def report(start: Record, step: Record, title: str, dtype: str) -> str:
    lines = [title, "", "counted: one step after the first three", *families(step.launches, dtype)]
    lines += [
        f"least ms: bytes and operations at the peaks of an {CARD.name} by its data sheet; nothing was timed"
    ]
    lines += ["", "one step asks for", *calls(step)]
    return "\n".join([*lines, "the model and its first three steps ask for", *calls(start)])
