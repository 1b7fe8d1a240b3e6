"""Reader of GGUF files, through the `gguf` package: architectures llama, qwen3, arcee and gpt2.

Quantised tensors are dequantised to float32 on reading. The tokenizer in the metadata of the file is
converted to ours. Independent of the model.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.tokenizers.base import Tokenizer
from gpt.weights.gguf_format.architecture import ARCHITECTURES, read_config
from gpt.weights.gguf_format.careful_reader import careful_reader
from gpt.weights.gguf_format.metadata import Entry, Metadata
from gpt.weights.gguf_format.tokenizer import read_tokenizer
from gpt.weights.hf_names import Naming
from gpt.weights.weight_tensor import Stored
from tinytensor.errors import FormatError, MissingLibraryError

# Keys that a file with other weights has anew.
_OF_THE_WEIGHTS = {
    f"general.{name}" for name in ("architecture", "file_type", "quantization_version", "alignment")
}

Opened = tuple[GPTConfig, Naming, Mapping[str, Stored], Callable[[], Tokenizer | None]]


def read_gguf(path: Path, *, writable: bool = False) -> Opened:
    """Open a GGUF file.

    Args:
        path: the file.
        writable: return writable arrays (copy-on-write; the file is not changed).

    Returns:
        The model's config, the naming of its tensors, the tensors by name, and a reader of the tokenizer.

    Raises:
        FormatError: a damaged file, or an unsupported architecture.
        MissingLibraryError: gguf is not installed.
    """
    reader = _reader(path, "c" if writable else "r")
    tensors = {tensor.name: _stored(tensor) for tensor in reader.tensors}
    values = Metadata(path, reader.fields)
    config, naming = read_config(values, tensors), ARCHITECTURES[values.architecture].naming
    return config, naming, tensors, partial(read_tokenizer, values)


def entries_of(path: Path) -> dict[str, Entry]:
    """Metadata of a file that do not depend on its weights: name, license, tokenizer, chat template.

    Raises:
        FormatError: a damaged file.
        MissingLibraryError: gguf is not installed.
    """
    fields = _reader(path, "r").fields
    values = Metadata(path, fields)
    found = {}
    for key in fields:
        if key.startswith(("general.", "tokenizer.")) and key not in _OF_THE_WEIGHTS:
            found[key] = Entry(fields[key].types[0].name.lower(), values.get(key))
    return found


def _reader(path: Path, mode: Literal["r", "c"]) -> Any:
    try:
        reader = careful_reader()
    except ImportError:
        raise MissingLibraryError(
            f"{path}: the library gguf is missing",
            why="it is needed to read GGUF files",
            fix='pip install ".[gpt]"',
        ) from None

    try:
        with np.errstate(all="ignore"):
            return reader(path, mode)
    except (OSError, ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise FormatError(
            f"{path} is not a usable GGUF file",
            why=str(error) or type(error).__name__,
            fix="the file is truncated or damaged: download it again",
        ) from None


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
