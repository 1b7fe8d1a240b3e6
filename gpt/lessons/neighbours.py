"""Nearest neighbors and analogies of word vectors: `python -m gpt neighbours SOURCE word`.

Options `--analogy A B C` and `--test`. The vectors are the token embeddings of a model, or those of
`python -m gpt skipgram`. The similarity is the cosine.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np

import tinytensor as tt
from gpt.console import Parser
from gpt.fields import closest
from gpt.generation.candidates import Array, to_numpy
from gpt.tokenizers.base import Tokenizer, every_text
from gpt.weights.load import load, require_tokenizer
from tinytensor.files import read_text
from tinytensor.interop.safetensors_file import read_safetensors
from tinytensor.lab.html import visible
from tinytensor.lab.report import Table

Similar = list[tuple[str, float]]
VECTORS, WORDS = "vectors.safetensors", "words.json"  # in a folder of `skipgram`


class Embeddings:
    """Vectors (N, C) of N words, normalized in `units`, with nearest-neighbor search.

    Example:
        >>> e = Embeddings(["up", "top", "left"], np.array([[0, 1], [0.1, 1], [-1, 0]]))
        >>> e.nearest("up", 1)
        [('top', 0.9950371980667114)]
    """

    def __init__(self, words: Iterable[str], vectors: Array) -> None:
        self.words = list(words)
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
        self.units = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
        self._rows = {word: row for row, word in enumerate(self.words)}

    @classmethod
    def from_table(cls, table: Array, tokenizer: Tokenizer) -> Embeddings:
        """Word vectors from the rows of a token embedding (V, C).

        A token with a leading space, the form inside sentences, is named without the space; the token without
        one is dropped if both exist, and so are rows that pad the table.
        """
        texts = every_text(tokenizer)[: len(table)]
        rows: dict[str, int] = {}
        for spaced in (True, False):
            for i, text in enumerate(texts):
                if text is not None and (text.startswith(" ") and len(text) > 1) == spaced:
                    rows.setdefault(text[1:] if spaced else text, i)
        return cls(rows, table[list(rows.values())])

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self._rows

    def __getitem__(self, word: str) -> Array:
        """Normalized vector of a word, shape (C,)."""
        if word not in self._rows:
            near = closest(word, self.words)
            raise tt.ArgumentError(
                f"neighbours: {word!r} has no vector",
                why=f"it is not one of the {len(self):,} words of this source",
                fix=f"did you mean {near[0]!r}?" if near else "try a more frequent word",
            )
        vector: Array = self.units[self._rows[word]]
        return vector

    def nearest(self, word: str, count: int = 10) -> Similar:
        """Most similar words by cosine, with the cosines."""
        return self._best(self[word], count, [word])

    def analogy(self, a: str, b: str, c: str, count: int = 10) -> Similar:
        """Answers to "a is to b as c is to …": the words nearest to b - a + c, excluding these three.

        Source: Mikolov et al. 2013, arXiv:1301.3781.
        """
        return self._best(self[b] - self[a] + self[c], count, [a, b, c])

    def _best(self, target: Array, count: int, without: Sequence[str]) -> Similar:
        if count < 1:
            raise tt.ArgumentError(
                f"neighbours: {count} words", why="at least one word is listed", fix="use 1 or more"
            )
        cosines = self.units @ (target / max(np.linalg.norm(target), 1e-12))
        cosines[[self._rows[word] for word in without]] = -np.inf
        best = np.argsort(-cosines, kind="stable")[: min(count, len(self) - len(set(without)))]
        return [(self.words[i], float(cosines[i])) for i in best]

    def only(self, words: Iterable[str]) -> Embeddings:
        """Subset of these words."""
        kept = [word for word in words if word in self]
        return Embeddings(kept, self.units[[self._rows[word] for word in kept]])


@dataclass(frozen=True)
class Score:
    """Accuracy on the analogies of a relation.

    Args:
        asked: number of questions whose four words have vectors.
        right: number of those whose first answer to b - a + c is d.
        among_five: number of those with d among the first five.
        without_relation: number of those whose nearest word to c alone is d: a baseline without analogy.
    """

    relation: str
    asked: int
    right: int
    among_five: int
    without_relation: int


def ask_analogies(embeddings: Embeddings) -> list[Score]:
    """Evaluate all analogies of RELATIONS; candidates are the words of lower-case letters.

    Example:
        >>> e = Embeddings(["man", "woman", "king", "queen"], np.array([[1, 0], [1, 1], [3, 0], [3, 1.0]]))
        >>> ask_analogies(e)[0]
        Score(relation='man and woman', asked=2, right=2, among_five=2, without_relation=0)
    """
    words = embeddings.only([w for w in embeddings.words if w.isalpha() and w.islower()])
    return [_score(words, relation, questions(relation)) for relation in RELATIONS]


def _score(words: Embeddings, relation: str, asked: Iterable[Question]) -> Score:
    known = [q for q in asked if all([word in words for word in q])]
    firsts = [[word for word, _ in words.analogy(a, b, c, 5)] for a, b, c, _ in known]
    return Score(
        relation,
        len(known),
        sum([q[3] == best[0] for q, best in zip(known, firsts, strict=True)]),
        sum([q[3] in best for q, best in zip(known, firsts, strict=True)]),
        sum([words.nearest(c, 1)[0][0] == d for _, _, c, d in known]),
    )


def open_embeddings(path: str) -> Embeddings:
    """Load word vectors of a `skipgram` folder, or the token embedding of a model."""
    folder = Path(path)
    if (folder / VECTORS).is_file():
        words = json.loads(read_text(folder / WORDS, "neighbours"))
        return Embeddings(words, read_safetensors(folder / VECTORS).arrays()["words"])
    model, tokenizer = require_tokenizer(load(path), "neighbours", path)
    return Embeddings.from_table(to_numpy(model.wte.weight.detach()), tokenizer)


def render(scores: Sequence[Score], candidates: int) -> str:
    """Scores as a table, with a total."""
    counts = [(s.asked, s.right, s.among_five, s.without_relation) for s in scores]
    total = [sum(column) for column in zip(*counts, strict=True)]
    rows = [
        (name, asked, *[f"{count / max(asked, 1):.1%}" for count in found])
        for name, (asked, *found) in zip(
            [*[s.relation for s in scores], "all"], [*counts, total], strict=True
        )
    ]
    head = ("relation", "asked", "right", "in first 5", "nearest alone")
    others = max(candidates - 3, 1)  # the three words of the question are excluded
    return f"{Table(head, 'lrrrr', rows)}\nchance: one in {others:,}"


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt neighbours SOURCE [WORD]`."""
    parser = Parser(prog="python -m gpt neighbours", description="Which words have similar vectors.")
    parser.add_argument("source", help="a model, or a folder that `python -m gpt skipgram` wrote")
    parser.add_argument("words", nargs="*", metavar="word", help="list the words nearest to it")
    parser.add_argument("--analogy", nargs=3, metavar=("A", "B", "C"), help="A is to B as C is to …")
    parser.add_argument("--test", action="store_true", help="ask analogies, and count the right answers")
    parser.add_argument("--top", type=int, default=10, help="how many words to list; default 10")
    args = parser.parse_args(argv)
    if not (args.words or args.analogy or args.test):
        raise tt.ArgumentError(
            "neighbours: no word",
            why="the nearest words of a word are listed",
            fix=f"for example: neighbours {args.source} king, or with --analogy man king woman, or --test",
        )
    embeddings = open_embeddings(args.source)
    for word in args.words:
        _print(f"nearest to {visible(word)}", embeddings.nearest(word, args.top))
    if args.analogy:
        a, b, c = args.analogy
        answers = embeddings.analogy(a, b, c, args.top)
        _print(f"{visible(a)} is to {visible(b)} as {visible(c)} is to", answers)
    if args.test:
        words = [w for w in embeddings.words if w.isalpha() and w.islower()]
        print(render(ask_analogies(embeddings), len(words)))
    return 0


def _print(heading: str, similar: Similar) -> None:
    print(heading)
    for word, cosine in similar:
        print(f"  {cosine:6.3f}  {visible(word)}")


Question = tuple[str, str, str, str]  # a is to b as c is to d

RELATIONS = {
    "man and woman": "man woman, king queen, father mother, son daughter, brother sister, husband wife, "
    "he she, his her, himself herself, bridegroom bride, prince princess, male female",
    "past": "go went, come came, see saw, say said, give gave, take took, know knew, make made, find found, "
    "send sent, bring brought, hear heard, eat ate, fall fell, stand stood",
    "plural": "king kings, son sons, day days, city cities, man men, woman women, word words, tree trees, "
    "year years, house houses, child children, servant servants, priest priests, stone stones",
    "ordinal": "two second, three third, four fourth, five fifth, six sixth, seven seventh, eight eighth, "
    "nine ninth, ten tenth",
}


def questions(relation: str) -> list[Question]:
    """All analogies of a relation: a is to b as c is to d.

    Example:
        >>> questions("man and woman")[0]
        ('man', 'woman', 'king', 'queen')
    """
    pairs = [tuple(pair.split()) for pair in RELATIONS[relation].split(", ")]
    return [(a, b, c, d) for (a, b), (c, d) in permutations(pairs, 2)]
