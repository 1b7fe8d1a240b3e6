"""A GPT on `tinytensor`: tokenizers, data, model, training, sampling. Start with `python -m gpt`."""

from gpt.data.batches import Batches, consecutive_blocks
from gpt.data.command import embedded_shakespeare
from gpt.data.prepare import prepare, prepare_text
from gpt.data.token_file import TokenFile, open_split
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.char_and_word import CharTokenizer, WordTokenizer
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
