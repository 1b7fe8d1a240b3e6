"""Command `python -m gpt incontext [MODEL]`: in-context learning from examples in the prompt.

The same query follows 0, 1, 2, … examples, and examples of another task: the model infers the task from
them, with unchanged weights. (Brown et al. 2020, arXiv:2005.14165.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import exp

import tinytensor as tt
from gpt.console import model_and_fields
from gpt.evaluation.likelihood import log_likelihoods
from gpt.generation.generate import generate_rows
from gpt.generation.sampling import Sampler, SamplingConfig
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.weights.load import load, require_tokenizer
from tinytensor.lab.html import visible

LONGEST = 8  # tokens of an answer
TASKS: tuple[tuple[str, ...], ...] = (
    ("France: Paris", "Japan: Tokyo", "Egypt: Cairo", "Spain: Madrid"),
    ("France: French", "Japan: Japanese", "Egypt: Arabic", "Spain: Spanish"),
)
QUERY = "Italy:"
ANSWERS: tuple[str, ...] = (" Rome", " Italian")


@dataclass(frozen=True)
class Shot:
    """Result of a query after some examples."""

    examples: int  # number of examples
    prompt: str  # examples and query
    answer: str  # greedy completion, up to the end of the line or document
    probability: float  # of this answer and the end of the line
    asked: tuple[float, ...]  # probability of each given answer and the end of the line


def few_shots(
    model: GPT, tokenizer: Tokenizer, examples: Sequence[str], query: str, answers: Sequence[str] = ()
) -> list[Shot]:
    r"""Results of a query after 0, 1, 2, … examples.

    Example:
        >>> from gpt.config import GPTConfig
        >>> from gpt.tokenizers.char import CharTokenizer
        >>> words = CharTokenizer("ab:\n")
        >>> model = GPT(GPTConfig(vocab_size=4, block_size=32, n_layer=1, n_head=1, n_embd=4)).eval()
        >>> shots = few_shots(model, words, ["a:b", "b:a"], "a:", ["b"])
        >>> [shot.prompt for shot in shots]
        ['a:', 'a:b\na:', 'a:b\nb:a\na:']
    """
    shots = []
    for count in range(len(examples) + 1):
        prompt = "\n".join([*examples[:count], query])
        said = _said(model, tokenizer, prompt)
        pairs = [(prompt, f"{answer}\n") for answer in (said, *answers)]
        longest = max(len(tokenizer.encode("".join(pair))) for pair in pairs)
        if longest - 1 > model.config.block_size:  # `log_likelihoods` would read its end
            raise tt.ArgumentError(
                f"incontext: examples, query and answer have {longest} tokens",
                why=f"the model's context has {model.config.block_size}",
                fix="give fewer examples, or use a model with a longer context",
            )
        p, *asked = [exp(found.log_p) for found in log_likelihoods(model, tokenizer, pairs)]
        shots.append(Shot(count, prompt, said, p, tuple(asked)))
    return shots


def _said(model: GPT, tokenizer: Tokenizer, prompt: str) -> str:
    greedy = Sampler(SamplingConfig(temperature=0), tokenizer.vocab_size)
    drawn = (token for _, token in generate_rows(model, [tokenizer.encode(prompt)], LONGEST, greedy))
    said = takewhile(lambda token: token != tokenizer.separator, drawn)
    return tokenizer.decode(list(said)).partition("\n")[0]


def render(shots: Sequence[Shot], examples: Sequence[str], answers: Sequence[str] = ()) -> str:
    r"""Results as a table."""
    names = ["none", *[f"+ {visible_line(example)}" for example in examples]]
    width = max(len(name) for name in ["examples", *names])
    heads = [f"p({visible(answer)})" for answer in answers]
    lines = ["  ".join([f"{'examples':<{width}}", *[f"{head:>7}" for head in heads], "the model says"])]
    for name, shot in zip(names, shots, strict=True):
        numbers = [f"{_share(p):>{max(7, len(head))}}" for p, head in zip(shot.asked, heads, strict=True)]
        said = f"{visible(shot.answer) or 'nothing'} ({_share(shot.probability)})"
        lines.append("  ".join([f"{name:<{width}}", *numbers, said]))
    return "\n".join(lines)


def _share(p: float) -> str:
    return f"{p:.1%}" if p >= 0.0005 or p == 0 else "<0.1%"


def visible_line(text: str) -> str:
    """Line without control characters; keeps its spaces."""
    return " ".join([visible(word) for word in text.split(" ")])


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt incontext [MODEL]`."""
    path, () = model_and_fields("incontext", __doc__, argv, default="smollm2")
    model, tokenizer = require_tokenizer(load(path, packed=True), "incontext", path)
    print(f"{path} completes the line {QUERY!r}; probabilities are of the answer and the end of the line")
    for examples in TASKS:
        shots = few_shots(model, tokenizer, examples, QUERY, ANSWERS)
        print(f"\n{render(shots, examples, ANSWERS)}", flush=True)
    return 0
