"""No scenario begins with what another one's root remembered."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.supervisors.worlds import forget


@pytest.fixture(autouse=True)
def forgets_the_last_test() -> Iterator[None]:
    forget()
    yield
    forget()
