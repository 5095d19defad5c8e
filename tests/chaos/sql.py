"""The database as the optimiser and an auditor see it: plain SQL on SQLite or PostgreSQL, no code of Calejo's."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from tests.chaos.truth import utc_now
from tests.program import Program

BUSY_S = 10.0
# What a moving plan swings between; each swing is a ramp of 4 s at the 2 Hz/s of the demo.
LOW_HZ, HIGH_HZ = 30.0, 38.0
SWING_S = 16.0


@dataclass(frozen=True, slots=True)
class Sql:
    """One database: the path of an SQLite file, or the URL of a PostgreSQL database."""

    where: str

    def run(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement in a transaction of its own and return its rows."""
        return self.transact([(statement, values)])

    def transact(self, statements: Sequence[tuple[str, Sequence[object]]]) -> list[tuple[Any, ...]]:
        """Run statements with their values in one transaction; return the last one's rows."""
        found: list[tuple[Any, ...]] = []
        if "://" in self.where:
            with psycopg.connect(self.where, connect_timeout=5) as connection:
                for statement, values in statements:
                    cursor = connection.execute(statement.replace("?", "%s").encode(), tuple(values))
                    found = cursor.fetchall() if cursor.description else []
            return found
        # `with` on the connection ends the transaction only, so it is closed apart.
        with closing(sqlite3.connect(self.where, timeout=BUSY_S)) as database, database:
            for statement, values in statements:
                found = database.execute(statement, tuple(values)).fetchall()
        return found

    @property
    def newest_version(self) -> int:
        """The highest plan version there is."""
        return int(self.run("SELECT coalesce(max(plan_version), 0) FROM pump_plans")[0][0])

    def insert_plan(
        self,
        pump_id: str,
        speed_hz: float | None,
        *,
        version: int,
        begin: datetime | None = None,
        lasts_s: float = 3600.0,
    ) -> int:
        """Insert one row of `pump_plans` as an optimiser would, from a minute ago by default; return its id."""
        begin = begin or utc_now() - timedelta(minutes=1)
        self.run(
            "INSERT INTO pump_plans (station_id, pump_id, interval_start, interval_end, suggested_speed_hz,"
            " target_flow_m3h, target_level_m, target_power_kw, plan_version)"
            " SELECT station_id, pump_id, ?, ?, ?, NULL, NULL, NULL, ? FROM pumps WHERE pump_id = ?",
            begin.isoformat(), (begin + timedelta(seconds=lasts_s)).isoformat(), speed_hz, version, pump_id,
        )  # fmt: skip
        return int(self.run("SELECT max(plan_id) FROM pump_plans WHERE pump_id = ?", pump_id)[0][0])

    def insert_moving_plans(self, *, lasts_s: float, alone: bool = False) -> int:
        """Have every pump swing between two speeds (or the powers and levels that belong to them) from now on.

        So whatever a test does, it does to values that move. The pumps swing one after the other; all their plans end
        at one moment, and `alone` takes every other plan away. Returns the version.
        """
        pumps = self.run(
            "SELECT pump_id, station_id, control_type, rated_power_kw FROM pumps ORDER BY station_id, pump_id"
        )
        version, now = self.newest_version + 1000, utc_now()
        rows: list[tuple[object, ...]] = []
        for place, (pump_id, station_id, control_type, rated_kw) in enumerate(pumps):
            begin = now - timedelta(seconds=SWING_S * (1 + place / len(pumps)))
            for number in range(int(lasts_s / SWING_S) + 3):
                hz = HIGH_HZ if number % 2 else LOW_HZ
                power_kw = rated_kw * (hz / 50.0) ** 3 if control_type == "POWER_CONTROLLED" else None
                start = begin + timedelta(seconds=number * SWING_S)
                end = min(start + timedelta(seconds=SWING_S), now + timedelta(seconds=lasts_s))
                if end <= start:
                    break
                rows.append(
                    (station_id, pump_id, start.isoformat(), end.isoformat(), hz, 1.3, power_kw, version)
                )
        insert = (
            "INSERT INTO pump_plans (station_id, pump_id, interval_start, interval_end, suggested_speed_hz,"
            " target_level_m, target_power_kw, plan_version) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        )
        statements: list[tuple[str, Sequence[object]]] = [(insert, row) for row in rows]
        if alone:
            statements.append(("DELETE FROM pump_plans WHERE plan_version < ?", (version,)))
        self.transact(statements)
        return version


def sql_of(program: Program) -> Sql:
    """Return the embedded database of a run."""
    return Sql(str(Path(program.data_dir) / "calejo.db"))
