"""The examples are short, run anywhere, and stand in the list of the documents."""

import re
import runpy

import pytest

from tests.helpers.source import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def test_all_are_in_the_list():
    text = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"\]\(\.\./examples/(\w+\.py)\)", text)) == [path.name for path in EXAMPLES]
    assert len(EXAMPLES) >= 15


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_runs(path, tmp_path, monkeypatch, capsys):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 40
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path), run_name="__main__")  # which asserts what it shows
    assert capsys.readouterr().out
    assert not list(tmp_path.iterdir())
