"""Step 8: training and generation of both models, beside PyTorch and what llm.c's authors published."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import tinytensor as tt
from benchmarks.contest.contestants import Case, Suite
from benchmarks.first_day.contests import Entry, clock_of, compete, prepare
from benchmarks.first_day.day import Day, last_lines
from benchmarks.suites.train import weights
from gpt.config import GPTConfig, TrainConfig
from gpt.generation.generate import generate
from gpt.models.gpt import GPT
from gpt.presets import preset
from gpt.training.plan import plan
from tinytensor.optim import AdamW, clip_scale

PEAK = 989e12  # bf16 FLOP/s of an H100 SXM, dense, by its data sheet: for shares
MODELS = ("gpt2", "shakespeare")
BATCHES = {"gpt2": 16, "shakespeare": 64}
RATE, AGREEING = 1e-4, 3  # learning rate; steps whose losses must agree
TOLERANCE = {"float32": 1e-3, "bfloat16": 2e-2}
NEW = {"gpt2": 256, "shakespeare": 200}  # tokens that are generated
ENGINES = {
    "eager": {"library": "tinytensor", "mode": "eager"},
    "captured": {"library": "tinytensor", "mode": "captured"},
    "PyTorch": {"library": "PyTorch", "mode": "eager"},
    "torch.compile": {"library": "PyTorch", "mode": "compiled"},
}
PUBLISHED = (
    ("llm.c, 8 H100, bf16, per GPU", 468_000, "modded-nanogpt, records/track_1_short/2024-10-13_llmc"),
    (
        "llm.c, 8 A100 80 GB, bf16, per GPU",
        218_000,
        "llm.c, scripts/run_gpt2_124M.sh: about 300 ms of 524,288",
    ),
    ("nanoGPT with torch.compile, 1 A100 40 GB", 91_000, "nanoGPT's README: 135 ms of 12 sequences of 1,024"),
)


def config_of(model: str, small: bool) -> tuple[GPTConfig, int]:
    """Sizes of a model without dropout, which the peers have not, and its batch."""
    config = preset("gpt2" if model == "gpt2" else "shakespeare-char")[0]
    config = replace(config, vocab_size=config.vocab_size or 65, dropout=0.0, bias=True)
    if small:
        return replace(config, n_layer=2, n_head=2, n_embd=32, block_size=32, vocab_size=65), 2
    return config, BATCHES[model]


def _batch(config: GPTConfig, batch: int) -> list[np.ndarray[Any, Any]]:
    ids = np.random.default_rng(0).integers(0, config.vocab_size, (batch, config.block_size + 1))
    return [np.ascontiguousarray(part) for part in (ids[:, :-1], ids[:, 1:])]


def _ours(config: GPTConfig, batch: int, dtype: str, mode: str, device: str) -> Callable[[], Any]:
    """A training step of tinytensor; returns the loss on the device."""
    model = GPT(config)
    model.load_state_dict({name: tt.from_numpy(array) for name, array in weights(config).items()})
    model.to(device).train()
    optimizer = AdamW(model.parameter_groups(0.1), lr=RATE)
    x, y = [tt.from_numpy(part).to(device) for part in _batch(config, batch)]
    graph: tt.CapturedGraph | None = None
    calls = 0

    def compute() -> tt.Tensor:
        optimizer.zero_grad()
        with tt.autocast(tt.bfloat16, enabled=dtype == "bfloat16"):
            loss: tt.Tensor = model.loss(x, y)
        loss.backward()
        _, scale = clip_scale(model.parameters(), 1.0)
        optimizer.step(scale)
        return loss

    def step() -> tt.Tensor:
        nonlocal graph, calls
        calls += 1
        if mode == "captured" and calls == 2:
            graph = tt.capture(compute, device=device, warmup=0)
        return compute() if graph is None else graph.replay()

    return step


def _theirs(config: GPTConfig, batch: int, dtype: str, mode: str, device: str) -> Callable[[], Any]:
    """The same with PyTorch."""
    import torch

    from benchmarks.peers.torch_gpt import TorchGPT

    model = TorchGPT(config, weights(config)).to(device).train()
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, fused=True)
    loss_of = torch.compile(model.loss) if mode == "compiled" else model.loss
    x, y = [torch.from_numpy(part).to(device) for part in _batch(config, batch)]

    def step() -> Any:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = loss_of(x, y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    return step


def case_name(model: str, dtype: str) -> str:
    """Name of the case of a training step."""
    return f"a step of {model} in {dtype}"


def suite(model: str, dtype: str, library: str, mode: str, device: str, rehearsal: str) -> Suite:
    """Suite of one engine with one case, a training step."""
    prepare(rehearsal)
    make = _ours if library == "tinytensor" else _theirs
    step = make(*config_of(model, bool(rehearsal)), dtype, mode, device)
    clock = clock_of(library, device, rehearsal)
    return {
        case_name(model, dtype): Case(
            step, lambda: [float(step().item()) for _ in range(AGREEING)], device, clock
        )
    }


def run(day: Day) -> None:
    """Time training steps, then generation, then the trainer itself."""
    for model in MODELS:
        _steps(day, model, "bfloat16")
    for name, rate, source in PUBLISHED:
        day.row("published", what=name, tokens_per_second=rate, source=source)
    for model in MODELS:
        _generation(day, model)
    _trainer(day)
    for model in MODELS:
        _steps(day, model, "float32")


def _steps(day: Day, model: str, dtype: str) -> None:
    config, batch = config_of(model, day.small)
    costs = plan(config, TrainConfig(batch_size=batch), flops_per_second=1.0)
    tokens = batch * config.block_size
    flops = tokens * (costs.forward_flops_per_token + costs.backward_flops_per_token)
    for pair in (("captured", "torch.compile"), ("eager", "PyTorch")):  # four at once would fill a GPU
        suites = {n: (f"{__name__}:suite", {"model": model, "dtype": dtype, **ENGINES[n]}) for n in pair}
        for found in compete(day, suites, [Entry(case_name(model, dtype), pair, TOLERANCE[dtype])]):
            for name in pair:
                spent = found.seconds.get(name)
                per, share = (None, None) if spent is None else (tokens / spent, flops / spent / PEAK)
                about = {"seconds": spent, "tokens_per_second": per, "of_peak": share}
                day.row("training steps", model=model, dtype=dtype, engine=name, **about)
            day.say(f"losses of {found.case}, {AGREEING} times, {' and '.join(pair)}: {found.results}")


# ---- generation --------------------------------------------------------------------------------------------


def _generation(day: Day, model: str) -> None:
    """Tokens per second of one text, greedily and with top-k 40, in a process of its own."""
    if not day.has(30, f"generation with {model}"):
        return
    done = day.run(
        day.python("benchmarks.first_day.training", model, day.device, day.rehearsal), day.left() / 2
    )
    lines = [line for line in done.output.splitlines() if line.startswith("{")]
    if done.code != 0 or not lines:
        day.say(f"generation with {model} ended {done.ended}: {last_lines(done.output)}")
    for line in lines:
        found = json.loads(line)
        day.row("generation", model=model, how=found["how"], tokens_per_second=day.time(found["rate"]))


def generated(config: GPTConfig, device: str, count: int) -> list[dict[str, Any]]:
    """Generate with fresh weights; returns the rate of each way, in tokens per second."""
    model = GPT(config).to(device).eval()
    found = []
    for how, options in (("greedy", {"temperature": 0}), ("top-k 40", {"temperature": 0.8, "top_k": 40})):
        for _ in range(2):  # the first time compiles and captures
            begun = time.perf_counter()
            written = len(list(generate(model, [1, 2, 3, 4], count, **options)))
            spent = time.perf_counter() - begun
        found.append({"how": how, "rate": written / spent})
    return found


# ---- the trainer -------------------------------------------------------------------------------------------


def _trainer(day: Day) -> None:
    """`python -m gpt train` with an empty cache of kernels, then with a full one."""
    name = "tiny" if day.small else "shakespeare-char"
    steps = 4 if day.small else 300
    with tempfile.TemporaryDirectory() as folder:
        cache = {} if day.small else {"TINYTENSOR_CACHE": str(Path(folder, "cache"))}
        for state in ("empty", "full"):
            if not day.has(20, f"the trainer, with its cache {state}"):
                return
            words = [
                f"--preset={name}",
                f"--device={day.device}",
                f"--max_steps={steps}",
                "--eval_interval=0",
            ]
            words += ["--dtype=bfloat16", "--log_interval=2", f"--out_dir={folder}/{state}"]
            done = day.run(day.python("gpt", "train", *words), **cache)
            log = Path(folder, state, "log.jsonl")
            if done.code != 0 or not log.exists():
                day.say(f"gpt train ended {done.ended}: {last_lines(done.output)}")
                return
            lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
            rates = [line["tokens_per_second"] for line in lines if "tokens_per_second" in line]
            losses = [line["loss"] for line in lines if "loss" in line]
            day.row(
                "gpt train", preset=name, cache=state, steps=steps, first=day.time(rates[0]),
                last=day.time(rates[-1]), first_loss=losses[0], last_loss=losses[-1],
            )  # fmt: skip


if __name__ == "__main__":
    asked, where, rehearsed = (*sys.argv[1:], "")[:3]
    shape, _ = config_of(asked, bool(rehearsed))
    for line in generated(shape, where, 8 if rehearsed else NEW[asked]):
        print(json.dumps(line), flush=True)
