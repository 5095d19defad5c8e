"""Goal: a foreign row is believed once, by its own time, whoever sets the wall clock (CTL-4, WDG-1)."""

from __future__ import annotations

from actors.station.foreign import ForeignFeedback, take
from actors.vocabulary import Instant
from actors.vocabulary.records import FeedbackRow

NOW = Instant("boot", 1_000 * 10**9, 1_800_000_000 * 10**9)


def row(record_id: str, *, measured_s: float) -> FeedbackRow:
    return FeedbackRow(
        record_id=record_id,
        pump_id="p-1",
        measured_at=NOW.plus(measured_s).utc,
        source="scada",
        quality="GOOD",
        wet_well_level_m=1.5,
    )


def looked(known: ForeignFeedback, *rows: FeedbackRow, at: Instant) -> tuple[ForeignFeedback, bool]:
    return take(known, rows, pumps={"p-1": None}, now=at)


def set_back(now: Instant, seconds: float) -> Instant:
    return Instant(now.boot_id, now.boot_ns, now.utc_ns - round(seconds * 10**9))


def test_an_old_row_does_not_become_young_when_a_clock_that_was_set_back_catches_up_with_it() -> None:
    """WDG-1, CTL-4: seen from the future once, it was written before it says; a newer row counts again."""
    old = row("old", measured_s=-10.0)
    earlier = set_back(NOW, 600.0)
    known, changed = looked(ForeignFeedback(), old, at=earlier)
    assert not changed
    assert known.refused["p-1"] == "measured 590.0 s in the future"
    for later_s in (586.0, 590.0, 595.0, 10_000.0):
        known, changed = looked(known, old, at=earlier.plus(later_s))
        assert not changed
        assert known.refused["p-1"] == "was seen before the moment at which it says it was measured"
    known, changed = looked(known, row("new", measured_s=9_500.0), at=earlier.plus(10_100.0))
    assert changed
    assert known.refused == {}


def test_a_row_that_was_taken_stays_as_old_as_it_is_when_the_clock_is_set_back() -> None:
    """WDG-1, CTL-4: read again by another clock it is no news; its age goes on by the boot clock."""
    known, changed = looked(ForeignFeedback(), row("r-1", measured_s=-2.0), at=NOW)
    assert changed
    again = NOW.plus(60.0)
    known, changed = looked(known, row("r-1", measured_s=-2.0), at=set_back(again, 60.0))
    assert not changed
    level = known.held["p-1"].wet_well_level_m
    assert level is not None
    assert again.seconds_since(level.at) == 62.0


def test_a_clock_that_is_set_forward_makes_rows_old_and_no_row_young() -> None:
    """WDG-1: the safe side: what is old is handed back."""
    known, changed = looked(ForeignFeedback(), row("r-1", measured_s=0.0), at=set_back(NOW, -3600.0))
    assert changed
    level = known.held["p-1"].wet_well_level_m
    assert level is not None
    assert NOW.seconds_since(level.at) == 3600.0


def test_what_is_barred_of_a_pump_that_is_gone_is_forgotten() -> None:
    """DAT-4: only configured pumps are remembered."""
    known, _ = looked(ForeignFeedback(), row("r-1", measured_s=60.0), at=NOW)
    assert known.barred == {"p-1": "r-1"}
    known, _ = take(known, (), pumps={}, now=NOW)
    assert known.barred == {}
