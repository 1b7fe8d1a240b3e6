"""tokenizer_config.json beside a tokenizer: its chat template and named tokens, as transformers has them."""

import json
from pathlib import Path
from typing import Any

from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.chat_template import BEGIN, CHATML, END
from tinytensor.errors import FormatError
from tinytensor.files import atomic_write, read_json, read_text

NAME, SEPARATE = "tokenizer_config.json", "chat_template.jinja"


def read_config(tokenizer: Tokenizer, folder: Path) -> None:
    """Give a tokenizer the chat template and the named tokens of a folder, if there are any."""
    path = folder / NAME
    values = read_json(path, "load") if path.is_file() else {}
    source: Any = values.get("chat_template") or ""
    if (folder / SEPARATE).is_file():  # where newer versions of transformers write it
        source = read_text(folder / SEPARATE, "load")
    if isinstance(source, list):  # several by name
        named = [t for t in source if isinstance(t, dict) and t.get("name") == "default"]
        source = named[0].get("template") if named else None
    if not isinstance(source, str):
        raise FormatError(
            f"load: {path} has no usable chat_template",
            why="it is neither a text, nor a list with a template called default",
            fix="correct it, or remove chat_template",
        )
    tokenizer.chat_template = source
    tokens = {name: value for name, value in values.items() if name.endswith("_token")}
    texts = {name: t.get("content") if isinstance(t, dict) else t for name, t in tokens.items()}
    tokenizer.named_tokens = {name: text for name, text in texts.items() if isinstance(text, str)}


def write_config(tokenizer: Tokenizer, folder: Path, block_size: int) -> None:
    """Write tokenizer_config.json for transformers: with it, `apply_chat_template` works on our models."""
    special = tokenizer.special_tokens
    chat = tokenizer.chat_template or (CHATML if {BEGIN, END} <= special.keys() else "")
    between = next((text for text, i in special.items() if i == tokenizer.separator), None)
    ends = {"bos_token": between, "eos_token": END if END in special else between}
    named = tokenizer.named_tokens or {name: text for name, text in ends.items() if text}
    values: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": block_size}
    values |= {"clean_up_tokenization_spaces": False, **named}
    values |= {"chat_template": chat} if chat else {}
    with atomic_write(folder / NAME) as file:
        file.write(json.dumps(values, ensure_ascii=False, indent=2).encode() + b"\n")
