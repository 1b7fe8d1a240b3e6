"""Ten models at once: their parameters are stacked, and `vmap` runs one call for all."""

import tinytensor as tt
from tinytensor import nn

tt.manual_seed(0)
models = [nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1)) for _ in range(10)]
parameters, buffers = tt.func.stack_module_state(models)
x = tt.linspace(-3, 3, 64)[:, None]
y = tt.sin(x)


def loss_of_one(parameters: dict[str, tt.Tensor]) -> tt.Tensor:
    return tt.mean((tt.func.functional_call(models[0], parameters, (x,)) - y) ** 2)


step = tt.func.vmap(tt.func.value_and_grad(loss_of_one))
first = 0.0
for i in range(100):
    losses, gradients = step(parameters)
    parameters = {name: p.detach() - 0.05 * gradients[name] for name, p in parameters.items()}
    if i % 25 == 0:
        first = first or tt.max(losses).item()
        print(f"step {i}: losses {tt.min(losses).item():.3f} to {tt.max(losses).item():.3f}")

predicted = tt.func.vmap(lambda p: tt.func.functional_call(models[0], p, (x,)))(parameters)
print("spread of the ten predictions:", tt.mean(tt.std(predicted, axis=0)).item())
assert tt.max(losses).item() < 0.5 * first
