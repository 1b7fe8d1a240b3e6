"""erfc, lgamma, digamma and polygamma against PyTorch, special values included."""

import numpy as np
import pytest
import torch

import tinytensor as tt

SPECIAL = [0.0, -0.0, np.inf, np.nan, 1.0, 2.0, 1e-30, -1e-30, 1e300]
ORDERS = [(f"polygamma({n})", lambda m, x, n=n: m.polygamma(n, x)) for n in (1, 2, 3)]
CALLS = [
    (name, lambda m, x, name=name: getattr(m, name)(x)) for name in ("erfc", "lgamma", "digamma")
] + ORDERS


@pytest.mark.parametrize(("name", "call"), CALLS, ids=[name for name, _ in CALLS])
def test_values(name, call):
    x = np.random.default_rng(0).uniform(-6, 20, 2000)
    special = [v for v in SPECIAL if "polygamma" not in name or v != np.inf]  # PyTorch: nan for n > 1
    special += [] if "polygamma" in name else [-1.0, -2.0, -np.inf]  # there PyTorch's trigamma is only large
    x = np.concatenate([x[np.abs(x - np.rint(x)) > 1e-2], special])
    ours, theirs = call(tt, tt.tensor(x)).numpy(), call(torch, torch.tensor(x)).numpy()
    # PyTorch's trigamma has an error of 5e-10.
    np.testing.assert_allclose(ours, theirs, rtol=1e-9 if name == "polygamma(1)" else 1e-12, atol=1e-12)
