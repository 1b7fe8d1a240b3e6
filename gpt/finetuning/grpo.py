"""Group relative policy optimization (GRPO): reinforcement learning with verified rewards.

For each question the model samples a group of answers, and the task rewards them. The advantage A of an
answer is its reward minus the mean of its group, so no value network is needed. With p the model, and tokens
o_t of an answer o, the loss is

    mean over answers of 1/L sum over t of -A log p(o_t)

In the variant grpo (Shao et al. 2024) A is divided by the standard deviation of the group, and L is the
length of the answer. In dr_grpo (Liu et al. 2025) A is not divided, and L is max_new_tokens, so that the
weight of an answer does not depend on how hard its question is, or on its length. Each answer is used for one
update, so the ratio of new to old probabilities, which both papers clip, is 1. This is REINFORCE with the
mean of the group as baseline. All probabilities are those of the sampling temperature.

Source: Shao et al. 2024, arXiv:2402.03300, equations 3 and 4; Liu et al. 2025, arXiv:2503.20783, section 3.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Literal

import numpy as np
import numpy.typing as npt

import tinytensor as tt
from gpt.data.examples import completion, padded
from gpt.fields import check_types
from gpt.finetuning.base import Task
from gpt.generation.rollouts import sample_answers
from gpt.models.gpt import GPT
from gpt.tasks.base import Problem, Split, VerifiableTask
from gpt.tasks.prompts import Prompts
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.chat_template import IGNORED
from tinytensor.interop.safetensors_file import Array

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GrpoConfig:
    """Task and hyperparameters of GRPO."""

    # what to learn: spelling, counting, sorting, reversing, arithmetic; several by commas
    task: str = "sorting"
    group_size: int = 8  # G, answers to each question; batch_size counts questions
    max_new_tokens: int = 36  # maximum length of an answer
    temperature: float = 1.0  # of the sampling, in training and for pass@k
    # grpo: advantages over the standard deviation of the group, answers averaged over their tokens; dr_grpo:
    # without both
    variant: Literal["grpo", "dr_grpo"] = "grpo"
    held_out: int = 100  # number of test problems of each task
    samples: int = 8  # answers to each test problem, for pass@1 and pass@k, where k is this number
    # shuffled: rewards are shuffled over all answers of a batch, a control that must not learn
    control: Literal["none", "shuffled"] = "none"

    def __post_init__(self) -> None:
        check_types(self)
        least = {"group_size": 2, "max_new_tokens": 1, "held_out": 1, "samples": 1}
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise _refused(self, name, f"it is {smallest} or more", smallest)
        if not self.temperature > 0:
            raise _refused(self, "temperature", "a group needs different answers", 1.0)


def _refused(config: GrpoConfig, name: str, why: str, example: float) -> tt.ArgumentError:
    return tt.ArgumentError(
        f"GrpoConfig: {name}={getattr(config, name)}", why=why, fix=f"for example {name}={example}"
    )


# ---- formulas ---------------------------------------------------------------------------------------------


def advantages(rewards: Doubles, variant: str) -> Doubles:
    """Rewards relative to the mean of their group.

    Returns:
        shape (P, G); 0 in a group of equal rewards.

    Example:
        >>> advantages(np.array([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]), "dr_grpo").tolist()
        [[0.75, -0.25, -0.25, -0.25], [0.0, 0.0, 0.0, 0.0]]
    """
    centered: Doubles = rewards - rewards.mean(1, keepdims=True)
    if variant == "grpo":
        spread = rewards.std(1, keepdims=True)
        centered = np.divide(centered, spread, out=np.zeros_like(centered), where=spread > 0)
    return centered


def token_log_probs(model: GPT, inputs: tt.Tensor, targets: tt.Tensor, temperature: float) -> tt.Tensor:
    """Log-probability of each target at a temperature, (B, T) → (B, T); 0 where the target is -100."""
    logits = model(inputs)
    if logits.itemsize == 2:
        logits = logits.astype(tt.float32)
    return -tt.cross_entropy((logits / temperature).mT, targets, reduction="none")


def policy_loss(log_p: tt.Tensor, weights: tt.Tensor) -> tt.Tensor:
    """Loss of log-probabilities of sampled tokens, (B, T).

    Args:
        weights: advantage of each token's answer times the weight of the token, (B, T); 0 outside of answers.
    """
    return -(log_p * weights).sum()


def pass_at(k: int, right: int, samples: int) -> float:
    """Unbiased estimate of the probability that one of k answers is right, if `right` of `samples` were.

    Source: Chen et al. 2021, arXiv:2107.03374, equation 1.

    Example:
        >>> pass_at(1, 3, 4), pass_at(2, 1, 4), pass_at(4, 1, 4)
        (0.75, 0.5, 1.0)
    """
    return 1.0 - comb(samples - right, k) / comb(samples, k)


# ---- the task ---------------------------------------------------------------------------------------------


class Reinforcing(Task):
    """GRPO task: questions of verifiable tasks, answered by the model."""

    def __init__(
        self,
        model: GPT,
        tokenizer: Tokenizer,
        tasks: Sequence[VerifiableTask],
        config: GrpoConfig,
        batch_size: int,
        seed: int,
    ) -> None:
        self.model, self.tasks, self.config, self.seed = model, tasks, config, seed
        self.batch_size = batch_size
        self.prompts = Prompts(tokenizer)
        self.vocab_size = tokenizer.vocab_size
        self._check()

    def _check(self) -> None:
        """Raise ArgumentError early, for questions that the model cannot read or answer."""
        for number, one in enumerate(self.tasks):
            for index in range(number, 40 * len(self.tasks), len(self.tasks)):
                problem = one.problem(index)
                count = len(self.prompts.of(problem.question)) + self.config.max_new_tokens
                longest = len(self.prompts.tokenizer.encode(problem.solution)) + 1
                if count > self.model.config.block_size or longest > self.config.max_new_tokens:
                    raise tt.ArgumentError(
                        f"finetune grpo: {problem.question!r} has {count - self.config.max_new_tokens} "
                        f"tokens, its answer {longest}, of at most {self.config.max_new_tokens}",
                        why=f"both fit into the context of {self.model.config.block_size}",
                        fix="change --max_new_tokens, or use a model with a longer context",
                    )

    def problem(self, index: int, split: Split) -> tuple[VerifiableTask, Problem]:
        """Task and problem of an index over all tasks."""
        place, which = divmod(index, len(self.tasks))
        return self.tasks[which], self.tasks[which].problem(place, split)

    # ---- training -----------------------------------------------------------------------------------------

    def batch(self, step: int) -> tuple[Array, ...]:
        """Answers of the current model to the questions of a batch, sampled and rewarded.

        Returns:
            shape (B, T) each: token ids; targets, -100 outside of answers; advantages times weights of the
            tokens.
        """
        with self.model.evaluating():
            return self._answered(step)

    def _answered(self, number: int) -> tuple[Array, ...]:
        """Sample and reward answers to the questions of a batch."""
        config, G = self.config, self.config.group_size
        first = number * self.batch_size
        problems = [self.problem(i, "train") for i in range(first, first + self.batch_size)]
        prompts = [self.prompts.of(problem.question) for _, problem in problems]
        generator = tt.Generator(self.seed + 1 + number)
        answers = self._sampled(prompts, G, config.temperature, generator)
        rewards = self._rewards(problems, answers)  # (P, G)
        mixed = rewards
        if config.control == "shuffled":
            mixed = rewards.reshape(-1)[tt.randperm(rewards.size, generator=generator).numpy()].reshape(-1, G)
        A = advantages(mixed, config.variant).reshape(-1)  # (P G,)
        self.seen = {
            "reward": float(rewards.mean()),
            "signal": float(np.count_nonzero(A) / len(A)),
            "answer_tokens": float(np.mean([len(answer) for answer in answers])),
            "samples": [
                {
                    "question": problems[0][1].question,
                    "reply": self.prompts.text(answer),
                    "reward": float(reward),
                }
                for answer, reward in zip(answers[:G], rewards[0], strict=True)
            ],
        }
        # Rows without an advantage have no gradient; one is kept where there is no other.
        chosen = np.flatnonzero(A)
        rows = [(prompts[i // G], answers[i], A[i]) for i in (chosen if len(chosen) else [0])]
        return self._arrays(rows, len(A))

    def _arrays(
        self, rows: Sequence[tuple[Sequence[int], Sequence[int], float]], count: int
    ) -> tuple[Array, ...]:
        """Arrays of `batch` from prompts, answers and advantages, out of `count` answers."""
        config = self.config
        pairs = [completion(prompt, answer) for prompt, answer, _ in rows]
        inputs, targets = padded([x for x, _ in pairs], 0), padded([y for _, y in pairs], IGNORED)
        lengths = (
            (targets != IGNORED).sum(1)
            if config.variant == "grpo"
            else np.full(len(rows), config.max_new_tokens)
        )
        shares = ((targets != IGNORED) / (count * lengths[:, None])).astype(np.float32)
        weights = (shares * np.array([[a] for *_, a in rows])).astype(np.float32)
        return inputs, targets, weights

    def loss(self, *batch: tt.Tensor) -> tt.Tensor:
        """Loss of sampled answers."""
        inputs, targets, weights = batch
        return policy_loss(token_log_probs(self.model, inputs, targets, self.config.temperature), weights)

    # ---- answers ------------------------------------------------------------------------------------------

    def _sampled(
        self, prompts: Sequence[Sequence[int]], copies: int, temperature: float, generator: tt.Generator
    ) -> list[list[int]]:
        """Answers (P copies), as many prompts at a time as a batch has."""
        found = []
        for first in range(0, len(prompts), self.batch_size):
            found += sample_answers(
                self.model,
                prompts[first : first + self.batch_size],
                self.config.max_new_tokens,
                stop_ids=self.prompts.stop_ids,
                copies=copies,
                temperature=temperature,
                vocab_size=self.vocab_size,
                generator=generator,
            )
        return found

    def _rewards(
        self, problems: Sequence[tuple[VerifiableTask, Problem]], answers: Sequence[Sequence[int]]
    ) -> Doubles:
        """Rewards (P, G) of answers (P G). One without an end was cut, and has none."""
        ended = [answer[-1] in self.prompts.stop_ids for answer in answers]
        texts = [self.prompts.text(answer) for answer in answers]
        copies = len(answers) // len(problems)
        found = [
            one.reward(problem, texts[row]) if ended[row] else 0.0
            for i, (one, problem) in enumerate(problems)
            for row in range(i * copies, (i + 1) * copies)
        ]
        return np.array(found).reshape(len(problems), copies)

    def metrics(self) -> dict[str, float]:
        """Metrics of held-out problems: `greedy`, the share of right greedy answers; `pass_1` and
        `pass_k` of sampled ones; `val_loss`, 1 - pass@1; and for several tasks pass@1 of each.
        """
        count, k = self.config.held_out * len(self.tasks), self.config.samples
        problems = [self.problem(i, "test") for i in range(count)]
        prompts = [self.prompts.of(problem.question) for _, problem in problems]
        generator = tt.Generator(self.seed)
        greedy = self._rewards(problems, self._sampled(prompts, 1, 0.0, generator))  # (P, 1)
        sampled = self._sampled(prompts, k, self.config.temperature, generator)
        right = self._rewards(problems, sampled) == 1.0  # (P, k)
        by_task = {one.name: float(right[i :: len(self.tasks)].mean()) for i, one in enumerate(self.tasks)}
        found = {"val_loss": 1 - float(right.mean()), "greedy": float((greedy == 1.0).mean())}
        for n in (1, k):
            found[f"pass_{n}"] = float(np.mean([pass_at(n, c, k) for c in right.sum(1).tolist()]))
        return found if len(self.tasks) == 1 else {**found, **by_task}

    def show(self) -> str:
        """Held-out questions with the greedy answers, as text."""
        problems = [self.problem(i, "test") for i in range(8)]
        prompts = [self.prompts.of(problem.question) for _, problem in problems]
        answers = self._sampled(prompts, 1, 0.0, tt.Generator(self.seed))
        rewards = self._rewards(problems, answers)[:, 0]
        return "\n".join(
            f"{problem.question!r} {self.prompts.text(answer)!r}{'' if reward == 1.0 else ' is wrong'}"
            for (_, problem), answer, reward in zip(problems, answers, rewards, strict=True)
        )
