"""What commands with sub-commands share: a parser whose complaints are our errors, and a progress bar."""

import argparse
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeVar

from tinytensor.errors import ArgumentError

__all__ = ["Parser", "progress_bar"]

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
