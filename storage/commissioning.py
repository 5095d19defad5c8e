"""Commissioning a pump: its envelope is written here, with the database owner's login, and nowhere else (SAF-6)."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.vocabulary import InvalidValueError, RefusedError, Severity
from actors.vocabulary.limits import LIMIT_KEYS, LimitsBook, Tighter
from actors.vocabulary.records import AuditRecord
from storage import audit
from storage.engine import Database, RowRefusedError
from storage.limits import lock, read_book
from storage.models import pump_commissioning_envelopes

NEEDED: Final = ("hard_min_speed_hz", "hard_max_speed_hz")
_NOT_NEGATIVE: Final = frozenset({"min_flow_m3h", "min_run_s", "min_rest_s"})
_LEVELS: Final = frozenset(name for name, key in LIMIT_KEYS.items() if key.unit == "m")
_VALUE_MAX: Final = 1e9
_SPEED_HZ_MAX: Final = 1000.0

# What the widest limits of a pump must satisfy among themselves: where two bounds break one of these, no limits could
# stand at both.
_BELOW: Final = (
    ("hard_min_speed_hz", "hard_max_speed_hz"),
    ("level_dry_run_m", "level_dry_run_reset_m"),
    ("level_dry_run_m", "level_min_m"),
    ("level_dry_run_m", "level_emergency_high_m"),
    ("level_min_m", "level_max_m"),
    ("level_max_m", "level_emergency_high_m"),
    ("level_emergency_high_reset_m", "level_emergency_high_m"),
    ("min_flow_m3h", "max_flow_m3h"),
    ("min_run_s", "max_run_s"),
)


def complaints(bounds: Mapping[str, Any]) -> tuple[str, ...]:
    """Name everything that is wrong with an envelope's bounds, by limit key (as limits are named); pure."""
    return tuple(_complaints(bounds))


def _complaints(bounds: Mapping[str, Any]) -> Iterator[str]:
    for name in NEEDED:
        if name not in bounds:
            yield f"{name}: not given, expected a bound (Hz)"
    good: dict[str, float] = {}
    for name, value in bounds.items():
        key = LIMIT_KEYS.get(name)
        if key is None:
            yield f"{name[:60]!r}: not a limit, expected one of {', '.join(LIMIT_KEYS)}"
        elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            yield f"{name}: {value!r}, expected a finite number ({key.unit})"
        elif abs(value) > _VALUE_MAX or (key.unit == "Hz" and value > _SPEED_HZ_MAX):
            yield f"{name}: {value:g}, expected at most {_SPEED_HZ_MAX if key.unit == 'Hz' else _VALUE_MAX:g}"
        elif key.whole and value != int(value):
            yield f"{name}: {value:g}, expected a whole number ({key.unit})"
        elif name in _NOT_NEGATIVE and value < 0:
            yield f"{name}: {value:g}, expected 0 or more ({key.unit})"
        elif name not in _NOT_NEGATIVE and name not in _LEVELS and value <= 0:
            yield f"{name}: {value:g}, expected above 0 ({key.unit})"
        else:
            good[name] = float(value)
    for lower, upper in _BELOW:
        if lower in good and upper in good and not good[lower] < good[upper]:
            yield f"{lower}: {good[lower]:g}, expected below {upper} ({good[upper]:g})"


async def commission(
    database: Database,
    *,
    pump_id: str,
    bounds: Mapping[str, float],
    by: str,
    at: datetime,
    replace: bool = False,
) -> dict[str, float | None]:
    """Write a pump's envelope with its audit record in one transaction; return the bounds that were there before.

    Limits in force must lie inside a new envelope: tighten them first.

    Raises:
        InvalidValueError: the bounds are none.
        UnknownSubjectError: there is no such pump.
        RefusedError: there is an envelope and `replace` was not asked for, or limits in force would be outside.
        DeviceError: the database is away, or the login may not write envelopes.

    """
    if found := complaints(bounds):
        raise InvalidValueError("; ".join(found))
    row: dict[str, Any] = {key.bound: bounds.get(name) for name, key in LIMIT_KEYS.items()}
    if row["max_starts_per_hour"] is not None:
        row["max_starts_per_hour"] = int(row["max_starts_per_hour"])
    row |= {"commissioned_by": by, "commissioned_at": at}

    async def work(connection: AsyncConnection) -> dict[str, float | None]:
        await lock(connection)
        book = await read_book(connection, pump_id)
        if book.envelope is not None and not replace:
            raise RefusedError(
                f"pump {pump_id}: commissioned by {book.envelope.commissioned_by}; say --replace to do it anew"
            )
        if outside := _outside(book, bounds):
            raise RefusedError("; ".join(outside))
        before = {} if book.envelope is None else book.envelope.bounds
        table = pump_commissioning_envelopes
        if book.envelope is None:
            await connection.execute(insert(table).values(pump_id=pump_id, **row))
        else:
            await connection.execute(update(table).where(table.c.pump_id == pump_id).values(**row))
        record = AuditRecord(
            record_id=f"{uuid.uuid4()}:commissioned",
            at=at,
            event_type="PUMP_COMMISSIONED",
            actor=by,
            source_address="command line",
            object_id=f"PUMP:{pump_id}",
            outcome="success",
            severity=Severity.HIGH,
            before=dict(before) or None,
            after=dict(bounds),
        )
        await audit.append(connection, [record])
        return before

    try:
        return await database.run(work)
    except RowRefusedError as error:
        raise RefusedError(f"the database refused the envelope: {error}") from None


def _outside(book: LimitsBook, bounds: Mapping[str, float]) -> tuple[str, ...]:
    if book.current is None:
        return ()
    found = []
    for name, key in LIMIT_KEYS.items():
        bound, value = bounds.get(name), getattr(book.current, name)
        if bound is None:
            continue
        if value is None:
            found.append(f"{name}: version {book.current.version} in force has none; propose one first")
        elif value > bound if key.tighter is Tighter.LOWER else value < bound:
            found.append(
                f"{name}: version {book.current.version} in force says {value:g} {key.unit}, outside {bound:g};"
                " tighten it first"
            )
    return tuple(found)
