"""Accuracy of models on tasks, beside the chance level and a control with shuffled questions, in one table.

A task is one of `gpt.tasks`, whose questions the model answers greedily, or a file of a benchmark. Of several
choices the model takes the one with the highest log-likelihood per character; a last word is right if each of
its tokens is the most likely one. In the control each answer belongs to another question of the task: what is
then still right does not come from reading the question.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from gpt.console import columns
from gpt.evaluation.benchmark_files import Question, read_questions
from gpt.evaluation.likelihood import log_likelihoods
from gpt.generation.rollouts import sample_answers
from gpt.models.gpt import GPT
from gpt.tasks.base import VerifiableTask
from gpt.tasks.prompts import Prompts
from gpt.tasks.registry import TASKS, task
from gpt.tokenizers.base import Tokenizer
from tinytensor.errors import ArgumentError, TinyTensorError

ROWS = 64  # answers at a time
MOST = 1_000_000  # questions
LONGEST = 64  # tokens of an answer


@dataclass(frozen=True)
class Score:
    """Result of a model in a task."""

    value: float  # share of right answers; or bits per byte
    control: float | None  # share of right answers with shuffled questions; None: not measured
    chance: float | None  # share of right answers by chance; None for bits per byte
    count: int  # number of questions; or of tokens

    @property
    def stderr(self) -> float | None:
        """Standard error of a share."""
        return None if self.chance is None else sqrt(self.value * (1 - self.value) / self.count)


def score_task(model: GPT, tokenizer: Tokenizer, name: str, count: int = 200) -> Score:
    """Score of a model in a task.

    Args:
        model: run in evaluation mode, which is restored afterwards.
        tokenizer: its tokenizer.
        name: a task of `gpt.tasks`, whose test problems are asked, or a file: see `read_questions`.
        count: number of questions; those of a file are its first ones.
    """
    return _scored(model, tokenizer, _asked(name, count), count)


def _asked(name: str, count: int) -> VerifiableTask | list[Question]:
    """A task, or the first questions of a file."""
    if not 1 <= count <= MOST:
        why = f"it counts questions, 1 to {MOST:,}"
        raise ArgumentError(f"eval: count={count}", why=why, fix="use --count=200")
    if name in TASKS or not (Path(name).suffix or Path(name).is_file()):
        return task(name)
    return read_questions(name)[:count]


def _scored(model: GPT, tokenizer: Tokenizer, asked: VerifiableTask | list[Question], count: int) -> Score:
    if isinstance(asked, list):
        return _chosen(model, tokenizer, asked)
    return _answered(model, tokenizer, asked, count)


def _answered(model: GPT, tokenizer: Tokenizer, one: VerifiableTask, count: int) -> Score:
    """Score of greedy answers to test problems."""
    prompts, problems = Prompts(tokenizer), [one.problem(i, "test") for i in range(count)]
    ids, replies = [prompts.of(problem.question) for problem in problems], [""] * count
    most = max(min(LONGEST, model.config.block_size - max(map(len, ids))), 1)
    order = sorted(range(count), key=lambda i: len(ids[i]))  # similar lengths share their first tokens
    for first in range(0, count, ROWS):
        some = order[first : first + ROWS]
        with model.evaluating():
            answers = sample_answers(
                model,
                [ids[i] for i in some],
                most,
                stop_ids=prompts.stop_ids,
                temperature=0.0,
                vocab_size=tokenizer.vocab_size,
            )
        for i, answer in zip(some, answers, strict=True):
            replies[i] = prompts.text(answer)
    right = [one.reward(problem, reply) == 1.0 for problem, reply in zip(problems, replies, strict=True)]
    others = _other_question(count)
    mixed = [one.reward(problems[i], replies[j]) == 1.0 for i, j in enumerate(others)]
    return Score(float(np.mean(right)), float(np.mean(mixed)), one.chance, count)


def _chosen(model: GPT, tokenizer: Tokenizer, questions: Sequence[Question]) -> Score:
    """Score of likelihoods."""
    others = _other_question(len(questions))
    mixed = [
        Question(questions[j].context, q.choices, q.answer) for q, j in zip(questions, others, strict=True)
    ]
    value, control = [float(np.mean(_right(model, tokenizer, asked))) for asked in (questions, mixed)]
    single = len(questions[0].choices) == 1
    chance = 0.0 if single else float(np.mean([1 / len(q.choices) for q in questions]))
    return Score(value, control, chance, len(questions))


def _right(model: GPT, tokenizer: Tokenizer, questions: Sequence[Question]) -> list[bool]:
    """Whether the model finds each answer."""
    pairs = [(q.context, choice) for q in questions for choice in q.choices]
    likely = iter(log_likelihoods(model, tokenizer, pairs))
    found = []
    for q in questions:
        own = [next(likely) for _ in q.choices]
        per_character = [x.log_p / len(c.lstrip()) for x, c in zip(own, q.choices, strict=True)]
        found.append(own[0].greedy if len(own) == 1 else int(np.argmax(per_character)) == q.answer)
    return found


def _other_question(count: int) -> list[int]:
    """For each of `count` questions another one, if there is one: the next in a random order."""
    bits = np.random.Philox(key=np.array([0, count], np.uint64)).random_raw(count)
    order = np.argsort(bits, kind="stable").tolist()
    follower = dict(zip(order, [*order[1:], order[0]], strict=True))
    return [follower[i] for i in range(count)]


@dataclass
class Comparison:
    """Scores of several models in several tasks, such as the stages of a training.

    Example:
        >>> found = Comparison()
        >>> found.add("base", "sorting", Score(0.25, 0.0, 0.07, 100))
        >>> found.add("tuned", "sorting", Score(0.96, 0.01, 0.07, 100))
        >>> print(found.table())
        right (with shuffled questions)  questions  chance   base           tuned
        sorting                                100    7.0%   25.0% (0.0%)   96.0% (1.0%)
    """

    models: list[str] = field(default_factory=list)
    scores: dict[str, dict[str, Score]] = field(default_factory=dict)

    def add(self, model: str, name: str, score: Score) -> None:
        """Add the score of a model in a task."""
        if model not in self.models:
            self.models.append(model)
        self.scores.setdefault(name, {})[model] = score

    def add_tasks(
        self, model: str, tools: tuple[GPT, Tokenizer], names: Sequence[str], count: int = 200
    ) -> None:
        """Score a model, given with its tokenizer, in tasks and files: see `score_task`."""
        asked = {name: _asked(name, count) for name in names}  # wrong names raise before a model answers
        for name, questions in asked.items():
            with named_errors(model, name):
                self.add(model, name, _scored(*tools, questions, count))

    def table(self) -> str:
        """One row for each task, one column for each model."""
        rows = [["right (with shuffled questions)", "questions", "chance", *self.models]]
        for name, by_model in self.scores.items():
            first = next(iter(by_model.values()))
            cells = [_cell(by_model.get(model)) for model in self.models]
            chance = "" if first.chance is None else f"{first.chance:.1%}"
            rows.append([name, "" if first.chance is None else str(first.count), chance, *cells])
        if all(_chance(by_model) is None for by_model in self.scores.values()):  # a text, and no tasks
            rows = [["" if row is rows[0] else row[0], *row[3:]] for row in rows]
        lines = [columns(rows, right=(1, 2))]
        if any(row[-len(self.models) :].count("-") for row in rows):
            lines.append("-: not measured; a model without a validation part needs a text, --data=FILE")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """JSON values: name, chance, and for each model value (null if it is not finite), standard error,
        control and count.
        """
        return {
            "version": 1,
            "models": self.models,
            "tasks": [
                {
                    "task": name,
                    "metric": "accuracy" if _chance(by_model) is not None else "bits per byte",
                    "chance": _chance(by_model),
                    "scores": {
                        model: {
                            "value": s.value if isfinite(s.value) else None,
                            "stderr": s.stderr,
                            "shuffled": s.control,
                            "count": s.count,
                        }
                        for model, s in by_model.items()
                    },
                }
                for name, by_model in self.scores.items()
            ],
        }


@contextmanager
def named_errors(model: str, name: str) -> Iterator[None]:
    """Context that names model and task in an error, such as for a character that the tokenizer lacks."""
    try:
        yield
    except TinyTensorError as error:
        fix = f"{error.fix}; or leave {model} or {name} out"
        raise type(error)(f"eval: {model}, {name}: {error.what}", why=error.why, fix=fix) from None


def _chance(by_model: Mapping[str, Score]) -> float | None:
    return next(iter(by_model.values())).chance


def _cell(score: Score | None) -> str:
    """A score as text."""
    if score is None:
        return "-"
    if score.chance is None:
        return f"{score.value:.4f}"
    return f"{score.value:.1%} ({score.control:.1%})"
