"""Byte-level BPE files: Hugging Face's `tokenizer.json`, and GPT-2's `vocab.bpe` with `encoder.json`.

The reader rejects every setting that would encode differently than ours; none is ignored silently.
"""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gpt.tokenizers.base import unusable
from gpt.tokenizers.pretokenize import printable, unprintable
from tinytensor.errors import FormatError
from tinytensor.files import PathLike, atomic_write, read_json, read_text

Merge = tuple[bytes, bytes]


class Parts(NamedTuple):
    """Arguments of `BPETokenizer`."""

    vocab: dict[bytes, int]
    merges: list[Merge]
    special_tokens: dict[str, int]
    split: str = "gpt2"
    whole_pieces: bool = False


_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_DIGITS = {"type": "Digits", "individual_digits": True}
# Pre-tokenization rules as patterns in the dialect of Hugging Face's library, for reading and writing.
_GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|%s\s*[\r\n]+|\s+(?!\S)|\s+"
)
_WORD = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]%s[\p{Ll}\p{Lm}\p{Lo}\p{M}]%s"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
)
_PATTERNS = {
    _GPT4 % r"\s+\z|": "cl100k",
    _GPT4 % "": "llama3",
    _WORD % ("*", "+")
    + "|"
    + _WORD % ("+", "*")
    + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+": "o200k",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": "gpt2",
}
# Fields that must be absent or have this value, because they would change the ids.
_PLAIN_MODEL: dict[str, tuple[object, ...]] = {
    "dropout": (None, 0, 0.0),
    "unk_token": (None,),
    "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (None, ""),
    "byte_fallback": (None, False),
}
_PLAIN_TOP: dict[str, tuple[object, ...]] = {"truncation": (None,), "padding": (None,), "normalizer": (None,)}
_PLAIN_SPECIAL = ("single_word", "lstrip", "rstrip")


def write_tokenizer_json(path: PathLike, parts: Parts) -> None:
    """Write `tokenizer.json`; SaveError if that fails."""
    vocab, merges, special_tokens, split, whole_pieces = parts
    names = {printable(token): token_id for token, token_id in vocab.items()} | special_tokens
    flags = dict.fromkeys((*_PLAIN_SPECIAL, "normalized"), False) | {"special": True}
    model = {
        "type": "BPE",
        **dict.fromkeys(("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix")),
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": whole_pieces,
        "vocab": dict(sorted(names.items(), key=lambda item: item[1])),
        "merges": [f"{printable(first)} {printable(second)}" for first, second in merges],
    }
    special = sorted(special_tokens.items(), key=lambda item: item[1])
    description = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": token_id, "content": text, **flags} for text, token_id in special],
        "normalizer": None,
        "pre_tokenizer": _pre_tokenizer(split),
        "post_processor": None,
        "decoder": _BYTE_LEVEL,
        "model": model,
    }
    with atomic_write(path) as file:
        file.write(json.dumps(description, ensure_ascii=False, indent=1).encode("utf-8"))


def parse_tokenizer_json(description: Mapping[str, object], path: PathLike) -> Parts:
    """Arguments of `BPETokenizer` from the object in a `tokenizer.json`; `path` is for messages."""
    model = description.get("model")
    if not isinstance(model, dict):
        raise unusable(path, "it has no object 'model'")
    if model.get("type", "BPE") != "BPE":
        raise _unsupported(path, f"its model is {model['type']!r}, not 'BPE'")
    _check_plain(path, "model.", model, _PLAIN_MODEL)
    _check_plain(path, "", description, _PLAIN_TOP)
    _check_byte_level(path, description)
    if (whole := model.get("ignore_merges") or False) not in (True, False):
        raise unusable(path, f"model.ignore_merges is {str(whole)[:80]}")
    split = _split_of(path, description.get("pre_tokenizer"))
    special = _added(path, description)
    return parts_from_names(path, model.get("vocab"), model.get("merges"), special, split, bool(whole))


def read_gpt2_files(merges_path: PathLike, vocab_path: PathLike, special: str) -> Parts:
    """Arguments of `BPETokenizer` from GPT-2's `vocab.bpe` (or merges.txt) and `encoder.json`."""
    lines = read_text(merges_path, "load").split("\n")
    lines = [line for line in lines[lines[0].startswith("#version") :] if line]
    vocab = read_json(vocab_path, "load")
    added = {special: _as_id(vocab_path, special, vocab[special])} if special in vocab else {}
    return parts_from_names(vocab_path, vocab, lines, added)


def parts_from_names(
    path: PathLike,
    vocab: object,
    merges: object,
    special: dict[str, int],
    split: str = "gpt2",
    whole_pieces: bool = False,
) -> Parts:
    """Arguments of `BPETokenizer` from tokens written in GPT-2's 256 printable characters."""
    if not isinstance(vocab, dict):
        raise unusable(path, "the vocabulary is not an object of names and ids")
    ordinary: dict[bytes, int] = {}
    for name, token_id in vocab.items():
        number = _as_id(path, name, token_id)
        if name not in special:
            ordinary[_as_bytes(path, name)] = number
        elif special[name] != number:
            raise unusable(path, f"the special token {name!r} has the ids {special[name]} and {number}")
    pairs = [(_as_bytes(path, first), _as_bytes(path, second)) for first, second in _pairs(path, merges)]
    return Parts(ordinary, pairs, special, split, whole_pieces)


def _as_bytes(path: PathLike, name: str) -> bytes:
    try:
        return unprintable(name)
    except KeyError as error:
        raise unusable(
            path, f"the token {name!r} holds {error.args[0]!r}, which is none of the 256 byte characters"
        ) from None


def _as_id(path: PathLike, name: str, token_id: object) -> int:
    if isinstance(token_id, bool) or not isinstance(token_id, int):
        raise unusable(path, f"the id of token {name!r} is {token_id!r}, not an integer")
    return token_id


def _pairs(path: PathLike, merges: object) -> list[tuple[str, str]]:
    """Merges from the forms "a b" or ["a", "b"]."""
    if not isinstance(merges, list):
        raise unusable(path, "its merges are not a list")
    pairs = []
    for rank, merge in enumerate(merges):
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if not (isinstance(parts, list) and len(parts) == 2 and all(isinstance(p, str) and p for p in parts)):
            raise unusable(path, f"merge {rank} is {str(merge)[:80]!r}, not two tokens")
        pairs.append((parts[0], parts[1]))
    return pairs


def _added(path: PathLike, description: Mapping[str, object]) -> dict[str, int]:
    """Special tokens in added_tokens."""
    added = description.get("added_tokens") or []
    if not isinstance(added, list) or not all(isinstance(token, dict) for token in added):
        raise unusable(path, "added_tokens is not a list of objects")
    special: dict[str, int] = {}
    for token in added:
        name = token.get("content")
        if not isinstance(name, str):
            raise unusable(path, "an added token has no 'content'")
        if not token.get("special") or any(token.get(flag) for flag in _PLAIN_SPECIAL):
            raise _unsupported(
                path, f"the added token {name!r} is not special, or takes neighboring spaces along"
            )
        special[name] = _as_id(path, name, token.get("id"))
    return special


def _check_plain(
    path: PathLike, prefix: str, fields: Mapping[str, object], plain: Mapping[str, Sequence[object]]
) -> None:
    for name, values in plain.items():
        if fields.get(name) not in values:
            raise _unsupported(path, f"{prefix}{name} is {str(fields[name])[:80]}")


def _check_byte_level(path: PathLike, description: Mapping[str, object]) -> None:
    """Check that the decoder is GPT-2's byte-level decoder."""
    for name in ("decoder", "post_processor"):
        step = description.get(name)
        if step is None and name == "post_processor":
            continue
        if not isinstance(step, dict) or step.get("type") != "ByteLevel":
            raise _unsupported(path, f"{name} is {str(step)[:80]}, not ByteLevel")


def _pre_tokenizer(split: str) -> dict[str, object]:
    """Hugging Face pre_tokenizer equivalent to a rule of ours."""
    if split == "gpt2":
        return _BYTE_LEVEL
    if split == "smollm":
        return {"type": "Sequence", "pretokenizers": [_DIGITS, _BYTE_LEVEL]}
    pattern = next(pattern for pattern, name in _PATTERNS.items() if name == split)
    cut = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [cut, _BYTE_LEVEL | {"use_regex": False}]}


def _split_of(path: PathLike, step: object) -> str:
    """Rule of ours that is equivalent to a Hugging Face pre_tokenizer."""
    steps = step.get("pretokenizers") if isinstance(step, dict) and step.get("type") == "Sequence" else [step]
    if not isinstance(steps, list) or not steps or not all(isinstance(each, dict) for each in steps):
        raise _unsupported(path, f"pre_tokenizer is {str(step)[:80]}")
    *before, last = steps
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space"):
        raise _unsupported(path, "its pre_tokenizer does not end with ByteLevel, or adds a space in front")
    cuts_again = last.get("use_regex") is not False
    if cuts_again and not before:
        return "gpt2"
    if cuts_again and before == [_DIGITS]:
        return "smollm"
    if not cuts_again and len(before) == 1 and before[0].get("type") == "Split":
        pattern = before[0].get("pattern")
        known = _PATTERNS.get(str(pattern.get("Regex"))) if isinstance(pattern, dict) else None
        # Matches are isolated, or non-matches are removed, of which there are none.
        how = (before[0].get("behavior"), bool(before[0].get("invert")))
        if known and how in (("Isolated", False), ("Removed", True)):
            return known
    raise _unsupported(path, f"its pre_tokenizer cuts by another rule than ours: {str(step)[:200]}")


def _unsupported(path: PathLike, why: str) -> FormatError:
    return unusable(
        path,
        f"{why}; it would produce other ids here than in the original library",
        "a kind of tokenizer that is supported",
        "use byte-level BPE with a known pre-tokenizer, or train one: python -m gpt tokenizer train",
    )
