"""Each op says how its gradient is computed, and what simple ones say is true."""

import math
import re

import numpy as np
import pytest

import tinytensor as tt
from tinytensor.lab.graph.graph import gradient_text
from tinytensor.op import registry

FORMULA = re.compile(r"\b(d[a-z_]+)(?:\[\S*\])? = ")
SIMPLE = (
    "abs acos add asin asinh atan atan2 atanh cos cosh divide erf erfc exp expm1 hypot log log10 log1p log2 "
    "logaddexp multiply negative pow reciprocal remainder rsqrt sigmoid sin sinh softplus sqrt square "
    "subtract tan tanh"
)
NUMPY = ("sqrt", "square", "exp", "log", "sin", "cos", "sinh", "cosh", "hypot", "sign", "where", "isinf")


@pytest.mark.parametrize("name", SIMPLE.split())
def test_formulas_hold(name: str) -> None:
    """Evaluated as they are written, in NumPy, they are what central differences of the op say."""
    op, function = registry[name], getattr(tt, name)
    ins = [np.array([0.3, 0.65, 0.9]), np.array([0.7, 0.2, 0.4])][: len(op.inputs)]
    known = dict(zip(op.inputs, ins, strict=True)) | {"g": np.array([2.0, 3.0, 5.0])}
    known["y"] = function(*map(tt.tensor, ins)).numpy()
    words = {word: getattr(np, word) for word in NUMPY} | {"math": math}
    words["pow"] = np.power
    words["sigmoid"] = lambda x: 1 / (1 + np.exp(-x))
    for line in gradient_text(op).splitlines()[: len(op.steps)]:  # type: ignore[attr-defined]
        step, formula = line.partition(";")[0].split(" = ")
        known[step] = eval(formula, words | known)
    for i, input_ in enumerate(op.inputs):
        ahead, behind = [
            [tt.tensor(a + (step if j == i else 0)) for j, a in enumerate(ins)] for step in (1e-6, -1e-6)
        ]
        slope = (function(*ahead).numpy() - function(*behind).numpy()) / 2e-6
        np.testing.assert_allclose(known[f"d{input_}"], slope * known["g"], rtol=1e-6)


def test_every_op_says_how_its_gradient_is_computed() -> None:
    texts = {name: gradient_text(op) for name, op in registry.items() if hasattr(op, "backward")}
    assert all(texts.values())
    assert not [name for name, text in texts.items() if "cannot be read" in text]
    assert not [name for name, text in texts.items() if not FORMULA.search(text) or "return" in text]
    assert texts["multiply"].startswith("da = g * b\ndb = g * a\nEach is summed over the axes")
    assert texts["layer_norm"].startswith("With h = (x - mean) * rstd")
    assert "dq = scale * dS @ k" in texts["causal_self_attention"]
