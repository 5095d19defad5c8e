"""Records of other kinds that belong into the audit trail too: failsafes and quarantines; pure (AUD-2).

The audit record's id follows from the other's, so that a record that comes twice, or first with its end, leaves one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from actors.vocabulary.audit_events import EVENT_TYPES
from actors.vocabulary.records import AlarmRecord, AuditRecord, FailsafeRecord, Record

QUARANTINED: Final = "child_quarantined"
"""The alarm's condition, as supervisors say it."""

_CALEJO: Final = "calejo"


def derived(records: Iterable[Record]) -> tuple[AuditRecord, ...]:
    """Return the audit records that follow from `records`."""
    return tuple(audit for record in records for audit in _of(record))


def _of(record: Record) -> Iterator[AuditRecord]:
    if isinstance(record, FailsafeRecord):
        where = f"{record.scope.value}:{record.scope_id}"
        cause = {"reason": record.reason, "detail": record.detail}
        yield _audit(
            "FAILSAFE_ENTERED", f"{record.record_id}:entered", record, where, record.started_at, cause
        )
        if record.ended_at is not None:
            yield _audit("FAILSAFE_LEFT", f"{record.record_id}:left", record, where, record.ended_at, cause)
    elif isinstance(record, AlarmRecord) and record.condition == QUARANTINED:
        what = {"text": record.text}
        yield _audit(
            "CHILD_QUARANTINED",
            f"{record.record_id}:quarantined",
            record,
            record.subject,
            record.raised_at,
            what,
        )


def _audit(
    event_type: str,
    record_id: str,
    of: FailsafeRecord | AlarmRecord,
    object_id: str,
    at: datetime,
    after: dict[str, Any],
) -> AuditRecord:
    return AuditRecord(
        record_id=record_id,
        at=at,
        event_type=event_type,
        actor=_CALEJO,
        source_address="",
        object_id=object_id,
        outcome="success",
        severity=EVENT_TYPES[event_type].severity,
        after=after,
        correlation_id=of.record_id,
    )
