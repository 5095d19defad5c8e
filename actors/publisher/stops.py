"""What follows from a stop that an endpoint receives: its record, who must hear of it, its audit and alarm (EST)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from actors.safety.latch import EMERGENCY_STOP, LatchSet, covers, is_cleared
from actors.vocabulary import Address, Instant, Scope, Severity, SiteConfig
from actors.vocabulary.ids import endpoint_address, station_part_address
from actors.vocabulary.records import AuditRecord, StopEventRecord
from actors.vocabulary.settings import PORT_PROTOCOLS

STOP_POINT: Final = "emergency_stop"


def stop_from_wire(
    scope: Scope, scope_id: str, *, record_id: str, peer: str, protocol: str, stamp: int, at: Instant
) -> StopEventRecord:
    """Return the stop that a client set by writing 1 to a scope's `emergency_stop` point."""
    return StopEventRecord(
        record_id=record_id,
        scope=scope,
        scope_id=scope_id,
        reason=f"{protocol} {STOP_POINT}",
        set_by=f"{protocol}:{peer}",
        set_at=at.utc,
        kind=EMERGENCY_STOP,
        set_stamp=stamp,
    )


def scope_of(site_id: str, station_id: str | None, pump_id: str | None) -> tuple[Scope, str]:
    """Return the scope that a point's place in the tree stands for."""
    if pump_id is not None:
        return Scope.PUMP, pump_id
    if station_id is not None:
        return Scope.STATION, station_id
    return Scope.SITE, site_id


def shown_as_stopped(latches: LatchSet, scope: Scope, scope_id: str) -> bool:
    """Return what the scope's own stop point reads back; a system stop, which has no point, shows at the site."""
    own = latches.stops_of_scope(scope, scope_id)
    return bool(own) or (scope is Scope.SITE and bool(latches.stops_of_scope(Scope.SYSTEM, "")))


def concerned_safeties(site: SiteConfig, stops: Iterable[StopEventRecord]) -> tuple[Address, ...]:
    """Return the safety actors of this site with a pump that one of the stops covers."""
    given = tuple(stops)
    return tuple(
        station_part_address(site.site_id, station.station_id, "safety")
        for station in site.stations
        if any(
            covers(stop, site.site_id, station.station_id, pump.pump_id)
            for stop in given
            for pump in station.pumps
        )
    )


def other_endpoints(
    site_id: str, own: Address, protocols: Iterable[str] = PORT_PROTOCOLS
) -> tuple[Address, ...]:
    """Return the site's endpoints but ourselves."""
    addresses = (endpoint_address(site_id, protocol) for protocol in protocols)
    return tuple(address for address in addresses if address != own)


def stamp_without_disk(latches: LatchSet, at: Instant) -> int:
    """Return a stamp above all that is known here, for a stop that must not wait for the disk.

    One too low, for a clear that has not come here yet, only keeps that clear from releasing while this stop holds.
    """
    known = [stamp for record in latches.records for stamp in (record.set_stamp, record.release or 0)]
    return max([at.utc_ns // 1_000_000_000, *(stamp + 1 for stamp in known)])


def changes(before: LatchSet, after: LatchSet) -> tuple[StopEventRecord, ...]:
    """Return the records that a merge added or altered."""
    return tuple(record for record in after.records if before.by_id.get(record.record_id) != record)


def audit_of(stop: StopEventRecord, *, source_address: str) -> AuditRecord:
    """Return the audit record of a stop's setting or clearing.

    Its id follows from the stop's, so that several witnesses of one event leave one record.
    """
    done = is_cleared(stop)
    what = "OUT_OF_SERVICE" if stop.kind != EMERGENCY_STOP else "EMERGENCY_STOP"
    by = stop.cleared_by if done else stop.set_by
    at = stop.cleared_at if done else stop.set_at
    return AuditRecord(
        record_id=f"{stop.record_id}:{'cleared' if done else 'set'}",
        at=at if at is not None else stop.set_at,
        event_type=f"{what}_{'CLEARED' if done else 'SET'}",
        actor=by or "",
        source_address=source_address,
        object_id=subject_of(stop),
        outcome="success",
        severity=Severity.HIGH if done else Severity.CRITICAL,
        before=None,
        after=msgspec.to_builtins(stop),
        correlation_id=stop.record_id,
    )


def audits_of(stop: StopEventRecord, *, source_address: str) -> tuple[AuditRecord, ...]:
    """Return the audit records of all that is known of a stop: its setting and, if it is cleared, its clearing."""
    bare = msgspec.structs.replace(stop, cleared_by=None, cleared_at=None, clear_reason=None, release=None)
    both = (bare, stop) if is_cleared(stop) else (bare,)
    return tuple(audit_of(record, source_address=source_address) for record in both)


def subject_of(stop: StopEventRecord) -> str:
    """Name what a stop covers, for alarms and audit."""
    return "system" if stop.scope is Scope.SYSTEM else f"{stop.scope.value.lower()}:{stop.scope_id}"
