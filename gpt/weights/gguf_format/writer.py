"""Writer of GGUF files, which llama.cpp and the programs on it read, through the `gguf` package."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import tinytensor as tt
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.weights.gguf_format.architecture import ARCHITECTURES, architecture_for, describe_config
from gpt.weights.gguf_format.metadata import Entry, number
from gpt.weights.gguf_format.tokenizer import describe_tokenizer
from gpt.weights.hf_names import Place, places
from gpt.weights.weight_tensor import DTYPES, as_stored
from tinytensor.errors import MissingLibraryError
from tinytensor.files import PathLike, replacement
from tinytensor.interop.safetensors_file import Array

_WIDE = ("position_embd.weight",)  # matrices that llama.cpp keeps in float32, as it does vectors


def save_gguf(
    model: GPT, path: PathLike, tokenizer: Tokenizer | None = None, *, dtype: str = "float32"
) -> None:
    """Save a model for llama.cpp: weights, sizes and tokenizer in one file.

    Args:
        model: of an architecture of llama.cpp: GPT-2's, Llama's, Qwen 3's (Llama's with QK norm), or Arcee's
            (Llama's with the square of ReLU). Missing biases of GPT-2 are written as zeros.
        path: the .gguf file; replaced atomically if it exists.
        tokenizer: byte-level BPE or characters; None: the file takes and gives ids.
        dtype: of the matrices; vectors, such as biases, are float32.

    Raises:
        ArgumentError: no architecture of llama.cpp is this model, or it does not have the tokenizer.
        MissingLibraryError: gguf is not installed.
        SaveError: the file cannot be written; an earlier one stays intact.

    Memory: a copy of one tensor at a time.

    Example:
        >>> import pathlib, tempfile
        >>> from gpt.config import GPTConfig
        >>> from gpt.weights.pretrained import from_pretrained
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "tiny.gguf"
        >>> model = GPT(GPTConfig(vocab_size=9, block_size=8, n_layer=1, n_head=2, n_embd=4))
        >>> save_gguf(model, path)
        >>> again, tokenizer = from_pretrained(path)
        >>> bool((again.h[0].mlp.c_fc.weight == model.h[0].mlp.c_fc.weight).all())
        True
    """
    if dtype not in DTYPES:
        raise tt.ArgumentError(
            f"save_gguf: dtype={dtype!r}", why=f"there are {', '.join(DTYPES)}", fix='use "float32"'
        )
    architecture = architecture_for(model.config)
    entries = describe_config(model.config) | describe_tokenizer(tokenizer, model.config)
    tensors = [
        Piece(name, "F32" if len(shape) == 1 or name in _WIDE else DTYPES[dtype], shape, read)
        for name, (shape, read) in parts_of(model).items()
    ]
    mostly = "ALL_F32" if dtype == "float32" else f"MOSTLY_{DTYPES[dtype]}"
    entries["general.file_type"] = number(int(_library().LlamaFileType[mostly]))
    write_gguf(path, architecture, entries, tensors)


class Piece(NamedTuple):
    """A tensor to be written.

    Args:
        name: in the file.
        kind: of its values in the file: "F32", "F16", "BF16".
        shape: of its values.
        read: function that returns the values as float32.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    read: Callable[[], Array]

    def encoded(self) -> Array:
        """The values as they are in the file."""
        dtype = next(ours for ours, theirs in DTYPES.items() if theirs == self.kind)
        return np.ascontiguousarray(as_stored(self.read(), dtype).array)


def parts_of(model: GPT) -> dict[str, tuple[tuple[int, ...], Callable[[], Array]]]:
    """Tensors of a model under the names of its architecture: shape, and a function that returns them."""
    architecture = architecture_for(model.config)
    config = replace(model.config, bias=True) if architecture == "gpt2" else model.config
    state = model.state_dict()
    found: dict[str, tuple[tuple[int, ...], Callable[[], Array]]] = {}
    for name, place in places(config, ARCHITECTURES[architecture].naming).items():
        for part, shape in place.shapes().items():
            found[part] = shape, partial(_part, state.get(name), place, part)
    return found


def _part(tensor: tt.Tensor | None, place: Place, part: str) -> Array:
    """Part of a tensor in the file's layout; zeros for a bias that the model does not have."""
    array = np.zeros(place.shape, np.float32) if tensor is None else tensor.cpu().numpy()
    return place.scatter(array)[part]


def write_gguf(
    path: PathLike, architecture: str, entries: Mapping[str, Entry], tensors: Sequence[Piece]
) -> None:
    """Write a GGUF file.

    Args:
        path: the file; replaced atomically if it exists.
        architecture: general.architecture.
        entries: further metadata.
        tensors: encoded one after the other.

    Raises:
        MissingLibraryError: gguf is not installed.
        SaveError: the file cannot be written; an earlier one stays intact.
    """
    gguf = _library()
    with replacement(path) as temporary:
        writer = gguf.GGUFWriter(temporary, architecture)
        try:
            for key, (kind, value) in entries.items():
                getattr(writer, f"add_{kind}")(key, value)
            for name, kind, shape, _ in tensors:
                each = gguf.GGMLQuantizationType[kind]
                values, size = gguf.GGML_QUANT_SIZES[each]
                nbytes = math.prod(shape) // values * size
                writer.add_tensor_info(name, shape, np.dtype(np.float32), nbytes, each)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for tensor in tensors:
                writer.write_tensor_data(tensor.encoded())
        finally:
            writer.close()


def _library() -> Any:
    try:
        import gguf
    except ImportError:
        raise MissingLibraryError(
            "save_gguf: the library gguf is missing",
            why="it is needed to write GGUF files",
            fix='pip install ".[gpt]"',
        ) from None
    return gguf
