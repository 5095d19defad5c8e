"""What the handlers share: the tree's answers, stops, the clock and the way records reach storage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from actors.messages import SetMode
from actors.runtime import Clock
from actors.stores import AuditReader, PastReader
from actors.vocabulary import Instant, Severity
from actors.vocabulary.records import AuditRecord, Record
from api.access.accounts import Accounts
from api.access.desk import AccessDesk
from api.access.logins import Logins
from api.access.rates import Rates
from api.counting import Counted
from api.decisions import Decisions
from api.limits import Limits
from api.noting import Noting
from api.sources import Sources
from api.stops import Stops
from api.stream.watching import Watching

_COMMANDS_REMEMBERED: Final = 1_000


class Access(NamedTuple):
    """Who asks, who logs in, what becomes of accounts, and how many days each certificate is good for."""

    desk: AccessDesk
    logins: Logins
    accounts: Accounts
    days_left: Callable[[], Mapping[str, float]]
    rates: Rates


class Readers(NamedTuple):
    """What can be read of the past; None: nothing of that kind."""

    audit: AuditReader | None = None
    past: PastReader | None = None


class Service:
    """Handed to every handler through the application's state."""

    def __init__(
        self,
        *,
        sources: Sources,
        stops: Stops,
        limits: Limits,
        access: Access,
        decisions: Decisions,
        watching: Watching,
        clock: Clock,
        record: Callable[[Iterable[Record]], None],
        data_dir: str,
        readers: Readers | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.sources = sources
        self.stops = stops
        self.limits = limits
        self.access = access
        self.decisions = decisions
        self.watching = watching
        self.clock = clock
        self.audit, self.past = readers or Readers()
        self.counted = Counted()
        self.noting = Noting(record, clock)
        self._record = record
        self._done: dict[str, None] = {}

    def done_before(self, command_id: str) -> bool:
        """Say whether this command was carried out whole while this API lived."""
        return command_id in self._done

    def mode_done(self, command: SetMode, *, peer: str, now: Instant) -> None:
        """Remember that a mode command was carried out whole, and record it."""
        self._done[command.command_id] = None
        if len(self._done) > _COMMANDS_REMEMBERED:
            del self._done[next(iter(self._done))]
        self._record(
            (
                AuditRecord(
                    record_id=f"{command.command_id}:mode",
                    at=now.utc,
                    event_type="MODE_SET",
                    actor=command.by,
                    source_address=peer,
                    object_id=f"PUMP:{command.pump_id}",
                    outcome="success",
                    severity=Severity.MEDIUM,
                    after=msgspec.to_builtins(command),
                    correlation_id=command.command_id,
                ),
            ),
        )
