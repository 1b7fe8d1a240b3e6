"""Training steps of GPTs on the dry GPU: what is counted, and what the model of a card is put over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import numpy as np

import tinytensor as tt
from benchmarks.dry_gpu.gpu import DryGpu
from benchmarks.dry_gpu.record import Record
from gpt.config import GPTConfig
from gpt.models.gpt import GPT
from gpt.presets import preset
from tinytensor import nn
from tinytensor.optim import AdamW, clip_scale

DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Shape:
    """A model and its batch."""

    about: str
    config: GPTConfig
    batch: int

    @property
    def tokens(self) -> int:
        """Tokens of one step."""
        return self.batch * self.config.block_size


SHAPES = {
    "shakespeare": Shape(
        "10.7 M parameters, dropout 0.2, B 64, T 256",
        replace(preset("shakespeare-char")[0], vocab_size=65),
        64,
    ),
    "gpt2": Shape("GPT-2, 124 M parameters, B 16, T 1024", preset("gpt2")[0], 16),
}


def empty_model(config: GPTConfig) -> GPT:
    """A GPT on "cuda" without initial weights: their values do not matter here, and take seconds."""

    def untouched(weight: tt.Tensor, *_: Any, **__: Any) -> tt.Tensor:
        return weight

    with patch.multiple(nn.init, normal_=untouched, uniform_=untouched, zeros_=untouched):
        return GPT(config).to("cuda")


class Training:
    """A GPT on "cuda", and its training step: forward, backward, clipping, AdamW, and the loss on the host.

    Args:
        shape: model and batch.
        dtype: of products and attention.
        captured: replay the step as a graph; it is captured at the second call.
    """

    def __init__(self, shape: Shape, dtype: str = "float32", *, captured: bool = False) -> None:
        self.dtype, self.captured = dtype, captured
        self.model = empty_model(shape.config).train()
        self.optimizer = AdamW(self.model.parameter_groups(0.1), lr=1e-3)
        size = (shape.batch, shape.config.block_size)
        self.batch = np.random.default_rng(0).integers(0, shape.config.vocab_size, size)
        self.inputs, self.targets = [tt.from_numpy(self.batch).to("cuda") for _ in range(2)]
        self._graph: tt.CapturedGraph | None = None
        self._steps = 0

    def step(self) -> float:
        """One step; returns the loss, which is 0 on the dry GPU."""
        self._steps += 1
        if self._graph is None and self.captured and self._steps == 2:
            self._graph = tt.capture(self._compute, device="cuda", warmup=0)
        for tensor in (self.inputs, self.targets):
            tensor.copy_(tt.from_numpy(self.batch))
        return float(self._compute() if self._graph is None else self._graph.replay())

    def _compute(self) -> tt.Tensor:
        self.optimizer.zero_grad()
        with tt.autocast(tt.bfloat16, enabled=self.dtype == "bfloat16"):
            loss: tt.Tensor = self.model.loss(self.inputs, self.targets)
        loss.backward()
        _, scale = clip_scale(self.model.parameters(), 1.0)
        self.optimizer.step(scale)
        return loss


@dataclass
class Counted:
    """What a training step asks of a GPU.

    Attributes:
        start: the model, and its first three steps: uploads of weights, compilations, the capture.
        step: one step after that.
    """

    start: Record
    step: Record


def count(gpu: DryGpu, shape: Shape, dtype: str, *, captured: bool) -> Counted:
    """Count the beginning of a training, and one of its steps."""
    with gpu.counting() as start:
        training = Training(shape, dtype, captured=captured)
        for _ in range(3):
            training.step()
    with gpu.counting() as step:
        training.step()
    return Counted(start, step)
