"""The map of every wire as rows: what `calejo tags`, `/api/v1/tags` and every export are made of (MOD-2)."""

from __future__ import annotations

from typing import Any

from actors.vocabulary import SiteConfig
from protocols import points
from protocols.modbus.points import modbus_points
from protocols.points import ModbusPlace, Point

_READ_ONLY = ("input", "discrete")


def tags(site: SiteConfig) -> list[dict[str, Any]]:
    """Return the rows of `protocols.points.tags` and those of what only Modbus has, an owner's rows together.

    Raises:
        InvalidValueError: see `protocols.points.site_points`.

    """
    shared = points.tags(site)
    known = {_place(row) for row in shared}
    own = (_row(point, place) for point in modbus_points(site) for place in point.places)
    by_owner: dict[tuple[str, str | None, str | None], list[dict[str, Any]]] = {}
    for row in (*shared, *(row for row in own if _place(row) not in known)):
        by_owner.setdefault((row["site_id"], row["station_id"], row["pump_id"]), []).append(row)
    return [row for rows in by_owner.values() for row in rows]


def _place(row: dict[str, Any]) -> tuple[object, ...]:
    return (row["protocol"], row["unit_id"], row["table"], row["address"])


def _row(point: Point, place: ModbusPlace) -> dict[str, Any]:
    return {
        "path": point.path,
        "site_id": point.site_id,
        "station_id": point.station_id,
        "pump_id": point.pump_id,
        "point": point.point,
        "protocol": "modbus",
        "unit_id": place.unit_id,
        "table": place.table,
        "address": place.address,
        "count": place.count,
        "type": "bool" if place.raw == "bit" else place.raw,
        "scale": place.scale,
        "unit": point.unit or None,
        "access": "r" if place.table in _READ_ONLY else point.access.value,
        "node_id": None,
        "description": point.description,
    }
