"""The training loop: forward, backward, clipping, step. What else it does is in callbacks.py."""

import math
import signal
import time
from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import tinytensor as tt
from gpt.console import command
from gpt.training.callbacks import callbacks_of
from gpt.training.data_parallel import RankGroup
from gpt.training.measures import Utilization
from gpt.training.optimizer_setup import schedule_of, set_learning_rate
from gpt.training.plan import plan
from gpt.training.run import Run
from gpt.training.run_lock import alone_in
from gpt.training.run_log import truncate_log
from gpt.training.steps import CapturedStep, StepResults
from gpt.training.stopping import asked_to_stop
from gpt.training.terminal import Terminal
from gpt.weights.run import CHATBOT
from tinytensor.interop.safetensors_file import Array
from tinytensor.optim import clip_scale

LINES = 10  # last log lines, whose speed tells the time left: the first ones may have compiled kernels


class Trainer:
    """Training loop from the step of a run to `max_steps`.

    Attributes:
        decides: whether the host decides, from the norm of the gradient, if a step is taken.
        ids: inputs of the last batch, (B, T).
        sampled: last sample shown.
        tokens: inputs of all ranks since the last log line.
        stop_asked: number of the signal to stop after this step, or 0.
    """

    ids: tt.Tensor
    sampled = ""
    tokens = 0
    stop_asked = 0

    def __init__(self, run: Run, *, quiet: bool = False) -> None:
        self.run, self.config = run, run.train_config
        self.terminal = Terminal(quiet=quiet or run.ranks.rank > 0, ask=self.ask_to_stop)
        self.team = RankGroup(run)
        self.leads = self.team.leads
        self.log = self.team.log(run.folder)
        self.lr = schedule_of(self.config)
        self.used: Utilization | None = None
        if run.planned and self.config.device == "cpu":
            costs = plan(run.model_config, self.config, flops_per_second=1.0)
            flops_per_token = costs.forward_flops_per_token + costs.backward_flops_per_token
            self.used = Utilization(flops_per_token, self.team.size)
        self.callbacks = callbacks_of(self)
        self.decides = run.scaler.enabled or self.team.size > 1
        self.captured: CapturedStep | None = None
        if run.captures:
            self.captured = CapturedStep(self._gradients if self.decides else self._whole, self.config.device)
        self.results = StepResults(run)

    # ---- one step ---------------------------------------------------------------------------------------

    def step(self) -> dict[str, Any]:
        """One optimizer step over `gradient_accumulation_steps` batches; returns its log values.

        On a device the host does not wait for it: loss and norm are read at the steps that are logged.
        """
        run, config = self.run, self.config
        lr = self.lr.lr_at(run.step)
        set_learning_rate(run.optimizer, run.model, config, lr)
        batches = [array for _ in range(config.gradient_accumulation_steps) for array in self._next_batch()]
        watched = any(callback.watches(run.step + 1) for callback in self.callbacks)
        in_parts = watched or self.decides  # gradients, a look at them, update
        result = self._computed(batches, in_parts, eager=watched)
        self.results.add(run.step, result)
        if in_parts:
            loss, norm = self.results.last()
            for callback in self.callbacks:
                callback.after_backward()
            self._update(result[2])
        run.step += 1
        numbers: dict[str, Any] = {"step": run.step, "lr": lr}
        logged = run.step % config.log_interval == 0 or run.step == config.max_steps
        if in_parts or logged or config.device == "cpu":
            loss, norm = (loss, norm) if in_parts else self.results.last()
            grad_norm = norm if math.isfinite(norm) else None
            numbers = {"step": run.step, "loss": loss, "lr": lr, "grad_norm": grad_norm}
        numbers |= run.seen
        for callback in self.callbacks:
            callback.after_step(numbers)
        return numbers

    def _computed(self, batches: Sequence[Array], in_parts: bool, *, eager: bool) -> tt.Tensor:
        """Result of `_gradients`, or of `_whole`: by a graph, or eagerly where steps are not captured."""
        if eager or self.captured is None:
            work = self._gradients if in_parts else self._whole
            return work(*[tt.from_numpy(array).to(self.config.device) for array in batches])
        result = self.captured(batches)
        if self.captured.refusal:
            self.terminal.say(f"steps are not captured: {self.captured.refusal}")
            self.captured = None
        return result if self.config.device == "cpu" or self.decides else result.clone()

    def _whole(self, *batches: tt.Tensor) -> tt.Tensor:
        """Gradients and update; returns the result of `_gradients`."""
        result = self._gradients(*batches)
        self._update(result[2])
        return result

    def _gradients(self, *batches: tt.Tensor) -> tt.Tensor:
        """Forward and backward passes of one step on all ranks.

        Returns:
            shape (3,): the mean loss, the norm of the gradient, and the factor that clips it.
        """
        run, parts = self.run, self.config.gradient_accumulation_steps
        run.optimizer.zero_grad()
        divisor, width = parts / self.team.share, len(batches) // parts
        losses = []
        for part in range(parts):
            batch = batches[part * width : (part + 1) * width]
            with self.precision():
                loss = run.loss(*batch)
            loss = loss / divisor if divisor != 1 else loss
            with self.team.accumulating(part + 1 < parts):
                run.scaler.scale(loss).backward()
            losses.append(loss.detach())
        self.ids = batch[0]
        total = self.team.end_of_backward(sum(losses[1:], losses[0]), bool(self.stop_asked))
        run.scaler.unscale_(run.optimizer)
        norm, factor = clip_scale(run.model.parameters(), self.config.grad_clip or math.inf)
        return tt.stack([total.astype(norm.dtype), norm, factor])

    def _update(self, factor: tt.Tensor) -> None:
        """Optimizer step with gradients multiplied by factor."""
        self.run.scaler.step(self.run.optimizer, factor)
        self.run.scaler.update()

    def _next_batch(self) -> Sequence[Array]:
        """Arrays of the next batch: the rows of this rank."""
        batch = next(self.run.batches)
        self.tokens += batch[0].size
        return self.team.rows(batch)

    def precision(self) -> tt.autocast:
        """Autocast context for the config's dtype."""
        dtype = tt.float16 if self.config.dtype == "float16" else tt.bfloat16
        return tt.autocast(dtype, enabled=self.config.dtype != "float32")

    def speed(self, seconds: float) -> dict[str, float]:
        """Tokens per second, padding included, and model FLOPs utilization, for the log."""
        rate, self.tokens = self.tokens / max(seconds, 1e-9), 0
        values = {"tokens_per_second": round(rate, 1)}
        if self.used is not None:
            with tt.no_grad(), self.precision():
                share = self.used.share(rate)
            values |= {} if share is None else {"mfu": round(share, 4)}
        return values

    # ---- the loop ---------------------------------------------------------------------------------------

    def train(self) -> Run:
        """Train to `max_steps` or until asked to stop; returns the run, with its last checkpoint saved."""
        before = tt.config.tf32
        tt.config.tf32 = before or self.config.tf32
        try:
            with alone_in(self.run.folder, self.run.command) if self.leads else nullcontext():
                return self._train()
        finally:
            tt.config.tf32 = before

    def _train(self) -> Run:
        run, config = self.run, self.config
        self._begin()
        with self.terminal.progress(run.step, config.max_steps), asked_to_stop(self.ask_to_stop):
            since, begun = run.step, time.perf_counter()
            lines = deque([(since, begun)], maxlen=LINES + 1)
            while run.step < config.max_steps and not self._stops:
                numbers = self.step()
                if run.step % config.log_interval == 0 or run.step == config.max_steps:
                    numbers |= self.speed(time.perf_counter() - begun)
                    self.log.write(**numbers)
                    (first, then), since, begun = lines[0], run.step, time.perf_counter()
                    lines.append((since, begun))
                    each = (begun - then) / (since - first)
                    self.terminal.show({**numbers, "seconds_left": each * (config.max_steps - since)})
                self.terminal.move(run.step)
                before = time.perf_counter()
                for callback in self.callbacks:
                    callback.between()
                begun += time.perf_counter() - before  # exclude the time between steps
            for callback in self.callbacks:
                callback.at_end()
            if self._stops and run.step < config.max_steps:
                self._save_and_tell()
        return run

    def _begin(self) -> None:
        run, config = self.run, self.config
        if config.device == "cpu":
            tt.compile_kernels()  # in parallel, not one by one at their first use
        if run.step > config.max_steps:
            raise tt.ArgumentError(
                f"--max_steps={config.max_steps}: {run.folder} is at step {run.step}",
                why="a run goes on from its last step",
                fix="give more, or begin another run: --init_from=CHECKPOINT --out_dir=NEW",
            )
        if self.leads:
            run.write_config()
            run.finish_save()
            truncate_log(self.log.path, run.step)
        if run.step >= config.max_steps:
            self.terminal.say(
                f"finished: step {run.step} of {config.max_steps}; go on with --max_steps=N above it"
            )
        run.model.train()

    def save(self, *, best: bool = False) -> None:
        """Save a checkpoint, of weights that are finite and the same on all ranks."""
        weights = [p.detach() for p in self.run.model.parameters()]
        self.results.require_finite("norm of the weights", float(tt.grad_norm(weights)), self.run.step)
        self.team.check_equal()
        self.run.save(best=best)

    def ask_to_stop(self, signum: int) -> None:
        """Request to save and stop after this step."""
        self.stop_asked = signum

    @property
    def _stops(self) -> bool:
        return self.team.stops(bool(self.stop_asked))

    def _save_and_tell(self) -> None:
        """Save a run that was asked to stop, and say how to go on: a stage of `chatbot` with all others."""
        run, folder = self.run, self.run.folder
        self.results.check()
        run.stopped_by = self.stop_asked or signal.SIGINT  # requested on another rank
        self.save()
        resuming = command(*run.command.split(), "--init_from=resume", f"--out_dir={folder}")
        if (folder.parent / CHATBOT).is_file():
            resuming = command("chatbot", f"--out_dir={folder.parent}")
        self.log.write(step=run.step, stopped=resuming)
        self.terminal.say(f"\nstopped at step {run.step}, saved in {folder}\ngo on with: {resuming}")
