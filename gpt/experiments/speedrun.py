"""Speedrun: seconds of training to a validation loss of 1.88, `python -m gpt speedrun [--record=N]`.

Trains the recipe of a record from several seeds on the embedded Shakespeare, by characters, and prints how
long that took: of the newest record, of one by its number, or of all. The clock runs while steps are
computed; reading the text, compiling kernels and evaluation are outside. docs/experiments.md has the rules
and the table of records.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tinytensor as tt
from gpt.config import GPTConfig, TrainConfig
from gpt.console import Parser, parse_fields
from gpt.experiments.statistics import below
from gpt.fields import at_least, check_types, with_changes
from gpt.presets import preset
from gpt.training.run import Run
from gpt.training.run_lock import alone_in
from gpt.training.run_setup import refuse_ranks
from gpt.training.train import Trainer
from tinytensor.distributed import init
from tinytensor.files import atomic_write

TARGET = 1.88  # nats per character: the loss that nanoGPT's README names for its CPU recipe


@dataclass(frozen=True)
class Record:
    """A recipe that reached the target: what it changed, and all its fields, from nanoGPT's CPU recipe on."""

    change: str
    fields: str

    def configs(self) -> tuple[GPTConfig, TrainConfig]:
        """Model and training config."""
        begin = preset("shakespeare-char-cpu")
        words = [f"--{word}" for word in self.fields.split()]
        model, train = parse_fields(words, *begin)
        return model, replace(train, eval_interval=0)


_ROPE = "position=rope"
_RATES = f"{_ROPE} norm=rms_norm activation=swiglu schedule=linear learning_rate=3e-3 min_learning_rate=0"
_MUON = "optimizer=muon muon_iterations=3"
_SMALL = f"{_RATES} n_layer=3 n_head=3 n_embd=96 n_inner=256 batch_size=8 init=scaled warmup_steps=40"

RECORDS = (
    Record("nanoGPT's CPU recipe, with half as many steps again", "max_steps=3000"),
    Record("rotary positions", f"{_ROPE} max_steps=1750"),
    Record(
        "RMS norm and SwiGLU; three times the rate, falling to 0 in a line",
        f"{_RATES} n_inner=344 max_steps=1100",
    ),
    Record(
        "3 layers of 96 channels and 8 sequences in place of 4 of 128 and 12; scaled initial weights",
        f"{_SMALL} max_steps=2000",
    ),
    Record(
        "Muon of three iterations",
        f"{_SMALL} {_MUON} matrix_learning_rate=5e-3 max_steps=900",
    ),
    Record(
        "64 channels, and 5 sequences of 128 characters in place of 8 of 64",
        f"{_RATES} {_MUON} n_layer=3 n_head=2 n_embd=64 n_inner=168 block_size=128 batch_size=5 init=scaled "
        "warmup_steps=40 matrix_learning_rate=8e-3 max_steps=1140",
    ),
)


@dataclass(frozen=True)
class SpeedrunConfig:
    """Options of a speedrun."""

    record: str = "last"  # number of a record, `last`, or `all`
    seeds: int = 3  # runs of each, with seeds 1, 2, …
    out_dir: str = "runs/speedrun"  # folder for speedrun.json

    def __post_init__(self) -> None:
        check_types(self)
        numbers = [str(n) for n in range(1, len(RECORDS) + 1)]
        if self.record not in ("last", "all", *numbers):
            raise tt.ArgumentError(
                f"--record={self.record}: no such record",
                why=f"there are {len(RECORDS)}, see docs/experiments.md",
                fix=f"use --record=1 to {len(RECORDS)}, last or all",
            )
        at_least(self, 1, "seeds")

    @property
    def chosen(self) -> list[int]:
        """Numbers of the records to measure."""
        if self.record == "all":
            return list(range(1, len(RECORDS) + 1))
        return [len(RECORDS) if self.record == "last" else int(self.record)]


def run_once(model: GPTConfig, config: TrainConfig) -> dict[str, Any]:
    """Train all steps of a recipe, and evaluate."""
    with TemporaryDirectory() as folder:
        run = Run(model, replace(config, out_dir=f"{folder}/run"))
        trainer = Trainer(run, quiet=True)
        run.model.train()
        begun, worked = time.perf_counter(), time.process_time()
        for _ in range(config.max_steps):
            trainer.step()
        seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - worked
        times = {"seconds": seconds, "cpu_seconds": cpu_seconds}
        return {"seed": config.seed, **times, "val_loss": run.evaluate()}


def measure(number: int, seeds: int) -> dict[str, Any]:
    """Train a record from several seeds: the median of the times, the mean of the losses, and how likely such
    a mean is if the expected loss was the target (None for one seed).
    """
    record = RECORDS[number - 1]
    model, config = record.configs()
    run_once(model, replace(config, max_steps=4, warmup_steps=0, decay_steps=0))  # compiles kernels
    runs = [run_once(model, replace(config, seed=seed)) for seed in range(1, seeds + 1)]
    losses = [run["val_loss"] for run in runs]
    return {
        "record": number,
        **asdict(record),
        "steps": config.max_steps,
        "seconds": statistics.median([run["seconds"] for run in runs]),
        "cpu_seconds": statistics.median([run["cpu_seconds"] for run in runs]),
        "val_loss": statistics.fmean(losses),
        "p_value": below(losses, TARGET),
        "runs": runs,
    }


def table(results: Sequence[dict[str, Any]]) -> str:
    """Markdown table of results of `measure`."""
    lines = [
        "| record | change | steps | seconds | CPU seconds | validation loss, by seed | mean | p |",
        "| --: | :-- | --: | --: | --: | :-- | --: | --: |",
    ]
    for row in results:
        losses = " ".join(f"{run['val_loss']:.3f}" for run in row["runs"])
        chance = "" if row["p_value"] is None else f"{row['p_value']:.1g}"
        lines.append(
            f"| {row['record']} | {row['change']} | {row['steps']:,} | {row['seconds']:.1f} | "
            f"{row['cpu_seconds']:.1f} | {losses} | {row['val_loss']:.4f} | {chance} |"
        )
    return "\n".join(lines)


def machine() -> str:
    """The machine and its threads, as text."""
    return (
        f"{platform.machine()}, {os.cpu_count()} CPUs, {tt.get_num_threads()} threads of tinytensor "
        f"{tt.__version__}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"
    )


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt speedrun`."""
    records = "\n".join([f"  {n}  {record.change}" for n, record in enumerate(RECORDS, 1)])
    parser = Parser(prog="python -m gpt speedrun", description=__doc__, epilog=f"records:\n{records}")
    parser.add_fields(SpeedrunConfig())
    (own,) = with_changes(vars(parser.parse_args(argv)), SpeedrunConfig())
    refuse_ranks(init(), "speedrun")
    folder, results = Path(own.out_dir), []
    with alone_in(folder, "speedrun"):
        for number in own.chosen:
            print(f"record {number}: {RECORDS[number - 1].fields}", flush=True)
            results.append(measure(number, own.seeds))
            row = results[-1]
            print(f"  {row['seconds']:.1f} s, loss {row['val_loss']:.4f}", flush=True)
        about = f"{machine()}; loss to reach: {TARGET}"
        with atomic_write(folder / "speedrun.json") as file:
            file.write(json.dumps({"about": about, "target": TARGET, "results": results}, indent=2).encode())
        print(f"\n{about}\n\n{table(results)}\n\nfiles  {folder / 'speedrun.json'}")
    missed = [row["record"] for row in results if not row["val_loss"] <= TARGET]  # NaN misses it, too
    if missed:
        print(f"above {TARGET}: record {', '.join(map(str, missed))}")
    return 1 if missed else 0
