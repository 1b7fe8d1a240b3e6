"""Datasets, orders of their samples, and batches of them, with the names of torch.utils.data."""

from typing import TYPE_CHECKING

from tinytensor.argument_errors import DATA as _DATA
from tinytensor.argument_errors import missing as _missing
from tinytensor.utils.data.collate import default_collate, default_convert
from tinytensor.utils.data.dataset import (
    ConcatDataset,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    random_split,
)
from tinytensor.utils.data.loader import DataLoader
from tinytensor.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    WeightedRandomSampler,
)

__all__ = [
    "BatchSampler",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "IterableDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "TensorDataset",
    "WeightedRandomSampler",
    "default_collate",
    "default_convert",
    "random_split",
]

if not TYPE_CHECKING:

    def __getattr__(name):  # called only for missing names
        _missing(__name__, _DATA, name)
