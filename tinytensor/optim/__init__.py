"""Optimizers, learning rate schedules, gradient clipping and gradient scaling."""

from typing import TYPE_CHECKING

from tinytensor.argument_checks import publish as _publish
from tinytensor.argument_errors import OPTIM as _OPTIM
from tinytensor.optim import lr_scheduler as lr_scheduler
from tinytensor.optim import schedule as schedule
from tinytensor.optim.adamw import Adam as Adam
from tinytensor.optim.adamw import AdamW as AdamW
from tinytensor.optim.clip import clip_grad_norm_ as clip_grad_norm_
from tinytensor.optim.clip import clip_scale as clip_scale
from tinytensor.optim.combined import CombinedOptimizer as CombinedOptimizer
from tinytensor.optim.grad_scaler import GradScaler as GradScaler
from tinytensor.optim.muon import Muon as Muon
from tinytensor.optim.muon import orthogonalize as orthogonalize
from tinytensor.optim.optimizer import Optimizer as Optimizer
from tinytensor.optim.rmsprop import RMSprop as RMSprop
from tinytensor.optim.schedule import Scheduler as Scheduler
from tinytensor.optim.sgd import SGD as SGD

if not TYPE_CHECKING:
    _schedulers = {name: f"tt.optim.lr_scheduler.{name}" for name in lr_scheduler.__all__}
    _publish(globals(), _OPTIM | _schedulers, ("lr_scheduler", "schedule"))
