"""Translation of preprocessed CUDA C++ to C++: launches, and variables in shared memory.

The preprocessor has already expanded macros and removed comments, so that a launch in a macro is an ordinary
launch here; its line markers stay, so that messages name the lines of the source.
"""

from __future__ import annotations

import re

from tinytensor.errors import KernelError
from tinytensor.runtime.cuda_source import MARKER, in_no_function, with_places_of_barriers

__all__ = ["kernels_of", "translated"]

_STRING = r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\''
_RAW = r'\bR"(?P<mark>[^(\s]*)\(.*?\)(?P=mark)"'
_ALIGNAS = r"alignas\s*\((?:[^()]|\([^()]*\))*\)"
_WHAT = re.compile(
    rf"{_RAW}|{_STRING}|(?P<launch><<<)|(?P<dynamic>\bextern\b[^;(){{}}]*?\b__shared__\b)|"
    rf"(?P<shared>\b(?:static\s+)?__shared__\b(?:\s+static\b)?(?P<aligned>\s*{_ALIGNAS})?)|"
    r"(?P<noinline>(?<!\()\b__noinline__\b(?!\s*[,)]))|"
    r"(?P<call>\bcuda(?:LaunchKernel|LaunchCooperativeKernel)\s*\()",
    re.DOTALL,
)
_ALIGNED = rf"(?:__attribute__\s*\(\([^;]*?\)\)|{_ALIGNAS})"
_DYNAMIC = re.compile(
    rf"(?:(?:static|volatile|extern|__shared__|{_ALIGNED})\s*)*(?P<type>[\w:<>,\s]*?[\w>])\s*"
    rf"(?:{_ALIGNED}\s*)?(?P<name>\b\w+)\s*\[\s*\]\s*(?P<sizes>(?:\[[^\]]*\]\s*)*)(?:{_ALIGNED}\s*)?;"
)
# `(void*)kernel<int>`, `static_cast<void*>(&kernel)`: without the types of the parameters.
_KERNEL = re.compile(rf"\bTT_GLOBAL\b(?:[^()\"';{{}}]|{_ALIGNED})*?(?P<name>\b\w+)\s*(?:<[^;{{}}()]*>\s*)?\(")
_POINTER = r"(?:const\s+)?void\s*(?:const\s*)?\*\s*"
_VOID_CAST = re.compile(r"\s*\(\s*(?:const\s+)?void\s*(?:const\s*)?\*\s*\)")
_CALL = r"\bcudaLaunch(?:Cooperative)?Kernel\s*\("
_TEMPLATE = re.compile(r"\s*<(?!<)")
_BRACES = re.compile(r"(?:^|,)\s*\{")
_WORD = re.compile(r"[A-Za-z_]\w*$")
_JOINED = ("::", ".", "->")
_OPEN, _CLOSE = "([{", ")]}"


def translated(text: str) -> str:
    """C++ for a preprocessed CUDA C++ text; it has the same lines.

    Raises:
        KernelError: a launch is not complete.

    Example:
        >>> translated("k<4><<<1, n>>>(a, b);").partition(".with")[0]
        'TT_LAUNCH((k<4>), 1, n)'
    """
    text = with_places_of_barriers(_typed_addresses(text))
    kernels = kernels_of(text)
    parts: list[str] = []
    at = 0
    while (match := _WHAT.search(text, at)) is not None:
        start = match.start()
        parts.append(text[at:start])
        at = match.end()
        if match["launch"]:
            before = "".join(parts[-2:])  # a launch is preceded by its kernel, in the text before it
            del parts[-2:]
            begin = _start_of_kernel(before)
            name = re.match(r"\s*(\w*)", before[begin:])
            if name is not None and name[1] not in kernels:
                _refuse_function(text, start, name[1])
            launch, at = _launch(text, start, before[begin:])
            parts += [before[:begin], launch]
        elif match["dynamic"]:
            declared, at = _dynamic(text, start)
            parts.append(declared)
        elif match["shared"]:
            macro = "TT_SHARED_FILE" if in_no_function(text, start) else "TT_SHARED"
            parts.append(f"{match['aligned'] or ''} {macro}".lstrip(" "))  # alignas comes first in C++
        elif match["noinline"]:  # not as a macro: the headers of the compiler have it in attributes
            parts.append("__attribute__((noinline))")
        elif match["call"]:
            cast = _VOID_CAST.match(text, at)  # else the types of the kernel's parameters would be lost
            parts.append(match[0])
            at = cast.end() if cast else at
        else:
            parts.append(match[0])
    parts.append(text[at:])
    return "".join(parts)


def _refuse_function(text: str, at: int, name: str) -> None:
    """KernelError if what is launched at a place, and is no kernel, is a function."""
    if name and re.search(rf"\bvoid\s+{name}\s*\(", text):
        raise KernelError(
            f"program: {_place(text, at)}: {name} is launched, but is no kernel",
            why="it is declared without __global__",
            fix=f"__global__ void {name}(…)",
        )


def _launch(text: str, at: int, kernel: str) -> tuple[str, int]:
    """The translation of a launch, and where it ends; `at`: of the `<<<`."""
    closing = _matching(text, at + 3, ">>>")
    opening = closing + 3
    while opening < len(text) and text[opening].isspace():
        opening += 1
    if not kernel.strip() or closing < 0 or text[opening : opening + 1] != "(":
        raise KernelError(
            f"program: {_place(text, at)}: this launch is not complete",
            why="a launch is kernel<<<grid, block>>>(arguments)",
            fix="add what is missing",
        )
    end = _matching(text, opening + 1, ")")
    name = kernel.rstrip()
    space = kernel[len(name) :] + text[closing + 3 : opening]
    configuration, arguments = text[at + 3 : closing], text[opening + 1 : end]
    arguments = re.sub(r"\b(__null|NULL)\b", "nullptr", arguments)
    typed = _with_typed_zeros(arguments)
    one_line = " ".join(name.split())
    call = f"{one_line}(tt_arguments...)"
    if typed != arguments:  # whether the kernel takes numbers there is asked of the type of the call
        call = f"tt_program::WithZeros{{[=](auto... tt_arguments) -> decltype({call}) {{ {call}; }}}}"
    else:
        call = f"[=](auto... tt_arguments) {{ {call}; }}"
    # A list in braces has no type of its own: it gets that of the parameter.
    given = f"of({one_line})" if _BRACES.search(arguments) else "with"
    return f"TT_LAUNCH(({name}), {configuration}).{given}({space}{typed}).run({call})", end + 1


def _with_typed_zeros(arguments: str) -> str:
    """Arguments of a launch, each literal 0 as a value that converts to a null pointer, as 0 does in C++."""
    if "<" in arguments:  # commas of template arguments
        return arguments
    parts: list[str] = []
    at = 0
    while (end := _matching(arguments, at, ",")) >= 0:
        parts.append(arguments[at:end])
        at = end + 1
    parts.append(arguments[at:])
    return ",".join(part.replace("0", "tt_zero()") if part.strip() == "0" else part for part in parts)


def kernels_of(text: str) -> set[str]:
    """Names of the kernels that a preprocessed text declares."""
    return {match["name"] for match in _KERNEL.finditer(text)}


def _typed_addresses(text: str) -> str:
    """The text where kernels cast to `void*`, or launched by functions, come with name and types."""
    names = kernels_of(text)
    if not names:
        return text
    cast = rf"(?:\(\s*{_POINTER}\)\s*\(?|\b(?:static|reinterpret)_cast\s*<\s*{_POINTER}>\s*\()"
    name = rf"(?:\w+\s*::\s*)*\b(?:{'|'.join(sorted(names))})\b(?!\s*\()"
    parts: list[str] = []
    at = 0
    for match in re.finditer(rf"(?P<cast>(?:{cast}|{_CALL})\s*)(?P<kernel>&?\s*{name})", text):
        end = match.end()
        if (opening := _TEMPLATE.match(text, end)) is not None:
            end = _matching(text, opening.end(), ">") + 1
        parts += [text[at : match.end("cast")], f"TT_KERNEL({text[match.start('kernel') : end]})"]
        at = end
    return "".join([*parts, text[at:]])


def _matching(text: str, at: int, wanted: str) -> int:
    """Position of `wanted` outside of brackets and strings, from a position on; -1 if there is none."""
    depth = 0
    strings = re.compile(_STRING)
    while at < len(text):
        character = text[at]
        if depth == 0 and text.startswith(wanted, at):
            return at
        if character in "\"'" and (string := strings.match(text, at)) is not None:
            at = string.end()
            continue
        depth += (character in _OPEN) - (character in _CLOSE)
        if depth < 0 or (character == ";" and depth == 0):
            return -1
        at += 1
    return -1


def _start_of_kernel(before: str) -> int:
    """Start of the expression at the end of the text: a name with scopes, template arguments, members."""
    at = len(before)
    while True:
        at = len(before[:at].rstrip())
        if before[:at].endswith(">"):
            at = len(before[: _opening(before, at, "<", ">")].rstrip())
        while before[:at].endswith((")", "]")):
            bracket = before[at - 1]
            at = len(before[: _opening(before, at, _OPEN[_CLOSE.index(bracket)], bracket)].rstrip())
        word = _WORD.search(before, max(0, at - 200), at)
        if word is not None:
            at = word.start()
        left = before[max(0, at - 200) : at].rstrip()
        joint = next((joint for joint in _JOINED if left.endswith(joint)), None)
        if joint is None:
            return at
        at -= len(before[max(0, at - 200) : at]) - len(left) + len(joint)
        if joint == "::" and not re.search(r"[\w>]$", before[max(0, at - 200) : at]):
            return at


def _opening(text: str, at: int, opening: str, closing: str) -> int:
    """Position of the bracket that the one before `at` closes; < and > in parentheses do not count."""
    depth = inside = 0
    while at > 0:
        at -= 1
        character = text[at]
        if opening == "<" and character in "()":
            inside += 1 if character == ")" else -1
        elif not inside and character == closing and text[at - 1 : at + 1] != "->":
            depth += 1
        elif not inside and character == opening:
            depth -= 1
            if depth == 0:
                return at
    return 0


def _dynamic(text: str, at: int) -> tuple[str, int]:
    """The declaration of dynamic shared memory, by its scope, and where it ends."""
    match = _DYNAMIC.match(text, at)
    if match is None:
        return "extern TT_SHARED", text.index("__shared__", at) + len("__shared__")
    macro = "TT_DYNAMIC_FILE" if in_no_function(text, at) else "TT_DYNAMIC"
    kind = " ".join(match["type"].replace("__shared__", "").split())
    volatile = "volatile " if "volatile" in text[at : match.start("name")] and "volatile" not in kind else ""
    lines = "\n" * match[0].count("\n")
    rows = ""
    if match["sizes"]:  # of several dimensions: an array of rows
        rows = f"typedef {volatile}{kind} tt_row_{match['name']}{match['sizes'].strip()}; "
        volatile, kind = "", f"tt_row_{match['name']}"
    return f"{rows}{macro}({match['name']}, {volatile}{kind});{lines}", match.end()


def _place(text: str, at: int) -> str:
    """file:line of a position in a preprocessed text."""
    file, line, start = "", 1, 0
    for match in MARKER.finditer(text, 0, at):
        file, line, start = match[2] or file, int(match[1]), match.end() + 1
    return f"{file}:{line + text.count(chr(10), start, at)}"
