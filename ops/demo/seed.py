"""The demo's database: configuration once, plans and the optimiser's heartbeat as the outside optimiser
writes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, create_engine, delete, func, insert, literal, select, update
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from actors.vocabulary import DeviceError, Quality
from ops.demo.catalogue import LIMITS, SITE_ID, SITE_NAME, STATIONS, TIMEZONE, demo_site, limits_of
from ops.demo.observing import WINDOW_S, Report, Seen, observe
from ops.demo.planning import plan_rows, version_at
from storage.models import (
    optimiser_status,
    pump_commissioning_envelopes,
    pump_feedback,
    pump_plans,
    pump_safety_limits,
    pump_stations,
    pumps,
    sites,
)
from storage.models.base import UtcDateTime, moment
from storage.models.configuration import LIMIT_COLUMNS
from storage.urls import parsed, shown

_BUSY_TIMEOUT_S: Final = 5
_BACK: Final = timedelta(days=1)
# Each controller reports once a second; who reports more often is read no further.
_REPORTS_MAX: Final = 4 * int(WINDOW_S) * sum(len(station.pumps) for station in STATIONS)
_AHEAD: Final = timedelta(days=1)
_KEEP: Final = timedelta(days=2)
# The commissioning envelope: how far an approved limit may ever go.
_ENVELOPE_SPEED_HZ: Final = (18.0, 52.0)
_ENVELOPE_RATE_HZ_PER_S: Final = 5.0


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A plan that was written; `blind`: for at least one station no feedback told where its well stands."""

    version: int
    blind: bool


class DemoDatabase:
    """Calejo's database as the demo's engineer and optimiser use it: plain SQL, no connection kept."""

    def __init__(self, url: str) -> None:
        """Take the URL of a database whose schema is current.

        Raises:
            InvalidValueError: `url` is none.

        """
        where = parsed(url, "sync")
        options = {"timeout": _BUSY_TIMEOUT_S} if where.get_backend_name() == "sqlite" else {}
        self._name = shown(where)
        self._engine: Engine = create_engine(where, poolclass=NullPool, connect_args=options)

    def seed(self, *, now: datetime) -> bool:
        """Insert the demo's site with plans from yesterday to tomorrow; False: it was there already.

        Raises:
            DeviceError: the database refused.

        """
        with self._transaction() as connection:
            if connection.scalar(select(func.count()).where(sites.c.site_id == SITE_ID)):
                return False
            _insert_configuration(connection, now=now)
            _insert_plans(connection, {}, start=now - _BACK, end=now + _AHEAD, now=now)
            _beat(connection, now=now)
        return True

    def plan(self, *, now: datetime) -> Planned:
        """Write the plans of the next day in a new version, from what feedback says, and drop what nobody needs.

        Raises:
            DeviceError: the database refused.

        """
        with self._transaction() as connection:
            seen = _look(connection, now=now)
            version = _insert_plans(connection, seen, start=now, end=now + _AHEAD, now=now)
            _forget(connection, now=now)
            _beat(connection, now=now)
        return Planned(version=version, blind=len(seen) < len(STATIONS))

    def beat(self, *, now: datetime) -> None:
        """Tell Calejo that the optimiser lives.

        Raises:
            DeviceError: the database refused.

        """
        with self._transaction() as connection:
            _beat(connection, now=now)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            cause = " ".join(str(getattr(error, "orig", None) or error).split())
            raise DeviceError(f"{self._name}: {cause}") from error


def _insert_configuration(connection: Connection, *, now: datetime) -> None:
    connection.execute(insert(sites).values(site_id=SITE_ID, name=SITE_NAME, timezone=TIMEZONE))
    for station, config in zip(STATIONS, demo_site().stations, strict=True):
        connection.execute(
            insert(pump_stations).values(
                station_id=station.station_id,
                site_id=SITE_ID,
                name=station.name,
                latitude=station.latitude,
                longitude=station.longitude,
                timezone=TIMEZONE,
                modbus_unit_id=station.modbus_unit_id,
                max_pumps_running=station.max_pumps_running,
                level_datum=config.level_datum,
                has_high_float=config.has_high_float,
            )
        )
        # One by one: the database gives out the wire slots in this order.
        for pump, demo_pump in zip(config.pumps, station.pumps, strict=True):
            connection.execute(
                insert(pumps).values(
                    pump_id=pump.pump_id,
                    station_id=pump.station_id,
                    name=pump.name,
                    control_type=pump.control_type.value,
                    default_setpoint_hz=pump.default_setpoint_hz,
                    failsafe_strategy=pump.failsafe_strategy.value,
                    control_parameters=pump.control_parameters,
                    rated_power_kw=pump.rated_power_kw,
                    rated_flow_m3h=pump.rated_flow_m3h,
                    rated_speed_hz=pump.rated_speed_hz,
                )
            )
            limits = limits_of(demo_pump)
            values = {name: getattr(limits, name) for name in LIMIT_COLUMNS}
            _insert_limits(connection, pump.pump_id, values, now=now)


def _insert_limits(connection: Connection, pump_id: str, values: dict[str, Any], *, now: datetime) -> None:
    connection.execute(
        insert(pump_commissioning_envelopes).values(
            pump_id=pump_id,
            min_speed_hz=_ENVELOPE_SPEED_HZ[0],
            max_speed_hz=_ENVELOPE_SPEED_HZ[1],
            commissioned_by="demo-commissioner",
            **{**values, "max_rate_hz_per_s": _ENVELOPE_RATE_HZ_PER_S},
        )
    )
    connection.execute(
        insert(pump_safety_limits).values(
            pump_id=pump_id,
            version=LIMITS.version,
            hard_min_speed_hz=LIMITS.hard_min_speed_hz,
            hard_max_speed_hz=LIMITS.hard_max_speed_hz,
            set_by=LIMITS.set_by,
            approved_by=LIMITS.approved_by,
            approved_at=now,
            **values,
        )
    )


def _look(connection: Connection, *, now: datetime) -> dict[str, Seen]:
    """Read what the stations reported lately; rows that are not GOOD tell nothing."""
    table = pump_feedback.c
    since = now - timedelta(seconds=WINDOW_S)
    rows = connection.execute(
        select(
            table.pump_id,
            table.measured_at,
            table.wet_well_level_m,
            table.actual_flow_m3h,
            table.running,
            table.local_override,
            table.fault_code,
        )
        .where(
            table.pump_id.in_([pump.pump_id for station in STATIONS for pump in station.pumps]),
            moment(table.measured_at) >= _moment_of(since),
            table.quality == Quality.GOOD.name,
        )
        .order_by(moment(table.measured_at).desc())
        .limit(_REPORTS_MAX)
    )
    reports = [
        Report(
            pump_id=row.pump_id,
            at_s=row.measured_at.timestamp(),
            level_m=row.wet_well_level_m,
            flow_m3h=row.actual_flow_m3h,
            running=row.running,
            away=bool(row.local_override or row.fault_code),
        )
        for row in rows
    ]
    seen: dict[str, Seen] = {}
    for station in STATIONS:
        own = {pump.pump_id for pump in station.pumps}
        found = observe(station, [one for one in reports if one.pump_id in own], now_s=now.timestamp())
        if found is not None:
            seen[station.station_id] = found
    return seen


def _insert_plans(
    connection: Connection, seen: dict[str, Seen], *, start: datetime, end: datetime, now: datetime
) -> int:
    version = version_at(now)
    taken = connection.scalar(select(func.max(pump_plans.c.plan_version)))
    if taken is not None and taken >= version:
        version = taken + 1
    rows = plan_rows(now=now, start=start, end=end, version=version, seen=seen)
    connection.execute(insert(pump_plans), list(rows))
    return version


def _forget(connection: Connection, *, now: datetime) -> None:
    """Delete rows of the past, and of the future those that two newer versions have replaced."""
    connection.execute(delete(pump_plans).where(moment(pump_plans.c.interval_end) < _moment_of(now - _KEEP)))
    versions = (
        select(pump_plans.c.plan_version).distinct().order_by(pump_plans.c.plan_version.desc()).offset(2)
    )
    oldest_kept = connection.scalar(versions.limit(1))
    if oldest_kept is not None:
        connection.execute(
            delete(pump_plans).where(
                pump_plans.c.plan_version <= oldest_kept,
                moment(pump_plans.c.interval_start) > _moment_of(now),
            )
        )


def _beat(connection: Connection, *, now: datetime) -> None:
    version = connection.scalar(select(func.max(pump_plans.c.plan_version)))
    values = {"heartbeat_at": now, "plan_version": version}
    for station in STATIONS:
        at_station = optimiser_status.c.station_id == station.station_id
        if not connection.execute(update(optimiser_status).where(at_station).values(**values)).rowcount:
            connection.execute(insert(optimiser_status).values(station_id=station.station_id, **values))


def _moment_of(at: datetime) -> moment:
    return moment(literal(at, UtcDateTime()))
