"""Utilities around training: datasets and loading of batches."""

from typing import TYPE_CHECKING

from tinytensor.argument_errors import UTILS as _UTILS
from tinytensor.argument_errors import missing as _missing
from tinytensor.utils import data as data

__all__ = ["data"]

if not TYPE_CHECKING:

    def __getattr__(name):  # called only for missing names
        _missing(__name__, _UTILS, name)
