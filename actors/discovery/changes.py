"""What a change of the configuration leaves in the audit trail: which parts came, went or changed, and how; pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from actors.vocabulary import Instant, Topology
from actors.vocabulary.audit_events import EVENT_TYPES
from actors.vocabulary.records import AuditRecord

PARTS_MAX: Final = 200
"""Parts in one record; of more the record says how many there were."""

_EVENT: Final = "TOPOLOGY_CHANGED"


def change_record(before: Topology | None, after: Topology, *, now: Instant) -> AuditRecord:
    """Return the record of what came into force, each changed part with its values before and after."""
    old, new = _parts(before), _parts(after)
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    told = names[:PARTS_MAX]
    return AuditRecord(
        record_id=f"topology:{after.revision}:{now.utc_ns}",
        at=now.utc,
        event_type=_EVENT,
        actor="database",
        source_address="",
        object_id="topology",
        outcome="success",
        severity=EVENT_TYPES[_EVENT].severity,
        before={name: _changed(old[name], new.get(name)) for name in told if name in old} or None,
        after={
            "revision": after.revision,
            "parts_changed": len(names),
            **{name: _changed(new[name], old.get(name)) for name in told if name in new},
        },
    )


def _changed(values: dict[str, Any], others: dict[str, Any] | None) -> dict[str, Any]:
    """Return what differs from the other side; all of it when there is none."""
    if others is None:
        return values
    return {key: value for key, value in values.items() if others.get(key) != value}


def _parts(topology: Topology | None) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for site in () if topology is None else topology.sites:
        found[f"SITE:{site.site_id}"] = _own(site, "stations")
        for station in site.stations:
            found[f"STATION:{station.station_id}"] = {**_own(station, "pumps"), "site_id": site.site_id}
            for pump in station.pumps:
                found[f"PUMP:{pump.pump_id}"] = {**_own(pump, ""), "station_id": station.station_id}
    return found


def _own(part: msgspec.Struct, below: str) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(part)
    plain.pop(below, None)
    return plain
