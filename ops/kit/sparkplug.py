"""The Sparkplug names of a plant as CSV, from the rows of the running map: what a host's tag browser will show."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

from protocols.sparkplug.names import MODE_REQUEST, SETPOINT_REQUEST

COLUMNS: Final = ("edge_node", "device", "metric", "type", "unit", "command", "path", "description")

# Of the OPC UA type of the same point; 32 unsigned bits travel as Int64 (see ops/docs/wire.md).
_TYPES: Final = {"Boolean": "Boolean", "UInt16": "UInt16", "UInt32": "Int64", "Double": "Double"}
_COMMANDS: Final = ("emergency_stop", "scada_heartbeat")
_REQUESTS: Final = (
    (SETPOINT_REQUEST, "Double", "Hz", "An operator's speed, in MANUAL only"),
    (MODE_REQUEST, "UInt16", "", "1 AUTO, 2 MANUAL (at the applied or requested speed)"),
)
_REQUESTED: Final = frozenset(point for point, *_ in _REQUESTS)


def as_sparkplug(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the metrics of `/api/v1/tags` as CSV; the edge node itself has no device. The group is a setting."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    pumps: dict[str, tuple[str, str]] = {}
    for row in rows:
        if row["protocol"] != "opcua" or row["point"] in _REQUESTED:
            continue
        device = ".".join(part for part in (row["station_id"], row["pump_id"]) if part)
        if row["pump_id"]:
            pumps[device] = (row["site_id"], row["path"].rpartition("/")[0])
        point, kind, command = row["point"], _TYPES[row["type"]], row["point"] in _COMMANDS
        cells = (row["site_id"], device, point, kind, row["unit"] or "", _yes(given=command), row["path"])
        writer.writerow((*cells, row["description"]))
    for device, (site_id, place) in pumps.items():
        for point, kind, unit, description in _REQUESTS:
            named = (site_id, device, point, kind, unit, _yes(given=True), f"{place}/{point}", description)
            writer.writerow(named)
    return text.getvalue()


def _yes(*, given: bool) -> str:
    return "yes" if given else ""
