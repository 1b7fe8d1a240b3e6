"""Each op says how its gradient is computed, and what simple ones say is true."""

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
NUMPY = ("sqrt", "exp", "log", "sin", "cos", "sinh", "cosh", "sign", "floor", "pi")


@pytest.mark.parametrize("name", SIMPLE.split())
def test_formulas_hold(name: str) -> None:
    """Evaluated as they are written, in NumPy, they are what central differences of the op say."""
    op, function = registry[name], getattr(tt, name)
    ins = [np.array([0.3, 0.65, 0.9]), np.array([0.7, 0.2, 0.4])][: len(op.inputs)]
    known = dict(zip(op.inputs, ins, strict=True)) | {"grad": np.array([2.0, 3.0, 5.0])}
    known["y"] = function(*map(tt.tensor, ins)).numpy()
    text, _, _ = gradient_text(op).partition("\n")
    text = re.split(r"[;.] ?(?!\d)", text)[0]
    formulas = dict(part.split(" = ") for part in re.split(r", (?=d\w = )", text))
    words = {word: getattr(np, word) for word in NUMPY}
    words["sigmoid"] = lambda x: 1 / (1 + np.exp(-x))
    assert list(formulas) == [f"d{name}" for name in op.inputs]
    for i, input_ in enumerate(op.inputs):
        found = eval(formulas[f"d{input_}"], words | known)
        ahead, behind = [
            [tt.tensor(a + (step if j == i else 0)) for j, a in enumerate(ins)] for step in (1e-6, -1e-6)
        ]
        slope = (function(*ahead).numpy() - function(*behind).numpy()) / 2e-6
        np.testing.assert_allclose(found, slope * known["grad"], rtol=1e-6)


def test_every_op_says_how_its_gradient_is_computed() -> None:
    texts = {name: gradient_text(op) for name, op in registry.items() if hasattr(op, "backward")}
    assert all(texts.values())
    assert not [name for name, text in texts.items() if "cannot be read" in text]
    assert not [name for name, text in texts.items() if not FORMULA.search(text) or "return" in text]
    assert texts["multiply"].startswith("da = grad * b, db = grad * a.\nEach is summed over the axes")
    assert texts["layer_norm"].startswith("With h = (x - mean) * rstd")
    assert "dq = scale * dS @ k" in texts["causal_self_attention"]
