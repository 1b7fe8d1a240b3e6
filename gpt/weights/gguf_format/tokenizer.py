"""Tokenizers in the metadata of GGUF files, both ways.

Byte-level BPE is llama.cpp's tokenizer "gpt2". Characters are its tokenizer "rwkv", which takes the longest
token that the text begins with: with tokens of one character, that character.
"""

import re

from gpt.config import GPTConfig
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.char import CharTokenizer
from gpt.tokenizers.chat_template import BEGIN, CHATML, END
from gpt.tokenizers.pretokenize import printable, unprintable
from gpt.weights.gguf_format.metadata import Entry, Metadata, number, text
from tinytensor.errors import ArgumentError

_NORMAL, _CONTROL, _USER, _UNUSED = 1, 3, 4, 5  # kinds of tokens
# tokenizer.ggml.pre → our rule, and whether a piece that is a token becomes that token
_READ = {
    "gpt-2": ("gpt2", False),
    "default": ("gpt2", False),
    "smollm": ("smollm", False),
    "llama-bpe": ("llama3", True),
    "smaug-bpe": ("llama3", False),
}
_WRITTEN = {rule: name for name, rule in _READ.items() if name != "default"}
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_ESCAPED = re.compile(r"\\(?:x([0-9a-f]{2})|(.))", re.DOTALL)


def describe_tokenizer(tokenizer: Tokenizer | None, config: GPTConfig) -> dict[str, Entry]:
    r"""Metadata of a tokenizer.

    Args:
        tokenizer: byte-level BPE or characters; None: the file takes and gives ids.
        config: of the model; rows of its embeddings without a token become unused tokens.

    Example:
        >>> config = GPTConfig(vocab_size=4, block_size=8, n_layer=1, n_head=1, n_embd=4)
        >>> describe_tokenizer(CharTokenizer("a\nb"), config)["tokenizer.ggml.tokens"].value
        ['a', '\\n', 'b', '[PAD3]']
    """
    if tokenizer is None:
        return {"tokenizer.ggml.model": text("none")}
    special = set(tokenizer.special_tokens.values())
    if isinstance(tokenizer, CharTokenizer):
        kind, more = "rwkv", _ends(tokenizer)
        names = [*map(_escaped, tokenizer.alphabet), *tokenizer.special_tokens]
    else:
        assert isinstance(tokenizer, BPETokenizer)
        kind, more = "gpt2", _bpe(tokenizer)
        names = [
            token.decode() if i in special else printable(token) for i, token in enumerate(tokenizer.tokens)
        ]
    names += [""] * (config.vocab_size - len(names))
    kinds = [_CONTROL if i in special else _NORMAL if name else _UNUSED for i, name in enumerate(names)]
    tokens = [name or f"[PAD{i}]" for i, name in enumerate(names)]
    return {
        "tokenizer.ggml.model": text(kind),
        "tokenizer.ggml.tokens": Entry("array", tokens),
        "tokenizer.ggml.token_type": Entry("array", kinds),
        **more,
    }


def _bpe(tokenizer: BPETokenizer) -> dict[str, Entry]:
    """Metadata of byte-level BPE besides its tokens."""
    rule = (tokenizer.split, tokenizer.whole_pieces)
    if rule not in _WRITTEN:
        raise _unknown(
            f"it cuts texts by the rule {tokenizer.split!r}; there are "
            f"{', '.join(sorted({split for split, _ in _WRITTEN}))}",
            "train a model on a tokenizer with one of these rules",
        )
    ends = _ends(tokenizer)
    if not ends:
        raise _unknown(
            "it has no token that ends a text, and llama.cpp would end texts at token 11",
            "train a model on a tokenizer with the special token <|endoftext|>",
        )
    # An empty array cannot be written. llama.cpp needs the key, and skips a pair of tokens that never occurs.
    merges = [f"{printable(a)} {printable(b)}" for a, b in tokenizer.merges] or [f"{END} {END}"]
    return {
        "tokenizer.ggml.pre": text(_WRITTEN[rule]),
        "tokenizer.ggml.merges": Entry("array", merges),
        "tokenizer.ggml.add_bos_token": Entry("bool", False),  # ours adds none
        **ends,
    }


def _ends(tokenizer: Tokenizer) -> dict[str, Entry]:
    """Metadata of the tokens that begin and end a text or an answer, and of the chat template."""
    special = tokenizer.special_tokens
    end = special.get(END, tokenizer.separator)
    if end is None:
        return {}
    first = end if tokenizer.separator is None else tokenizer.separator
    found = {"tokenizer.ggml.bos_token_id": number(first), "tokenizer.ggml.eos_token_id": number(end)}
    if {BEGIN, END} <= special.keys():
        found["tokenizer.chat_template"] = text(tokenizer.chat_template or CHATML)
    return found


def _unknown(why: str, fix: str) -> ArgumentError:
    return ArgumentError("save_gguf: llama.cpp does not have this tokenizer", why=why, fix=fix)


def read_tokenizer(values: Metadata) -> Tokenizer | None:
    """Tokenizer in the metadata of a file; None if there is none."""
    kind = values.text("tokenizer.ggml.model", "none")
    if kind in ("none", "no_vocab"):
        return None
    if kind not in ("gpt2", "rwkv"):
        values.refuse(f"its tokenizer is {kind!r}; there is gpt2, which is byte-level BPE, and rwkv")
    names, kinds = values.texts("tokenizer.ggml.tokens"), values.get("tokenizer.ggml.token_type", [])
    if not isinstance(kinds, list) or len(kinds) != len(names):
        values.refuse("tokenizer.ggml.token_type does not tell the kind of each token")
    try:
        tokenizer = _characters(names, kinds) if kind == "rwkv" else _byte_level(values, names, kinds)
    except (KeyError, ValueError, TypeError) as error:  # not a byte character; merges of one or three
        values.refuse(f"its tokenizer is damaged: {error!r}")
    tokenizer.chat_template = values.text("tokenizer.chat_template")
    ends = {name: values.get(f"tokenizer.ggml.{name}_id", -1) for name in ("bos_token", "eos_token")}
    named = {name: i for name, i in ends.items() if type(i) is int and 0 <= i < len(names)}
    tokenizer.named_tokens = {name: names[i] for name, i in named.items()}
    return tokenizer


def _byte_level(values: Metadata, names: list[str], kinds: list[int]) -> BPETokenizer:
    cut = values.text("tokenizer.ggml.pre", "gpt-2")
    if cut not in _READ:
        values.refuse(f"its tokenizer cuts texts by the rule {cut!r}; there are {', '.join(_READ)}")
    special = {name: i for i, name in enumerate(names) if kinds[i] in (_CONTROL, _USER)}
    merges = [merge.split(" ") for merge in values.texts("tokenizer.ggml.merges")]
    if merges == [[END, END]]:
        merges = []
    return BPETokenizer(
        {unprintable(name): i for i, name in enumerate(names) if kinds[i] not in (_CONTROL, _USER, _UNUSED)},
        [(unprintable(first), unprintable(second)) for first, second in merges],
        special,
        *_READ[cut],
    )


def _characters(names: list[str], kinds: list[int]) -> CharTokenizer:
    """Tokenizer of characters; ValueError (ArgumentError) for tokens of several, and mixed ones."""
    special = [name for name, kind in zip(names, kinds, strict=True) if kind == _CONTROL]
    tokens = [name for name, kind in zip(names, kinds, strict=True) if kind not in (_CONTROL, _UNUSED)]
    if [*tokens, *special] != names[: len(tokens) + len(special)]:
        raise ValueError("its special tokens are not the last ones")
    return CharTokenizer([_ESCAPED.sub(_unescaped, name) for name in tokens], special)


def _escaped(character: str) -> str:
    if character < " " and character not in _ESCAPES:
        return f"\\x{ord(character):02x}"
    return _ESCAPES.get(character, character)


def _unescaped(match: re.Match[str]) -> str:
    code, character = match.groups()
    if code:
        return chr(int(code, 16))
    return {"n": "\n", "t": "\t", "r": "\r"}.get(character, character)
