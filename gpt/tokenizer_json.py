"""The files of byte-level BPE: Hugging Face's `tokenizer.json`, and GPT-2's `vocab.bpe` with `encoder.json`.

Reading refuses whatever would encode differently than we do; nothing in a file is quietly left aside.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

from gpt.files import PathLike, atomic_write, read_json, read_text
from gpt.pretokens import printable, unprintable
from tinytensor.errors import FormatError

__all__ = ["Merge", "Parts", "parse_tokenizer_json", "read_gpt2_files", "write_tokenizer_json"]

Merge = tuple[bytes, bytes]
Parts = tuple[dict[bytes, int], list[Merge], dict[str, int]]  # vocabulary, merges, special tokens

_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
# What must be absent, or have this value, because it would change the ids.
_PLAIN_MODEL: dict[str, tuple[object, ...]] = {
    "dropout": (None, 0, 0.0),
    "unk_token": (None,),
    "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (None, ""),
    "byte_fallback": (None, False),
    "ignore_merges": (None, False),
}
_PLAIN_TOP: dict[str, tuple[object, ...]] = {"truncation": (None,), "padding": (None,), "normalizer": (None,)}
_PLAIN_SPECIAL = ("single_word", "lstrip", "rstrip")


def write_tokenizer_json(
    path: PathLike, vocab: Mapping[bytes, int], merges: Iterable[Merge], special_tokens: Mapping[str, int]
) -> None:
    """Write `tokenizer.json`.

    Args:
        path: the file; replaced in one step.
        vocab: bytes of each ordinary token → id.
        merges: pairs in the order of their rank.
        special_tokens: text → id.

    Raises:
        SaveError: the file cannot be written.
    """
    names = {printable(token): token_id for token, token_id in vocab.items()} | dict(special_tokens)
    added = [
        {
            "id": token_id,
            "content": text,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for text, token_id in sorted(special_tokens.items(), key=lambda item: item[1])
    ]
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": dict(sorted(names.items(), key=lambda item: item[1])),
        "merges": [f"{printable(first)} {printable(second)}" for first, second in merges],
    }
    description = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": _BYTE_LEVEL,
        "post_processor": None,
        "decoder": _BYTE_LEVEL,
        "model": model,
    }
    with atomic_write(path) as file:
        file.write(json.dumps(description, ensure_ascii=False, indent=1).encode("utf-8"))


def parse_tokenizer_json(description: Mapping[str, object], path: PathLike) -> Parts:
    """The vocabulary, merges and special tokens of a `tokenizer.json`.

    Args:
        description: the object in the file.
        path: named in errors.

    Returns:
        vocabulary, merges, special tokens, as `BPETokenizer` takes them.

    Raises:
        FormatError: broken, or a kind of tokenizer that would give other ids than ours.
    """
    model = description.get("model")
    if not isinstance(model, dict):
        _fail(path, "it has no object 'model'")
    if model.get("type", "BPE") != "BPE":
        _unsupported(path, f"its model is {model['type']!r}, not 'BPE'")
    _check_plain(path, "model.", model, _PLAIN_MODEL)
    _check_plain(path, "", description, _PLAIN_TOP)
    _check_byte_level(path, description)
    return _parts(path, model.get("vocab"), _pairs(path, model.get("merges")), _added(path, description))


def read_gpt2_files(merges_path: PathLike, vocab_path: PathLike, special: str) -> Parts:
    """The vocabulary, merges and special token of GPT-2's `vocab.bpe` (or merges.txt) and `encoder.json`.

    Args:
        merges_path: a head line that begins with #version, then one merge per line.
        vocab_path: JSON object, name of each token → id.
        special: name of the special token in it.

    Returns:
        vocabulary, merges, special tokens, as `BPETokenizer` takes them.

    Raises:
        FormatError: a broken file.
    """
    lines = read_text(merges_path, "load").split("\n")
    lines = [line for line in lines[lines[0].startswith("#version") :] if line]
    vocab = read_json(vocab_path, "load")
    added = {special: _as_id(vocab_path, special, vocab[special])} if special in vocab else {}
    return _parts(vocab_path, vocab, _pairs(merges_path, lines), added)


def _parts(path: PathLike, vocab: object, pairs: list[tuple[str, str]], special: dict[str, int]) -> Parts:
    """Names to bytes; special tokens may stand in the vocabulary, too."""
    if not isinstance(vocab, dict):
        _fail(path, "the vocabulary is not an object of names and ids")
    ordinary: dict[bytes, int] = {}
    for name, token_id in vocab.items():
        number = _as_id(path, name, token_id)
        if name not in special:
            ordinary[_as_bytes(path, name)] = number
        elif special[name] != number:
            _fail(path, f"the special token {name!r} has the ids {special[name]} and {number}")
    merges = [(_as_bytes(path, first), _as_bytes(path, second)) for first, second in pairs]
    return ordinary, merges, special


def _as_bytes(path: PathLike, name: str) -> bytes:
    try:
        return unprintable(name)
    except KeyError as error:
        _fail(path, f"the token {name!r} holds {error.args[0]!r}, which is none of the 256 byte characters")


def _as_id(path: PathLike, name: str, token_id: object) -> int:
    if isinstance(token_id, bool) or not isinstance(token_id, int):
        _fail(path, f"the id of token {name!r} is {token_id!r}, not an integer")
    return token_id


def _pairs(path: PathLike, merges: object) -> list[tuple[str, str]]:
    """Merges, written "a b" or ["a", "b"]."""
    if not isinstance(merges, list):
        _fail(path, "its merges are not a list")
    pairs = []
    for rank, merge in enumerate(merges):
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if not (isinstance(parts, list) and len(parts) == 2 and all(isinstance(p, str) and p for p in parts)):
            _fail(path, f"merge {rank} is {str(merge)[:80]!r}, not two tokens")
        pairs.append((parts[0], parts[1]))
    return pairs


def _added(path: PathLike, description: Mapping[str, object]) -> dict[str, int]:
    """The special tokens."""
    added = description.get("added_tokens") or []
    if not isinstance(added, list) or not all(isinstance(token, dict) for token in added):
        _fail(path, "added_tokens is not a list of objects")
    special: dict[str, int] = {}
    for token in added:
        name = token.get("content")
        if not isinstance(name, str):
            _fail(path, "an added token has no 'content'")
        if not token.get("special") or any(token.get(flag) for flag in _PLAIN_SPECIAL):
            _unsupported(path, f"the added token {name!r} is not special, or takes neighboring spaces along")
        special[name] = _as_id(path, name, token.get("id"))
    return special


def _check_plain(
    path: PathLike, prefix: str, fields: Mapping[str, object], plain: Mapping[str, Sequence[object]]
) -> None:
    for name, values in plain.items():
        if fields.get(name) not in values:
            _unsupported(path, f"{prefix}{name} is {str(fields[name])[:80]}")


def _check_byte_level(path: PathLike, description: Mapping[str, object]) -> None:
    """The cutting rule and the way back must be GPT-2's."""
    for name in ("pre_tokenizer", "decoder", "post_processor"):
        step = description.get(name)
        if step is None and name == "post_processor":
            continue
        if not isinstance(step, dict) or step.get("type") != "ByteLevel":
            _unsupported(path, f"{name} is {str(step)[:80]}, not ByteLevel")
        if name == "pre_tokenizer" and (step.get("add_prefix_space") or step.get("use_regex") is False):
            _unsupported(path, "its pre_tokenizer adds a space in front, or does not cut by GPT-2's rule")


def _fail(path: PathLike, why: str) -> NoReturn:
    raise FormatError(
        f"load: {str(path)!r} is not a usable tokenizer",
        why=why,
        fix="the file is damaged or made by hand: save or download it again",
    )


def _unsupported(path: PathLike, why: str) -> NoReturn:
    raise FormatError(
        f"load: {str(path)!r} is a kind of tokenizer that is not supported",
        why=f"{why}; it would give other ids here than where it was made",
        fix="use byte-level BPE with GPT-2's cutting rule, or train one: python -m gpt tokenizer train",
    )
