"""Optimizers, learning rate schedules, gradient clipping and gradient scaling."""

from typing import TYPE_CHECKING

from tinytensor.argument_errors import OPTIM as _OPTIM
from tinytensor.argument_errors import missing as _missing
from tinytensor.optim import lr_scheduler, schedule
from tinytensor.optim.adamw import Adam, AdamW
from tinytensor.optim.clip import clip_grad_norm_, clip_scale
from tinytensor.optim.grad_scaler import GradScaler
from tinytensor.optim.joint import Joint
from tinytensor.optim.muon import Muon, orthogonalize
from tinytensor.optim.optimizer import Optimizer
from tinytensor.optim.rmsprop import RMSprop
from tinytensor.optim.schedule import Scheduler
from tinytensor.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "GradScaler",
    "Joint",
    "Muon",
    "Optimizer",
    "RMSprop",
    "Scheduler",
    "clip_grad_norm_",
    "clip_scale",
    "lr_scheduler",
    "orthogonalize",
    "schedule",
]

if not TYPE_CHECKING:

    def __getattr__(name):  # called only for missing names
        _missing(__name__, _OPTIM | {s: f"tt.optim.lr_scheduler.{s}" for s in lr_scheduler.__all__}, name)
