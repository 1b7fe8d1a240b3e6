"""Run: data, tokenizer, model and optimizer of two configs, and their checkpoints.

A run directory has config.json, tokenizer.json, data/ (token files of a text), log.jsonl, step_N/
(checkpoints), latest and best. Independent of the training loop.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import tinytensor as tt
from gpt.config import GPTConfig, TrainConfig
from gpt.console import counted, note
from gpt.data.batches import Batches, StepBatches
from gpt.data.command import embedded_shakespeare
from gpt.data.contents import hash_of_tokenizer, require_same
from gpt.data.document_batches import DocumentBatches
from gpt.data.prepare import describe_files, prepare, prepare_text, read_texts
from gpt.data.token_file import TokenFile, open_split
from gpt.fields import from_dict, to_dict
from gpt.models.gpt import GPT
from gpt.tokenizers.base import Tokenizer
from gpt.tokenizers.tokenizer import load as load_tokenizer
from gpt.tokenizers.tokenizer_config import write_config
from gpt.training.optimizer_setup import optimizer_of
from gpt.training.run_lock import alone_in
from gpt.training.spikes import SpikeGuard
from gpt.training.validation_loss import evaluate
from gpt.weights.checkpoint import (
    Checkpoint,
    list_checkpoints,
    newest_checkpoint,
    prune_checkpoints,
    reading_state,
    require_kind,
    save_checkpoint,
)
from gpt.weights.init_from import read_configs, require_data, require_origin
from gpt.weights.initial_weights import load_weights
from gpt.weights.sources import is_foreign, named_tokenizer, open_source
from gpt.weights.trained import CONFIG, TOKENIZER
from tinytensor.distributed import Communicator, LocalCommunicator
from tinytensor.files import atomic_write
from tinytensor.interop.safetensors_file import Array
from tinytensor.optim import GradScaler

_RAW = "weights."  # prefix of the raw weights next to the optimizer state, if the model saved is the average


class Run:
    """State of a training run, from two configs or from a run directory.

    Subclasses train other kinds of models.

    Args:
        model_config: model config; a vocab_size of 0 is resolved by the tokenizer.
        train_config: data, seeds and sizes; `init_from` selects the initial weights.
        ranks: communicator; rank 0 prepares the data before the others construct their Run.

    Attributes:
        model, optimizer, scaler, batches: state of the training step.
        average: model with the moving average of the weights, or None.
        spikes: spike detector, or None.
        train_tokens, val_tokens: the splits; val_tokens is None without a validation split.
        tokenizer: None for token files without one (nanoGPT's).
        step: number of optimizer steps done.
        best_loss: lowest validation loss so far, or None.
        stopped_by: number of the signal that stopped the training early, or 0.
    """

    command = "train"  # command that resumes it
    kind: type[GPT] = GPT  # class of the model
    extra_tokens = 0  # ids after those of the tokenizer
    batches: StepBatches
    stopped_by = 0
    average: GPT | None = None
    spikes: SpikeGuard | None = None
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
        require_origin(train_config)
        if train_config.init_from not in ("scratch", "resume") and is_foreign(train_config.init_from):
            require_kind({}, self.kind.__name__, Path(train_config.init_from))
            open_source(train_config.init_from)  # fail early
        resumed = None
        if train_config.init_from == "resume":
            resumed = newest_checkpoint(self.folder, note if self.ranks.rank == 0 else str)
        if resumed is not None:
            require_kind(resumed.state, self.kind.__name__, resumed.folder)
            with reading_state(resumed.folder):
                model_config = _resumed_model(resumed, model_config)
                _refuse_other_ways(resumed, train_config)
            self.read_data(prepared_before=True)
        else:
            with alone_in(self.folder, self.command) if self.ranks.rank == 0 else nullcontext():
                refuse_to_overwrite(self.folder, self.command)
                self.read_data(prepared_before=self.ranks.rank > 0)
        self.contents = self.find_contents() if self.ranks.rank == 0 else {}
        if self.tokenizer is not None:
            self._require_prompt(self.tokenizer)
        self.model_config = self._with_vocabulary(model_config)
        tt.manual_seed(train_config.seed)
        self.model = self.kind(self.model_config).to(train_config.device)
        if resumed is None and train_config.init_from != "scratch":
            load_weights(self.model, train_config.init_from)
        self.model.checkpoint_blocks = train_config.checkpoint_blocks
        self.optimizer = optimizer_of(self.model, train_config)
        if train_config.spike_deviations:
            self.spikes = SpikeGuard(train_config.spike_deviations, train_config.spike_window)
        if train_config.ema_decay:
            self.average = self.kind(self.model_config, tt.Generator(0)).to(train_config.device)
            self.average.load_state_dict(self.model.state_dict())
            self.share = tt.tensor(0.0, device=train_config.device)  # of the weights in the average
        self.scaler = GradScaler(enabled=train_config.dtype == "float16")
        self.batches = self.make_batches()
        if resumed is not None:
            with reading_state(resumed.folder):
                self._restore(resumed)

    def read_data(self, prepared_before: bool) -> None:
        """Set tokenizer and data; converts text to token files once."""
        self.tokenizer, self.train_tokens, self.val_tokens = self._data(prepared_before)

    def make_batches(self) -> StepBatches:
        """Batches of the training data, from step 0."""
        config = self.train_config
        if config.batch_order == "documents":
            return self._document_batches()
        return Batches(
            self.train_tokens,
            config.batch_size,
            self.model_config.block_size,
            config.batch_order,
            stride=config.batch_stride or None,
            seed=config.seed,
            vocab_size=self.model_config.vocab_size,
        )

    def _document_batches(self) -> DocumentBatches:
        config = self.train_config
        if self.tokenizer is None or self.tokenizer.separator is None:
            raise tt.ArgumentError(
                "train: --batch_order=documents, but the tokens have no separator of documents",
                why="it is the token <|endoftext|>, which the tokenizer lacks",
                fix="prepare the data with a tokenizer that has it: python -m gpt tokenizer train",
            )
        return DocumentBatches(
            self.train_tokens,
            self.tokenizer.separator,
            config.batch_size,
            self.model_config.block_size,
            seed=config.seed,
            vocab_size=self.model_config.vocab_size,
        )

    def find_contents(self) -> dict[str, str]:
        """Hashes of the data and the tokenizer, which must match in a resumed run. Reads all data once."""
        files = {"training data": self.train_tokens, "validation data": self.val_tokens}
        found = {name: file.digest() for name, file in files.items() if file is not None}
        return found if self.tokenizer is None else {**found, "tokenizer": hash_of_tokenizer(self.tokenizer)}

    def describe_data(self) -> str:
        """Size of the data, as text."""
        val = f"{len(self.val_tokens):,}" if self.val_tokens is not None else "no"
        found = f"{len(self.train_tokens):,} training tokens, {val} validation tokens"
        if isinstance(self.batches, DocumentBatches):
            documents = counted(self.batches.documents, "document")
            return f"{found}; {documents} in rows, {self.batches.cropped:.1%} of the tokens are cropped"
        return found

    @property
    def captures(self) -> bool:
        """Whether steps are captured: see `TrainConfig.capture`."""
        config = self.train_config
        return config.capture and self.ranks.size == 1 and config.dtype != "float16"

    def describe(self) -> str:
        """Summary in four lines."""
        model, config, size = self.model_config, self.train_config, self.ranks.size
        products: str = config.dtype
        if config.tf32:
            products = "TF32" if config.dtype == "float32" else f"{config.dtype}, those of float32 in TF32"
        return (
            f"model  {counted(self.model.num_parameters(), 'parameter')}: {counted(model.n_layer, 'layer')}, "
            f"{counted(model.n_head, 'head')}, "
            f"{model.n_embd} wide, context {model.block_size}, vocabulary {model.vocab_size}\n"
            f"data   {self.describe_data()}\n"
            f"run    steps {self.step} to {config.max_steps}, "
            f"{counted(config.sequences_per_step, 'sequence')} a step, seed {config.seed}, "
            f"into {self.folder}\n"
            f"device {config.device}, products in {products}"
            + (", captured steps" if self.captures else "")
            + (f", {size} ranks of {counted(tt.get_num_threads(), 'thread')}" if size > 1 else "")
        )

    def _with_vocabulary(self, config: GPTConfig) -> GPTConfig:
        """Config with vocab_size resolved."""
        size = self.train_tokens.vocab_size if self.tokenizer is None else self.tokenizer.vocab_size
        if size is not None:
            return config.with_vocab_size(size + self.extra_tokens)
        if config.vocab_size:
            return config
        raise tt.ArgumentError(
            f"train: the vocabulary of {self.train_tokens.path} is not known",
            why="the token files have neither meta.json nor a tokenizer",
            fix="set its size (GPT-2: --vocab_size=50257; nanoGPT's shakespeare_char: 65), "
            "or the tokenizer: --tokenizer=tokenizer.json",
        )

    def _data(self, prepared_before: bool) -> tuple[Tokenizer | None, TokenFile, TokenFile | None]:
        """Tokenizer and both splits; converts text to token files once."""
        config = self.train_config
        require_data(config)
        source = Path(config.data)
        if config.data != "shakespeare" and (source / "train.bin").is_file():
            saved = source / TOKENIZER
            named = config.tokenizer not in ("char", "word")
            path = saved if saved.is_file() else Path(config.tokenizer) if named else None
            tokenizer = None if path is None else load_tokenizer(path)
            if path is not None:
                self.train_config = replace(config, tokenizer=str(path))
            val = open_split(source, "val") if (source / "val.bin").is_file() else None
            return tokenizer, open_split(source, "train"), val
        prepared = self.folder / "data"
        if prepared_before:
            val = open_split(prepared, "val") if (prepared / "val.bin").is_file() else None
            return load_tokenizer(prepared / TOKENIZER), open_split(prepared, "train"), val
        if config.data == "shakespeare":
            text = embedded_shakespeare()
            tokenizer = named_tokenizer(config.tokenizer, text)
            self._require_prompt(tokenizer)
            return (tokenizer, *prepare_text(text, tokenizer, prepared))
        if source.is_dir():
            note(describe_files(source, config.pattern))
        tokenizer = named_tokenizer(config.tokenizer, read_texts(config.data, config.pattern))
        self._require_prompt(tokenizer)
        return (tokenizer, *prepare(config.data, tokenizer, prepared, pattern=config.pattern))

    def _require_prompt(self, tokenizer: Tokenizer) -> None:
        """Fail early, before files are written, if the prompt of the samples cannot be encoded."""
        if self.train_config.sample_interval:
            tokenizer.encode(self.train_config.sample_prompt)

    def loss(self, *batch: tt.Tensor) -> tt.Tensor:
        """Loss of a batch, inputs and targets of (B, T) each, with its autograd graph."""
        return self.model.loss(*batch)

    @property
    def has_validation(self) -> bool:
        """Whether there is validation data."""
        return self.val_tokens is not None

    def evaluate(self) -> float:
        """Loss on the validation split, or on its first `eval_batches`."""
        assert self.val_tokens is not None
        rows = max(self.train_config.batch_size, 16)
        return evaluate(self.shown, self.val_tokens, rows, self.train_config.eval_batches)

    @property
    def shown(self) -> GPT:
        """Model for evaluation, samples and checkpoints: the averaged one if enabled."""
        return self.model if self.average is None else self.average

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
        weights = {name: p.cpu().numpy() for name, p in self.shown.state_dict().items()}
        arrays, scalars = split_state(self.optimizer.state_dict())
        if self.ranks.rank > 0:
            return self.folder / f"step_{self.step}"
        if self.average is not None:
            arrays |= {f"{_RAW}{name}": p.cpu().numpy() for name, p in self.model.state_dict().items()}
        state = {
            "kind": self.kind.__name__,
            "model": to_dict(self.model_config),
            "train": to_dict(self.train_config),
            "batches": self.batches.state_dict(),
            "generator": tt.default_generator.get_state(),
            "optimizer": scalars,
            "scaler": self.scaler.state_dict(),
            "spikes": None if self.spikes is None else self.spikes.state_dict(),
            "best_loss": self.best_loss,
            "contents": self.contents,
        }
        keep = self.train_config.keep_checkpoints
        return save_checkpoint(self.folder, self.step, weights, arrays, state, keep=keep, best=best)

    def finish_save(self) -> None:
        """Do what the last save left undone if it was killed. The caller has locked the run directory."""
        prune_checkpoints(self.folder, self.step, keep=self.train_config.keep_checkpoints)

    def _restore(self, checkpoint: Checkpoint) -> None:
        if self.ranks.rank == 0:  # older runs saved only the hash of train.bin, if meta.json had one
            before = {"training data": checkpoint.state["sha256"]} if checkpoint.state.get("sha256") else {}
            saved = checkpoint.state.get("contents", before)
            require_same(saved, self.contents, self.command, self.folder)
        self.step = checkpoint.step
        best = checkpoint.state["best_loss"]
        self.best_loss = None if best is None else float(best)
        raw = {k.removeprefix(_RAW): a for k, a in checkpoint.optimizer.items() if k.startswith(_RAW)}
        for model, arrays in ((self.model, raw or checkpoint.weights), (self.average, checkpoint.weights)):
            if model is not None:
                model.load_state_dict({k: tt.tensor(np.asarray(a)) for k, a in arrays.items()})
        wanted = [{k: v for k, v in g.items() if k != "params"} for g in self.optimizer.param_groups]
        kept = {k: a for k, a in checkpoint.optimizer.items() if not k.startswith(_RAW)}
        self.optimizer.load_state_dict(join_state(kept, checkpoint.state["optimizer"]))
        for group, options in zip(self.optimizer.param_groups, wanted, strict=True):
            group.update(options)  # the present config overrides the saved options
        if self.spikes is not None and checkpoint.state.get("spikes"):
            self.spikes.load_state_dict(checkpoint.state["spikes"])
        if "scaler" in checkpoint.state:  # absent in older runs
            self.scaler.load_state_dict(checkpoint.state["scaler"])
        self.batches.load_state_dict(checkpoint.state["batches"])
        tt.default_generator.set_state(checkpoint.state["generator"])


def refuse_fields(config: TrainConfig, names: Sequence[str], command: str) -> None:
    """Raise ArgumentError if a field is set that a command ignores, and not by an earlier version of it."""
    resumes = config.init_from == "resume" and list_checkpoints(config.out_dir)
    before = read_configs(config.out_dir)[1] if resumes else TrainConfig()
    for name in names:
        default = getattr(TrainConfig, name)
        if getattr(config, name) not in (default, getattr(before, name)):
            raise tt.ArgumentError(
                f"--{name}={getattr(config, name)}: {command} has no use for it",
                why="it would be ignored",
                fix=f"leave it out, or set --{name}={default}",
            )


def refuse_ranks(ranks: Communicator, command: str) -> None:
    """Raise ArgumentError if a single-process command runs on several ranks."""
    if ranks.size > 1:
        raise tt.ArgumentError(
            f"{command}: started on {ranks.size} ranks",
            why="it supports a single rank",
            fix="run it without mpiexec",
        )


def refuse_to_overwrite(folder: Path, command: str) -> None:
    """Raise ArgumentError if a folder, locked by the caller (see `alone_in`), has checkpoints."""
    if (folder / "latest").exists() or list_checkpoints(folder):
        raise tt.ArgumentError(
            f"{command}: {folder} holds a run already",
            why="its checkpoints and log would be mixed with new ones",
            fix=f"resume it with --init_from=resume, choose another --out_dir, or remove {folder}",
        )


def _refuse_other_ways(checkpoint: Checkpoint, config: TrainConfig) -> None:
    """Raise ArgumentError if a resumed run would change its data, optimizer or other fixed fields."""
    # not saved by older runs
    saved = {"optimizer": "adamw", "pattern": TrainConfig.pattern, **checkpoint.state["train"]}
    own = (Path(config.data) / TOKENIZER).is_file()  # token files have their own, which overrides the config
    for name in ("data", "optimizer") if own else ("data", "pattern", "tokenizer", "optimizer"):
        if saved.get(name) != getattr(config, name):
            raise tt.ArgumentError(
                f"train: --{name}={getattr(config, name)}, but the run was started with {saved.get(name)}",
                why="the next steps would differ",
                fix=f"leave --{name} out, or start a new run from its weights: "
                f"--init_from={checkpoint.folder} --out_dir=NEW",
            )


def _resumed_model(checkpoint: Checkpoint, wanted: GPTConfig) -> GPTConfig:
    """Model config of the checkpoint; ArgumentError if the command line differs from it."""
    saved = from_dict(GPTConfig, checkpoint.state["model"], source=str(checkpoint.folder))
    asked = wanted if wanted.vocab_size else replace(wanted, vocab_size=saved.vocab_size)
    if asked != saved:
        differing = [k for k, v in to_dict(saved).items() if v != to_dict(asked)[k]]
        raise tt.ArgumentError(
            f"train: the checkpoint's model differs in {', '.join(differing)}",
            why="a run is resumed with the model that it was started with",
            fix="leave these fields out, or start a new run from its weights: "
            f"--init_from={checkpoint.folder} --out_dir=NEW",
        )
    return saved


def split_state(state: Mapping[str, Any]) -> tuple[dict[str, Array], dict[str, Any]]:
    """Split an optimizer state into arrays by name and JSON values."""
    arrays: dict[str, Array] = {}
    scalars: dict[str, dict[str, Any]] = {}
    for index, values in state["state"].items():
        for key, value in values.items():
            if isinstance(value, tt.Tensor):
                arrays[f"{index}.{key}"] = value.cpu().numpy()
            else:
                scalars.setdefault(str(index), {})[key] = value
    return arrays, {"state": scalars, "param_groups": state["param_groups"]}


def join_state(arrays: Mapping[str, Array], saved: Mapping[str, Any]) -> dict[str, Any]:
    """Inverse of `split_state`."""
    state: dict[int, dict[str, Any]] = {int(i): dict(values) for i, values in saved["state"].items()}
    for name, array in arrays.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tt.tensor(np.asarray(array))
    return {"state": state, "param_groups": saved["param_groups"]}
