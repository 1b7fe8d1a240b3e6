"""Loss and norm of the gradient of steps, which the host reads when it needs them."""

import math

import tinytensor as tt
from gpt.training.run import Run
from gpt.weights.checkpoint import list_checkpoints


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
