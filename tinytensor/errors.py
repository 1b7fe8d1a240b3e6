"""The exceptions: every error states what happened, why, and how to fix it, and is one of Python's, too."""

from collections.abc import Iterable

__all__ = [
    "AllocationError",
    "ArgumentError",
    "DTypeError",
    "DeviceError",
    "FormatError",
    "GradError",
    "IndexRangeError",
    "KernelError",
    "MissingFileError",
    "NumberRangeError",
    "SaveError",
    "ShapeError",
    "TinyTensorError",
    "TransformError",
]


class TinyTensorError(Exception):
    """Base class of all errors of tinytensor.

    Args:
        what: what happened, beginning with the name of the called function.
        why: the rule that was violated, with the shapes or dtypes involved.
        fix: what to write instead.
    """

    def __init__(self, what: str, *, why: str, fix: str) -> None:
        super().__init__(f"{what}\n  why: {why}\n  fix: {fix}")
        self.what, self.why, self.fix = what, why, fix

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.why, self.fix)


def nearest(name: str, names: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The name that a misspelled one most probably means; None if none is similar."""
    from difflib import get_close_matches  # imported where a name is misspelled

    near = get_close_matches(name, names, n=1, cutoff=cutoff)
    return near[0] if near else None


def shown(value: object) -> str:
    """Text of a number or tuple for a message; Python cannot print integers of more than 4,300 digits."""
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(shown, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, int) and value.bit_length() > 1024:
        return f"{'-' if value < 0 else ''}2**{value.bit_length() - 1} or more"
    return str(value)


def _rebuild(cls: type[TinyTensorError], what: str, why: str, fix: str) -> TinyTensorError:
    return cls(what, why=why, fix=fix)


class ShapeError(TinyTensorError, ValueError):
    """Shapes or axes do not match."""


class IndexRangeError(ShapeError, IndexError):
    """An index is out of range for its axis, or an axis for the shape."""


class DTypeError(TinyTensorError, TypeError):
    """A dtype, or the type of an operand, is not supported."""


class ArgumentError(TinyTensorError, ValueError):
    """An argument is outside its domain."""


class NumberRangeError(ArgumentError, OverflowError):
    """A number is out of range for its dtype."""


class AllocationError(TinyTensorError, MemoryError):
    """Out of memory."""


class DeviceError(TinyTensorError, RuntimeError):
    """A device is not available, or tensors are on different devices."""


class GradError(TinyTensorError, RuntimeError):
    """A gradient cannot be computed: no history, a freed graph, or an overwritten saved tensor."""


class TransformError(TinyTensorError, RuntimeError):
    """A function cannot be transformed: it reads numbers of a batched tensor, or writes one elsewhere."""


class KernelError(TinyTensorError, RuntimeError):
    """A kernel could not be compiled or launched."""


class FormatError(TinyTensorError, ValueError):
    """A file is corrupt or not of the expected format."""


class MissingFileError(FormatError, FileNotFoundError):
    """A file of tensors does not exist."""


class SaveError(TinyTensorError, OSError):
    """A file could not be written: full disk, no permission, no such folder."""


class MissingLibraryError(TinyTensorError, ImportError):
    """An optional library is not installed; the fix names the extra that installs it."""


class MissingNameError(TinyTensorError, AttributeError):
    """A name does not exist; the fix gives the one for a PyTorch name, or a similar one."""
