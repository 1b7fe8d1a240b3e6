"""Built-in conversations: problems of `gpt.tasks`, the embedded plays, greetings. Made without files."""

from collections.abc import Callable, Sequence

import numpy as np

from gpt.data.conversations import Conversation
from gpt.tasks.base import Split, held_out
from gpt.tasks.registry import TASKS

PLAYS = {  # the first words of each
    "Coriolanus": "Before we proceed any further",
    "Richard III": "Now is the winter of our discontent",
    "Richard II": "Old John of Gaunt",
    "Romeo and Juliet": "Two households",
    "Henry VI": "I wonder how the king escaped",
    "The Winter's Tale": "If you shall chance, Camillo",
    "Measure for Measure": "Escalus.",
    "The Taming of the Shrew": "I'll pheeze you",
}
GREETINGS = [
    ("Hello|Hi|Hello!|Hi!|Good morning|Good day|Hey", "Hello! What shall we talk about?"),
    ("How are you?|How do you do?", "I am well, thank you. And you?"),
    ("Who are you?|What are you?|What is your name?", "I am a small model that has read Shakespeare."),
    ("What can you do?|Help|How can you help me?", "I spell, count, sort and add, and I know some plays."),
    ("What have you read?|Which books do you know?", "Eight plays of Shakespeare."),
    ("Thank you|Thanks|Thank you!|Thanks!", "You are welcome."),
    ("Goodbye|Bye|Good night|Farewell", "Farewell!"),
]  # fmt: skip
# Of twelve problems; other tasks have 2: see docs/developers/decisions/gpt.md.
PARTS = {"arithmetic": 3, "reversing": 3}
Exchange = tuple[str, str]  # question and answer


def builtin_conversations(text: str, seed: int, count: int, part: Split = "train") -> list[Conversation]:
    """Conversations of one to three exchanges, a function of the arguments alone.

    9 of 10 questions are problems of `gpt.tasks`; the others are greetings, and 3 of 100 the plays: which
    play a line is from, who says it, what comes next, and a dialogue, in which the model takes one of the
    parts. Answers about the plays are long and can hardly be guessed, so that more of them would leave little
    of the gradient to the problems.
    """
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, part == "test"], np.uint64)))
    plays = _Plays(text, part)
    kinds: list[Callable[[], Sequence[Exchange]]] = [
        lambda: [_problem(rng, part)],
        lambda: [_greeting(rng)],
        lambda: [plays.line_of_a_play(rng)],
        lambda: [plays.speaker(rng)],
        lambda: [plays.next_line(rng)],
        lambda: plays.dialogue(rng),
    ]
    shares = np.array([0.9, 0.07, 0.01, 0.01, 0.005, 0.005])
    talks: list[Conversation] = []
    while len(talks) < count:
        chosen = rng.choice(len(kinds), rng.integers(1, 4), p=shares)
        exchanges = [exchange for kind in chosen for exchange in kinds[kind]()]
        talk: Conversation = []
        for asked, answered in exchanges[:3]:
            talk += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
        talks.append(talk)
    return talks


def _problem(rng: np.random.Generator, part: Split) -> Exchange:
    parts = np.array([PARTS.get(name, 2) for name in TASKS])
    task = TASKS[rng.choice(list(TASKS), p=parts / parts.sum())]
    problem = task.problem(int(rng.integers(1 << 30)), part)
    return problem.question, problem.solution


def _greeting(rng: np.random.Generator) -> Exchange:
    asked, answered = GREETINGS[rng.integers(len(GREETINGS))]
    forms = asked.split("|")
    return forms[rng.integers(len(forms))], answered


class _Plays:
    """Speeches of the plays: (play, speaker, lines), in order; a scene of ten speeches is in one part."""

    def __init__(self, text: str, part: Split) -> None:
        starts = [(text.find(words), play) for play, words in PLAYS.items()]
        self.speeches: list[tuple[str, str, list[str]]] = []
        place = 0
        for number, paragraph in enumerate(text.split("\n\n")):
            speaker, _, said = paragraph.partition(":\n")
            place += len(paragraph) + 2
            begun = [play for start, play in starts if start < place]
            if said.strip() and held_out(f"scene {number // 10}") == (part == "test"):
                self.speeches.append((begun[-1], speaker.title(), said.strip().split("\n")))

    def _line(self, rng: np.random.Generator, more: int = 0) -> tuple[str, str, list[str], int]:
        """Play, speaker, lines of a speech, and a line in it with `more` others after it."""
        while True:
            play, speaker, lines = self.speeches[rng.integers(len(self.speeches))]
            i = int(rng.integers(len(lines)))
            if i + more < len(lines) and 20 <= len(lines[i]) <= 60:
                return play, speaker, lines, i

    def line_of_a_play(self, rng: np.random.Generator) -> Exchange:
        play, _, lines, i = self._line(rng)
        return f"Which play is this from? {lines[i]}", f"{play}."

    def speaker(self, rng: np.random.Generator) -> Exchange:
        _, speaker, lines, i = self._line(rng)
        return f"Who says: {lines[i]}", f"{speaker}."

    def next_line(self, rng: np.random.Generator) -> Exchange:
        _, _, lines, i = self._line(rng, more=1)
        return f"Go on: {lines[i]}", lines[i + 1]

    def dialogue(self, rng: np.random.Generator) -> Sequence[Exchange]:
        """Two exchanges of short speeches that follow each other."""
        while True:
            i = int(rng.integers(len(self.speeches) - 3))
            said = [" ".join(lines) for _, _, lines in self.speeches[i : i + 4]]
            if max(map(len, said)) <= 120:
                return [(said[0], said[1]), (said[2], said[3])]
