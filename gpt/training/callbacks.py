"""What a training loop does beside its steps: skips spikes, measures health, averages, saves, samples."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from math import isfinite
from typing import Any, Protocol

import tinytensor as tt
from gpt.config import TrainConfig
from gpt.training.health import HealthProbe, health_table
from gpt.training.run import Run
from gpt.training.run_log import RunLog
from gpt.training.steps import StepResults
from gpt.training.terminal import Terminal


class Loop(Protocol):
    """What callbacks see of a training loop: see `gpt.training.train.Trainer`."""

    run: Run
    config: TrainConfig
    log: RunLog
    terminal: Terminal
    results: StepResults
    ids: tt.Tensor
    leads: bool
    sampled: str

    def precision(self) -> AbstractContextManager[Any]: ...  # noqa: D102
    def sample(self) -> str: ...  # noqa: D102
    def save(self, *, best: bool) -> None: ...  # noqa: D102


class Callback:
    """Called by the training loop; each method here does nothing.

    Attributes:
        decides: whether `after_backward` sees every step, and may leave it out.
    """

    decides = False

    def __init__(self, trainer: Loop) -> None:
        self.trainer, self.run, self.config = trainer, trainer.run, trainer.config

    def every(self, interval: int) -> bool:
        """Whether the last step ends an interval; never for 0."""
        return bool(interval) and self.run.step % interval == 0

    def watches(self, step: int) -> bool:
        """Whether `after_backward` sees the gradients of a step, which is then eager."""
        return False

    def after_backward(self, loss: float, norm: float) -> bool:
        """Between gradients and update, if this or another callback watches: whether the step is taken."""
        return True

    def after_update(self) -> None:
        """After each update of the weights. A captured step has it in its graph."""

    def after_step(self, numbers: Mapping[str, Any]) -> Mapping[str, Any]:
        """After each step, whose log values are given; returns further ones."""
        return {}

    def between(self) -> None:
        """Between two steps; not counted as time of training."""

    def at_end(self) -> None:
        """After the last step."""


class SkipSpikes(Callback):
    """Leaves out steps that `SpikeGuard` does not accept, and logs them."""

    decides = True
    spike: tuple[float, float] | None = None  # loss and norm of the last step, if it was left out

    def after_backward(self, loss: float, norm: float) -> bool:
        """False for a spike; a norm that is not finite is none, but left to the loss scale."""
        assert self.run.spikes is not None
        self.spike = (loss, norm) if isfinite(norm) and not self.run.spikes.accepts(loss, norm) else None
        return self.spike is None

    def after_step(self, numbers: Mapping[str, Any]) -> Mapping[str, Any]:
        """Log a step that was left out, and the number of them so far."""
        assert self.run.spikes is not None
        if self.spike is not None:
            loss, norm = self.spike
            self.trainer.log.write(step=self.run.step, skipped_loss=loss, skipped_grad_norm=norm)
            values = f"loss {loss:.4f}, |g| {norm:.2f}"
            self.trainer.terminal.say(
                f"step {self.run.step:>6}  left out: {values} lie far above the last ones"
            )
        return {"skipped": self.run.spikes.skipped}


class Health(Callback):
    """Measures every `health_interval` steps how the parts of the model fare."""

    probe: HealthProbe | None = None
    line: dict[str, Any] | None = None  # the last one in the log

    def watches(self, step: int) -> bool:
        """Whether a step is measured."""
        return step % self.config.health_interval == 0

    def after_backward(self, loss: float, norm: float) -> bool:
        """Take the norms of the gradients, and a copy of the weights."""
        self.probe = HealthProbe(self.run.model) if self.watches(self.run.step + 1) else None
        return True

    def after_step(self, numbers: Mapping[str, Any]) -> Mapping[str, Any]:
        """Measure and log."""
        if self.probe is not None and numbers.get("grad_norm") is not None:
            self.line = {"step": self.run.step, "health": self.probe.measure(self.trainer.ids)}
            self.trainer.log.write(**self.line)
        self.probe = None
        return {}

    def at_end(self) -> None:
        """Print the last measurement."""
        if self.line is not None:
            self.trainer.terminal.say(health_table(self.line))


class MovingAverage(Callback):
    """Updates the exponential moving average of the weights. The first steps use a smaller decay, to forget
    the initial weights sooner.
    """

    def after_update(self) -> None:
        """Move the average towards the weights."""
        run = self.run
        assert run.average is not None
        with tt.no_grad():
            tt.before_replay(lambda: run.share.copy_(self._share()))
            for mean, p in zip(run.average.parameters(), run.model.parameters(), strict=True):
                mean += (p - mean) * run.share

    def _share(self) -> float:
        return 1 - min(self.config.ema_decay, (1 + self.run.step) / (10 + self.run.step))


class Checkpoints(Callback):
    """Evaluates every `eval_interval` steps, and saves then and every `checkpoint_interval` steps."""

    def between(self) -> None:
        """Evaluate and save, if it is time; always after the last step."""
        run, trainer = self.run, self.trainer
        evaluating = run.step == self.config.max_steps or self.every(self.config.eval_interval)
        if not (evaluating or self.every(self.config.checkpoint_interval)):
            return
        trainer.results.check()
        best = False
        if evaluating and run.has_validation:
            with trainer.precision():
                val_loss = run.evaluate()
            trainer.results.require_finite("validation loss", val_loss, run.step)
            best = run.best_loss is None or val_loss < run.best_loss
            run.best_loss = val_loss if best else run.best_loss
            trainer.log.write(step=run.step, val_loss=val_loss)
            trainer.terminal.show({"step": run.step, "val_loss": val_loss})
        trainer.save(best=best)


class Samples(Callback):
    """Writes a text every `sample_interval` steps."""

    def between(self) -> None:
        """Sample, if it is time."""
        trainer = self.trainer
        if self.every(self.config.sample_interval) and trainer.leads and self.run.tokenizer is not None:
            trainer.results.check()
            trainer.sampled = trainer.sample()
            trainer.log.write(step=self.run.step, sample=trainer.sampled)
            trainer.terminal.say(f"--- sample at step {self.run.step} ---\n{trainer.sampled}\n---")


def callbacks_of(trainer: Loop) -> list[Callback]:
    """Callbacks that a config asks for, in the order in which they are called."""
    config, run = trainer.config, trainer.run
    wanted = (
        (SkipSpikes, run.spikes is not None),
        (Health, config.health_interval > 0),
        (MovingAverage, run.average is not None),
        (Checkpoints, True),
        (Samples, config.sample_interval > 0),
    )
    return [kind(trainer) for kind, asked in wanted if asked]
