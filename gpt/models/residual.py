"""The residual stream of a transformer, as a sum that the next norm computes."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import tinytensor as tt


class Residual(NamedTuple):
    """The residual stream between two sublayers: x + dropout(y), both (B, T, C); y may be None.

    It is two tensors, so that the norm that reads the sum computes it: both in one pass over memory.

    Example:
        >>> Residual(tt.ones(1, 1, 2), tt.tensor([[[1.0, 2.0]]])).total().tolist()
        [[[2.0, 3.0]]]
    """

    x: tt.Tensor
    y: tt.Tensor | None = None
    dropout: float = 0.0

    def total(self) -> tt.Tensor:
        """The stream as one tensor, (B, T, C)."""
        if self.y is None:
            return self.x
        if not self.dropout:
            return self.x + self.y
        return self.x + tt.dropout(self.y.astype(self.x.dtype), self.dropout)  # rounded once, as by a norm

    def normed(self, norm: Any) -> tuple[tt.Tensor, tt.Tensor]:
        """The stream as one tensor, and its norm by a layer, (B, T, C) each."""
        if self.y is None:
            return self.x, norm(self.x)
        total, normed = norm.add(self.x, self.y, self.dropout)
        return total, normed

    def like(self, x: Stream) -> Stream:
        """The stream as one tensor, if x is one; else itself."""
        given: Any = x
        found: Any = self if isinstance(given, Residual) else self.total()
        return found  # type: ignore[no-any-return]  # of the type of x


Stream = TypeVar("Stream", tt.Tensor, Residual)


def residual(x: tt.Tensor | Residual) -> Residual:
    """A stream that is one tensor, as a Residual."""
    return x if isinstance(x, Residual) else Residual(x)
