"""Which rows of `pump_plans` may move a pump, and why the others may not (CTL-1)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, assert_never
from uuid import NAMESPACE_URL, uuid5

import msgspec

from actors.safety.limits import is_finite_number
from actors.vocabulary import ControlType
from actors.vocabulary.records import PlanRefusalRecord, PlanRow

INTERVAL_S_MIN: Final = 1.0
INTERVAL_S_MAX: Final = 31 * 86_400.0
# A shorter interval ends before a pump's next tick; a longer one is a forgotten row rather than a plan.
assert 0.0 < INTERVAL_S_MIN < INTERVAL_S_MAX

VALUE_TEXT_MAX: Final = 200


class PlanRules(msgspec.Struct, frozen=True, kw_only=True):
    """What a row is held against: the station, its pumps' control types and the optimiser's band in Hz."""

    station_id: str
    control_types: dict[str, ControlType]
    speed_hz_min: float
    speed_hz_max: float


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """One refused row. `foreign`: not a pump of this station as configured now, so shown but not recorded."""

    row: PlanRow
    reason: str
    value: str
    foreign: bool = False

    @property
    def record_id(self) -> str:
        """The same refusal of the same row has the same id for ever, so that polling again repeats nothing."""
        return str(uuid5(NAMESPACE_URL, f"calejo:plan-refusal:{self.row.plan_id}:{self.reason}"))

    def record(self, *, at: datetime) -> PlanRefusalRecord:
        """Return the row for `plan_refusals`."""
        return PlanRefusalRecord(
            record_id=self.record_id,
            plan_id=self.row.plan_id,
            pump_id=self.row.pump_id,
            at=at,
            reason=self.reason,
            value=self.value[:VALUE_TEXT_MAX],
        )


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The accepted rows of each pump by start, and the refusals in the order in which the rows were written."""

    accepted: dict[str, tuple[PlanRow, ...]]
    refused: tuple[Refusal, ...]

    def by_plan_id(self) -> dict[int, PlanRow]:
        """Return the accepted rows as `validate` wants them remembered."""
        return {row.plan_id: row for rows in self.accepted.values() for row in rows}


def validate(rows: Iterable[PlanRow], rules: PlanRules, *, remembered: Mapping[int, PlanRow]) -> Verdict:
    """Judge all rows of one read; the verdict does not depend on their order.

    Rows are taken in the order in which they were written (created_at, then plan_id). Within one (pump,
    plan_version) a row that overlaps one accepted before it is refused: the one written later loses. Intervals are
    half-open, so one may begin where another ends.

    A refused row whose plan_id was accepted with other content before (`remembered`: it was changed in place) keeps
    that content: the last good one stays until it expires. A row that is no longer there is withdrawn.
    """
    kept: dict[tuple[str, int], list[PlanRow]] = {}
    refused: list[Refusal] = []
    timed: list[PlanRow] = []
    for row in sorted(rows, key=lambda one: one.plan_id):
        undated = _refuse_undated(row)
        if undated is None:
            timed.append(row)
            continue
        refused.append(undated)
        former = remembered.get(row.plan_id)
        if former is not None:
            timed.append(former)
    for row in sorted(timed, key=_written):
        refusal = _refuse(row, rules, kept)
        if refusal is None:
            _keep(row, kept)
            continue
        refused.append(refusal)
        former = remembered.get(row.plan_id)
        if former is not None and former != row and _refuse(former, rules, kept) is None:
            _keep(former, kept)
    accepted: dict[str, list[PlanRow]] = {}
    for (pump_id, _), group in sorted(kept.items()):
        accepted.setdefault(pump_id, []).extend(group)
    return Verdict(
        accepted={
            pump_id: tuple(sorted(group, key=lambda one: (one.interval_start, one.plan_version, one.plan_id)))
            for pump_id, group in accepted.items()
        },
        refused=tuple(refused),
    )


def _written(row: PlanRow) -> tuple[datetime, int]:
    return row.created_at, row.plan_id


def _keep(row: PlanRow, kept: dict[tuple[str, int], list[PlanRow]]) -> None:
    group = kept.setdefault((row.pump_id, row.plan_version), [])
    group.insert(bisect_right(group, row.interval_start, key=lambda one: one.interval_start), row)


def _refuse(row: PlanRow, rules: PlanRules, kept: Mapping[tuple[str, int], list[PlanRow]]) -> Refusal | None:
    control_type = rules.control_types.get(row.pump_id)
    if row.station_id != rules.station_id:
        return _refusal(row, f"station_id is not {rules.station_id}", row.station_id, foreign=True)
    if control_type is None:
        return _refusal(row, f"no active pump of that id at {rules.station_id}", row.pump_id, foreign=True)
    return (
        _refuse_interval(row)
        or _refuse_values(row, rules)
        or _refuse_missing(row, control_type)
        or _refuse_overlap(row, kept.get((row.pump_id, row.plan_version), []))
    )


def _refuse_undated(row: PlanRow) -> Refusal | None:
    """Refuse times without a zone: nobody can say when they are, and they cannot be compared."""
    for column in ("interval_start", "interval_end", "created_at"):
        value: datetime = getattr(row, column)
        if value.tzinfo is None or value.utcoffset() is None:
            return _refusal(row, f"{column} has no time zone", value.isoformat())
    return None


def _refuse_interval(row: PlanRow) -> Refusal | None:
    length_s = (row.interval_end - row.interval_start).total_seconds()
    text = f"{row.interval_start.isoformat()}/{row.interval_end.isoformat()}"
    if length_s <= 0.0:
        return _refusal(row, "interval_end is not after interval_start", text)
    if not INTERVAL_S_MIN <= length_s <= INTERVAL_S_MAX:
        return _refusal(row, f"interval is not {INTERVAL_S_MIN:g} s to {INTERVAL_S_MAX:g} s long", text)
    return None


def _refuse_values(row: PlanRow, rules: PlanRules) -> Refusal | None:
    """Values must be finite, speed 0 or in the band, power and flow not negative (a level may lie below its datum)."""
    for column in ("suggested_speed_hz", "target_flow_m3h", "target_level_m", "target_power_kw"):
        value: float | None = getattr(row, column)
        if value is not None and not is_finite_number(value):
            return _refusal(row, f"{column} is not finite", repr(value))
    for column in ("target_flow_m3h", "target_power_kw"):
        value = getattr(row, column)
        if value is not None and value < 0.0:
            return _refusal(row, f"{column} is negative", repr(value))
    speed_hz = row.suggested_speed_hz
    if speed_hz is not None and speed_hz != 0.0 and not rules.speed_hz_min <= speed_hz <= rules.speed_hz_max:
        band = f"{rules.speed_hz_min:g}..{rules.speed_hz_max:g} Hz"
        return _refusal(row, f"suggested_speed_hz is neither 0 nor inside {band}", repr(speed_hz))
    return None


def needed_columns(control_type: ControlType) -> tuple[str, ...]:
    """Return the columns that must not be NULL for `control_type`.

    LEVEL_CONTROLLED needs the speed too: it is the feed-forward and the fallback of CTL-2. POWER_CONTROLLED does
    not: its fallback is the affinity estimate. SQLite stores NaN as NULL, so this refuses a NaN there.
    """
    match control_type:
        case ControlType.DIRECT_SPEED:
            return ("suggested_speed_hz",)
        case ControlType.LEVEL_CONTROLLED:
            return ("target_level_m", "suggested_speed_hz")
        case ControlType.POWER_CONTROLLED:
            return ("target_power_kw",)
        case _:
            assert_never(control_type)


def _refuse_missing(row: PlanRow, control_type: ControlType) -> Refusal | None:
    for column in needed_columns(control_type):
        if getattr(row, column) is None:
            return _refusal(row, f"{column} is NULL (or NaN), which {control_type.value} needs", "NULL")
    return None


def _refuse_overlap(row: PlanRow, group: list[PlanRow]) -> Refusal | None:
    """`group` is sorted by start and free of overlaps, so only the two neighbours can touch `row`."""
    place = bisect_right(group, row.interval_start, key=lambda one: one.interval_start)
    for neighbour in group[max(0, place - 1) : place + 1]:
        if neighbour.interval_start < row.interval_end and row.interval_start < neighbour.interval_end:
            text = f"{row.interval_start.isoformat()}/{row.interval_end.isoformat()}"
            return _refusal(row, f"overlaps plan {neighbour.plan_id} of the same plan_version", text)
    return None


def _refusal(row: PlanRow, reason: str, value: str, *, foreign: bool = False) -> Refusal:
    return Refusal(row=row, reason=reason, value=value, foreign=foreign)
