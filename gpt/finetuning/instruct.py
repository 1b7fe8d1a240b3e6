"""Instruction tuning: the model learns to answer. The loss counts the tokens of the answer only.

A record {instruction, input, output} becomes a prompt by a template; the answer and an end follow. Targets
inside the prompt are -100, and so is padding: neither adds to the loss nor to its mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal

import tinytensor as tt
from gpt.data.jsonl_examples import IGNORED, Ints, LikeLengths, completion, padded
from gpt.fields import check_types
from gpt.finetuning.base import Task
from gpt.generation.generate import generate
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer

__all__ = ["FIELDS", "TEMPLATES", "InstructConfig", "Instructing", "answer", "prompt_of"]

FIELDS: dict[str, str | None] = {"instruction": None, "input": "", "output": None}
TEMPLATES = {  # with an input, and without
    "plain": ("{instruction}: {input}\nAnswer: ", "{instruction}\nAnswer: "),
    "alpaca": (
        "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n",
        "### Instruction:\n{instruction}\n\n### Response:\n",
    ),
}


@dataclass(frozen=True)
class InstructConfig:
    """How an instruction is put, and what of it is learned.

    Args:
        template: what stands around instruction and input: plain (in any alphabet), or alpaca.
        learn: answer: the loss counts the answer alone; all: the prompt's tokens, too.

    Raises:
        ArgumentError: a field outside its choices.
    """

    template: Literal["plain", "alpaca"] = "plain"
    learn: Literal["answer", "all"] = "answer"

    def __post_init__(self) -> None:
        check_types(self)


def prompt_of(record: Mapping[str, str], template: str) -> str:
    r"""The text before the answer.

    Example:
        >>> prompt_of({"instruction": "Upper case", "input": "love"}, "plain")
        'Upper case: love\nAnswer: '
    """
    return TEMPLATES[template][0 if record.get("input") else 1].format_map({"input": "", **record})


def end_of(tokenizer: Tokenizer) -> list[int]:
    """What ends an answer: the separator, or where a vocabulary has none, a new line."""
    return tokenizer.encode("\n") if tokenizer.separator is None else [tokenizer.separator]


class Instructing(Task):
    """Answers to instructions.

    Args:
        model: what is tuned.
        tokenizer: of prompts and answers.
        records: to train with.
        held_out: to measure by.
        config: template and mask.
        batch_size: B.
        seed: of the order.

    Attributes:
        left_out: how many records are longer than the context, and are not used.

    Raises:
        ArgumentError: a character that the tokenizer does not know, or no record fits the context.
    """

    def __init__(
        self,
        model: GPT,
        tokenizer: Tokenizer,
        records: Sequence[Mapping[str, str]],
        held_out: Sequence[Mapping[str, str]],
        config: InstructConfig,
        batch_size: int,
        seed: int,
    ) -> None:
        self.model, self.tokenizer, self.config, self.batch_size = model, tokenizer, config, batch_size
        self.examples = self._encoded(records)
        self.held_out = self._encoded(held_out)
        self.left_out = len(records) + len(held_out) - len(self.examples) - len(self.held_out)
        self.questions = held_out
        self.order = LikeLengths([len(x) for x, _ in self.examples], batch_size, seed)

    def _encoded(self, records: Sequence[Mapping[str, str]]) -> list[tuple[Ints, Ints]]:
        encode, end, masked = self.tokenizer.encode, end_of(self.tokenizer), self.config.learn == "answer"
        texts = [(prompt_of(r, self.config.template), r["output"]) for r in records]
        pairs = [completion(encode(prompt), encode(output) + end, masked=masked) for prompt, output in texts]
        fitting = [pair for pair in pairs if len(pair[0]) <= self.model.config.block_size]
        if not fitting:
            raise tt.ArgumentError(
                f"finetune: none of {len(pairs)} records fits the context of {self.model.config.block_size}",
                why="prompt and answer stand in it together",
                fix="shorten them, or begin with a model of a longer context",
            )
        return fitting

    def batch(self, step: int) -> tuple[Ints, Ints]:
        """Inputs and targets, (B, T) each."""
        return _stacked([self.examples[i] for i in self.order.batch(step)])

    def loss(self, *batch: tt.Tensor) -> tt.Tensor:
        """Mean cross-entropy of the tokens that count."""
        return self.model.loss(*batch)

    def metrics(self) -> dict[str, float]:
        """Loss of held-out answers per token, and the share of them that greedy text gives exactly."""
        total, count = 0.0, 0
        for first in range(0, len(self.held_out), self.batch_size):
            inputs, targets = _stacked(self.held_out[first : first + self.batch_size])
            ids = [tt.from_numpy(x).to(self.model.device) for x in (inputs, targets)]
            counted = int((targets != IGNORED).sum())
            total += self.model.loss(*ids).item() * counted
            count += counted
        right = [self.answer(r) == r["output"] for r in self.questions[:50]]
        return {"val_loss": total / count, "exact": sum(right) / len(right)}

    def answer(self, record: Mapping[str, str]) -> str:
        """The model's own answer to a record, the likeliest token each time."""
        return answer(self.model, self.tokenizer, prompt_of(record, self.config.template))

    def show(self) -> str:
        """The first questions that were held out, and the model's answers."""
        return "\n".join(
            f"{prompt_of(r, self.config.template).strip()!r} {self.answer(r)!r}" for r in self.questions[:8]
        )

    def keeps(self) -> dict[str, Any]:
        """The template."""
        return {"template": TEMPLATES[self.config.template]}


def _stacked(pairs: Sequence[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    """Inputs and targets of several examples, (B, T) each."""
    return padded([x for x, _ in pairs], 0), padded([y for _, y in pairs], IGNORED)


def answer(model: GPT, tokenizer: Tokenizer, prompt: str, max_new_tokens: int = 64) -> str:
    r"""What the model says to a prompt, up to the end that it was taught.

    Args:
        model: in evaluation mode.
        tokenizer: its tokenizer.
        prompt: text, see `prompt_of`.
        max_new_tokens: at most so many.

    Returns:
        The answer without its end.

    Example:
        >>> from gpt.config import GPTConfig
        >>> from gpt.tokenizers.char_and_word import CharTokenizer
        >>> model = GPT(GPTConfig(vocab_size=3, block_size=8, n_layer=1, n_head=1, n_embd=4)).eval()
        >>> set(answer(model, CharTokenizer("ab\n"), "ab", 4)) <= set("ab")
        True
    """
    end = end_of(tokenizer)[0]
    ids = generate(model, tokenizer.encode(prompt), max_new_tokens, temperature=0)
    return tokenizer.decode(list(takewhile(lambda i: i != end, ids)))
