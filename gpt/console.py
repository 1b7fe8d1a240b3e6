"""What commands share: a parser whose complaints are our errors, a progress bar, words for numbers, and a
terminal that no file commands.
"""

import argparse
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TextIO, TypeVar, cast

from tinytensor.errors import ArgumentError

__all__ = ["Parser", "counted", "note", "progress_bar"]

T = TypeVar("T")


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises ArgumentError where the original prints and exits."""

    def error(self, message: str) -> NoReturn:
        """Turn the message into what, why and fix."""
        raise ArgumentError(
            f"{self.prog}: {message}",
            why=" ".join(self.format_usage().split()),
            fix=f"see {self.prog} --help",
        )


def counted(number: int, what: str) -> str:
    """A number of things, in words.

    Args:
        number: how many.
        what: one of them; its plural ends with s.

    Returns:
        Both, with commas between thousands.

    Example:
        >>> counted(1, "token"), counted(1000, "token")
        ('1 token', '1,000 tokens')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def note(text: str) -> None:
    """Say on standard error what a command does otherwise than it was asked to.

    Args:
        text: what, and why.
    """
    print(f"note: {plain(text)}", file=sys.stderr)


# Escape and its kin, also those above ASCII that some terminals obey; newlines and tabs stay.
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def plain(text: str) -> str:
    r"""A text whose control characters a terminal shows instead of obeying them.

    Args:
        text: from a file, or from a model.

    Returns:
        The text with escapes for control characters other than newline and tab.

    Example:
        >>> plain("\x1b[2J\tgone\n")
        '\\x1b[2J\tgone\n'
    """
    return text.translate(_ESCAPES)


class _Obedient:
    """A terminal that is written plain texts alone."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        return self.stream.write(plain(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def safe_output() -> Iterator[None]:
    """Let standard output, where it is a terminal, show control characters instead of obeying them: names in
    files and what a model writes could set titles and clipboards, and hide text. Files and pipes get the text
    as it is.
    """
    stream = sys.stdout
    if stream.isatty():
        sys.stdout = cast(TextIO, _Obedient(stream))
    try:
        yield
    finally:
        sys.stdout = stream


def colored_output() -> TextIO:
    """Standard output for texts with colors of our own, in which all else is plain already."""
    return sys.stdout.stream if isinstance(sys.stdout, _Obedient) else sys.stdout


@contextmanager
def progress_bar(unit: str, total: int) -> Iterator[Callable[[Iterable[T]], Iterable[T]]]:
    """Give a function that passes an iterable on and shows its progress, where tqdm and a terminal are."""
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
