"""Files of tokenizers: damaged ones, foreign ones, GPT-2's pair; and reading texts chunk by chunk."""

import base64
import io
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt import BPETokenizer, load_tokenizer
from gpt.tokenizers.pretokenize import printable
from tests.gpt.tokenizers.test_tokenizer import MAKERS, TEXT, every_kind
from tests.helpers.source import ROOT
from tinytensor.errors import ArgumentError, FormatError, SaveError
from tinytensor.files import atomic_folder, atomic_write, text_chunks


class TestDamagedFiles:
    @every_kind
    def test_cut_off_anywhere(self, kind, tmp_path):
        path = tmp_path / "tokenizer.json"
        MAKERS[kind](TEXT).save(path)
        whole = path.read_bytes().rstrip()
        for length in range(0, len(whole), max(len(whole) // 60, 1)):
            path.write_bytes(whole[:length])
            with pytest.raises(FormatError, match=r"tokenizer\.json"):
                load_tokenizer(path)

    @every_kind
    @given(data=st.data())
    def test_changed_bytes_give_a_tokenizer_or_a_clear_error(self, kind, data, tmp_path_factory):
        path = tmp_path_factory.mktemp("changed") / "tokenizer.json"
        MAKERS[kind]("a cat").save(path)
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        try:
            tokenizer = load_tokenizer(path)
        except FormatError:
            return
        tokenizer.decode(range(tokenizer.vocab_size))

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"", "JSON"),
            (b"\xff\xfe{", "UTF-8"),
            (b"[1, 2]", "list"),
            (b"[" * 100_000, "deep"),
            (b"{}", "neither"),
            (b'{"format": "something"}', "neither"),
            (b'{"format": "tinytensor-characters"}', "list of strings"),
            (b'{"format": "tinytensor-characters", "alphabet": ["a", 1]}', "list of strings"),
            (b'{"format": "tinytensor-characters", "alphabet": ["a", "a"]}', "twice"),
            (b'{"format": "tinytensor-characters", "alphabet": []}', "no characters"),
            (b'{"model": 3}', "no object 'model'"),
            (b'{"model": {"type": "WordPiece"}}', "WordPiece"),
        ],
    )
    def test_other_content(self, tmp_path, content, why):
        path = tmp_path / "t.json"
        path.write_bytes(content)
        with pytest.raises(FormatError, match=why):
            load_tokenizer(path)

    @pytest.mark.parametrize(
        ("where", "value", "why"),
        [
            ("model.vocab", None, "not an object"),
            ("model.vocab.a", 5000, "none has the id"),
            ("model.vocab.a", 66, "none has the id"),
            ("model.vocab.a", "x", "not an integer"),
            ("model.vocab.a", True, "not an integer"),
            ("model.vocab.日", 300, "256 byte characters"),
            ("model.vocab.<|endoftext|>", 3, "has the ids"),
            ("model.merges", {}, "not a list"),
            ("model.merges.0", "a", "not two tokens"),
            ("model.merges.0", "a b c", "not two tokens"),
            ("model.merges.0", ["a", 1], "not two tokens"),
            ("model.merges.0", "q q", "merge 0 needs the token 'qq'"),
            ("model.dropout", 0.1, "model.dropout"),
            ("model.unk_token", "?", "model.unk_token"),
            ("model.byte_fallback", True, "model.byte_fallback"),
            ("model.ignore_merges", "yes", "model.ignore_merges"),
            ("model.end_of_word_suffix", "</w>", "end_of_word_suffix"),
            ("normalizer", {"type": "NFC"}, "normalizer"),
            ("truncation", {"max_length": 8}, "truncation"),
            ("pre_tokenizer", None, "pre_tokenizer"),
            ("pre_tokenizer.use_regex", False, "another rule"),
            ("pre_tokenizer", {"type": "Sequence", "pretokenizers": []}, "pre_tokenizer is"),
            ("pre_tokenizer", {"type": "Sequence", "pretokenizers": ["Digits"]}, "pre_tokenizer is"),
            ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": "a"}}, "end with ByteLevel"),
            ("pre_tokenizer.add_prefix_space", True, "space in front"),
            ("decoder", {"type": "WordPiece"}, "decoder"),
            ("post_processor", {"type": "TemplateProcessing"}, "post_processor"),
            ("added_tokens", 1, "added_tokens"),
            ("added_tokens.0.special", False, "not special"),
            ("added_tokens.0.lstrip", True, "spaces"),
            ("added_tokens.0.content", None, "no 'content'"),
            ("added_tokens.0.id", None, "not an integer"),
            ("added_tokens.0.id", 3, "has the ids"),
        ],
    )
    def test_bpe_files_that_would_give_other_ids(self, tmp_path, where, value, why):
        path = tmp_path / "t.json"
        MAKERS["bpe"](TEXT).save(path)
        description = json.loads(path.read_text("utf-8"))
        *steps, last = where.split(".")
        target = description
        for step in steps:
            target = target[int(step)] if isinstance(target, list) else target[step]
        target[int(last) if isinstance(target, list) else last] = value
        path.write_text(json.dumps(description), "utf-8")
        with pytest.raises(FormatError, match=why) as error:
            load_tokenizer(path)
        assert str(path) in error.value.what

    def test_merges_as_lists_and_plain_post_processors_are_read(self, tmp_path):
        path = tmp_path / "t.json"
        tokenizer = MAKERS["bpe"](TEXT)
        tokenizer.save(path)
        description = json.loads(path.read_text("utf-8"))
        description["model"]["merges"] = [merge.split() for merge in description["model"]["merges"]]
        description["post_processor"] = description["decoder"]
        path.write_text(json.dumps(description), "utf-8")
        assert load_tokenizer(path).encode(TEXT) == tokenizer.encode(TEXT)

    def test_missing_files(self, tmp_path):
        for path in (tmp_path / "nothing.json", tmp_path):
            with pytest.raises(ArgumentError, match="cannot read"):
                load_tokenizer(path)


class TestRankFiles:
    """The format of tiktoken: a token in base64 and its rank on each line."""

    @staticmethod
    def loaded(path, tokens):
        path.write_bytes(b"".join(b"%b %d\n" % (base64.b64encode(t), i) for i, t in enumerate(tokens)))
        return BPETokenizer.from_ranks(path, special_tokens={}, split="gpt2")

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b" 5", "the token of line 1 comes twice, or has 0 bytes"),
            (b"YQ== 0\n  7", "the token of line 2 comes twice, or has 0 bytes"),
            (b"YQ== 0\nYQ==   1", "the token of line 2 comes twice"),
            (b"YQ== 0\nYQ=", "line 2 is 'YQ=', not a token in base64 and its rank"),
        ],
    )
    def test_damaged(self, tmp_path, content, why):
        path = tmp_path / "t.tiktoken"
        path.write_bytes(content)
        with pytest.raises(FormatError, match=why):
            BPETokenizer.from_ranks(path, special_tokens={}, split="gpt2")

    def test_tokens_of_one_letter(self, tmp_path):
        """Each could be made in as many ways as it has letters; the ranks choose one."""
        tokens = [bytes([byte]) for byte in range(256)] + [b"a" * n for n in range(2, 300)]
        made = self.loaded(tmp_path / "t", tokens)
        assert len(made.merges) == 298
        assert [made.encode("a" * n) for n in (2, 3, 299)] == [[256], [257], [553]]

    def test_tokens_that_take_quadratic_time_or_memory_are_refused(self, tmp_path):
        for name, tokens, why in (
            ("long", [b"a" * 1025], "the token of line 1 comes twice, or has 1025 bytes"),
            ("reversed", [b"a" * n for n in range(200, 0, -1)], "in more than 64 ways each"),
        ):
            with pytest.raises(FormatError, match=why):
                self.loaded(tmp_path / name, tokens)


class TestGPT2Files:
    @pytest.fixture
    def folder(self, tmp_path):
        tokenizer = BPETokenizer.train(TEXT, 270, min_count=1)
        lines = [f"{printable(a)} {printable(b)}" for a, b in tokenizer.merges]
        (tmp_path / "vocab.bpe").write_text("#version: 0.2\n" + "\n".join(lines) + "\n", "utf-8")
        vocab = {printable(token): i for token, i in tokenizer.vocab.items()} | tokenizer.special_tokens
        (tmp_path / "encoder.json").write_text(json.dumps(vocab), "utf-8")
        return tmp_path

    def test_are_read(self, folder):
        loaded = load_tokenizer(folder)
        assert loaded.encode(TEXT) == BPETokenizer.train(TEXT, 270, min_count=1).encode(TEXT)
        assert loaded.separator == 269

    def test_damaged(self, folder):
        (folder / "vocab.bpe").write_text("#version: 0.2\nt h e\n", "utf-8")
        with pytest.raises(FormatError, match="not two tokens"):
            load_tokenizer(folder)
        (folder / "vocab.bpe").write_text("q q\n", "utf-8")
        with pytest.raises(FormatError, match="'qq'"):
            load_tokenizer(folder)


class TestChunks:
    @given(text=st.text() | st.text("a1 \n\t'!é🙂\x1c", max_size=80), size=st.integers(1, 9))
    def test_are_the_file_and_do_not_change_ids(self, text, size, tmp_path_factory):
        path = tmp_path_factory.mktemp("chunks") / "t.txt"
        path.write_bytes(text.encode())
        chunks = list(text_chunks(path, "test", size))
        assert "".join(chunks) == text
        assert all(chunks)
        other = BPETokenizer.train("a a a a!!'' \n\n\n  a1", 290, min_count=1)
        for tokenizer in (other, *[make(text or "a") for make in MAKERS.values()]):
            assert [i for chunk in chunks for i in tokenizer.encode(chunk)] == tokenizer.encode(text)

    @given(st.integers(0, 30), st.integers(1, 9))
    def test_the_first_bad_byte_is_named(self, before, size):
        with pytest.MonkeyPatch.context() as patch:
            content = ("é " * 20).encode()[:before]
            content = content[: len(content.decode("utf-8", "ignore").encode())] + b"\xff later"
            stream = io.BytesIO(content)
            patch.setattr("builtins.open", lambda *_: stream)
            with pytest.raises(FormatError, match=f"offset {content.index(0xFF)} "):
                list(text_chunks("x", "test", size))

    def test_what_is_no_file_is_never_replaced(self, tmp_path):
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        for path in (pipe, tmp_path, tmp_path / "..", "", "/"):
            with pytest.raises(SaveError), atomic_write(path) as file:
                file.write(b"lost")
        assert pipe.is_fifo()

    def test_a_link_stays_a_link(self, tmp_path):
        (tmp_path / "link").symlink_to("file")
        for text in (b"made", b"replaced"):
            with atomic_write(tmp_path / "link") as file:
                file.write(text)
            assert (tmp_path / "link").is_symlink()
            assert (tmp_path / "file").read_bytes() == text

    def test_nothing_is_written_after_an_exception(self, tmp_path):
        def interrupted():
            with atomic_write(tmp_path / "t") as file:
                file.write(b"half")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert not list(tmp_path.iterdir())

    @pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be asked for there")
    @pytest.mark.parametrize("kind", ["file", "folder"])
    def test_what_a_killed_writer_left_goes(self, tmp_path, kind):
        """That of a running one stays, and so does that of another machine, or of another file."""
        code = f"""if True:
            import os, sys
            from tinytensor.files import atomic_folder, atomic_write
            writer = atomic_write("t") if {kind == "file"} else atomic_folder("t", "test")
            with writer as begun:
                if {kind == "file"}: begun.write(b"half"); begun.flush()
                else: (begun / "half").write_text("half")
                os.kill(os.getpid(), 9)
        """
        path = {"PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False, env={**os.environ, **path})
        (left,) = tmp_path.iterdir()
        process, dash, rest = left.name.removeprefix(".t.").partition("-")
        running = left.with_name(f".t.{os.getpid()}-{rest}")
        elsewhere = left.with_name(f".t.{process}-{'0' * 8}{rest[8:]}")
        other, users = left.with_name(f".u.{process}-{rest}"), left.with_name(".t.mine.tmp")
        for kept in (running, elsewhere, other, users):
            kept.touch()
        if kind == "file":
            with atomic_write(tmp_path / "t") as file:
                file.write(b"whole")
        else:
            with atomic_folder(tmp_path / "t", "test"):
                pass
        assert set(tmp_path.iterdir()) == {tmp_path / "t", running, elsewhere, other, users}
