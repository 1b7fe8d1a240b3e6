"""Our tokenizer.json in Hugging Face's `tokenizers`, theirs in ours, and equal merges from the same text."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt import BPETokenizer, embedded_shakespeare, load_tokenizer
from gpt.tokenizers.pretokenize import printable
from tests.gpt.tokenizers.test_bpe import HOSTILE

tokenizers = pytest.importorskip("tokenizers")
pytestmark = pytest.mark.oracle

# Without characters that Python's tables do not have yet: theirs may be newer.
texts = st.text(st.characters(exclude_categories=["Cs", "Cn"]))
repetitions = st.text("ab 1'\n", max_size=60)


@pytest.fixture(scope="module")
def ours() -> BPETokenizer:
    special = ["<|endoftext|>", "<s>", "<s><s>"]
    return BPETokenizer.train(embedded_shakespeare()[:200_000], 1000, special_tokens=special)


@pytest.fixture(scope="module")
def theirs(ours: BPETokenizer, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("oracle") / "tokenizer.json"
    ours.save(path)
    return tokenizers.Tokenizer.from_file(str(path))


def trained_by_them(vocab_size: int, least: int, special: list[str]):
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=least,
        special_tokens=special,
        show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator([embedded_shakespeare()[:200_000]], trainer)
    return tokenizer


@given(text=texts | repetitions)
def test_the_same_ids_and_text(ours: BPETokenizer, theirs, text: str) -> None:
    ids = theirs.encode(text).ids
    assert ours.encode(text, allowed_special="all") == ids
    assert theirs.decode(ids, skip_special_tokens=False) == ours.decode(ids) == text


@pytest.mark.parametrize("text", [*HOSTILE, "a<s><s><s>b <|endoftext|> c", "x" * 5000, "ab" * 3000])
def test_the_same_ids_of_hostile_text(ours: BPETokenizer, theirs, text: str) -> None:
    assert ours.encode(text, allowed_special="all") == theirs.encode(text).ids


def test_the_same_ids_of_shakespeare(ours: BPETokenizer, theirs) -> None:
    text = embedded_shakespeare()
    assert ours.encode(text) == theirs.encode(text).ids
    assert ours.vocab_size == theirs.get_vocab_size()


@given(ids=st.lists(st.integers(0, 999), max_size=20))
def test_any_ids_give_the_same_text(ours: BPETokenizer, theirs, ids: list[int]) -> None:
    assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=False)


@pytest.mark.parametrize("least", [2, 20])
def test_training_gives_the_same_merges(least: int) -> None:
    """They count as we do, and of equal counts they take the smaller ids, too."""
    merges = json.loads(trained_by_them(1500, least, []).to_str())["model"]["merges"]
    ours = BPETokenizer.train(embedded_shakespeare()[:200_000], 1500, special_tokens=[], min_count=least)
    parts = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
    assert [[printable(a), printable(b)] for a, b in ours.merges] == parts


def test_their_file_gives_the_same_ids(tmp_path: Path) -> None:
    tokenizer = trained_by_them(700, 2, ["<|endoftext|>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    assert isinstance(loaded, BPETokenizer)
    assert loaded.separator == 0
    text = "<|endoftext|>" + embedded_shakespeare()[:50_000]
    assert loaded.encode(text, allowed_special="all") == tokenizer.encode(text).ids
