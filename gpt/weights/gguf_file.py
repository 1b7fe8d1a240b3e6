"""Reader of GGUF, the format of llama.cpp, through the `gguf` package: architectures llama and gpt2.

Quantised tensors are dequantised to float32 on reading. The tokenizer in the metadata of the file is
converted to ours. Independent of the model.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from gpt.config import GPTConfig
from gpt.fields import from_dict
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.pretokenize import unprintable
from gpt.weights.hf_names import GGUF_GPT2, GGUF_LLAMA, Naming
from gpt.weights.weight_tensor import Stored
from tinytensor.errors import FormatError, MissingLibraryError

_SIZES = {
    "context_length": "block_size",
    "block_count": "n_layer",
    "attention.head_count": "n_head",
    "embedding_length": "n_embd",
    "feed_forward_length": "n_inner",
}
_CONTROL, _USER = 3, 4  # token types of special tokens
_SPLITS = {"gpt-2": "gpt2", "default": "gpt2", "smollm": "smollm"}  # tokenizer.ggml.pre → our rule

# Items in all arrays of the metadata; published files with tokens and merges have a third of it.
_MOST_ITEMS = 1 << 22

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
    values = _Values(path, reader)
    return _config(values, tensors), values.naming, tensors, partial(_tokenizer, values)


class _Values:
    """Metadata of a file, with validation."""

    def __init__(self, path: Path, reader: Any) -> None:
        self.path = path
        self._fields = reader.fields
        self.architecture = self.text("general.architecture")
        namings = {"llama": GGUF_LLAMA, "gpt2": GGUF_GPT2}
        if self.architecture not in namings:
            self.refuse(f"its architecture is {self.architecture!r}; there are {', '.join(namings)}")
        self.naming = namings[self.architecture]

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
            fix="use a GGUF file of the architecture llama or gpt2, without adapters",
        )


def _reader(path: Path, mode: Literal["r", "c"]) -> Any:
    try:
        import gguf
    except ImportError:
        raise MissingLibraryError(
            f"{path}: the library gguf is missing",
            why="it is needed to read GGUF files",
            fix='pip install ".[gpt]"',
        ) from None

    class Careful(gguf.GGUFReader):
        """GGUFReader with bounds checks: the base class reads beyond the end of a file, without limits."""

        items_left = _MOST_ITEMS

        def _get(self, offset: int, dtype: Any, count: Any = 1, *rest: Any, **more: Any) -> Any:
            if type(self.data) is np.memmap:  # slices of the base class are faster
                self.data: Any = self.data.view(np.ndarray)
            end, size = offset + np.dtype(dtype).itemsize * int(count), len(self.data)
            if end > size:
                raise ValueError(f"the value at byte {offset} would end at {end}; the file has {size} bytes")
            return super()._get(offset, dtype, count, *rest, **more)

        def _get_field_parts(self, offset: int, kind: int) -> Any:
            if kind == gguf.GGUFValueType.ARRAY:
                items = int(self._get(offset + 4, np.uint64)[0])
                if items > self.items_left:
                    raise ValueError(
                        f"its metadata have an array of {items} items; the limit is {_MOST_ITEMS}"
                    )
                if self._get(offset, np.uint32)[0] == gguf.GGUFValueType.ARRAY:
                    raise ValueError("its metadata have an array of arrays")
                self.items_left -= items
            return super()._get_field_parts(offset, kind)

    try:
        with np.errstate(all="ignore"):
            return Careful(path, mode)
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

    try:
        values = dequantize(tensor.data, tensor.tensor_type)
    except RuntimeError:
        raise FormatError(
            f"the tensor {tensor.name} is quantised as {tensor.tensor_type.name}",
            why="the gguf library cannot dequantise it",
            fix="use a file quantised as Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, one of the K kinds, or floats",
        ) from None
    return np.asarray(values, np.float32).reshape(shape)


def _config(values: _Values, tensors: Mapping[str, Stored]) -> GPTConfig:
    llama = values.architecture == "llama"
    fields: dict[str, Any] = {ours: values.size(f"{{arch}}.{theirs}") for theirs, ours in _SIZES.items()}
    table, head = (tensors.get(name) for name in ("token_embd.weight", "output.weight"))
    if table is None:
        values.refuse("there is no tensor token_embd.weight")
    if fields["n_inner"] == 4 * fields["n_embd"]:
        del fields["n_inner"]  # the default size
    fields |= {
        "vocab_size": table.shape[0],
        # GPT-2 files repeat the embeddings as the head.
        "tied_head": head is None or (head.dtype == table.dtype and np.array_equal(head.array, table.array)),
    }
    if llama:
        fields |= _rope(values, fields["n_embd"] // fields["n_head"])
        groups = values.get("{arch}.attention.head_count_kv", fields["n_head"])
        fields |= {
            "n_kv_head": 0 if groups == fields["n_head"] else groups,
            "bias": False,
            "norm": "rms_norm",
            "activation": "swiglu",
            "norm_eps": values.number("{arch}.attention.layer_norm_rms_epsilon", 1e-5),
        }
    else:
        fields["norm_eps"] = values.number("{arch}.attention.layer_norm_epsilon", 1e-5)
    if values.get("{arch}.expert_count", 0):
        values.refuse("it is a mixture of experts")
    return from_dict(GPTConfig, fields, source=str(values.path))


def _rope(values: _Values, head_size: int) -> dict[str, Any]:
    """RoPE fields; raises for scaled or partial RoPE."""
    for key in ("rope.dimension_count", "attention.key_length", "attention.value_length"):
        if values.get(f"{{arch}}.{key}", head_size) != head_size:
            values.refuse(
                f"its {key} is {values.get(f'{{arch}}.{key}')}, its heads have {head_size} channels"
            )
    if values.text("{arch}.rope.scaling.type", "none") != "none":
        values.refuse("its rotations are scaled")
    return {"position": "rope", "rope_theta": values.number("{arch}.rope.freq_base", 10000.0)}


def _tokenizer(values: _Values) -> Tokenizer | None:
    """Byte-level BPE tokenizer in the metadata; None if there is none."""
    kind = values.text("tokenizer.ggml.model", "none")
    if kind == "none":
        return None
    if kind != "gpt2":
        values.refuse(f"its tokenizer is {kind!r}; there is gpt2, which is byte-level BPE")
    cut = values.text("tokenizer.ggml.pre", "gpt-2")
    if cut not in _SPLITS:
        values.refuse(f"its tokenizer cuts texts by the rule {cut!r}; there are {', '.join(_SPLITS)}")
    names, kinds = values.texts("tokenizer.ggml.tokens"), values.get("tokenizer.ggml.token_type", [])
    if not isinstance(kinds, list) or len(kinds) != len(names):
        values.refuse("tokenizer.ggml.token_type does not tell the kind of each token")
    special = {name: i for i, name in enumerate(names) if kinds[i] in (_CONTROL, _USER)}
    merges = [merge.split(" ") for merge in values.texts("tokenizer.ggml.merges")]
    try:
        tokenizer = BPETokenizer(
            {unprintable(name): i for i, name in enumerate(names) if name not in special},
            [(unprintable(first), unprintable(second)) for first, second in merges],
            special,
            _SPLITS[cut],
        )
    except (KeyError, ValueError, TypeError) as error:  # not a byte character; merges of one or three
        values.refuse(f"its tokenizer is damaged: {error!r}")
    tokenizer.chat_template = values.text("tokenizer.chat_template")
    return tokenizer
