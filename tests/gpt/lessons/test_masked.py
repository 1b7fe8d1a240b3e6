"""The encoder that fills gaps: what is hidden, what is learned, resumed with equal bits, and explained."""

import math

import numpy as np
import pytest

import tinytensor as tt
from gpt.config import GPTConfig
from gpt.lessons.masked import MaskedRun, fill, hide, masked_scores
from gpt.lessons.seq2seq import Encoder
from gpt.presets import configs_from
from gpt.tokenizers.char import CharTokenizer
from gpt.training.command import train
from gpt.training.run_log import RunLog
from gpt.weights.load import load

TEXT = "The cat sat on the mat. The dog ran in the park. The cat and dog played together. " * 40


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "story.txt"
    path.write_text(TEXT)
    return path


def configs(text, folder, *words):
    return configs_from(["--preset=tiny", f"--data={text}", f"--out_dir={folder}", *words], default="tiny")


def test_the_shares_of_what_is_hidden():
    """15 % are to be found; of those 80 % are masked, 10 % become any token: within 5 deviations."""
    n, V = 200_000, 50
    ids = np.random.default_rng(0).integers(0, V, (n // 100, 100))
    inputs, targets = [x.numpy() for x in hide(tt.tensor(ids), V, tt.Generator(1))]
    chosen = targets != -100
    np.testing.assert_array_equal(targets[chosen], ids[chosen])
    np.testing.assert_array_equal(inputs[~chosen], ids[~chosen])
    masked, changed = inputs == V, (inputs != ids) & (inputs != V)
    for count, share in ((chosen, 0.15), (masked, 0.12), (changed, 0.015 * (1 - 1 / V))):
        assert abs(count.sum() - share * n) < 5 * math.sqrt(share * (1 - share) * n)
    assert set(np.unique(inputs[changed])) == set(range(V))
    assert abs(chosen.mean(0) - 0.15).max() < 5 * math.sqrt(0.15 * 0.85 / (n // 100))  # in all places


def test_at_least_one_token_is_hidden():
    for seed in range(200):
        inputs, targets = hide(tt.tensor([[3, 4]]), 9, tt.Generator(seed))
        assert (targets.numpy() != -100).any()
        assert inputs.shape == (1, 2)


def test_it_hides_the_same_tokens_on_every_device():
    ids = np.random.default_rng(0).integers(0, 9, (4, 30))
    there = hide(tt.tensor(ids).to("emulated"), 9, tt.Generator(1))
    for a, b in zip(hide(tt.tensor(ids), 9, tt.Generator(1)), there, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.cpu().numpy())


def test_scores_against_counting():
    """Of a model that always says token 2 the accuracy is the share of twos, and the loss is known."""
    config = GPTConfig(vocab_size=5, block_size=10, n_layer=1, n_head=1, n_embd=4, tied_head=False)
    model = Encoder(config).eval()
    with tt.no_grad():
        for p in model.ln_f.parameters():
            p.copy_(tt.tensor([0.0] * 4))
        model.ln_f.bias.copy_(tt.tensor([1.0, 0, 0, 0]))
        model.lm_head.weight.copy_(tt.tensor([[0.0] * 4] * 2 + [[3.0, 0, 0, 0]] + [[0.0] * 4] * 2))
    tokens = np.random.default_rng(0).integers(0, 4, 1005)
    found = masked_scores(model, tokens, batch_size=7, batches=0, seed=3)
    generator, wanted = tt.Generator(3), []
    for first in range(0, 1000, 70):
        block = tokens[first : min(first + 70, 1000)].reshape(-1, 10)
        wanted += hide(tt.tensor(block), 4, generator)[1].reshape(-1).tolist()
    wanted += hide(tt.tensor(tokens[None, 1000:1004]), 4, generator)[1].reshape(-1).tolist()
    counts = np.bincount([w for w in wanted if w != -100], minlength=4)
    right = counts[2] / counts.sum()
    assert found["accuracy"] == pytest.approx(right)
    assert found["commonest"] == pytest.approx(counts.max() / counts.sum())
    assert found["loss"] == pytest.approx(math.log(math.exp(3) + 4) - 3 * right, rel=1e-5)


def test_it_learns_to_fill_gaps(text, tmp_path, told):
    words = ("--preset=tiny", f"--data={text}", f"--out_dir={tmp_path / 'run'}", "--max_steps=400")
    sizes = ("--n_embd=48", "--n_head=4", "--block_size=16", "--position=rope", "--batch_size=24")
    rates = ("--learning_rate=6e-3", "--min_learning_rate=6e-4", "--eval_interval=200", "--eval_batches=0")
    said = told("masked", *words, *sizes, *rates, "--log_interval=100", "--text=The c_t sat on")
    assert "→ 'The cat sat on'" in said
    log = RunLog(tmp_path / "run").read()
    accuracies = [line["accuracy"] for line in log if "accuracy" in line]
    assert len(accuracies) == 2
    assert accuracies[-1] > 0.6
    assert f"found  {accuracies[-1]:.1%} of the hidden tokens" in said
    assert told("masked", tmp_path / "run", "--text=The c_t sat").endswith("→ 'The cat sat'\n")


def test_gaps_are_filled_surest_first():
    """The model that is asked sees earlier answers: each call has one gap less."""

    class Asked(Encoder):
        seen: tuple[list[int], ...] = ()

        def forward(self, idx, cache=None, *, last_only=False):
            self.seen = (*self.seen, idx.tolist()[0])
            logits = np.zeros((1, idx.shape[1], 4), np.float32)
            logits[0, :, 3] = 99.0  # the mask itself is never an answer
            logits[0, 1, 0], logits[0, 2, 1] = 2.0, 5.0
            return tt.tensor(logits)

    model = Asked(GPTConfig(vocab_size=4, block_size=8, n_layer=1, n_head=1, n_embd=4))
    assert fill(model, CharTokenizer("abc"), "c__c") == "cabc"
    assert model.seen == ([2, 3, 3, 2], [2, 3, 1, 2])
    with pytest.raises(tt.ArgumentError, match="no gap"):
        fill(model, CharTokenizer("abc"), "abc")


def test_an_encoder_is_no_gpt(text, tmp_path, told):
    run = train(*configs(text, tmp_path / "run", "--max_steps=2"), quiet=True, kind=MaskedRun)
    assert run.model_config.vocab_size == run.tokenizer.vocab_size + 1
    for words in (
        ["sample", str(run.folder), "--prompt=The"],
        ["eval", str(run.folder)],
        ["translate", str(run.folder), "--text=a"],
    ):
        assert "holds a model of kind Encoder" in told(*words, code=2)
    assert "no --text" in told("masked", run.folder, code=2)
    with pytest.raises(tt.FormatError, match="Encoder"):
        load(run.folder)
    with pytest.raises(tt.FormatError, match="Encoder"):
        train(*configs(text, run.folder, "--init_from=resume", "--max_steps=3"), quiet=True)
    size = f"--vocab_size={run.model_config.vocab_size}"
    for origin in (run.folder, run.folder / "step_2"):
        with pytest.raises(tt.FormatError, match="Encoder"):
            train(*configs(text, tmp_path / "new", f"--init_from={origin}", size), quiet=True)
