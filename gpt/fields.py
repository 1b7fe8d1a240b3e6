"""Typed dataclass fields parsed from the command line or from JSON. Independent of the fields' names.

A field's annotation determines its parser: int, float, bool, str, `Literal[...]`, or one of these `| None`;
or `tuple[str, ...]`, whose option may be repeated.
Its line under `Args:` in the docstring of the class is its help text.
"""

import dataclasses
import difflib
import inspect
import math
import re
import shutil
import textwrap
import types
import typing
from collections.abc import Container, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, Literal, TypeVar, TypeVarTuple, Union, cast

from tinytensor.errors import ArgumentError, FormatError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Texts = tuple[str, ...]
_EXAMPLES: dict[object, str] = {int: "64", float: "3e-4", bool: "true", str: "text", Texts: "text"}
_BOOLEANS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
_MAX_EXPONENT = 18  # 9e18 fits into 64 bits; the digits of 1e999999999 would exhaust memory


def parse_overrides(argv: Sequence[str], *configs: *Ts, others: Sequence[str] = ()) -> tuple[*Ts]:
    """Configs with fields replaced by `--field=value` or `--field value` options.

    Integers may be written 1000, 1_000 or 1e3; a bool needs no value (`--bias` is `--bias=true`); in names
    `-` equals `_`; `none` is the None of an optional field.

    Args:
        argv: command-line arguments, without the program name.
        configs: frozen dataclasses; a field belongs to the one that declares it.
        others: options that the command has taken before, which a misspelled one may mean.

    Raises:
        ArgumentError: unknown or repeated field, value of a wrong type, positional argument, or a combination
            that a config rejects.

    Example:
        >>> from gpt.config import TrainConfig
        >>> (train,) = parse_overrides(["--max_steps=1e3", "--schedule", "wsd"], TrainConfig())
        >>> train.max_steps, train.schedule
        (1000, 'wsd')
    """
    owners = _owners(configs)
    changes: dict[str, Any] = {}
    words = list(argv)
    while words:
        name, text = _next_override(words, owners, others)
        rule = _rules(type(owners[name]))[name]
        if rule == Texts:
            changes[name] = (*changes.get(name, ()), text)
            continue
        if name in changes:
            raise ArgumentError(
                f"--{name}: given twice",
                why="the result would depend on the order",
                fix=f"keep one: --{name}={text}",
            )
        changes[name] = _option_value(name, rule, text)
    changed = [_changed(config, changes, owners) for config in configs]
    return cast("tuple[*Ts]", tuple(changed))


def take_option(argv: Sequence[str], name: str) -> tuple[str | None, list[str]]:
    """Extract one `--name=value` or `--name value` from a command line; in names `-` equals `_`.

    Returns:
        The value, None if the option is absent, and the other arguments.

    Raises:
        ArgumentError: the option is given twice or without a value.

    Example:
        >>> take_option(["--preset=tiny", "--seed=3"], "preset")
        ('tiny', ['--seed=3'])
    """
    found: list[str] = []
    rest: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        typed, equals, text = word.partition("=")
        if typed.replace("-", "_") != f"__{name}":
            rest.append(word)
        elif not equals and words and not words[0].startswith("--"):
            found.append(words.pop(0))
        else:
            found.append(text)
    if len(found) > 1 or "" in found:
        raise ArgumentError(
            f"--{name}: {'given twice' if len(found) > 1 else 'has no value'}",
            why="the option takes exactly one value",
            fix=f"write --{name}=VALUE once",
        )
    return (found[0] if found else None), rest


def take_word(argv: Sequence[str], *configs: object) -> tuple[str, list[str]]:
    """Extract the first positional argument from a command line.

    Args:
        argv: command-line arguments.
        configs: dataclasses whose bool fields are switches: they need no value.

    Returns:
        The argument, empty if there is none, and the others.

    Example:
        >>> from gpt.config import TrainConfig
        >>> take_word(["--seed", "3", "--capture", "runs/demo", "--max_steps=9"], TrainConfig())
        ('runs/demo', ['--seed', '3', '--capture', '--max_steps=9'])
        >>> take_word(["--capture", "yes", "runs/demo"], TrainConfig())[0]
        'runs/demo'
    """
    owners = _owners(configs)
    place = 0
    while place < len(argv) and argv[place].startswith("--"):
        typed, equals, _ = argv[place].removeprefix("--").partition("=")
        name = typed.replace("-", "_")
        switch = name in owners and _rules(type(owners[name]))[name] is bool
        value = "".join(argv[place + 1 : place + 2]).lower()
        place += 1 if equals or (switch and value not in _BOOLEANS) else 2
    return "".join(argv[place : place + 1]), [*argv[:place], *argv[place + 1 :]]


def describe_fields(*configs: object) -> str:
    """Help text of every field with its value, wrapped at the terminal width.

    Args:
        configs: dataclasses whose docstrings document their fields under `Args:`.

    Example:
        >>> from gpt.config import TrainConfig
        >>> "--max_steps=2000" in describe_fields(TrainConfig())
        True
    """
    lines: list[str] = []
    width = max(shutil.get_terminal_size().columns, 72)
    for config in configs:
        helps = _field_helps(type(config))
        for name, value in to_dict(config).items():
            option = f"--{name}={_as_text(value)}"
            line = f"  {option:<34} {helps.get(name, '')}"
            lines += textwrap.wrap(
                line, width, subsequent_indent=" " * 37, break_long_words=False, break_on_hyphens=False
            )
    return "\n".join(lines)


def to_dict(config: object) -> dict[str, Any]:
    """Config as a dict of JSON values.

    Returns:
        One entry per field, in the order of the fields.

    Example:
        >>> from gpt.config import TrainConfig
        >>> to_dict(TrainConfig())["schedule"]
        'cosine'
    """
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(cast(Any, config))}


def from_dict(cls: type[T], values: object, *, source: str = "from_dict") -> T:
    """Config from JSON values, with names and types checked.

    A missing field takes its default, so that files written before the field existed stay readable; a field
    without a default is required. Fields that no longer exist, named in `cls.REMOVED`, are left out.

    Args:
        cls: the dataclass.
        values: result of `json.loads`.
        source: name of the file, for error messages.

    Raises:
        FormatError: not an object, unknown or missing field, wrong type, or a value that the config rejects.

    Example:
        >>> from gpt.config import TrainConfig
        >>> from_dict(TrainConfig, {"max_steps": 5, "warmup_steps": 1}).max_steps
        5
    """
    title = f"{source}: not a {cls.__name__}"
    if not isinstance(values, Mapping):
        raise FormatError(
            title, why=f"an object is expected, not {_shown(values)}", fix='store {"field": value, …}'
        )
    rules = _rules(cls)
    values = {name: value for name, value in values.items() if name not in getattr(cls, "REMOVED", ())}
    for name in values:
        if name not in rules:
            raise FormatError(title, why=f"there is no field {name!r}", fix=_suggestion(str(name), rules, ""))
    for field in dataclasses.fields(cast(Any, cls)):
        if field.name not in values and field.default is dataclasses.MISSING:
            raise FormatError(title, why=f"the field {field.name!r} is missing", fix=f'add "{field.name}": …')
        if field.name in values and (reason := _mismatch(rules[field.name], values[field.name])):
            raise FormatError(
                title,
                why=f"{field.name} = {_shown(values[field.name])}: {reason}",
                fix=f"store {field.name} as {_described(rules[field.name])}",
            )
    try:
        return cls(**{name: _widened(rules[name], value) for name, value in values.items()})
    except ArgumentError as error:
        raise FormatError(title, why=f"{error.what}: {error.why}", fix=error.fix) from None


def check_types(config: object) -> None:
    """Check every field against its annotation (a `float` field may be an int).

    Args:
        config: a dataclass instance; call this from its `__post_init__`.

    Raises:
        ArgumentError: a field of a wrong type or with a value outside its choices.

    Example:
        >>> from gpt.config import TrainConfig
        >>> check_types(TrainConfig())
    """
    for name, rule in _rules(type(config)).items():
        value = getattr(config, name)
        if reason := _mismatch(rule, value):
            raise ArgumentError(
                f"{type(config).__name__}: {name}={_shown(value)}",
                why=reason,
                fix=f"use {_described(rule)}, for example {name}={_example(rule)}",
            )


def at_least(config: object, low: int, *names: str) -> None:
    """Check that fields of a config are at least `low`, or None.

    Raises:
        ArgumentError: a smaller value.

    Example:
        >>> from gpt.config import TrainConfig
        >>> at_least(TrainConfig(), 1, "batch_size", "max_steps")
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and value < low:
            raise ArgumentError(
                f"{type(config).__name__}: {name}={value}",
                why=f"{name} must be {low} or more",
                fix=f"use {name}={low}",
            )


def closest(name: str, names: Iterable[str]) -> list[str]:
    """Up to three names that are close to a misspelled one.

    Returns:
        The closest first; empty if none is close.

    Example:
        >>> closest("trian", ["train", "sample"])
        ['train']
    """
    known = list(names)
    swapped = [other for other in known if sorted(other) == sorted(name)]  # "wds" for "wsd"
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.7)
    return list(dict.fromkeys([*swapped, *near]))[:3]


def _rules(cls: type) -> dict[str, Any]:
    """Resolved annotation of each field of a dataclass."""
    return _annotations(cast(Any, cls))


@cache
def _annotations(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


# --- the command line ---------------------------------------------------------------------------------


def _owners(configs: Sequence[object]) -> dict[str, object]:
    """Map from field names to the config that declares them."""
    owners: dict[str, object] = {}
    for config in configs:
        for name in _rules(type(config)):
            assert name not in owners, f"two configs declare {name}"
            owners[name] = config
    return owners


def _next_override(words: list[str], owners: Mapping[str, object], others: Sequence[str]) -> tuple[str, str]:
    """Pop the first option from the arguments: its field and its text."""
    word = words.pop(0)
    typed, equals, text = word.removeprefix("--").partition("=")
    name = typed.replace("-", "_")
    if not word.startswith("--"):
        known = equals and name.lstrip("_") in owners
        raise ArgumentError(
            f"{word}: unexpected word",
            why="options are written --field=value",
            fix=f"write --{name.lstrip('_')}={text}"
            if known
            else "nanoGPT's config files are presets: --preset=shakespeare-char"
            if word.endswith(".py")
            else "leave it out, or see --help",
        )
    if name not in owners:
        raise ArgumentError(
            f"--{typed}: no such field",
            why=f"none of the {len(owners)} fields has this name",
            fix=advice(name, owners) or _suggestion(name, [*owners, *others], "--"),
        )
    if equals:
        return name, text
    if words and not words[0].startswith("--"):
        return name, words.pop(0)
    rule = _rules(type(owners[name]))[name]
    if rule is bool:
        return name, "true"
    raise ArgumentError(
        f"--{name}: has no value", why=f"it takes {_described(rule)}", fix=f"write --{name}={_example(rule)}"
    )


def _option_value(name: str, rule: Any, text: str) -> object:
    """Value of an option, parsed by the annotation of its field."""
    try:
        return _from_text(rule, text)
    except ValueError as error:
        near = closest(text, map(str, typing.get_args(rule))) if typing.get_origin(rule) is Literal else []
        raise ArgumentError(
            f"--{name}={text}: not {_described(rule)}",
            why=str(error),
            fix=f"write --{name}={near[0] if near else _example(rule)}",
        ) from None


def _changed(config: object, changes: Mapping[str, object], owners: Mapping[str, object]) -> object:
    """Copy of the config with the changes of its own fields."""
    mine = {name: value for name, value in changes.items() if owners[name] is config}
    return dataclasses.replace(cast(Any, config), **mine) if mine else config


def _from_text(rule: Any, text: str) -> object:
    """Convert a text by an annotation; ValueError if it does not parse."""
    inner, optional = _without_none(rule)
    if optional and text.lower() == "none":
        return None
    if typing.get_origin(inner) is Literal:
        choices = {str(choice): choice for choice in typing.get_args(inner)}
        if text not in choices:
            raise ValueError(f"the choices are {', '.join(choices)}")
        return choices[text]
    if inner is bool:
        if text.lower() not in _BOOLEANS:
            raise ValueError("a switch is true or false")
        return _BOOLEANS[text.lower()]
    if inner is int:
        return int_from_text(text)
    if inner is float:
        number = float(text)
        if not math.isfinite(number):
            raise ValueError("the number must be finite")
        return number
    return text


def int_from_text(text: str) -> int:
    """Whole number written 12, 1_000 or 1e3.

    Raises:
        ValueError: not a number, a fraction, or too large.

    Example:
        >>> int_from_text("1e3")
        1000
    """
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError("these characters are not a number") from None
    if not number.is_finite() or number.adjusted() > _MAX_EXPONENT or number != number.to_integral_value():
        raise ValueError("a whole number below 1e19 is expected")
    return int(number)


# --- types -----------------------------------------------------------------------------------------------


@cache
def _without_none(rule: Any) -> tuple[Any, bool]:
    """Split the annotation `X | None` into X and True, any other into itself and False."""
    if typing.get_origin(rule) in (Union, types.UnionType):
        inner = [arm for arm in typing.get_args(rule) if arm is not type(None)]
        assert len(inner) == 1, f"a field may be of one type or None, not {rule}"
        return inner[0], True
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
    if inner == Texts:
        right = isinstance(value, tuple) and all(isinstance(text, str) for text in value)
        return None if right else "it is not a tuple of texts"
    return None if type(value) is inner else f"it is of type {type(value).__name__}"


def _widened(rule: Any, value: object) -> object:
    """Convert the int of a float field to a float: JSON may write 1.0 as 1."""
    return float(value) if _without_none(rule)[0] is float and isinstance(value, int) else value


def _described(rule: Any) -> str:
    """Describe an annotation in words: `an int`, `one of a, b`."""
    inner, optional = _without_none(rule)
    if typing.get_origin(inner) is Literal:
        words = f"one of {', '.join(map(str, typing.get_args(inner)))}"
    else:
        words = {int: "an int", float: "a float", bool: "a bool", str: "a text", Texts: "texts"}[inner]
    return f"{words} or none" if optional else words


def _example(rule: Any) -> str:
    """Example value for an annotation."""
    inner, _ = _without_none(rule)
    return str(typing.get_args(inner)[0]) if typing.get_origin(inner) is Literal else _EXAMPLES[inner]


def _suggestion(name: str, names: Iterable[str], prefix: str) -> str:
    """Suggested fix for an unknown name."""
    near = closest(name, names)
    if not near:
        return "see --help for all of them" if prefix else f"there are {', '.join(sorted(names))}"
    return f"did you mean {' or '.join(prefix + n for n in near)}?"


def _as_text(value: object) -> str:
    """Format a value as a command-line option takes it."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, tuple):
        return " ".join(map(_as_text, value))
    return repr(value) if isinstance(value, str) and not value.isprintable() else str(value)


def _shown(value: object) -> str:
    """Shortened repr of a value, for messages."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _field_helps(cls: type) -> dict[str, str]:
    """Help text of each field, from the Args section of the docstring."""
    section = inspect.cleandoc(cls.__doc__ or "").partition("Args:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", section, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text) for name, text in found}


_RENAMED = {
    "start": "prompt",
    "max_iters": "max_steps",
    "warmup_iters": "warmup_steps",
    "lr_decay_iters": "decay_steps",
    "min_lr": "min_learning_rate",
    "dataset": "data",
    "eval_iters": "eval_batches",
}

_OTHER_NAMES = {  # of people and other programs
    **dict.fromkeys(("context", "context_length", "context_size", "n_ctx", "n_positions"), "block_size"),
    **dict.fromkeys(("tokens", "max_tokens", "num_tokens", "n_tokens"), "max_new_tokens"),
}

_ELSEWHERE = {
    "eval_only": "leave it out: a run is measured by python -m gpt eval RUN",
    **dict.fromkeys(
        ("wandb_log", "wandb_project", "wandb_run_name"),
        "use --watch, a page with the curves of the run, and python -m gpt watch to compare runs",
    ),
    "compile": "leave it out: kernels are compiled where there is a compiler",
    "out_dir": "name the run without an option: python -m gpt COMMAND runs/demo",
}


def advice(name: str, fields: Container[str]) -> str:
    """Replacement for an option of nanoGPT, or for another usual name; empty for any other.

    Example:
        >>> advice("max_iters", ["max_steps"])
        "nanoGPT's max_iters is --max_steps"
        >>> advice("context", ["block_size"])
        'did you mean --block_size?'
    """
    if (meant := _OTHER_NAMES.get(name)) in fields:
        return f"did you mean --{meant}?"
    ours = _RENAMED.get(name)
    return f"nanoGPT's {name} is --{ours}" if ours in fields else _ELSEWHERE.get(name, "")
