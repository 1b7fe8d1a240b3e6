"""Lesson 1, vocabulary: checks and solutions of its exercises."""

from lesson import RIGHT, STORY, Exercise


def size(answer):
    if answer == 8:
        return RIGHT
    hints = {
        11: "that is the length of the text; a character that comes again is the same token",
        10: "these are the letters, each time they come; count each once",
        7: "the space is a character, too",
    }
    return hints.get(answer, "write down each character of the text the first time you meet it, then count")


def missing(answer):
    right = set("The quick brown fox") - set(STORY)
    given = set(answer)
    if given == right:
        return RIGHT
    if given - right:
        return f"the story has {sorted(given - right)}, or the sentence has not"
    return f"these are right, but {len(right - given)} more are missing"


def encoder(answer):
    for text, vocabulary in (("cab", "abc"), ("", "abc"), ("a a", " a")):
        expected = [vocabulary.index(character) for character in text]
        got = answer(text, list(vocabulary))
        if got is None:
            return "the function returns nothing yet"
        if list(got) != expected:
            return f"encode({text!r}, {list(vocabulary)}) gave {got}, and {expected} is right"
    return RIGHT


def encode(text, vocabulary):
    """One id for each character of a text."""
    ids = {character: i for i, character in enumerate(vocabulary)}
    return [ids[character] for character in text]


EXERCISES = [
    Exercise(
        size,
        solution=8,
        why="h, e, l, o, w, r, d and the space: eight characters, of which l, o come more than once.",
        wrong=[11, 10, 7, 26, "eight"],
    ),
    Exercise(
        missing,
        solution={"q", "u", "w", "x"},
        why="The story has no q, u, w and x; no text with them can be encoded.",
        wrong=[{"q"}, {"q", "u", "w", "x", "T"}, set(), 4],
    ),
    Exercise(
        encoder,
        solution=encode,
        why="A dictionary finds the place of a character at once, however long the vocabulary is.",
        wrong=[
            lambda text, vocabulary: None,
            lambda text, vocabulary: [ord(character) for character in text],
            lambda text, vocabulary: [vocabulary.index(text[0])],
            "encode",
        ],
    ),
]
