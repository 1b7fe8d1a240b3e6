"""LoRA by hand: a frozen layer learns a new task by the product of two small matrices."""

import tinytensor as tt
from tinytensor import nn

tt.manual_seed(0)
layer = nn.Linear(64, 64)
for parameter in layer.parameters():
    parameter.requires_grad_(False)
A = tt.randn(64, 4, requires_grad=True)
B = tt.zeros(4, 64, requires_grad=True)  # so the adapted layer begins as it was

change = tt.randn(64, 2) @ tt.randn(2, 64) / 8  # what the new task asks for has rank 2
x = tt.randn(256, 64)
target = layer(x) + x @ change

optimizer = tt.optim.Adam([A, B], lr=1e-2)
for step in range(300):
    loss = tt.mean((layer(x) + x @ A @ B - target) ** 2)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 100 == 0:
        print(f"step {step}: loss {loss.item():.4f}")
print(f"loss {loss.item():.6f} with {A.size + B.size} of {64 * 65} numbers trained")
assert loss.item() < 1e-2
assert layer.weight.grad is None
