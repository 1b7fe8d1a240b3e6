"""rms_norm over the last axis: a norm that is not centered."""

from __future__ import annotations

from tinytensor.dispatch.apply import apply
from tinytensor.dtypes import DType
from tinytensor.kernels.rows import need_tensors
from tinytensor.op import norm, norm_backward, register
from tinytensor.ops.nn.layer_norm import Norm, NormBackward
from tinytensor.tensor import Tensor

__all__ = ["rms_norm"]


@register
class RmsNorm(Norm):
    """Root mean square 1."""

    centered, flops = False, norm(3.0)


@register
class RmsNormBackward(NormBackward):
    """Gradients of RmsNorm."""

    of, flops = RmsNorm, norm_backward(8.0, 2.0)


def rms_norm(
    x: Tensor, weight: Tensor | None = None, *, eps: float = 1e-6, dtype: DType | None = None
) -> Tensor:
    """Scale each row to root mean square 1, then by a learned weight.

    y = x / sqrt(mean of x * x over the last axis + eps) * weight

    Args:
        x: shape (..., C); floating.
        dtype: of the result, which is rounded once; default that of x, float32 in an autocast block.

    Memory: keeps x, and one value per row.
    Accuracy: 16-bit floats are computed in float32.
    Differs from: torch.nn.functional.rms_norm, whose default eps is that of the dtype.
    Source: Zhang, Sennrich 2019, arXiv:1910.07467.
    """
    need_tensors("rms_norm", x, weight)
    return apply(RmsNorm(eps=eps, dtype=dtype), x, weight, None)
