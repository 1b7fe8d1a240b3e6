"""A budget of lines: the limits fall with the folders, and rise only by what a new feature was granted.

A change that adds lines says in its commit which lines it removes. `make check` prints the table.
"""

import subprocess
from pathlib import PurePath

import pytest

from tests.helpers.source import ROOT

LIMITS = {
    "tinytensor, Python": 63_074,
    "tinytensor, other": 26_397,
    "gpt": 17_840,
    "benchmarks": 7_499,
    "tests": 60_257,
    "docs/guide, examples": 7_663,
}
ENDINGS = {".py", ".js", ".css", ".html", ".cpp", ".cu", ".cuh", ".h"}  # and headers of C++ without an ending


def folder_of(path: PurePath) -> str | None:
    """The row of a tracked file; None if its lines do not count."""
    top = path.parts[0]
    header = top == "tinytensor" and not path.suffix
    if (path.suffix not in ENDINGS and not header) or path.parts[:2] == ("benchmarks", "results"):
        return None
    if top == "tinytensor":
        return f"tinytensor, {'Python' if path.suffix == '.py' else 'other'}"
    if top in ("docs", "examples"):
        return "docs/guide, examples"
    return top if len(path.parts) > 1 else "tests"  # conftest.py, setup.py


def lines() -> dict[str, int]:
    """Lines of the tracked files per folder."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout: git lists the files that count")
    counted = dict.fromkeys(LIMITS, 0)
    for name in filter(None, listed.stdout.split("\0")):
        row = folder_of(PurePath(name))
        if row is not None and (ROOT / name).is_file():
            counted[row] += (ROOT / name).read_bytes().count(b"\n")
    return counted


@pytest.mark.parametrize("folder", LIMITS)
def test_no_folder_grows(folder: str) -> None:
    found, limit = lines()[folder], LIMITS[folder]
    assert found <= limit, f"{folder}: {found:,} lines, limit {limit:,}: remove {found - limit:,} elsewhere"


if __name__ == "__main__":
    for row, count in lines().items():
        print(f"{row:<20} {count:>8,} lines, limit {LIMITS[row]:>8,}")
    print(f"{'together':<20} {sum(lines().values()):>8,}")
