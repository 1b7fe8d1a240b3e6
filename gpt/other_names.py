"""What nanoGPT calls its fields, for those who type them from habit."""

from collections.abc import Container

__all__ = ["advice"]

_RENAMED = {
    "start": "prompt",
    "max_iters": "max_steps",
    "warmup_iters": "warmup_steps",
    "lr_decay_iters": "decay_steps",
    "min_lr": "min_learning_rate",
    "dataset": "data",
    "eval_iters": "eval_batches",
}
_ELSEWHERE = {
    "eval_only": "leave it out: a run is measured by python -m gpt eval RUN",
    "compile": "leave it out: kernels are compiled where there is a compiler",
    "out_dir": "name the run without an option: python -m gpt COMMAND runs/demo",
}


def advice(name: str, fields: Container[str]) -> str:
    """What to write instead of a field of nanoGPT; empty for any other name.

    Args:
        name: what was typed, without dashes.
        fields: those of the command.

    Example:
        >>> advice("max_iters", ["max_steps"])
        "nanoGPT's max_iters is --max_steps"
    """
    ours = _RENAMED.get(name)
    return f"nanoGPT's {name} is --{ours}" if ours in fields else _ELSEWHERE.get(name, "")
