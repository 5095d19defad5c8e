"""What the storage actor says about the audit trail and the disk under it; pure (AUD-1, AUD-4)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec

from actors.vocabulary import Instant, Severity
from actors.vocabulary.audit_events import EVENT_TYPES
from actors.vocabulary.audit_trail import Look
from actors.vocabulary.records import AuditRecord

LOOK_PERIOD_S: Final = 15.0
MIB: Final = 1_048_576
# An alarm that is almost over stays until there is a tenth more than what is wanted.
_ROOM_RETURN: Final = 1.1

BROKEN: Final = "audit_chain_broken"
UNSIGNED: Final = "audit_not_signed"
NOT_KEPT: Final = "audit_not_kept_elsewhere"
RETENTION_DUE: Final = "audit_retention_due"
NEARLY_FULL: Final = "storage_nearly_full"
SPOOL_FAILED: Final = "spool_failed"
CONDITIONS: Final[Mapping[str, Severity]] = {
    BROKEN: Severity.CRITICAL,
    UNSIGNED: Severity.HIGH,
    NOT_KEPT: Severity.MEDIUM,
    RETENTION_DUE: Severity.LOW,
    NEARLY_FULL: Severity.HIGH,
    SPOOL_FAILED: Severity.HIGH,
}

_CALEJO: Final = "calejo"
_TRAIL: Final = "audit_log"


class TrailState(msgspec.Struct, frozen=True, kw_only=True):
    """What the last looks at the trail found; '' when all is well."""

    broken: str = ""
    not_kept: str = ""
    unsigned_since: Instant | None = None
    unsigned_why: str = ""
    oldest_at: str = ""


def looked(state: TrailState, look: Look, *, now: Instant) -> tuple[TrailState, tuple[AuditRecord, ...]]:
    """Return the state after a look, and what of it belongs into the trail itself, the same look once."""
    records = []
    if look.key_made:
        records.append(
            _record(
                "AUDIT_KEY_MADE", f"{look.key_made}:made", look.key_made, now, after={"key_id": look.key_made}
            )
        )
    if look.broken and look.broken != state.broken:
        # The same break found again after a restart is the same record.
        name = hashlib.sha256(look.broken.encode()).hexdigest()[:32]
        records.append(
            _record("AUDIT_CHAIN_BROKEN", f"{name}:broken", _TRAIL, now, outcome=f"failed: {look.broken}")
        )
    state = TrailState(broken=look.broken, not_kept=look.not_kept_elsewhere, oldest_at=look.oldest_at)
    return state, tuple(records)


def not_looked(state: TrailState, *, error: str, now: Instant) -> TrailState:
    """Return the state after database or disk refused a look."""
    return msgspec.structs.replace(state, unsigned_since=state.unsigned_since or now, unsigned_why=error)


def alarms(
    state: TrailState,
    *,
    spool_error: str,
    free_bytes: int | None,
    free_bytes_min: int,
    unsigned_after_s: float,
    retention_days: int,
    was: frozenset[str],
    now: Instant,
) -> dict[str, str]:
    """Return the conditions that hold now, each with its text.

    `free_bytes` None: nobody can say; `retention_days` 0: for ever.
    """
    held = {}
    if state.broken:
        held[BROKEN] = f"the audit trail was changed: {state.broken}"
    if state.not_kept:
        held[NOT_KEPT] = f"checkpoints are not kept elsewhere: {state.not_kept}"
    if state.unsigned_since is not None and now.seconds_since(state.unsigned_since) >= unsigned_after_s:
        held[UNSIGNED] = f"the audit trail is not signed: {state.unsigned_why}"
    if why := _overdue(state.oldest_at, retention_days, now):
        held[RETENTION_DUE] = why
    wanted = free_bytes_min * (_ROOM_RETURN if NEARLY_FULL in was else 1.0)
    if free_bytes is not None and free_bytes < wanted:
        held[NEARLY_FULL] = (
            f"{free_bytes // MIB} MiB are free under the data directory, fewer than {free_bytes_min // MIB}"
        )
    if spool_error:
        held[SPOOL_FAILED] = f"the queue on disk refuses records: {spool_error}"
    return held


def _overdue(oldest_at: str, retention_days: int, now: Instant) -> str:
    """Return which policy the oldest record is beyond; '': none.

    Nothing leaves the trail by itself: a policy that nobody carries out has to be heard of.
    """
    if not oldest_at or not retention_days:
        return ""
    try:
        at = datetime.fromisoformat(oldest_at)
    except ValueError:
        return ""
    if at.tzinfo is None or now.utc - at <= timedelta(days=retention_days):
        return ""
    return (
        f"the trail's oldest record is of {at:%Y-%m-%d}, beyond audit.retention_days ({retention_days}):"
        " calejo audit archive"
    )


def _record(
    event_type: str,
    record_id: str,
    object_id: str,
    now: Instant,
    *,
    outcome: str = "success",
    after: dict[str, str] | None = None,
) -> AuditRecord:
    return AuditRecord(
        record_id=record_id,
        at=now.utc,
        event_type=event_type,
        actor=_CALEJO,
        source_address="",
        object_id=object_id,
        outcome=outcome,
        severity=EVENT_TYPES[event_type].severity,
        after=after,
    )
