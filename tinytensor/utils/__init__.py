"""Utilities around training: datasets and loading of batches."""

from tinytensor.utils import data as data

__all__ = ["data"]
