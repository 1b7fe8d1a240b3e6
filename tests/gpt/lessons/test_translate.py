"""Pairs of texts and the command that learns them: exact where held out, resumed with equal bits."""

import itertools
import json

import numpy as np
import pytest

import tinytensor as tt
from gpt.__main__ import main as command_line
from gpt.data.text_pairs import PairBatches, checksum, pairs_of, toy_pairs
from gpt.lessons.seq2seq import EncoderDecoder
from gpt.lessons.translate import _BEGIN, TranslateRun, translate
from gpt.tokenizers.char import CharTokenizer
from gpt.training.command import configs_of, train
from gpt.training.run_log import RunLog
from gpt.weights.checkpoint import checkpoint_folder
from gpt.weights.load import load
from tinytensor.distributed import LocalCommunicator

TINY = (
    "--n_layer=1", "--n_embd=48", "--block_size=8", "--batch_size=32",
    "--learning_rate=5e-3", "--min_learning_rate=5e-4", "--eval_interval=0", "--log_interval=20",
)  # fmt: skip


@pytest.fixture
def capitals(tmp_path):
    """A file of all words of up to five letters of an alphabet of three, and the same in capitals."""
    words = ["".join(w) for n in range(1, 6) for w in itertools.product("abc", repeat=n)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"source": w, "target": w.upper()}) + "\n" for w in words))
    return path


def configs_for(path, folder, *words):
    return configs_of([f"--data={path}", f"--out_dir={folder}", "--warmup_steps=2", *TINY, *words], _BEGIN)


def trained(path, folder, *words):
    return train(*configs_for(path, folder, *words), quiet=True, kind=TranslateRun)


# ---- pairs ------------------------------------------------------------------------------------------------


def test_words_and_their_reverse():
    pairs = toy_pairs(seed=3, count=500)
    assert pairs == toy_pairs(seed=3, count=500) != toy_pairs(seed=4, count=500)
    assert len({source for source, _ in pairs}) == 500
    assert {len(source) for source, _ in pairs} == set(range(1, 13))
    assert all(target == "".join(reversed(source)) for source, target in pairs)


def test_batches_of_pairs():
    pairs = [("ab", "cba"), ("c", "a"), ("bca", ""), ("aa", "bb")]
    batches = PairBatches(pairs, CharTokenizer("|abc"), 0, 2, 8, seed=1)
    seen = []
    for inputs, targets, source, lengths in itertools.islice(batches, 2):  # one epoch
        for row, target, ids, length in zip(inputs, targets, source, lengths, strict=True):
            text = CharTokenizer("|abc").decode(ids[: length - 1])
            assert ids[length - 1] == 0
            counted = target != -100
            assert (~counted[counted.argmin() or len(target) :]).all()  # padding stands at the end
            answer = target[counted]
            assert answer[-1] == 0
            np.testing.assert_array_equal(row[: len(answer)], [0, *answer[:-1]])
            seen.append((text, CharTokenizer("|abc").decode(answer[:-1])))
    assert sorted(seen) == sorted(pairs)
    state = batches.state_dict()
    following = next(batches)
    again = PairBatches(pairs, CharTokenizer("|abc"), 0, 2, 8, seed=1)
    again.load_state_dict(state)
    for a, b in zip(next(again), following, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(tt.ArgumentError, match="does not fit"):
        PairBatches(pairs, CharTokenizer("|abc"), 0, 3, 8).load_state_dict(state)
    for bad, message in ((("abcabcab", ""), "too long"), (("a|b", ""), "end-of-text mark")):
        with pytest.raises(tt.ArgumentError, match=message):
            PairBatches([bad], CharTokenizer("|abc"), 0, 2, 8)


def test_the_order_of_pairs_is_in_their_checksum(capitals):
    pairs = pairs_of(str(capitals))
    assert pairs[4] == ("ab", "AB")
    assert checksum(pairs) != checksum(pairs[::-1])
    with pytest.raises(tt.ArgumentError, match="reverse"):
        pairs_of("shakespeare")


# ---- the command ------------------------------------------------------------------------------------------


def test_held_out_texts_come_out_exactly(capitals, tmp_path, told):
    words = [f"--data={capitals}", f"--out_dir={tmp_path / 'run'}", *TINY]
    words += ["--max_steps=400", "--warmup_steps=20"]
    said = told("translate", *words, "--text=abcab", "--sample_interval=400")
    assert "exact  100.00% of 36 held-out texts" in said
    assert "'abcab' → 'ABCAB'" in said
    assert "--- sample at step 400 ---" in said
    log = RunLog(tmp_path / "run").read()
    assert [line["exact"] for line in log if "exact" in line] == [1.0]
    assert told("translate", tmp_path / "run", "--text=cba") == "'cba' → 'CBA'\n"
    run = TranslateRun(*configs_of([*words, "--init_from=resume"], _BEGIN))
    assert not {source for source, _ in run.held_pairs} & {source for source, _ in run.pairs}
    assert (len(run.held_pairs), run.exact()) == (36, 1.0)


def test_translations_side_by_side_are_those_of_each_alone(capitals, tmp_path):
    run = trained(capitals, tmp_path / "run", "--max_steps=60")
    model, tokenizer = load(checkpoint_folder(run.folder), kind=EncoderDecoder)
    texts = ["abc", "a", "ccccc", "ba"]
    assert translate(model, tokenizer, texts) == [translate(model, tokenizer, [text])[0] for text in texts]


def test_a_resumed_run_refuses_a_field_without_use(capitals, tmp_path, told):
    run = trained(capitals, tmp_path / "run", "--max_steps=2")
    words = ["translate", "--init_from=resume", f"--out_dir={run.folder}", "--max_steps=3"]
    assert "--sample_tokens=9: translate has no use for it" in told(*words, "--sample_tokens=9", code=2)
    assert "finished" not in (said := told(*words))
    assert "exact" in said


def test_a_run_of_translations_is_no_gpt(capitals, tmp_path, told):
    run = trained(capitals, tmp_path / "run", "--max_steps=2")
    (run.folder / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    assert f"{run.folder} has no tokenizer.json" in told("translate", run.folder, "--text=a", code=2)
    (tmp_path / "tokenizer.json").rename(run.folder / "tokenizer.json")
    assert "python -m gpt translate" in told("sample", run.folder, code=2)
    assert command_line(["masked", str(run.folder), "--text=_"]) == 2
    assert "EncoderDecoder" in told("train", "--init_from=resume", f"--out_dir={run.folder}", code=2)


def test_it_trains_on_one_rank(capitals, tmp_path):
    two = LocalCommunicator()
    two.size = 2
    with pytest.raises(tt.ArgumentError, match="2 ranks"):
        TranslateRun(*configs_for(capitals, tmp_path, "--max_steps=2"), two)


def test_other_pairs_under_the_same_name_are_noticed(capitals, tmp_path):
    trained(capitals, tmp_path / "run", "--max_steps=2")
    lines = capitals.read_text().splitlines()
    capitals.write_text("\n".join(lines[::-1]))
    with pytest.raises(tt.FormatError, match="the training data is not the one"):
        trained(capitals, tmp_path / "run", "--max_steps=4", "--init_from=resume")
