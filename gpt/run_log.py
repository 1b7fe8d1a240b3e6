"""What a run leaves to read: `log.jsonl`, one JSON object a line, and `loss.svg`, its picture."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinytensor.files import atomic_write, unwritable

__all__ = ["RunLog", "summary"]


class RunLog:
    """The log of a run, appended line by line.

    Args:
        run_dir: folder of the run; `log.jsonl` in it is continued.

    Raises:
        SaveError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> log = RunLog(tempfile.mkdtemp())
        >>> log.write(step=1, loss=2.5)
        >>> log.read()
        [{'step': 1, 'loss': 2.5}]
    """

    def __init__(self, run_dir: str | Path) -> None:
        self.path = Path(run_dir) / "log.jsonl"

    def write(self, **values: Any) -> None:
        """Append one line."""
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")
        except OSError as error:
            raise unwritable(self.path, error) from None

    def read(self) -> list[dict[str, Any]]:
        """All lines; one that is no object, as a killed process leaves the last one, is skipped."""
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
        found = []
        for line in lines:
            try:
                values = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(values, dict):
                found.append(values)
        return found

    def draw(self) -> Path | None:
        """Write `loss.svg`: training and validation loss over steps. None where matplotlib is missing."""
        if importlib.util.find_spec("matplotlib") is None:
            return None
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        lines = self.read()
        figure = Figure(figsize=(7, 4), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot(xlabel="step", ylabel="loss (nats per token)")
        for key, label, style in (("loss", "training batch", "-"), ("val_loss", "validation", "o-")):
            points = [(line["step"], line[key]) for line in lines if _is_point(line, key)]
            if points:
                axes.plot(*zip(*points, strict=True), style, label=label, linewidth=1, markersize=3)
        if axes.lines:
            axes.legend()
        axes.grid(alpha=0.3)
        path = self.path.with_name("loss.svg")
        with atomic_write(path) as file:
            figure.savefig(file, format="svg", metadata={"Date": None})
        return path


def _is_point(line: Any, key: str) -> bool:
    """Whether a line of the log has a number under this key, at a step."""
    return isinstance(line, dict) and all(isinstance(line.get(k), (int, float)) for k in ("step", key))


def summary(values: Mapping[str, Any]) -> str:
    """The line that the terminal shows for one line of the log."""
    parts = [f"step {values['step']:>6}"]
    for key, label, form in (
        ("loss", "loss", ".4f"),
        ("val_loss", "val", ".4f"),
        ("lr", "lr", ".1e"),
        ("grad_norm", "|g|", ".2f"),
        ("tokens_per_second", "tok/s", ",.0f"),
        ("mfu", "MFU", ".0%"),
    ):
        if values.get(key) is not None:
            parts.append(f"{label} {values[key]:{form}}")
    return "  ".join(parts)
