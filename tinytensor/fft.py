"""Fourier transforms: the names of the array API standard's extension `fft`, of its version 2024.12.

NumPy's pocketfft computes them, so on the CPU alone. There are no gradients of complex numbers, so a
transform of a tensor that requires grad is an error, also where the end of a chain is real, as in
irfft(rfft(x)).
"""

from typing import TYPE_CHECKING

from tinytensor.argument_checks import with_argument_errors as _checked
from tinytensor.argument_errors import FFT as _FFT
from tinytensor.argument_errors import missing as _missing
from tinytensor.ops.fourier.frequencies import *
from tinytensor.ops.fourier.transforms import *

if not TYPE_CHECKING:  # type checkers follow the star imports
    __all__ = sorted([name for name in globals() if name[0].isalpha() and name != "TYPE_CHECKING"])
    for _name in __all__:  # clear errors for wrong arguments: see argument_checks.py
        globals()[_name] = _checked(globals()[_name], module=__name__)

    def __getattr__(name):  # called only for missing names
        _missing(__name__, _FFT, name)
