"""Questions of benchmarks from files: choices as in HellaSwag, ARC and MMLU, last words as in LAMBADA.

The shape of a record follows from its fields:

- HellaSwag: {"ctx": "…", "endings": ["…", …], "label": 2}
- ARC: {"question": "…", "choices": {"text": ["…", …], "label": ["A", …]}, "answerKey": "B"}, or as its
  authors have it {"question": {"stem": "…", "choices": [{"text": "…", "label": "A"}, …]}, "answerKey": "B"}
- MMLU: {"question": "…", "choices": ["…", …], "answer": 1}, or the answer as a letter; "subject" is optional
- LAMBADA: {"text": "… whose last word is to be predicted"}

The prompts of ARC and MMLU, without examples, and the cleaning of HellaSwag are those of EleutherAI's
lm-evaluation-harness.
"""

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpt.data.records import Record, read_rows, text_of, unusable
from tinytensor.errors import FormatError
from tinytensor.files import PathLike

_FORM = (
    '{"ctx": "…", "endings": ["…", "…"], "label": 0}, {"question": "…", "choices": {"text": ["…", "…"], '
    '"label": ["A", "B"]}, "answerKey": "A"}, {"question": "…", "choices": ["…", "…"], "answer": 0} or '
    '{"text": "…"}'
)


@dataclass(frozen=True)
class Question:
    """A context, and its continuations."""

    context: str  # text before
    choices: tuple[str, ...]  # continuations; a last word is the only one
    answer: int = 0  # index of the right one


def read_questions(path: PathLike) -> list[Question]:
    r"""Questions of a file, all of one shape.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "last_words.jsonl"
        >>> _ = path.write_text('{"text": "The cat sat on the mat"}\n')
        >>> read_questions(path)
        [Question(context='The cat sat on the', choices=(' mat',), answer=0)]
    """
    found = [_question(record, place) for place, record in read_rows(path)]
    if not found or len({len(q.choices) == 1 for q in found}) > 1:
        raise FormatError(
            f"eval: {path} has {len(found)} questions" + (" of several shapes" if found else ""),
            why="a file has one or more questions, all with choices or all with last words",
            fix="give one file for each benchmark",
        )
    return found


def _question(record: Record, place: str) -> Question:
    """Question of a record."""
    if "endings" in record:
        context, endings = _clean(text_of(record, "ctx", place, _FORM)), record["endings"]
        if isinstance(endings, list):
            endings = [_clean(text) if isinstance(text, str) else text for text in endings]
            endings = {"text": endings, "label": list(range(len(endings)))}
        return _choice(context, endings, record.get("label"), place)
    if "answerKey" in record:
        asked = record.get("question")
        if isinstance(asked, Mapping):
            stem, choices = text_of(asked, "stem", place, _FORM), asked.get("choices")
        else:
            stem, choices = text_of(record, "question", place, _FORM), record.get("choices")
        if isinstance(choices, list) and all(isinstance(choice, Mapping) for choice in choices):
            choices = {name: [choice.get(name) for choice in choices] for name in ("text", "label")}
        return _choice(f"Question: {stem}\nAnswer:", choices, record["answerKey"], place)
    if "choices" in record:
        return _lettered(record, place)
    context, space, word = text_of(record, "text", place, _FORM).strip().rpartition(" ")
    if not space:
        raise unusable(place, "'text' has fewer than two words, of which the last is predicted", _FORM)
    return Question(context, (space + word,))


def _lettered(record: Record, place: str) -> Question:
    """Question of MMLU's shape: the context lists the choices, and the continuations are their letters."""
    texts, answer = record["choices"], record.get("answer")
    letters = string.ascii_uppercase[: len(texts)] if isinstance(texts, list) else ""
    if type(answer) is int and 0 <= answer < len(letters):
        answer = letters[answer]
    right = _choice("", {"text": texts, "label": list(letters)}, answer, place).answer
    lines = [text_of(record, "question", place, _FORM).strip()]
    if "subject" in record:
        subject = text_of(record, "subject", place, _FORM).replace("_", " ")
        lines.insert(0, f"The following are multiple choice questions (with answers) about {subject}.\n")
    lines += [f"{letter}. {text}" for letter, text in zip(letters, texts, strict=True)]
    return Question("\n".join([*lines, "Answer:"]), tuple([f" {letter}" for letter in letters]), right)


def _choice(context: str, choices: Any, answer: Any, place: str) -> Question:
    """Question with choices, which are texts with labels; the answer is one of these."""
    found = choices if isinstance(choices, Mapping) else {}
    texts, labels = found.get("text"), found.get("label")
    if not (isinstance(texts, list) and isinstance(labels, list) and all(isinstance(t, str) for t in texts)):
        raise unusable(place, "its choices are not lists of texts and labels", _FORM)
    labels = [str(label) for label in labels]
    if len(texts) < 2 or len(labels) != len(texts) or not all(text.strip() for text in texts):
        why = f"it has {len(texts)} choices and {len(labels)} labels; two or more have text, and a label each"
        raise unusable(place, why, _FORM)
    if labels.count(str(answer)) != 1:
        why = f"the right answer is {answer!r}; the labels are {', '.join(labels)}"
        raise unusable(place, why, _FORM)
    return Question(context, tuple([f" {text}" for text in texts]), labels.index(str(answer)))


def _clean(text: str) -> str:
    """Text of HellaSwag without the marks of its sources, such as [title]."""
    return re.sub(r"\[.*?\]", "", text.replace(" [title]", ". ")).replace("  ", " ").strip()
