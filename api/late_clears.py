"""What is recorded of clears whose end nobody could tell when they were answered (EST-2, AUD-2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from actors.publisher.stops import audit_of, subject_of
from actors.safety.latch import EMERGENCY_STOP
from actors.vocabulary import Instant
from actors.vocabulary.audit_events import EVENT_TYPES
from actors.vocabulary.records import AuditRecord, Record, StopEventRecord

LATE: Final = "success, after it had been answered that this was not known yet"
_NOT_CLEARED: Final = "EMERGENCY_STOP_CLEAR_REFUSED"


def cleared_late(done: Iterable[StopEventRecord], *, peer: str) -> tuple[Record, ...]:
    """Return the rows of clears that came into force after all."""
    return tuple(
        row
        for stop in done
        for row in (stop, msgspec.structs.replace(audit_of(stop, source_address=peer), outcome=LATE))
    )


def refused_late(
    held: Iterable[StopEventRecord], *, by: str, peer: str, why: str, asked: Instant
) -> tuple[Record, ...]:
    """Return the rows of clears that the disk refused after all; each belongs to the request of that moment."""
    return tuple(
        AuditRecord(
            record_id=f"{stop.record_id}:not-cleared:{asked.utc_ns}",
            at=asked.utc,
            event_type=_NOT_CLEARED,
            actor=by,
            source_address=peer,
            object_id=subject_of(stop),
            outcome=f"refused in the end: {why}"[:300],
            severity=EVENT_TYPES[_NOT_CLEARED].severity,
            after={"kind": "emergency stop" if stop.kind == EMERGENCY_STOP else "out of service"},
            correlation_id=stop.record_id,
        )
        for stop in held
    )
