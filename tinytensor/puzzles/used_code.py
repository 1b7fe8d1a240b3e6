"""The part of a source that its kernels use: what they call, after macros and conditions."""

from __future__ import annotations

import re
import subprocess
from functools import cache

from tinytensor.runtime.compiler import find_compiler

# No header is read: names of CUDA stay as they are.
_PREPROCESS = ("-E", "-P", "-undef", "-nostdinc", "-D__CUDACC__", "-D__CUDA_ARCH__=800", "-x", "c++", "-")
_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include\b.*$", re.MULTILINE)
_TEXT = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'')
_NAMESPACE = re.compile(r"\s*(?:inline\s+)?namespace\b[\w\s:]*|\s*extern\s*")
# The name that a declaration begins: of a type, else what comes before the parameters, the value or the end.
_TYPE = re.compile(
    r"(?:struct|class|union|enum(?:\s+(?:class|struct))?)\s+(?:alignas\s*\([^)]*\)\s*)?(\w+)\s*[:{;]"
)
_NAME = re.compile(r"(\w+)\s*(?:<[^<>;{}]*>\s*)?(?=[(=\[;{])")
_ATTRIBUTES = re.compile(
    r"\b(?:__launch_bounds__|__align__|alignas|__attribute__|decltype)\s*\((?:[^()]|\([^()]*\))*\)"
)
_WORD = re.compile(r"\w+")


@cache
def used_code(source: str, kernels: frozenset[str]) -> str:
    """Kernels of a source, by name, and all declarations that they use, directly or not, without comments and
    text in quotes.

    Example:
        >>> source = '''
        ... #define UNUSED __shfl_sync
        ... __device__ float twice(float x) { return __fmul_rn(2, x); }
        ... __device__ float other(float x) { return sqrtf(x); }
        ... __global__ void k(float* y) { y[0] = twice(y[0]); }'''
        >>> code = used_code(source, frozenset(["k"]))
        >>> [word in code for word in ("__fmul_rn", "sqrtf", "__shfl_sync")]
        [True, False, False]
    """
    declarations = [(_name(text), text) for text in _declarations(_preprocessed(source))]
    wanted, reached = set(kernels), dict[int, str]()
    while True:
        new = {
            at: text
            for at, (name, text) in enumerate(declarations)
            if at not in reached and (not name or name in wanted)
        }
        if not new:
            return "\n".join(reached[at] for at in sorted(reached))
        reached |= new
        wanted.update(*[_WORD.findall(text) for text in new.values()])


@cache
def _preprocessed(source: str) -> str:
    """The source with its own macros replaced, and without what its conditions leave out."""
    text = _INCLUDE.sub("", source)
    done = subprocess.run(
        [*find_compiler().command, *_PREPROCESS], input=text, capture_output=True, text=True, check=False
    )
    return _TEXT.sub('""', done.stdout if done.returncode == 0 else text)


def _declarations(text: str) -> list[str]:
    """Functions, types and variables of a file; those of its namespaces one by one."""
    found, depth, start = [], 0, 0
    for at, sign in enumerate(text):
        begins = sign == "{" and depth == 0 and _NAMESPACE.fullmatch(text[start:at])
        if begins or (sign == "}" and depth == 0):  # a namespace begins or ends
            start = at + 1
        else:
            depth += (sign == "{") - (sign == "}")
            if depth == 0 and sign in ";}":
                found.append(text[start : at + 1])
                start = at + 1
    return found


def _name(declaration: str) -> str:
    """The name that is declared; "" if it is unknown, as of an operator: such code counts as used."""
    head = _ATTRIBUTES.sub(" ", declaration.partition("{")[0] + "{")
    if re.search(r"\boperator\b|\busing\s+namespace\b", head):
        return ""
    match = _TYPE.search(head) or _NAME.search(re.sub(r"\btemplate\s*<[^{};]*?>(?=\s*\w)", " ", head))
    return match[1] if match else ""
