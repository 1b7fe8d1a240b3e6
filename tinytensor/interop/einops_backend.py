"""einops takes tensors: `einops.rearrange(x, "b h w -> b (h w)")`, `reduce`, `repeat`, `pack` and `einsum`.

einops has a backend for each library, and finds those of others among the subclasses of its AbstractBackend.
Ours is defined when a program imports einops, by a finder that watches for that and then goes away.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from tinytensor.creation import arange, asarray
from tinytensor.ops.joining.joining import concat, stack, tile
from tinytensor.ops.matmul.einsum import einsum
from tinytensor.ops.views.manipulation import permute, unsqueeze
from tinytensor.tensor import is_tensor

_MODULE = "einops._backends"


def offer() -> None:
    """Define the backend, now if einops has been imported, else as soon as it is."""
    if _MODULE in sys.modules:
        _define(sys.modules[_MODULE])
    else:
        sys.meta_path.insert(0, _Finder())  # importlib.abc takes 10 ms to import


class _Finder:
    """Finds einops as the other finders do, and has the backend defined once it has run."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def run_and_define(module: ModuleType) -> None:
                run(module)
                _define(module)

            spec.loader.exec_module = run_and_define  # type: ignore[method-assign]
        return spec


def _define(module: Any) -> None:
    """Add the backend to the module, which keeps it; it inherits shape, reshape and reduce."""
    methods = {
        "framework_name": "tinytensor",
        "is_appropriate_type": staticmethod(is_tensor),
        "is_float_type": staticmethod(lambda x: x.dtype.is_floating),
        "from_numpy": staticmethod(asarray),
        "to_numpy": staticmethod(lambda x: x.detach().numpy()),
        "arange": staticmethod(arange),
        "transpose": staticmethod(permute),
        "add_axis": staticmethod(unsqueeze),
        "tile": staticmethod(tile),
        "concat": staticmethod(concat),
        "stack_on_zeroth_dimension": staticmethod(stack),
        "einsum": staticmethod(einsum),
    }
    module.TinytensorBackend = type("TinytensorBackend", (module.AbstractBackend,), methods)
