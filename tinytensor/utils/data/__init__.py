"""Datasets, orders of their samples, and batches of them, with the names of torch.utils.data."""

from typing import TYPE_CHECKING

from tinytensor.argument_checks import publish as _publish
from tinytensor.argument_errors import DATA as _DATA
from tinytensor.utils.data.collate import *
from tinytensor.utils.data.dataset import *
from tinytensor.utils.data.loader import *
from tinytensor.utils.data.sampler import *

if not TYPE_CHECKING:
    _publish(globals(), _DATA)
