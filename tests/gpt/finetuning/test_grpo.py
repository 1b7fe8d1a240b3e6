"""GRPO: formulas against NumPy, gradients, runs that resume with equal bits, a task that is learned."""

import json
from itertools import combinations

import numpy as np
import pytest

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.finetuning.finetune import begin
from gpt.finetuning.grpo import GrpoConfig, Reinforcing, advantages, pass_at, policy_loss, token_log_probs
from gpt.models.gpt import GPT
from gpt.tasks.base import Drawn, VerifiableTask
from gpt.tokenizers.char import CharTokenizer
from gpt.training.train import Trainer
from gpt.weights.checkpoint import load_checkpoint
from gpt.weights.save import save_single
from tests.helpers.runs import assert_same
from tinytensor.errors import ArgumentError

TOKENIZER = CharTokenizer("ab?\nAnswer: ")


class Vowel(VerifiableTask):
    """Say `a`, whatever the question is."""

    name, about, questions, chance = "vowel", "say a", ("{x}?",), 0.1

    def draw(self, rng):
        text = "".join("ab"[int(rng.random() * 2)] for _ in range(6))
        return Drawn(text, {"x": text}, "a")

    def parse(self, reply):
        return reply


@pytest.fixture
def model():
    config = GPTConfig(TOKENIZER.vocab_size, block_size=24, n_layer=1, n_head=2, n_embd=16)
    return GPT(config, tt.Generator(0))


def task_of(model, batch_size=4, **fields):
    own = GrpoConfig(**{"max_new_tokens": 3, "held_out": 12, "samples": 4, **fields})
    return Reinforcing(model, TOKENIZER, [Vowel()], own, batch_size, 0)


# ---- formulas ----------------------------------------------------------------------------------------------


def test_advantages():
    rewards = np.array([[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0]])
    np.testing.assert_allclose(
        advantages(rewards, "dr_grpo"), [[0.5, -0.5, -0.5, 0.5], [0] * 4, [0.25, 0.25, 0.25, -0.75]]
    )
    own = advantages(rewards, "grpo")
    np.testing.assert_allclose(own[[0, 2]].std(1), 1.0)
    assert not own[1].any()


@pytest.mark.parametrize("right", range(6))
@pytest.mark.parametrize("k", [1, 2, 5])
def test_pass_at_k_is_the_mean_over_all_choices_of_k(k, right):
    answers = [i < right for i in range(5)]
    wanted = np.mean([any(some) for some in combinations(answers, k)])
    assert pass_at(k, right, 5) == pytest.approx(wanted)


def test_the_gradient_is_that_of_the_expected_reward():
    """Over all answers, each with its probability, REINFORCE is the derivative of the mean reward."""
    config = GPTConfig(3, block_size=4, n_layer=1, n_head=1, n_embd=4)
    model = GPT(config, tt.Generator(2)).to(tt.float64)
    answers = [[i, j] for i in range(3) for j in range(3)]
    rewards = np.random.default_rng(0).random(9)
    ids = tt.tensor([[1, *answer] for answer in answers])

    def log_p():
        return token_log_probs(model, ids[:, :-1], ids[:, 1:], 0.7)  # (9, 2)

    def mean_reward():
        with tt.no_grad():
            return float((np.exp(log_p().numpy().sum(1)) * rewards).sum())

    found = log_p()
    p = np.exp(found.detach().numpy().sum(1))
    weights = (p * (rewards - 0.4))[:, None].repeat(2, 1)  # any baseline gives the same mean
    policy_loss(found, tt.tensor(weights)).backward()
    weight, step = model.h[0].attn.c_attn.weight, 1e-5
    for place in ((0, 8), (2, 9), (3, 11)):
        value = float(weight.detach()[place].item())
        ends = []
        for sign in (1, -1):
            with tt.no_grad():
                weight[place] = value + sign * step
            ends.append(mean_reward())
        with tt.no_grad():
            weight[place] = value
        slope = (ends[0] - ends[1]) / (2 * step)
        assert -weight.grad[place].item() == pytest.approx(slope, rel=1e-4, abs=1e-9)


# ---- batches -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["grpo", "dr_grpo"])
def test_a_batch_weighs_answers_as_the_formula(model, variant, monkeypatch):
    drawn = np.arange(48.0).reshape(6, 8) ** 2  # all answers have an advantage, and are there
    monkeypatch.setattr(Reinforcing, "_rewards", lambda *_: drawn)
    task = task_of(model, batch_size=6, variant=variant)
    inputs, targets, weights = task.batch(0)
    counted = targets != -100
    lengths = counted.sum(1)
    assert len(inputs) == 6 * 8
    assert 1 <= lengths.min() < lengths.max() == 3
    wanted = counted / (48 * (lengths[:, None] if variant == "grpo" else 3.0))
    monkeypatch.undo()
    rewards = []
    for x, y, on in zip(inputs, targets, counted, strict=True):
        first = int(on.argmax())
        assert TOKENIZER.decode(x[first - 8 : first + 1]) == "?\nAnswer: "[-9:]
        np.testing.assert_array_equal(x[first + 1 : first + on.sum()], y[on][:-1])
        rewards.append(TOKENIZER.decode(y[on]) == "a\n")
    np.testing.assert_allclose(weights, wanted * advantages(drawn, variant).reshape(-1, 1), rtol=1e-5)
    task.batch(0)
    assert task.seen["reward"] == np.mean(rewards)
    assert len(task.seen["samples"]) == 8


def test_answers_without_an_advantage_are_left_out(model):
    weights = task_of(model, 6).batch(3)[2]
    assert 0 < len(weights) < 48
    assert weights.any(1).all()


def test_the_control_shuffles_rewards_over_all_answers(model, monkeypatch):
    rewards = np.repeat([[0.0], [1.0]] * 3, 8, axis=1)  # equal in each group: no answer has an advantage
    monkeypatch.setattr(Reinforcing, "_rewards", lambda *_: rewards)
    for control, most in (("none", 1), ("shuffled", 48)):
        task = task_of(model, 6, control=control)
        rows = task.batch(0)[2].any(1)
        assert (rows.sum(), len(rows)) == ((0, 1) if most == 1 else (48, 48))
        assert task.seen["reward"] == 0.5  # the true one


# ---- runs --------------------------------------------------------------------------------------------------


@pytest.fixture
def start(tmp_path):
    """Words of a short run from an untrained model."""
    tokenizer = CharTokenizer.train("".join(map(chr, range(32, 127))) + "\n")
    config = GPTConfig(tokenizer.vocab_size, block_size=96, n_layer=1, n_head=2, n_embd=16)
    (tmp_path / "begin").mkdir()
    save_single(GPT(config, tt.Generator(0)), tmp_path / "begin" / "model.safetensors")
    tokenizer.save(tmp_path / "begin" / "tokenizer.json")
    return [
        *(f"--init_from={tmp_path / 'begin' / 'model.safetensors'}", "--batch_size=2", "--group_size=3"),
        *("--max_steps=5", "--checkpoint_interval=2", "--eval_interval=0", "--warmup_steps=0"),
        *("--held_out=4", "--samples=2", "--log_interval=1", "--max_new_tokens=12"),
    ]


@pytest.mark.parametrize("more", [(), ("--gradient_accumulation_steps=3", "--lora_rank=2")])
def test_a_killed_run_resumes_with_equal_bits(start, more, tmp_path):
    words = [*start, *more]
    Trainer(begin("grpo", [*words, f"--out_dir={tmp_path / 'whole'}"]), quiet=True).train()
    killed = Trainer(begin("grpo", [*words, f"--out_dir={tmp_path / 'cut'}"]), quiet=True)
    killed.run.write_config()
    killed.step()
    killed.step()
    killed.run.save()
    killed.step()  # lost
    Trainer(begin("grpo", ["--init_from=resume", f"--out_dir={tmp_path / 'cut'}"]), quiet=True).train()
    whole, cut = [load_checkpoint(tmp_path / name) for name in ("whole", "cut")]
    assert whole.state["generator"] == cut.state["generator"]
    assert_same(cut, whole)
    lines = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "samples" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5]
    assert steps[0]["samples"][0].keys() == {"question", "reply", "reward"}
    assert {"reward", "signal", "answer_tokens"} <= steps[0].keys()


def test_the_command_prints_pass_at_k_before_and_after(start, tmp_path, told):
    words = [*start[:-1], "--max_new_tokens=36", "--task=sorting,reversing", f"--out_dir={tmp_path / 'run'}"]
    said = told("finetune", "grpo", *words)
    names = ("\ngreedy", "\npass_1", "\npass_2", "\nsorting", "\nreversing", "reward 0.000")
    assert [name for name in names if name not in said] == []


def test_a_task_is_learned(model):
    task = task_of(model, batch_size=8)
    optimizer = tt.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.0)
    with model.evaluating():
        before = task.metrics()
    for step in range(50):
        optimizer.zero_grad()
        task.loss(*[tt.tensor(a) for a in task.batch(step)]).backward()
        optimizer.step()
    with model.evaluating():
        after = task.metrics()
        assert "'a'" in task.show()
    assert before["pass_1"] < 0.2
    assert after["pass_1"] > 0.9
    assert after["greedy"] == 1.0
    assert after["val_loss"] == pytest.approx(1 - after["pass_1"])


def test_what_cannot_be_answered_is_refused(start, tmp_path):
    out = f"--out_dir={tmp_path / 'run'}"
    with pytest.raises(ArgumentError, match="both fit into the context of 96"):
        begin("grpo", [*(word for word in start if "max_new" not in word), out, "--max_new_tokens=4"])
    with pytest.raises(ArgumentError, match="did you mean sorting"):
        begin("grpo", [*start, out, "--task=sortin"])
    with pytest.raises(ArgumentError, match="--data=x"):
        begin("grpo", [*start, out, "--data=x"])
