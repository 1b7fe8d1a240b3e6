"""Write into pytorch_calls.json what PyTorch gives for each of the calls that stand there:

.venv-oracle/bin/python -m tests.golden.make_pytorch_calls
"""

import json
import warnings
from typing import Any

import numpy as np
import torch

from tests.helpers.pytorch_calls import RECORDED, SAME, known, run


def as_json(value: Any) -> Any:
    if isinstance(value, tuple) and len(value) == 3 and isinstance(value[2], np.ndarray):
        return {"tensor": [value[0], value[1], json.loads(json.dumps(value[2].reshape(-1).tolist()))]}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist()}
    return {"tuple": [as_json(x) for x in value]} if isinstance(value, tuple) else value


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    found = {text: as_json(known(run(text, torch), torch)) for text in SAME}
    rows = [f"{json.dumps(text)}: {json.dumps(value)}" for text, value in found.items()]
    RECORDED.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
