"""Tasks about letters: spelling, reversing, sorting, counting.

Questions and answers have only characters of the embedded text, so that a model of these can learn them.
"""

import random
import re
from functools import cache
from string import ascii_lowercase

from gpt.tasks.base import Drawn, VerifiableTask, below, last_part, pick, words

NUMBERS = ("zero", "one", "two")
OFTEN = "adeilnorst"  # letters that occur twice in 100 words or more


def _letters(reply: str) -> str | None:
    """Single letters, separated by spaces, commas or hyphens, in the form `a b c`."""
    parts = re.split(r"\s*[,-]\s*|\s+", last_part(reply).lower())
    return " ".join(parts) if all(len(part) == 1 and part in ascii_lowercase for part in parts) else None


def _shuffled(rng: random.Random, items: str) -> list[str]:
    """Random order of all items."""
    return sorted(items, key=lambda _: rng.random())


class Spelling(VerifiableTask):
    """Write the letters of a word one by one."""

    name = "spelling"
    about = "write the letters of a word one by one"
    questions = (
        "Spell the word {word}.",
        "How do you spell {word}?",
        "Write the letters of {word} one by one.",
    )
    chance = 0.0

    def draw(self, rng: random.Random) -> Drawn:
        """A word of 3 to 7 letters."""
        word = pick(rng, words(7))
        return Drawn(word, {"word": word}, " ".join(word))

    def parse(self, reply: str) -> str | None:
        """Single letters."""
        return _letters(reply)


def _reversed_starts(word: str) -> str:
    """The beginnings of a word backwards, except the whole: each is the one before behind one more letter.

    Example:
        >>> _reversed_starts("bird")
        'b ib rib: '
    """
    return " ".join(word[:end][::-1] for end in range(1, len(word))) + ": "


class Reversing(VerifiableTask):
    """Write a word backwards."""

    name = "reversing"
    about = "write a word backwards"
    questions = ("Reverse the word {word}.", "Write {word} backwards.", "What is {word} from back to front?")
    chance = 0.0

    def draw(self, rng: random.Random) -> Drawn:
        """A word of 3 to 7 letters."""
        word = pick(rng, words(7))
        return Drawn(word, {"word": word}, word[::-1], _reversed_starts(word))

    def parse(self, reply: str) -> str | None:
        """One word."""
        word = last_part(reply).lower()
        return word if re.fullmatch("[a-z]+", word) else None


class Sorting(VerifiableTask):
    """Sort 3 to 5 different letters. Chance: a random order is the right one."""

    name = "sorting"
    about = "sort three to five letters"
    questions = (
        "Sort the letters {letters}.",
        "Put {letters} in alphabetical order.",
        "What is the order of {letters} in the alphabet?",
    )
    chance = (1 / 6 + 1 / 24 + 1 / 120) / 3

    def draw(self, rng: random.Random) -> Drawn:
        """3 to 5 different letters; the subject is their set, so that other orders are in the same split."""
        drawn = _shuffled(rng, ascii_lowercase)[: 3 + below(rng, 3)]
        answer = " ".join(sorted(drawn))
        return Drawn(answer, {"letters": " ".join(drawn)}, answer)

    def parse(self, reply: str) -> str | None:
        """Single letters."""
        return _letters(reply)


@cache
def _words_with(letter: str, count: int) -> tuple[str, ...]:
    """Words of 3 to 7 letters with a letter so many times."""
    return tuple(word for word in words(7) if word.count(letter) == count)


def _counted(letter: str, word: str) -> str:
    """Pairs of the letter and each one of the word, with a mark where both are equal: the working of a count.

    Example:
        >>> _counted("n", "ranging")
        'nr na nn! ng ni nn! ng: '
    """
    return " ".join(letter + one + "!" * (one == letter) for one in word) + ": "


class Counting(VerifiableTask):
    """Count a letter in a word: zero, one or two times. Letter and count are drawn independently."""

    name = "counting"
    about = "count a letter in a word"
    questions = (
        "How many times is {letter} in {word}?",
        "Count the letter {letter} in {word}.",
        "How often is {letter} in {word}?",
    )
    chance = 1 / len(NUMBERS)

    def draw(self, rng: random.Random) -> Drawn:
        """A letter, how often it occurs, and such a word of 3 to 7 letters."""
        letter, count = pick(rng, OFTEN), below(rng, len(NUMBERS))
        word = pick(rng, _words_with(letter, count))
        return Drawn(word, {"letter": letter, "word": word}, NUMBERS[count], _counted(letter, word))

    def parse(self, reply: str) -> str | None:
        """The only number in the reply, as a word or in digits."""
        found: list[str] = re.findall(rf"\b(?:{'|'.join(NUMBERS)}|\d+)\b", last_part(reply).lower())
        if len(found) != 1:
            return None
        names = {str(n): name for n, name in enumerate(NUMBERS)}
        return names.get(found[0], found[0])
