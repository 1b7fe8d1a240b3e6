"""Your own op with its gradient: `tt.Function`, checked by finite differences."""

from typing import Any

import tinytensor as tt


class Softsign(tt.Function):
    """y = x / (1 + |x|)."""

    @staticmethod
    def forward(ctx: Any, x: tt.Tensor) -> tt.Tensor:
        ctx.save_for_backward(x)
        return x / (1 + tt.abs(x))

    @staticmethod
    def backward(ctx: Any, grad: tt.Tensor) -> tt.Tensor:
        (x,) = ctx.saved_tensors
        return grad / (1 + tt.abs(x)) ** 2


tt.manual_seed(0)
x = tt.randn(5, dtype=tt.float64, requires_grad=True)
y = Softsign.apply(x)
y.sum().backward()
print("x       ", x)
print("gradient", x.grad)
assert tt.gradcheck(Softsign.apply, (x,))  # by central differences
assert tt.gradgradcheck(Softsign.apply, (x,))  # its gradient is recorded, too
