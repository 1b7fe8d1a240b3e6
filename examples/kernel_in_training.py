"""A kernel of your own in a training loop: forward and backward are CUDA, `tt.Function` joins them."""

from typing import Any

import tinytensor as tt

SQUARE = """
__global__ void forward(float* y, const float* x) { const int i = threadIdx.x; y[i] = x[i] * x[i]; }
__global__ void backward(float* dx, const float* dy, const float* x) {
    const int i = threadIdx.x;
    dx[i] = 2 * x[i] * dy[i];
}
"""
forward, backward = (tt.cuda.kernel(SQUARE, name) for name in ("forward", "backward"))


class Square(tt.Function):
    @staticmethod
    def forward(ctx: Any, x: tt.Tensor) -> tt.Tensor:
        ctx.save_for_backward(x)
        y = tt.empty_like(x)
        forward[1, x.size](y, x)
        return y

    @staticmethod
    def backward(ctx: Any, dy: tt.Tensor) -> tt.Tensor:
        (x,), dx = ctx.saved_tensors, tt.empty_like(dy)
        backward[1, x.size](dx, dy.contiguous(), x)
        return dx


w = tt.full((8,), 3.0, device="emulated", requires_grad=True)
optimizer = tt.optim.SGD([w], lr=0.1)
for _ in range(20):
    loss = tt.sum(Square.apply(w))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("loss after 20 steps:", loss.item())
assert loss.item() < 0.1
