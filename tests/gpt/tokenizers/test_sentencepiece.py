"""SentencePiece models against the library itself; how a text is split, against encode."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt import embedded_shakespeare
from gpt.generation.text_stream import TextStream
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.char_and_word import CharTokenizer
from gpt.tokenizers.explain_split import merge_steps, render_split
from gpt.tokenizers.pretokenize import pieces
from gpt.tokenizers.sentencepiece_file import SentencePieceTokenizer
from gpt.tokenizers.tokenizer import load, main
from tinytensor.errors import ArgumentError, FormatError

TEXT = embedded_shakespeare()[:40_000]


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def folder(request, tmp_path_factory):
    """A folder with a model that the library trained."""
    sentencepiece = pytest.importorskip("sentencepiece")
    folder = tmp_path_factory.mktemp(request.param)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.splitlines()),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=400,
        model_type=request.param,
        byte_fallback=True,
        minloglevel=3,
    )
    return folder


def test_ids_and_text_are_the_librarys(folder, tmp_path):
    import sentencepiece

    theirs = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    ours = load(folder)
    assert isinstance(ours, SentencePieceTokenizer)
    ours.save(tmp_path / "tokenizer.json")
    for tokenizer in (ours, load(folder / "tokenizer.model"), load(tmp_path)):
        for text in (TEXT[:3000], "", " ", "ça va? 🙂", "two  spaces\nand a line"):
            ids = tokenizer.encode(text)
            assert ids == theirs.encode(text)
            assert tokenizer.decode(ids) == theirs.decode(ids)
            stream = TextStream(tokenizer)
            assert "".join([*(stream.push(i) for i in ids), stream.close()]) == theirs.decode(ids)
        assert (tokenizer.vocab_size, tokenizer.separator) == (400, theirs.eos_id())
    with pytest.raises(ArgumentError, match="id 400"):
        ours.decode([400])
    with pytest.raises(ArgumentError, match="surrogate"):
        ours.encode("\ud800")


@pytest.mark.parametrize(
    "data", [b"", b"\n\x05hello", b"PK\x03\x04" * 9, b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18"]
)
def test_a_file_that_is_no_model_is_refused(data, tmp_path):
    pytest.importorskip("sentencepiece")
    (tmp_path / "tokenizer.model").write_bytes(data)
    with pytest.raises(FormatError):
        load(tmp_path)


@pytest.mark.parametrize("proto", ["é", "a", "bm90IGEgbW9kZWw=", None])
def test_a_saved_model_that_is_damaged_is_refused(proto, tmp_path):
    pytest.importorskip("sentencepiece")
    description = {"format": SentencePieceTokenizer.FORMAT, "proto": proto}
    (tmp_path / "tokenizer.json").write_text(json.dumps(description))
    with pytest.raises(FormatError, match="not a usable SentencePiece model"):
        load(tmp_path)


@pytest.fixture(scope="module")
def bpe():
    return BPETokenizer.train(TEXT, 500)


@given(st.text(max_size=40) | st.sampled_from(TEXT.split("\n")))
def test_merges_lead_to_the_tokens_of_encode(bpe, text):
    text = text.encode("utf-8", "ignore").decode()
    found = []
    for piece in pieces(text):
        raw = piece.encode()
        states = [[bytes([b]) for b in raw], *[tokens for _, tokens in merge_steps(bpe, piece)]]
        assert [len(tokens) for tokens in states] == list(range(len(raw), len(states[-1]) - 1, -1))
        found += states[-1]
    assert found == [bpe.tokens[i] for i in bpe.encode(text)]
    assert "\x1b" not in render_split(bpe, text)


def test_split_shows_other_tokenizers_too(tmp_path, capsys):
    CharTokenizer("ab ").save(tmp_path / "tokenizer.json")
    assert main(["split", str(tmp_path), "a b"]) == 0
    assert capsys.readouterr().out == "3 bytes, 3 tokens, 1.000 bytes per token\na#0 ␣#2 b#1\n"
