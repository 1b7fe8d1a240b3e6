"""Lesson 13, in-context learning: checks and solutions of its exercises."""

from lesson import RIGHT, Exercise


def letter(answer):
    if answer == "c":
        return RIGHT
    hints = {
        "a": "that would start again; where did b stand before?",
        "b": "b is the last letter; what comes after?",
    }
    return hints.get(answer, "the last letter is b; look what came after b before")


def rule(answer):
    cases = {"abcab": "c", "qhbq": "h", "xaxbx": "b", "aa": "a", "mattma": "t", "ab": None, "a": None}
    for text, expected in cases.items():
        got = answer(text)
        if got != expected:
            if got is None:
                return f"induction({text!r}) gave nothing, and {expected!r} is right"
            return f"induction({text!r}) gave {got!r}, and {expected!r} is right"
    return RIGHT


def induction(text):
    """The next letter by the rule."""
    before = text[:-1].rfind(text[-1])
    return None if before < 0 else text[before + 1]


def prompt(answer):
    examples = [("sea", "mer"), ("house", "maison"), ("cat", "chat")]
    for shots, expected in ((0, "dog ="), (1, "sea = mer\ndog ="), (2, "sea = mer\nhouse = maison\ndog =")):
        got = answer(examples, "dog", shots)
        if got is None:
            return "the function returns nothing yet"
        if got != expected:
            hint = (
                "; no space at the end: the model's tokens begin with it" if got.rstrip() == expected else ""
            )
            return f"{shots} shots: {got!r}, and {expected!r} is right{hint}"
    return RIGHT


def few_shot(examples, question, shots):
    """The prompt."""
    lines = [f"{given} = {wanted}" for given, wanted in examples[:shots]]
    return "\n".join([*lines, f"{question} ="])


EXERCISES = [
    Exercise(
        letter,
        solution="c",
        why="The last letter is b, and after b came c.",
        wrong=["a", "b", "d", "", 3],
    ),
    Exercise(
        rule,
        solution=induction,
        why="These two lines are what two layers of attention have learned: one to compare, one to copy.",
        wrong=[
            lambda text: None,
            lambda text: text[text.find(text[-1]) + 1] if text[:-1].count(text[-1]) else None,
            lambda text: text[text.rfind(text[-1]) - 1],
            lambda text: text[0],
            "c",
        ],
    ),
    Exercise(
        prompt,
        solution=few_shot,
        why="All examples have one form, and the question breaks off where the answer begins.",
        wrong=[
            lambda examples, question, shots: None,
            lambda examples, question, shots: f"{question} =",
            lambda examples, question, shots: "\n".join(
                [*[f"{a} = {b}" for a, b in examples[:shots]], f"{question} = "]
            ),
            lambda examples, question, shots: "\n".join(
                [*[f"{a} = {b}" for a, b in examples], f"{question} ="]
            ),
            "dog =",
        ],
    ),
]
