"""Write pytorch_calls.json, what PyTorch gives for the calls of tests/helpers/pytorch_calls.py:

.venv-oracle/bin/python -m tests.golden.make_pytorch_calls
"""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.helpers.pytorch_calls import SAME, known, lines, run

OUT = Path(__file__).with_name("pytorch_calls.json")


def as_json(value: Any) -> Any:
    if isinstance(value, tuple) and len(value) == 3 and isinstance(value[2], np.ndarray):
        return {"tensor": [value[0], value[1], json.loads(json.dumps(value[2].reshape(-1).tolist()))]}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist()}
    return {"tuple": [as_json(x) for x in value]} if isinstance(value, tuple) else value


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    found = {text: as_json(known(run(text, torch), torch)) for text in lines(SAME)}
    rows = [f"{json.dumps(text)}: {json.dumps(value)}" for text, value in found.items()]
    OUT.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
