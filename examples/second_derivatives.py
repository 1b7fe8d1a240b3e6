"""Derivatives of derivatives: a Hessian, a Hessian-vector product, and Newton's method."""

import numpy as np

import tinytensor as tt


def rosenbrock(p: tt.Tensor) -> tt.Tensor:
    """(1 - x)^2 + 100 (y - x^2)^2, smallest at (1, 1)."""
    x, y = p
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


p = tt.tensor([-1.2, 1.0], dtype=tt.float64)
print("Hessian at the start:\n", tt.func.hessian(rosenbrock)(p))

v = tt.tensor([1.0, 0.0], dtype=tt.float64)
_, first_column = tt.func.hvp(rosenbrock, (p,), (v,))  # without the matrix
print("Hessian times (1, 0):", first_column)

for step in range(7):
    gradient = tt.func.grad(rosenbrock)(p)
    p = p - tt.linalg.solve(tt.func.hessian(rosenbrock)(p), gradient)
    print(f"Newton step {step + 1}: {p.tolist()}")
assert np.allclose(p.numpy(), [1.0, 1.0])
