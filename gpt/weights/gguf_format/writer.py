"""Writer of GGUF files, which llama.cpp and the programs on it read, through the `gguf` package."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

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
_TABLES = ("token_embd.weight", "output.weight")  # packed in 8 bits: each token depends on their errors
_OTHERWISE = {"q4_k": "q5_0", "q5_k": "q5_1", "q6_k": "q8_0"}  # of rows that are no multiple of 256


def save_gguf(
    model: GPT,
    path: PathLike,
    tokenizer: Tokenizer | None = None,
    *,
    dtype: str = "float32",
    about: Mapping[str, Entry] | None = None,
) -> None:
    """Save a model for llama.cpp: weights, sizes and tokenizer in one file.

    Args:
        model: of an architecture of llama.cpp: GPT-2's, Llama's, Qwen 3's (Llama's with QK norm), or Arcee's
            (Llama's with the square of ReLU). Missing biases of GPT-2 are written as zeros.
        path: the .gguf file; replaced atomically if it exists.
        tokenizer: byte-level BPE or characters; None: the file takes and gives ids.
        dtype: of the matrices: float32, bfloat16, float16, or a kind of tt.QUANTIZED such as "q4_0". Token
            embeddings and the head have 8 bits at least; rows that are no multiple of the kind's block are of
            another kind, or float16. Vectors, such as biases, are float32.
        about: further metadata, which replace those of the model.

    Memory: a copy of one tensor at a time.

    Example:
        >>> import pathlib, tempfile
        >>> from gpt.config import GPTConfig
        >>> from gpt.weights.load import load
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "tiny.gguf"
        >>> model = GPT(GPTConfig(vocab_size=9, block_size=8, n_layer=1, n_head=2, n_embd=32))
        >>> save_gguf(model, path, dtype="q8_0")
        >>> load(path, packed=True)[0].wte
        QuantizedEmbedding(q8_0, packed (9, 34))
    """
    known = (*DTYPES, *tt.QUANTIZED)
    if dtype not in known:
        raise tt.ArgumentError(
            f"save_gguf: dtype={dtype!r}", why=f"there are {', '.join(known)}", fix='use "float32"'
        )
    architecture = architecture_for(model.config)
    entries = describe_config(model.config) | describe_tokenizer(tokenizer, model.config)
    entries["general.file_type"] = number(int(_library().LlamaFileType[_file_type(dtype)]))
    entries["general.quantization_version"] = number(_library().GGML_QUANT_VERSION)
    write_gguf(path, architecture, entries | dict(about or {}), _pieces(model, dtype))


def _file_type(dtype: str) -> str:
    """Name of a dtype in llama.cpp's list of file types."""
    if dtype in DTYPES:
        return "ALL_F32" if dtype == "float32" else f"MOSTLY_{DTYPES[dtype]}"
    return f"MOSTLY_{dtype.upper()}{'_S' if dtype in ('q4_k', 'q5_k') else ''}"


@dataclass(frozen=True, eq=False)
class Piece:
    """A tensor to be written."""

    name: str  # in the file
    kind: str  # of its values in the file: F32, F16, BF16, or a key of tt.QUANTIZED in capitals
    shape: tuple[int, ...]  # of its values
    read: Callable[[], Array]  # function that returns the values as float32

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        count = math.prod(self.shape)
        if (packed := tt.QUANTIZED.get(self.kind.lower())) is not None:
            return count // packed.values * packed.nbytes
        return count * (4 if self.kind == "F32" else 2)

    def encoded(self) -> Array:
        """The values as they are in the file."""
        values = np.ascontiguousarray(self.read())
        if self.kind.lower() in tt.QUANTIZED:
            return tt.quantize(tt.from_numpy(values), self.kind.lower()).numpy()
        dtype = next(ours for ours, theirs in DTYPES.items() if theirs == self.kind)
        return np.ascontiguousarray(as_stored(values, dtype).array)


def kind_in_file(name: str, shape: tuple[int, ...], dtype: str) -> str:
    """Kind of a tensor in a file whose matrices are mostly of a dtype.

    Example:
        >>> [kind_in_file("blk.0.ffn_up.weight", (2, width), "q4_k") for width in (256, 96, 20)]
        ['Q4_K', 'Q5_0', 'F16']
    """
    if len(shape) == 1 or name in _WIDE:
        return "F32"
    if dtype in DTYPES:
        return DTYPES[dtype]
    kind = "q8_0" if name in _TABLES else dtype
    if shape[-1] % tt.QUANTIZED[kind].values:
        kind = _OTHERWISE.get(kind, kind)
    return "F16" if shape[-1] % tt.QUANTIZED[kind].values else kind.upper()


def _pieces(model: GPT, dtype: str) -> list[Piece]:
    """Tensors of a model under the names of its architecture."""
    architecture = architecture_for(model.config)
    config = replace(model.config, bias=True) if architecture == "gpt2" else model.config
    state, found = model.state_dict(), []
    for name, place in places(config, ARCHITECTURES[architecture].naming).items():
        if name not in state and not name.endswith(".bias"):
            raise tt.ArgumentError(
                f"save_gguf: the model has no {name}",
                why="it was loaded with packed weights, or is not a GPT",
                fix="load it with load(path), without packed=True",
            )
        for part, shape in place.shapes().items():
            kind = kind_in_file(part, shape, dtype)
            read = partial(_part, state.get(name), place, part)
            found.append(Piece(part, kind, shape, read))
    return found


def _part(tensor: tt.Tensor | None, place: Place, part: str) -> Array:
    """Part of a tensor in the file's layout; zeros for a bias that the model does not have."""
    array = np.zeros(place.shape, np.float32) if tensor is None else tensor.cpu().numpy()
    return place.scatter(array)[part]


def write_gguf(
    path: PathLike, architecture: str, entries: Mapping[str, Entry], tensors: Sequence[Piece]
) -> None:
    """Write a GGUF file."""
    gguf = _library()
    with replacement(path) as temporary:
        writer = gguf.GGUFWriter(temporary, architecture)
        try:
            for key, entry in entries.items():
                getattr(writer, f"add_{entry.kind}")(key, entry.value)
            for piece in tensors:
                kind = gguf.GGMLQuantizationType[piece.kind]
                writer.add_tensor_info(piece.name, piece.shape, np.dtype(np.float32), piece.nbytes, kind)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for piece in tensors:
                writer.write_tensor_data(piece.encoded())
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
