"""The map of every wire as rows: what `calejo tags`, `/api/v1/tags` and every export are made of (MOD-2)."""

from __future__ import annotations

from typing import Any

from actors.vocabulary import SiteConfig
from protocols import points
from protocols.modbus.points import modbus_points
from protocols.points import ModbusPlace, Point

_READ_ONLY = ("input", "discrete")


def tags(site: SiteConfig) -> list[dict[str, Any]]:
    """Return the rows of `protocols.points.tags`, and those of what only Modbus has behind each owner's.

    Raises:
        InvalidValueError: see `protocols.points.site_points`.

    """
    rows = points.tags(site)
    known = {_place(row) for row in rows}
    added: dict[tuple[str, str | None, str | None], list[dict[str, Any]]] = {}
    for point in modbus_points(site):
        owner = (point.site_id, point.station_id, point.pump_id)
        new = [row for row in (_row(point, place) for place in point.places) if _place(row) not in known]
        added.setdefault(owner, []).extend(new)
    last = {(row["site_id"], row["station_id"], row["pump_id"]): index for index, row in enumerate(rows)}
    whole: list[dict[str, Any]] = []
    for index, row in enumerate(rows):
        whole.append(row)
        owner = (row["site_id"], row["station_id"], row["pump_id"])
        if last[owner] == index:
            whole += added[owner]
    return whole


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
