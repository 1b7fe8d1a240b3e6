"""What is launched."""

from typing import Any

import pytest

from tinytensor.dispatch.launch import Launch


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of all launches."""
    found: list[str] = []
    launch = Launch.__call__

    def noted(self: Launch, name: str, *types: Any, **more: Any) -> None:
        found.append(name)
        launch(self, name, *types, **more)

    monkeypatch.setattr(Launch, "__call__", noted)
    return found
