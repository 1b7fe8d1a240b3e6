"""Error messages for CUDA features that the emulator does not have."""

from __future__ import annotations

import re
from pathlib import Path

from tinytensor.errors import KernelError

_ERROR = re.compile(r"(?P<file>[^\s:]+):(?P<line>\d+):(?:\d+:)? (?:fatal )?error: (?P<text>[^\n]+)")
_REFUSED = re.compile(r"the emulator does not have (?P<what>.+?); (?P<instead>instead [^;\n\"]+)")
# Error of the compiler → missing feature, and what to do.
_HINTS = [
    (r"(cub|thrust|cutlass|cute)[/\w.]*: No such file", "the library {0}", "write the loop"),
    (
        r"'?(thrust|cub|curand\w*)'? ",
        "the library of {0}",
        "write the loop; curand_kernel.h has random numbers",
    ),
    (r"([\w./]+): No such file", "the header {0}", "put it next to the .cu file, or leave it out"),
    (r"expected primary-expression before '<' token", "launches by kernels", "launch from Python"),
    (r"'(cuda[A-Z]\w*)'", "{0} in kernels", "call it from the host"),
    (r"'(__cluster_\w+|cluster_\w+|this_cluster)'", "clusters ({0})", "use blocks"),
    (r"'(__(?:shfl|ballot|any|all|shfl_\w+))'", "{0}, which CUDA dropped", "use {0}_sync"),
    (r"\b(u4|s4|b1)\b", "matrices of {0}", "use signed char"),
    (
        r"'(\w+)' (?:has not been declared in|is not a member of|in namespace) '?std",
        "std::{0}",
        "write it out",
    ),
    (r"'((?:__nv|__hv?|__v|__)[a-z]\w+)' was not declared", "{0}", "write it in C++"),
]


def explained(error: KernelError, path: Path, kernel: str) -> KernelError:
    """The error of the compiler, with what the emulator lacks, if that is why, and the source line."""
    found = _ERROR.search(error.why)
    if not found:
        return error
    # A text is kept under a name that its author does not know.
    of = "" if path.parent.name == "sources" else f" of {path.name}"
    here = found["file"].endswith(path.name)
    where = f"kernel {kernel}, line {found['line']}{of}" if here else f"kernel {kernel}"
    if refused := _REFUSED.search(error.why):
        what = f"{where}: the emulator does not have {refused['what']}"
        return KernelError(what, why=error.why, fix=refused["instead"].removeprefix("instead "))
    for pattern, what, instead in _HINTS:
        if match := re.search(pattern, found["text"]):
            name = next((g for g in match.groups() if g), "") if match.groups() else ""
            return KernelError(
                f"{where}: the emulator does not have {what.format(name)}",
                why=error.why,
                fix=f"{instead.format(name)}; docs/kernels.md lists what kernels may use",
            )
    return error
