"""A GPT on `tinytensor`: tokenizers, data, model, training, sampling. Start with `python -m gpt`."""

from gpt.config import GPTConfig, TrainConfig
from gpt.data.batches import Batches, consecutive_blocks
from gpt.data.command import embedded_shakespeare
from gpt.data.prepare import prepare, prepare_text
from gpt.data.token_file import TokenFile, open_split
from gpt.generation.generate import generate
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.char import CharTokenizer
from gpt.tokenizers.chat_template import ChatTemplate
from gpt.tokenizers.tokenizer import load as load_tokenizer
from gpt.weights.load import load
from gpt.weights.save import save_pretrained, save_single

__all__ = [
    "GPT",
    "BPETokenizer",
    "Batches",
    "CharTokenizer",
    "ChatTemplate",
    "GPTConfig",
    "TokenFile",
    "Tokenizer",
    "TrainConfig",
    "consecutive_blocks",
    "embedded_shakespeare",
    "generate",
    "load",
    "load_tokenizer",
    "open_split",
    "prepare",
    "prepare_text",
    "save_pretrained",
    "save_single",
]
