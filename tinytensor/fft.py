"""Fourier transforms: the names of the array API standard's extension `fft`, of its version 2024.12.

NumPy's pocketfft computes them, so on the CPU alone. There are no gradients of complex numbers, so a
transform of a tensor that requires grad is an error, also where the end of a chain is real, as in
irfft(rfft(x)).
"""

from typing import TYPE_CHECKING

from tinytensor.argument_checks import publish as _publish
from tinytensor.argument_errors import FFT as _FFT
from tinytensor.ops.fourier.frequencies import *
from tinytensor.ops.fourier.transforms import *

if not TYPE_CHECKING:  # type checkers follow the star imports
    _publish(globals(), _FFT)
