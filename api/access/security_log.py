"""Security events: each counted, each audited, and a flood of them told as one with its count (SEC-5)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from actors.runtime import Clock
from actors.vocabulary import Instant, Severity
from actors.vocabulary.records import AuditRecord, Record
from actors.vocabulary.sources import source_of_peer
from actors.vocabulary.texts import storable

# Of one kind, from one address, of one actor whom we know: what is more is counted and told with the next one.
TOLD_PER_PERIOD: Final = 10
PERIOD_S: Final = 60.0
SOURCES_MAX: Final = 2_000
# Of all strangers together, from however many addresses: the trail is not theirs to fill.
STRANGERS_PER_PERIOD: Final = 300
_TEXT_MAX: Final = 300


class _Told(msgspec.Struct):
    since: Instant
    count: int = 0
    suppressed: int = 0


class SecurityLog:
    """Hands records to storage and never waits for them."""

    def __init__(self, record: Callable[[Iterable[Record]], None], clock: Clock) -> None:
        self._record = record
        self._clock = clock
        self._counts: dict[tuple[str, str], int] = {}
        self._told: dict[tuple[str, str, str], _Told] = {}
        self._strangers: _Told | None = None
        self._often: dict[tuple[str, str, str, str], _Told] = {}

    @property
    def counts(self) -> Mapping[tuple[str, str], int]:
        """How often each event came since the start, by (event, 'success' or 'refused')."""
        return MappingProxyType(self._counts)

    def done(
        self,
        event: str,
        *,
        actor: str,
        peer: str,
        subject: str = "",
        severity: Severity = Severity.MEDIUM,
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
    ) -> None:
        """Something was done: always audited."""
        self.count(event)
        record = self.made(
            event,
            actor=actor,
            peer=peer,
            subject=subject,
            severity=severity,
            before=before,
            after=after,
        )
        self._record((record,))

    def made(
        self,
        event: str,
        *,
        actor: str,
        peer: str,
        subject: str = "",
        severity: Severity = Severity.MEDIUM,
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
    ) -> AuditRecord:
        """Return the record of something that was done, for whoever writes it together with what was done."""
        record_id = str(uuid.uuid4())
        return _short(
            AuditRecord(
                record_id=record_id,
                at=self._clock.now().utc,
                event_type=event,
                actor=actor,
                source_address=peer,
                object_id=subject,
                outcome="success",
                severity=severity,
                before=before,
                after=after,
                correlation_id=record_id,
            )
        )

    def often(self, event: str, *, actor: str, peer: str, subject: str = "") -> None:
        """Something was done that a program does again and again: counted, and told once a minute with how often."""
        now, key = self._clock.now(), (event, actor, source_of_peer(peer), subject)
        told = self._often.pop(key, None)
        if told is not None and 0.0 <= now.seconds_since(told.since) < PERIOD_S:
            self._often[key] = told
            told.suppressed += 1
            self.count(event)
            return
        while len(self._often) >= SOURCES_MAX:
            del self._often[next(iter(self._often))]
        self._often[key] = _Told(now)
        again = None if told is None or not told.suppressed else {"since_last_record": told.suppressed}
        self.done(event, actor=actor, peer=peer, subject=subject, severity=Severity.LOW, after=again)

    def refused(
        self,
        event: str,
        why: str,
        *,
        actor: str,
        peer: str,
        subject: str = "",
        severity: Severity = Severity.LOW,
        is_known: bool = False,
    ) -> None:
        """Something was refused: audited, of a flood the first ten a minute with the count of the rest.

        Of an `actor` whom we know (a name that exists, a credential that we made) each has ten of their own: what a
        stranger invents does not push out what concerns them.
        """
        self.count(event, "refused")
        now, key = self._clock.now(), (event, source_of_peer(peer), actor if is_known else "")
        told = self._told.get(key)
        suppressed = 0
        if told is None or not 0.0 <= now.seconds_since(told.since) < PERIOD_S:
            suppressed = 0 if told is None else told.suppressed
            self._told.pop(key, None)
            while len(self._told) >= SOURCES_MAX:
                del self._told[next(iter(self._told))]
            told = self._told[key] = _Told(now)
        if told.count >= TOLD_PER_PERIOD:
            told.suppressed += 1
            return
        if not is_known:
            room, others = self._room_for_strangers(now)
            if not room:
                return
            suppressed += others
        told.count += 1
        record_id = str(uuid.uuid4())
        record = AuditRecord(
            record_id=record_id,
            at=now.utc,
            event_type=event,
            actor=actor,
            source_address=peer,
            object_id=subject,
            outcome=f"refused: {why}",
            severity=severity,
            after={"suppressed_before": suppressed} if suppressed else None,
            correlation_id=record_id,
        )
        self._record((_short(record),))

    def _room_for_strangers(self, now: Instant) -> tuple[bool, int]:
        """Return whether one more of all strangers is written down, and how many of the period before were not."""
        held, before = self._strangers, 0
        if held is None or not 0.0 <= now.seconds_since(held.since) < PERIOD_S:
            before = 0 if held is None else held.suppressed
            held = self._strangers = _Told(now)
        if held.count >= STRANGERS_PER_PERIOD:
            held.suppressed += 1
            return False, 0
        held.count += 1
        return True, before

    def count(self, event: str, outcome: str = "success") -> None:
        """Count an event; whose record somebody else writes."""
        self._counts[event, outcome] = self._counts.get((event, outcome), 0) + 1


def _short(record: AuditRecord) -> AuditRecord:
    # What a stranger sent may be long, and no text at all.
    texts = {name: storable(getattr(record, name)[:_TEXT_MAX]) for name in ("actor", "object_id", "outcome")}
    return msgspec.structs.replace(record, **texts)
