"""Typed fields of dataclasses: checked, read from JSON, and from texts of a command line.

A field's annotation says what it takes: int, float, bool, str, `Literal[...]`, or one of these `| None`.
Independent of the fields' names.
"""

import dataclasses
import difflib
import inspect
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, Literal, TypeVar, TypeVarTuple, Union, cast

from tinytensor.errors import ArgumentError, FormatError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

BOOLEANS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
_KINDS: dict[object, tuple[str, str, str]] = {  # what it is called, what an option takes, and an example
    int: ("an int", "it takes a whole number below 1e19, such as 64, 1_000 or 1e3", "64"),
    float: ("a float", "it takes a finite number", "3e-4"),
    bool: ("a bool", "it takes true or false", "true"),
    str: ("a text", "it takes a text", "text"),
}


def to_dict(config: object) -> dict[str, Any]:
    """Config as a dict of JSON values, in the order of the fields."""
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(cast(Any, config))}


def from_dict(cls: type[T], values: object, *, source: str = "from_dict") -> T:
    """Config from JSON values, with names and types checked.

    A missing field takes its default, so that files written before the field existed stay readable.

    Example:
        >>> from gpt.config import TrainConfig
        >>> from_dict(TrainConfig, {"max_steps": 5, "warmup_steps": 1}).max_steps
        5
    """
    title, rules = f"{source}: not a {cls.__name__}", rules_of(cast(Any, cls))
    if not isinstance(values, Mapping):
        why = f"an object is expected, not {_shown(values)}"
        raise FormatError(title, why=why, fix='store {"field": value, …}')
    given = dict(values)
    for name in given.keys() - rules.keys():
        near = closest(str(name), rules) or sorted(rules)
        raise FormatError(title, why=f"there is no field {name!r}", fix=f"there are {', '.join(near)}")
    for field in dataclasses.fields(cast(Any, cls)):
        if field.name not in given and field.default is dataclasses.MISSING:
            raise FormatError(title, why=f"the field {field.name!r} is missing", fix=f'add "{field.name}": …')
    for name, value in given.items():  # JSON may write 1.0 as 1
        if type(value) is int and abs(value) < 2**63 and _without_none(rules[name])[0] is float:
            given[name] = float(value)
    try:
        config = cls(**given)
        check_types(config)
    except ArgumentError as error:
        raise FormatError(title, why=f"{error.what}: {error.why}", fix=error.fix) from None
    return config


def check_types(config: object) -> None:
    """Check each field of a dataclass against its annotation, in `__post_init__`; a float may be an int."""
    for name, rule in rules_of(cast(Any, type(config))).items():
        value = getattr(config, name)
        if reason := _mismatch(rule, value):
            raise ArgumentError(
                f"{type(config).__name__}: {name}={_shown(value)}",
                why=reason,
                fix=f"use {described(rule)}, for example {name}={example(rule)}",
            )


def at_least(config: object, low: int, *names: str) -> None:
    """Check that fields of a config are at least `low`, or None."""
    for name in names:
        value = getattr(config, name)
        if value is not None and value < low:
            what, why = f"{type(config).__name__}: {name}={value}", f"{name} must be {low} or more"
            raise ArgumentError(what, why=why, fix=f"use {name}={low}")


def from_text(name: str, rule: Any, text: str) -> object:
    """Value of the option `--name=text`, by the annotation of its field.

    Example:
        >>> from_text("max_steps", int, "1e3"), from_text("seed", int | None, "none")
        (1000, None)
    """
    inner, optional = _without_none(rule)
    literal = typing.get_origin(inner) is Literal
    if optional and text.lower() == "none":
        return None
    value: object = text
    with suppress(ValueError, InvalidOperation):
        if literal:
            value = {str(choice): choice for choice in typing.get_args(inner)}.get(text, text)
        elif inner is bool:
            value = BOOLEANS.get(text.lower(), text)
        elif inner is float:
            value = float(text)
        elif inner is int:
            number = Decimal(text)  # the digits of 1e999999999 would exhaust memory
            whole = number.is_finite() and number.adjusted() <= 18 and number == number.to_integral_value()
            value = int(number) if whole else text
    if reason := _mismatch(rule, value):
        near = closest(text, map(str, typing.get_args(inner))) if literal else []
        raise ArgumentError(
            f"--{name}={text}: not {described(rule)}",
            why=reason if literal else _KINDS[inner][1],
            fix=f"write --{name}={near[0] if near else example(rule)}",
        )
    return value


def with_changes(changes: Mapping[str, object], *configs: *Ts) -> tuple[*Ts]:
    """Configs with those fields replaced that `changes` names; other names in it are left alone."""
    changed = []
    for config in configs:
        own = {name: changes[name] for name in rules_of(cast(Any, type(config))) if name in changes}
        changed.append(dataclasses.replace(cast(Any, config), **own) if own else config)
    return cast("tuple[*Ts]", tuple(changed))


def closest(name: str, names: Iterable[str]) -> list[str]:
    """Up to three names that are close to a misspelled one, the closest first.

    Example:
        >>> closest("trian", ["train", "sample"])
        ['train']
    """
    known = list(names)
    swapped = [other for other in known if sorted(other) == sorted(name)]  # "wds" for "wsd"
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.7)
    begun = [other for other in known if other.startswith(f"{name}_")]  # "out" for "out_dir"
    return list(dict.fromkeys([*swapped, *near, *begun]))[:3]


@cache
def rules_of(cls: Any) -> dict[str, Any]:
    """Resolved annotation of each field of a dataclass."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


@cache
def helps_of(cls: Any) -> dict[str, str]:
    """Help text of each field: the comment behind it, or lines of comments above it."""
    helps: dict[str, str] = {}
    above: list[str] = []
    with suppress(OSError):  # there is no source
        for line in map(str.strip, inspect.getsource(cls).splitlines()):
            if line.startswith("# "):
                above.append(line.removeprefix("# "))
                continue
            if field := re.match(r"(\w+): .*?(?:  # (.*))?$", line):
                helps[field[1]] = " ".join([*above, field[2] or ""]).strip()
            above.clear()
    return helps


def described(rule: Any) -> str:
    """An annotation in words: `an int`, `one of a, b`."""
    inner, optional = _without_none(rule)
    literal = typing.get_origin(inner) is Literal
    words = f"one of {', '.join(map(str, typing.get_args(inner)))}" if literal else _KINDS[inner][0]
    return f"{words} or none" if optional else words


def example(rule: Any) -> str:
    """A value that an annotation allows, as an option takes it."""
    inner, _ = _without_none(rule)
    return str(typing.get_args(inner)[0]) if typing.get_origin(inner) is Literal else _KINDS[inner][2]


def as_text(value: object) -> str:
    """A value as a command-line option takes it."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return repr(value) if isinstance(value, str) and not value.isprintable() else str(value)


def _without_none(rule: Any) -> tuple[Any, bool]:
    """Split the annotation `X | None` into X and True, any other into itself and False."""
    if typing.get_origin(rule) in (Union, types.UnionType):
        (inner,) = [arm for arm in typing.get_args(rule) if arm is not type(None)]
        return inner, True
    return rule, False


def _mismatch(rule: Any, value: object) -> str | None:
    """Why a value does not match an annotation; None if it does."""
    inner, optional = _without_none(rule)
    if optional and value is None:
        return None
    if typing.get_origin(inner) is Literal:
        choices = typing.get_args(inner)
        known = any(type(value) is type(choice) and value == choice for choice in choices)
        return None if known else f"the choices are {', '.join(map(str, choices))}"
    if type(value) is int and inner in (int, float):
        return None if abs(value) < 2**63 else "the number must be below 2^63"
    if type(value) is float and inner is float:
        return None if math.isfinite(value) else "the number must be finite"
    return None if type(value) is inner else f"it is of type {type(value).__name__}"


def _shown(value: object) -> str:
    """Shortened repr of a value, for messages."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
