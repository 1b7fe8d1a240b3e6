"""Loss and gradients of training batches by replays of captured graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tinytensor as tt
from tinytensor.interop.safetensors_file import Array

__all__ = ["CapturedGradients"]

MOST = 4  # graphs, one for each shape of batches


class CapturedGradients:
    """Loss and gradients of batches, with the bits of eager steps and without Python between kernels.

    The first batch of a shape runs eagerly, which compiles kernels; the second one is captured. Batches of
    further shapes than four run eagerly.

    Args:
        compute: drops all gradients, computes the loss of the tensors of a batch, runs backward and returns
            the loss.

    Attributes:
        inputs: tensors of the last batch.
        refusal: why the step cannot be captured; then all batches run eagerly. Otherwise "".

    Example:
        >>> w = tt.ones(2, requires_grad=True)
        >>> def compute(x: tt.Tensor) -> tt.Tensor:
        ...     w.grad = None
        ...     loss = (w * x).sum()
        ...     loss.backward()
        ...     return loss
        >>> gradients = CapturedGradients(compute)
        >>> for step in range(3):
        ...     loss = gradients([np.full(2, step, np.float32)])
        >>> loss, w.grad.tolist(), gradients.graphs
        (4.0, [2.0, 2.0], 1)
    """

    def __init__(self, compute: Callable[..., tt.Tensor]) -> None:
        self._compute = compute
        self._graphs: dict[object, tuple[list[tt.Tensor], tt.CapturedGraph] | None] = {}
        self.inputs: list[tt.Tensor] = []
        self.refusal = ""

    @property
    def graphs(self) -> int:
        """Number of captured graphs."""
        return sum(graph is not None for graph in self._graphs.values())

    def __call__(self, batch: Sequence[Array]) -> float:
        """Loss of a batch; the gradients are in `.grad`."""
        key = tuple([(array.shape, array.dtype) for array in batch])
        if key in self._graphs and not self.refusal:
            found = self._graphs[key] or self._capture(key, batch)
            if found is not None:
                self.inputs, graph = found
                for x, array in zip(self.inputs, batch, strict=True):
                    x.copy_(tt.from_numpy(array))
                return float(graph.replay())
        elif len(self._graphs) < MOST:
            self._graphs[key] = None
        self.inputs = [tt.from_numpy(array) for array in batch]
        return float(self._compute(*self.inputs))

    def _capture(
        self, key: object, batch: Sequence[Array]
    ) -> tuple[list[tt.Tensor], tt.CapturedGraph] | None:
        inputs = [tt.tensor(array) for array in batch]
        try:
            graph = tt.capture(lambda: self._compute(*inputs), device="cpu", warmup=0)
        except tt.DeviceError as error:
            self.refusal = str(error).splitlines()[0]
            return None
        self._graphs[key] = inputs, graph
        return self._graphs[key]
