"""Reads the past of a pump: the decision in force at a moment, what the wires made of it, what was measured (SAF-4).

These tables are not the reader role's business (DAT-2): use the writer's URL.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Select, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.vocabulary import InvalidValueError, Scope
from actors.vocabulary.chains import DecisionChain, DecisionPage
from actors.vocabulary.limits import LIMIT_KEYS
from actors.vocabulary.records import DecisionRecord, FeedbackRow, StopEventRecord, WireRecord
from storage.engine import Database
from storage.models import (
    decisions,
    emergency_stop_events,
    pump_feedback,
    pump_safety_limits_history,
    wire_records,
)
from storage.models.base import moment
from storage.readers import feedback_row, moment_of, rows_of

PAGE_MAX: Final = 500
STOPS_MAX: Final = 100
# Rows of one pump among which each endpoint's newest is found: some write often, some once a minute.
_SHOWN_ROWS: Final = 100
# SQLite compares to the millisecond: a few rows are read and the exact bound is drawn here.
_CANDIDATES: Final = 8
# A gate takes a decision within its lease; a row that came later tells of another life of that number.
_TAKEN_BEFORE: Final = timedelta(seconds=5)
_TAKEN_AFTER: Final = timedelta(seconds=60)
_TAKEN_ROWS: Final = 200


class Decisions:
    """Reads with any role that may SELECT what Calejo appends."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def chain(self, pump_id: str, *, at: datetime) -> DecisionChain:
        """Return what is remembered of a pump at a moment, in one picture of the database.

        Raises:
            DeviceError: the database is away or slow.

        """

        async def work(connection: AsyncConnection) -> DecisionChain:
            decision = await self.in_force(connection, pump_id, at=at)
            if decision is None:
                return DecisionChain(pump_id=pump_id, oldest_at=await self._end(connection, pump_id))
            return DecisionChain(
                pump_id=pump_id,
                decision=decision,
                next_at=await self._end(connection, pump_id, after=decision.at),
                took=await self._took(connection, decision),
                shown=await self._shown(connection, pump_id, at),
                feedback=await self._feedback(connection, pump_id, at),
                limits=await _limits(connection, decision),
                stops=await self._stops(connection, decision, at),
                oldest_at=await self._end(connection, pump_id),
            )

        return await self._database.run(work)

    async def page(
        self, pump_id: str, *, start: datetime, end: datetime, following: str, count_max: int
    ) -> DecisionPage:
        """Return decisions of a pump made in [start, end), the newest first; `following` as the last page said, or ''.

        Raises:
            InvalidValueError: `following` is nothing that a page said.
            DeviceError: the database is away or slow.

        """
        columns, at = decisions.c, moment(decisions.c.at)
        statement = (
            select(decisions)
            .where(columns.pump_id == pump_id, at >= self._moment(start), at < self._moment(end))
            .order_by(at.desc(), columns.decision_id.desc())
            .limit(min(count_max, PAGE_MAX) + 1)
        )
        if following:
            last_at, last_id = _place(following)
            before = self._moment(last_at)
            statement = statement.where(or_(at < before, and_(at == before, columns.decision_id < last_id)))
        rows = await self._database.run(lambda connection: rows_of(connection, statement))
        more, rows = len(rows) > min(count_max, PAGE_MAX), rows[: min(count_max, PAGE_MAX)]
        place = f"{rows[-1]['at'].isoformat()}~{rows[-1]['decision_id']}" if more else ""
        return DecisionPage(decisions=tuple(_decision(row) for row in rows), following=place)

    async def in_force(
        self, connection: AsyncConnection, pump_id: str, *, at: datetime
    ) -> DecisionRecord | None:
        """Return the newest decision of a pump made until a moment; None: none is remembered."""
        columns = decisions.c
        statement = (
            select(decisions)
            .where(columns.pump_id == pump_id, moment(columns.at) <= self._moment(at))
            .order_by(moment(columns.at).desc(), columns.decision_id.desc())
            .limit(_CANDIDATES)
        )
        rows = [row for row in await rows_of(connection, statement) if row["at"] <= at]
        return _decision(max(rows, key=lambda row: (row["at"], row["decision_id"]))) if rows else None

    async def _end(
        self, connection: AsyncConnection, pump_id: str, *, after: datetime | None = None
    ) -> datetime | None:
        """Return when a pump's oldest row was made, or the first one after a moment."""
        columns = decisions.c
        statement = select(columns.at).where(columns.pump_id == pump_id)
        if after is not None:
            statement = statement.where(moment(columns.at) >= self._moment(after))
        found = await rows_of(connection, statement.order_by(moment(columns.at)).limit(_CANDIDATES))
        return min((row["at"] for row in found if after is None or row["at"] > after), default=None)

    async def _took(self, connection: AsyncConnection, decision: DecisionRecord) -> tuple[WireRecord, ...]:
        columns, at = wire_records.c, moment(wire_records.c.at)
        statement = (
            select(wire_records)
            .where(
                columns.pump_id == decision.pump_id,
                at >= self._moment(decision.at - _TAKEN_BEFORE),
                at <= self._moment(decision.at + _TAKEN_AFTER),
                columns.sequence == decision.sequence,
                columns.epoch_counter == decision.epoch_counter,
                columns.epoch_term == decision.epoch_term,
            )
            .order_by(at, columns.wire_id)
            .limit(_TAKEN_ROWS)
        )
        first: dict[str, WireRecord] = {}
        for row in await rows_of(connection, statement):
            record = _wire(row)
            if record.detail.get("why") == "taken":
                first.setdefault(record.endpoint, record)
        return tuple(first[endpoint] for endpoint in sorted(first))

    async def _shown(self, connection: AsyncConnection, pump_id: str, at: datetime) -> tuple[WireRecord, ...]:
        columns = wire_records.c
        statement = (
            select(wire_records)
            .where(columns.pump_id == pump_id, moment(columns.at) <= self._moment(at))
            .order_by(moment(columns.at).desc(), columns.wire_id.desc())
            .limit(_SHOWN_ROWS)
        )
        newest: dict[str, WireRecord] = {}
        for row in await rows_of(connection, statement):
            if row["at"] <= at:
                newest.setdefault(row["endpoint"], _wire(row))
        return tuple(newest[endpoint] for endpoint in sorted(newest))

    async def _feedback(self, connection: AsyncConnection, pump_id: str, at: datetime) -> FeedbackRow | None:
        columns = pump_feedback.c
        statement = (
            select(pump_feedback)
            .where(columns.pump_id == pump_id, moment(columns.measured_at) <= self._moment(at))
            .order_by(moment(columns.measured_at).desc())
            .limit(_CANDIDATES)
        )
        rows = [row for row in await rows_of(connection, statement) if row["measured_at"] <= at]
        if not rows:
            return None
        return feedback_row(max(rows, key=lambda row: (row["measured_at"], row["feedback_id"])))

    async def _stops(
        self, connection: AsyncConnection, decision: DecisionRecord, at: datetime
    ) -> tuple[StopEventRecord, ...]:
        columns = emergency_stop_events.c
        covering = [
            columns.scope == Scope.SYSTEM.value,
            _of(Scope.STATION, decision.station_id),
            _of(Scope.PUMP, decision.pump_id),
        ]
        # Rows of versions before did not say which site: its stops are in the rules' own words then.
        if isinstance(site_id := decision.trail.get("site_id"), str):
            covering.append(_of(Scope.SITE, site_id))
        statement = (
            select(emergency_stop_events)
            .where(or_(*covering), moment(columns.set_at) <= self._moment(at))
            .where(or_(columns.cleared_at.is_(None), moment(columns.cleared_at) >= self._moment(at)))
            .order_by(moment(columns.set_at))
            .limit(STOPS_MAX)
        )
        rows = await rows_of(connection, statement)
        return tuple(
            stop_record(row)
            for row in rows
            if row["set_at"] <= at and (row["cleared_at"] is None or row["cleared_at"] > at)
        )

    def _moment(self, value: datetime) -> Any:
        return moment_of(self._database, value)


def stop_record(row: dict[str, Any]) -> StopEventRecord:
    """Return a row of `emergency_stop_events` as it crosses the boundary."""
    kept = {name: value for name, value in row.items() if name != "stop_id"}
    return StopEventRecord(**{**kept, "scope": Scope(row["scope"]), "record_id": row["stop_id"]})


def _of(scope: Scope, scope_id: str) -> Any:
    columns = emergency_stop_events.c
    return and_(columns.scope == scope.value, columns.scope_id == scope_id)


async def _limits(connection: AsyncConnection, decision: DecisionRecord) -> dict[str, Any] | None:
    """Return the limits of the version that was decided with, as they stood there last; None: not remembered."""
    if decision.limits_version is None:
        return None
    columns = pump_safety_limits_history.c
    statement: Select[Any] = (
        select(pump_safety_limits_history)
        .where(columns.pump_id == decision.pump_id, columns.version == decision.limits_version)
        .order_by(columns.history_id.desc())
        .limit(1)
    )
    rows = await rows_of(connection, statement)
    if not rows:
        return None
    told = ("version", *LIMIT_KEYS, "set_by", "set_at", "approved_by", "approved_at")
    return {name: _plain(rows[0][name]) for name in told if rows[0][name] is not None}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _place(following: str) -> tuple[datetime, int]:
    at, _, number = following.partition("~")
    try:
        last_at, last_id = datetime.fromisoformat(at), int(number)
        if last_at.tzinfo is None or not 0 <= last_id < 2**63:
            raise ValueError
    except ValueError:
        text = f"cursor: {following[:60]!r}, expected what the page before gave, or nothing"
        raise InvalidValueError(text) from None
    return last_at.astimezone(UTC), last_id


def _decision(row: dict[str, Any]) -> DecisionRecord:
    kept = {name: value for name, value in row.items() if name != "decision_id"}
    return DecisionRecord(**{**kept, "pump_id": row["pump_id"].lower(), "trail": _json(row["trail"])})


def _wire(row: dict[str, Any]) -> WireRecord:
    kept = {name: value for name, value in row.items() if name != "wire_id"}
    return WireRecord(**{**kept, "pump_id": row["pump_id"].lower(), "detail": _json(row["detail"])})


def _json(value: Any) -> dict[str, Any]:
    return msgspec.json.decode(value, type=dict[str, Any]) if isinstance(value, str) else value
