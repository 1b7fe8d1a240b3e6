"""Utilities around training: datasets and loading of batches."""

from typing import TYPE_CHECKING

from tinytensor.argument_checks import publish as _publish
from tinytensor.argument_errors import UTILS as _UTILS
from tinytensor.utils import data as data

if not TYPE_CHECKING:
    _publish(globals(), _UTILS, ("data",))
