"""Special tokens of conversations for a model that was trained without them."""

from dataclasses import replace

import numpy as np

import tinytensor as tt
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.char import CharTokenizer
from gpt.tokenizers.chat_template import BEGIN, END
from tinytensor.interop.safetensors_file import Array

_TABLES = ("wte.weight", "lm_head.weight")  # (V, C)


def with_chat_tokens(model: GPT, tokenizer: Tokenizer, seed: int = 0) -> tuple[GPT, Tokenizer]:
    """Model and tokenizer with the tokens of ChatML; the given ones if they have them, or a chat template.

    A new token's row in the embedding, and in an untied head, is the mean of all rows, with a little noise:
    so it is as likely as the mean token. Unused rows of a padded vocabulary are taken first, as they are.

    Source: mean rows: Hewitt 2021, "Initializing new word embeddings for pretrained language models".

    Example:
        >>> from gpt.config import GPTConfig
        >>> words = CharTokenizer("abc")
        >>> model = GPT(GPTConfig(vocab_size=3, block_size=8, n_layer=1, n_head=1, n_embd=4))
        >>> with_chat_tokens(model, words)[0].config.vocab_size
        5
    """
    new = [name for name in (BEGIN, END) if name not in tokenizer.special_tokens]
    if tokenizer.chat_template or not new:
        return model, tokenizer
    assert isinstance(tokenizer, CharTokenizer | BPETokenizer)
    tokenizer = tokenizer.with_special_tokens(new)
    if tokenizer.vocab_size <= model.config.vocab_size:
        return model, tokenizer
    larger = GPT(replace(model.config, vocab_size=tokenizer.vocab_size), tt.Generator(seed)).to(model.device)
    state = model.state_dict()
    for name in _TABLES:
        if name in state:
            state[name] = tt.tensor(_grown(state[name].cpu().numpy(), tokenizer.vocab_size, seed))
    larger.load_state_dict(state)
    return larger.train(model.training), tokenizer


def _grown(table: Array, size: int, seed: int) -> Array:
    """Table (V, C) with `size` rows."""
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, 0], np.uint64)))
    mean, noise = table.mean(0), rng.standard_normal((size - len(table), table.shape[1]))
    return np.concatenate([table, (mean + 0.1 * table.std() * noise).astype(table.dtype)])
