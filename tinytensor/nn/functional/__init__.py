"""torch.nn.functional: the names, arguments and results of PyTorch, composed of the functions of tt.

The main namespace follows the array API: `tt.cross_entropy` has the classes on the last axis, the function
here on axis 1. Late options are keywords, since PyTorch has obsolete arguments between them.
"""

from typing import TYPE_CHECKING

import tinytensor.api as _tt
from tinytensor.argument_errors import FUNCTIONAL as _FUNCTIONAL
from tinytensor.argument_errors import FUNCTIONS as _FUNCTIONS
from tinytensor.argument_errors import missing as _missing
from tinytensor.nn.functional.activation import *
from tinytensor.nn.functional.attention import *
from tinytensor.nn.functional.classification import *
from tinytensor.nn.functional.convolution import *
from tinytensor.nn.functional.distance import *
from tinytensor.nn.functional.layers import *
from tinytensor.nn.functional.normalization import *
from tinytensor.nn.functional.pooling import *
from tinytensor.nn.functional.ranking import *
from tinytensor.nn.functional.regression import *
from tinytensor.nn.functional.vision import *

if not TYPE_CHECKING:  # type checkers follow the star imports
    __all__ = sorted([name for name, it in globals().items() if name[0].isalpha() and callable(it)])

    def __getattr__(name):  # called only for missing names
        _missing(__name__, _FUNCTIONS | {ours: f"tt.{ours}" for ours in _tt.__all__} | _FUNCTIONAL, name)
