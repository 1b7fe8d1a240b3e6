"""The memory of a training step: parameters, activations, gradients and optimizer state over time."""

import tinytensor as tt
from tinytensor import lab, nn
from tinytensor.nn import functional as F

tt.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 10))
optimizer = tt.optim.AdamW(model.parameters(), lr=1e-3)
x, targets = tt.randn(128, 64), tt.randint(0, 10, (128,))

with lab.memory() as ledger:
    for _ in range(2):
        loss = F.cross_entropy(model(x), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

print(ledger)
