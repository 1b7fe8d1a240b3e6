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
from tinytensor.argument_checks import publish as _publish
from tinytensor.argument_errors import LINALG as _LINALG
from tinytensor.ops.linalg.determinant import *
from tinytensor.ops.linalg.factors import *
from tinytensor.ops.linalg.norms import *
from tinytensor.ops.linalg.products import *
from tinytensor.ops.linalg.solving import *
from tinytensor.ops.linalg.spectral import *

if not TYPE_CHECKING:  # type checkers follow the star imports
    _publish(globals(), _LINALG)
