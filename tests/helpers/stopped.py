"""What the tests of resuming share: a run that is stopped on its way, as Ctrl-C would."""

import signal
from typing import Any

import tinytensor as tt
from gpt.training.train import Trainer

__all__ = ["train_until"]


def train_until(trainer: Trainer, last: int) -> None:
    """Train, and stop after step `last`; random numbers that come next are others than in one go."""
    step = trainer.step

    def step_and_stop() -> dict[str, Any]:
        numbers = step()
        trainer.stop_asked = signal.SIGINT if numbers["step"] == last else 0
        return numbers

    trainer.step = step_and_stop
    trainer.train()
    assert trainer.run.step == last
    tt.manual_seed(999)  # whatever happens in between
