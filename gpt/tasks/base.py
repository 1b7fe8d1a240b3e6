"""Problem and VerifiableTask: questions with answers that a program can verify. Independent of models.

A problem is a function of its index and split. A tenth of the subjects is held out: the word of a
test problem is in no training problem, whatever the task and the phrasing.
"""

import random
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from typing import ClassVar, Literal, NamedTuple, TypeVar

from gpt.data.command import embedded_shakespeare
from tinytensor.errors import ArgumentError

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
T = TypeVar("T")
HELD_OUT = 10  # one subject in so many is in test problems


class Problem(NamedTuple):
    """A question, and its answer.

    Args:
        question: what is asked.
        answer: what a reply must give.
        working: what a model learns to write before the answer, up to a colon or an equals sign; often empty.

    Example:
        >>> Problem("What is 17 + 8?", "25", "7 + 8 = 15, 10 + 15 = ").solution
        '7 + 8 = 15, 10 + 15 = 25'
    """

    question: str
    answer: str
    working: str = ""

    @property
    def solution(self) -> str:
        """Working and answer: the reply that a model is to learn."""
        return self.working + self.answer


class Drawn(NamedTuple):
    """Content of a problem before it is phrased."""

    subject: str  # decides the split, for example the word; equal in problems that give each other away
    fields: Mapping[str, object]  # values of the placeholders in the questions
    answer: str  # see `Problem`
    working: str = ""  # see `Problem`


class VerifiableTask(ABC):
    """A family of problems with one right answer each.

    Example:
        >>> from gpt.tasks.registry import task
        >>> problem = task("sorting").problem(0)
        >>> problem
        Problem(question='What is the order of g i e in the alphabet?', answer='e g i', working='')
        >>> task("sorting").reward(problem, "E, G, I."), task("sorting").reward(problem, "g e i")
        (1.0, 0.0)
    """

    name: ClassVar[str]  # name on the command line
    about: ClassVar[str]  # one-line description
    questions: ClassVar[tuple[str, ...]]  # phrasings of the question, with placeholders
    chance: ClassVar[float]  # share of right answers of someone who knows their form, but not the rule

    @abstractmethod
    def draw(self, rng: random.Random) -> Drawn:
        """Random content of a problem, from `rng.random()` alone: its numbers are equal in all Pythons."""

    @abstractmethod
    def parse(self, reply: str) -> str | None:
        """Answer that a reply gives, in the form of `Problem.answer`; None if it gives none, or several."""

    def problem(self, index: int, split: Split = "train") -> Problem:
        """Problem of an index."""
        if index < 0 or split not in SPLITS:
            raise ArgumentError(
                f"problem: index={index}, split={split!r}",
                why="problems are numbered from 0, in two splits",
                fix='for example problem(0, "test")',
            )
        rng = random.Random(f"{self.name} {split} {index}")  # a text seeds by its SHA-512
        drawn = self.draw(rng)
        while held_out(drawn.subject) != (split == "test"):
            drawn = self.draw(rng)
        return Problem(pick(rng, self.questions).format_map(drawn.fields), drawn.answer, drawn.working)

    def reward(self, problem: Problem, reply: str) -> float:
        """1.0 for a reply that gives the answer, else 0.0."""
        return float(self.parse(reply) == problem.answer)


def held_out(subject: str) -> bool:
    """Whether problems about a subject are test problems, as of one in HELD_OUT.

    Example:
        >>> sum(held_out(str(i)) for i in range(1000))
        83
    """
    return zlib.crc32(subject.encode()) % HELD_OUT == 0


def below(rng: random.Random, count: int) -> int:
    """Random integer from 0 to count - 1."""
    return int(rng.random() * count)


def pick(rng: random.Random, items: Sequence[T]) -> T:
    """Random item."""
    return items[below(rng, len(items))]


@cache
def words(longest: int) -> tuple[str, ...]:
    """Words of the embedded text in small letters, of 3 to `longest` letters, sorted."""
    return tuple(
        sorted(set(re.findall(rf"(?<![\w'-])[a-z]{{3,{longest}}}(?![\w'-])", embedded_shakespeare())))
    )


def last_part(reply: str) -> str:
    """The part of a reply after its last colon or equals sign, without space and a full stop around it.

    Example:
        >>> last_part("The letters in order are: a, b, c. ")
        'a, b, c'
    """
    return re.split("[:=]", reply)[-1].strip().removesuffix(".").strip()
