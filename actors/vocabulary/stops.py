"""How two copies of one stop become one: the law of every union of stops, in memory and on disk (EST-2)."""

from __future__ import annotations

from typing import Final

from actors.vocabulary.codes import Scope
from actors.vocabulary.records import StopEventRecord

EMERGENCY_STOP: Final = "emergency_stop"
OUT_OF_SERVICE: Final = "out_of_service"


def is_cleared(record: StopEventRecord) -> bool:
    """Return whether a person cleared this one: a clear has an author and a time, anything less is none."""
    return record.cleared_by is not None and record.cleared_at is not None


def joined(one: StopEventRecord, other: StopEventRecord) -> StopEventRecord:
    """Return the least record that holds both (same id); commutative, associative, idempotent.

    Where two copies contradict each other, the more cautious reading wins.
    """
    if one == other:
        return one
    told = min((one, other), key=_telling_order)
    clears = [record for record in (one, other) if is_cleared(record)]
    clear = min(clears, key=_clear_order) if clears else told
    same_scope = (one.scope, one.scope_id) == (other.scope, other.scope_id)
    return StopEventRecord(
        record_id=one.record_id,
        # Two copies that disagree about what is stopped: a damaged one. Only everything surely holds both.
        scope=one.scope if same_scope else Scope.SYSTEM,
        scope_id=one.scope_id if same_scope else "",
        reason=told.reason,
        set_by=told.set_by,
        set_at=told.set_at,
        kind=one.kind if one.kind == other.kind else EMERGENCY_STOP,
        # The earlier stamp lets fewer releases count while the stop is active.
        set_stamp=min(one.set_stamp, other.set_stamp),
        cleared_by=clear.cleared_by,
        cleared_at=clear.cleared_at,
        clear_reason=clear.clear_reason,
        release=clear.release,
    )


def _telling_order(record: StopEventRecord) -> tuple[str, str, str]:
    # As text: times with and without an offset cannot be compared, and a gate must not stumble over that.
    return (record.set_at.isoformat(), record.set_by, record.reason)


def _clear_order(record: StopEventRecord) -> tuple[bool, int, str, str, str]:
    """Order two clears of one stop: the smaller release wins, none at all comes last."""
    at = "" if record.cleared_at is None else record.cleared_at.isoformat()
    return (
        record.release is None,
        record.release or 0,
        at,
        record.cleared_by or "",
        record.clear_reason or "",
    )
