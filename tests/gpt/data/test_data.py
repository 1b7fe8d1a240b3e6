"""Token files, the split, all or nothing when writing, and the command."""

import hashlib
import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt import (
    Batches,
    BPETokenizer,
    CharTokenizer,
    TokenFile,
    embedded_shakespeare,
    load_tokenizer,
    open_split,
    prepare_text,
)
from gpt.data.command import main
from gpt.data.prepare import prepare
from tests.helpers.source import ROOT
from tinytensor.errors import ArgumentError, FormatError

ABC = CharTokenizer("abc\n ")


class Wide:
    """A tokenizer with so many ids that they take four bytes."""

    vocab_size = 65_537
    separator = 65_536

    def encode(self, text):
        return [ord(character) for character in text]

    def decode(self, ids):
        return "".join(map(chr, ids))

    def save(self, path):
        Path(path).write_text("{}")


def bare(path, ids, dtype="<u2"):
    """A file as nanoGPT writes it."""
    np.array(ids).astype(dtype).tofile(path)
    return path


class TestEmbeddedText:
    def test_is_the_text_that_it_says(self):
        text = embedded_shakespeare()
        digest = hashlib.sha256(text.encode("ascii")).hexdigest()
        assert digest == "3a019a5543efbeb9ffadfee1ce31125119c371b0dc13df93caa04139924a205f"
        assert (len(text), len(set(text))) == (1_097_264, 64)


class TestPrepare:
    def test_nanogpts_split_of_characters(self, tmp_path):
        """The first int(0.9 n) characters are for training; the ids are those of the sorted alphabet."""
        text = embedded_shakespeare()
        tokenizer = CharTokenizer.train(text)
        train, val = prepare_text(text, tokenizer, tmp_path)
        assert val is not None
        n = int(len(text) * 0.9)
        alphabet = sorted(set(text))
        raw = np.fromfile(tmp_path / "train.bin", dtype="<u2")
        assert raw.tolist() == [alphabet.index(c) for c in text[:n]]
        assert tokenizer.decode(val.ids) == text[n:]
        assert load_tokenizer(tmp_path / "tokenizer.json").decode(train.ids[:100]) == text[:100]

    @given(
        text=st.text("abc\n ", min_size=4, max_size=200), fraction=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9])
    )
    def test_train_and_val_are_the_text(self, text, fraction, tmp_path_factory):
        folder = tmp_path_factory.mktemp("data")
        n_train = int(len(text) * (1 - fraction))
        if n_train == 0 or (fraction and n_train == len(text)):
            with pytest.raises(ArgumentError, match="cannot be split"):
                prepare_text(text, ABC, folder, val_fraction=fraction)
            assert not list(folder.iterdir())
            return
        train, val = prepare_text(text, ABC, folder, val_fraction=fraction)
        assert len(train) == n_train
        assert (val is None) == (fraction == 0) == (not (folder / "val.bin").exists())
        assert ABC.decode(train.ids) + (ABC.decode(val.ids) if val else "") == text

    def test_meta_tells_what_is_there(self, tmp_path):
        (tmp_path / "a.txt").write_text("abc abc abc")
        prepare(tmp_path / "a.txt", ABC, tmp_path / "out")
        meta = json.loads((tmp_path / "out" / "meta.json").read_text())
        assert meta["dtype"] == "uint16"
        assert meta["vocab_size"] == 5
        assert meta["sources"] == ["a.txt"]
        assert meta["splits"]["train"]["tokens"] == 9
        content = (tmp_path / "out" / "val.bin").read_bytes()
        assert meta["splits"]["val"]["sha256"] == hashlib.sha256(content).hexdigest()

    def test_two_or_four_bytes(self, tmp_path):
        train, _ = prepare_text("ab\uffffc", Wide(), tmp_path / "wide", val_fraction=0.25)
        assert (tmp_path / "wide" / "train.bin").read_bytes() == b"a\0\0\0b\0\0\0\xff\xff\0\0"
        assert train.ids.tolist() == [97, 98, 0xFFFF]
        just_fits = Wide()
        just_fits.vocab_size = 65_536
        prepare_text("ab\uffffc", just_fits, tmp_path / "narrow", val_fraction=0.25)
        assert (tmp_path / "narrow" / "train.bin").read_bytes() == b"a\0b\0\xff\xff"

    def test_several_files_folders_and_separators(self, tmp_path):
        (tmp_path / "in" / "deep").mkdir(parents=True)
        (tmp_path / "in" / "b.txt").write_bytes(b"b\r\n")
        (tmp_path / "in" / "deep" / "c.txt").write_bytes(b"c")
        (tmp_path / "in" / "no.md").write_bytes(b"no")
        (tmp_path / "a.md").write_bytes(b"a")
        tokenizer = BPETokenizer.train("", 257)
        train, _ = prepare([tmp_path / "a.md", tmp_path / "in"], tokenizer, tmp_path / "out", val_fraction=0)
        assert tokenizer.decode(train.ids) == "a<|endoftext|>b\r\n<|endoftext|>c"
        assert list(train.ids).count(256) == 2

    def test_large_files_come_in_chunks(self, tmp_path, monkeypatch):
        text = embedded_shakespeare()[:50_000]
        (tmp_path / "a.txt").write_text(text)
        tokenizer = BPETokenizer.train(text, 400)
        whole = tokenizer.encode(text)
        original = tokenizer.encode
        asked = []

        def encode(chunk):
            asked.append(len(chunk))
            return original(chunk)

        monkeypatch.setattr(tokenizer, "encode", encode)
        monkeypatch.setattr("tinytensor.files.text_chunks.__defaults__", (1000,))
        train, _ = prepare(tmp_path / "a.txt", tokenizer, tmp_path / "out", val_fraction=0)
        assert max(asked) < 3000
        assert train.ids.tolist() == whole

    @pytest.mark.parametrize("existing", [False, True])
    @pytest.mark.parametrize("failure", ["unknown character", "not UTF-8", "interrupt", "disk full", "save"])
    def test_all_or_nothing(self, existing, failure, tmp_path, monkeypatch):
        out = tmp_path / "out"
        if existing:
            prepare_text("abc abc abc", ABC, out)
        before = {path.name: path.read_bytes() for path in out.iterdir()} if existing else {}
        (tmp_path / "a.txt").write_text("abc " * 100)
        bad = {"unknown character": b"xyz", "not UTF-8": b"abc \xff"}.get(failure, b"abc")
        (tmp_path / "b.txt").write_bytes(bad)

        def broken(*_):
            raise KeyboardInterrupt if failure == "interrupt" else OSError(28, "No space left on device")

        if failure in ("interrupt", "disk full"):
            monkeypatch.setattr("os.fsync", broken)
        if failure == "save":
            monkeypatch.setattr(CharTokenizer, "save", broken)
        ours = {"not UTF-8": FormatError, "unknown character": ArgumentError, "interrupt": KeyboardInterrupt}
        with pytest.raises(ours.get(failure, OSError)):
            prepare([tmp_path / "a.txt", tmp_path / "b.txt"], ABC, out)
        assert out.exists() == existing
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before if existing else True

    @pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
    def test_what_a_killed_preparation_left_goes(self, tmp_path):
        code = """
            import os, signal, sys
            import gpt.data.prepare as module
            from gpt import CharTokenizer

            def split(*_):
                if sys.argv[2] == "dies":
                    os.kill(os.getpid(), signal.SIGKILL)
                print("busy", flush=True)
                sys.stdin.read()

            module._split = split
            module.prepare_text("abc abc abc", CharTokenizer("abc "), sys.argv[1])
        """
        command = [sys.executable, "-c", textwrap.dedent(code), tmp_path]
        for _ in range(2):
            assert subprocess.run([*command, "dies"], cwd=ROOT).returncode == -signal.SIGKILL
        (killed,) = tmp_path.iterdir()  # the second one has removed what the first one left
        assert (killed / "train.bin").is_file()
        (tmp_path / ".prepare-1-mine").mkdir()
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen([*command, "lives"], cwd=ROOT, **pipes) as living:
            assert living.stdout.readline() == b"busy\n"
            prepare_text("abc abc abc", ABC, tmp_path)
            assert not killed.exists()
            hidden = {path for path in tmp_path.iterdir() if path.name.startswith(".")}
            assert hidden > {tmp_path / ".prepare-1-mine"}
            (work,) = hidden - {tmp_path / ".prepare-1-mine"}
            assert (work / "train.bin").is_file()
            living.kill()

    def test_an_old_val_file_does_not_stay(self, tmp_path):
        prepare_text("abc abc abc", ABC, tmp_path)
        prepare_text("abc abc abc", ABC, tmp_path, val_fraction=0)
        assert not (tmp_path / "val.bin").exists()

    def test_wrong_paths(self, tmp_path):
        (tmp_path / "empty.txt").touch()
        for paths, text in [
            ([], "no files"),
            (tmp_path / "missing.txt", "missing.txt"),
            (tmp_path / "empty.txt", r"empty\.txt' is empty"),
        ]:
            with pytest.raises(ArgumentError, match=text):
                prepare(paths, ABC, tmp_path / "out")
        with pytest.raises(ArgumentError, match=r"fits '\*\.rst'[^Z]*--pattern=\"\*\.md\""):
            prepare(tmp_path, ABC, tmp_path / "out", pattern="*.rst")
        (tmp_path / "file").touch()
        with pytest.raises(OSError, match="cannot write"):
            prepare_text("abc abc abc", ABC, tmp_path / "file")
        assert not (tmp_path / "out").exists()


class TestTokenFile:
    def test_nanogpts_files_are_read_as_they_are(self, tmp_path):
        bare(tmp_path / "train.bin", [1, 2, 65_535])
        file = open_split(tmp_path, "train")
        assert file.ids.tolist() == [1, 2, 65_535]
        assert (file.vocab_size, file.dtype) == (None, np.dtype("<u2"))
        assert len(file) == 3

    def test_a_foreign_meta_json_changes_nothing(self, tmp_path):
        (tmp_path / "meta.json").write_text('{"dtype": "uint32"}')
        assert TokenFile(bare(tmp_path / "train.bin", [1, 2])).ids.tolist() == [1, 2]

    def test_nothing_is_read_or_written(self, tmp_path):
        with open(tmp_path / "huge.bin", "wb") as file:
            file.truncate(1 << 40)  # a terabyte, without one byte on the disk
        huge = TokenFile(tmp_path / "huge.bin")
        assert len(huge) == 1 << 39
        assert not huge.ids.flags.writeable
        inputs, _ = next(Batches(huge, 2, 4))
        assert inputs.tolist() == [[0] * 4] * 2

    @pytest.mark.parametrize(
        ("content", "why"),
        [(b"", "empty"), (b"abc", "not a whole number"), (b"abcdefgh", "tokens, the file has 4")],
    )
    def test_damaged(self, content, why, tmp_path):
        prepare_text("abc abc abc", ABC, tmp_path)
        (tmp_path / "train.bin").write_bytes(content)
        with pytest.raises(FormatError, match=why):
            open_split(tmp_path, "train")

    def test_changed_bytes_are_found_by_the_digest(self, tmp_path):
        train, _ = prepare_text("abc abc abc", ABC, tmp_path)
        assert train.digest() == hashlib.sha256((tmp_path / "train.bin").read_bytes()).hexdigest()
        content = bytearray((tmp_path / "train.bin").read_bytes())
        content[0] ^= 1
        (tmp_path / "train.bin").write_bytes(content)
        with pytest.raises(FormatError, match="was changed"):
            TokenFile(tmp_path / "train.bin").digest()

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"dtype": "float32"}, "usable dtype"),
            ({"dtype": None}, "usable dtype"),
            ({"vocab_size": 0}, "usable dtype"),
            ({"vocab_size": "5"}, "usable dtype"),
            ({"splits": []}, "usable dtype"),
            ({"splits": {"train": 3}}, "usable dtype"),
            ({"splits": {"train": {"tokens": 9}}}, "usable dtype"),
            ({"splits": {}}, "does not list it"),
        ],
    )
    def test_damaged_meta(self, change, why, tmp_path):
        prepare_text("abc abc abc", ABC, tmp_path)
        meta = json.loads((tmp_path / "meta.json").read_text())
        (tmp_path / "meta.json").write_text(json.dumps(meta | change))
        with pytest.raises(FormatError, match=why):
            open_split(tmp_path, "train")
        (tmp_path / "meta.json").write_text("{")
        with pytest.raises(FormatError, match="JSON"):
            open_split(tmp_path, "train")

    def test_wrong_arguments(self, tmp_path):
        prepare_text("abc abc abc", ABC, tmp_path)
        with pytest.raises(ArgumentError, match="data prepare"):
            open_split(tmp_path / "elsewhere", "train")
        for path in (tmp_path, tmp_path / "missing.bin"):
            with pytest.raises((ArgumentError, FormatError), match="TokenFile"):
                TokenFile(path)


class TestCommand:
    def test_prepare(self, tmp_path, capsys):
        (tmp_path / "a.md").write_text("the cat sat on the mat " * 20)
        argv = ["prepare", str(tmp_path), "--pattern", "*.md", "--val-fraction", "0.2"]
        assert main([*argv, "--out", str(tmp_path / "out")]) == 0
        assert f"{int(23 * 20 * 0.8)} tokens, uint16, vocabulary 10" in capsys.readouterr().out
        saved = str(tmp_path / "out" / "tokenizer.json")
        assert (
            main(["prepare", str(tmp_path / "a.md"), "--tokenizer", saved, "--out", str(tmp_path / "b")]) == 0
        )
