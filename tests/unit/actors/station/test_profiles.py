"""Profiles by the station's own clock, over midnight, weeks and summer time (CTL-6)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from actors.station.profiles import governing, in_force, pump_in_force
from actors.vocabulary import DutyProfile, StationDuties
from tests.unit.actors.safety.timeline import limits, pump, replaced, station

ALL_DAYS = (1, 2, 3, 4, 5, 6, 7)
NIGHT = DutyProfile(name="night", weekdays=ALL_DAYS, from_minute=22 * 60, until_minute=6 * 60)
WEEKEND = DutyProfile(name="weekend", weekdays=(6, 7), from_minute=0, until_minute=0)


def name_at(when: datetime, *profiles: DutyProfile, zone: str = "Europe/Berlin") -> str:
    config = replaced(station(), timezone=zone, duties=StationDuties(profiles=profiles))
    profile = governing(config, when)
    return "" if profile is None else profile.name


def utc(month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def test_night_and_day_follow_the_stations_own_clock() -> None:
    """CTL-6: Berlin is an hour ahead in winter, two in summer."""
    assert name_at(utc(1, 15, 20, 59), NIGHT) == ""
    assert name_at(utc(1, 15, 21), NIGHT) == "night"
    assert name_at(utc(1, 16, 4, 59), NIGHT) == "night"
    assert name_at(utc(1, 16, 5), NIGHT) == ""
    assert name_at(utc(7, 15, 20), NIGHT) == "night"
    assert name_at(utc(7, 15, 4), NIGHT) == ""
    assert name_at(utc(7, 15, 4), NIGHT, zone="UTC") == "night"


def test_the_days_on_which_the_clock_changes() -> None:
    """CTL-6: in spring the hour that is left out is simply not there, in autumn both of the same name are night."""
    # 29 March 2026: 02:00 becomes 03:00 at 01:00 UTC.
    early = DutyProfile(name="early", weekdays=ALL_DAYS, from_minute=150, until_minute=210)
    assert [name_at(utc(3, 29, 0, 59), early), name_at(utc(3, 29, 1, 0), early)] == ["", "early"]
    assert name_at(utc(3, 29, 1, 30), early) == ""
    # 25 October 2026: 03:00 becomes 02:00 at 01:00 UTC: 02:30 to 03:00 comes twice.
    assert [name_at(utc(10, 25, 0, 45), early), name_at(utc(10, 25, 1, 15), early)] == ["early", ""]
    assert name_at(utc(10, 25, 1, 45), early) == "early"


def test_a_profile_belongs_to_the_day_on_which_it_begins() -> None:
    """CTL-6: Friday's night lasts into Saturday's morning; a day that ends where it begins is whole."""
    friday = DutyProfile(name="friday", weekdays=(5,), from_minute=22 * 60, until_minute=6 * 60)
    assert name_at(utc(6, 5, 20, 30), friday) == "friday"  # a Friday, 22:30
    assert name_at(utc(6, 6, 2), friday) == "friday"  # Saturday, 04:00
    assert name_at(utc(6, 5, 2), friday) == ""  # Friday, 04:00
    assert name_at(utc(6, 6, 12), WEEKEND) == "weekend"
    assert name_at(utc(6, 7, 21, 59), WEEKEND) == "weekend"
    assert name_at(utc(6, 7, 22), WEEKEND) == ""
    sunday = DutyProfile(name="sunday", weekdays=(7,), from_minute=1380, until_minute=60)
    assert name_at(utc(6, 7, 22, 30), sunday) == "sunday"  # Monday, 00:30


@given(
    st.frozensets(st.integers(1, 7), min_size=1),
    st.integers(0, 1439),
    st.integers(0, 1439),
    st.integers(0, 7 * 1440 - 1),
)
def test_the_minutes_of_a_week_are_those_in_which_it_governs(
    days: frozenset[int], begin: int, end: int, minute: int
) -> None:
    """CTL-6: what discovery compares for overlaps is what the clock later goes by."""
    profile = DutyProfile(name="p", weekdays=tuple(sorted(days)), from_minute=begin, until_minute=end)
    when = datetime(2026, 6, 1, tzinfo=UTC) + timedelta(minutes=minute)  # a Monday
    assert (name_at(when, profile, zone="UTC") == "p") is (minute in profile.minutes)


def test_a_profile_only_tightens_the_number_and_not_at_a_high_level() -> None:
    """CTL-6, SAF-2.4: maximum running is the station's own where that is less, and at a high level always."""
    profile = DutyProfile(name="p", weekdays=(1,), from_minute=0, until_minute=0, max_pumps_running=2)
    for own, high, expected in (
        (None, False, 2),
        (3, False, 2),
        (1, False, 1),
        (3, True, 3),
        (None, True, None),
    ):
        config = station(max_pumps_running=own)
        assert in_force(config, profile, high=high).max_pumps_running == expected
    assert in_force(station(max_pumps_running=3), None, high=False).max_pumps_running == 3


def test_a_profile_brings_its_own_default_setpoint() -> None:
    """CTL-6: what failsafe falls back to at this hour."""
    quiet = DutyProfile(name="q", weekdays=(1,), from_minute=0, until_minute=0, default_setpoint_hz=22.0)
    assert pump_in_force(pump("a", limits()), quiet).default_setpoint_hz == 22.0
    assert pump_in_force(pump("a", limits()), NIGHT).default_setpoint_hz == 30.0
    assert pump_in_force(pump("a", limits()), None).default_setpoint_hz == 30.0


def test_an_unknown_zone_is_utc() -> None:
    """CTL-6: discovery refuses it; a machine without a zone database must not stop its pumps for it."""
    assert name_at(utc(1, 15, 23), NIGHT, zone="Nowhere/Town") == "night"
