"""A row of the tree out of what a supervisor knows of its child (SUP-7)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from actors.start import WorkerStart
from actors.vocabulary import Address, Instant, Role
from actors.vocabulary.settings import Settings
from supervisors.restart import Child, ChildState
from supervisors.spec import ChildSpec
from supervisors.view import child_row

AT = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)
NOW = Instant(boot_id="b", boot_ns=5_030_000_000_000, utc_ns=round(AT.timestamp()) * 1_000_000_000)
SPEC = ChildSpec(
    start=WorkerStart(role=Role.PUMP, address=Address("/g/a"), settings=Settings(data_dir="/nowhere"))
)


def test_a_row_tells_when_it_went_and_how_long_it_was_away() -> None:
    """SUP-7: the boot clock's figure as a moment in UTC; what never went has neither."""
    row = child_row(SPEC, Child(state=ChildState.RUNNING, gone_at_s=5_000.0, away_s=0.11), None, now=NOW)
    assert row.gone_at is not None
    assert abs(row.gone_at - (AT - timedelta(seconds=30))) < timedelta(milliseconds=1)
    assert row.away_s == pytest.approx(0.11)
    calm = child_row(SPEC, Child(state=ChildState.RUNNING), None, now=NOW)
    assert (calm.gone_at, calm.away_s) == (None, None)
