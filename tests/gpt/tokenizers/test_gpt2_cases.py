"""GPT-2's published ids of 47 texts, from the merges they need: see golden/make_tokenizer_cases.py."""

import json

import pytest

from gpt import BPETokenizer
from gpt.tokenizers.bpe_train import BYTE_TOKENS
from gpt.tokenizers.pretokenize import printable, unprintable
from tests.helpers.source import ROOT

GOLDEN = json.loads((ROOT / "tests" / "golden" / "gpt2_tokenizer_cases.json").read_text("ascii"))


@pytest.fixture(scope="module")
def tokenizer():
    merges = [tuple(unprintable(name) for name in merge.split(" ")) for merge in GOLDEN["merges"]]
    tokens = [*BYTE_TOKENS, *(first + second for first, second in merges)]
    return BPETokenizer({token: i for i, token in enumerate(tokens)}, merges, {})


def test_there_are_47():
    assert len(GOLDEN["cases"]) == 47


@pytest.mark.parametrize(("text", "ids"), GOLDEN["cases"])
def test_the_ids_are_gpt2s(tokenizer, text, ids):
    names = [printable(tokenizer.tokens[i]) for i in tokenizer.encode(text)]
    assert [GOLDEN["ids"].get(name) for name in names] == ids


def test_single_bytes_have_their_published_ids():
    """The first 256 tokens of GPT-2 are the bytes, in the order of their printable characters."""
    named = {name: i for name, i in GOLDEN["ids"].items() if len(name) == 1}
    assert len(named) > 50
    assert all(BYTE_TOKENS.index(unprintable(name)) == i for name, i in named.items())
