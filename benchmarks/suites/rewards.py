"""What rewards teach: GRPO on three tasks from three seeds, beside a control with shuffled rewards.

A small model learns from examples until at most half of its answers are right. From there GRPO goes on.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from time import process_time
from typing import NamedTuple

from benchmarks.contest.contestants import ROOT, BenchmarkError, installed
from benchmarks.contest.machine import describe
from gpt.finetuning.base import Tuner
from gpt.finetuning.finetune import begin
from gpt.presets import configs_from
from gpt.tasks.command import main as write_problems
from gpt.training.run_log import RunLog
from gpt.training.train import train
from tinytensor.files import atomic_write

STARTS = {"spelling": 200, "reversing": 290, "sorting": 290}  # task → step of the base that GRPO begins from
BASE: dict[str, object] = {
    **{"preset": "shakespeare-char-cpu", "position": "rope", "norm": "rms_norm", "n_layer": 3, "n_embd": 96},
    **{"block_size": 96, "batch_size": 48, "optimizer": "muon", "learning_rate": 0.01},
    **{"min_learning_rate": 0.001, "schedule": "linear", "weight_decay": 0, "max_steps": 400},
    **{"warmup_steps": 20, "checkpoint_interval": 10, "keep_checkpoints": 40},
}
SETTING: dict[str, object] = {"max_steps": 400, "eval_interval": 50, "samples": 4, "max_new_tokens": 24}
CONTROL: dict[str, object] = {"control": "shuffled", "max_steps": 50}
SEEDS = (1, 2, 3)
PAGE = ROOT / "docs" / "finetuning.md"
PICTURE = ROOT / "docs" / "pictures" / "rewards.svg"
BEGIN, END = "<!-- measured -->", "<!-- end of what was measured -->"


class Curve(NamedTuple):
    """Shares of right answers of one run to held-out problems: before, at each evaluation, and at the end."""

    task: str
    seed: int
    control: bool
    seconds: float  # CPU time, with the evaluations between the first and the last one
    steps: list[int]
    greedy: list[float]
    pass_1: list[float]
    pass_4: list[float]


def base(folder: Path) -> Path:
    """Checkpoints of the model that learns from examples, which is trained once."""
    run = folder / "base"
    if not (run / f"step_{max(STARTS.values())}").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "tasks.txt"
        write_problems(["sorting", "spelling", "reversing", "--count=6000", "--form=text", f"--out={file}"])
        begun = {"init_from": "resume"} if run.is_dir() else {}
        train(*configs_from(_words({**BASE, **begun, "data": file, "out_dir": run}), default="tiny"))
    return run


def measured(folder: Path, task: str, seed: int, *, control: bool) -> Curve:
    """Curve of one run, or that of its file if it is finished."""
    out = folder / f"{task}-{seed}{'-shuffled' * control}"
    file = out / "curve.json"
    if file.is_file():
        return Curve(**json.loads(file.read_text(encoding="utf-8")))
    shutil.rmtree(out, ignore_errors=True)  # of a call that was stopped
    start = base(folder) / f"step_{STARTS[task]}"
    fields = {"init_from": start, "out_dir": out, "task": task, "seed": seed, **SETTING}
    run = begin("grpo", _words({**fields, **CONTROL} if control else fields))
    before = run.metrics()
    begun = process_time()
    Tuner(run, quiet=True).train()
    if run.stopped_by:
        raise KeyboardInterrupt
    seconds = process_time() - begun
    lines = [{"step": 0, **before}, *[line for line in RunLog(out).read() if "pass_1" in line]]
    shares = {name: [line[name] for line in lines] for name in ("greedy", "pass_1", "pass_4")}
    found = Curve(task, seed, control, seconds, [line["step"] for line in lines], **shares)
    with atomic_write(file) as saved:
        saved.write(json.dumps(found._asdict()).encode())
    return found


def _words(fields: Mapping[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in fields.items()]


def table(curves: Sequence[Curve]) -> str:
    """Shares before and after, in per cent: a row for each run, and for each task their mean."""
    lines = ["| task | seed | steps | greedy | pass@1 | pass@4 | CPU time |", "| --- " * 7 + "|"]
    groups: dict[tuple[str, bool], list[Curve]] = {}
    for curve in curves:
        groups.setdefault((curve.task, curve.control), []).append(curve)
    for (task, control), same in groups.items():
        name = f"{task}, shuffled rewards" if control else task
        for curve in same:
            lines.append(_row(name, str(curve.seed), [curve]))
        if len(same) > 1:
            lines.append(_row(f"**{task}**", "mean", same))
    return "\n".join(lines)


def _row(name: str, seed: str, curves: Sequence[Curve]) -> str:
    """A row: means over curves of equal length."""
    shares = [[getattr(curve, key) for curve in curves] for key in ("greedy", "pass_1", "pass_4")]
    words = [" → ".join(f"{100 * fmean(curve[i] for curve in same):.0f}" for i in (0, -1)) for same in shares]
    seconds = fmean(curve.seconds for curve in curves)
    cells = [name, seed, str(curves[0].steps[-1]), *[f"{word} %" for word in words], f"{seconds:.0f} s"]
    return f"| {' | '.join(cells)} |"


def draw(curves: Sequence[Curve], path: Path) -> None:
    """Draw pass@1 over the steps, a panel for each task."""
    import matplotlib
    from matplotlib.figure import Figure

    tasks = list(dict.fromkeys(curve.task for curve in curves))
    with matplotlib.rc_context({"svg.hashsalt": "rewards", "svg.fonttype": "none"}):
        picture = Figure(figsize=(3.2 * len(tasks), 3), layout="constrained")
        panels = picture.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
        for panel, task in zip(panels, tasks, strict=True):
            for curve in [curve for curve in curves if curve.task == task]:
                name = "shuffled rewards" if curve.control else f"seed {curve.seed}"
                shares = [100 * share for share in curve.pass_1]
                panel.plot(curve.steps, shares, "k:" if curve.control else ".-", label=name)
            panel.set(title=task, xlabel="step", ylim=(0, 100))
            panel.grid(alpha=0.3)
        panels[0].set(ylabel="pass@1, per cent")
        panels[0].legend(loc="lower right", fontsize=8)
        picture.savefig(path, metadata={"Date": None})


def run(folder: Path, *, page: bool) -> str:
    """Measure; returns the table, and writes it with the picture into the documents if asked to."""
    if page and not installed("matplotlib"):
        raise BenchmarkError("rewards: --page draws with matplotlib: pip install '.[plot]'")
    curves = []
    for seed, control in [*[(seed, False) for seed in SEEDS], (SEEDS[0], True)]:
        for task in STARTS:
            curves.append(measured(folder, task, seed, control=control))
            print(table(curves[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    curves.sort(key=lambda curve: list(STARTS).index(curve.task))
    machine = describe()
    found = (
        f"{machine['cpu']}, one thread, commit {str(machine['commit'])[:8]}, {machine['date'][:10]}:"
        f"\n\n{table(curves)}"
    )
    if page:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n\n{found}\n\n{END}{after}", encoding="utf-8")
        draw(curves, PICTURE)
    return found
