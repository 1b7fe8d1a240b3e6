"""What packing costs and gains: loss, size and speed of a model at each width, beside llama.cpp's.

Each model is packed from its float32 weights. tinytensor reads and continues a text with each file, and so
does llama.cpp, if llama-cpp-python is installed. The text is the last part of the bundled Shakespeare, which
models trained on it have not seen; rounding is calibrated on its beginning.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from math import exp
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np

import tinytensor as tt
from benchmarks.contest.contestants import ROOT, installed
from benchmarks.contest.machine import describe
from benchmarks.contest.windows import cpus
from gpt import embedded_shakespeare
from gpt.generation.generate import generate
from gpt.models.gpt import GPT
from gpt.weights.gguf_format.calibration import calibrated
from gpt.weights.gguf_format.writer import save_gguf
from gpt.weights.pretrained import from_pretrained

KINDS = ("q8_0", "q6_k", "q4_1", "q4_k", "q4_0_m", "q4_0")
CALIBRATED = ("q4_0_m", "q4_0")
LENGTH, BLOCKS, NEW = 512, 2, 48  # of the text that is read, in tokens; tokens that are written
PAGE = ROOT / "docs" / "quantization.md"
BEGIN, END = "<!-- measured -->", "<!-- end of what was measured -->"


class Row(NamedTuple):
    """Measurements of one file: MiB; loss and tokens per second of both programs, NaN if one is missing."""

    name: str
    size: float
    loss: float
    speed: float
    their_loss: float = float("nan")
    their_speed: float = float("nan")


def measured(path: str) -> Iterator[Row]:
    """Rows of a model: float32, then each kind."""
    model, tokenizer = from_pretrained(path)
    if tokenizer is None:
        raise tt.ArgumentError(f"widths: {path} has no tokenizer", why="a text is read", fix="give another")
    text = embedded_shakespeare()
    ids = tokenizer.encode(text[-60_000:])[: LENGTH * BLOCKS + 1]
    read = tokenizer.encode(text[:30_000])[:8192]
    files = [(kind, kind, False) for kind in ("float32", *KINDS)]
    files += [(f"{kind}, calibrated", kind, True) for kind in CALIBRATED]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.gguf"
        for name, dtype, fitted in files:
            packed = calibrated(model, read, dtype) if fitted else None
            save_gguf(model, file, tokenizer, dtype=dtype, packed=packed)
            yield Row(name, file.stat().st_size / 2**20, *_ours(file, ids), *_theirs(file, ids))


def _pieces(ids: Sequence[int], length: int) -> Iterator[tuple[list[int], list[int]]]:
    """Inputs and targets of consecutive pieces of a text."""
    for first in range(0, len(ids) - 1, length):
        piece = list(ids[first : first + length + 1])
        yield piece[:-1], piece[1:]


def _ours(file: Path, ids: Sequence[int]) -> tuple[float, float]:
    """Loss, and tokens per second of greedy generation."""
    model: GPT = from_pretrained(file, packed=True)[0]
    lost = 0.0
    with tt.no_grad():
        for inputs, targets in _pieces(ids, min(LENGTH, model.config.block_size)):
            lost += model.loss(tt.tensor([inputs]), tt.tensor([targets])).item() * len(targets)
    list(generate(model, ids[:16], NEW, temperature=0))  # compiles
    begun = perf_counter()
    list(generate(model, ids[:16], NEW, temperature=0))
    return lost / (len(ids) - 1), NEW / (perf_counter() - begun)


def _theirs(file: Path, ids: Sequence[int]) -> tuple[float, ...]:
    """The same by llama.cpp; nothing if it is not installed."""
    if not installed("llama_cpp"):
        return ()
    from llama_cpp import GGML_TYPE_F32, Llama

    cache = {"type_k": GGML_TYPE_F32, "type_v": GGML_TYPE_F32}
    threads = {"n_threads": len(cpus()), "n_threads_batch": len(cpus())}
    llama = Llama(str(file), n_ctx=LENGTH, logits_all=True, verbose=False, **threads, **cache)
    length = min(LENGTH, int(llama.metadata[f"{llama.metadata['general.architecture']}.context_length"]))
    lost = 0.0
    for inputs, targets in _pieces(ids, length):
        llama.reset()
        llama.eval(inputs)
        logits = np.asarray(llama.scores[: len(inputs)], np.float64)
        top = logits.max(1)
        sums = np.log(np.exp(logits - top[:, None]).sum(1)) + top
        lost += float((sums - logits[np.arange(len(targets)), targets]).sum())
    for _ in range(2):  # the second one counts
        llama.reset()
        begun = perf_counter()
        tokens = llama.generate(list(ids[:16]), temp=0.0, top_k=1, repeat_penalty=1.0)
        for _ in range(NEW):
            next(tokens)
        seconds = perf_counter() - begun
    return lost / (len(ids) - 1), NEW / seconds


def table(rows: Sequence[Row]) -> str:
    """Rows as Markdown."""
    lines = [
        "| weights | MiB | loss | perplexity | tokens/s | llama.cpp: loss | tokens/s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        change = f"{100 * (exp(row.loss - rows[0].loss) - 1):+.1f} %"
        theirs = (
            f"{row.their_loss:.4f} | {row.their_speed:.0f}" if row.their_loss == row.their_loss else " | "
        )
        lines.append(
            f"| {row.name} | {row.size:.1f} | {row.loss:.4f} | {exp(row.loss):.2f} ({change}) "
            f"| {row.speed:.0f} | {theirs} |"
        )
    return "\n".join(lines)


def run(models: Sequence[str], *, page: bool) -> str:
    """Measure models; returns their tables, and writes them into docs/quantization.md if asked to."""
    machine = describe()
    commit = str(machine["commit"])[:8]
    parts = [
        f"{machine['cpu']}, {machine['cpus']} cores, commit {commit}, {machine['date'][:10]}. "
        f"Loss in nats per token of {LENGTH * BLOCKS:,} tokens; {NEW} tokens are written after 16."
    ]
    for model in models:
        rows: list[Row] = []
        for row in measured(model):
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
        parts.append(f"`{Path(model).name}`:\n\n{table(rows)}")
    found = "\n\n".join(parts)
    if page:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n\n{found}\n\n{END}{after}", encoding="utf-8")
    return found
