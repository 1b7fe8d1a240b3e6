"""The graph that backward follows: micrograd's neuron, with values, formulas and saved tensors."""

import tinytensor as tt
from tinytensor import lab

a = tt.tensor(2.0, requires_grad=True)
b = tt.tensor(-3.0, requires_grad=True)
c = tt.tensor(10.0, requires_grad=True)
loss = tt.tanh(a * b + c)

graph = lab.graph(loss)
print(graph)

loss.backward()
slope = 1 - loss.item() ** 2  # of tanh
print("da, db, dc =", a.grad.item(), b.grad.item(), c.grad.item())
assert abs(a.grad.item() - slope * b.item()) < 1e-6  # the product hands each factor the other one
assert abs(c.grad.item() - slope) < 1e-6  # the sum hands the gradient on
