"""Make gpt2_tokenizer_cases.json: python tests/golden/make_tokenizer_cases.py CASES_FOLDER GPT2_FOLDER.

CASES_FOLDER holds cases.inp and cases.out: the texts and GPT-2's ids that llama.cpp tests its tokenizers with
(models/ggml-vocab-gpt-2.gguf.inp and .out; MIT licence, Copyright 2023-2024 The ggml authors). GPT2_FOLDER
holds OpenAI's vocab.bpe and encoder.json. Of their 50,000 merges those are kept that these texts use: without
the others, the ids are the same.
"""

import json
import sys
from pathlib import Path

from gpt import BPETokenizer, load_tokenizer
from gpt.tokenizers.pretokenize import printable

SEPARATOR = "\n__ggml_vocab_test__\n"


class Used(dict):  # type: ignore[type-arg]
    """Ranks of pairs, and which of them were taken."""

    def __init__(self, ranks: dict[tuple[int, int], int]) -> None:
        super().__init__(ranks)
        self.ranks: set[int] = set()

    def get(self, pair, default=None):  # type: ignore[no-untyped-def]
        rank = super().get(pair, default)
        if pair in self:
            self.ranks.add(rank)
        return rank


def main(cases: Path, vocabulary: Path) -> None:
    with open(cases / "cases.inp", encoding="utf-8", newline="") as file:
        texts = file.read().split(SEPARATOR)
    # Behind the last separator stands the empty text, which has no line of ids.
    ids = [
        [int(word) for word in line.split()] for line in (cases / "cases.out").read_text().splitlines()
    ] + [[]]
    tokenizer = load_tokenizer(vocabulary)
    assert isinstance(tokenizer, BPETokenizer)
    tokenizer._ranks = used = Used(tokenizer._ranks)
    assert [tokenizer.encode(text) for text in texts] == ids
    merges = [[printable(token) for token in tokenizer.merges[rank]] for rank in sorted(used.ranks)]
    names = {token_id: printable(tokenizer.tokens[token_id]) for row in ids for token_id in row}
    golden = {
        "source": __doc__,
        "ids": {names[token_id]: token_id for token_id in sorted(names)},
        "merges": [" ".join(merge) for merge in merges],
        "cases": [[text, row] for text, row in zip(texts, ids, strict=True)],
    }
    path = Path(__file__).parent / "gpt2_tokenizer_cases.json"
    path.write_text(json.dumps(golden, indent=0) + "\n", encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
