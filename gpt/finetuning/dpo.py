"""Direct preference optimization (DPO): loss and task for pairs of preferred and rejected completions.

loss = -log sigmoid(beta ((log p(chosen) - log q(chosen)) - (log p(rejected) - log q(rejected)))), where p is
the model and q the model before training (the reference). beta (log p - log q) is the implicit reward.

The reference is frozen, so its log-probabilities are computed once, before the first step: no second model
stays in memory.

Source: Rafailov et al. 2023, arXiv:2305.18290, equation 7.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

import tinytensor as tt
from gpt.data.batches import Ints
from gpt.data.examples import LikeLengths, completion, padded
from gpt.fields import check_types
from gpt.finetuning.base import Task
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.chat_template import IGNORED
from tinytensor.interop.safetensors_file import Array

FIELDS = ("prompt", "chosen", "rejected")


@dataclass(frozen=True)
class DpoConfig:
    """Hyperparameters of DPO."""

    # strength of the constraint to stay close to the reference; smaller values allow more change
    beta: float = 0.1

    def __post_init__(self) -> None:
        check_types(self)
        if not self.beta > 0:
            raise tt.ArgumentError(
                f"DpoConfig: beta={self.beta}", why="it scales the rewards", fix="use beta=0.1"
            )


def completion_log_probs(model: GPT, inputs: tt.Tensor, targets: tt.Tensor) -> tt.Tensor:
    """Sum of log-probabilities over the targets that are not -100, (B, T) → (B,)."""
    logits = model(inputs)
    if logits.itemsize == 2:
        logits = logits.astype(tt.float32)  # sums over many tokens
    return -tt.cross_entropy(logits.mT, targets, reduction="none").sum(1)


def dpo_loss(policy: tt.Tensor, reference: tt.Tensor, beta: float) -> tuple[tt.Tensor, tt.Tensor]:
    """DPO loss of preference pairs.

    Args:
        policy: log-probabilities of the completions under the model, (2B,): chosen, then rejected.
        reference: the same under the reference, (2B,).
        beta: scale of the rewards.

    Returns:
        The mean loss, (), and the rewards, (2B,), detached.

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
    """DPO task: prompts with a chosen and a rejected completion."""

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
        with model.evaluating():
            self.reference = self._log_probs(self.examples)  # (N, 2)
            self.held_reference = self._log_probs(self.held_out)

    def _encoded(self, pairs: Sequence[Mapping[str, str]]) -> list[tuple[tuple[Ints, Ints], ...]]:
        encode, found = self.tokenizer.encode, []
        for pair in pairs:
            prompt = encode(pair["prompt"])
            both = tuple(completion(prompt, encode(pair[name])) for name in ("chosen", "rejected"))
            place = f"finetune: the pair of the prompt {pair['prompt'][:40]!r}"
            size = self.model.config.block_size
            if not prompt:
                raise tt.ArgumentError(
                    f"{place} has no prompt", why="a completion follows a prompt", fix="give it one"
                )
            if (longest := max(len(x) for x, _ in both)) > size:
                raise tt.ArgumentError(
                    f"{place} has {longest} tokens",
                    why=f"prompt and completion must fit into the context of {size}",
                    fix="shorten it, or use a model with a longer context",
                )
            found.append(both)
        return found

    def _log_probs(self, examples: Sequence[tuple[tuple[Ints, Ints], ...]]) -> Array:
        """Log-probabilities of chosen and rejected completions, (N, 2)."""
        found = []
        for first in range(0, len(examples), self.batch_size):
            inputs, targets = _stacked(examples[first : first + self.batch_size])
            ids = [tt.from_numpy(x).to(self.model.device) for x in (inputs, targets)]
            found.append(completion_log_probs(self.model, *ids).cpu().numpy().reshape(2, -1).T)
        return np.concatenate(found)

    def batch(self, step: int) -> tuple[Array, ...]:
        """Inputs and targets (2B, T), chosen first, and log-probabilities under the reference (2B,)."""
        numbers = self.order.batch(step)
        inputs, targets = _stacked([self.examples[i] for i in numbers])
        return inputs, targets, np.ascontiguousarray(self.reference[numbers].T.reshape(-1))

    def loss(self, *batch: tt.Tensor) -> tt.Tensor:
        """DPO loss of a batch; puts rewards, margin and accuracy into `seen`."""
        inputs, targets, reference = batch
        loss, rewards = dpo_loss(
            completion_log_probs(self.model, inputs, targets), reference, self.config.beta
        )
        self.seen = _numbers(rewards.cpu().numpy().reshape(2, -1))
        return loss

    def metrics(self) -> dict[str, float]:
        """Loss, rewards, margin, accuracy and log-probabilities of held-out pairs."""
        found = self._log_probs(self.held_out)  # (N, 2)
        policy, reference = (tt.tensor(x.T.reshape(-1)) for x in (found, self.held_reference))
        loss, rewards = dpo_loss(policy, reference, self.config.beta)
        likely = {"log_p_chosen": float(found[:, 0].mean()), "log_p_rejected": float(found[:, 1].mean())}
        return {"val_loss": loss.item(), **_numbers(rewards.numpy().reshape(2, -1)), **likely}

    def show(self) -> str:
        """First held-out pairs with their log-probabilities, as text."""
        found = self._log_probs(self.held_out[:6])
        return "\n".join(
            f"{pair['prompt']!r}: {chosen:.2f} {pair['chosen']!r}, {rejected:.2f} {pair['rejected']!r}"
            for pair, (chosen, rejected) in zip(self.pairs, found, strict=False)
        )


def _numbers(rewards: Array) -> dict[str, float]:
    """Mean chosen and rejected reward, margin and accuracy, from rewards (2, B)."""
    chosen, rejected = rewards
    return {
        "reward_chosen": float(chosen.mean()),
        "reward_rejected": float(rejected.mean()),
        "margin": float((chosen - rejected).mean()),
        "accuracy": float((chosen > rejected).mean()),
    }


def _stacked(examples: Sequence[tuple[tuple[Ints, Ints], ...]]) -> tuple[Ints, Ints]:
    """Padded inputs and targets (2B, T): chosen, then rejected."""
    rows = [pair[which] for which in (0, 1) for pair in examples]
    return padded([x for x, _ in rows], 0), padded([y for _, y in rows], IGNORED)
