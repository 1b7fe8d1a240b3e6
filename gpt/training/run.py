"""Run: data, tokenizer, model and optimizer of two configs, and their checkpoints.

A run directory has config.json, tokenizer.json, data/ (token files of a text), log.jsonl, step_N/
(checkpoints), latest and best. Independent of the training loop.
"""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

import tinytensor as tt
from gpt.config import GPTConfig, TrainConfig
from gpt.console import note
from gpt.data.batches import Batches, StepBatches
from gpt.data.contents import hash_of_tokenizer, require_same
from gpt.fields import to_dict
from gpt.generation.generate import generate
from gpt.models.gpt import GPT
from gpt.tokenizers.tokenizer_config import write_config
from gpt.training.measures import evaluate
from gpt.training.optimizer_setup import optimizer_of
from gpt.training.run_lock import alone_in
from gpt.training.run_setup import (
    join_state,
    refuse_other_ways,
    refuse_to_overwrite,
    resumed_model,
    split_state,
    splits,
    with_vocabulary,
)
from gpt.weights.checkpoint import (
    Checkpoint,
    list_checkpoints,
    newest_checkpoint,
    prune_checkpoints,
    reading_state,
    require_kind,
    save_checkpoint,
)
from gpt.weights.load import load_weights, open_source
from gpt.weights.run import CONFIG, TOKENIZER, no_such_run
from tinytensor.distributed import Communicator, LocalCommunicator
from tinytensor.files import atomic_write
from tinytensor.optim import GradScaler


class Run:
    """State of a training run, from two configs or from a run directory. Subclasses train other models.

    Attributes:
        train_tokens, val_tokens: the splits; val_tokens is None without a validation split.
        tokenizer: None for token files without one (nanoGPT's).
        seen: metrics of the last batch beside the loss, for the log.
        best_loss: lowest validation loss so far, or None.
        stopped_by: number of the signal that stopped the training early, or 0.
    """

    command = "train"  # command that resumes it
    kind: type[GPT] = GPT  # class of the model
    extra_tokens = 0  # ids after those of the tokenizer
    planned = True  # whether the FLOPs of a token are those of `plan`
    batches: StepBatches
    seen: Mapping[str, Any] = {}
    stopped_by = 0
    ranks: Communicator = LocalCommunicator()

    def __init__(
        self, model_config: GPTConfig, train_config: TrainConfig, ranks: Communicator | None = None
    ) -> None:
        self.train_config = train_config
        self.ranks = self.ranks if ranks is None else ranks
        tt.zeros(0, device=train_config.device)  # fail early if the device is not available
        self.folder = Path(train_config.out_dir)
        self.step = 0
        self.best_loss: float | None = None
        origin, resumed, source = train_config.init_from, None, None
        if origin == "resume":
            if not list_checkpoints(self.folder):
                raise no_such_run(str(self.folder), "train --init_from=resume")
            resumed = newest_checkpoint(self.folder, note if self.ranks.rank == 0 else str)
        elif origin != "scratch":
            source = open_source(origin, kind=self.kind.__name__)
        if resumed is not None:
            require_kind(resumed.state, self.kind.__name__, resumed.folder)
            with reading_state(resumed.folder):
                model_config = resumed_model(resumed, model_config)
                refuse_other_ways(resumed, train_config)
            self.read_data(prepared_before=True)
        else:
            with alone_in(self.folder, self.command) if self.ranks.rank == 0 else nullcontext():
                refuse_to_overwrite(self.folder, self.command)
                self.read_data(prepared_before=self.ranks.rank > 0)
        self.contents = self.find_contents() if self.ranks.rank == 0 else {}
        ids = self.train_tokens if self.tokenizer is None else self.tokenizer
        self.model_config = with_vocabulary(
            model_config, ids.vocab_size, train_config.data, self.extra_tokens
        )
        tt.manual_seed(train_config.seed)
        self.model = self.kind(self.model_config).to(train_config.device)
        if source is not None:
            load_weights(self.model, source)
        self.model.checkpoint_blocks = train_config.checkpoint_blocks
        self.optimizer = optimizer_of(self.model, train_config)
        self.scaler = GradScaler(enabled=train_config.dtype == "float16")
        self.batches = self.make_batches()
        if resumed is not None:
            with reading_state(resumed.folder):
                self._restore(resumed)

    def read_data(self, prepared_before: bool) -> None:
        """Set tokenizer and data; converts text to token files once."""
        found = splits(self.train_config, self.folder / "data", prepared_before)
        self.train_config, self.tokenizer, self.train_tokens, self.val_tokens = found

    def make_batches(self) -> StepBatches:
        """Batches of the training data, from step 0."""
        config, model = self.train_config, self.model_config
        sizes = config.batch_size, model.block_size, config.batch_order
        return Batches(self.train_tokens, *sizes, seed=config.seed, vocab_size=model.vocab_size)

    def find_contents(self) -> dict[str, str]:
        """Hashes of the data and the tokenizer, which must match in a resumed run. Reads all data once."""
        files = {"training data": self.train_tokens, "validation data": self.val_tokens}
        found = {name: file.digest() for name, file in files.items() if file is not None}
        return found if self.tokenizer is None else {**found, "tokenizer": hash_of_tokenizer(self.tokenizer)}

    def describe_data(self) -> str:
        """Size of the data, as text."""
        val = f"{len(self.val_tokens):,}" if self.val_tokens is not None else "no"
        return f"{len(self.train_tokens):,} training tokens, {val} validation tokens"

    @property
    def captures(self) -> bool:
        """Whether steps are captured: see `TrainConfig.capture`."""
        config = self.train_config
        return config.capture and self.ranks.size == 1 and config.dtype != "float16"

    def loss(self, *batch: tt.Tensor) -> tt.Tensor:
        """Loss of a batch, inputs and targets of (B, T) each, with its autograd graph."""
        return self.model.loss(*batch)

    def sample(self) -> str:
        """Sampled text, from a separate generator, which leaves training unaffected."""
        assert self.tokenizer is not None
        generator = tt.Generator(self.train_config.seed + self.step)
        prompt = [int(self.train_tokens.ids[0])]
        with self.model.evaluating():
            ids = list(generate(self.model, prompt, self.train_config.sample_tokens, generator=generator))
        return self.tokenizer.decode(prompt + ids)

    @property
    def has_validation(self) -> bool:
        """Whether there is validation data."""
        return self.val_tokens is not None

    def evaluate(self) -> float:
        """Loss on the validation split, or on its first `eval_batches`."""
        assert self.val_tokens is not None
        rows = max(self.train_config.batch_size, 16)
        return evaluate(self.model, self.val_tokens, rows, self.train_config.eval_batches)

    def configs(self) -> dict[str, Any]:
        """JSON values of config.json."""
        return {"model": to_dict(self.model_config), "train": to_dict(self.train_config)}

    def write_config(self) -> None:
        """Write configs and tokenizer into the run directory, which makes it self-contained."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.folder / CONFIG) as file:
            file.write(json.dumps(self.configs(), indent=2).encode())
        if self.tokenizer is not None:
            self.tokenizer.save(self.folder / TOKENIZER)
            if self.tokenizer.chat_template:
                write_config(self.tokenizer, self.folder, self.model_config.block_size)

    # ---- checkpoints ------------------------------------------------------------------------------------

    def save(self, *, best: bool = False) -> Path:
        """Save a checkpoint atomically; a run resumed from it continues bitwise equal, on any number of
        ranks. All ranks must call this; rank 0 writes.
        """
        weights = {name: p.cpu().numpy() for name, p in self.model.state_dict().items()}
        arrays, scalars = split_state(self.optimizer.state_dict())
        if self.ranks.rank > 0:
            return self.folder / f"step_{self.step}"
        state = {
            "kind": self.kind.__name__,
            "model": to_dict(self.model_config),
            "train": to_dict(self.train_config),
            "batches": self.batches.state_dict(),
            "generator": tt.default_generator.get_state(),
            "optimizer": scalars,
            "scaler": self.scaler.state_dict(),
            "best_loss": self.best_loss,
            "contents": self.contents,
        }
        keep = self.train_config.keep_checkpoints
        return save_checkpoint(self.folder, self.step, weights, arrays, state, keep=keep, best=best)

    def finish_save(self) -> None:
        """Do what the last save left undone if it was killed. The caller has locked the run directory."""
        prune_checkpoints(self.folder, self.step, keep=self.train_config.keep_checkpoints)

    def _restore(self, checkpoint: Checkpoint) -> None:
        if self.ranks.rank == 0:
            require_same(checkpoint.state["contents"], self.contents, self.command, self.folder)
        self.step = checkpoint.step
        best = checkpoint.state["best_loss"]
        self.best_loss = None if best is None else float(best)
        self.model.load_state_dict({k: tt.tensor(np.asarray(a)) for k, a in checkpoint.weights.items()})
        wanted = [{k: v for k, v in g.items() if k != "params"} for g in self.optimizer.param_groups]
        self.optimizer.load_state_dict(join_state(checkpoint.optimizer, checkpoint.state["optimizer"]))
        for group, options in zip(self.optimizer.param_groups, wanted, strict=True):
            group.update(options)  # the present config overrides the saved options
        self.scaler.load_state_dict(checkpoint.state["scaler"])
        self.batches.load_state_dict(checkpoint.state["batches"])
        tt.default_generator.set_state(checkpoint.state["generator"])
