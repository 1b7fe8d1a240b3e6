"""Callbacks of the training loop: health, evaluation, checkpoints, samples."""

from collections.abc import Mapping
from typing import Any

from gpt.training.health import HealthProbe, health_table


class Callback:
    """Called by the training loop, `gpt.training.train.Trainer`; each method here does nothing."""

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.run, self.config = trainer, trainer.run, trainer.config

    def every(self, interval: int) -> bool:
        """Whether the last step ends an interval; never for 0."""
        return bool(interval) and self.run.step % interval == 0

    def watches(self, step: int) -> bool:
        """Whether `after_backward` sees the gradients of a step, which is then eager."""
        return False

    def after_backward(self) -> None:
        """Between gradients and update, if this or another callback watches."""

    def after_step(self, numbers: Mapping[str, Any]) -> None:
        """After each step, whose log values are given."""

    def between(self) -> None:
        """Between two steps; not counted as time of training."""

    def at_end(self) -> None:
        """After the last step."""


class Health(Callback):
    """Measures every `health_interval` steps how the parts of the model fare."""

    probe: HealthProbe | None = None
    line: dict[str, Any] | None = None  # the last one in the log

    def watches(self, step: int) -> bool:
        """Whether a step is measured."""
        return bool(step % self.config.health_interval == 0)

    def after_backward(self) -> None:
        """Take the norms of the gradients, and a copy of the weights."""
        self.probe = HealthProbe(self.run.model) if self.watches(self.run.step + 1) else None

    def after_step(self, numbers: Mapping[str, Any]) -> None:
        """Measure and log."""
        if self.probe is not None and numbers.get("grad_norm") is not None:
            self.line = {"step": self.run.step, "health": self.probe.measure(self.trainer.ids)}
            self.trainer.log.write(**self.line)
        self.probe = None

    def at_end(self) -> None:
        """Print the last measurement."""
        if self.line is not None:
            self.trainer.terminal.say(health_table(self.line))


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
            trainer.sampled = self.run.sample()
            trainer.log.write(step=self.run.step, sample=trainer.sampled)
            trainer.terminal.say(f"--- sample at step {self.run.step} ---\n{trainer.sampled}\n---")


def callbacks_of(trainer: Any) -> list[Callback]:
    """Callbacks that a config asks for, in the order in which they are called."""
    config = trainer.config
    wanted = ((Health, config.health_interval), (Checkpoints, True), (Samples, config.sample_interval))
    return [kind(trainer) for kind, asked in wanted if asked]
