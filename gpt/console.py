"""What commands share: a parser whose complaints are our errors, a progress bar, and words for numbers."""

import argparse
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeVar

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
    print(f"note: {text}", file=sys.stderr)


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
