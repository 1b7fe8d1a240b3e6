"""The public modules, by name: the top of the package hands them down when it has all names.

So what returns or searches the public names, such as `x.__array_namespace__()`, need not look upward.
"""

from __future__ import annotations

from types import ModuleType

namespaces: dict[str, ModuleType] = {}  # "tinytensor", "linalg", "fft"
