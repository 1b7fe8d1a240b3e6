"""The text of a .cu file for device compilation: with its included files, without the code of the host.

A compiler for kernels alone has no `std::vector`, `main` or `<<<…>>>`. In a file that has such code, what
device code cannot use is left out: functions without `__device__` or `__global__`, variables of the host,
and headers that only the host needs. Line numbers stay.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import operator
import re
import tempfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

from tinytensor.runtime.kernel_cache import cache_folder
from tinytensor.runtime.kernel_files import KERNELS

# Headers of the C and C++ standard libraries, as far as kernels use them.
HEADERS = Path(__file__).parent / "headers"
STANDARD = """
names.h: assert.h cassert cfloat cinttypes climits cstdio cstring ctime float.h inttypes.h limits.h math.h
names.h: memory.h stdbool.h stddef.h stdint.h stdio.h stdlib.h string.h time.h
library.h: algorithm array cmath cstddef cstdint cstdlib functional initializer_list limits new numeric tuple
library.h: type_traits utility
cuda/std/library.h: cuda/std/algorithm cuda/std/array cuda/std/cmath cuda/std/cstddef cuda/std/cstdint
cuda/std/library.h: cuda/std/limits cuda/std/type_traits cuda/std/utility
cuda/std/functional: cuda/functional
cuda/atomic: cuda/std/atomic
"""
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">\n]+)[">][^\n]*$')
_ONCE = re.compile(r"^[ \t]*#[ \t]*pragma[ \t]+once\b")
_HOST_CODE = re.compile(r"<<<|\bmain\s*\(|\bcuda[A-Z]\w+\s*\(|\bstd::(?:vector|string|cout|cerr)\b")
# Headers that only host code needs.
_HOST_HEADERS = re.compile(
    r"(?:vector|string|iostream|fstream|sstream|iomanip|chrono|random|memory|map|set|unordered_map|list|deque|"
    r"queue|stack|thread|mutex|future|exception|stdexcept|cerrno|errno\.h|unistd\.h|sys/.*|getopt\.h|omp\.h|"
    r"signal\.h|dirent\.h|filesystem|iterator|bitset|condition_variable|cstdarg|stdarg\.h|optional|ostream|"
    r"(?:cublas|cudnn|cufft|curand(?!_kernel)|cusolver|cusparse|nv|nccl|mpi|helper_|cuda_profiler|cudaProfiler)\w*\.h|"
    r"cuda_gl_interop\.h|rendercheck_\w+\.h|nvtx3/.*|windows\.h|[A-Z]+/.*\.h|exception\.h|thrust/.*|boost/.*|vulkan/.*|cudaEGL\.h|DirectXMath\.h|D3D\w+\.h|pthread\.h|typeinfo|malloc\.h|cuda\.h)"
)
# Lines of the preprocessor that say where the text comes from.
MARKER = re.compile(r'^#(?: |line )\s*(\d+)(?: "((?:\\.|[^"\\])*)")?', re.MULTILINE)
_COMMENT = re.compile(r"//(?:\\\n|[^\n])*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.MULTILINE)
_DEVICE = r"__device__|__global__|__constant__|__shared__|__managed__|TT_DYNAMIC_SHARED|TT_SHARED_FILE"
_BARRIER = re.compile(r"\b__syncthreads\s*\(\s*\)")
_SHARED = re.compile(r"\b__shared__\b")
_SCOPE = re.compile(r"\s*(?:(?:inline\s+)?namespace\b[\w:\s]*|extern\s+\"\s*\")$")
_TYPE = re.compile(r"\b(?:struct|class|union|enum)\b[^()=]*$")
_KEPT = re.compile(
    rf"\b(?:{_DEVICE}|constexpr|const|typedef|using|static_assert|template|struct|class|union|enum|namespace|"
    r"friend|asm|__align__|alignas)\b"
)
_HOST_TYPES = re.compile(
    r"\b(?:cuda(?!Texture|Surface)[A-Z]|nccl|pthread_)\w*t\b|\bthrust::|\bvector\s*<|\bstd::(?:vector|string|map|function|deque|list)\b"
)
# A pointer that is no constant itself, or an array of constants.
_HOST_CONSTANT = re.compile(r"\s*(?:(?:static|extern|inline)\s+)*const\b[^=(]*[*\[]")
# Names of std that headers/library.h does not have.
_HOST_USING = re.compile(
    r"\busing\s+(?:namespace\s+std::chrono|std::(?!(?:min|max|swap|clamp|pair|array|numeric_limits|sqrt|f?abs|"
    r"exp|log|pow|size_t|u?int\d+_t|is_\w+|enable_if\w*|conditional\w*)\b))"
)
_ATTRIBUTE = re.compile(
    r"\b(?:alignas|__align__|__attribute__|__launch_bounds__)\s*\((?:[^()]|\([^()]*\))*\)"
)


# ---- reading -----------------------------------------------------------------------------------------------


def forwarding(table: str) -> Path:
    """Folder of headers that only include another one: a line of the table names that one and all of them."""
    folder = cache_folder("headers") / hashlib.sha256(table.encode()).hexdigest()[:16]
    if not folder.is_dir():
        made = Path(tempfile.mkdtemp(dir=folder.parent))
        for line in table.split("\n"):
            target, _, names = line.partition(": ")
            for name in names.split():
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                (made / name).write_text(f'#pragma once\n#include "{target}"\n', encoding="utf-8")
        with contextlib.suppress(OSError):  # unless another process has made it
            made.rename(folder)
    return folder


def standard_headers() -> tuple[Path, Path]:
    """Folders of the headers of the standard libraries."""
    return HEADERS, forwarding(STANDARD)


def merged(
    path: Path, shown: Callable[[Path], str], change: Callable[[str], str] = str
) -> tuple[str, dict[Path, int]]:
    """The text of a file with its local includes, each once, and the modification times of these files.

    Args:
        shown: the name of a file in messages.
        change: applied to the text of each file; keeps its lines.
    """
    modified: dict[Path, int] = {}
    text = "\n".join(_lines(path, modified, shown, change))
    return device_text(text), modified


def _lines(
    path: Path, seen: dict[Path, int], shown: Callable[[Path], str], change: Callable[[str], str]
) -> list[str]:
    """The lines of a file, with #include lines replaced by the files."""
    seen[path.resolve()] = path.stat().st_mtime_ns
    lines = [f'#line 1 "{shown(path)}"']
    text = path.read_text(encoding="utf-8", errors="replace").removeprefix("\ufeff")  # of some editors
    for number, line in enumerate(change(text).split("\n"), 1):
        match = _INCLUDE.match(line)
        included = _found(path, match[2], match[1]) if match else None
        if included is not None:
            lines += [] if included.resolve() in seen else _lines(included, seen, shown, change)
            lines.append(f'#line {number + 1} "{shown(path)}"')
        else:
            name = match[2] if match else ""
            host = _HOST_HEADERS.fullmatch(name)
            device = "#include <cuda_bf16.h>" if name.startswith("cublas") else ""
            lines.append(device if host or _ONCE.match(line) else line)
    return lines


def _found(path: Path, name: str, quote: str) -> Path | None:
    """Path of an included file: next to the .cu file, or in the kernels of the package."""
    places = (path.parent / name, KERNELS / name) if quote == '"' else (path.parent / name,)
    return next((place for place in places if place.is_file()), None)


def in_no_function(text: str, at: int) -> bool:
    """Whether a position is outside of functions: only namespaces enclose it."""
    depth = 0
    for i in range(at - 1, -1, -1):
        if text[i] == "}":
            depth += 1
        elif text[i] == "{":
            depth -= 1
            if depth < 0:
                depth = 0
                if not re.search(r'(\bnamespace\b[\w:\s]*|\bextern\s+"C"\s*)$', text[max(0, i - 200) : i]):
                    return False
        elif text[i] == "\n" and depth == 0 and MARKER.match(text, i + 1) and "/include/" in text[i : i + 99]:
            return True
    return True


def with_places_of_barriers(text: str) -> str:
    """The text where barriers say which they are that may share their line with others: the second and later
    ones of a line, and all of a macro.

    >>> with_places_of_barriers("if (x) __syncthreads(); else __syncthreads();")
    'if (x) __syncthreads(); else __syncthreads(TT_PLACE);'
    """
    lines = text.split("\n") if "__syncthreads" in text else []
    in_macro = False
    for i, line in enumerate(lines):
        in_macro = (in_macro and lines[i - 1].endswith("\\")) or _MACRO.match(line) is not None
        first = _BARRIER.search(line)
        if first is not None and '"' not in line:
            end = first.start() if in_macro else first.end()
            lines[i] = line[:end] + _BARRIER.sub("__syncthreads(TT_PLACE)", line[end:])
    return "\n".join(lines) if lines else text


def shared_of_files_marked(text: str) -> str:
    """The text with another word for `__shared__` outside of functions, where one variable serves several."""
    if "__shared__" not in text:
        return text
    code = _COMMENT.sub(lambda m: " " * len(m[0]), text)
    return _SHARED.sub(lambda m: "TT_SHARED_FILE" if in_no_function(code, m.start()) else m[0], text)


# ---- the code of the host ----------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def device_text(text: str) -> str:
    """The text without host code, with the same lines; unchanged if it has none."""
    masked = bare(text)
    if not _HOST_CODE.search(masked):
        return text
    seen = _blank_directives(active(masked))
    device = re.compile(rf"\b(?:{_DEVICE}|constexpr|{'|'.join(_device_macros(masked)) or _DEVICE})\b")
    parts, kept_to = [], 0
    for start, end in _host_parts(seen, device):
        parts += [text[kept_to:start], _blanked(text[start:end])]
        kept_to = end
    return "".join((*parts, text[kept_to:]))


def bare(text: str) -> str:
    """The text with blanks for comments, and for what strings say; positions stay."""

    def blank(match: re.Match[str]) -> str:
        inside = match[0]
        quoted = inside[0] in "\"'"
        blanks = re.sub(r"[^\n]", " ", inside)
        return inside[0] + blanks[1:-1] + inside[0] if quoted else blanks

    # `#include "name"` is no string to blank, but a name that does not matter here.
    return _COMMENT.sub(blank, text)


def _blank_directives(text: str) -> str:
    return _DIRECTIVE.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)


def _blanked(text: str) -> str:
    """Blanks for all lines but directives."""
    parts, kept = [], 0
    for match in _DIRECTIVE.finditer(text):
        parts += [re.sub(r"[^\n]", " ", text[kept : match.start()]), match[0]]
        kept = match.end()
    return "".join((*parts, re.sub(r"[^\n]", " ", text[kept:])))


def _device_macros(text: str) -> list[str]:
    """Macros that stand for __device__ or __global__."""
    found: list[str] = []
    for match in _MACRO.finditer(text):
        if re.search(rf"\b(?:{'|'.join((*found, '__device__', '__global__'))})\b", match[2]):
            found.append(match[1])
    return found


def _host_parts(
    text: str, device: re.Pattern[str], at: int = 0, members: bool = False
) -> Iterator[tuple[int, int]]:
    """Start and end of each declaration of the host, in namespaces; `members`: of a class."""
    start = at
    while match := re.compile(r"[;{}(]").search(text, at):
        c, at = match[0], match.end()
        head = text[start : match.start()]
        if c == "(":
            at = _closing(text, match.start())
        elif c == "}" and members:
            return
        elif c == "}" or (c == "{" and _SCOPE.search(head)):
            start = at
        elif c == ";":
            kept = _KEPT.search(head) and not ("(" in head and _is_declaration(head))
            kept = kept and not _HOST_CONSTANT.match(head) and not re.match(r"\s*extern\b", head)
            host = not kept or _HOST_USING.search(head) or _HOST_TYPES.search(head)
            if head.strip() and not members and not device.search(head) and host:
                yield start, at
            start = at
        else:
            at = _closing(text, match.start())
            if _TYPE.search(
                _ATTRIBUTE.sub(" ", re.sub(r"\btemplate\s*<[^{}]*?>\s*(?=struct|class|union)", "", head))
            ):
                end = text.find(";", at) + 1 or len(text)
                inside = text[match.end() : at]
                if _HOST_TYPES.search(inside) and not device.search(inside):
                    yield start, end
                else:
                    yield from _host_parts(text[:at], device, match.end(), True)
                at = start = end
            elif "(" in head and not re.search(r"=\s*$|\bconst\s+\w+\s*$", head):
                label = re.match(r"\s*(?:(?:public|private|protected)\s*:\s*)+", head) if members else None
                if not device.search(head):
                    yield start + (label.end() if label else 0), at
                start = at


def _is_declaration(head: str) -> bool:
    """Whether the text before a semicolon declares a function of the host."""
    return not re.search(r"\b(?:typedef|using|static_assert|__launch_bounds__|constexpr)\b|=", head)


def _closing(text: str, start: int) -> int:
    """The position after the bracket that closes the one at `start`."""
    depth = 0
    opening = text[start]
    closing = {"(": ")", "{": "}"}[opening]
    for match in re.compile(rf"[{re.escape(opening + closing)}]").finditer(text, start):
        depth += 1 if match[0] == opening else -1
        if depth == 0:
            return match.end()
    return len(text)


# ---- conditions of the preprocessor ------------------------------------------------------------------------

# Their values depend on the compiler, so both branches count.
_OPEN = re.compile(
    r"\b(?:__CUDA_ARCH__|__CUDACC_RTC__|TT_EMULATED|TT_CHECKED|_WIN32|_MSC_VER|__cplusplus|CUDART_VERSION|"
    r"CUDA_VERSION|__CUDACC_VER_\w+|__has_include)\b"
)
_PART = re.compile(
    r"^[ \t]*#[ \t]*(if|ifdef|ifndef|elif|else|endif|define|undef)\b[ \t]*((?:\\\n|[^\n])*)", re.MULTILINE
)
LONGEST = 10_000  # characters of a condition with its macros
_MACRO = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)(?:\([^)]*\))?((?:\\\n|[^\n])*)", re.MULTILINE)


@lru_cache(maxsize=64)
def active(text: str) -> str:
    """The text with blanks for what conditions of the preprocessor leave out, where that is known."""
    macros: dict[str, str] = {"__CUDACC__": "1"}
    states: list[bool | None] = []  # of each open condition: None, unknown
    taken: list[bool] = []  # whether a former branch was surely taken
    parts, at = [], 0
    for match in _PART.finditer(text):
        chunk = text[at : match.start()]
        parts.append(re.sub(r"[^\n]", " ", chunk) if False in states else chunk)
        parts.append(match[0])
        at = match.end()
        word, rest = match[1], match[2].replace("\\\n", " ").strip()
        if word in ("define", "undef"):
            if False not in states:
                _define(word, rest, macros)
        elif word in ("if", "ifdef", "ifndef"):
            asked = {"if": rest, "ifdef": f"defined({rest})", "ifndef": f"!defined({rest})"}[word]
            value = _value(asked, macros)
            states.append(value)
            taken.append(value is True)
        elif states and word in ("elif", "else"):
            value = True if word == "else" else _value(rest, macros)
            states[-1] = False if taken[-1] else None if states[-1] is None else value
            taken[-1] |= value is True
        elif states:
            states.pop()
            taken.pop()
    return "".join((*parts, text[at:]))


def _define(word: str, rest: str, macros: dict[str, str]) -> None:
    if match := re.match(r"(\w+)(\([^)]*\))?\s*(.*)", rest, re.DOTALL):
        if word == "undef":
            macros.pop(match[1], None)
        else:
            macros[match[1]] = "?" if match[2] or len(match[3]) > 200 else match[3]


def _value(expression: str, macros: dict[str, str]) -> bool | None:
    """Value of a condition; None if it depends on the compiler."""
    if _OPEN.search(expression) or "~" in expression:
        return None
    text = re.sub(r"\bdefined\s*\(?\s*(\w+)\s*\)?", lambda m: " 1 " if m[1] in macros else " 0 ", expression)
    for _ in range(10):
        text = re.sub(r"\b[A-Za-z_]\w*\b", lambda m: f"({macros.get(m[0], '0') or '0'})", text)
        if len(text) > LONGEST:
            return None
    text = re.sub(r"\b(\d+|0x[0-9a-fA-F]+)[uUlL]*\b", r"\1", text)
    text = text.replace("&&", " and ").replace("||", " or ")
    try:  # Python's ~ binds as C's !
        return bool(_number(ast.parse(re.sub(r"!(?!=)", "~", text).strip(), mode="eval").body))
    except (SyntaxError, KeyError, TypeError, ArithmeticError, ValueError, MemoryError, RecursionError):
        return None


_OPERATIONS: dict[type[ast.AST], Callable[[int, int], int]] = {
    **{ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul},
    **{ast.Div: lambda a, b: abs(a) // abs(b) * (1 if a * b >= 0 else -1)},
    **{ast.Mod: lambda a, b: abs(a) % abs(b) * (1 if a >= 0 else -1)},
    **{ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.BitXor: operator.xor},
    **{ast.LShift: lambda a, b: a << (b & 63), ast.RShift: lambda a, b: a >> (b & 63)},
    **{ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le},
    **{ast.Gt: operator.gt, ast.GtE: operator.ge},
}


def _number(node: ast.expr) -> int:
    """Value of the syntax tree of a condition; KeyError or TypeError if it is no arithmetic of integers."""
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.UnaryOp(op=ast.Invert(), operand=x):  # written for C's !
            return not _number(x)
        case ast.UnaryOp(op=ast.USub(), operand=x):
            return -_number(x)
        case ast.BoolOp(op=op, values=values):
            return (all if isinstance(op, ast.And) else any)(map(_number, values))
        case ast.BinOp(left=a, op=op, right=b) | ast.Compare(left=a, ops=[op], comparators=[b]):
            value = _OPERATIONS[type(op)](_number(a), _number(b))
            return (value + 2**63) % 2**64 - 2**63  # of 64 bits, as in the preprocessor
    raise TypeError(node)


# ---- names of types ----------------------------------------------------------------------------------------

_TYPEDEF = re.compile(r"\btypedef\s+([\w:\s*]+?[\s*])(\w+)\s*;")
_USING = re.compile(r"\busing\s+(\w+)\s*=\s*([\w:\s*]+?)\s*;")
_DEFINE = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)[ \t]+([A-Za-z_][\w \t*]*?)[ \t]*$", re.MULTILINE)


def type_names(text: str) -> dict[str, str]:
    """Other names of types in a text, by typedef, using and #define: name → what it stands for."""
    text = active(bare(text))
    found = {m[1]: m[2] for m in _DEFINE.finditer(text)}
    found |= {m[2]: m[1].strip() for m in _TYPEDEF.finditer(text)}
    plain = [m for m in _USING.finditer(text) if not text[: m.start()].rstrip().endswith(">")]  # no template
    return found | {m[1]: m[2] for m in plain}
