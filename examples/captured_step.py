"""A training step, captured: replays call the kernels without Python between them, with the same bits."""

import time

import tinytensor as tt
from tinytensor import nn


def made() -> tuple[nn.Module, tt.optim.Optimizer]:
    tt.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 1))
    return model, tt.optim.AdamW(model.parameters(), lr=1e-2)


x = tt.randn(32, 16)
y = tt.sum(x, 1, keepdims=True)


def step_of(model: nn.Module, optimizer: tt.optim.Optimizer) -> tt.Tensor:
    loss = tt.mean((model(x) - y) ** 2)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


plain, captured = made(), made()
step = tt.capture(lambda: step_of(*captured), warmup=1)
step_of(*plain)
for name, run in (("plain", lambda: step_of(*plain)), ("captured", step.replay)):
    start = time.perf_counter()
    for _ in range(200):
        run()
    print(f"{name}: {(time.perf_counter() - start) / 200 * 1e6:.0f} us a step")
for p, q in zip(plain[0].parameters(), captured[0].parameters(), strict=True):
    assert tt.all(p == q).item()
