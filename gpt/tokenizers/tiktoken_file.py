"""Rank files of `tiktoken`: each line is a token in base64 and its id, which is also its rank.

Such a file has no merges: two adjacent tokens merge whenever their joined bytes are a token. This module
derives the pair of each token. The pre-tokenization rule and the special tokens are not in the file either,
but follow from its name.
"""

import base64
import binascii
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

from gpt.tokenizers.base import unusable
from gpt.tokenizers.bpe_merge import merge
from gpt.tokenizers.hf_json import Merge, Parts
from tinytensor.errors import ArgumentError, FormatError
from tinytensor.files import PathLike, read_bytes

_END, _PROMPT = "<|endoftext|>", "<|endofprompt|>"
_FIM = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
_HARMONY = {
    200002: "<|return|>",
    200003: "<|constrain|>",
    200005: "<|channel|>",
    200006: "<|start|>",
    200007: "<|end|>",
    200008: "<|message|>",
    200012: "<|call|>",
}
# Name of the file → pre-tokenization rule and special tokens.
ENCODINGS: dict[str, tuple[str, dict[str, int]]] = {
    "gpt2": ("gpt2", {_END: 50256}),
    "r50k_base": ("gpt2", {_END: 50256}),
    "p50k_base": ("gpt2", {_END: 50256}),
    "p50k_edit": ("gpt2", {_END: 50256} | {name: 50281 + i for i, name in enumerate(_FIM)}),
    "cl100k_base": (
        "cl100k",
        {_END: 100257, **{name: 100258 + i for i, name in enumerate(_FIM)}, _PROMPT: 100276},
    ),
    "o200k_base": ("o200k", {_END: 199999, _PROMPT: 200018}),
    "o200k_harmony": (
        "o200k",
        {"<|startoftext|>": 199998, _END: 199999}
        | {_HARMONY.get(i, f"<|reserved_{i}|>"): i for i in range(200000, 201088)}
        | {_PROMPT: 200018},
    ),
}
_LINE = re.compile(rb"[A-Za-z0-9+/]*={0,2} +\d{1,9}")
_LARGEST = 1 << 28  # bytes of a file; published ones have 4 MB
_LONGEST = 1024  # bytes of a token; published ones have up to 128
_MOST_WAYS = 64  # splits of a token into two others, on average; published files have about one


def is_rank_file(data: bytes) -> bool:
    """Whether data starts like a rank file, plain or gzip-compressed."""
    return data[:2] == b"\x1f\x8b" or _LINE.match(data) is not None


def read_ranks(path: PathLike, special_tokens: Mapping[str, int] | None = None, split: str = "") -> Parts:
    """Arguments of `BPETokenizer` from a rank file; see `BPETokenizer.from_ranks`.

    Source: byte_pair_encode of openai/tiktoken, which defines the ids.
    """
    vocab = _vocabulary(path, _unpacked(path, read_bytes(path, "load")))
    if special_tokens is None or not split:
        name = Path(path).name.removesuffix(".gz").removesuffix(".tiktoken")
        if name not in ENCODINGS:
            raise ArgumentError(
                f"load: {str(path)!r} has no pre-tokenization rule and no special tokens",
                why=f"a rank file has ordinary tokens only, and {name!r} is not a known encoding",
                fix="call BPETokenizer.from_ranks(path, special_tokens=..., split=...), or give the file the "
                f"name that it was published under: {', '.join(ENCODINGS)}",
            )
        split = split or ENCODINGS[name][0]
        special_tokens = ENCODINGS[name][1] if special_tokens is None else special_tokens
    return Parts(vocab, _merges(path, vocab), dict(special_tokens), split, whole_pieces=True)


def _unpacked(path: PathLike, data: bytes) -> bytes:
    if data[:2] != b"\x1f\x8b":
        return data
    unpacker = zlib.decompressobj(wbits=31)
    try:
        data = unpacker.decompress(data, _LARGEST)
    except zlib.error as error:
        raise _broken(path, f"it is no gzip file: {error}") from None
    if not unpacker.eof:
        raise _broken(path, "its gzip data are cut off, or larger than any vocabulary")
    return data


def _vocabulary(path: PathLike, data: bytes) -> dict[bytes, int]:
    vocab: dict[bytes, int] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        if not _LINE.fullmatch(line):
            raise _broken(
                path, f"line {number} is {ascii(line[:60])[1:]}, not a token in base64 and its rank"
            )
        word, _, rank = line.rpartition(b" ")
        try:
            token = base64.b64decode(word.rstrip(), validate=True)
        except binascii.Error as error:
            raise _broken(path, f"line {number} is no base64: {error}") from None
        if not token or len(token) > _LONGEST or token in vocab:
            raise _broken(path, f"the token of line {number} comes twice, or has {len(token)} bytes")
        vocab[token] = int(rank)
    return vocab


def _merges(path: PathLike, vocab: Mapping[bytes, int]) -> list[Merge]:
    """Pairs that produce each token, in the order of ranks.

    If the merges of lower ranks reduce a token to two parts, it is always produced from these two: as long as
    no merge crosses its borders, its bytes have the same merge history in any text. If they leave more parts,
    it can be produced from any two tokens that join to its bytes.
    """
    merges: list[Merge] = []
    ranks: dict[tuple[int, int], int] = {}
    made: list[int] = []
    for token, token_id in sorted(vocab.items(), key=lambda item: item[1]):
        cuts = [i for i in range(1, len(token)) if token[:i] in vocab and token[i:] in vocab]
        if len(cuts) > 1 and all(bytes([byte]) in vocab for byte in token):
            parts = merge([vocab[bytes([byte])] for byte in token], ranks, made)
            if len(parts) == 2:
                cuts = [cut for cut in cuts if (vocab[token[:cut]], vocab[token[cut:]]) == tuple(parts)]
        if len(merges) + len(cuts) > _MOST_WAYS * len(vocab):
            raise _broken(path, f"its tokens can be made of two others in more than {_MOST_WAYS} ways each")
        for cut in cuts:
            merges.append((token[:cut], token[cut:]))
            ranks.setdefault((vocab[token[:cut]], vocab[token[cut:]]), len(made))
            made.append(token_id)
    return merges


def _broken(path: PathLike, why: str) -> FormatError:
    return unusable(path, why, "a usable rank file", "the file is damaged: download it again")
