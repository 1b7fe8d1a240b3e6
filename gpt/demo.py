"""Quick start: `python -m gpt demo` trains a small GPT on Shakespeare and samples from it.

Without fields it goes on with a run that was interrupted; an earlier complete one is kept under another name.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

from gpt.live.watch import WatchConfig, watching
from gpt.presets import preset
from gpt.training.command import configs_of, tell_files
from gpt.training.measures import evaluate
from gpt.training.run import Run
from gpt.training.run_lock import alone_in
from gpt.training.stopping import exit_code
from gpt.training.terminal import describe
from gpt.training.train import Trainer
from gpt.weights.checkpoint import list_checkpoints
from gpt.weights.load import load
from gpt.weights.run import read_configs


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt demo`; fields can be given as for `train`."""
    model, config, watch = configs_of(argv, preset("demo"), WatchConfig(), name="demo", about=__doc__)
    folder = Path(config.out_dir)
    with alone_in(folder, "demo"):
        steps = list_checkpoints(folder)
        own = config.out_dir == preset("demo")[1].out_dir
        if (model, config) == preset("demo") and steps and steps[-1] < read_configs(folder)[1].max_steps:
            print(f"going on with the run in {folder} at step {steps[-1]}")
            model, config = read_configs(folder)
            config = replace(config, init_from="resume", out_dir=str(folder))
        elif own and config.init_from == "scratch" and (folder / "latest").exists():
            aside = next(p for k in count(1) if not (p := folder.with_name(f"{folder.name}.{k}")).exists())
            folder.rename(aside)
            print(f"an earlier run is kept as {aside}")
    with alone_in(folder, "demo"), watching(watch, folder):
        return _run(Run(model, config))


def _run(run: Run) -> int:
    folder, begun = run.folder, time.perf_counter()
    print(describe(run), flush=True)
    trainer = Trainer(run)
    trainer.train()
    if run.stopped_by:
        return exit_code(run.stopped_by)
    run.model, _ = load(folder)
    train_loss = evaluate(run.model, run.train_tokens.ids[: len(run.val_tokens or run.train_tokens.ids)], 32)
    if (text := run.sample()) != trainer.sampled:  # the best model is not that of the last step
        print(f"\n--- sample ---\n{text}\n---")
    val = f"{run.best_loss:.3f}" if run.best_loss is not None else "none"
    guess = math.log(run.model_config.vocab_size)
    print(f"loss   training {train_loss:.3f}, validation {val}; a uniform guess gives {guess:.3f}")
    print(f"time   {time.perf_counter() - begun:.0f} s")
    tell_files(folder, "sample", folder, "--prompt=To be")
    return 0
