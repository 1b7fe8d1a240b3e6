"""Tokenizers of all kinds, saving, and the command."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt import BPETokenizer, CharTokenizer, Tokenizer, embedded_shakespeare, load_tokenizer
from gpt.tokenizers.tokenizer import choose, main
from tinytensor.errors import ArgumentError, DTypeError

TEXT = "The cat sat on the mat.\nThe dog did not! Ça, 🙂 x²\r\n"
MAKERS: dict[str, Callable[[str], Tokenizer]] = {
    "char": CharTokenizer.train,
    "bpe": lambda text: BPETokenizer.train(text, 280, special_tokens=["<|endoftext|>", "[Ä]"], min_count=1),
}
every_kind = pytest.mark.parametrize("kind", MAKERS)


class TestAll:
    @every_kind
    @given(text=st.text(min_size=1))
    def test_round_trip_of_known_text(self, kind, text):
        tokenizer = MAKERS[kind](text)
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert all(0 <= i < tokenizer.vocab_size for i in ids)

    @every_kind
    @given(text=st.text(min_size=1))
    def test_saved_and_loaded_is_the_same(self, kind, text, tmp_path_factory):
        tokenizer = MAKERS[kind](text)
        path = tmp_path_factory.mktemp("saved") / "tokenizer.json"
        tokenizer.save(path)
        loaded = load_tokenizer(path)
        assert type(loaded) is type(tokenizer)
        assert loaded.vocab_size == tokenizer.vocab_size
        assert loaded.separator == tokenizer.separator
        assert loaded.encode(text) == tokenizer.encode(text)
        every_id = range(tokenizer.vocab_size)
        assert loaded.decode(every_id) == tokenizer.decode(every_id)

    @every_kind
    def test_ids_may_come_in_any_shape_of_integers(self, kind):
        tokenizer = MAKERS[kind](TEXT)
        ids = tokenizer.encode(TEXT)
        for form in (tuple(ids), iter(ids), np.array(ids), np.array(ids, np.uint16), (i for i in ids)):
            assert tokenizer.decode(form) == TEXT
        assert tokenizer.decode([]) == ""

    @every_kind
    @pytest.mark.parametrize("bad", [-1, 100_000])
    def test_ids_outside(self, kind, bad):
        """A negative id must not count from the end."""
        with pytest.raises(ArgumentError, match=f"id {bad} at position 2"):
            MAKERS[kind](TEXT).decode([0, 1, bad])

    @every_kind
    @pytest.mark.parametrize("bad", [[1.0], ["1"], [None], [[1]], 3, np.zeros((2, 2), int), np.zeros(2)])
    def test_ids_that_are_none(self, kind, bad):
        with pytest.raises(DTypeError, match="not integers"):
            MAKERS[kind](TEXT).decode(bad)

    @every_kind
    def test_text_that_is_none(self, kind):
        with pytest.raises(DTypeError, match="not a str"):
            MAKERS[kind](TEXT).encode(["a"])

    @every_kind
    def test_one_text_or_many(self, kind):
        many = choose(kind, iter([TEXT, "zebra"])) if kind != "bpe" else BPETokenizer.train(iter([TEXT]), 300)
        assert many.decode(many.encode(TEXT)) == TEXT

    @every_kind
    def test_failed_saving_leaves_the_old_file(self, kind, tmp_path, monkeypatch):
        path = tmp_path / "tokenizer.json"
        MAKERS[kind](TEXT).save(path)
        before = path.read_bytes()

        def broken(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", broken)
        with pytest.raises(OSError, match="No space left"):
            MAKERS[kind](TEXT * 2 + "more").save(path)
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]
        with pytest.raises(OSError, match="cannot write"):
            MAKERS[kind](TEXT).save(tmp_path / "no" / "folder.json")


class TestCharacters:
    def test_shakespeare(self):
        tokenizer = CharTokenizer.train(embedded_shakespeare())
        assert tokenizer.vocab_size == 64
        assert tokenizer.alphabet[:3] == "\n !"
        assert tokenizer.encode("\n! ") == [0, 2, 1]

    def test_the_order_is_that_of_the_alphabet(self):
        assert CharTokenizer("zyx").encode("xyz") == [2, 1, 0]

    def test_unknown_characters_are_named(self):
        with pytest.raises(ArgumentError, match=r"'é' \(U\+00E9\) at position 3") as error:
            CharTokenizer("abc").encode("abcé")
        assert "BPETokenizer" in error.value.fix

    def test_halves_of_surrogate_pairs_stay_apart(self, tmp_path):
        tokenizer = CharTokenizer("\ud83d\ude42")
        tokenizer.save(tmp_path / "t.json")
        loaded = load_tokenizer(tmp_path / "t.json")
        assert isinstance(loaded, CharTokenizer)
        assert loaded.alphabet == "\ud83d\ude42"
        assert loaded.vocab_size == 2

    @pytest.mark.parametrize("alphabet", ["", "aba", ["ab"], [""]])
    def test_wrong_alphabets(self, alphabet):
        with pytest.raises(ArgumentError, match="CharTokenizer"):
            CharTokenizer(alphabet)


class TestCommand:
    @pytest.fixture
    def corpus(self, tmp_path):
        path = tmp_path / "corpus.txt"
        path.write_text(embedded_shakespeare()[:30_000], "utf-8")
        return path

    @pytest.mark.parametrize("options", [["--vocab-size", "400"], ["--vocab_size=400"], ["--kind", "char"]])
    def test_train_encode_decode(self, options, corpus, told):
        out = str(corpus.with_name("t.json"))
        assert "vocab_size=" in told("tokenizer", "train", corpus, "--out", out, *options)
        ids = told("tokenizer", "encode", out, "First Citizen:\n").split()
        assert told("tokenizer", "decode", out, *ids) == "First Citizen:\n"

    def test_standard_input(self, corpus, told, capsys, monkeypatch):
        out = str(corpus.with_name("t.json"))
        main(["train", str(corpus), "--out", out, "--vocab-size", "300", "--special", "<s>"])
        text = "Ça\r\n<s> 🙂"
        capsys.readouterr()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        ids = told("tokenizer", "encode", out, "--special")
        assert "299" in ids.split()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(ids.encode())))
        assert told("tokenizer", "decode", out) == text

    def test_a_text_that_is_too_small_is_told(self, tmp_path, capsys):
        (tmp_path / "a.txt").write_text("ab ab")
        main(["train", str(tmp_path / "a.txt"), "--vocab-size", "300", "--out", str(tmp_path / "t.json")])
        assert "only 258 tokens" in capsys.readouterr().out
