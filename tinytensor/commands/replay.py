"""`python -m tinytensor replay`: `check` of one block of each launch, with a page that replays it."""

from __future__ import annotations

from collections.abc import Sequence

from tinytensor.commands import check


def main(words: Sequence[str]) -> int:
    """Check the named kernels or script and write their replay; returns 1 if a defect was found."""
    return check.main(["--blocks", "1", "--html", "replay.html", *words])
