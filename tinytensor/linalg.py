"""Linear algebra: the names of the array API standard's extension `linalg`, of its version 2024.12.

Factorizations and equations are computed by the LAPACK of NumPy, and on a GPU by cuSOLVER (extra `vendor13`),
through CuPy: not in 16-bit dtypes, and with an ArgumentError where LAPACK does not converge, such as for nan.
Products, norms of sums and diagonals are computed by kernels. Leading axes are batches. float32 and float64
have first and second derivatives; complex numbers have values alone, on the CPU.
"""

from typing import TYPE_CHECKING

from tinytensor.api import matmul as matmul
from tinytensor.api import matrix_transpose as matrix_transpose
from tinytensor.api import outer as outer
from tinytensor.api import tensordot as tensordot
from tinytensor.api import vecdot as vecdot
from tinytensor.argument_checks import with_argument_errors as _checked
from tinytensor.argument_errors import LINALG as _LINALG
from tinytensor.argument_errors import missing as _missing
from tinytensor.ops.linalg.determinant import *
from tinytensor.ops.linalg.factors import *
from tinytensor.ops.linalg.norms import *
from tinytensor.ops.linalg.products import *
from tinytensor.ops.linalg.solving import *
from tinytensor.ops.linalg.spectral import *

if not TYPE_CHECKING:  # type checkers follow the star imports
    __all__ = sorted([name for name in globals() if name[0].isalpha() and name != "TYPE_CHECKING"])
    for _name in __all__:  # clear errors for wrong arguments: see argument_checks.py
        globals()[_name] = _checked(globals()[_name], module=__name__)

    def __getattr__(name):  # called only for missing names
        _missing(__name__, _LINALG, name)
