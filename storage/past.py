"""Reads the past of a pump's points, page by page: what an endpoint showed, and what was measured (OPC-3).

These tables are not the reader role's business (DAT-2): use the writer's URL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Column, ColumnElement, Table, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.vocabulary import InvalidValueError, Mode, Quality, Reason
from actors.vocabulary.client_calls import (
    MEASURED_POINTS,
    PUBLISHED_POINTS,
    PastPage,
    PastQuestion,
    PastValue,
)
from storage.engine import Database
from storage.models import pump_feedback, wire_records
from storage.models.base import moment
from storage.readers import moment_of, rows_of

PAGE_MAX: Final = 1_000
_SHOWN: Final = (
    wire_records.c.wire_id.label("number"),
    wire_records.c.at,
    wire_records.c.setpoint_hz,
    wire_records.c.remote_enabled,
    wire_records.c.reason,
    wire_records.c.detail,
)
_MEASURED: Final[Mapping[str, Column[Any]]] = {
    "local_override": pump_feedback.c.local_override,
    "actual_speed": pump_feedback.c.actual_speed_hz,
    "actual_power": pump_feedback.c.actual_power_kw,
    "actual_flow": pump_feedback.c.actual_flow_m3h,
    "wet_well_level": pump_feedback.c.wet_well_level_m,
    "high_float": pump_feedback.c.high_float,
    "running": pump_feedback.c.running,
    "fault_code": pump_feedback.c.fault_code,
}
assert tuple(_MEASURED) == MEASURED_POINTS


class PastPoints:
    """Reads with any role that may SELECT what Calejo appends; `endpoint`: whose pictures are meant."""

    def __init__(self, database: Database, *, endpoint: str) -> None:
        self._database = database
        self._endpoint = endpoint

    async def read(self, question: PastQuestion) -> PastPage:
        """Return one page of a point's past.

        Raises:
            InvalidValueError: no past is kept of such a point, or `following` is nothing that a page said.
            DeviceError: the database is away or slow.

        """
        if question.point in PUBLISHED_POINTS:
            table, at, number = wire_records, wire_records.c.at, wire_records.c.wire_id
            columns: tuple[Any, ...] = _SHOWN
            wanted = and_(table.c.pump_id == question.pump_id, wire_records.c.endpoint == self._endpoint)
            made: Callable[[dict[str, Any]], PastValue] = _SHOWN_AS[question.point]
        elif question.point in _MEASURED:
            table, at, number = pump_feedback, pump_feedback.c.measured_at, pump_feedback.c.feedback_id
            value = _MEASURED[question.point]
            columns = (number.label("number"), at.label("at"), value.label("value"), table.c.quality)
            wanted = and_(table.c.pump_id == question.pump_id, value.is_not(None))
            made = _measured
        else:
            raise InvalidValueError(f"point: {question.point[:60]!r} has no past here")
        count_max = 1 if question.bound else max(1, min(question.count_max, PAGE_MAX))
        # The value that holds at a moment is the newest until then: looked for the other way round.
        backwards = question.backwards != question.bound
        ordered = (moment(at).desc(), number.desc()) if backwards else (moment(at), number)
        statement = (
            select(*columns)
            .select_from(table)
            .where(wanted, *self._within(question, table, at, number))
            .order_by(*ordered)
            .limit(count_max + 1)
        )
        rows = await self._database.run(lambda connection: _rows(connection, statement))
        more, rows = len(rows) > count_max and not question.bound, rows[:count_max]
        place = f"{rows[-1]['at'].isoformat()}~{rows[-1]['number']}" if more else ""
        return PastPage(values=tuple(made(row) for row in rows), following=place)

    def _within(
        self, question: PastQuestion, table: Table, at: Column[Any], number: Column[Any]
    ) -> list[ColumnElement[bool]]:
        """Return the conditions of the interval and of where the page before ended."""
        del table
        when = moment(at)
        if question.bound:
            assert question.start is not None, "a bound is asked for at a moment"
            start = moment_of(self._database, question.start)
            return [when >= start if question.backwards else when <= start]
        found: list[ColumnElement[bool]] = []
        if question.start is not None:
            start = moment_of(self._database, question.start)
            found.append(when <= start if question.backwards else when >= start)
        if question.end is not None:
            end = moment_of(self._database, question.end)
            same = question.end == question.start
            inside = when > end if question.backwards else when < end
            found.append(when == end if same else inside)
        if question.following:
            last_at, last = _place(question.following)
            here = moment_of(self._database, last_at)
            later = when < here if question.backwards else when > here
            next_one = number < last if question.backwards else number > last
            found.append(or_(later, and_(when == here, next_one)))
        return found


class PastOfPoints:
    """Reads what any endpoint showed, and what was measured: for who stands at none of them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, question: PastQuestion, *, endpoint: str) -> PastPage:
        """Return one page of a point's past.

        Raises:
            InvalidValueError, DeviceError: as `PastPoints.read`.

        """
        return await PastPoints(self._database, endpoint=endpoint).read(question)


async def _rows(connection: AsyncConnection, statement: Any) -> list[dict[str, Any]]:
    return await rows_of(connection, statement)


def _place(following: str) -> tuple[datetime, int]:
    at, _, number = following.partition("~")
    try:
        last_at, last = datetime.fromisoformat(at), int(number)
        if last_at.tzinfo is None or not 0 <= last < 2**63:
            raise ValueError
        return last_at.astimezone(UTC), last
    except (ValueError, OverflowError):
        raise InvalidValueError(f"following: {following[:60]!r} is nothing that a page said") from None


def _measured(row: dict[str, Any]) -> PastValue:
    # The row says whether all of it was good; of one point in a row that was not, nobody knows.
    quality = Quality.GOOD if row["quality"] == Quality.GOOD.name else Quality.UNCERTAIN
    return PastValue(value=row["value"], quality=quality, at=row["at"])


def _detail(row: dict[str, Any]) -> dict[str, Any]:
    held = row["detail"]
    found = msgspec.json.decode(held) if isinstance(held, str) else held
    return found if isinstance(found, dict) else {}


def _quality(row: dict[str, Any]) -> Quality:
    name = str(_detail(row).get("quality"))
    return Quality[name] if name in Quality.__members__ else Quality.UNCERTAIN


def _setpoint(row: dict[str, Any]) -> PastValue:
    return PastValue(value=row["setpoint_hz"], quality=_quality(row), at=row["at"])


def _enabled(row: dict[str, Any]) -> PastValue:
    return PastValue(value=row["remote_enabled"], quality=Quality.GOOD, at=row["at"])


def _inhibit(row: dict[str, Any]) -> PastValue:
    held = _detail(row).get("run_inhibit")
    if isinstance(held, bool):
        return PastValue(value=held, quality=Quality.GOOD, at=row["at"])
    return PastValue(value=False, quality=Quality.BAD, at=row["at"])


def _setpoint_quality(row: dict[str, Any]) -> PastValue:
    return PastValue(value=_quality(row).value, quality=Quality.GOOD, at=row["at"])


def _reason(row: dict[str, Any]) -> PastValue:
    known = row["reason"] in Reason.__members__
    value = Reason[row["reason"]].value if known else 0
    return PastValue(value=value, quality=Quality.GOOD if known else Quality.BAD, at=row["at"])


def _mode(row: dict[str, Any]) -> PastValue:
    name = str(_detail(row).get("mode"))
    known = name in Mode.__members__
    return PastValue(
        value=Mode[name].value if known else 0, quality=Quality.GOOD if known else Quality.BAD, at=row["at"]
    )


_SHOWN_AS: Final[Mapping[str, Callable[[dict[str, Any]], PastValue]]] = {
    "setpoint": _setpoint,
    "remote_enabled": _enabled,
    "run_inhibit": _inhibit,
    "setpoint_quality": _setpoint_quality,
    "reason": _reason,
    "mode": _mode,
}
assert set(_SHOWN_AS) == set(PUBLISHED_POINTS)
