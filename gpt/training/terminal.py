"""Console output of training: on a terminal a progress bar with the last values, otherwise lines.

Survives broken streams.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, TextIO

import tinytensor as tt
from gpt.console import counted
from gpt.training.run import Run
from gpt.training.run_log import summary
from gpt.training.stopping import SIGPIPE

_VALUES = (  # beside the bar
    ("loss", "loss", ".3f"),
    ("val_loss", "val", ".3f"),
    ("lr", "lr", ".1e"),
    ("grad_norm", "|g|", ".2f"),
    ("tokens_per_second", "tok/s", ",.0f"),
)


class Terminal:
    """Writer to standard output and standard error during training.

    Args:
        quiet: print nothing.
        ask: called with SIGPIPE when the reader of the output closed the pipe, as in `… | head`.
    """

    def __init__(self, *, quiet: bool, ask: Callable[[int], None]) -> None:
        self.quiet, self.ask = quiet, ask
        self._bar: Any = None
        self._last: dict[str, Any] = {}  # last values of all log lines

    def say(self, text: str) -> None:
        """Print a text, above the bar if there is one."""
        if self.quiet:
            return
        with self._writing(sys.stdout), self._bar.external_write_mode() if self._bar else nullcontext():
            print(text, flush=True)

    def show(self, values: Mapping[str, Any]) -> None:
        """Show a log line, next to the bar if there is one, and printed where standard output is no terminal.
        A validation loss is always printed as a line, with the last training values.
        """
        if self.quiet:
            return
        if self._bar is None:
            self.say(summary(values))
            return
        self._last |= values
        if "val_loss" in values:
            self.say(summary(self._last))
        elif not sys.stdout.isatty():  # the bar on standard error is not in a file or a pipe
            self.say(summary(values))
        beside = {label: f"{self._last[key]:{form}}" for key, label, form in _VALUES if self._last.get(key)}
        with self._writing(sys.stderr):
            self._bar.set_postfix(beside, refresh=False)

    def move(self, step: int) -> None:
        """Update the bar, if there is one."""
        if self._bar is not None:
            with self._writing(sys.stderr):
                self._bar.update(step - self._bar.n)

    @contextmanager
    def progress(self, step: int, steps: int) -> Iterator[None]:
        """Context with a progress bar, if there are a terminal and tqdm."""
        if not self.quiet and sys.stderr.isatty():
            with contextlib.suppress(ImportError):
                from tqdm import tqdm

                how: dict[str, Any] = {"dynamic_ncols": True, "delay": 1e-9}  # shown after the first step
                self._bar = tqdm(total=steps, initial=step, unit=" steps", mininterval=0.2, **how)
        try:
            yield
        finally:
            if self._bar is not None:
                with self._writing(sys.stderr):
                    self._bar.close()
                self._bar = None

    @contextmanager
    def _writing(self, stream: TextIO) -> Iterator[None]:
        """Context that catches a broken stream, and discards all further output to it."""
        try:
            yield
        except BrokenPipeError:
            _to_nowhere(stream)
            self.ask(SIGPIPE)
        except OSError as error:  # full disk or closed terminal: log and checkpoints are not affected
            _to_nowhere(stream)
            if stream is sys.stdout:
                with contextlib.suppress(OSError):
                    print(f"note: training continues without output: {error.strerror}", file=sys.stderr)


def _to_nowhere(stream: TextIO) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def describe(run: Run) -> str:
    """Summary of a run in four lines."""
    model, config, size = run.model_config, run.train_config, run.ranks.size
    products: str = config.dtype
    if config.tf32:
        products = "TF32" if config.dtype == "float32" else f"{config.dtype}, those of float32 in TF32"
    return (
        f"model  {counted(run.model.num_parameters(), 'parameter')}: {counted(model.n_layer, 'layer')}, "
        f"{counted(model.n_head, 'head')}, "
        f"{model.n_embd} wide, context {model.block_size}, vocabulary {model.vocab_size}\n"
        f"data   {run.describe_data()}\n"
        f"run    steps {run.step} to {config.max_steps}, "
        f"{counted(config.sequences_per_step, 'sequence')} a step, seed {config.seed}, into {run.folder}\n"
        f"device {config.device}, products in {products}"
        + (", captured steps" if run.captures else "")
        + (f", {size} ranks of {counted(tt.get_num_threads(), 'thread')}" if size > 1 else "")
    )
