"""Masked language model (BERT-style): `python -m gpt masked [--preset=NAME] [--field=value …]`, or `… RUN`.

Masks random tokens of a text, and trains an encoder to predict them from both sides. Trains like `train`,
with its fields; or, given a run, only fills the gaps of --text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

import tinytensor as tt
from gpt.config import GPTConfig, TrainConfig
from gpt.console import parse_fields
from gpt.data.batches import Tokens, consecutive_blocks
from gpt.fields import check_types
from gpt.lessons.seq2seq import Encoder
from gpt.live.watch import WatchConfig
from gpt.presets import preset
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.chat_template import IGNORED
from gpt.training.command import configs_of, tell_files, train
from gpt.training.run import Run
from gpt.training.run_log import RunLog
from gpt.training.run_setup import refuse_fields
from gpt.training.stopping import exit_code
from gpt.weights.load import load, require_tokenizer
from tinytensor.distributed import Communicator

CHOSEN = 0.15  # share of tokens to predict
REPLACED, RANDOM = 0.8, 0.1  # share of those replaced by the mask, or by a random token
EXAMPLE = "To be, or n__ to be, that is the quest___"
_MODEL, _TRAIN = preset("shakespeare-char-cpu")
_BEGIN = (
    replace(_MODEL, position="rope"),
    replace(
        _TRAIN,
        out_dir="runs/masked",
        batch_size=24,  # a batch has few targets
        max_steps=1500,
        learning_rate=2e-3,
        min_learning_rate=2e-4,
        eval_interval=500,
    ),
)


def hide(ids: tt.Tensor, mask: int, generator: tt.Generator | None = None) -> tuple[tt.Tensor, tt.Tensor]:
    """Select 15 % of the tokens (B, T), at least one; replace 80 % of them by the mask, 10 % by random
    tokens.

    Returns:
        inputs, (B, T), and targets, (B, T): the selected tokens, -100 elsewhere.

    Source: Devlin et al. 2019, arXiv:1810.04805, appendix A.1.
    """
    draws = tt.rand(*ids.shape, device=ids.device, generator=generator)
    others = tt.randint(0, mask, ids.shape, device=ids.device, generator=generator)
    chosen = draws <= tt.maximum(draws.min(), CHOSEN)
    inputs = tt.where(draws < CHOSEN * (REPLACED + RANDOM), others, ids)
    inputs = tt.where(draws < CHOSEN * REPLACED, mask, inputs)
    return inputs, tt.where(chosen, ids, IGNORED)


def masked_scores(
    model: Encoder, tokens: Tokens, *, batch_size: int, batches: int, seed: int
) -> dict[str, float]:
    """Metrics on masked tokens of a text, in consecutive blocks, of which `batches` batches (0: all). The
    last id of the model's vocabulary is the mask.

    Returns:
        loss in nats per masked token; accuracy on them; commonest, the accuracy of always predicting the most
        frequent token.
    """
    mask, generator = model.config.vocab_size - 1, tt.Generator(seed)
    loss, right, counts = 0.0, 0, np.zeros(mask, np.int64)
    blocks = consecutive_blocks(tokens, model.config.block_size, batch_size)
    with model.evaluating():
        for block, _ in islice(blocks, batches or None):
            ids = tt.from_numpy(block).to(model.device)
            inputs, targets = hide(ids, mask, generator)
            logits = model(inputs)
            loss += tt.cross_entropy(logits.mT, targets, reduction="sum").item()
            said, wanted = [x.cpu().numpy() for x in (logits[..., :mask].argmax(-1), targets)]
            right += int((said == wanted).sum())
            counts += np.bincount(wanted[wanted != IGNORED], minlength=mask)
    total = int(counts.sum())
    return {"loss": loss / total, "accuracy": right / total, "commonest": float(counts.max() / total)}


class MaskedRun(Run):
    """Training run of a masked language model. The last id of its vocabulary is the mask."""

    command = "masked"
    kind = Encoder
    extra_tokens = 1
    model: Encoder

    def __init__(
        self, model_config: GPTConfig, train_config: TrainConfig, ranks: Communicator | None = None
    ) -> None:
        refuse_fields(train_config, ["sample_interval"], self.command)
        super().__init__(model_config, train_config, ranks)

    def loss(self, *batch: tt.Tensor) -> tt.Tensor:
        """Loss on masked tokens of a batch, with its autograd graph; the mask is sampled in each call."""
        return self.model.loss(*hide(batch[0], self.model_config.vocab_size - 1))

    def scores(self) -> dict[str, float]:
        """`masked_scores` on the validation split, or on its first `eval_batches`."""
        model, config = self.model, self.train_config
        assert self.val_tokens is not None
        size = max(config.batch_size, 16)
        return masked_scores(
            model, self.val_tokens, batch_size=size, batches=config.eval_batches, seed=config.seed
        )

    def evaluate(self) -> float:
        """Loss on masked tokens of the validation split; logs the accuracy."""
        found = self.scores()
        if self.ranks.rank == 0:
            RunLog(self.folder).write(step=self.step, accuracy=round(found["accuracy"], 4))
        return found["loss"]


def fill(model: Encoder, tokenizer: Tokenizer, text: str) -> str:
    """Fill the gaps of a text, each a _ for one masked token, in the order of confidence."""
    _require_gap(text)
    mask = model.config.vocab_size - 1
    ids = [i for part in text.split("_") for i in [*tokenizer.encode(part), mask]][:-1]
    while mask in ids:
        gaps = [place for place, i in enumerate(ids) if i == mask]
        with tt.no_grad():
            logits = model(tt.tensor([ids], device=model.device))[0][tt.tensor(gaps, device=model.device)]
        p = tt.softmax(logits[:, : tokenizer.vocab_size], -1).cpu().numpy()  # (gaps, V)
        surest = np.unravel_index(int(p.argmax()), p.shape)
        ids[gaps[surest[0]]] = int(surest[1])
    return tokenizer.decode(ids)


def _require_gap(text: str) -> None:
    if "_" not in text:
        raise tt.ArgumentError(
            f"masked: no gap in {text[:40]!r}", why="gaps are written as _", fix=f"for example {EXAMPLE!r}"
        )


@dataclass(frozen=True)
class FillConfig:
    """A text with gaps."""

    text: str = ""  # a text to fill; _ is a gap of one token

    def __post_init__(self) -> None:
        check_types(self)
        if self.text:
            _require_gap(self.text)


def main(argv: Sequence[str]) -> int:
    """The command `python -m gpt masked [RUN]`, with the fields of `train` and of FillConfig."""
    if argv and not argv[0].startswith("--"):
        folder, (config,) = argv[0], parse_fields(argv[1:], FillConfig())
        if not config.text:
            raise tt.ArgumentError(
                "masked: no --text",
                why="with a run, the command fills the gaps of a text",
                fix=f"--text='{EXAMPLE}'",
            )
    else:
        model_config, train_config, watch, config = configs_of(
            argv, _BEGIN, WatchConfig(), FillConfig(), name="masked", about=__doc__
        )
        run = train(model_config, train_config, kind=MaskedRun, watch=watch)
        if run.stopped_by:
            return exit_code(run.stopped_by)
        if run.ranks.rank > 0:
            return 0
        folder = str(run.folder)
        _report(run)
    model, tokenizer = require_tokenizer(load(folder, kind=Encoder), "masked", folder)
    assert isinstance(model, Encoder)
    if config.text:
        print(f"{config.text!r}\n→ {fill(model, tokenizer, config.text)!r}")
    return 0


def _report(run: Run) -> None:
    if isinstance(run, MaskedRun) and run.has_validation:
        found = run.scores()
        print(
            f"found  {found['accuracy']:.1%} of the hidden tokens of the validation text, loss "
            f"{found['loss']:.3f}; saying always the commonest would find {found['commonest']:.1%}"
        )
    tell_files(run.folder, "masked", run.folder, f"--text={EXAMPLE}")
