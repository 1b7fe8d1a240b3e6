"""Rows of whole documents: what they hold, what is lost, and runs that resume on them."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt
from gpt.data.document_batches import DocumentBatches
from gpt.presets import configs_from
from gpt.tokenizers.bpe import BPETokenizer
from gpt.training.command import train
from gpt.training.run import Run
from gpt.training.train import Trainer
from tests.helpers.stopped import train_until

documents = st.lists(st.integers(0, 30), min_size=1, max_size=30)


def tokens_of(lengths, *, leading=False):
    """Separators (0) between documents; every other token is unique."""
    ids, following = [], 1
    for number, length in enumerate(lengths):
        ids += [0] * (number > 0 or leading) + list(range(following, following + length))
        following += length
    return np.array(ids, np.int64)


@given(
    lengths=documents,
    T=st.integers(1, 12),
    B=st.integers(1, 3),
    seed=st.integers(0, 9),
    leading=st.booleans(),
)
def test_rows_are_made_of_documents(lengths, T, B, seed, leading):
    ids = tokens_of(lengths, leading=leading)
    if sum(lengths) + len(lengths) < T + 1:
        with pytest.raises(tt.ArgumentError, match="too few"):
            DocumentBatches(ids, 0, B, T, seed=seed)
        return
    try:
        batches = DocumentBatches(ids, 0, B, T, seed=seed)
    except tt.ArgumentError:  # pieces that were cropped filled no row
        return
    assert batches.documents == len(lengths) - (not leading and lengths[0] == 0)
    ends = np.cumsum(lengths)
    owner = {token: int(np.searchsorted(ends, token)) for token in ids.tolist() if token}
    rows = []
    for step in range(-(-batches.n_rows // B)):
        inputs, targets = batches.batch(step)
        assert inputs.shape == targets.shape == (B, T)
        np.testing.assert_array_equal(inputs[:, 1:], targets[:, :-1])
        rows += np.concatenate([inputs, targets[:, -1:]], 1).tolist()
    rows = rows[: batches.n_rows]  # an epoch
    learned = [token for row in rows for token in row[1:] if token]
    assert len(set(learned)) == len(learned)  # each token is a target at most once
    for row in rows:
        for before, token in itertools.pairwise(row):
            first = token and (token == 1 or owner[token] != owner.get(token - 1))
            if token and before:  # within a document, in its order; or a window of a long document begins
                assert token == before + 1 or lengths[owner[token]] >= T
            if first:  # the beginning of a document is seen after its separator
                assert before == 0


@given(lengths=st.lists(st.integers(1, 8), min_size=20, max_size=60))
def test_short_documents_begin_all_rows(lengths):
    batches = DocumentBatches(tokens_of(lengths), 0, 1, 15)
    rows = [batches.batch(step)[0][0] for step in range(2 * batches.n_rows)]
    assert all(row[0] == 0 for row in rows)
    held = [
        {tuple(row.tolist()) for row in part} for part in (rows[: len(rows) // 2], rows[len(rows) // 2 :])
    ]
    assert held[0] == held[1]  # an epoch has every row
    total = sum(lengths) + len(lengths)
    assert batches.cropped == pytest.approx(1 - batches.n_rows * 16 / total)


def test_little_is_lost():
    lengths = np.exp(np.random.default_rng(0).normal(4, 0.7, 5000)).astype(int).tolist()
    assert 0 <= DocumentBatches(tokens_of(lengths), 0, 4, 512).cropped < 0.02


def test_position():
    make = lambda **how: DocumentBatches(tokens_of([5] * 40), 0, 2, 15, **how)  # noqa: E731
    batches, other = make(seed=1), make(seed=1)
    for _ in range(3):
        next(batches)
    other.load_state_dict(batches.state_dict())
    for found, wanted in zip(next(other), next(batches), strict=True):
        np.testing.assert_array_equal(found, wanted)
    with pytest.raises(tt.ArgumentError, match="does not fit"):
        make(seed=2).load_state_dict(batches.state_dict())


def test_a_run_resumes_on_its_rows(tmp_path, capsys):
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number}.txt").write_text("low lower lowest " * (number % 7 + 1))
    BPETokenizer.train("low lower lowest " * 9, 262).save(tmp_path / "tokenizer.json")

    def configs(out, *words, tokenizer=tmp_path / "tokenizer.json"):
        how = (f"--data={folder}", f"--out_dir={tmp_path / out}", f"--tokenizer={tokenizer}")
        more = ("--batch_order=documents", "--max_steps=6", "--checkpoint_interval=3", "--eval_interval=0")
        return configs_from([*how, *more, *words], default="tiny")

    whole = train(*configs("whole", tokenizer=tmp_path))
    said = capsys.readouterr().out
    assert " documents in rows, " in said
    assert whole.tokenizer is not None
    assert whole.batches.batch(0)[0][:, 0].tolist() == [whole.tokenizer.separator] * 4
    train_until(Trainer(Run(*configs("parts")), quiet=True), 3)
    again = train(*configs("parts", "--init_from=resume"), quiet=True)
    for name, p in whole.model.state_dict().items():
        np.testing.assert_array_equal(again.model.state_dict()[name].numpy(), p.numpy(), err_msg=name)
    with pytest.raises(tt.ArgumentError, match="no separator of documents"):
        Run(*configs_from([f"--out_dir={tmp_path / 'c'}", "--batch_order=documents"], default="tiny"))
