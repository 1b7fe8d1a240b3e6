"""Direct preference optimization: of two completions, the preferred one becomes likelier than the other.

loss = -log sigmoid(beta ((log p(chosen) - log q(chosen)) - (log p(rejected) - log q(rejected)))), where p is
the model and q the model as it was (the reference). beta (log p - log q) is the implicit reward.

The reference never changes, so its log-probabilities are computed once, before the first step: no second
model stays in memory.

Source: Rafailov et al. 2023, arXiv:2305.18290, equation 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

import tinytensor as tt
from gpt.data.jsonl_examples import IGNORED, Ints, LikeLengths, completion, padded
from gpt.fields import check_types
from gpt.finetuning.base import AnyArray, Task
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer

__all__ = ["FIELDS", "DpoConfig", "Preferring", "completion_log_probs", "dpo_loss"]

FIELDS: dict[str, str | None] = {"prompt": None, "chosen": None, "rejected": None}


@dataclass(frozen=True)
class DpoConfig:
    """How far a preference may lead.

    Args:
        beta: how dear it is to leave the reference; small values lead further from it.

    Raises:
        ArgumentError: beta is not positive.
    """

    beta: float = 0.1

    def __post_init__(self) -> None:
        check_types(self)
        if not self.beta > 0:
            raise tt.ArgumentError(
                f"DpoConfig: beta={self.beta}", why="it scales the rewards", fix="use beta=0.1"
            )


def completion_log_probs(model: GPT, inputs: tt.Tensor, targets: tt.Tensor) -> tt.Tensor:
    """Sum of the log-probabilities of the targets that are not -100, (B, T) → (B,)."""
    logits = model(inputs)
    if logits.itemsize == 2:
        logits = logits.astype(tt.float32)  # sums over many tokens
    return -tt.cross_entropy(logits, targets, reduction="none").sum(1)


def dpo_loss(policy: tt.Tensor, reference: tt.Tensor, beta: float) -> tuple[tt.Tensor, tt.Tensor]:
    """The loss of preference pairs.

    Args:
        policy: log-probabilities of the completions by the model, (2B,): the chosen ones, then the rejected.
        reference: the same by the reference, (2B,).
        beta: scale of the rewards.

    Returns:
        The mean loss, (), and the rewards, (2B,), without history.

    Example:
        >>> loss, rewards = dpo_loss(tt.tensor([-1.0, -5.0]), tt.tensor([-2.0, -4.0]), beta=0.5)
        >>> round(loss.item(), 4), rewards.tolist()
        (0.3133, [0.5, -0.5])
    """
    rewards = (policy - reference) * beta
    half = policy.shape[0] // 2
    margins = rewards[:half] - rewards[half:]
    return tt.softplus(-margins).mean(), rewards.detach()  # softplus(-x) = -log sigmoid(x)


class Preferring(Task):
    """Preference pairs: a prompt, and two completions of it.

    Args:
        model: what is tuned, as it is before: it is the reference, too.
        tokenizer: of the texts.
        pairs: to train with: prompt, chosen, rejected.
        held_out: to measure by.
        config: beta.
        batch_size: B pairs.
        seed: of the order.

    Raises:
        ArgumentError: a pair that does not fit into the context, or a character that the tokenizer does not
            know.
    """

    def __init__(
        self,
        model: GPT,
        tokenizer: Tokenizer,
        pairs: Sequence[Mapping[str, str]],
        held_out: Sequence[Mapping[str, str]],
        config: DpoConfig,
        batch_size: int,
        seed: int,
    ) -> None:
        self.model, self.tokenizer, self.config, self.batch_size = model, tokenizer, config, batch_size
        self.examples, self.held_out = self._encoded(pairs), self._encoded(held_out)
        self.pairs = held_out
        self.order = LikeLengths([max(len(c[0]), len(r[0])) for c, r in self.examples], batch_size, seed)
        training = model.training
        model.eval()
        with tt.no_grad():
            self.reference = self._log_probs(self.examples)  # (N, 2)
            self.held_reference = self._log_probs(self.held_out)
        model.train(training)

    def _encoded(self, pairs: Sequence[Mapping[str, str]]) -> list[tuple[tuple[Ints, Ints], ...]]:
        encode, found = self.tokenizer.encode, []
        for pair in pairs:
            prompt = encode(pair["prompt"])
            both = tuple(completion(prompt, encode(pair[name])) for name in ("chosen", "rejected"))
            place = f"finetune: the pair of the prompt {pair['prompt'][:40]!r}"
            size = self.model.config.block_size
            if not prompt:
                raise tt.ArgumentError(
                    f"{place} has no prompt", why="a completion completes something", fix="give it one"
                )
            if (longest := max(len(x) for x, _ in both)) > size:
                raise tt.ArgumentError(
                    f"{place} has {longest} tokens",
                    why=f"prompt and completion stand together in the context of {size}",
                    fix="shorten it, or begin with a model of a longer context",
                )
            found.append(both)
        return found

    def _log_probs(self, examples: Sequence[tuple[tuple[Ints, Ints], ...]]) -> AnyArray:
        """Log-probabilities of chosen and rejected completions, (N, 2)."""
        found = []
        for first in range(0, len(examples), self.batch_size):
            inputs, targets = _stacked(examples[first : first + self.batch_size])
            ids = [tt.from_numpy(x).to(self.model.device) for x in (inputs, targets)]
            found.append(completion_log_probs(self.model, *ids).cpu().numpy().reshape(2, -1).T)
        return np.concatenate(found)

    def batch(self, step: int) -> tuple[AnyArray, ...]:
        """Inputs and targets (2B, T), the chosen ones first, and the reference's log-probabilities (2B,)."""
        numbers = self.order.batch(step)
        inputs, targets = _stacked([self.examples[i] for i in numbers])
        return inputs, targets, np.ascontiguousarray(self.reference[numbers].T.reshape(-1))

    def loss(self, *batch: tt.Tensor) -> tt.Tensor:
        """The loss; rewards, margin and accuracy of the batch are in `seen`."""
        inputs, targets, reference = batch
        loss, rewards = dpo_loss(
            completion_log_probs(self.model, inputs, targets), reference, self.config.beta
        )
        self.seen = _numbers(rewards.cpu().numpy().reshape(2, -1))
        return loss

    def metrics(self) -> dict[str, float]:
        """Loss, rewards, margin and accuracy of held-out pairs, and how likely the completions are."""
        found = self._log_probs(self.held_out)  # (N, 2)
        policy, reference = (tt.tensor(x.T.reshape(-1)) for x in (found, self.held_reference))
        loss, rewards = dpo_loss(policy, reference, self.config.beta)
        likely = {"log_p_chosen": float(found[:, 0].mean()), "log_p_rejected": float(found[:, 1].mean())}
        return {"val_loss": loss.item(), **_numbers(rewards.numpy().reshape(2, -1)), **likely}

    def show(self) -> str:
        """The first pairs that were held out, with the logarithms of their probabilities."""
        with tt.no_grad():
            found = self._log_probs(self.held_out[:6])
        return "\n".join(
            f"{pair['prompt']!r}: {chosen:.2f} {pair['chosen']!r}, {rejected:.2f} {pair['rejected']!r}"
            for pair, (chosen, rejected) in zip(self.pairs, found, strict=False)
        )


def _numbers(rewards: AnyArray) -> dict[str, float]:
    """Means over rewards (2, B): of both, of their difference, and how often it is positive."""
    chosen, rejected = rewards
    return {
        "reward_chosen": float(chosen.mean()),
        "reward_rejected": float(rejected.mean()),
        "margin": float((chosen - rejected).mean()),
        "accuracy": float((chosen > rejected).mean()),
    }


def _stacked(examples: Sequence[tuple[tuple[Ints, Ints], ...]]) -> tuple[Ints, Ints]:
    """Inputs and targets (2B, T): the chosen ones, then the rejected."""
    rows = [pair[which] for which in (0, 1) for pair in examples]
    return padded([x for x, _ in rows], 0), padded([y for _, y in rows], IGNORED)
