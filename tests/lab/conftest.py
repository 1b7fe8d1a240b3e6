"""A browser that looks at a page."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.browser import CHROMIUM, Browser

Show = Callable[..., Browser]


@pytest.fixture
def show(tmp_path: Path) -> Iterator[Show]:
    """Opens the text of a page in a browser, which it returns; without a browser the test is skipped."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium to look with")
    with Browser(tmp_path / "profile") as browser:

        def opened(text: str, name: str = "a.html", width: int = 1280) -> Browser:
            (tmp_path / name).write_text(text, encoding="utf-8")
            browser.open(tmp_path / name, width)
            return browser

        yield opened
