"""Instruction tuning: prompt templates, and a task whose loss counts the answer tokens only.

A record {instruction, input, output} is formatted by a template as a prompt, followed by the answer and an
end token. Targets inside the prompt and padding are -100: they are excluded from the loss and its mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal

import tinytensor as tt
from gpt.console import shell_word
from gpt.data.batches import Ints
from gpt.data.examples import LikeLengths, completion, padded
from gpt.fields import check_types
from gpt.finetuning.base import Task
from gpt.generation.generate import generate
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.chat_template import IGNORED

FIELDS: dict[str, str | None] = {"instruction": None, "input": "", "output": None}
NEWLINE = "\n"
TEMPLATES = {  # with and without an input
    "plain": ("{instruction}: {input}\nAnswer: ", "{instruction}\nAnswer: "),
    "alpaca": (
        "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n",
        "### Instruction:\n{instruction}\n\n### Response:\n",
    ),
}


@dataclass(frozen=True)
class InstructConfig:
    """Prompt template and loss mask.

    Args:
        template: prompt format of instruction and input: plain (in any alphabet), or alpaca.
        learn: answer: the loss counts the answer alone; all: also the prompt's tokens.

    Raises:
        ArgumentError: a field outside its choices.
    """

    template: Literal["plain", "alpaca"] = "plain"
    learn: Literal["answer", "all"] = "answer"

    def __post_init__(self) -> None:
        check_types(self)


def prompt_of(record: Mapping[str, str], template: str) -> str:
    r"""Prompt of a record.

    Example:
        >>> prompt_of({"instruction": "Upper case", "input": "love"}, "plain")
        'Upper case: love\nAnswer: '
    """
    return TEMPLATES[template][0 if record.get("input") else 1].format_map({"input": "", **record})


def end_of(tokenizer: Tokenizer) -> list[int]:
    """Ids that end an answer: the separator, or a newline if the vocabulary has none."""
    return tokenizer.encode(NEWLINE) if tokenizer.separator is None else [tokenizer.separator]


class Instructing(Task):
    """Instruction tuning task.

    Args:
        model: the model to tune.
        tokenizer: of prompts and answers.
        records: training records.
        held_out: validation records.
        config: template and mask.
        batch_size: B.
        seed: random seed of the order.

    Attributes:
        left_out: number of records that are skipped, being longer than the context.

    Raises:
        ArgumentError: a character unknown to the tokenizer, or no record fits into the context.
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
                why="prompt and answer must fit into it together",
                fix="shorten them, or use a model with a longer context",
            )
        return fitting

    def batch(self, step: int) -> tuple[Ints, Ints]:
        """Inputs and targets, (B, T) each."""
        return _stacked([self.examples[i] for i in self.order.batch(step)])

    def loss(self, *batch: tt.Tensor) -> tt.Tensor:
        """Mean cross-entropy over targets that are not masked."""
        return self.model.loss(*batch)

    def metrics(self) -> dict[str, float]:
        """Loss per token of held-out answers, and the share that greedy decoding reproduces exactly."""
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
        """Answer of the model to a record, by greedy decoding."""
        return answer(self.model, self.tokenizer, prompt_of(record, self.config.template))

    def show(self) -> str:
        """First held-out prompts and the answers of the model, as text."""
        return "\n".join(
            [f"{prompt_of(r, self.config.template)!r} {self.answer(r)!r}" for r in self.questions[:8]]
        )

    def sample_options(self) -> str:
        """Options with which `sample` answers the first held-out prompt, for a shell."""
        end = "" if self.tokenizer.separator is not None else f" --stop={shell_word(NEWLINE)}"
        prompt = shell_word(prompt_of(self.questions[0], self.config.template))
        return f"--temperature=0{end} --prompt={prompt}"

    def keeps(self) -> dict[str, Any]:
        """Template, which is needed to prompt the model."""
        return {"template": TEMPLATES[self.config.template]}


def _stacked(pairs: Sequence[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    """Padded inputs and targets of several examples, (B, T) each."""
    return padded([x for x, _ in pairs], 0), padded([y for _, y in pairs], IGNORED)


def answer(model: GPT, tokenizer: Tokenizer, prompt: str, max_new_tokens: int = 64) -> str:
    r"""Greedy completion of a prompt, up to the end token of the tuning.

    Args:
        model: in evaluation mode.
        tokenizer: its tokenizer.
        prompt: text, see `prompt_of`.
        max_new_tokens: maximum number of tokens.

    Returns:
        The answer without its end token.

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
