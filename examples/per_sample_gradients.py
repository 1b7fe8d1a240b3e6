"""The gradient of each sample, without a loop: `vmap` of `grad`. Differential privacy clips them."""

import numpy as np

import tinytensor as tt
from tinytensor import nn
from tinytensor.nn import functional as F

tt.manual_seed(0)
model = nn.Sequential(nn.Linear(20, 32), nn.GELU(), nn.Linear(32, 3))
parameters = dict(model.named_parameters())
x, targets = tt.randn(16, 20), tt.randint(0, 3, (16,))


def loss_of_one(parameters: dict[str, tt.Tensor], x: tt.Tensor, target: tt.Tensor) -> tt.Tensor:
    logits = tt.func.functional_call(model, parameters, (x[None],))
    return F.cross_entropy(logits, target[None])


each = tt.func.vmap(tt.func.grad(loss_of_one), in_dims=(None, 0, 0))(parameters, x, targets)
norms = tt.sqrt(sum(tt.sum(g.flatten(1) ** 2, 1) for g in each.values()))
print("norm of each sample's gradient:", norms)

F.cross_entropy(model(x), targets).backward()  # their mean is the gradient of the batch
for name, parameter in model.named_parameters():
    assert np.allclose(tt.mean(each[name], 0).detach().numpy(), parameter.grad.numpy(), atol=1e-6)
