"""Encoder-decoder translation: `python -m gpt translate [--data=TASK] [--field=value …]`, or `… RUN`.

--data is reverse, words and the same words backwards, or a file of lines like {"source": "…", "target": "…"}.
A tenth of the pairs is held out; the final report has the exact-match accuracy on them. Trains like `train`,
with its fields; or, given a run, only translates --text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tinytensor as tt
from gpt.config import GPTConfig, TrainConfig
from gpt.console import parse_fields
from gpt.data.contents import hash_of_tokenizer
from gpt.data.examples import padded, split
from gpt.data.text_pairs import PairBatches, checksum, pairs_of
from gpt.fields import check_types
from gpt.generation.generate import generate_rows
from gpt.generation.sampling import Sampler, SamplingConfig
from gpt.lessons.seq2seq import EncoderDecoder
from gpt.live.watch import WatchConfig
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.tokenizer import choose
from gpt.training.command import configs_of, tell_files, train
from gpt.training.run import Run
from gpt.training.run_log import RunLog
from gpt.training.run_setup import refuse_fields, refuse_ranks
from gpt.training.stopping import exit_code
from gpt.weights.load import load, require_tokenizer
from tinytensor.distributed import Communicator

ROWS = 250  # texts per batch
_BEGIN = (
    GPTConfig(vocab_size=0, block_size=72, n_layer=2, n_head=4, n_embd=64),
    TrainConfig(
        data="reverse",
        out_dir="runs/translate",
        batch_size=64,
        max_steps=2000,
        learning_rate=2e-3,
        min_learning_rate=2e-4,
        weight_decay=0.0,
        eval_interval=500,
        log_interval=50,
    ),
)


def end_of(tokenizer: Tokenizer) -> int:
    """Id that ends a text: the separator, or a newline if the vocabulary has none."""
    return tokenizer.encode("\n")[0] if tokenizer.separator is None else tokenizer.separator


def translate(model: EncoderDecoder, tokenizer: Tokenizer, texts: Sequence[str]) -> list[str]:
    r"""Translate texts by greedy decoding, with KV caches of source and target. A translation that does not
    end is truncated at the context length.

    Example:
        >>> from gpt.tokenizers.char import CharTokenizer
        >>> model = EncoderDecoder(GPTConfig(vocab_size=3, block_size=8, n_layer=1, n_head=1, n_embd=4))
        >>> len(translate(model.eval(), CharTokenizer("ab\n"), ["a", "bb"]))
        2
    """
    mark = end_of(tokenizer)
    sources = [[*tokenizer.encode(text), mark] for text in texts]
    ids, lengths = [
        tt.tensor(x, device=model.device) for x in (padded(sources, 0), [len(s) for s in sources])
    ]
    with tt.no_grad():
        model.read(ids, lengths)

    greedy = Sampler(SamplingConfig(temperature=0), tokenizer.vocab_size)
    found: list[list[int]] = [[] for _ in texts]
    going_on = set(range(len(texts)))
    for row, token in generate_rows(model, [[mark]] * len(texts), model.config.block_size, greedy):
        if row in going_on and token == mark:
            going_on.remove(row)
            if not going_on:
                break
        elif row in going_on:
            found[row].append(token)
    return [tokenizer.decode(ids) for ids in found]


class TranslateRun(Run):
    """Training run of an encoder-decoder on text pairs; `data` is an argument of `pairs_of`."""

    command = "translate"
    kind = EncoderDecoder
    planned = captures = False  # there is a source, too, and batches have different lengths
    model: EncoderDecoder
    tokenizer: Tokenizer

    def __init__(
        self, model_config: GPTConfig, train_config: TrainConfig, ranks: Communicator | None = None
    ) -> None:
        unused = ["pattern", "batch_order", "checkpoint_blocks", "sample_tokens"]
        refuse_fields(train_config, unused, self.command)
        refuse_ranks(ranks or self.ranks, self.command)  # the last batch of an epoch may have too few rows
        super().__init__(model_config, train_config, ranks)
        self.held_out = self._batches_of(self.held_pairs)

    def read_data(self, prepared_before: bool) -> None:
        """Set tokenizer and pairs."""
        config = self.train_config
        pairs = pairs_of(config.data, config.seed)
        self.pairs, self.held_pairs = split(pairs, 0.1, config.seed)
        self.pairs_hash = checksum(pairs)
        self.tokenizer = choose(config.tokenizer, ["\n", *[text for pair in pairs for text in pair]])

    def find_contents(self) -> dict[str, str]:
        """Hashes of the data and the tokenizer, which must match in a resumed run."""
        return {"training data": self.pairs_hash, "tokenizer": hash_of_tokenizer(self.tokenizer)}

    def describe_data(self) -> str:
        """Number of pairs, and the first one, as text."""
        source, target = self.pairs[0]
        return f"{len(self.pairs):,} pairs, {len(self.held_pairs):,} held out: {source!r} → {target!r}"

    def make_batches(self) -> PairBatches:
        """Batches of the training pairs, from step 0."""
        return self._batches_of(self.pairs)

    def _batches_of(self, pairs: Sequence[tuple[str, str]]) -> PairBatches:
        size, seed = self.train_config.batch_size, self.train_config.seed
        mark = end_of(self.tokenizer)
        return PairBatches(pairs, self.tokenizer, mark, size, self.model_config.block_size, seed)

    def loss(self, *batch: tt.Tensor) -> tt.Tensor:
        """Mean cross-entropy of the target tokens, with its autograd graph."""
        inputs, targets, source, lengths = batch
        self.model.read(source, lengths)
        return self.model.loss(inputs, targets)

    @property
    def has_validation(self) -> bool:
        """True: some pairs are always held out."""
        return True

    def evaluate(self) -> float:
        """Loss per token on held-out pairs; logs the exact-match accuracy."""
        total, count = 0.0, 0
        with self.model.evaluating():
            for first in range(0, self.evaluated, ROWS):
                numbers = range(first, min(first + ROWS, self.evaluated))
                arrays = self.held_out.arrays(numbers)
                targets = int((arrays[1] >= 0).sum())
                batch = [tt.from_numpy(x).to(self.model.device) for x in arrays]
                total += self.loss(*batch).item() * targets
                count += targets
        RunLog(self.folder).write(step=self.step, exact=round(self.exact(), 4))
        return total / count

    @property
    def evaluated(self) -> int:
        """Number of held-out pairs in an evaluation: all, or `eval_batches` batches."""
        asked = self.train_config.eval_batches * self.train_config.batch_size
        return min(asked or len(self.held_pairs), len(self.held_pairs))

    def exact(self) -> float:
        """Exact-match accuracy on held-out texts."""
        pairs, right = self.held_pairs[: self.evaluated], 0
        for first in range(0, len(pairs), ROWS):
            part = pairs[first : first + ROWS]
            said = self.translate([source for source, _ in part])
            right += sum([text == target for text, (_, target) in zip(said, part, strict=True)])
        return right / len(pairs)

    def translate(self, texts: Sequence[str]) -> list[str]:
        """Translations by the present model, in evaluation mode."""
        with self.model.evaluating():
            return translate(self.model, self.tokenizer, texts)

    def sample(self) -> str:
        """First held-out texts and their translations."""
        texts = [source for source, _ in self.held_pairs[:5]]
        return "\n".join([f"{s!r} → {t!r}" for s, t in zip(texts, self.translate(texts), strict=True)])


@dataclass(frozen=True)
class TranslateConfig:
    """A text to translate."""

    text: str = ""  # a text to translate

    def __post_init__(self) -> None:
        check_types(self)


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt translate [RUN]`, with the fields of `train` and of TranslateConfig."""
    if argv and not argv[0].startswith("--"):
        folder, (config,) = Path(argv[0]), parse_fields(argv[1:], TranslateConfig())
        if not config.text:
            raise tt.ArgumentError(
                "translate: no --text", why="with a run, the command translates a text", fix="--text=hello"
            )
    else:
        model_config, train_config, watch, config = configs_of(
            argv, _BEGIN, WatchConfig(), TranslateConfig(), name="translate", about=__doc__
        )
        run = train(model_config, train_config, kind=TranslateRun, watch=watch)
        if run.stopped_by:
            return exit_code(run.stopped_by)
        folder = run.folder
        _report(run)
    if config.text:
        model, tokenizer = require_tokenizer(load(folder, kind=EncoderDecoder), "translate", folder)
        assert isinstance(model, EncoderDecoder)
        print(f"{config.text!r} → {translate(model, tokenizer, [config.text])[0]!r}")
    return 0


def _report(run: Run) -> None:
    """Print the exact-match accuracy on held-out texts, and some translations."""
    assert isinstance(run, TranslateRun)
    texts = run.held_pairs[:5]
    for (source, target), said in zip(texts, run.translate([s for s, _ in texts]), strict=True):
        print(f"{source!r} → {said!r}" + ("" if said == target else f", where {target!r} is right"))
    print(f"exact  {run.exact():.2%} of {run.evaluated:,} held-out texts")
    tell_files(run.folder, "translate", run.folder, f"--text={texts[0][0]}")
