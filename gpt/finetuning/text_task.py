"""Fine-tuning on plain text: next-token prediction from pretrained weights."""

from collections.abc import Sequence

import numpy as np

import tinytensor as tt
from gpt.data.batches import Batches
from gpt.finetuning.base import Task
from gpt.generation.generate import generate
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.training.measures import evaluate
from tinytensor.interop.safetensors_file import Array


class Reading(Task):
    """Next-token prediction on a text; its last tenth is held out."""

    def __init__(
        self, model: GPT, tokenizer: Tokenizer, ids: Sequence[int], batch_size: int, seed: int
    ) -> None:
        self.model, self.tokenizer, self.batch_size, self.seed = model, tokenizer, batch_size, seed
        whole = np.asarray(ids)
        cut = len(whole) - max(len(whole) // 10, 2)
        size, vocabulary = model.config.block_size, model.config.vocab_size
        self.batches = Batches(whole[:cut], batch_size, size, seed=seed, vocab_size=vocabulary)
        self.held_out = whole[cut:]

    def batch(self, step: int) -> tuple[Array, ...]:
        """Inputs and targets, (B, T) each."""
        return self.batches.batch(step)

    def metrics(self) -> dict[str, float]:
        """Loss of the first blocks of the held-out tenth."""
        return {"val_loss": evaluate(self.model, self.held_out, self.batch_size, 256 // self.batch_size + 1)}

    def show(self) -> str:
        """Continuation of the first held-out tokens, as text."""
        prompt = self.held_out[:16].tolist()
        ids = generate(self.model, prompt, 80, temperature=0.8, generator=tt.Generator(self.seed))
        return f"{self.tokenizer.decode(prompt)!r} {self.tokenizer.decode(list(ids))!r}"
