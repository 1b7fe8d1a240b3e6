"""Questions of benchmarks from JSONL files: choices as in HellaSwag and ARC, last words as in LAMBADA.

The shape of a file follows from the fields of its lines:

- HellaSwag: {"ctx": "…", "endings": ["…", …], "label": 2}
- ARC: {"question": "…", "choices": {"text": ["…", …], "label": ["A", …]}, "answerKey": "B"}, or as its
  authors have it {"question": {"stem": "…", "choices": [{"text": "…", "label": "A"}, …]}, "answerKey": "B"}
- LAMBADA: {"text": "… whose last word is to be predicted"}

The prompts of ARC and the cleaning of HellaSwag are those of EleutherAI's lm-evaluation-harness.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinytensor.errors import FormatError
from tinytensor.files import PathLike, read_text


@dataclass(frozen=True)
class Question:
    """A context, and its continuations.

    Args:
        context: text before.
        choices: continuations; a last word is the only one.
        answer: index of the right one.
    """

    context: str
    choices: tuple[str, ...]
    answer: int = 0


def read_questions(path: PathLike) -> list[Question]:
    r"""Questions of a JSONL file, all of one shape.

    Args:
        path: the file; empty lines are skipped.

    Raises:
        ArgumentError: the file cannot be read.
        FormatError: a line of none of the shapes, or of another shape than the first, or no lines.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "last_words.jsonl"
        >>> _ = path.write_text('{"text": "The cat sat on the mat"}\n')
        >>> read_questions(path)
        [Question(context='The cat sat on the', choices=(' mat',), answer=0)]
    """
    found = []
    for number, line in enumerate(read_text(path, "eval").splitlines(), 1):
        if line.strip():
            try:
                found.append(_question(json.loads(line)))
            except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
                raise FormatError(
                    f"eval: {path}, line {number} is no question: {line[:60]}",
                    why=f"it has none of the shapes of HellaSwag, ARC and LAMBADA: {error!r}",
                    fix='for example {"ctx": "…", "endings": ["…", "…"], "label": 0}, or {"text": "…"}',
                ) from None
    if not found or len({len(q.choices) == 1 for q in found}) > 1:
        raise FormatError(
            f"eval: {path} has {len(found)} questions" + (" of several shapes" if found else ""),
            why="a file has one or more questions, all with choices or all with last words",
            fix="give one file for each benchmark",
        )
    return found


def _question(record: Mapping[str, Any]) -> Question:
    """Question of a record; raises one of several errors if it has no known shape."""
    if "endings" in record:
        return _choice(
            _clean(record["ctx"]), [_clean(text) for text in record["endings"]], int(record["label"])
        )
    if "answerKey" in record:
        asked = record["question"]
        plain = isinstance(asked, str)
        texts, labels = (
            (record["choices"]["text"], record["choices"]["label"])
            if plain
            else ([c["text"] for c in asked["choices"]], [c["label"] for c in asked["choices"]])
        )
        stem = asked if plain else asked["stem"]
        return _choice(f"Question: {stem}\nAnswer:", texts, labels.index(record["answerKey"]))
    context, space, word = record["text"].strip().rpartition(" ")
    if not space:
        raise ValueError("a text of one word")
    return Question(context, (space + word,))


def _choice(context: str, texts: Sequence[str], answer: int) -> Question:
    if len(texts) < 2 or not 0 <= answer < len(texts) or not all(texts):
        raise ValueError(f"{len(texts)} choices, of which {answer} is right")
    return Question(context, tuple(f" {text}" for text in texts), answer)


def _clean(text: str) -> str:
    """Text of HellaSwag without the marks of its sources, such as [title]."""
    return re.sub(r"\[.*?\]", "", text.replace(" [title]", ". ")).replace("  ", " ").strip()
