"""Instruction tuning: a task over conversations whose loss counts what the assistant says.

Conversations are packed, several into a row. A token attends to all earlier ones of its row, also to those of
other conversations before it, as in nanochat: they are as good as noise, and rows of one length are captured.
"""

from collections.abc import Sequence
from itertools import takewhile

import numpy as np

import tinytensor as tt
from gpt.data.batches import Ints
from gpt.data.conversations import Conversation
from gpt.data.examples import LikeLengths, best_fit
from gpt.finetuning.base import Task
from gpt.generation.generate import generate
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.chat_template import IGNORED, ChatTemplate, Message

SHORTEST_ROW = 256  # rows are as long as the longest conversation, and at least so long, within the context
CHECKED = 32  # held-out conversations that greedy decoding answers

Example = tuple[Ints, Ints]


def usable(
    conversations: Sequence[Conversation], tokenizer: Tokenizer, limit: int
) -> tuple[list[Conversation], str]:
    """Conversations that a model can learn from.

    Returns:
        Those that can be used, and why the first of the others cannot, or "".
    """
    template = ChatTemplate(tokenizer)
    found, reason = [], ""
    for messages in conversations:
        try:
            _, targets = template.example(messages)
        except tt.ArgumentError as error:  # a character that the tokenizer does not know
            reason = reason or error.what
            continue
        if (targets[:limit] == IGNORED).all():
            reason = reason or "no answer within the context"
        else:
            found.append(messages)
    if not found:
        raise tt.ArgumentError(
            f"finetune: none of {len(conversations)} conversations can be used with this model",
            why=f"{reason or 'there are none'}; the context has {limit} tokens",
            fix="use other conversations, or a model with a longer context or a tokenizer of bytes",
        )
    return found, reason


class Instructing(Task):
    """Instruction tuning task.

    Attributes:
        size: T, tokens of a row.
        cut: number of conversations of which the end is cut off at the context.
    """

    captures = True

    def __init__(
        self,
        model: GPT,
        tokenizer: Tokenizer,
        conversations: Sequence[Conversation],
        held_out: Sequence[Conversation],
        batch_size: int,
        seed: int,
    ) -> None:
        self.model, self.tokenizer, self.batch_size = model, tokenizer, batch_size
        self.template = ChatTemplate(tokenizer)
        self.cut, self.questions = 0, held_out
        learned, kept = self._encoded(conversations), self._encoded(held_out)
        longest = max(len(inputs) for inputs, _ in [*learned, *kept])
        self.size = min(max(longest, SHORTEST_ROW), model.config.block_size)
        self.rows, self.held_out = self._packed(learned), self._packed(kept)
        self.order = LikeLengths([self.size] * len(self.rows), batch_size, seed)

    def _encoded(self, conversations: Sequence[Conversation]) -> list[Example]:
        """Inputs and targets."""
        limit = self.model.config.block_size
        examples = [self.template.example(messages) for messages in conversations]
        self.cut += sum(len(inputs) > limit for inputs, _ in examples)
        return [(inputs[:limit], targets[:limit]) for inputs, targets in examples]

    def _packed(self, examples: Sequence[Example]) -> list[Example]:
        """Rows of inputs and targets, (T,) each; padding is ignored by the loss."""
        rows = []
        for members in best_fit([len(inputs) for inputs, _ in examples], self.size):
            inputs, targets = np.zeros(self.size, np.int64), np.full(self.size, IGNORED, np.int64)
            end = 0
            for i in members:
                begin, end = end, end + len(examples[i][0])
                inputs[begin:end], targets[begin:end] = examples[i]
            rows.append((inputs, targets))
        return rows

    def batch(self, step: int) -> tuple[Ints, Ints]:
        """Inputs and targets, (B, T) each."""
        return _stacked([self.rows[i] for i in self.order.batch(step)])

    def metrics(self) -> dict[str, float]:
        """Loss per token of held-out answers, and the share of last answers that greedy decoding gives."""
        total, count = 0.0, 0
        for first in range(0, len(self.held_out), self.batch_size):
            inputs, targets = _stacked(self.held_out[first : first + self.batch_size])
            ids = [tt.from_numpy(x).to(self.model.device) for x in (inputs, targets)]
            counted = int((targets != IGNORED).sum())
            total += self.model.loss(*ids).item() * counted
            count += counted
        asked = [_last_question(talk) for talk in self.questions[:CHECKED]]
        encode = self.tokenizer.encode
        right = [self.answer(before, len(encode(wanted)) + 1) == wanted for before, wanted in asked]
        return {"val_loss": total / count, "exact": sum(right) / len(right)}

    def answer(self, messages: Sequence[Message], max_new_tokens: int = 64) -> str:
        """Answer of the model to a conversation, by greedy decoding."""
        return answer(self.model, self.template, messages, max_new_tokens)

    def show(self) -> str:
        """Last questions of the first held-out conversations, and the answers of the model, as text."""
        asked = [_last_question(talk)[0] for talk in self.questions[:8]]
        return "\n".join([f"{before[-1]['content']!r} {self.answer(before)!r}" for before in asked])


def _stacked(rows: Sequence[Example]) -> tuple[Ints, Ints]:
    """Inputs and targets of several rows, (B, T) each."""
    return np.stack([x for x, _ in rows]), np.stack([y for _, y in rows])


def _last_question(talk: Conversation) -> tuple[Conversation, str]:
    """Messages before the last answer, and the answer."""
    last = max(i for i, message in enumerate(talk) if message["role"] == "assistant")
    return talk[:last], talk[last]["content"]


def answer(model: GPT, template: ChatTemplate, messages: Sequence[Message], max_new_tokens: int = 64) -> str:
    r"""Greedy answer to a conversation."""
    ids = generate(model, template.prompt(messages), max_new_tokens, temperature=0)
    return template.tokenizer.decode(list(takewhile(lambda i: i not in template.stop_ids, ids)))
