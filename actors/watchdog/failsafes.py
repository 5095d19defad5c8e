"""Which scopes are in failsafe, and the records of its beginning and end (WDG-2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final
from uuid import NAMESPACE_URL, uuid5

import msgspec

from actors.messages import EndpointStatus, StationDecisions
from actors.vocabulary import Instant, Reason, Scope, SiteConfig
from actors.vocabulary.records import FailsafeRecord

# An endpoint that has not reported for this long says nothing about the present.
REPORT_AGE_S_MAX: Final = 5.0


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Why and since when a pump is in failsafe."""

    reason: Reason
    since: Instant
    detail: str = ""


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """A failsafe period that has begun: its record."""

    record: FailsafeRecord


def causes(
    decisions: Mapping[str, StationDecisions],
    endpoints: Mapping[str, EndpointStatus],
    *,
    lease_s: float,
    now: Instant,
) -> dict[str, Cause]:
    """Return every pump in failsafe: by the chain's own word, or because a gate shows what a dead chain left."""
    found: dict[str, Cause] = {}
    for station in decisions.values():
        for decision in station.decisions:
            if decision.failsafe_since is not None:
                reason = decision.failsafe_reason
                found[decision.setpoint.pump_id] = Cause(
                    reason=reason if reason is not None else decision.setpoint.reason,
                    since=decision.failsafe_since,
                )
    for _, status in sorted(endpoints.items()):
        if now.seconds_since(status.sent_at) > REPORT_AGE_S_MAX:
            continue
        for pump in status.pumps:
            if pump.accepted_at is None or pump.lease_left_s > 0.0 or pump.pump_id in found:
                continue
            found[pump.pump_id] = Cause(
                reason=Reason.LEASE_EXPIRED,
                # The same moment for whoever asks: a watchdog that was restarted must not take it for another lapse.
                since=pump.accepted_at.plus(lease_s),
                detail=f"at the {status.protocol} gate",
            )
    return found


def scopes(site: SiteConfig, pumps: Mapping[str, Cause]) -> dict[tuple[Scope, str], Cause]:
    """Return the widest scopes that are wholly in failsafe: the site, else stations, else pumps."""
    found: dict[tuple[Scope, str], Cause] = {}
    whole: list[Cause] = []
    for station in site.stations:
        hit = {pump.pump_id: pumps[pump.pump_id] for pump in station.pumps if pump.pump_id in pumps}
        if station.pumps and len(hit) == len(station.pumps):
            whole.append(found.setdefault((Scope.STATION, station.station_id), _widened(hit)))
        else:
            found.update({(Scope.PUMP, pump_id): cause for pump_id, cause in hit.items()})
    driven = [station for station in site.stations if station.pumps]
    if driven and len(whole) == len(driven):
        stations = {key[1]: cause for key, cause in found.items()}
        return {(Scope.SITE, site.site_id): _widened(stations)}
    return found


def follow(
    opened: Mapping[tuple[Scope, str], Open], present: Mapping[tuple[Scope, str], Cause], *, now: Instant
) -> tuple[dict[tuple[Scope, str], Open], tuple[FailsafeRecord, ...]]:
    """Return the periods that are open now, and the records to append: those that began and those that ended.

    A record's id follows from scope and beginning, so a watchdog that was restarted meanwhile adds no second one.
    """
    after: dict[tuple[Scope, str], Open] = {}
    records: list[FailsafeRecord] = []
    for key, cause in present.items():
        before = opened.get(key)
        if before is not None:
            after[key] = before
            continue
        scope, scope_id = key
        beginning = f"calejo:failsafe:{scope}:{scope_id}:{cause.since.boot_id}:{cause.since.boot_ns}"
        record = FailsafeRecord(
            record_id=str(uuid5(NAMESPACE_URL, beginning)),
            scope=scope,
            scope_id=scope_id,
            reason=cause.reason.name,
            started_at=cause.since.utc,
            detail=cause.detail,
        )
        after[key] = Open(record=record)
        records.append(record)
    records += [
        msgspec.structs.replace(period.record, ended_at=now.utc)
        for key, period in opened.items()
        if key not in present
    ]
    return after, tuple(records)


def taken_over(
    opened: Mapping[tuple[Scope, str], Open], read: Iterable[FailsafeRecord], site: SiteConfig
) -> tuple[dict[tuple[Scope, str], Open], tuple[FailsafeRecord, ...]]:
    """Return the periods with those that a former life of the watchdog left open, and the records to append.

    Those of other sites are not ours. What was left open for a scope that is in failsafe anew ended before that began.
    """
    known = {(Scope.SITE, site.site_id)}
    for station in site.stations:
        known |= {(Scope.STATION, station.station_id)}
        known |= {(Scope.PUMP, pump.pump_id) for pump in station.pumps}
    after, records = dict(opened), []
    for record in sorted(read, key=lambda record: record.started_at, reverse=True):
        key = (record.scope, record.scope_id)
        if key not in known:
            continue
        present = after.setdefault(key, Open(record=record)).record
        if present.record_id != record.record_id:
            records.append(
                msgspec.structs.replace(record, ended_at=max(record.started_at, present.started_at))
            )
    return after, tuple(records)


def _widened(parts: Mapping[str, Cause]) -> Cause:
    """Return the cause of a scope all of whose parts are in failsafe: since the last of them was."""
    last = max(parts.values(), key=lambda cause: cause.since.boot_ns)
    detail = ", ".join(f"{name}: {cause.reason.name}" for name, cause in sorted(parts.items()))
    return Cause(reason=last.reason, since=last.since, detail=detail)
