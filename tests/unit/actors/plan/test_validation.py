"""Which plan rows count: the rules one by one, and what no set of rows may bring about."""

from __future__ import annotations

import itertools
import math
from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.plan.validation import INTERVAL_S_MAX, needed_columns, validate
from actors.vocabulary import ControlType
from actors.vocabulary.records import PlanRow
from tests.unit.actors.plan.plans import RULES, at, plan


def accepted_ids(rows: list[PlanRow], remembered: dict[int, PlanRow] | None = None) -> list[int]:
    verdict = validate(rows, RULES, remembered=remembered or {})
    return sorted(verdict.by_plan_id())


def refusal_of(row: PlanRow) -> tuple[str, str]:
    verdict = validate([row], RULES, remembered={})
    assert verdict.accepted == {}
    (refusal,) = verdict.refused
    return refusal.reason, refusal.value


@pytest.mark.parametrize("speed_hz", [0.0, 25.0, 33.3, 45.0])
def test_a_speed_of_zero_or_inside_the_band_is_accepted(speed_hz: float) -> None:
    """CTL-1: speed 0 or inside the optimiser's band, its edges included."""
    assert accepted_ids([plan(1, 0, 60, suggested_speed_hz=speed_hz)]) == [1]


@pytest.mark.parametrize(
    ("changes", "reason", "value"),
    [
        ({"suggested_speed_hz": 60.0}, "suggested_speed_hz is neither 0 nor inside 25..45 Hz", "60.0"),
        ({"suggested_speed_hz": 24.99}, "suggested_speed_hz is neither 0 nor inside 25..45 Hz", "24.99"),
        ({"suggested_speed_hz": -30.0}, "suggested_speed_hz is neither 0 nor inside 25..45 Hz", "-30.0"),
        ({"suggested_speed_hz": math.nan}, "suggested_speed_hz is not finite", "nan"),
        ({"target_flow_m3h": math.inf}, "target_flow_m3h is not finite", "inf"),
        ({"target_power_kw": -1.0}, "target_power_kw is negative", "-1.0"),
        (
            {"suggested_speed_hz": None},
            "suggested_speed_hz is NULL (or NaN), which DIRECT_SPEED needs",
            "NULL",
        ),
        ({"pump_id": "p-2"}, "target_level_m is NULL (or NaN), which LEVEL_CONTROLLED needs", "NULL"),
        (
            {"pump_id": "p-2", "target_level_m": 1.0, "suggested_speed_hz": None},
            "suggested_speed_hz is NULL (or NaN), which LEVEL_CONTROLLED needs",
            "NULL",
        ),
        ({"pump_id": "p-3"}, "target_power_kw is NULL (or NaN), which POWER_CONTROLLED needs", "NULL"),
        ({"pump_id": "p-9"}, "no active pump of that id at st-1", "p-9"),
        ({"station_id": "st-2"}, "station_id is not st-1", "st-2"),
    ],
)
def test_what_is_wrong_with_one_row_is_named(changes: dict[str, Any], reason: str, value: str) -> None:
    """CTL-1: values finite, speed in the band, needed columns not NULL; refused with the reason and the value."""
    assert refusal_of(plan(1, 0, 60, **changes)) == (reason, value)


@pytest.mark.parametrize(("start_s", "end_s"), [(60, 60), (60, 0), (0, 0.5), (0, INTERVAL_S_MAX + 1)])
def test_an_interval_must_be_sane(start_s: float, end_s: float) -> None:
    """CTL-1: intervals end after they start and are neither shorter than a tick nor endless."""
    assert "interval" in refusal_of(plan(1, start_s, end_s))[0]


@pytest.mark.parametrize("column", ["interval_start", "interval_end", "created_at"])
def test_a_time_without_a_zone_is_refused_and_breaks_nothing(column: str) -> None:
    """CTL-1, DAT-1: timestamps have a zone; one without cannot be compared, and must not take others along."""
    naive = plan(1, 0, 60, **{column: datetime(2026, 11, 1)})  # noqa: DTZ001 (the point of the test)
    verdict = validate([naive, plan(2, 60, 120)], RULES, remembered={})
    assert sorted(verdict.by_plan_id()) == [2]
    assert verdict.refused[0].reason == f"{column} has no time zone"


def test_of_two_that_overlap_the_one_written_later_is_refused() -> None:
    """CTL-1: within one (pump, plan_version) no overlap; the earlier written stays, touching is no overlap."""
    first, touching, crossing = plan(1, 0, 60), plan(2, 60, 120), plan(3, 119, 200)
    verdict = validate([crossing, touching, first], RULES, remembered={})
    assert sorted(verdict.by_plan_id()) == [1, 2]
    assert [refusal.reason for refusal in verdict.refused] == ["overlaps plan 2 of the same plan_version"]


def test_versions_and_pumps_may_overlap_each_other() -> None:
    """CTL-1: the ban on overlaps holds within one (pump, plan_version) only."""
    rows = [
        plan(1, 0, 60),
        plan(2, 0, 60, plan_version=2),
        plan(3, 0, 60, pump_id="p-3", target_power_kw=5.0),
    ]
    assert accepted_ids(rows) == [1, 2, 3]


def test_what_overlaps_only_a_refused_row_is_accepted() -> None:
    """CTL-1: a refused row takes no room."""
    assert accepted_ids([plan(1, 0, 60), plan(2, 30, 90), plan(3, 60, 120)]) == [1, 3]


def test_a_row_spoilt_in_place_keeps_its_last_good_content() -> None:
    """CTL-1: a refused plan never displaces a good one, not even the same row; a row that is gone is withdrawn."""
    good = plan(1, 0, 60)
    remembered = validate([good], RULES, remembered={}).by_plan_id()
    spoilt = plan(1, 0, 60, suggested_speed_hz=60.0)
    verdict = validate([spoilt], RULES, remembered=remembered)
    assert verdict.by_plan_id() == {1: good}
    assert len(verdict.refused) == 1
    assert validate([spoilt], RULES, remembered=verdict.by_plan_id()).by_plan_id() == {1: good}
    assert accepted_ids([], remembered) == []


def test_a_refusal_has_the_same_record_each_time() -> None:
    """CTL-1: polling again does not repeat a record; another reason is another record."""
    row = plan(1, 0, 60, suggested_speed_hz=60.0)
    (once,) = validate([row], RULES, remembered={}).refused
    (again,) = validate([row], RULES, remembered={}).refused
    (other,) = validate([plan(1, 0, 60, suggested_speed_hz=math.nan)], RULES, remembered={}).refused
    assert once.record(at=at(5)).record_id == again.record(at=at(10)).record_id
    assert once.record_id != other.record_id


def test_every_control_type_names_the_columns_it_needs() -> None:
    """CTL-1: no control type runs on a plan that says nothing."""
    assert all(needed_columns(control_type) for control_type in ControlType)


rows_of_two_pumps = st.lists(
    st.builds(
        lambda start, length, version, created, pump, hz: plan(
            0,
            start,
            start + length,
            plan_version=version,
            created_at=at(created),
            pump_id=pump,
            suggested_speed_hz=hz,
        ),
        st.integers(0, 50),
        st.integers(-2, 30),
        st.integers(1, 2),
        st.integers(0, 3),
        st.sampled_from(["p-1", "p-2", "p-9"]),
        st.sampled_from([0.0, 30.0, 45.0, 60.0, math.nan, None]),
    ),
    max_size=12,
).map(
    lambda rows: [
        plan(
            number,
            (row.interval_start - at(0)).total_seconds(),
            (row.interval_end - at(0)).total_seconds(),
            plan_version=row.plan_version,
            created_at=row.created_at,
            pump_id=row.pump_id,
            suggested_speed_hz=row.suggested_speed_hz,
            target_level_m=1.0,
        )
        for number, row in enumerate(rows)
    ]
)


@given(rows_of_two_pumps, st.randoms(use_true_random=False))
def test_no_two_accepted_rows_overlap_and_order_does_not_matter(rows: list[PlanRow], random: Any) -> None:
    """CTL-1: whatever is written, accepted rows of one (pump, version) are apart, and every row has one verdict."""
    verdict = validate(rows, RULES, remembered={})
    for group in verdict.accepted.values():
        for one, other in itertools.combinations(group, 2):
            if one.plan_version == other.plan_version:
                assert one.interval_end <= other.interval_start or other.interval_end <= one.interval_start
    judged = [*verdict.by_plan_id(), *(refusal.row.plan_id for refusal in verdict.refused)]
    assert sorted(judged) == [row.plan_id for row in rows]
    shuffled = list(rows)
    random.shuffle(shuffled)
    again = validate(shuffled, RULES, remembered={})
    assert again.accepted == verdict.accepted
    assert {refusal.record_id for refusal in again.refused} == {
        refusal.record_id for refusal in verdict.refused
    }


@given(rows_of_two_pumps, rows_of_two_pumps)
def test_remembered_rows_bring_no_overlap_either(before: list[PlanRow], after: list[PlanRow]) -> None:
    """CTL-1: keeping the last good content of a changed row never makes two accepted rows overlap."""
    remembered = validate(before, RULES, remembered={}).by_plan_id()
    verdict = validate(after, RULES, remembered=remembered)
    present = {row.plan_id for row in after}
    for group in verdict.accepted.values():
        for one, other in itertools.combinations(group, 2):
            assert one.plan_id != other.plan_id
            if one.plan_version == other.plan_version:
                assert one.interval_end <= other.interval_start or other.interval_end <= one.interval_start
        assert all(row.plan_id in present for row in group)


def test_a_row_whose_time_lost_its_zone_keeps_its_last_good_content() -> None:
    """CTL-1: also where it cannot even be put in order with the others."""
    good = plan(1, 0, 60)
    remembered = validate([good], RULES, remembered={}).by_plan_id()
    spoilt = msgspec.structs.replace(good, interval_start=good.interval_start.replace(tzinfo=None))
    verdict = validate([spoilt], RULES, remembered=remembered)
    assert verdict.by_plan_id() == {1: good}
    assert len(verdict.refused) == 1
