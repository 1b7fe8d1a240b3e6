"""The exception tree: every error says what happened, why, and how to fix it. Knows nothing of tensors.

TinyTensorError
├─ ShapeError  (ValueError)           shapes and axes
│  └─ IndexRangeError (IndexError)    an index outside its axis, or an axis outside a shape
├─ DTypeError  (TypeError)            dtype rules and casts, operands of a wrong type
├─ ArgumentError (ValueError)         a parameter outside its domain
│  └─ NumberRangeError (OverflowError) a number that its dtype cannot hold
├─ AllocationError (MemoryError)      more memory than there is
├─ DeviceError (RuntimeError)         missing or mixed devices
├─ GradError   (RuntimeError)         no history, freed graph, overwritten saved tensor
├─ KernelError (RuntimeError)         compile or launch failure
├─ FormatError (ValueError)           broken or hostile files
├─ SaveError   (OSError)              a file could not be written
├─ MissingLibraryError (ImportError)  an optional library is not installed
└─ MissingNameError (AttributeError)  a name of PyTorch, for which there is another here
"""

__all__ = [
    "AllocationError",
    "ArgumentError",
    "DTypeError",
    "DeviceError",
    "FormatError",
    "GradError",
    "IndexRangeError",
    "KernelError",
    "NumberRangeError",
    "ShapeError",
    "TinyTensorError",
]


class TinyTensorError(Exception):
    """Base of all errors raised on purpose.

    Args:
        what: what happened, beginning with the function that the user called.
        why: the rule that was broken, with the shapes or dtypes involved.
        fix: what to write instead.
    """

    def __init__(self, what: str, *, why: str, fix: str) -> None:
        super().__init__(f"{what}\n  why: {why}\n  fix: {fix}")
        self.what, self.why, self.fix = what, why, fix

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.why, self.fix)


def shown(value: object) -> str:
    """A number or a tuple for a message; Python refuses to print integers of more than 4,300 digits."""
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(shown, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, int) and value.bit_length() > 1024:
        return f"{'-' if value < 0 else ''}2**{value.bit_length() - 1} or more"
    return str(value)


def _rebuild(cls: type[TinyTensorError], what: str, why: str, fix: str) -> TinyTensorError:
    return cls(what, why=why, fix=fix)


class ShapeError(TinyTensorError, ValueError):
    """Shapes or axes do not fit."""


class IndexRangeError(ShapeError, IndexError):
    """An index lies outside its axis, or an axis outside the shape."""


class DTypeError(TinyTensorError, TypeError):
    """A dtype, or the type of an operand, is not allowed here."""


class ArgumentError(TinyTensorError, ValueError):
    """A parameter lies outside its domain."""


class NumberRangeError(ArgumentError, OverflowError):
    """A number does not fit into its dtype."""


class AllocationError(TinyTensorError, MemoryError):
    """There is not enough memory."""


class DeviceError(TinyTensorError, RuntimeError):
    """A device is missing, or tensors live on different devices."""


class GradError(TinyTensorError, RuntimeError):
    """A gradient cannot be computed: no history, a freed graph, or an overwritten saved tensor."""


class KernelError(TinyTensorError, RuntimeError):
    """A kernel could not be compiled or launched."""


class FormatError(TinyTensorError, ValueError):
    """A file is broken, or not what it claims to be."""


class SaveError(TinyTensorError, OSError):
    """A file could not be written: full disk, no permission, no such folder."""


class MissingLibraryError(TinyTensorError, ImportError):
    """An optional library is missing; the fix names the extra that brings it."""


class MissingNameError(TinyTensorError, AttributeError):
    """There is no such name; the fix gives the one that is here for it."""
