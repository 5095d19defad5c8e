"""Accepted feedback and heartbeats in the audit trail: who began to write, not every value; pure (AUD-2)."""

from __future__ import annotations

from typing import Final

import msgspec

from actors.publisher.refusals import host_of
from actors.vocabulary import Instant, Severity
from actors.vocabulary.records import AuditRecord

AGAIN_S: Final = 3_600.0
WRITERS_MAX: Final = 256

Key = tuple[str, str, str]


class FirstWrites(msgspec.Struct, frozen=True, kw_only=True):
    """When each (who, from where, station) was told of last; at most WRITERS_MAX, the longest ago goes first."""

    told: dict[Key, Instant] = msgspec.field(default_factory=dict)


def noted(
    state: FirstWrites, *, by: str, peer: str, station_id: str, path: str, record_id: str, now: Instant
) -> tuple[FirstWrites, AuditRecord | None]:
    """Note an accepted write; return its audit record when it is its writer's first at this station within the hour."""
    key = (by, host_of(peer), station_id)
    last = state.told.get(key)
    if last is not None and now.seconds_since(last) < AGAIN_S:
        return state, None
    told = {other: at for other, at in state.told.items() if other != key}
    told[key] = now
    if len(told) > WRITERS_MAX:
        del told[next(iter(told))]
    record = AuditRecord(
        record_id=record_id,
        at=now.utc,
        event_type="POINTS_WRITTEN",
        actor=by,
        source_address=peer,
        object_id=f"STATION:{station_id}",
        outcome="success",
        severity=Severity.LOW,
        after={"first": path},
    )
    return FirstWrites(told=told), record
