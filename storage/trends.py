"""Reads what displays draw: means of what was measured, in equal pieces, and the plans beside them (HMI-2)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Integer, cast, func, select

from actors.vocabulary.records import PlanRow
from actors.vocabulary.trends import Piece
from storage.engine import Database
from storage.models import pump_feedback
from storage.models.base import moment
from storage.readers import DatabasePlanReader, moment_of, rows_of

PIECES_MAX: Final = 2_000
_DAY_S: Final = 86_400.0
# SQLite counts in days, exact to a millisecond: a row at the beginning of a piece belongs to it.
_EXACT_S: Final = 0.001


class Trends:
    """Reads with the reader's role: plans and feedback are its business (DAT-2)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._plans = DatabasePlanReader(database)

    async def measured(
        self, pump_id: str, *, start: datetime, end: datetime, piece_s: float
    ) -> Sequence[Piece]:
        """Return the means of what was measured in [start, end), oldest first; pieces without rows are left out.

        Raises:
            DeviceError: the database is away or slow.

        """
        assert 0.0 < (end - start).total_seconds() <= piece_s * PIECES_MAX, "a drawing has so many pieces"
        columns = pump_feedback.c
        at, first = moment(columns.measured_at), moment_of(self._database, start)
        place = self._whole((self._seconds(at, first) + _EXACT_S) / piece_s).label("place")
        statement = (
            select(
                place,
                func.avg(columns.actual_speed_hz).label("speed_hz"),
                func.avg(columns.wet_well_level_m).label("level_m"),
            )
            .where(columns.pump_id == pump_id, at >= first, at < moment_of(self._database, end))
            .group_by(place)
            .order_by(place)
            .limit(PIECES_MAX)
        )
        rows = await self._database.run(lambda connection: rows_of(connection, statement))
        return [
            Piece(
                at=start + timedelta(seconds=row["place"] * piece_s),
                speed_hz=row["speed_hz"],
                level_m=row["level_m"],
            )
            for row in rows
        ]

    async def plans(self, station_id: str, *, start: datetime, end: datetime) -> Sequence[PlanRow]:
        """Return the plan rows that touch [start, end).

        Raises:
            DeviceError: the database is away or slow.

        """
        return await self._plans.plans(station_id, start=start, end=end)

    def _seconds(self, at: Any, first: Any) -> Any:
        if self._database.is_sqlite:
            return (at - first) * _DAY_S
        return func.extract("epoch", at - first)

    def _whole(self, value: Any) -> Any:
        # SQLite need not know `floor`, and cuts off where PostgreSQL rounds; nothing here is below 0.
        return cast(value if self._database.is_sqlite else func.floor(value), Integer)
