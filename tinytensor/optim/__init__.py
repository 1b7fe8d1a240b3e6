"""Optimizers, learning rates over time, and clipping of gradients."""

from typing import TYPE_CHECKING

from ..pytorch_names import OPTIM as _OPTIM
from ..pytorch_names import missing as _missing
from . import schedule
from .adam import Adam
from .adamw import AdamW
from .clip import clip_grad_norm_, clip_scale
from .grad_scaler import GradScaler
from .joint import Joint
from .muon import Muon, orthogonalize
from .optimizer import Optimizer
from .schedule import Scheduler
from .sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "GradScaler",
    "Joint",
    "Muon",
    "Optimizer",
    "Scheduler",
    "clip_grad_norm_",
    "clip_scale",
    "orthogonalize",
    "schedule",
]

if not TYPE_CHECKING:

    def __getattr__(name):  # only for names that are not there
        _missing(__name__, _OPTIM, name)
