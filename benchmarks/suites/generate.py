"""Token generation of a GPT with a key-value cache, against PyTorch, at batch size 1.

S, M and L are the models of the training benchmark, L with GPT-2's context of 1024. A call reads a prompt and
generates new tokens. Logits and greedy tokens must be equal before anything is timed.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.contest.contest import Plan, Report
from benchmarks.contest.contestants import Case, Suite, contestants
from benchmarks.dry_gpu.gpu import installed_device
from benchmarks.suites import train
from benchmarks.training import initial_weights
from gpt.config import GPTConfig

PROMPT, NEW = 16, 48  # tokens; together they fill the context of S
SAMPLING: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "top-k": {"temperature": 0.8, "top_k": 40},
}
OTHERS = {"NumPy alone": train.OTHERS["NumPy alone"]}


def model_config(shape: str) -> GPTConfig:
    """Model configuration of a shape."""
    config, _ = train.configs(shape)
    return replace(config, block_size=1024) if shape == "L" else config


def prompt_of(config: GPTConfig) -> list[int]:
    """Arbitrary ids; the time of a token does not depend on them."""
    return [int(i) for i in np.random.default_rng(3).integers(0, config.vocab_size, PROMPT)]


def ours(shape: str, device: str = "cpu") -> Suite:
    """Generation with tinytensor, as `python -m gpt sample` does it."""
    import tinytensor as tt
    from gpt.generation.generate import generate
    from gpt.models.gpt import GPT
    from gpt.models.kv_cache import KVCache

    config = model_config(shape)
    model = GPT(config).eval()
    model.load_state_dict({n: tt.from_numpy(array) for n, array in initial_weights(config).items()})
    model.to(installed_device(device))
    prompt = prompt_of(config)

    def tokens(how: str) -> list[int]:
        return list(generate(model, prompt, NEW, **SAMPLING[how]))

    def check() -> list[list[float]]:
        greedy, cache, unread = tokens("greedy"), KVCache(config, 1, model.device), prompt
        found = []
        with tt.inference_mode():
            for token in greedy:
                ids = tt.tensor([unread], device=model.device)
                found.append([*model(ids, cache, last_only=True)[0, -1].tolist(), token])
                unread = [token]
        return found

    return {how: Case(lambda how=how: tokens(how), check, device) for how in SAMPLING}


def peer(shape: str) -> Suite:
    """Generation with PyTorch."""
    from benchmarks.peers.torch_generate import TorchGenerator

    config = model_config(shape)
    generator = TorchGenerator(config, initial_weights(config))
    prompt = prompt_of(config)

    def tokens(how: str) -> list[int]:
        return list(generator.generate(prompt, NEW, **SAMPLING[how]))

    def check() -> list[list[float]]:
        greedy = tokens("greedy")
        logits = generator.next_logits(prompt, greedy[:-1])
        return [[*row, token] for row, token in zip(logits, greedy, strict=True)]

    return {how: Case(lambda how=how: tokens(how), check) for how in SAMPLING}


def run(
    rounds: Plan,
    *,
    shapes: Sequence[str] = ("S", "M"),
    variants: Sequence[str] = tuple(train.VARIANTS),
    alone: bool = False,
    others: Sequence[str] = (),
    device: str = "cpu",
) -> Report:
    """Measure generation."""
    report = Report("generate", "PyTorch")
    agreeing = replace(rounds, rtol=1e-4, atol=2e-5)
    for variant in variants if device == "cpu" else list(variants)[:1]:
        for shape in shapes:
            with contestants(
                __name__,
                alone=alone or device != "cpu",
                more={name: OTHERS[name] for name in others},
                arguments={"shape": shape} | ({} if device == "cpu" else {"device": device}),
                **train.VARIANTS[variant],
            ) as both:
                results = report.compete(
                    both, agreeing, label=f"{shape}, {{}}, {variant if device == 'cpu' else device}"
                )
            for result in results:
                for name in both:
                    per_second = {"tokens_per_second": round(NEW / result.times(name).median, 1)}
                    report.findings[f"{result.case}, {name}"] = per_second
    return report
