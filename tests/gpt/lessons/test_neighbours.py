"""Vectors of words: pairs counted by hand, gradients of the loss by formula, analogies that must hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinytensor as tt
from gpt.__main__ import main
from gpt.lessons.neighbours import RELATIONS, Embeddings, ask_analogies, open_embeddings, questions, render
from gpt.lessons.skipgram import SkipGram, SkipGramConfig, pairs, train, words_of


def test_loss_and_gradients_are_those_of_the_formula():
    rng = np.random.default_rng(0)
    model = SkipGram(7, 4)
    v, u = rng.standard_normal((7, 4)).astype(np.float32), rng.standard_normal((7, 4)).astype(np.float32)
    with tt.no_grad():
        model.words.weight.copy_(tt.tensor(v))
        model.neighbours.weight.copy_(tt.tensor(u))
    centers, others = np.array([1, 2, 1]), np.array([[0, 3, 3], [4, 2, 5], [6, 1, 0]])
    loss = model.loss(tt.tensor(centers), tt.tensor(others))
    loss.backward()
    expected, of_v, of_u = 0.0, np.zeros((7, 4)), np.zeros((7, 4))
    for c, row in zip(centers, others, strict=True):
        for place, o in enumerate(row):
            sign = 1.0 if place == 0 else -1.0
            s = 1 / (1 + np.exp(-sign * (v[c].astype(np.float64) @ u[o])))
            expected -= np.log(s) / 3
            of_v[c] -= (1 - s) * sign * u[o] / 3
            of_u[o] -= (1 - s) * sign * v[c] / 3
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(model.words.weight.grad.numpy(), of_v, atol=1e-6)
    np.testing.assert_allclose(model.neighbours.weight.grad.numpy(), of_u, atol=1e-6)


@settings(deadline=None)
@given(st.integers(0, 12), st.integers(1, 5), st.integers(0, 3))
def test_pairs_lie_in_the_window_and_neighbours_always_meet(length, window, seed):
    found = pairs(np.arange(length), window, np.random.default_rng(seed))
    rows = [tuple(row) for row in found.tolist()]
    assert len(set(rows)) == len(rows)
    assert all(1 <= abs(a - b) <= window for a, b in rows)
    near = {(i, j) for i in range(length) for j in (i - 1, i + 1) if 0 <= j < length}
    assert near <= set(rows)


def test_words_in_the_same_company_become_neighbours():
    rng = np.random.default_rng(1)
    # a fruit stands among tastes, a beast among moves
    kinds = [
        (["apple", "pear", "plum"], ["sweet", "sour", "ripe"]),
        (["dog", "cat", "fox"], ["runs", "sits", "eats"]),
    ]
    text = " ".join(
        " ".join([rng.choice(names), rng.choice(said)])
        for names, said in [kinds[k] for k in rng.integers(2, size=4000)]
    )
    words, ids = words_of(text, 5)
    losses = []
    config = SkipGramConfig(size=8, window=1, epochs=6, batch_size=512, learning_rate=0.02, subsample=1.0)
    model = train(ids, len(words), config, lambda n, loss: losses.append(loss))
    assert losses[-1] < losses[0]
    e = Embeddings(words, model.words.weight.detach().numpy())
    for names, _ in kinds:
        for name in names:
            assert {word for word, _ in e.nearest(name, 2)} == set(names) - {name}


def test_analogies_leave_out_their_own_words_and_are_counted():
    assert sum(len(questions(relation)) for relation in RELATIONS) >= 20
    pairs_of = [pair.split() for pair in RELATIONS["man and woman"].split(", ")]
    rng = np.random.default_rng(2)
    shift = np.zeros(40)
    shift[0] = 1
    base = rng.standard_normal((len(pairs_of), 40))
    words = [word for pair in pairs_of for word in pair]
    vectors = np.stack([row for b in base for row in (b, b + shift)])
    scores = {
        s.relation: s
        for s in ask_analogies(Embeddings([*words, "Xerxes", "a1"], np.stack([*vectors, base[0], base[1]])))
    }
    score = scores["man and woman"]
    assert score.asked == score.right == score.among_five == len(pairs_of) * (len(pairs_of) - 1)
    assert scores["plural"].asked == 0
    assert "100.0%" in render(list(scores.values()), len(words))


def test_a_vector_of_zeros_is_near_to_none():
    e = Embeddings(["none", "up", "top"], np.array([[0, 0], [0, 1], [0.1, 1]]))
    assert e.nearest("none", 2) == [("up", 0.0), ("top", 0.0)]


def test_commands_from_a_text_to_its_neighbours(tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("The king and the queen. The King rules; the queen rules. " * 30)
    folder = tmp_path / "vectors"
    learn = ["skipgram", str(text), f"--out={folder}", "--epochs=1", "--size=6", "--batch_size=64"]
    assert main(learn) == 0
    assert open_embeddings(folder).units.shape == (5, 6)
    assert (
        main(["neighbours", str(folder), "king", "--top=2", "--analogy", "king", "queen", "the", "--test"])
        == 0
    )
    said = capsys.readouterr().out
    assert "nearest to king" in said
    assert "relation" in said
