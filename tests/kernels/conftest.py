"""What is launched, and with which type of a position."""

import pytest

from tinytensor.dispatch import view_gradients
from tinytensor.dispatch.launch import Launch
from tinytensor.ops.indexing import gather_along, indexing, mask_select, selection


@pytest.fixture(params=["int", "long long"])
def position(request, monkeypatch):
    """Both types of a position: the second is used for tensors of 2**31 elements and more."""
    for module in (selection, indexing, mask_select, gather_along, view_gradients):
        monkeypatch.setattr(module, "index_type", lambda *views: request.param)


@pytest.fixture
def launched(monkeypatch):
    """Names of all launches."""
    found = []
    launch = Launch.__call__

    def noted(self, name, *types, **more):
        found.append(name)
        launch(self, name, *types, **more)

    monkeypatch.setattr(Launch, "__call__", noted)
    return found
