"""What fine-tuning minimizes, against formulas in NumPy: masked loss, DPO."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.data.examples import LikeLengths, best_fit, completion, padded, split
from gpt.finetuning.dpo import DpoConfig, Preferring, completion_log_probs, dpo_loss
from gpt.finetuning.instruct import Instructing, answer, usable
from gpt.models.gpt import GPT
from gpt.tokenizers.char import CharTokenizer
from gpt.tokenizers.chat_template import BEGIN, END, IGNORED

TOKENIZER = CharTokenizer("abcdefghijklmnopqrstuvwxyzA: \n", [BEGIN, END])


@pytest.fixture
def model():
    config = GPTConfig(vocab_size=TOKENIZER.vocab_size, block_size=48, n_layer=1, n_head=2, n_embd=16)
    made = GPT(config, tt.Generator(0))
    for p in made.parameters():  # far from even probabilities
        with tt.no_grad():
            p *= 6.0
    return made.eval()


def log_probs_of(model, ids):
    """Log-probability of each token of a row after those before it, one row at a time: (T - 1,)."""
    logits = model(tt.tensor([ids[:-1]])).detach().numpy()[0].astype(np.float64)
    logits -= logits.max(1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(1, keepdims=True))
    return logits[np.arange(len(ids) - 1), ids[1:]]


TALKS = [
    [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    for asked, answered in (("ab", "x"), ("abcdef", "long"), ("k", "yes"), ("what", "no"))
]
TALKS[2] += [{"role": "user", "content": "b"}, {"role": "assistant", "content": "c"}]


def chatml(talk):
    """Ids of a conversation, and whether each is the assistant's, written out message by message."""
    begin, end = (TOKENIZER.special_tokens[name] for name in ("<|im_start|>", "<|im_end|>"))
    ids, learned = [], []
    for message in talk:
        said = [*TOKENIZER.encode(message["content"]), end]
        head = [begin, *TOKENIZER.encode(f"{message['role']}\n")]
        ids += [*head, *said, *TOKENIZER.encode("\n")]
        learned += [*[False] * len(head), *[message["role"] == "assistant"] * len(said), False]
    return ids, learned


def test_the_loss_counts_what_the_assistant_says(model):
    task = Instructing(model, TOKENIZER, TALKS, TALKS[:1], batch_size=2, seed=0)
    assert task.size == model.config.block_size  # shorter than SHORTEST_ROW
    batches = [task.batch(step) for step in range(task.order.per_epoch)]
    rows = [row for batch in batches for row in zip(*batch, strict=True)]
    wanted = {tuple(ids[:-1]): learned for ids, learned in map(chatml, TALKS)}
    loss = tokens = 0.0
    for inputs, targets in rows:  # each conversation comes once; a row begins with any, then others
        begin = 0
        while begin < len(inputs) and inputs[begin : begin + 1].tolist() == [TOKENIZER.special_tokens[BEGIN]]:
            ids = next(ids for ids in wanted if tuple(inputs[begin : begin + len(ids)].tolist()) == ids)
            learned = wanted.pop(ids)[1:]
            part = targets[begin : begin + len(ids)]
            assert (part != IGNORED).tolist() == learned
            begin += len(ids)
        assert (targets[begin:] == IGNORED).all()
        counted = np.flatnonzero(targets != IGNORED)
        loss -= log_probs_of(model, [*inputs.tolist(), 0])[:-1][counted[:-1]].sum()  # all but the last target
        loss -= log_probs_of(model, [*inputs[: counted[-1] + 1].tolist(), targets[counted[-1]]])[-1]
        tokens += len(counted)
    assert not wanted
    total = sum(
        task.loss(*map(tt.tensor, batch)).item() * int((batch[1] != IGNORED).sum()) for batch in batches
    )
    assert total / tokens == pytest.approx(loss / tokens, rel=2e-6)


def test_held_out_loss_is_that_of_one_large_batch(model):
    tasks = [Instructing(model, TOKENIZER, TALKS, TALKS, size, 0) for size in (1, 3, 4)]
    losses = [task.metrics()["val_loss"] for task in tasks]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)


def test_answers_end_at_the_end_of_a_message(model, monkeypatch):
    end = TOKENIZER.special_tokens[END]
    ids = [*TOKENIZER.encode("yes"), end, *TOKENIZER.encode("more")]
    monkeypatch.setattr("gpt.finetuning.instruct.generate", lambda model, prompt, count, **how: iter(ids))
    task = Instructing(model, TOKENIZER, TALKS, [TALKS[2]], 4, 0)
    assert answer(model, task.template, TALKS[0][:1]) == "yes"
    assert task.metrics()["exact"] == 0
    TALKS[2][-1]["content"] = "yes"
    assert Instructing(model, TOKENIZER, TALKS, [TALKS[2]], 4, 0).metrics()["exact"] == 1
    TALKS[2][-1]["content"] = "c"


def test_conversations_that_cannot_be_used_are_counted(model):
    long = [{"role": "user", "content": "a" * 60}, {"role": "assistant", "content": "b"}]
    cut = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b" * 60}]
    strange = [{"role": "user", "content": "€"}, {"role": "assistant", "content": "b"}]
    limit = model.config.block_size
    found, reason = usable([*TALKS, long, cut, strange], TOKENIZER, limit)
    assert (found, reason) == ([*TALKS, cut], "no answer within the context")
    assert Instructing(model, TOKENIZER, found, TALKS[:2], 4, 0).cut == 1
    with pytest.raises(tt.ArgumentError, match="none of 2 conversations"):
        usable([long, strange], TOKENIZER, limit)


def test_batches_hold_like_lengths_and_every_example_once():
    lengths = np.random.default_rng(0).integers(1, 50, 37)
    batches = LikeLengths(lengths, 8, seed=3)
    epochs = [[batches.batch(5 * epoch + k) for k in range(5)] for epoch in range(3)]
    for epoch in epochs:
        assert sorted(np.concatenate(epoch).tolist()) == list(range(37))
        spans = sorted((lengths[b].min(), lengths[b].max()) for b in epoch)
        assert all(high <= low for (_, high), (low, _) in itertools.pairwise(spans))
    orders = [[b.tolist() for b in epoch] for epoch in epochs]
    assert orders[0] != orders[1] != orders[2]
    np.testing.assert_array_equal(LikeLengths(lengths, 8, seed=3).batch(7), batches.batch(7))


def test_the_loss_of_preferences_and_its_gradient():
    rng = np.random.default_rng(0)
    policy, reference, beta, B = rng.normal(-20, 6, 10), rng.normal(-20, 6, 10), 0.3, 5
    p = tt.tensor(policy, requires_grad=True)
    loss, rewards = dpo_loss(p, tt.tensor(reference), beta)
    loss.backward()
    want, gradient = 0.0, np.zeros(10)
    for i in range(B):
        margin = beta * ((policy[i] - reference[i]) - (policy[B + i] - reference[B + i]))
        want += np.log(1 + np.exp(-margin)) / B
        gradient[i] -= beta / (1 + np.exp(margin)) / B
        gradient[B + i] += beta / (1 + np.exp(margin)) / B
    assert loss.item() == pytest.approx(want, rel=1e-12)
    np.testing.assert_allclose(p.grad.numpy(), gradient, rtol=1e-10)
    np.testing.assert_allclose(rewards.numpy(), beta * (policy - reference), rtol=1e-12)
    assert not rewards.requires_grad


PAIRS = [
    {"prompt": "go", "chosen": " home", "rejected": " away now"},
    {"prompt": "abc", "chosen": "d", "rejected": "e"},
    {"prompt": "longer prompt", "chosen": " x", "rejected": ""},
]


def test_pairs_are_compared_with_the_model_as_it_was(model):
    pairs = PAIRS[:2]
    task = Preferring(model, TOKENIZER, pairs, PAIRS, DpoConfig(beta=0.5), 2, 0)
    inputs, targets, reference = task.batch(0)
    sums = completion_log_probs(model, tt.tensor(inputs), tt.tensor(targets)).detach().numpy()
    np.testing.assert_allclose(sums, reference, atol=2e-5)
    for row, pair in enumerate([pairs[i] for i in task.order.batch(0)]):
        for column, name in ((0, "chosen"), (1, "rejected")):
            prompt, text = TOKENIZER.encode(pair["prompt"]), TOKENIZER.encode(pair[name])
            want = log_probs_of(model, prompt + text)[len(prompt) - 1 :].sum()
            assert reference.reshape(2, 2)[column, row] == pytest.approx(want, abs=2e-5)
    loss = task.loss(*[tt.tensor(x) for x in (inputs, targets, reference)])
    assert loss.item() == pytest.approx(np.log(2), abs=1e-5)
    with tt.no_grad():
        model.wte.weight.copy_(model.wte.weight * 1.1)
    again = task.loss(*[tt.tensor(x) for x in (inputs, targets, reference)])
    assert abs(again.item() - np.log(2)) > 1e-3  # the reference stayed
    assert task.seen["margin"] == pytest.approx(task.seen["reward_chosen"] - task.seen["reward_rejected"])


def test_a_pair_without_room_says_so(model):
    long = [{"prompt": "a" * 50, "chosen": "b", "rejected": "c"}]
    with pytest.raises(tt.ArgumentError, match="has 50 tokens") as caught:
        Preferring(model, TOKENIZER, long, PAIRS, DpoConfig(), 2, 0)
    assert caught.value.why.endswith(f"into the context of {model.config.block_size}")
    with pytest.raises(tt.ArgumentError, match="has no prompt"):
        Preferring(model, TOKENIZER, [{**long[0], "prompt": ""}], PAIRS, DpoConfig(), 2, 0)


def test_completions_and_padding():
    inputs, targets = completion([7, 8, 9], [4, 5])
    assert (inputs.tolist(), targets.tolist()) == ([7, 8, 9, 4], [IGNORED, IGNORED, 4, 5])
    assert completion([7, 8], [4], masked=False)[1].tolist() == [8, 4]
    assert padded([np.array([1]), np.array([2, 3])], 9).tolist() == [[1, 9], [2, 3]]


def test_a_share_is_held_out():
    kept, held = split(list(range(40)), 0.25, seed=1)
    assert sorted(kept + held) == list(range(40))
    assert len(held) == 10
    assert split(list(range(40)), 0.25, seed=2)[1] != held
    with pytest.raises(tt.ArgumentError, match="held out"):
        split([1], 0.5, 0)


@given(lengths=st.lists(st.integers(1, 20), max_size=40))
def test_each_goes_where_the_least_room_is_left(lengths):
    """By the definition, with a search through all rows."""
    rows: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        rooms = [20 - sum(lengths[k] for k in row) for row in rows]
        fitting = [(room, row) for row, room in enumerate(rooms) if room >= lengths[i]]
        if fitting:
            rows[min(fitting)[1]].append(i)
        else:
            rows.append([i])
    assert best_fit(lengths, 20) == rows


def test_a_sequence_that_is_too_long():
    with pytest.raises(tt.ArgumentError, match="a sequence of 21 in rows of 20"):
        best_fit([3, 21], 20)
