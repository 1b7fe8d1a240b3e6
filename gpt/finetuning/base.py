"""TuneConfig and TuneRun: a run over a Task, which defines batches, loss and metrics.

Independent of the tasks. A run directory has the layout of a training run, and `sample` reads it.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

import tinytensor as tt
from gpt.config import TrainConfig
from gpt.data.batches import StepBatches
from gpt.data.contents import require_same
from gpt.fields import check_types, to_dict
from gpt.finetuning.lora import LoraConfig, merged_weights, save_adapters
from gpt.models.gpt import GPT
from gpt.models.parameter_shapes import parameter_shapes
from gpt.tokenizers.base import Tokenizer
from gpt.training.optimizer_setup import optimizer_of
from gpt.training.run import Run
from gpt.training.run_log import RunLog
from gpt.training.run_setup import join_state, split_state
from gpt.weights.checkpoint import load_checkpoint, reading_state, save_checkpoint
from tinytensor.interop.safetensors_file import Array
from tinytensor.optim import GradScaler


@dataclass(frozen=True)
class TuneConfig:
    """Fine-tuning hyperparameters."""

    # initial weights: a run, a folder or file of weights, a name on the Hugging Face hub; base: a small model
    # of the embedded Shakespeare, trained once into runs/base; resume: the last checkpoint in out_dir
    init_from: str = "base"
    data: str = "builtin"  # a file; builtin: examples generated from the embedded Shakespeare
    out_dir: str = "runs/tuned"  # folder of the run
    seed: int = 1337  # random seed of batches, new weights, dropout and samples
    device: str = "cpu"  # device of the tensors: cpu, cuda, cuda:1, emulated, checked
    # of matrix products: float32, bfloat16, float16
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    tf32: bool = False  # multiply float32 matrices on the tensor cores of a GPU, with 11 bits of each factor
    block_size: int = 0  # a shorter context than the model's, for short texts; 0: the model's
    batch_size: int = 16  # examples per forward pass
    gradient_accumulation_steps: int = 1  # forward and backward passes per optimizer step
    max_steps: int = 200  # optimizer steps
    learning_rate: float = 1e-3  # peak learning rate, after the warmup; cosine decay to a tenth
    matrix_learning_rate: float = 0.0  # peak learning rate of the matrices of the blocks; 0: learning_rate
    warmup_steps: int = 10  # steps of linear warmup from 0
    # adamw for all trained weights, or muon: Muon for the matrices of the blocks, AdamW for the others
    optimizer: Literal["adamw", "muon"] = "adamw"
    weight_decay: float = 0.0  # on matrices only
    dropout: float = 0.0  # probability of dropping an activation while training
    grad_clip: float = 1.0  # maximum global gradient norm; 0: no clipping
    eval_interval: int = 100  # steps between evaluations; 0: only at the end
    log_interval: int = 20  # steps between log lines
    checkpoint_interval: int = 0  # steps between checkpoints; 0: only with evaluations

    def __post_init__(self) -> None:
        check_types(self)
        if self.block_size < 0:
            raise tt.ArgumentError(
                f"TuneConfig: block_size={self.block_size}", why="it counts tokens", fix="use block_size=0"
            )
        self.training()

    def training(self) -> TrainConfig:
        """TrainConfig of the loop, which checks the values."""
        own = {"dropout", "block_size"}
        same = {name: value for name, value in to_dict(self).items() if name not in own}
        return TrainConfig(**same, min_learning_rate=self.learning_rate / 10)


class Task(StepBatches):
    """A fine-tuning task: examples, loss and metrics. The first array of a batch has token ids (B, T).

    Attributes:
        model: the GPT with added modules; its parameters that require a gradient are trained.
        captures: whether steps may be captured: batches have one shape, and their loss depends on them alone.
        seen: further metrics of the last batch, for the log.
    """

    model: GPT
    captures: ClassVar[bool] = False
    seen: Mapping[str, Any] = {}

    def loss(self, *batch: tt.Tensor) -> tt.Tensor:
        """Loss of a batch, with its autograd graph; by default the mean cross-entropy of targets that are not
        masked.
        """
        return self.model.loss(*batch)

    @abstractmethod
    def metrics(self) -> dict[str, float]:
        """Metrics of held-out examples: `val_loss` and others. Called in evaluation mode, under no_grad."""

    @abstractmethod
    def show(self) -> str:
        """Held-out examples as text. Called in evaluation mode, under no_grad."""


class TuneRun(Run):
    """State of a fine-tuning run, and its checkpoints.

    A checkpoint has the GPT's weights with the adapters merged, as that of any run, and next to the optimizer
    state the unmerged trained weights under `trained.NAME`, from which a resumed run continues bitwise equal.
    Adapters are also written to files of their own.
    """

    planned = False  # batches have different lengths

    def __init__(
        self,
        task: Task,
        tokenizer: Tokenizer,
        config: TuneConfig,
        lora: LoraConfig,
        *,
        about: Mapping[str, Any],
        resume: bool = False,
    ) -> None:
        self.task = self.batches = task
        self.tokenizer, self.lora, self.about = tokenizer, lora, about
        self.command = f"finetune {about['task']}"
        self.model, self.model_config = task.model, task.model.config
        self.train_config, self.folder = config.training(), Path(config.out_dir)
        self.step, self.best_loss = 0, None
        self.trained = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        self.optimizer = optimizer_of(self.model, self.train_config)
        self.scaler = GradScaler(enabled=config.dtype == "float16")
        self._measured: tuple[int, dict[str, float]] | None = None  # step and metrics
        tt.manual_seed(config.seed)
        if resume:
            with reading_state(self.folder):
                self._go_on()

    @property
    def captures(self) -> bool:
        """Whether steps are captured, of a task that allows it."""
        return self.task.captures and super().captures

    @property
    def seen(self) -> Mapping[str, Any]:  # type: ignore[override]
        """Metrics of the last batch beside the loss, for the log."""
        return self.task.seen

    def loss(self, *batch: tt.Tensor) -> tt.Tensor:
        """Loss of a batch, with its autograd graph."""
        return self.task.loss(*batch)

    @property
    def has_validation(self) -> bool:
        """True: every task holds examples out."""
        return True

    def metrics(self) -> dict[str, float]:
        """Metrics of the task on held-out examples, measured once at each step."""
        if self._measured is None or self._measured[0] != self.step:
            with self.model.evaluating():
                self._measured = self.step, self.task.metrics()
        return dict(self._measured[1])

    def show(self) -> str:
        """Held-out examples of the task, as text."""
        with self.model.evaluating():
            return self.task.show()

    def evaluate(self) -> float:
        """Loss on held-out examples; logs the other metrics."""
        found = self.metrics()
        loss = found.pop("val_loss")
        RunLog(self.folder).write(step=self.step, **found)
        return loss

    def configs(self) -> dict[str, Any]:
        """JSON values of config.json, with those that resume the run."""
        return {**super().configs(), "tune": self.about}

    def save(self, *, best: bool = False) -> Path:
        """Save a checkpoint atomically; a run resumed from it continues bitwise equal."""
        arrays, scalars = split_state(self.optimizer.state_dict())
        arrays |= {f"trained.{name}": p.detach().cpu().numpy() for name, p in self.trained.items()}
        state = {
            "model": to_dict(self.model_config),
            "train": to_dict(self.train_config),
            "tune": self.about,
            "task": {},
            "batches": self.task.step,
            "generator": tt.default_generator.get_state(),
            "optimizer": scalars,
            "scaler": self.scaler.state_dict(),
            "best_loss": self.best_loss,
        }
        names = parameter_shapes(self.model_config)
        plain = {name: array for name, array in merged_weights(self.model).items() if name in names}
        # Adapters first: if a kill separates the two, the step is done again, and so are its adapters.
        self._save_adapters()
        return save_checkpoint(self.folder, self.step, plain, arrays, state, best=best)

    def finish_save(self) -> None:
        """Do what the last save left undone if it was killed; the adapters may be those of another step."""
        super().finish_save()
        if self.step:  # not of a run that begins
            self._save_adapters()

    def _save_adapters(self) -> None:
        """Write the adapters, if there are any, to files of their own."""
        if self.lora.lora_rank:
            save_adapters(self.model, self.lora, self.folder)

    def _go_on(self) -> None:
        checkpoint = load_checkpoint(self.folder)
        saved = checkpoint.state["tune"]["contents"]
        require_same(saved, self.about["contents"], self.command, self.folder)
        trained = trained_weights(checkpoint.optimizer)
        if trained.keys() != self.trained.keys():
            raise tt.ArgumentError(
                f"finetune: {len(trained)} weights were trained, now {len(self.trained)} would be",
                why="a run is resumed with the trained weights that it was started with",
                fix="leave out the fields that select them, or start a new run: "
                f"--init_from={self.folder} --out_dir=NEW",
            )
        self.model.load_state_dict({k: tt.tensor(np.asarray(a)) for k, a in trained.items()}, strict=False)
        moments = {k: a for k, a in checkpoint.optimizer.items() if not k.startswith("trained.")}
        self.optimizer.load_state_dict(join_state(moments, checkpoint.state["optimizer"]))
        self.scaler.load_state_dict(checkpoint.state["scaler"])
        self.step, self.best_loss = checkpoint.step, checkpoint.state["best_loss"]
        self.task.step = checkpoint.state["batches"]
        tt.default_generator.set_state(checkpoint.state["generator"])


def trained_weights(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Trained weights of a fine-tuning run by name, from the optimizer arrays of a checkpoint."""
    return {k.removeprefix("trained."): a for k, a in arrays.items() if k.startswith("trained.")}
