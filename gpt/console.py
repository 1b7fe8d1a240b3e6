"""Command-line utilities: argument parser, commands to type, progress bar, escaping of control characters."""

import argparse
import contextlib
import importlib.util
import shlex
import shutil
import sys
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeVar, TypeVarTuple, cast

import tinytensor as tt
from gpt.fields import (
    BOOLEANS,
    as_text,
    closest,
    described,
    example,
    from_text,
    helps_of,
    rules_of,
    to_dict,
    with_changes,
)
from tinytensor.errors import ArgumentError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Parser(argparse.ArgumentParser):
    """argparse with fields of dataclasses as options, and ArgumentErrors in place of exits.

    Options are `--name=value` or `--name value`; in names `-` equals `_`, and a bool needs no value.

    Example:
        >>> from gpt.config import TrainConfig
        >>> parser = Parser(prog="python -m gpt train")
        >>> parser.add_fields(TrainConfig())
        >>> parser.parse_args(["--max-steps", "1e3", "--tf32"])
        Namespace(max_steps=1000, tf32=True)
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": _Help, "allow_abbrev": False, **options})
        self.rules: dict[str, Any] = {}

    def add_fields(self, *configs: object) -> None:
        """An option for each field of dataclasses, with its value and its help; absent if it is not given."""
        for config in configs:
            cls: Any = type(config)
            helps, group = helps_of(cls), self.add_argument_group()
            self.rules |= rules_of(cls)
            for name, value in to_dict(config).items():
                about = helps.get(name, "").replace("%", "%%")
                group.add_argument(f"--{name}", default=argparse.SUPPRESS, metavar=as_text(value), help=about)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Options and positional words; ArgumentError for one that is not known."""
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            name, equals, text = rest[0].lstrip("-").partition("=")
            fix = f"leave it out, or see {self.prog} --help"
            if equals and f"--{name}" in self._option_string_actions:
                fix = f"write --{name}={text}"
            elif rest[0].endswith(".py"):
                fix = "nanoGPT's config files are presets: --preset=shakespeare-char"
            what = f"{rest[0]}: unexpected word"
            raise ArgumentError(what, why="options are written --field=value", fix=fix)
        return found

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments as argparse does, with the values of fields."""
        words = list(sys.argv[1:] if args is None else args)
        found, rest = super().parse_known_args(self._joined(words), namespace)
        for name, rule in self.rules.items():
            if hasattr(found, name):
                setattr(found, name, from_text(name, rule, getattr(found, name)))
        return found, rest

    def _joined(self, words: list[str]) -> list[str]:
        """Words with each option and its value as `--name=value`, which may then be any text."""
        ours = {name.replace("-", "_"): name for name in self._option_string_actions}
        joined: list[str] = []
        seen: set[str] = set()
        while words:
            word = words.pop(0)
            if word == "--" or (self._subparsers and not word.startswith("-")):  # what follows is not ours
                return [*joined, word, *words]
            typed, equals, text = word.partition("=")
            if word.startswith("--"):
                option = ours.get(typed.replace("-", "_")) or self._unknown(typed.removeprefix("--"))
                action = self._option_string_actions[option]
                if action.nargs is None and not equals:
                    equals, text = "=", self._value(action, words)
                word = option + equals + text
                if option in seen and isinstance(action, argparse._StoreAction):
                    why = "the result would depend on the order"
                    raise ArgumentError(f"{option}: given twice", why=why, fix=f"keep one: {word}")
                seen.add(option)
            joined.append(word)
        return joined

    def _value(self, action: argparse.Action, words: list[str]) -> str:
        rule, option = self.rules.get(action.dest), action.option_strings[0]
        if rule is bool and (not words or words[0].lower() not in BOOLEANS):
            return "true"
        if words and not words[0].startswith("--"):
            return words.pop(0)
        takes, shown = ("a value", action.metavar) if rule is None else (described(rule), example(rule))
        raise ArgumentError(f"{option}: has no value", why=f"it takes {takes}", fix=f"write {option}={shown}")

    def _unknown(self, typed: str) -> NoReturn:
        name = typed.replace("-", "_")
        names = [option.removeprefix("--").replace("-", "_") for option in self._option_string_actions]
        near = " or ".join([f"--{other}" for other in closest(name, names)])
        raise ArgumentError(
            f"--{typed}: no such option",
            why=f"{self.prog} has no option of this name",
            fix=advice(name, names)
            or (f"did you mean {near}?" if near else f"see {self.prog} --help for all of them"),
        )

    def error(self, message: str) -> NoReturn:
        """Raise the message as an ArgumentError."""
        usage = " ".join(self.format_usage().split())
        raise ArgumentError(f"{self.prog}: {message}", why=usage, fix=f"see {self.prog} --help")


class _Help(argparse.RawDescriptionHelpFormatter):
    """Options as `--name=VALUE`, beside their help."""

    def __init__(self, prog: str) -> None:
        width = max(shutil.get_terminal_size().columns, 72)
        super().__init__(prog, max_help_position=37, width=width)
        self._action_max_length = 35  # so that help begins at the same column for all commands

    def _format_action_invocation(self, action: argparse.Action) -> str:
        text = super()._format_action_invocation(action)
        return text.replace(" ", "=", 1) if action.option_strings and action.nargs is None else text


_MODEL = (
    "a run directory; smollm2 or another package with weights; a .gguf or .safetensors file, or a folder "
    "with one; or a name on the Hugging Face hub"
)


def model_and_fields(
    name: str, about: str | None, words: Sequence[str], *configs: *Ts, default: str = ""
) -> tuple[str, tuple[*Ts]]:
    """MODEL, and the configs whose fields are options, of a command that uses a model."""
    usage = f"%(prog)s {'[MODEL]' if default else 'MODEL'} [--field=value ...]"
    parser = Parser(prog=f"python -m gpt {name}", usage=usage, description=about)
    parser.add_argument("MODEL", nargs="?", default=default, help=_MODEL)
    parser.add_fields(*configs)
    options = parser.parse_args(words)
    if not options.MODEL:
        raise ArgumentError(
            f"{name}: MODEL is missing",
            why="it is the argument without dashes",
            fix=f"python -m gpt {name} runs/demo; --help lists all",
        )
    return options.MODEL, with_changes(vars(options), *configs)


def parse_fields(words: Sequence[str], *configs: *Ts) -> tuple[*Ts]:
    """Configs with the fields replaced that options name, and no other options."""
    parser = Parser(add_help=False, prog="python -m gpt COMMAND")
    parser.add_fields(*configs)
    return with_changes(vars(parser.parse_args(words)), *configs)


_RENAMED = {  # of nanoGPT
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


def advice(name: str, options: Container[str]) -> str:
    """Replacement for an option of nanoGPT, or for another usual name; empty for any other."""
    if (meant := _OTHER_NAMES.get(name)) in options:
        return f"did you mean --{meant}?"
    ours = _RENAMED.get(name)
    return f"nanoGPT's {name} is --{ours}" if ours in options else _ELSEWHERE.get(name, "")


def counted(number: int, what: str) -> str:
    """A count with its noun, in the singular or plural.

    Example:
        >>> counted(1, "token"), counted(1000, "token")
        ('1 token', '1,000 tokens')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def command(*words: object) -> str:
    """A command of ours as it is typed in the current folder, whether or not its environment is active."""
    python = Path(sys.executable or "python")
    if shutil.which("python") == str(python):
        python = Path("python")
    elif python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    return shlex.join([str(python), "-m", "gpt", *map(str, words)])


def columns(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
    """Rows as aligned columns, two spaces apart; `right` are the numbers of those aligned to the right.

    Example:
        >>> print(columns([("step", "loss"), ("9", "1.5"), ("10", "1.25")], right=(0,)))
        step  loss
           9  1.5
          10  1.25
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = [
        [text.rjust(width) if i in right else text.ljust(width) for i, (text, width) in enumerate(cells)]
        for cells in (zip(row, widths, strict=True) for row in rows)
    ]
    return "\n".join(["  ".join(row).rstrip() for row in aligned])


def note(text: str) -> None:
    """Print a note to standard error: where a command deviates from its arguments."""
    print(f"note: {plain(text)}", file=sys.stderr)


# Control characters, also the C1 ones above ASCII that some terminals interpret; newlines and tabs stay.
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def plain(text: str) -> str:
    r"""Text with escapes for control characters other than newline and tab: a terminal shows, but does not
    obey them.

    Example:
        >>> plain("\x1b[2J\tgone\n")
        '\\x1b[2J\tgone\n'
    """
    return text.translate(_ESCAPES)


class _EscapingStream:
    """Wrapper of a terminal stream that escapes control characters on write."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        return self.stream.write(plain(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def safe_output() -> Iterator[None]:
    """Escape control characters on standard output while it is a terminal.

    Names in files and generated text could set titles and clipboards, and hide text. Files and pipes get the
    text unchanged.
    """
    stream = sys.stdout
    if stream.isatty():
        sys.stdout = cast(TextIO, _EscapingStream(stream))
    try:
        yield
    finally:
        sys.stdout = stream


@contextmanager
def compile_line() -> Iterator[None]:
    """Context that counts the kernels that are compiled, in a line of a terminal that then disappears.

    Not for commands that print a part of a line before they compute.
    """
    if not sys.stderr.isatty():
        yield
        return

    def show(done: int, total: int) -> None:
        text = f"compiling CPU kernels (once per machine): {done} of {total}" if done < total else ""
        with contextlib.suppress(OSError, ValueError):  # the terminal is gone
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()

    with tt.on_compile(show):
        yield


def quiet_compilation() -> AbstractContextManager[None]:
    """Context of a text that is printed in pieces: a note about compiled kernels would land in it."""
    return tt.on_compile(lambda done, total: None)


@contextmanager
def progress_bar(unit: str, total: int) -> Iterator[Callable[[Iterable[T]], Iterable[T]]]:
    """Context with a wrapper of iterables that shows a progress bar, if there are tqdm and a terminal."""
    if importlib.util.find_spec("tqdm") is None or not sys.stderr.isatty():
        yield iter
    else:
        import tqdm

        with tqdm.tqdm(total=total, unit=f" {unit}", leave=False) as bar:

            def watched(items: Iterable[T]) -> Iterable[T]:
                for item in items:
                    bar.update()
                    yield item

            yield watched
