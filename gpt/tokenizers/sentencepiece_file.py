"""SentencePiece tokenizers, as of Llama 2, Mistral or T5, through the `sentencepiece` library.

Kudo and Richardson 2018, arXiv:1808.06226. The only module that imports the library.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

from gpt.tokenizers.base import Ids, Tokenizer, check_ids, check_text, check_utf8, unusable
from tinytensor.errors import FormatError, MissingLibraryError
from tinytensor.files import PathLike, atomic_write


class SentencePieceTokenizer(Tokenizer):
    """Tokenizer of a SentencePiece model.

    The model defines the normalization of texts, so decoding may not restore every space.
    """

    FORMAT = "tinytensor-sentencepiece"

    def __init__(self, model: bytes, path: PathLike = "model") -> None:
        self._model = model
        self._library = _open(model, path)

    @classmethod
    def from_json(cls, description: Mapping[str, object], path: PathLike) -> "SentencePieceTokenizer":
        """Tokenizer from the JSON object of its file; FormatError if it is damaged."""
        try:
            return cls(base64.b64decode(str(description.get("proto")), validate=True), path)
        except ValueError as error:  # includes binascii.Error
            raise _broken(path, f"'proto' is not base64: {error}") from None

    def __repr__(self) -> str:
        return f"SentencePieceTokenizer(vocab_size={self.vocab_size})"

    @property
    def vocab_size(self) -> int:
        """Number of pieces."""
        return int(self._library.get_piece_size())

    @property
    def separator(self) -> int | None:
        """Id of the end-of-sentence token `</s>`, or None."""
        end = int(self._library.eos_id())
        return end if end >= 0 else None

    @property
    def pieces(self) -> list[str]:
        """All pieces by id; "▁" is a space."""
        return [str(self._library.id_to_piece(i)) for i in range(self.vocab_size)]

    def encode(self, text: str) -> list[int]:
        """Encode a text, without begin and end tokens."""
        check_text(text, "encode")
        check_utf8(text, "encode")
        return [int(i) for i in self._library.encode(text)]

    def decode(self, ids: Ids) -> str:
        """Decode ids to text; control pieces such as `</s>` are omitted."""
        return str(self._library.decode(check_ids(ids, self.vocab_size, "decode")))

    def save(self, path: PathLike) -> None:
        """Write the model inside a JSON file."""
        proto = base64.b64encode(self._model).decode("ascii")
        with atomic_write(path) as file:
            file.write(json.dumps({"format": self.FORMAT, "proto": proto}).encode("ascii"))


def _open(model: bytes, path: PathLike) -> Any:
    try:
        import sentencepiece
    except ModuleNotFoundError:
        raise MissingLibraryError(
            f"load: {str(path)!r} is a SentencePiece model",
            why="the library sentencepiece, which reads it, is not installed",
            fix='pip install ".[gpt]"',
        ) from None
    try:
        library = sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError as error:
        raise _broken(path, f"sentencepiece says: {error}") from None
    if not model:  # the library would accept it as a model without pieces
        raise _broken(path, "the file is empty")
    return library


def _broken(path: PathLike, why: str) -> FormatError:
    return unusable(path, why, "a usable SentencePiece model", "copy the file again, or name another one")
