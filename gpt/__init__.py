"""A GPT on `tinytensor`: tokenizers, data, model, training, sampling. Start with `python -m gpt`."""

from gpt.data.command import (
    Batches,
    TokenFile,
    consecutive_blocks,
    embedded_shakespeare,
    open_split,
    prepare,
    prepare_text,
)
from gpt.tokenizers.tokenizer import BPETokenizer, CharTokenizer, Tokenizer, WordTokenizer
from gpt.tokenizers.tokenizer import load as load_tokenizer

__all__ = [
    "BPETokenizer",
    "Batches",
    "CharTokenizer",
    "TokenFile",
    "Tokenizer",
    "WordTokenizer",
    "consecutive_blocks",
    "embedded_shakespeare",
    "load_tokenizer",
    "open_split",
    "prepare",
    "prepare_text",
]
