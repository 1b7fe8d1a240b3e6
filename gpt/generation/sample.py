r"""Command `python -m gpt sample MODEL`: let a trained model write; --explain explains each token.

A terminal shows control characters as \x1b; files and pipes get them as they are.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import tinytensor as tt
from gpt.console import model_and_fields, quiet_compilation
from gpt.fields import at_least, check_types
from gpt.generation.beam import beam_search
from gpt.generation.explain_sampling import ExplainingSampler, render
from gpt.generation.generate import generate_rows
from gpt.generation.sampling import Sampler, SamplingConfig
from gpt.generation.text_stream import TextStream, stream_text
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.weights.load import load, require_tokenizer

DEFAULT = SamplingConfig(temperature=0.8)


@dataclass(frozen=True)
class SampleConfig:
    """Prompts, lengths, and decoding options."""

    prompt: tuple[str, ...] = ("\n",)  # text to continue; several are continued as a batch
    # number of tokens to generate for each prompt; none: 500, with explain 20
    max_new_tokens: int | None = None
    num_samples: int = 1  # texts for each prompt
    stop: tuple[str, ...] = ()  # text that ends a sample, and is not printed; may be repeated
    ignore_end: bool = False  # continue after the end-of-document token
    seed: int = 1337  # random seed; each further text takes the next seed
    checkpoint: str = "best"  # of a run: best, latest, or a step
    explain: bool = False  # print the candidates of each token, and what each filter removed; for one text
    beams: int = 0  # beam search with so many beams instead of sampling; 0: sample
    length_penalty: float = 1.0  # of beams: exponent of the length by which log p is divided

    def __post_init__(self) -> None:
        check_types(self)
        at_least(self, 0, "max_new_tokens", "seed", "beams")
        at_least(self, 1, "num_samples")
        for wrong, what, why in (
            (self.explain and self.texts > 1, "explain with several texts", "draws are told one by one"),
            (self.beams and self.explain, "explain with beams", "a search draws nothing"),
            (0 < self.beams < self.num_samples, "more samples than beams", "a search ends with its beams"),
            (self.length_penalty != 1 and not self.beams, "length_penalty without beams", "it ranks beams"),
        ):
            if wrong:
                raise tt.ArgumentError(
                    f"SampleConfig: {what}", why=why, fix="leave out one, or add the other"
                )

    @property
    def length(self) -> int:
        """Number of tokens to generate for each prompt."""
        return (20 if self.explain else 500) if self.max_new_tokens is None else self.max_new_tokens

    @property
    def texts(self) -> int:
        """Total number of texts."""
        return len(self.prompt) * self.num_samples


def write(
    model: GPT, tokenizer: Tokenizer, config: SampleConfig, sampler: Sampler
) -> Iterator[tuple[int, str]]:
    """Generate a batch of texts.

    Returns:
        Iterator of (index of the text, chunk of its continuation); num_samples texts of the first prompt come
        first.
    """
    # Eagerly, not with the first token: an invalid prompt raises before anything is printed.
    prompts = [tokenizer.encode(text) for text in config.prompt for _ in range(config.num_samples)]
    return _written(model, tokenizer, config, sampler, prompts)


def _written(
    model: GPT, tokenizer: Tokenizer, config: SampleConfig, sampler: Sampler, prompts: list[list[int]]
) -> Iterator[tuple[int, str]]:
    """Continue prompts, one per text."""
    generators = [tt.Generator(config.seed + row) for row in range(len(prompts))]
    streams = {row: TextStream(tokenizer, config.stop) for row in range(len(prompts))}  # unfinished texts
    end = None if config.ignore_end else tokenizer.separator
    for row, token in generate_rows(model, prompts, config.length, sampler, generators=generators):
        if row not in streams:
            continue
        stream = streams[row]
        ended = token == end
        piece = stream.close() if ended else stream.push(token)
        if piece:
            yield row, piece
        if ended or stream.ended:
            del streams[row]
            if not streams:
                return
    for row, stream in streams.items():
        if piece := stream.close():
            yield row, piece


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt sample RUN`."""
    model_name, (config, sampling) = model_and_fields("sample", __doc__, argv, SampleConfig(), DEFAULT)
    which = int(config.checkpoint) if config.checkpoint.isdecimal() else config.checkpoint
    loaded = load(model_name, checkpoint=which, packed=True)
    model, tokenizer = require_tokenizer(loaded, "sample", model_name)
    if config.beams:
        _print_beams(model, tokenizer, config, sampling)
        return 0
    if config.explain:
        sampler: Sampler = ExplainingSampler(
            sampling, tokenizer, lambda draw: print(render(draw), flush=True)
        )
    else:
        sampler = Sampler(sampling, tokenizer.vocab_size)
    texts = write(model, tokenizer, config, sampler)
    if config.texts == 1 and not config.explain:
        begun = list(islice(texts, 1))  # kernels are compiled, with a note, before the text begins
        sys.stdout.write(config.prompt[0])
        with quiet_compilation():
            for _, piece in chain(begun, texts):
                sys.stdout.write(piece)
                sys.stdout.flush()
        print()
    else:
        _print_all(config, texts)
    return 0


def _print_all(config: SampleConfig, texts: Iterator[tuple[int, str]]) -> None:
    """Print texts in order, each once it is complete."""
    whole = [text for text in config.prompt for _ in range(config.num_samples)]
    for row, piece in texts:
        whole[row] += piece
    for row, text in enumerate(whole):
        print(f"--- sample {row + 1} ---\n{text}")


def _print_beams(model: GPT, tokenizer: Tokenizer, config: SampleConfig, sampling: SamplingConfig) -> None:
    """Print the best texts of a beam search."""
    if sampling != DEFAULT:
        raise tt.ArgumentError(
            "sample: beams with temperature, filters, penalties or biases",
            why="beam search uses the model's own probabilities, and does not sample",
            fix="leave them out, or leave --beams out",
        )
    end = None if config.ignore_end else tokenizer.separator
    for prompt in config.prompt:
        found = beam_search(
            model,
            tokenizer.encode(prompt),
            config.length,
            config.beams,
            length_penalty=config.length_penalty,
            end=end,
            vocab_size=tokenizer.vocab_size,
        )
        for rank, text in enumerate(found[: config.num_samples], 1):
            tokens = text.tokens[:-1] if text.tokens[-1:] == (end,) else text.tokens
            print(f"--- beam {rank}: log p {text.log_p:.3f}, score {text.score:.4f} ---")
            print(prompt + "".join(stream_text(tokenizer, tokens, config.stop)))
