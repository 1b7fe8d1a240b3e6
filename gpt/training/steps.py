"""Training steps by replays of captured graphs; results of steps, read when the host needs them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import tinytensor as tt
from gpt.training.run import Run
from gpt.weights.checkpoint import list_checkpoints
from tinytensor.interop.safetensors_file import Array

MOST = 4  # graphs, one for each shape of batches


class CapturedStep:
    """Steps on batches, with the bits of eager ones and without Python between kernels.

    The first batch of a shape runs eagerly, which compiles kernels and makes the state of the optimizer; the
    second one is captured. A replay copies the batch into the tensors that the graph reads, on a device
    without waiting for it. Batches of further shapes than four run eagerly.

    Args:
        compute: a step on the tensors of a batch: drops all gradients, computes the loss, runs backward, and
            may update parameters. It returns a tensor.

    Attributes:
        refusal: why the step cannot be captured; then all batches run eagerly. Otherwise "".
    """

    def __init__(self, compute: Callable[..., tt.Tensor], device: str = "cpu") -> None:
        self._compute = compute
        self._device = device
        self._graphs: dict[object, tuple[list[tt.Tensor], tt.CapturedGraph] | None] = {}
        self.inputs: list[tt.Tensor] = []
        self.refusal = ""

    @property
    def graphs(self) -> int:
        """Number of captured graphs."""
        return sum(graph is not None for graph in self._graphs.values())

    def __call__(self, batch: Sequence[Array]) -> tt.Tensor:
        """Run the step on a batch and return its result, which the next replay overwrites."""
        key = tuple([(array.shape, array.dtype) for array in batch])
        if key in self._graphs and not self.refusal:
            found = self._graphs[key] or self._capture(key, batch)
            if found is not None:
                self.inputs, graph = found
                for x, array in zip(self.inputs, batch, strict=True):
                    x.copy_(tt.from_numpy(array))
                result: tt.Tensor = graph.replay()
                return result
        elif len(self._graphs) < MOST:
            self._graphs[key] = None
        self.inputs = [tt.from_numpy(array).to(self._device) for array in batch]
        return self._compute(*self.inputs)

    def _capture(
        self, key: object, batch: Sequence[Array]
    ) -> tuple[list[tt.Tensor], tt.CapturedGraph] | None:
        inputs = [tt.tensor(array, device=self._device) for array in batch]
        try:
            graph = tt.capture(lambda: self._compute(*inputs), device=self._device, warmup=0)
        except tt.DeviceError as error:
            self.refusal = str(error).splitlines()[0]
            return None
        self._graphs[key] = inputs, graph
        return self._graphs[key]


class StepResults:
    """Results of the steps since the last read: on a device the host does not wait for each."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._unread: list[tuple[int, tt.Tensor]] = []

    def add(self, step: int, result: tt.Tensor) -> None:
        """Keep the result of a step: loss and norm come first in it."""
        self._unread.append((step, result))

    def last(self) -> tuple[float, float]:
        """Loss and norm of the last step, after a check of all that were not read: ArgumentError if a loss or
        norm is not finite.
        """
        steps, results = zip(*self._unread, strict=True)
        self._unread = []
        scaler = self.run.scaler
        for step, values in zip(steps, tt.stack(results).tolist(), strict=True):
            self.require_finite("loss", values[0], step)
            if not scaler.enabled or scaler.get_scale() < 1:  # else the scaler skips it
                self.require_finite("norm of the gradient", values[1], step)
        return values[0], values[1]

    def check(self) -> None:
        """Check the results that were not read, if there are any."""
        if self._unread:
            self.last()

    def require_finite(self, name: str, value: float, step: int) -> None:
        """Raise ArgumentError for NaN or infinity, before it reaches a checkpoint."""
        if math.isfinite(value):
            return
        steps = list_checkpoints(self.run.folder)
        saved = f"the checkpoints {steps} in {self.run.folder} are unharmed" if steps else "nothing was saved"
        go_on = (
            "; go on with --init_from=resume, or from one checkpoint's weights: "
            f"--init_from={self.run.folder}/step_N --out_dir=NEW"
        )
        raise tt.ArgumentError(
            f"train: the {name} is {value} at step {step}",
            why=f"the run has diverged; {saved}",
            fix=f"lower --learning_rate{go_on if steps else ', and start again'}",
        )
