"""The errors that only the `gpt` package raises; they extend the tree of `tinytensor.errors`.

TinyTensorError
├─ MissingLibraryError (ImportError)   an optional library is not installed
└─ SaveError           (OSError)       a file could not be written
"""

from tinytensor.errors import TinyTensorError

__all__ = ["MissingLibraryError", "SaveError"]


class MissingLibraryError(TinyTensorError, ImportError):
    """An optional library is missing; the fix names the extra that brings it."""


class SaveError(TinyTensorError, OSError):
    """A file could not be written: full disk, no permission, no such folder."""
