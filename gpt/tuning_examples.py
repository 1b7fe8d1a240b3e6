"""Small sets of examples that are made of a text, so that every way of fine-tuning can be tried at once.

They are toys: what they show is that the mechanism works, not that a model of this size is of use.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

__all__ = ["INSTRUCTIONS", "capitals", "exclamations", "scrambled_lines", "word_tasks"]

INSTRUCTIONS: dict[str, Callable[[str], str]] = {
    "Copy": lambda word: word,
    "Upper case": str.upper,
    "First letter": lambda word: word[0],
    "Last letter": lambda word: word[-1],
    "Twice": lambda word: f"{word} {word}",
}


def _rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array([seed, 0], np.uint64)))


def word_tasks(text: str, seed: int = 0, count: int = 600) -> list[list[dict[str, str]]]:
    """Instructions about words of the text: a group of records for each word, so that words are held out."""
    words = sorted(set(re.findall(r"\b[a-z]{3,6}\b", text)))
    chosen = _rng(seed).permutation(len(words))[:count]
    return [
        [{"instruction": name, "input": word, "output": act(word)} for name, act in INSTRUCTIONS.items()]
        for word in (words[i] for i in chosen)
    ]


def exclamations(text: str, seed: int = 0, count: int = 600, longest: int = 100) -> list[dict[str, str]]:
    """Preference pairs: a sentence is better with an exclamation mark at its end than with a full stop.

    Of sentences of more than `longest` characters the ends are taken: a context may be short.
    """
    found = re.findall(r"[A-Z][a-z,' \n]{20,80}(?=\.)", text)
    chosen = _rng(seed).permutation(len(found))[:count]
    return [{"prompt": f"\n{found[i]}"[-longest:], "chosen": "!\n", "rejected": ".\n"} for i in chosen]


def scrambled_lines(text: str, seed: int = 0, count: int = 1500) -> list[dict[str, str]]:
    """Pairs of lines, half of them with the letters inside each word in another order.

    Their labels are `real` and `scrambled`. How often each letter occurs says nothing: whoever tells them
    apart knows how words are spelled.
    """
    rng = _rng(seed)
    lines = [line for line in text.split("\n") if len(line.split()) >= 6 and not line.endswith(":")]
    found = []
    for number, i in enumerate(rng.permutation(len(lines) - 1)[:count]):
        words = f"{lines[i]} {lines[i + 1]}".split()
        if number % 2:
            words = ["".join(rng.permutation(list(word))) if word.isalpha() else word for word in words]
        found.append({"text": " ".join(words), "label": "scrambled" if number % 2 else "real"})
    return found


def capitals(text: str) -> str:
    """The text in capital letters: other tokens, the same language."""
    return text.upper()
