"""Function transforms: derivatives, Jacobians, and vectorization of functions of tensors.

A transform takes a function and returns one, so transforms nest: `grad(grad(f))`, `vmap(grad(f))`. Names and
results are those of `torch.func`. Arguments and results are tensors, or tuples, lists and dicts of them.
"""

from typing import TYPE_CHECKING

from tinytensor.argument_checks import publish as _publish
from tinytensor.argument_errors import FUNC as _FUNC
from tinytensor.func.derivatives import grad as grad
from tinytensor.func.derivatives import hvp as hvp
from tinytensor.func.derivatives import jvp as jvp
from tinytensor.func.derivatives import value_and_grad as value_and_grad
from tinytensor.func.derivatives import vjp as vjp
from tinytensor.func.jacobians import hessian as hessian
from tinytensor.func.jacobians import jacfwd as jacfwd
from tinytensor.func.jacobians import jacrev as jacrev
from tinytensor.func.modules import functional_call as functional_call
from tinytensor.func.modules import stack_module_state as stack_module_state
from tinytensor.func.vmap import vmap as vmap

if not TYPE_CHECKING:
    _publish(globals(), _FUNC)
