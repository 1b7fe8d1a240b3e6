"""Inline PTX, `asm("add.f32 %0, %1, %2;" : "=f"(d) : "f"(a), "f"(b));`, as C++ for the emulator.

Each instruction becomes a statement on registers, which are local variables. An instruction that the emulator
does not have becomes an error of the compiler at its line, if the code is used.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tinytensor.runtime.cuda_source import bare

_ASM = re.compile(r"\b(?:asm|__asm__|__asm)\b\s*(?:(?:volatile|__volatile__|__volatile)\b\s*)?(?=\()")
_STRING = re.compile(r'"((?:\\.|[^"\\])*)"')
_OUTSIDE = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_MARKER = re.compile(r'^(#(?: |line )\d+ "[^"\n]*"[ \d]*)$', re.MULTILINE)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_REGISTERS = {
    "r": "unsigned",
    "h": "unsigned short",
    "l": "unsigned long long",
    "f": "float",
    "d": "double",
    "n": "int",
    "q": "unsigned __int128",
}
_TYPES = {
    **{"u8": "unsigned char", "u16": "unsigned short", "u32": "unsigned", "u64": "unsigned long long"},
    **{"b8": "unsigned char", "b16": "unsigned short", "b32": "unsigned", "b64": "unsigned long long"},
    **{"s8": "signed char", "s16": "short", "s32": "int", "s64": "long long"},
    **{"f32": "float", "f64": "double"},
    **{"f16": "__half", "bf16": "__nv_bfloat16", "f16x2": "__half2", "bf16x2": "__nv_bfloat162"},
    **{"pred": "bool", "tf32": "unsigned"},
}
_SPECIAL = {
    **{f"tid.{axis}": f"threadIdx.{axis}" for axis in "xyz"},
    **{f"ntid.{axis}": f"blockDim.{axis}" for axis in "xyz"},
    **{f"ctaid.{axis}": f"blockIdx.{axis}" for axis in "xyz"},
    **{f"nctaid.{axis}": f"gridDim.{axis}" for axis in "xyz"},
    "laneid": "(unsigned)tt_emu::lane()",
    "warpid": "(tt_emu::self() / 32)",
    "lanemask_eq": "(1u << tt_emu::lane())",
    "lanemask_lt": "((1u << tt_emu::lane()) - 1)",
    "lanemask_le": "((2u << tt_emu::lane()) - 1)",
    "lanemask_gt": "(~1u << tt_emu::lane())",
    "lanemask_ge": "(~0u << tt_emu::lane())",
    "clock": "(unsigned)clock64()",
    "clock64": "(unsigned long long)clock64()",
    "globaltimer": "(unsigned long long)clock64()",
    "smid": "0u",
    "nsmid": "1u",
}
_T = r"\.(?P<T>u8|u16|u32|u64|s8|s16|s32|s64|b8|b16|b32|b64|f16x2|bf16x2|f16|bf16|f32|f64|pred)"
_FLOAT = r"(?:\.(?:rn|ftz|approx|full|noftz))*"
_ORDER = r"(?:\.(?:volatile|relaxed|acquire|release|acq_rel|weak|cta|gpu|sys|cluster))*"
_SPACE = rf"(?P<order>{_ORDER})" + r"(?:\.(?P<space>global|shared|local|const|param)(?:::cta)?)?"
_HINTS = r"(?:\.(?:nc|ca|cg|cs|lu|cv|wb|wt|L1::\w+|L2::\d+B))*"
_OPERATORS = {
    **{"add": "+", "sub": "-", r"mul(?:\.lo)?": "*", "div": "/", "rem": "%"},
    **{"and": "&", "or": "|", "xor": "^"},
}
_FUNCTIONS = {
    **{"abs": "tt_emu::magnitude", "sqrt": "sqrt", "rsqrt": "rsqrt", "ex2": "exp2", "lg2": "log2"},
    **{"sin": "sin", "cos": "cos", "tanh": "tanh"},
}
# Instruction → value of its first operand; a, b, c are the others as numbers of type T.
_VALUES = [
    *((rf"{name}{_FLOAT}{_T}", f"a {sign} b") for name, sign in _OPERATORS.items()),
    *((rf"{name}{_FLOAT}{_T}", f"{function}(a)") for name, function in _FUNCTIONS.items()),
    (rf"mul\.hi{_T}", "tt_emu::high_product(a, b)"),
    (rf"mul\.wide{_T}", "tt_emu::wide(a) * tt_emu::wide(b)"),
    (rf"mad(?:\.lo|\.rn)?{_T}", "a * b + c"),
    (rf"mad\.wide{_T}", "tt_emu::wide(a) * tt_emu::wide(b) + C"),
    (rf"fma{_FLOAT}{_T}", "tt_emu::fused_product(a, b, c)"),
    (rf"min{_FLOAT}{_T}", "tt_emu::smaller(a, b)"),
    (rf"max{_FLOAT}{_T}", "tt_emu::larger(a, b)"),
    (rf"neg{_FLOAT}{_T}", "-a"),
    (rf"rcp{_FLOAT}{_T}", "(T)1 / a"),
    (r"not\.pred", "!a"),
    (rf"not{_T}", "(T)~a"),
    (rf"shl{_T}", "tt_emu::shifted_left(a, B)"),
    (rf"shr{_T}", "tt_emu::shifted_right(a, B)"),
    *((rf"shf\.{way}\.wrap\.b32", f"__funnelshift_{way}(A, B, C)") for way in "lr"),
    *((rf"shf\.{way}\.clamp\.b32", f"__funnelshift_{way}c(A, B, C)") for way in "lr"),
    *((rf"{name}\.b32", f"__{name}(A)") for name in ("popc", "clz", "brev")),
    *((rf"{name}\.b64", f"__{name}ll(A)") for name in ("popc", "clz", "brev")),
    (r"bfind\.[us]32", "tt_emu::highest_bit(a32)"),
    (rf"bfe{_T}", "tt_emu::bit_field(a, B, C)"),
    (r"bfi\.b32", "tt_emu::with_bit_field(A, B, C, D)"),
    (r"prmt\.b32", "__byte_perm(A, B, C)"),
    (r"lop3\.b32", "tt_emu::lop3(A, B, C, D)"),
    (r"sad\.u32", "__usad(A, B, C)"),
    (r"sad\.s32", "__sad(A, B, C)"),
    (r"dp4a\.s32\.s32", "__dp4a((int)A, (int)B, (int)C)"),
    (r"dp4a\.u32\.u32", "__dp4a(A, B, C)"),
    (r"vabsdiff4\.u32\.u32\.u32\.add", "__vsadu4(A, B) + C"),
    (rf"selp{_T}", "C ? a : b"),
    (rf"setp\.(?P<is>eq|ne|lt|le|gt|ge|lo|ls|hi|hs)(?:\.ftz)?{_T}", "a IS b"),
    (r"cvta(?:\.to)?\.(?:global|local|const)\.u64", "A"),
    (r"cvta\.to\.shared\.u(?:32|64)", "tt_emu::shared_address((const void*)A)"),
    (r"cvta\.shared\.u64", "(unsigned long long)tt_emu::shared_pointer((unsigned)A)"),
    (r"activemask\.b32", "__activemask()"),
    (r"vote\.sync\.ballot\.b32", "__ballot_sync(B, A)"),
    (r"vote\.sync\.any\.pred", "__any_sync(B, A)"),
    (r"vote\.sync\.all\.pred", "__all_sync(B, A)"),
    (
        r"redux\.sync\.(?P<name>add|min|max|and|or|xor)(?P<T>)\.(?P<way>[usb])32",
        "__reduce_NAME_sync(B, (WAY)A)",
    ),
    (r"match\.any\.sync\.b(?:32|64)", "__match_any_sync(B, A)"),
    (r"cvt\.rn\.f16x2\.f32", "tt_emu::bits<unsigned>(__floats2half2_rn(B, A))"),
    (r"cvt\.rn\.bf16x2\.f32", "tt_emu::bits<unsigned>(__floats2bfloat162_rn(B, A))"),
    (r"cvt\.rna\.tf32\.f32", "tt_emu::rounded_to_tf32(A)"),
]
_IS = {
    **{"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="},
    **{"lo": "<", "ls": "<=", "hi": ">", "hs": ">="},
}
# Instruction → statement; 0, 1, 2, … in braces are its operands.
_STATEMENTS = [
    (r"bar\.sync|barrier\.sync(?:\.aligned)?|barrier\.cta\.sync(?:\.aligned)?", "tt_emu::bar_sync({all})"),
    (r"bar\.arrive|barrier\.arrive(?:\.aligned)?", "tt_emu::bar_arrive({all})"),
    (r"bar\.warp\.sync", "__syncwarp({0})"),
    (r"(?:membar|fence)(?:\.\w+)*", "__threadfence()"),
    (r"nanosleep\.u32", "__nanosleep({0})"),
    (r"trap", "__trap()"),
    (r"prefetchu?(?:\.\w+)*|createpolicy(?:\.\w+)*|griddepcontrol(?:\.\w+)*", "(void)0"),
    (
        r"cp\.async\.c[ag]\.shared(?:::cta)?\.global(?:\.L2::\d+B)?",
        "tt_emu::cp_async(tt_emu::Site{{__FILE__, __LINE__}}, {all})",
    ),
    (r"cp\.async\.commit_group", "tt_mma::cp_async_commit()"),
    (r"cp\.async\.wait_group", "tt_emu::wait_for_copies({0})"),
    (r"cp\.async\.wait_all", "tt_mma::cp_async_commit(), tt_emu::wait_for_copies(0)"),
]


class Operand(NamedTuple):
    """An operand of the asm statement: its constraint, such as =r, and C++ expression."""

    constraint: str
    expression: str
    name: str = ""


class UnknownError(Exception):
    """An instruction that the emulator does not have."""


def translated(text: str, *, strict: bool = True) -> str:
    """The text with its asm statements in C++; the number of lines stays. An unknown instruction becomes an
    error, or stays if it may be code of the host (not `strict`).
    """
    if "asm" not in text:
        return text
    parts, at, code = [], 0, bare(text)
    for match in _ASM.finditer(code):
        if match.start() < at:
            continue
        end = _closing(code, match.end())
        inside = _OUTSIDE.sub(lambda m: m[0] if m[0][0] == '"' else " ", text[match.end() + 1 : end - 1])
        statement = text[match.start() : end]
        try:
            new = _statement(inside.replace("\\\n", " \n"))
        except UnknownError as error:
            new = _refusal(error.args[0]) if strict else " ".join(statement.split("\n"))
        folded = "\\\n" if re.search(r"\\\n", statement) else "\n"
        parts += [text[at : match.start()], new, folded * statement.count("\n")]
        at = end
    return "".join((*parts, text[at:]))


def translated_program(text: str, headers: Path) -> str:
    """A preprocessed program with its asm statements in C++; headers of the system, and those in a folder,
    stay.
    """
    parts = _MARKER.split(text)
    for i in range(1, len(parts), 2):
        file = parts[i]
        if not file.endswith(" 3") and " 3 " not in file and str(headers) not in file:
            parts[i + 1] = translated(parts[i + 1], strict=False)
    return "".join(parts)


def _closing(text: str, start: int) -> int:
    """The position after the parenthesis that closes the one at `start`; strings may have others."""
    depth = 0
    for match in re.compile(r'"(?:\\.|[^"\\])*"|[()]').finditer(text, start):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if depth == 0:
            return match.end()
    return len(text)


def _statement(inside: str) -> str:
    """C++ for the inside of `asm(…)`. UnknownError if the emulator does not have it."""
    template, operands = _parsed(inside)
    return _Writer(operands).code(template)


def _refusal(instruction: str) -> str:
    """A statement that does not compile, with what is missing."""
    message = f"the emulator does not have PTX `{instruction}`; {_instead(instruction)}"
    message = message.replace("\\", "").replace('"', "'")
    name = f"tt_no_ptx_{zlib.crc32(message.encode())}"
    return f'do {{ extern void {name}() __attribute__((error("{message}"))); {name}(); }} while (0)'


def _instead(instruction: str) -> str:
    if re.match(r"wgmma|mbarrier|cp\.async\.bulk|tensormap|setmaxnreg", instruction):
        return "instead use hopper.cuh"
    if re.match(r"mma|ldmatrix|stmatrix", instruction):
        return "instead use the shapes of mma.cuh, or wmma"
    return "instead use an intrinsic or C++"


def _parsed(inside: str) -> tuple[str, list[Operand]]:
    """Template and operands of an asm statement."""
    parts = _split(inside, ":")
    strings = _STRING.findall(parts[0])
    if _STRING.sub("", parts[0]).strip():
        raise UnknownError("with macros in its text")
    template = "".join(strings).replace("\\n", "\n").replace("\\t", " ").replace("\\r", "")
    operands = []
    for part in parts[1:3]:
        for one in _split(part, ","):
            if match := re.fullmatch(r'\s*(?:\[(\w+)\]\s*)?"([^"]*)"\s*\((.*)\)\s*', one, re.DOTALL):
                operands.append(Operand(match[2], " ".join(match[3].split()), match[1] or ""))
    return template, operands


def _split(text: str, mark: str) -> list[str]:
    """Split at a mark outside of strings and brackets."""
    parts, depth, start = [], 0, 0
    for match in re.compile(r'"(?:\\.|[^"\\])*"|[\[({<]|[\])}>]|[:,]').finditer(text):
        c = match[0]
        depth += (c in "([{") - (c in ")]}")
        if c == mark and depth == 0:
            parts.append(text[start : match.start()])
            start = match.end()
    parts.append(text[start:])
    return parts


def _fenced(statement: str, order: str) -> str:
    """A statement between the fences of its order."""
    fence = "__threadfence_block()" if ".cta" in order else "__threadfence()"
    before = f"{fence}; " if re.search(r"\.(release|acq_rel)", order) else ""
    after = f"; {fence}" if re.search(r"\.(acquire|acq_rel)", order) else ""
    return f"{before}{statement}{after}"


class _Writer:
    """Writes the C++ of one asm statement."""

    def __init__(self, operands: list[Operand]) -> None:
        self.operands = operands
        self.names = {o.name: i for i, o in enumerate(operands) if o.name}
        self.declared: dict[str, str] = {}

    def code(self, template: str) -> str:
        lines = []
        for i, o in enumerate(self.operands):
            kind = _REGISTERS.get(o.constraint.strip("=+&")[:1])
            if kind is None:
                raise UnknownError(f"operand of constraint {o.constraint}")
            initial = "{}" if o.constraint.startswith("=") else f" = tt_emu::as<{kind}>({o.expression})"
            lines.append(f"{kind} tt_{i}{initial};")
        for instruction in _instructions(template):
            lines.append(self.instruction(instruction))
        for i, o in enumerate(self.operands):
            if o.constraint[0] in "=+":
                lines.append(f"tt_emu::set({o.expression}, tt_{i});")
        return f"do {{ {' '.join(line for line in lines if line)} }} while (0)"

    def instruction(self, text: str) -> str:
        if match := re.match(r"\.reg\s*\.(\w+)\s+(.*)", text, re.DOTALL):
            kind = _TYPES.get(match[1])
            names = [name.strip() for name in match[2].split(",")]
            if kind is None or not all(re.fullmatch(r"%?\w+", name) for name in names):
                raise UnknownError(text)
            self.declared |= {name: "tt_r_" + name.strip("%") for name in names}
            return " ".join(f"{kind} {self.declared[name]}{{}};" for name in names)
        guard = ""
        if match := re.match(r"@(!?)\s*(%?\w+)\s+(.*)", text, re.DOTALL):
            guard, text = f"if ({match[1]}{self.operand(match[2])}) ", match[3]
        opcode, _, rest = text.partition(" ")
        operands = [part.strip() for part in _split(rest, ",") if part.strip()]
        return guard + "{ " + self.statement(opcode, operands, text) + "; }"

    def statement(self, opcode: str, operands: list[str], text: str) -> str:
        if opcode.startswith("cp.async.c") and len(operands) > 3 and operands[3] in self.declared:
            raise UnknownError(text)  # a predicate, not a size
        for pattern, result in _STATEMENTS:
            if re.fullmatch(pattern, opcode):
                every = [self.operand(o) for o in operands]
                return result.format(*every, all=", ".join(every)) if "{" in result else result
        for write in (self.moved, self.memory, self.atomic, self.shuffled, self.converted, self.matrix):
            if made := write(opcode, operands):
                return made
        for pattern, value in _VALUES:
            if match := re.fullmatch(pattern, opcode):
                return self.value(match, value, operands)
        raise UnknownError(text)

    def value(self, match: re.Match[str], value: str, operands: list[str]) -> str:
        """An assignment to the first operand."""
        groups = match.groupdict()
        kind = _TYPES.get(groups.get("T") or "b32", "unsigned")
        if "|" in operands[0]:
            raise UnknownError(f"{match[0]} with two results")
        if groups.get("is") == "ne" and kind in ("float", "double"):
            value = "(a < b || a > b)"  # false for nan
        if groups.get("is") in ("lo", "ls", "hi", "hs"):
            kind = kind.replace("int", "unsigned") if "unsigned" not in kind else kind
        given = [self.operand(o) for o in operands[1:]]
        names = {"IS": _IS.get(groups.get("is") or "", ""), "NAME": groups.get("name") or "", "T": kind}
        names["WAY"] = "int" if groups.get("way") == "s" else "unsigned"
        for letter, operand in zip("abcd", given, strict=False):
            names[letter] = f"tt_emu::as<{kind}>({operand})"
            names[letter.upper()] = operand
        signed = "int" if ".s32" in match[0] else "unsigned"
        names["a32"] = f"tt_emu::as<{signed}>({given[0]})" if given else ""
        made = re.sub(r"\b(?:a32|[abcdABCDT]|IS|WAY)\b", lambda m: names.get(m[0], m[0]), value)
        return self.assigned(operands[0].split("|")[0], made.replace("NAME", names["NAME"]), kind)

    def assigned(self, target: str, value: str, kind: str = "") -> str:
        if target.strip() == "_":
            return f"(void)({value})"
        return f"tt_emu::set({self.operand(target)}, {value})"

    def operand(self, text: str) -> str:
        text = text.strip()
        if match := re.fullmatch(r"\[\s*(.*?)\s*(?:\+\s*(-?\w+)\s*)?\]", text, re.DOTALL):
            base = self.operand(match[1])
            return f"({base} + {self.operand(match[2])})" if match[2] else base
        if match := re.fullmatch(r"%(\d+)", text):
            if int(match[1]) >= len(self.operands):
                raise UnknownError(f"operand {text}")
            return f"tt_{match[1]}"
        if (match := re.fullmatch(r"%\[(\w+)\]", text)) and match[1] in self.names:
            return f"tt_{self.names[match[1]]}"
        if text in self.declared:
            return self.declared[text]
        if (match := re.fullmatch(r"%?%([a-z_]\w*(?:\.[xyz])?)", text)) and match[1] in _SPECIAL:
            return _SPECIAL[match[1]]
        if match := re.fullmatch(r"0[fF]([0-9A-Fa-f]{8})", text):
            return f"__uint_as_float(0x{match[1]}u)"
        if re.fullmatch(r"-?(?:0[xX][0-9A-Fa-f]+|\d+)U?", text):
            return text
        if re.fullmatch(r"-?\d+\.\d*", text):
            return text
        raise UnknownError(text)

    def group(self, text: str) -> list[str]:
        """The operands in braces, or the operand alone."""
        text = text.strip()
        inside = _split(text[1:-1], ",") if text.startswith("{") else [text]
        return [self.operand(o) for o in inside]

    def moved(self, opcode: str, operands: list[str]) -> str | None:
        if not re.fullmatch(rf"mov{_T}", opcode) or len(operands) != 2:
            return None
        to, given = operands
        if given.startswith("{"):
            return f"tt_emu::set({self.operand(to)}, tt_emu::packed({', '.join(self.group(given))}))"
        if to.startswith("{"):
            low, high = self.group(to)
            return f"tt_emu::unpack({low}, {high}, {self.operand(given)})"
        return self.assigned(to, self.operand(given))

    def memory(self, opcode: str, operands: list[str]) -> str | None:
        match = re.fullmatch(rf"(?P<way>ld|ldu|st){_SPACE}{_HINTS}(?:\.v(?P<n>[24]))?{_T}", opcode)
        if not match or len(operands) != 2:
            return None
        store = match["way"] == "st"
        address, values = operands if store else operands[::-1]
        kind, space = _TYPES[match["T"]], str(match["space"] == "shared").lower()
        function = "store" if store else "load"
        every = ", ".join(self.group(values))
        if re.search("volatile|relaxed|acquire|release", match["order"]):
            function = f"{function}_strong"
        call = f"tt_emu::{function}_values<{kind}, {space}>({self.operand(address)}, {every})"
        return _fenced(call, match["order"])

    def atomic(self, opcode: str, operands: list[str]) -> str | None:
        operations = "add|min|max|exch|cas|and|or|xor|inc|dec"
        match = re.fullmatch(rf"(?P<way>atom|red){_SPACE}\.(?P<op>{operations})(?:\.noftz)?{_T}", opcode)
        if not match:
            return None
        names = {"exch": "Exch", "cas": "CAS"}
        function = "atomic" + names.get(match["op"], match["op"].capitalize())
        kind = _TYPES[match["T"]]
        address, *given = operands if match["way"] == "red" else operands[1:]
        at = self.operand(address)
        pointer = f"tt_emu::shared_pointer((unsigned){at})" if match["space"] == "shared" else at
        values = [f"tt_emu::as<{kind}>({self.operand(g)})" for g in given]
        call = f"{function}({', '.join((f'({kind}*){pointer}', *values))})"
        return _fenced(call if match["way"] == "red" else self.assigned(operands[0], call), match["order"])

    def shuffled(self, opcode: str, operands: list[str]) -> str | None:
        match = re.fullmatch(r"shfl\.sync\.(up|down|bfly|idx)\.b32", opcode)
        if not match:
            return None
        to, *given = operands
        value, lane, clamp, mask = (self.operand(o) for o in given)
        target, _, inside = to.partition("|")
        into = f", &{self.operand(inside)}" if inside else ""
        kind = {"up": 0, "down": 1, "bfly": 2, "idx": 3}[match[1]]
        call = f"tt_emu::ptx_shuffle({kind}, {mask}, tt_emu::as<unsigned>({value}), {lane}, {clamp}{into})"
        return self.assigned(target, call)

    def converted(self, opcode: str, operands: list[str]) -> str | None:
        match = re.fullmatch(rf"cvt(?:\.(?P<round>rn|rni|rzi|rmi|rpi))?(?:\.ftz)?\.(?P<to>\w+){_T}", opcode)
        if not match or match["to"] not in _TYPES or len(operands) != 2:
            return None
        to, given = _TYPES[match["to"]], f"tt_emu::as<{_TYPES[match['T']]}>({self.operand(operands[1])})"
        whole = {"rni": "rint", "rzi": "trunc", "rmi": "floor", "rpi": "ceil"}.get(match["round"] or "")
        if not whole:
            return self.assigned(operands[0], f"({to}){given}")
        number = given if "64" in match["T"] else f"(float){given}"
        rounded = f"{whole}({number})"
        return self.assigned(
            operands[0],
            f"tt_emu::saturated<{to}>({rounded})" if match["to"][0] in "us" else f"({to}){rounded}",
        )

    def matrix(self, opcode: str, operands: list[str]) -> str | None:
        load = r"ldmatrix\.sync\.aligned\.m8n8\.x([124])(\.trans)?\.shared(?:::cta)?\.b16"
        if match := re.fullmatch(load, opcode):
            to, address = self.group(operands[0]), self.operand(operands[1])
            return f"tt_emu::ldmatrix<{'true' if match[2] else 'false'}>({address}, {', '.join(to)})"
        product = r"mma\.sync\.aligned\.m16n8k(8|16)\.row\.col\.(f32|f16)\.(f16|bf16|tf32)\.\3\.\2"
        if not (match := re.fullmatch(product, opcode)):
            return None
        d, a, b, c = (f"{{{', '.join(f'&{r}' for r in self.group(o))}}}" for o in operands)
        element = {"f16": "__half", "bf16": "__nv_bfloat16", "tf32": "tt_emu::Tf32"}[match[3]]
        half_sums = "true" if match[2] == "f16" else "false"
        return f"tt_emu::ptx_mma<{element}, {match[1]}, {half_sums}>({d}, {a}, {b}, {c})"


def _instructions(template: str) -> Iterator[str]:
    """The instructions of a template; braces of scopes are dropped."""
    text = _COMMENT.sub(" ", template)
    for part in text.split(";"):
        part = " ".join(part.split())
        while match := re.match(r"\{\s*(?=\.reg|[a-z@{])(?![^{}]*\}\s*,)", part):
            part = part[match.end() :]
        part = part.strip()
        while part.startswith("}"):
            part = part[1:].strip()
        if part in ("", "{"):
            continue
        if re.match(r"[$\w]+\s*:", part) or part.startswith(("bra", "call")):
            raise UnknownError(part)
        yield part
