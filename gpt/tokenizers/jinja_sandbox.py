"""Jinja for templates of others: in a sandbox, and with bounds on time and memory of a rendering."""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial, wraps
from types import GeneratorType
from typing import Any, NoReturn

from tinytensor.errors import FormatError

SECONDS = 10.0  # of the processor, for one rendering
CHARACTERS = 100_000_000  # of all texts and lists that a rendering makes
BITS = 1 << 16  # of an integer


class Bounds:
    """Bounds of a rendering: it counts iterations of loops, calls, filters, sums, and what they make."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begin a rendering."""
        self.end, self.left = time.thread_time() + SECONDS, CHARACTERS

    def counted(self, value: Any) -> Any:
        """The value, which was just made."""
        self._require_room(len(value) if isinstance(value, (str, list, tuple, dict)) else 1)
        return value

    def iterated(self, items: Iterable[Any]) -> Iterator[Any]:
        """The items of a loop."""
        for item in items:
            self._require_room(1)
            yield item

    def counting(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The filter of this name, with its results counted."""
        return wraps(function)(lambda *args, **how: self.called(name, function, args, how))

    def called(
        self, name: str, function: Callable[..., Any], args: Sequence[Any], how: Mapping[str, Any]
    ) -> Any:
        """Counted result of a filter or method, unless a single call would make too long a text."""
        args = [list(x) if isinstance(x, GeneratorType) else x for x in args]
        if (most := _most(name, [*args, *how.values()])) > self.left:
            self._require_room(most)
        return self.counted(function(*args, **how))

    def require_small(self, operator: str, left: Any, right: Any) -> None:
        """Check the size of a product, a power or a formatted text before it is computed."""
        if operator == "%" and isinstance(left, str):
            most = _most("format", [left, *(right if isinstance(right, tuple) else [right])])
            self._require_room(most if most > self.left else 0)
        if isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
            if bits > BITS:
                _refuse(f"it computes an integer of more than {BITS:,} bits")
        for times, part in ((left, right), (right, left)) if operator == "*" else ():
            if isinstance(times, int) and isinstance(part, (str, list, tuple)):
                self._require_room(times * len(part))

    def _require_room(self, size: int) -> None:
        self.left -= max(size, 0)
        if self.left < 0:
            _refuse(f"it makes more than {CHARACTERS:,} characters")
        if time.thread_time() > self.end:
            _refuse(f"it computes for more than {SECONDS:g} seconds")


def renderer(source: str) -> Callable[..., str]:
    """Compile a source; returns the function from its variables to its text.

    Raises:
        ImportError: jinja2 is not installed.
        Exception: the source is not Jinja. The function, too, may raise any; FormatError beyond a bound.

    Source: `render_jinja_template` of transformers, whose environment this is; the bounds are ours.
    """
    from jinja2 import TemplateError, nodes
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> NoReturn:
        raise TemplateError(message)

    def binary(context: Any, operator: str, left: Any, right: Any) -> Any:
        bounds.require_small(operator, left, right)
        return bounds.counted(environment.binop_table[operator](left, right))

    def call(context: Any, function: Any, *args: Any, **how: Any) -> Any:
        name = getattr(function, "__name__", "")
        of = getattr(getattr(function, "__wrapped__", function), "__self__", None)  # `format` is wrapped
        if isinstance(of, str):
            return bounds.called(
                name, lambda _, *a, **h: sandboxed(context, function, *a, **h), [of, *args], how
            )
        return bounds.called("", partial(sandboxed, context, function), args, how)

    def through(name: str, value: Any) -> Any:
        return nodes.Filter(value, name, [], [], None, None, lineno=1, environment=environment)

    bounds = Bounds()
    environment: Any = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = lambda value, **how: json.dumps(value, ensure_ascii=False, **how)
    environment.filters = {name: bounds.counting(name, f) for name, f in environment.filters.items()}
    environment.filters |= {"_counted": bounds.counted, "_iterated": bounds.iterated}
    environment.globals["raise_exception"] = refuse
    sandboxed, environment.call = environment.call, call
    environment.intercepted_binops, environment.call_binop = {"+", "*", "**", "%"}, binary
    safe = environment.is_safe_attribute
    environment.is_safe_attribute = lambda of, name, value: name not in _REFUSED and safe(of, name, value)
    del environment.globals["lipsum"]  # makes as many paragraphs as it is told
    tree = environment.parse(source)
    for loop in list(tree.find_all(nodes.For)):
        loop.iter = through("_iterated", loop.iter)
    for sum_ in list(tree.find_all(nodes.Concat)):
        sum_.nodes = [through("_counted", nodes.Concat(sum_.nodes, lineno=1, environment=environment))]
    for block in list(tree.find_all(nodes.AssignBlock)):
        block.filter = through("_counted", block.filter)
    template = environment.from_string(tree)

    def render(**variables: Any) -> str:
        bounds.begin()
        return "".join([bounds.counted(piece) for piece in template.generate(**variables)])

    return render


# Methods that make bytes, which are not counted, or texts of any length; templates have no use for them.
_REFUSED = ("encode", "to_bytes", "translate", "format_map")
_WIDTHS = re.compile(r"%([-+ #.*0-9]*)|\{[^{}]*:([^{}]*\{?)")  # what stands before the letter of a format
_MANY = ("center", "ljust", "rjust", "zfill", "batch", "slice")  # make as many as they are told


def _most(name: str, operands: Sequence[Any]) -> int:
    """Upper bound of the length of what a single filter or method makes of operands, the text first; 0 for
    those that make nothing longer than all operands together.
    """
    number = max([x for x in operands if isinstance(x, int)], default=0)
    if name in _MANY:
        return number
    if name not in ("expandtabs", "indent", "tojson", "replace", "join", "format"):
        return 0
    text, *others = [str(x) for x in operands if isinstance(x, (str, int))] or [""]
    longest = max(map(len, others), default=0)
    match name:
        case "expandtabs":
            return number * text.count("\t")
        case "indent":
            return max(number, longest) * (text.count("\n") + 1)
        case "tojson":
            return number and number * len(json.dumps(operands[0]))
        case "replace":
            return longest * max([text.count(part) for part in others], default=0)
        case "join":
            items = next((x for x in operands if isinstance(x, (list, tuple))), text)
            own = sum([len(x) for x in items if isinstance(x, str)])
            return own + len(items) * max(len(text) if items is not text else 0, longest)
    fields = ["".join(found) for found in _WIDTHS.findall(text)]
    given = number if any("*" in field or "{" in field for field in fields) else 0
    widths = [int(digits) for field in fields for digits in re.findall(r"\d+", field)]
    return (text.count("%") + text.count("{")) * max(longest, given, *widths, 0)


def _refuse(why: str) -> NoReturn:
    raise FormatError(
        "chat: the model's chat template does not come to an end",
        why=why,
        fix="correct chat_template in its tokenizer_config.json",
    )
