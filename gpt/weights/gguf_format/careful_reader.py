"""GGUFReader of the `gguf` package with bounds checks, and with arrays read at once."""

from functools import cache
from typing import Any

import numpy as np

# Items in all arrays of the metadata; published files with tokens and merges have a third of it.
MOST_ITEMS = 1 << 22


@cache
def careful_reader() -> Any:
    """The class: the base class reads beyond the end of a file, without limits.

    Raises:
        ImportError: gguf is not installed.
    """
    import gguf

    kinds = gguf.GGUFValueType

    class Careful(gguf.GGUFReader):
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

    return Careful


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
