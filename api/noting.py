"""What REST writes into the audit trail beside what it carries out: refusals, few of each client's (AUD-2, SEC-5)."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, TypeVar

import msgspec

from actors.runtime import Clock
from actors.vocabulary import CallerError, DeviceError, Instant
from actors.vocabulary.audit_events import EVENT_TYPES
from actors.vocabulary.records import AuditRecord, Record
from actors.vocabulary.sources import source_of_peer
from api.access.errors import OutcomeUnknownError

T = TypeVar("T")

REFUSALS_PER_WINDOW: Final = 10
WINDOW_S: Final = 60.0
CLIENTS_MAX: Final = 1_000
# What a refusal is called when it is none: the command may have been carried out.
UNCONFIRMED: Final = {
    "EMERGENCY_STOP_REFUSED": "EMERGENCY_STOP_UNCONFIRMED",
    "EMERGENCY_STOP_CLEAR_REFUSED": "EMERGENCY_STOP_CLEAR_UNCONFIRMED",
    "MODE_REFUSED": "MODE_UNCONFIRMED",
}


class _Window(msgspec.Struct):
    began: Instant
    noted: int = 0
    suppressed: int = 0


class Noting:
    """Hands audit records to storage and never waits for them; a client in a loop cannot fill the trail."""

    def __init__(self, record: Callable[[Iterable[Record]], None], clock: Clock) -> None:
        self._record = record
        self._clock = clock
        self._windows: dict[tuple[str, str, str], _Window] = {}

    def note(
        self,
        event_type: str,
        *,
        actor: str,
        peer: str,
        object_id: str,
        outcome: str = "success",
        after: dict[str, Any] | None = None,
        correlation_id: str = "",
    ) -> None:
        """Write one event of the table."""
        record = AuditRecord(
            record_id=f"{uuid.uuid4()}:rest",
            at=self._clock.now().utc,
            event_type=event_type,
            actor=actor,
            source_address=peer,
            object_id=object_id,
            outcome=outcome,
            severity=EVENT_TYPES[event_type].severity,
            after=after,
            correlation_id=correlation_id,
        )
        self._record((record,))

    async def refusals(
        self, work: Awaitable[T], event_type: str, *, actor: str, peer: str, object_id: str
    ) -> T:
        """Await `work`; where it is refused, or nobody knows, note that and let the error pass on.

        Raises:
            CallerError, DeviceError: as `work` raises them.

        """
        try:
            return await work
        except OutcomeUnknownError as error:
            self._refused(
                UNCONFIRMED.get(event_type, event_type),
                f"not known: {error}",
                actor=actor,
                peer=peer,
                object_id=object_id,
            )
            raise
        except (CallerError, DeviceError) as error:
            self._refused(event_type, f"refused: {error}", actor=actor, peer=peer, object_id=object_id)
            raise

    def _refused(self, event_type: str, outcome: str, *, actor: str, peer: str, object_id: str) -> None:
        # What one program does in a loop hides neither what else it is refused, nor what others behind its address are.
        now, key = self._clock.now(), (event_type, source_of_peer(peer), actor)
        held = self._windows.pop(key, None)
        suppressed = 0
        if held is None or now.seconds_since(held.began) >= WINDOW_S:
            suppressed = 0 if held is None else held.suppressed
            held = _Window(began=now)
        while len(self._windows) >= CLIENTS_MAX:
            # Whoever was refused longest ago; what was kept back of theirs is told with whoever pushes them out.
            suppressed += self._windows.pop(next(iter(self._windows))).suppressed
        self._windows[key] = held
        if held.noted >= REFUSALS_PER_WINDOW:
            held.suppressed += 1
            return
        held.noted += 1
        self.note(
            event_type,
            actor=actor,
            peer=peer,
            object_id=object_id,
            outcome=outcome,
            after={"suppressed_before": suppressed} if suppressed else None,
        )
