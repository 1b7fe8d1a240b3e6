"""Odd values in the JSON files of runs, models and tokenizers: each is taken, or an error of ours."""

import copy
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from gpt.config import GPTConfig
from gpt.models.gpt import GPT
from gpt.presets import configs_from
from gpt.tokenizers.bpe import BPETokenizer
from gpt.tokenizers.tokenizer import load as load_tokenizer
from gpt.training.command import train
from gpt.training.run import Run
from gpt.training.train import Trainer
from gpt.weights.load import load
from gpt.weights.run import read_configs
from gpt.weights.save import save_pretrained
from tinytensor.errors import TinyTensorError

FULL = os.environ.get("TINYTENSOR_FULL") == "1"
DEEP = "a text that becomes 10,000 brackets"
VALUES = [None, [], {}, [1], {"a": 1}, -1, 0, 10**30, 1e308, 1.5, "x", "", True, DEEP]
Place = tuple[str | int, ...]
# What once came through.
KNOWN: dict[str, list[tuple[Place, Any]]] = {
    "state.json": [
        (("state", "batches", "step"), 10**30),
        (("state", "best_loss"), "x"),
        (("state", "scaler", "scale"), 0),
    ],
    "config.json": [(("activation_function",), [])],
}


def places(value, at=()):
    """Where something stands in a JSON value; of long lists the first items."""
    yield at
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value[:3])
        for key, item in items:
            yield from places(item, (*at, key))


def changed(value, at, new):
    if not at:
        return new
    value = copy.deepcopy(value)
    inner = value
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = new
    return value


def assert_explained(path, count, use):
    """Change one value of a file after the other, and use the file: nothing but errors of ours."""
    text = path.read_text()
    whole = json.loads(text)
    cases = [(at, new) for at in places(whole) for new in VALUES]
    cases = random.Random(0).sample(cases, min(count, len(cases)))
    for at, new in [*KNOWN.get(path.name, []), *cases]:
        if at and at[0] not in whole:
            continue  # known of another file of this name
        damaged = json.dumps(changed(whole, at, new)).replace(json.dumps(DEEP), "[" * 10_000 + "]" * 10_000)
        path.write_text(damaged)
        try:
            use()
        except TinyTensorError:
            pass
        except Exception as error:
            pytest.fail(f"{path.name}: {at} = {new!r}: {type(error).__name__}: {error}")
    path.write_text(text)
    use()  # and the file as it was can be used


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A run of two steps that keeps all that a state can hold."""
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "text").write_text("the quick brown fox jumps over the lazy dog. " * 40)
    sizes = ("--batch_size=2", "--block_size=8", "--n_embd=8", "--n_head=2", "--n_layer=1")
    kept = ("--dtype=float16",)
    words = ("--preset=tiny", f"--data={folder / 'text'}", f"--out_dir={folder / 'run'}", *sizes, *kept)
    train(*configs_from((*words, "--max_steps=2"), default="tiny"), quiet=True)
    return words


def test_the_state_of_a_run(words):
    configs = configs_from((*words, "--max_steps=3", "--init_from=resume"), default="tiny")
    state = Path(configs[1].out_dir, "step_2", "state.json")

    def resume():
        run = Run(*configs)
        Trainer(run, quiet=True).step()
        assert run.best_loss is None or run.best_loss < 1e309

    assert_explained(state, 2000 if FULL else 25, resume)
    assert_explained(state, 25, lambda: load(state.parent))


def test_the_configs_of_a_run(words):
    folder = Path(configs_from(words, default="tiny")[1].out_dir)
    assert_explained(folder / "config.json", 200, lambda: read_configs(folder))


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_config_of_a_model(tmp_path, kind):
    own: dict[str, Any] = {}
    if kind == "llama":
        own = {"bias": False, "position": "rope", "norm": "rms_norm", "activation": "swiglu"}
    save_pretrained(GPT(GPTConfig(262, block_size=8, n_layer=1, n_head=2, n_embd=8, **own)), tmp_path / "m")
    assert_explained(tmp_path / "m" / "config.json", 60, lambda: load(tmp_path / "m"))


def test_a_tokenizer(tmp_path):
    path = tmp_path / "tokenizer.json"
    BPETokenizer.train("low lower lowest " * 3, 262, special_tokens=["<|e|>"]).save(path)
    assert_explained(path, 100, lambda: load_tokenizer(path).decode([0]))
