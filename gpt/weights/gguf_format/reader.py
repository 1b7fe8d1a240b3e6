"""Reader of GGUF files, through the `gguf` package: architectures llama, qwen3, arcee and gpt2.

Quantised tensors are dequantised to float32 on reading. The tokenizer in the metadata of the file is
converted to ours.
"""

from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinytensor as tt
from gpt.tokenizers.base import Tokenizer
from gpt.weights.gguf_format.architecture import ARCHITECTURES, read_config
from gpt.weights.gguf_format.metadata import Entry, Metadata
from gpt.weights.gguf_format.tokenizer import read_tokenizer
from gpt.weights.source import Source
from gpt.weights.weight_tensor import Stored
from tinytensor.errors import FormatError, MissingLibraryError

# Items in all arrays of the metadata; published files with tokens and merges have a third of it.
MOST_ITEMS = 1 << 22
# Keys that a file with other weights has anew.
_OF_THE_WEIGHTS = {
    f"general.{name}" for name in ("architecture", "file_type", "quantization_version", "alignment")
}


class GgufFile(Source):
    """A GGUF file, which has config and tokenizer in its metadata."""

    def __init__(self, path: Path, writable: bool) -> None:
        try:
            reader = _bounded_reader()
        except ImportError:
            raise MissingLibraryError(
                f"{path}: the library gguf is missing",
                why="it is needed to read GGUF files",
                fix='pip install ".[gpt]"',
            ) from None
        try:
            with np.errstate(all="ignore"):
                file = reader(path, "c" if writable else "r")
        except (OSError, ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError) as error:
            raise FormatError(
                f"{path} is not a usable GGUF file",
                why=str(error) or type(error).__name__,
                fix="the file is truncated or damaged: download it again",
            ) from None
        self.path, self._fields = path, file.fields
        self.tensors = {tensor.name: _stored(tensor) for tensor in file.tensors}
        self._values = Metadata(path, file.fields)
        self.config = read_config(self._values, self.tensors)
        self.naming = ARCHITECTURES[self._values.architecture].naming

    @property
    def tokenizer_path(self) -> Path | None:
        """The file itself."""
        return self.path

    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer in the metadata, or None if there is none."""
        return read_tokenizer(self._values)

    def about(self) -> dict[str, Entry]:
        """Metadata that do not depend on the weights: name, license, tokenizer, chat template."""
        return {
            key: Entry(field.types[0].name.lower(), self._values.get(key))
            for key, field in self._fields.items()
            if key.startswith(("general.", "tokenizer.")) and key not in _OF_THE_WEIGHTS
        }


def _stored(tensor: Any) -> Stored:
    """Tensor with axes in our order: GGUF lists the fastest axis first."""
    shape = tuple(int(size) for size in reversed(tensor.shape))
    return Stored(tensor.tensor_type.name, shape, tensor.data, partial(_dequantised, tensor, shape))


def _dequantised(tensor: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
    from gguf.quants import dequantize

    if tensor.tensor_type.name.lower() in tt.QUANTIZED:
        packed = tt.from_numpy(tensor.data)
        found: NDArray[np.float32] = tt.dequantize(packed, tensor.tensor_type.name.lower()).numpy()
        return found.reshape(shape)
    try:
        values = dequantize(tensor.data, tensor.tensor_type)
    except RuntimeError:
        raise FormatError(
            f"the tensor {tensor.name} is quantised as {tensor.tensor_type.name}",
            why="the gguf library cannot dequantise it",
            fix="use a file quantised as Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, one of the K kinds, or floats",
        ) from None
    return np.asarray(values, np.float32).reshape(shape)


@cache
def _bounded_reader() -> Any:
    """GGUFReader with arrays read at once, and with bounds checks: it reads beyond the end of a file."""
    import gguf

    kinds = gguf.GGUFValueType

    class Bounded(gguf.GGUFReader):
        items_left = MOST_ITEMS

        def _get(self, offset: int, dtype: Any, count: Any = 1, *rest: Any, **more: Any) -> Any:
            if type(self.data) is np.memmap:  # its slices take four times as long
                self.data: Any = self.data.view(np.ndarray)
            end, size = offset + np.dtype(dtype).itemsize * int(count), len(self.data)
            if end > size:
                raise ValueError(f"the value at byte {offset} would end at {end}; the file has {size} bytes")
            return super()._get(offset, dtype, count, *rest, **more)

        def _build_fields(self, offset: int, count: int) -> int:
            if self.byte_order == "S":  # the library does not turn the scales in packed blocks
                raise ValueError("its bytes are in the order of other processors: gguf-convert-endian")
            end: int = super()._build_fields(offset, count)
            return end

        def _build_tensors(self, offset: int, infos: list[Any]) -> None:
            super()._build_tensors(offset, infos)
            for tensor in self.tensors:  # side by side, in the order of their list, as llama.cpp has them
                if tensor.data_offset != offset:
                    raise ValueError(
                        f"the tensor {tensor.name} begins at byte {tensor.data_offset}, not at {offset}, "
                        "where the one before it ends"
                    )
                offset += -(-tensor.n_bytes // self.alignment) * self.alignment

        def _get_field_parts(self, offset: int, kind: int) -> Any:
            if kind != kinds.ARRAY:
                return super()._get_field_parts(offset, kind)
            head = [self._get(offset, np.uint32), self._get(offset + 4, np.uint64)]
            of, items, at = kinds(int(head[0][0])), int(head[1][0]), offset + 12
            if items > self.items_left:
                raise ValueError(f"its metadata have an array of {items} items; the limit is {MOST_ITEMS}")
            if of == kinds.ARRAY:
                raise ValueError("its metadata have an array of arrays")
            self.items_left -= items
            # The parts of the base class, which calls itself for each item: seconds for a vocabulary.
            if of == kinds.STRING:
                end, parts = _texts(self.data, at, items)
                found = [*head, *parts]
                return end - offset, found, list(range(3, len(found), 2)), [kinds.ARRAY, of]
            values = self._get(at, self.gguf_scalar_to_np[of], items)
            found = [*head, *values.reshape(-1, 1)]
            return 12 + values.nbytes, found, list(range(2, len(found))), [kinds.ARRAY, of]

    return Bounded


def _texts(data: Any, at: int, count: int) -> tuple[int, list[Any]]:
    """End, and length and bytes of each, of texts in a file's bytes."""
    parts: list[Any] = []
    size, view = len(data), memoryview(data)
    for _ in range(count):
        start = at + 8  # behind the length
        end = start + int.from_bytes(view[at:start], "little")
        if end > size or start > size:
            raise ValueError(f"a text at byte {at} would end at {end}; the file has {size} bytes")
        parts += data[at:start], data[start:end]
        at = end
    return at, parts
