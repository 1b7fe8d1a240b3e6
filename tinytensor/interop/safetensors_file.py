"""Safetensors files: a reader with full validation, which maps the file or copies from it, and a writer.

The format: 8 bytes, the length N of the header (little-endian); N bytes of JSON in UTF-8, beginning with `{`;
then the data. The header maps each name to {"dtype", "shape", "data_offsets": [begin, end]}, counted from the
end of the header; "__metadata__" maps strings to strings. The tensors, row-major and little-endian, fill the
data without overlaps or holes. Such a file has no executable content, and a reader that checks all of this
cannot read outside the file. Works on NumPy arrays, independent of tensors and models.
"""

import json
import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tinytensor.errors import DTypeError, FormatError, MissingFileError, SaveError
from tinytensor.files import PathLike, atomic_write, sync_folder

__all__ = ["Array", "Entry", "WeightFile", "read_safetensors", "write_safetensors"]

Array = NDArray[Any]

# Name in the file → NumPy dtype. NumPy has no bfloat16: its bits are returned as uint16.
_DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "C64": np.dtype("<c8"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items() if name != "BF16"}

_LENGTH_BYTES = 8
_MAX_HEADER = 100_000_000  # limit of the format
_MAX_AXES = 64  # NumPy's limit
_MAX_SIZE = 2**62  # of the product of all nonzero axes: NumPy's limit in bytes


@dataclass(frozen=True, eq=False)
class Entry:
    """One tensor of a weight file, of dtype F32, BF16, …; for BF16 the array has the bits as uint16."""

    dtype: str
    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.array.shape


@dataclass(frozen=True)
class WeightFile:
    """Contents of a weight file: name → tensor in the order of the data, and metadata."""

    entries: Mapping[str, Entry]
    metadata: Mapping[str, str] = field(default_factory=dict)

    def arrays(self) -> dict[str, Array]:
        """Map from name to array (BF16 as uint16 bits; `entries` has the dtypes)."""
        return {name: entry.array for name, entry in self.entries.items()}


def read_safetensors(path: PathLike, *, writable: bool = False, mapped: bool = True) -> WeightFile:
    """Open and validate a weight file; map its tensors into memory without reading them, or read them.

    Args:
        writable: return writable arrays (copy-on-write; the file is not changed).
        mapped: False reads the tensors, each into memory of its own.

    Memory: mapped, only the header; pages are read on access. A tensor that is not aligned to its item size
        (the format allows it, the library never writes it) is copied. A mapped file must not be truncated
        while its arrays are in use.
    Differs from: safetensors.numpy.load_file, which neither maps the file nor supports BF16.
    Source: the format's description in the README of huggingface/safetensors.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "weights.safetensors"
    >>> write_safetensors(path, {"w": np.ones((2, 3), np.float32)}, metadata={"step": "7"})
    >>> file = read_safetensors(path)
    >>> file.entries["w"].dtype, file.entries["w"].shape, file.metadata["step"]
    ('F32', (2, 3), '7')
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # opening a pipe would block until a writer opens it
            raise _broken(path, "it is a folder, a device or a pipe")
        with open(path, "rb") as file:
            return _contents(path, file, writable, mapped)
    except FormatError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path, or a file that shrinks meanwhile
        raise (MissingFileError if isinstance(error, FileNotFoundError) else FormatError)(
            f"read_safetensors: {path} cannot be opened",
            why=str(error),
            fix="check the path of the weight file",
        ) from None


def write_safetensors(
    path: PathLike, tensors: Mapping[str, Array | Entry], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a weight file atomically.

    Args:
        tensors: name → array of any layout, or an Entry to write uint16 bits as BF16.

    Raises:
        FormatError: a name or metadata that is not a string, or the name "__metadata__".

    Memory: a copy of one array at a time, if it is not contiguous and little-endian.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "half.safetensors"
    >>> write_safetensors(path, {"one": Entry("BF16", np.array([0x3F80], np.uint16))})
    >>> read_safetensors(path).entries["one"].dtype
    'BF16'
    """
    path = Path(path)
    _check_texts("write_safetensors", tensors, metadata or {})
    dtypes = {name: _checked_dtype(name, tensor) for name, tensor in tensors.items()}
    arrays = {name: np.asarray(t.array if isinstance(t, Entry) else t) for name, t in tensors.items()}
    # The largest elements first: so each tensor begins at a multiple of its item size, as the format advises.
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    try:
        with atomic_write(path) as file:
            file.write(_head({name: (dtypes[name], arrays[name]) for name in order}, metadata or {}))
            for name in order:
                _write(file, arrays[name])
        sync_folder(path.parent)
    except OSError as error:  # includes SaveError
        raise SaveError(
            f"write_safetensors: {path} could not be written",
            why=error.why if isinstance(error, SaveError) else str(error),
            fix=f"{error.fix if isinstance(error, SaveError) else 'free some space'}; "
            "an earlier file of this name stays intact",
        ) from None


# --- reading ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Span:
    """Header entry of one tensor; begin and end are offsets from the end of the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def _broken(path: Path, why: str) -> FormatError:
    """Error for a file that violates the format."""
    return FormatError(
        f"read_safetensors: {path} is not a safe weight file", why=why, fix="download or write the file again"
    )


def _contents(path: Path, file: IO[bytes], writable: bool, mapped: bool) -> WeightFile:
    """The tensors and the metadata of an open file."""
    size = os.fstat(file.fileno()).st_size
    header, begin = _header(path, file, size)
    metadata = _metadata(path, header.pop("__metadata__", {}))
    spans = sorted(
        (_span(path, name, entry) for name, entry in header.items()), key=lambda s: (s.begin, s.end)
    )
    _check_cover(path, spans, size - begin)
    if mapped:
        body = np.memmap(file, np.uint8, "c" if writable else "r")[begin:]
        arrays = [_view(span, body) for span in spans]
    else:
        file.seek(begin)
        arrays = [_read(path, span, file, writable) for span in spans]
    for span, array in zip(spans, arrays, strict=True):
        if span.dtype == "BOOL" and array.size and array.view(np.uint8).max() > 1:
            raise _broken(path, f"{span.name!r} is BOOL and has a byte that is neither 0 nor 1")
    return WeightFile(
        {s.name: Entry(s.dtype, array) for s, array in zip(spans, arrays, strict=True)}, metadata
    )


def _header(path: Path, file: IO[bytes], size: int) -> tuple[dict[str, object], int]:
    """Parse the header; returns it and its end offset."""
    if size < _LENGTH_BYTES:
        raise _broken(path, f"it has {size} bytes; the length of the header alone takes 8")
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    end = _LENGTH_BYTES + length
    if length > _MAX_HEADER or end > size:
        limit = min(_MAX_HEADER, size - _LENGTH_BYTES)
        raise _broken(path, f"the header claims {length} bytes; {limit} are possible")
    raw = file.read(length)
    if raw[:1] != b"{":
        raise _broken(path, "the header does not begin with '{'")
    try:
        header = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_no_constant
        )
    except UnicodeDecodeError as error:
        raise _broken(path, f"the header is not UTF-8: {error.reason} at byte {error.start}") from None
    except (ValueError, RecursionError) as error:  # ValueError includes JSONDecodeError
        raise _broken(path, f"the header is not JSON: {error}") from None
    for name in header:
        if not _is_utf8(name):
            raise _broken(path, f"the name {name!r} has half a surrogate pair")
    return header, end


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Dict of JSON pairs; raises for duplicate names, which readers resolve differently."""
    made = dict(pairs)
    if len(made) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise ValueError(f"the name {twice!r} appears twice")
    return made


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is not JSON")


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _metadata(path: Path, value: object) -> dict[str, str]:
    """Check that the metadata maps strings to strings."""
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise _broken(path, "__metadata__ must map strings to strings")
    if not all(map(_is_utf8, [*value, *value.values()])):
        raise _broken(path, "__metadata__ has half a surrogate pair")
    return value


def _span(path: Path, name: str, entry: object) -> _Span:
    """Validate the header entry of one tensor."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _broken(path, f"{name!r} needs exactly dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise _broken(path, f"{name!r} has the dtype {dtype!r}; known are {', '.join(_DTYPES)}")
    if not _are_counts(shape) or len(shape) > _MAX_AXES or math.prod(n for n in shape if n) > _MAX_SIZE:
        raise _broken(
            path, f"{name!r} has a shape that is not a list of at most 64 sizes within 2^62 elements"
        )
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _broken(path, f"{name!r} has data_offsets that are not [begin, end]")
    begin, end = offsets
    nbytes = math.prod(shape) * _DTYPES[dtype].itemsize
    if end - begin != nbytes:
        raise _broken(
            path, f"{name!r} takes {nbytes} bytes by {dtype} {shape}, but {end - begin} by its data_offsets"
        )
    return _Span(name, dtype, tuple(shape), begin, end)


def _are_counts(value: Any) -> bool:
    """Whether a JSON value is a list of integers from 0 to 2^63."""
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**63 for n in value)


def _check_cover(path: Path, spans: list[_Span], size: int) -> None:
    """Check that sorted spans fill the data exactly: no overlap, no hole, nothing after the last."""
    filled = 0
    for span in spans:
        if span.begin != filled:
            problem = "overlaps the tensor before it" if span.begin < filled else "leaves a hole before it"
            raise _broken(path, f"{span.name!r} begins at {span.begin} instead of {filled}: it {problem}")
        filled = span.end
    if filled != size:
        problem = "the file is cut off" if filled > size else "the remainder belongs to no tensor"
        raise _broken(path, f"the tensors take {filled} bytes of data, the file has {size}: {problem}")


def _view(span: _Span, body: NDArray[np.uint8]) -> Array:
    """Array view of the bytes of one tensor; a copy if they are not aligned."""
    raw = body[span.begin : span.end]
    # np.asarray drops the memmap class, not the mapping: the array's base keeps it open.
    array: Array = np.asarray(raw).view(_DTYPES[span.dtype]).reshape(span.shape)
    if not array.flags.aligned:
        writable = array.flags.writeable
        array = array.copy()
        array.flags.writeable = writable
    return array


def _read(path: Path, span: _Span, file: IO[bytes], writable: bool) -> Array:
    """Array of the next tensor in the file."""
    array: Array = np.fromfile(file, _DTYPES[span.dtype], math.prod(span.shape))
    if array.nbytes != span.end - span.begin:
        raise _broken(path, f"{span.name!r} ends early: the file became shorter while it was read")
    array.flags.writeable = writable
    return array.reshape(span.shape)


# --- writing ------------------------------------------------------------------------------------------


def _check_texts(caller: str, tensors: Mapping[str, object], metadata: Mapping[str, str]) -> None:
    """Validate names and metadata before writing."""
    texts: tuple[object, ...] = (*tensors, *metadata, *metadata.values())
    for text in texts:
        if not isinstance(text, str) or not _is_utf8(text):
            raise FormatError(
                f"{caller}: {text!r} is not a string", why="names and metadata are strings", fix="use str(…)"
            )
    if "__metadata__" in tensors:
        raise FormatError(
            f"{caller}: a tensor is named '__metadata__'",
            why="the format reserves this name for metadata",
            fix="choose another name",
        )


def _checked_dtype(name: str, tensor: Array | Entry) -> str:
    """Name of the dtype in the file; DTypeError if the format has none."""
    array = np.asarray(tensor.array if isinstance(tensor, Entry) else tensor)
    little = array.dtype.newbyteorder("<")
    dtype = tensor.dtype if isinstance(tensor, Entry) else _NAMES.get(little, "")
    if dtype not in _DTYPES or _DTYPES[dtype] != little:
        raise DTypeError(
            f"write_safetensors: {name!r} is an array of {array.dtype}"
            + (f", to be written as {dtype}" if dtype else ""),
            why=f"the format has {', '.join(_DTYPES)}; BF16 is written from its bits in uint16",
            fix=f'write {name}.astype("float32")',
        )
    return dtype


def _head(arrays: Mapping[str, tuple[str, Array]], metadata: Mapping[str, str]) -> bytes:
    """The length of the header and the header, whose spaces at the end align the data to 8 bytes."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, (dtype, array) in arrays.items():
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": (begin, end)}
    raw = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % _LENGTH_BYTES)
    return len(raw).to_bytes(_LENGTH_BYTES, "little") + raw


def _write(file: IO[bytes], array: Array) -> None:
    """Append the elements, row-major and little-endian."""
    packed = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    if packed.size:
        file.write(packed.reshape(-1).view(np.uint8).data)
