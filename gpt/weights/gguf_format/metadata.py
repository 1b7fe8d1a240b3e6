"""Metadata of a GGUF file: keys and values with a type each, validated on reading."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from tinytensor.errors import FormatError


class Entry(NamedTuple):
    """A value to be written."""

    kind: str  # name of its type in GGUF: "string", "uint32", "float32", "bool", "array"
    value: Any  # the value; of an array, a list of strings or of integers


def text(value: str) -> Entry:
    """Entry of a string."""
    return Entry("string", value)


def number(value: int) -> Entry:
    """Entry of a number that is not negative."""
    return Entry("uint32", value)


class Metadata:
    """Metadata of a file that was read.

    Raises:
        FormatError: every method, for a value of another type than it names.
    """

    def __init__(self, path: Path, fields: Mapping[str, Any]) -> None:
        self.path, self._fields = path, fields
        self.architecture = self.text("general.architecture")

    def get(self, key: str, default: object = None) -> Any:
        """Value of a key, in which {arch} is replaced by the architecture."""
        found = self._fields.get(key.replace("{arch}", getattr(self, "architecture", "")))
        try:
            return default if found is None else found.contents()
        except (ValueError, IndexError, TypeError) as error:  # ValueError includes UnicodeDecodeError
            self.refuse(f"{key} cannot be read: {error}")

    def text(self, key: str, default: str = "") -> str:
        """String value."""
        value = self.get(key, default)
        return value if isinstance(value, str) else self.refuse(f"{key} is {value!r}, not a text")

    def size(self, key: str) -> int:
        """Required positive integer."""
        value = self.get(key)
        if type(value) is not int or value < 1:
            self.refuse(f"{key} is {value!r}, not a positive integer")
        return value

    def number(self, key: str, default: float) -> float:
        """Float rounded to the 6 digits of float32: 9.999999747378752e-06 was written as 1e-5."""
        value = self.get(key, default)
        if not isinstance(value, int | float):
            self.refuse(f"{key} is {value!r}, not a number")
        return float(f"{value:.6g}")

    def texts(self, key: str) -> list[str]:
        """Required list of strings."""
        value = self.get(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.refuse(f"{key} is not a list of texts")
        return value

    def refuse(self, why: str) -> NoReturn:
        """Raise FormatError."""
        raise FormatError(
            f"{self.path} holds a model that cannot be built here",
            why=why,
            fix="use a GGUF file of the architecture llama, qwen3, arcee or gpt2, without adapters",
        )
