"""Options that several commands share, and the parser of a command."""

from __future__ import annotations

import argparse
from typing import Any

EXAMPLE = '"axpy<<<4, 256>>>(zeros(1000), randn(1000), 2.0, 1000)"'
PUZZLES = "puzzles"  # default of --folder
OPTIONS: dict[str, dict[str, Any]] = {
    "--json": {"action": "store_true", "help": "print one JSON object (docs/developers/json_output.md)"},
    "--html": {"metavar": "FILE", "help": "also write a page"},
    "--launch": {
        "action": "append",
        "metavar": "LAUNCH",
        "help": f"launch a kernel of your .cu file, for example {EXAMPLE}; `check` takes several",
    },
    "--folder": {
        "default": PUZZLES,
        "help": "of the puzzles' files and your progress, progress.json (default: %(default)s)",
    },
}


def parser(command: str, about: str, *options: str, **how: Any) -> argparse.ArgumentParser:
    """The parser of a command, with options of OPTIONS; `how`: more arguments of ArgumentParser."""
    made = argparse.ArgumentParser(prog=f"python -m tinytensor {command}", description=about, **how)
    for name in options:
        made.add_argument(name, **OPTIONS[name])
    return made
