"""Command-line utilities: argument parser, commands to type, progress bar, escaping of control characters."""

import argparse
import contextlib
import importlib.util
import shlex
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeVar, cast

import tinytensor as tt
from tinytensor.errors import ArgumentError

T = TypeVar("T")


class Parser(argparse.ArgumentParser):
    """ArgumentParser that raises ArgumentError instead of printing and exiting, and takes `--vocab_size` for
    `--vocab-size`.
    """

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As in argparse, but in names of options `-` equals `_`, as for fields of configs."""
        ours = {name.replace("-", "_"): name for name in self._option_string_actions}
        words = list(sys.argv[1:] if args is None else args)
        for i, word in enumerate(words):
            typed, equals, value = word.partition("=")
            if word == "--":  # what follows are no options
                break
            if word.startswith("--"):
                words[i] = ours.get(typed.replace("-", "_"), typed) + equals + value
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise the message as an ArgumentError."""
        raise ArgumentError(
            f"{self.prog}: {message}",
            why=" ".join(self.format_usage().split()),
            fix=f"see {self.prog} --help",
        )


def counted(number: int, what: str) -> str:
    """A count with its noun, in the singular or plural.

    Args:
        number: how many.
        what: the noun in the singular; its plural ends with s.

    Returns:
        Both, with commas between thousands.

    Example:
        >>> counted(1, "token"), counted(1000, "token")
        ('1 token', '1,000 tokens')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def command(*words: object) -> str:
    """A command of ours as it is typed in the current folder, whether or not its environment is active.

    Args:
        words: what follows `python -m gpt`.

    Example:
        >>> command("sample", "runs/a b")  # doctest: +ELLIPSIS
        "...python... -m gpt sample 'runs/a b'"
    """
    python = Path(sys.executable or "python")
    if shutil.which("python") == str(python):
        python = Path("python")
    elif python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    return shlex.join([str(python), "-m", "gpt", *map(str, words)])


def columns(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
    """Rows as aligned columns, two spaces apart.

    Args:
        rows: texts, as many in each row.
        right: numbers of the columns that are aligned to the right.

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
    r"""Escape control characters, so that a terminal shows them instead of interpreting them.

    Returns:
        The text with escapes for control characters other than newline and tab.

    Example:
        >>> plain("\x1b[2J\tgone\n")
        '\\x1b[2J\tgone\n'
    """
    return text.translate(_ESCAPES)


class _Obedient:
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
        sys.stdout = cast(TextIO, _Obedient(stream))
    try:
        yield
    finally:
        sys.stdout = stream


def colored_output() -> TextIO:
    """Standard output without escaping, for text with our own colors that is escaped already."""
    return sys.stdout.stream if isinstance(sys.stdout, _Obedient) else sys.stdout


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
