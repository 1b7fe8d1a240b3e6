"""Arithmetic."""

import random
import re

from gpt.tasks.base import Drawn, VerifiableTask, below, last_part

LARGEST = 20


class Arithmetic(VerifiableTask):
    """Add or subtract two numbers from 0 to 20; the result is not negative."""

    name = "arithmetic"
    about = f"add or subtract two numbers up to {LARGEST}"
    questions = ("What is {a} {sign} {b}?", "Compute {a} {sign} {b}.", "{a} {sign} {b} = ?")
    chance = 1 / (LARGEST + 1)  # of the most frequent answer, which is 1

    def draw(self, rng: random.Random) -> Drawn:
        """Two numbers and a sign; a sum in the other order is the same subject."""
        small, large = sorted((below(rng, LARGEST + 1), below(rng, LARGEST + 1)))
        sign = "+" if rng.random() < 0.5 else "-"
        a, b = (small, large) if sign == "+" and rng.random() < 0.5 else (large, small)
        answer = small + large if sign == "+" else large - small
        return Drawn(f"{large} {sign} {small}", {"a": a, "b": b, "sign": sign}, str(answer))

    def parse(self, reply: str) -> str | None:
        """The only number in the reply."""
        found = re.findall(r"-?\d+", last_part(reply))
        return str(int(found[0])) if len(found) == 1 else None
