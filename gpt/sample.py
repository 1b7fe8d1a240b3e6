"""`python -m gpt sample RUN`: a trained model writes, and shows how it chose each token."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import tinytensor as tt
from gpt.fields import check_types, describe_fields, parse_overrides
from gpt.generate import generate_rows
from gpt.model import GPT
from gpt.run import load_model
from gpt.sampling import Sampler, SamplingConfig
from gpt.text_stream import TextStream
from gpt.vocabulary import Tokenizer

__all__ = ["SampleConfig", "main", "write"]

DEFAULT = SamplingConfig(temperature=0.8)


@dataclass(frozen=True)
class SampleConfig:
    """What is written, and how long.

    Args:
        prompt: text to continue; several are continued side by side.
        max_new_tokens: how many tokens follow each prompt.
        num_samples: texts for each prompt.
        stop: text that ends a sample, and is not printed; there may be several.
        ignore_end: write on after the token that ends a document.
        seed: of the draws; each further text takes the next seed.
        checkpoint: of a run: best, latest, or a step.
        no_cache: read everything anew for each token.

    Raises:
        ArgumentError: a field of a wrong type or outside its domain.

    Example:
        >>> SampleConfig(prompt=("Once", "The"), num_samples=2).texts
        4
    """

    prompt: tuple[str, ...] = ("\n",)
    max_new_tokens: int = 500
    num_samples: int = 1
    stop: tuple[str, ...] = ()
    ignore_end: bool = False
    seed: int = 1337
    checkpoint: str = "best"
    no_cache: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        for name, least in (("max_new_tokens", 0), ("num_samples", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise tt.ArgumentError(
                    f"SampleConfig: {name}={getattr(self, name)}",
                    why=f"it is {least} or more",
                    fix=f"for example {name}={least + 1}",
                )

    @property
    def texts(self) -> int:
        """Number of texts in all."""
        return len(self.prompt) * self.num_samples


def write(
    model: GPT, tokenizer: Tokenizer, config: SampleConfig, sampler: Sampler
) -> Iterator[tuple[int, str]]:
    """Let a model write texts side by side.

    Args:
        model: in evaluation mode.
        tokenizer: the model's.
        config: prompts, lengths and seeds.
        sampler: what chooses the tokens.

    Returns:
        Iterator of (number of the text, what it goes on with); num_samples texts of the first prompt come
        first.

    Raises:
        ArgumentError: an empty prompt, or one with characters that the tokenizer does not know.
    """
    prompts = [tokenizer.encode(text) for text in config.prompt for _ in range(config.num_samples)]
    generators = [tt.Generator(config.seed + row) for row in range(len(prompts))]
    streams = {row: TextStream(tokenizer, config.stop) for row in range(len(prompts))}  # those that go on
    end = None if config.ignore_end else tokenizer.separator
    tokens = generate_rows(
        model, prompts, config.max_new_tokens, sampler, generators=generators, use_cache=not config.no_cache
    )
    for row, token in tokens:
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
    """The command `python -m gpt sample RUN`.

    Args:
        argv: the run directory, and fields as `--field=value`; `--help` lists them.

    Returns:
        Exit code 0.

    Raises:
        FormatError: there is no usable checkpoint.
        ArgumentError: the run has no tokenizer, or a field is outside its domain.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(_help())
        return 0
    run, config, sampling = argv[0], *parse_overrides(argv[1:], SampleConfig(), DEFAULT)
    model, tokenizer = _load(run, config.checkpoint)
    sampler = Sampler(sampling, model.config.vocab_size)
    texts = write(model, tokenizer, config, sampler)
    if config.texts == 1:
        sys.stdout.write(config.prompt[0])
        for _, piece in texts:
            sys.stdout.write(piece)
            sys.stdout.flush()
        print()
    else:
        _print_all(config, texts)
    return 0


def _print_all(config: SampleConfig, texts: Iterator[tuple[int, str]]) -> None:
    """Print several texts, one after the other, once they are complete."""
    whole = [text for text in config.prompt for _ in range(config.num_samples)]
    for row, piece in texts:
        whole[row] += piece
    for row, text in enumerate(whole):
        print(f"--- sample {row + 1} ---\n{text}")


def _load(path: str, checkpoint: str) -> tuple[GPT, Tokenizer]:
    model, tokenizer = load_model(path, int(checkpoint) if checkpoint.isdecimal() else checkpoint)
    if tokenizer is None:
        raise tt.ArgumentError(
            f"sample: {path} has no tokenizer.json",
            why="the run was trained on token files that came without one",
            fix=f"copy the tokenizer to {path}/tokenizer.json",
        )
    return model, tokenizer


def _help() -> str:
    return (
        "usage: python -m gpt sample RUN [--field=value ...]\n\n"
        "Let a trained model write. RUN is a run directory, for example runs/demo.\n\n"
        f"{describe_fields(SampleConfig(), DEFAULT)}"
    )
