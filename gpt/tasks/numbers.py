"""Arithmetic."""

import random
import re

from gpt.tasks.base import Drawn, VerifiableTask, below, last_part

LARGEST = 20
STEP = "step"  # subject of all sums that are steps of others: in training alone


def _is_step(a: int, b: int) -> bool:
    """Whether a sum is a step in the working of others: of two digits, or with a round number."""
    return max(a, b) < 10 or a % 10 == 0 or b % 10 == 0


def _working(a: int, sign: str, b: int) -> str:
    """Steps before a result: the last digits, then the tens. A step itself has none.

    Each begins with the last digit of a, so that a model learns one way to find it; the last step is a sum,
    whether or not a ten is borrowed.

    Example:
        >>> [_working(17, "+", 8), _working(17, "-", 8), _working(17, "-", 12), _working(7, "+", 8)]
        ['7 + 8 = 15, 10 + 15 = ', '7 + 10 - 8 = 7 + 2 = ', '7 - 2 = ', '']
    """
    if _is_step(a, b):
        return ""
    x, y = a % 10, b % 10
    tens = a - x + (b - y if sign == "+" else y - b)
    if sign == "-" and x < y:
        return f"{x} + 10 - {y} = {x} + {10 - y} = "
    digit = x + y if sign == "+" else x - y
    return f"{x} {sign} {y} = " + (f"{digit}, {tens} + {digit} = " if tens else "")


class Arithmetic(VerifiableTask):
    """Add or subtract two numbers from 0 to 20; the result is not negative.

    Sums that are steps of others, such as 7 + 8 of 17 + 8, are in no test problem.
    """

    name = "arithmetic"
    about = f"add or subtract two numbers up to {LARGEST}"
    questions = ("What is {a} {sign} {b}?", "Compute {a} {sign} {b}.", "{a} {sign} {b} = ?")
    chance = 1 / 27  # of the most frequent answers, which are 10 and 20, among problems with steps

    def draw(self, rng: random.Random) -> Drawn:
        """Two numbers and a sign; a sum in the other order is the same subject."""
        small, large = sorted((below(rng, LARGEST + 1), below(rng, LARGEST + 1)))
        sign = "+" if rng.random() < 0.5 else "-"
        a, b = (small, large) if sign == "+" and rng.random() < 0.5 else (large, small)
        answer = small + large if sign == "+" else large - small
        subject = STEP if _is_step(a, b) else f"{large} {sign} {small}"
        return Drawn(subject, {"a": a, "b": b, "sign": sign}, str(answer), _working(a, sign, b))

    def parse(self, reply: str) -> str | None:
        """The only number in the reply."""
        found = re.findall(r"-?\d+", last_part(reply))
        return str(int(found[0])) if len(found) == 1 else None
