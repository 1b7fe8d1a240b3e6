r"""Command `python -m gpt sample MODEL`: let a trained model write.

A terminal shows control characters as \x1b; files and pipes get them as they are.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import tinytensor as tt
from gpt.console import model_and_fields, quiet_compilation
from gpt.fields import at_least, check_types
from gpt.generation.generate import generate_rows
from gpt.generation.sampling import Sampler, SamplingConfig
from gpt.generation.text_stream import TextStream
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.weights.load import load, require_tokenizer

DEFAULT = SamplingConfig(temperature=0.8)


@dataclass(frozen=True)
class SampleConfig:
    """Prompt, lengths and seed."""

    prompt: str = "\n"  # text to continue
    max_new_tokens: int = 500  # number of tokens to generate
    num_samples: int = 1  # texts, as a batch
    seed: int = 1337  # random seed; each further text takes the next seed

    def __post_init__(self) -> None:
        check_types(self)
        at_least(self, 0, "max_new_tokens", "seed")
        at_least(self, 1, "num_samples")


def write(
    model: GPT, tokenizer: Tokenizer, config: SampleConfig, sampler: Sampler
) -> Iterator[tuple[int, str]]:
    """Iterator of (index of the text, chunk of its continuation) for a batch of texts."""
    # Eagerly, not with the first token: an invalid prompt raises before anything is printed.
    prompts = [tokenizer.encode(config.prompt)] * config.num_samples
    generators = [tt.Generator(config.seed + row) for row in range(len(prompts))]
    rows = generate_rows(model, prompts, config.max_new_tokens, sampler, generators=generators)
    return _decoded(tokenizer, rows)


def _decoded(tokenizer: Tokenizer, drawn: Iterator[tuple[int, int]]) -> Iterator[tuple[int, str]]:
    """Texts of rows of tokens, up to the end of a document."""
    streams: dict[int, TextStream] = {}
    ended: set[int] = set()
    for row, token in drawn:
        stream = streams.setdefault(row, TextStream(tokenizer))
        if token == tokenizer.separator and row not in ended:
            ended.add(row)
            yield row, stream.close()
            if len(ended) == len(streams):
                return
        elif row not in ended and (piece := stream.push(token)):
            yield row, piece
    for row in streams.keys() - ended:
        yield row, streams[row].close()


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt sample MODEL`."""
    model_name, (config, sampling) = model_and_fields("sample", __doc__, argv, SampleConfig(), DEFAULT)
    model, tokenizer = require_tokenizer(load(model_name, packed=True), "sample", model_name)
    texts = write(model, tokenizer, config, Sampler(sampling, tokenizer.vocab_size))
    if config.num_samples == 1:
        begun = list(islice(texts, 1))  # kernels are compiled, with a note, before the text begins
        sys.stdout.write(config.prompt)
        with quiet_compilation():
            for _, piece in chain(begun, texts):
                sys.stdout.write(piece)
                sys.stdout.flush()
        print()
        return 0
    whole = [config.prompt] * config.num_samples
    for row, piece in texts:
        whole[row] += piece
    for row, text in enumerate(whole, 1):
        print(f"--- sample {row} ---\n{text}")
    return 0
