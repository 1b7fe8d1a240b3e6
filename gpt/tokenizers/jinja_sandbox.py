"""Jinja for templates of others: in a sandbox, and with bounds on time and memory of a rendering."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any, NoReturn

from tinytensor.errors import FormatError

SECONDS = 10.0  # of the processor, for one rendering
CHARACTERS = 100_000_000  # of all texts and lists that a rendering makes
BITS = 1 << 16  # of an integer


class Bounds:
    """Bounds of a rendering: it counts iterations of loops, calls, filters, sums, and what they make.

    Raises:
        FormatError: beyond a bound, in all methods.
    """

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

    def counting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its results counted."""
        return wraps(function)(lambda *args, **how: self.counted(function(*args, **how)))

    def require_small(self, operator: str, left: Any, right: Any) -> None:
        """Check the size of a product or power before it is computed."""
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

    def through(name: str, value: Any) -> Any:
        return nodes.Filter(value, name, [], [], None, None, lineno=1, environment=environment)

    bounds = Bounds()
    environment: Any = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = lambda value, **how: json.dumps(value, ensure_ascii=False, **how)
    environment.filters = {name: bounds.counting(f) for name, f in environment.filters.items()}
    environment.filters |= {"_counted": bounds.counted, "_iterated": bounds.iterated}
    environment.globals["raise_exception"] = refuse
    environment.call = bounds.counting(environment.call)
    environment.intercepted_binops, environment.call_binop = {"+", "*", "**"}, binary
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


def _refuse(why: str) -> NoReturn:
    raise FormatError(
        "chat: the model's chat template does not come to an end",
        why=why,
        fix="correct chat_template in its tokenizer_config.json",
    )
