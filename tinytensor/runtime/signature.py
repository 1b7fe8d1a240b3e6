"""Kernel signatures, parsed from `__global__` declarations: instance names, and packing of arguments.

Shared by all runtimes; independent of devices.

C++ converts an int to a float implicitly. Arguments passed as bytes must be converted to exactly the declared
types, or the kernel misreads them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from tinytensor import dtypes
from tinytensor.dtypes import DType
from tinytensor.errors import KernelError
from tinytensor.runtime.base import Argument, TemplateArgument
from tinytensor.runtime.cuda_source import active, type_names

CPP = {
    **{dtypes.bool_: "bool", dtypes.float16: "__half", dtypes.bfloat16: "__nv_bfloat16"},
    **{dtypes.float32: "float", dtypes.float64: "double"},
    **{dtypes.int8: "signed char", dtypes.int16: "short", dtypes.int32: "int", dtypes.int64: "long long"},
    **{dtypes.uint8: "unsigned char", dtypes.uint16: "unsigned short", dtypes.uint32: "unsigned"},
    dtypes.uint64: "unsigned long long",
}

# Format characters of `struct`. "pointer" and "bfloat16" are converted first.
POINTER, STRUCT = "pointer", "struct"
FORMATS = {
    **{"bool": "?", "signed char": "b", "unsigned char": "B", "short": "h", "unsigned short": "H"},
    **{"int": "i", "unsigned": "I", "long long": "q", "unsigned long long": "Q"},
    **{"__half": "e", "__nv_bfloat16": "H", "float": "f", "double": "d", POINTER: "Q"},
}
INTEGERS = {kind for kind, letter in FORMATS.items() if letter in "bBhHiIqQ"} - {POINTER, "__nv_bfloat16"}
ALIASES = {
    **{"half": "__half", "nv_bfloat16": "__nv_bfloat16"},
    **{"size_t": "unsigned long long", "ptrdiff_t": "long long", "ulong": "unsigned long long"},
    **{"uchar": "unsigned char", "ushort": "unsigned short", "uint": "unsigned"},
    **{"int8_t": "signed char", "int16_t": "short", "int32_t": "int", "int64_t": "long long"},
    **{"uint8_t": "unsigned char", "uint16_t": "unsigned short", "uint32_t": "unsigned"},
    **{"uint64_t": "unsigned long long", "cudaTextureObject_t": "unsigned long long"},
    "CUtexObject": "unsigned long long",
    "cudaSurfaceObject_t": "unsigned long long",
}
WORDS = {"unsigned", "signed", "char", "short", "int", "long", "float", "double", "bool"}
ALIGN = 128  # of structs whose size is a multiple of it
QUALIFIERS = re.compile(r"\b(?:const|volatile|__restrict__|__restrict|__grid_constant__)\b")


@dataclass(frozen=True, slots=True)
class TemplateParameter:
    """One template parameter: `kind` is "class" or a type such as int."""

    kind: str
    name: str
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Parameter:
    """One kernel parameter, with its type as written in the source, and its default argument."""

    type: str
    name: str
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Signature:
    """A parsed `__global__` declaration.

    Attributes:
        bounds: first argument of `__launch_bounds__`, an expression of the template parameters; or None.
        scope: the namespaces around it, such as "a::b::".
        overloaded: whether there are kernels of this name with other parameters.
    """

    name: str
    template: tuple[TemplateParameter, ...]
    parameters: tuple[Parameter, ...]
    bounds: str | None = None
    scope: str = ""
    overloaded: bool = False

    def __str__(self) -> str:
        template = ", ".join(f"{p.kind} {p.name}".strip() for p in self.template)
        parameters = ", ".join(f"{p.type} {p.name}".strip() for p in self.parameters)
        return (f"template <{template}> " if self.template else "") + f"{self.name}({parameters})"

    @property
    def key(self) -> str:
        """Its name among the kernels of its file."""
        return f"{self.name}({self.types})" if self.overloaded else self.name

    @property
    def types(self) -> str:
        """The types of its parameters, which tell overloaded kernels apart."""
        return ", ".join(p.type for p in self.parameters)

    def instance(self, arguments: Sequence[TemplateArgument] = ()) -> str:
        """The C++ expression of the kernel with these template arguments."""
        name = instance(self.scope + self.name, arguments)
        if self.template and not arguments:  # all by default
            name += "<>"
        return f"static_cast<void (*)({self.types})>({name})" if self.overloaded else name


# ---- reading declarations ----------------------------------------------------------------------------------

_COMMENT = re.compile(r"//(?:\\\n|[^\n])*|/\*.*?\*/|(\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')", re.DOTALL)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.MULTILINE)
_KERNEL = re.compile(r"\b__global__\b")
_NAME = re.compile(r"[A-Za-z_]\w*")
_PAIRS = {"(": ")", "[": "]", "<": ">", "{": "}"}


@lru_cache(maxsize=64)
def parse(text: str) -> dict[str, Signature]:
    """Signatures of all kernels in a .cu text, by name; of overloaded ones by name and types, such as
    "scale(float*, int)". KernelError for invalid declarations.
    """
    names = type_names(text)
    text = active(_COMMENT.sub(lambda m: '""' if m[1] and m[1][0] == '"' else m[1] or " ", text))
    text = _DIRECTIVE.sub("", text)
    found: dict[str, dict[str, Signature]] = {}
    for match in _KERNEL.finditer(text):
        start = max(text.rfind(mark, 0, match.start()) for mark in ";{}") + 1
        before = text[start : match.start()]
        if re.search(r"\btemplate\s*(?:<\s*>|[^<\s])|\btemplate\s*$", before):
            continue  # a specialization or an instantiation of a kernel that is declared elsewhere
        signature = _read(before, text, match.end(), names)
        signature = replace(signature, scope=_scope(text[:start]))
        found.setdefault(signature.name, {}).setdefault(signature.types, signature)
    kernels: dict[str, Signature] = {}
    for name, kinds in found.items():
        if len(kinds) == 1:
            kernels |= {name: next(iter(kinds.values()))}
        else:
            kernels |= {f"{name}({types})": replace(one, overloaded=True) for types, one in kinds.items()}
    return kernels


def _scope(before: str) -> str:
    """The namespaces that are open after a text."""
    if "namespace" not in before:
        return ""
    opened: list[str] = []
    for match in re.finditer(r"(?:\bnamespace\b\s*([\w:]*)\s*)?\{|\}", before):
        if match[0] != "}":
            opened.append(f"{match[1]}::" if match[1] else "")
        elif opened:
            opened.pop()
    return "".join(opened)


def signature_of(name: str, declared: Mapping[str, Signature], path: Path) -> Signature:
    """Signature of a kernel of a file; KernelError if it is not among the declared ones."""
    if name not in declared:
        raise KernelError(
            f"kernel {name}: {path.name} has no kernel of this name",
            why=f"its kernels are {', '.join(sorted(declared)) or 'none'}",
            fix="check the name, or declare it as __global__",
        )
    return declared[name]


def _read(before: str, text: str, position: int, names: Mapping[str, str]) -> Signature:
    """Parse one declaration, from `position`, behind the text `before`; `names` are names of types."""
    template: tuple[TemplateParameter, ...] = ()
    if match := re.search(r"\btemplate\s*<", before):
        inside, _ = _enclosed(before, match.end() - 1)
        template = tuple(_template_parameter(part) for part in _split(inside))
    bounds = None
    if match := re.search(r"\b__launch_bounds__\s*\(", before):
        bounds = _first(_enclosed(before, match.end() - 1)[0])
    while match := _NAME.search(text, position):
        word, position = match[0], match.end()
        opening = re.compile(r"\s*\(").match(text, position)
        if word == "__launch_bounds__" and opening:
            inside, position = _enclosed(text, opening.end() - 1)
            bounds = _first(inside)
        elif opening and word not in {"__attribute__", "__maxnreg__"}:
            inside, _ = _enclosed(text, opening.end() - 1)
            parameters = [] if inside.strip() in {"", "void"} else _split(inside)
            known = {name: kind for name, kind in names.items() if name not in {p.name for p in template}}
            return Signature(word, template, tuple(_parameter(p, word, known) for p in parameters), bounds)
        elif opening:
            _, position = _enclosed(text, opening.end() - 1)
    raise KernelError(
        "kernel: a __global__ without a declaration",
        why="the text ends before a name and its parameters",
        fix="write template <class T> __global__ void name(T* y, const T* x, int n)",
    )


def _depths(text: str, start: int = 0) -> Iterator[tuple[int, str, int]]:
    """Position, character and number of open brackets after it. Within ( ) the characters < and > compare."""
    opened: list[str] = []
    for position in range(start, len(text)):
        c = text[position]
        in_types = not opened or opened[-1] == "<"
        if c in "([{" or (c == "<" and in_types):
            opened.append(c)
        elif opened and (c in ")]}" or (c == ">" and in_types)):
            opened.pop()
        yield position, c, len(opened)


def _enclosed(text: str, start: int) -> tuple[str, int]:
    """The text between the bracket at `start` and its closing bracket, and the position after that."""
    opening = text[start]
    for position, _, depth in _depths(text, start):
        if depth == 0:
            return text[start + 1 : position], position + 1
    raise KernelError(
        f"kernel: a bracket {opening!r} is not closed",
        why=f"after {' '.join(text[start : start + 60].split())!r}",
        fix=f"close it with {_PAIRS[opening]!r}",
    )


def _split(text: str) -> list[str]:
    """Split at commas outside of brackets."""
    parts, start = [], 0
    for position, c, depth in _depths(text):
        if c == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [part for part in (*parts, text[start:]) if part.strip()]


def _first(text: str) -> str:
    """The first argument of a call, where < and > are comparisons."""
    call = f"({text})"
    ends = (position for position, c, depth in _depths(call) if (c == "," and depth == 1) or depth == 0)
    return call[1 : next(ends)].strip()


def _template_parameter(text: str) -> TemplateParameter:
    declared, _, default = (" ".join(part.split()) for part in text.partition("="))
    kind, _, name = declared.rpartition(" ")
    if not kind:  # an unnamed parameter
        kind, name = name, ""
    return TemplateParameter("class" if kind == "typename" else kind, name, default or None)


def _parameter(text: str, kernel: str, names: Mapping[str, str]) -> Parameter:
    text, _, default = (part.strip() for part in text.partition("="))
    # An array is a pointer to its elements.
    text = re.sub(r"(\w+)\s*\[[^\]]*\]$", r"* \1", re.sub(r"\b__restrict__\b|\b__restrict\b", " ", text))
    declared = " ".join(QUALIFIERS.sub(lambda m: m[0] if m[0] == "const" else " ", text).split())
    match = re.fullmatch(r"(.*[\s*>])([A-Za-z_]\w*)", declared)
    kind, name = match.groups() if match and match[2] not in WORDS else (declared, "")
    if not QUALIFIERS.sub("", kind).strip():  # const T, without a name
        kind, name = declared, ""
    for _ in range(4):  # of other names, too
        kind = re.sub(r"(?<![\w:])[A-Za-z_]\w*(?![\w:])", lambda m: names.get(m[0], m[0]), kind)
    kind = " ".join(QUALIFIERS.sub(lambda m: m[0] if m[0] == "const" else " ", kind).split())
    kind = re.sub(r"\s*\*\s*", "*", re.sub(r"\s*([<>,])\s*", r"\1", kind)).replace(",", ", ").strip()
    kind = re.sub(r"\bstd::(?=u?int\d+_t\b|size_t\b)", "", re.sub(r"\*\s*const$", "*", kind))
    if not kind or re.search(r"[&()\[\]]", kind):
        raise KernelError(
            f"kernel {kernel}: the parameter {declared!r} cannot be passed",
            why="a parameter is a pointer, a number, a template type or a struct by value",
            fix="write T*, int, long long, unsigned, float, double, bool, or a struct",
        )
    return Parameter(kind, name, default or None)


# ---- instances ---------------------------------------------------------------------------------------------


def spelled(argument: TemplateArgument) -> str:
    """A template argument in C++. KernelError for complex dtypes, which kernels do not support."""
    if isinstance(argument, DType):
        if argument in CPP:
            return CPP[argument]
        raise KernelError(
            f"kernel: there are no kernels for {argument}",
            why="complex dtypes are supported on the CPU only",
            fix='move the tensor: x.to("cpu")',
        )
    if isinstance(argument, bool):
        return "true" if argument else "false"
    return str(argument)


def instance(name: str, arguments: Sequence[TemplateArgument] = ()) -> str:
    """The C++ name of an instance.

    >>> instance("layer_norm_forward", (dtypes.float32, 2, "int"))
    'layer_norm_forward<float, 2, int>'
    """
    return f"{name}<{', '.join(spelled(a) for a in arguments)}>" if arguments else name


def canonical(kind: str) -> str:
    """Canonical name of a type: `unsigned` for `unsigned int`; "pointer" and "struct" for those."""
    if kind.endswith("*"):
        return POINTER
    words = QUALIFIERS.sub(" ", kind).split()
    if words and set(words) <= WORDS:
        return _number(words)
    name = " ".join(words)
    name = ALIASES.get(name, name)
    return name if name in FORMATS else STRUCT


def _number(words: list[str]) -> str:
    sign = "unsigned " if "unsigned" in words else ""
    if "char" in words:
        return "unsigned char" if sign else "signed char"
    for size in ("short", "long"):
        if size in words:
            return sign + ("short" if size == "short" else "long long")
    rest = [word for word in words if word not in {"unsigned", "signed"}]
    if not rest or rest == ["int"]:
        return "unsigned" if sign else "int"
    return rest[0]


def accumulator(kind: str) -> str:
    """The accumulator type, as `acc_t` of common.cuh: float for 16-bit floats, other types themselves."""
    return "float" if kind in {"__half", "__nv_bfloat16"} else kind


# ---- arguments ---------------------------------------------------------------------------------------------


class Packer:
    """Packs the arguments of one instance of a kernel.

    Each argument is aligned to its size, a struct to 16; or to 128 if its size is a multiple of that, as a
    tensor map of TMA.

    Attributes:
        name: name of the instance, such as layer_norm_forward<float>.
        kinds: kinds of the parameters, with template arguments substituted: a C++ type, "pointer" or
            "struct".
    """

    __slots__ = ("_convert", "_fixed", "_struct_sizes", "kinds", "name", "signature")

    def __init__(self, signature: Signature, arguments: Sequence[TemplateArgument] = ()) -> None:
        self.signature = signature
        self.name = signature.instance(arguments)
        self.kinds = self._substituted([spelled(a) for a in arguments])
        self._convert: list[tuple[int, Callable[[Any], Any]]] = [
            (i, CONVERT[kind]) for i, kind in enumerate(self.kinds) if kind in CONVERT
        ]
        self._fixed = None if STRUCT in self.kinds else layout(self.kinds, ())
        self._struct_sizes: tuple[int, ...] | None = None

    def _substituted(self, arguments: list[str]) -> tuple[str, ...]:
        template = self.signature.template
        needed = sum(p.default is None for p in template)
        if not needed <= len(arguments) <= len(template):
            raise KernelError(
                f"kernel {self.signature.name}: {len(arguments)} template arguments were given",
                why=f"the kernel is {self.signature}; given: {', '.join(arguments) or 'none'}",
                fix=f"give {needed}" + (f" to {len(template)}" if len(template) > needed else ""),
            )
        given = dict(zip((p.name for p in template), arguments, strict=False))
        values = {p.name: given.get(p.name, p.default or "") for p in template}
        kinds = []
        for parameter in self.signature.parameters:
            kind = parameter.type.removeprefix("const ").removesuffix(" const")
            if match := re.fullmatch(r"acc_t<(\w[\w ]*)>", kind):
                kind = accumulator(canonical(values.get(match[1], match[1])))
            kinds.append(canonical(values.get(kind, kind)))
        return tuple(kinds)

    def pack(self, args: Sequence[Argument]) -> tuple[bytes, tuple[int, ...]]:
        """Packed bytes and offsets of all arguments. KernelError names an invalid argument."""
        if len(args) != len(self.kinds):
            self._refuse_count(args)
        values = list(args)
        try:
            for i, convert in self._convert:
                values[i] = convert(values[i])
            if self._fixed is not None:
                form, offsets = self._fixed
            else:
                sizes = tuple(len(v) for v, kind in zip(values, self.kinds, strict=True) if kind == STRUCT)
                if self._struct_sizes not in (None, sizes):
                    self._refuse_sizes(sizes)
                form, offsets = layout(self.kinds, sizes)
            return form.pack(*values), offsets
        except (struct.error, OverflowError, TypeError, ValueError, AttributeError):
            self._refuse(args)

    def check_sizes(self, sizes: Sequence[int], structs: Sequence[bool] | None = None) -> None:
        """Raise unless the compiler's sizes of the parameters match; stores those of structs."""
        is_struct = [kind == STRUCT for kind in self.kinds]
        for i, (kind, size) in enumerate(zip(self.kinds, sizes, strict=True)):
            expected = size if is_struct[i] else struct.calcsize("<" + FORMATS[kind])
            if size != expected or (structs is not None and structs[i] != is_struct[i]):
                declared = self.signature.parameters[i]
                raise KernelError(
                    f"kernel {self.name}: the compiler gives `{declared.type} {declared.name}` {size} bytes",
                    why=f"it was parsed as {kind}: other type names are not supported",
                    fix="spell the type out, or use acc_t<T>",
                )
        self._struct_sizes = tuple(s for s, found in zip(sizes, is_struct, strict=True) if found)

    def pointers(self, args: Sequence[Argument]) -> list[tuple[str, int]]:
        """Names and addresses of the pointer arguments."""
        named = zip(self.signature.parameters, self.kinds, args, strict=True)
        return [(parameter.name, _pointer(a)) for parameter, kind, a in named if kind == POINTER]

    def outputs(self, args: Sequence[Argument]) -> list[tuple[str, int]]:
        """Names and addresses of the pointer arguments that the kernel may write through."""
        written = {p.name for p in self.signature.parameters if not p.type.startswith("const ")}
        return [(name, at) for name, at in self.pointers(args) if name in written]

    def _refuse_count(self, args: Sequence[Argument]) -> NoReturn:
        given, wanted = len(args), len(self.kinds)
        raise KernelError(
            f"kernel {self.name}: {given} argument{'s' * (given != 1)} for {wanted} "
            f"parameter{'s' * (wanted != 1)}",
            why=f"the kernel is {self.signature}; given: {', '.join(type(a).__name__ for a in args)}",
            fix="give one argument for each parameter, outputs first",
        )

    def _refuse_sizes(self, sizes: tuple[int, ...]) -> NoReturn:
        raise KernelError(
            f"kernel {self.name}: structs of {sizes} bytes were given, the kernel has {self._struct_sizes}",
            why=f"the kernel is {self.signature}",
            fix="pack the members as C++ lays them out, padding included",
        )

    def _refuse(self, args: Sequence[Argument]) -> NoReturn:
        """Raise KernelError for the first argument that cannot be packed."""
        for argument, kind, parameter in zip(args, self.kinds, self.signature.parameters, strict=True):
            try:
                value = CONVERT[kind](argument) if kind in CONVERT else argument
                layout((kind,), (len(value),) if kind == STRUCT else ())[0].pack(value)
            except (struct.error, OverflowError, TypeError, ValueError, AttributeError):
                declared = f"{parameter.type} {parameter.name}"
                raise KernelError(
                    f"kernel {self.name}: {_shown(argument)} is not valid for `{declared}`",
                    why=f"it is packed as {kind}; {_TAKES.get(kind, _TAKES['number'])}",
                    fix=f"the kernel is {self.signature}",
                ) from None
        raise AssertionError("each argument fits alone")


_TAKES = {
    **dict.fromkeys(INTEGERS, "an int within its range fits"),
    "bool": "True or False fits",
    POINTER: "a Buffer, anything with an integer ptr, an address or None (a null pointer) fits",
    STRUCT: "bytes fit",
    "number": "a number within its range fits",
}


def _shown(argument: Any) -> str:
    if isinstance(argument, int) and argument.bit_length() > 128:
        return f"an int of {argument.bit_length()} bits"
    return repr(argument)[:60] if isinstance(argument, int | float | str) else type(argument).__name__


def _pointer(argument: Any) -> int:
    if argument is None:
        return 0
    if type(argument) is int:
        return argument
    address = argument.ptr
    if type(address) is not int:
        raise TypeError
    return address


def _bool(argument: Any) -> bool:
    if argument is True or argument is False:
        return argument is True
    if type(argument).__name__ != "bool":  # NumPy's bool is accepted
        raise TypeError
    return bool(argument)


def _bfloat16(argument: Any) -> int:
    """Bits of a number rounded to bfloat16, ties to even."""
    bits = int.from_bytes(struct.pack("<f", argument), "little")
    if bits & 0x7FFFFFFF > 0x7F800000:
        return 0x7FFF
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def _struct(argument: Any) -> bytes:
    if not isinstance(argument, bytes | bytearray | memoryview):
        raise TypeError
    return bytes(argument)


CONVERT: dict[str, Callable[[Any], Any]] = {
    POINTER: _pointer,
    STRUCT: _struct,
    "bool": _bool,
    "__nv_bfloat16": _bfloat16,
}


@lru_cache(maxsize=4096)
def layout(kinds: tuple[str, ...], struct_sizes: tuple[int, ...]) -> tuple[struct.Struct, tuple[int, ...]]:
    """`struct.Struct` and offsets of arguments of these kinds."""
    sizes = iter(struct_sizes)
    text, offset, offsets = "<", 0, []
    for kind in kinds:
        form = f"{next(sizes)}s" if kind == STRUCT else FORMATS[kind]
        size = struct.calcsize("<" + form)
        pad = -offset % (size if kind != STRUCT else ALIGN if size % ALIGN == 0 else 16)
        text += f"{pad}x{form}" if pad else form
        offsets.append(offset + pad)
        offset += pad + size
    return struct.Struct(text), tuple(offsets)
