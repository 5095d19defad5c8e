"""What the tests of the API share."""

import pytest


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree that does not answer is given up sooner: that there is a deadline is proved, not how long it is."""
    monkeypatch.setattr("api.sources._TREE_DEADLINE_S", 0.5)
