"""The ports to what is remembered: files and databases as actors see them; `storage` holds the real ones.

Every method may raise `DeviceError` (disk or database refused); nothing here blocks a control loop: what is slow is
a coroutine that runs elsewhere, what is not a coroutine is a small local file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from actors.vocabulary import InvalidRow, SiteConfig
from actors.vocabulary.audit_trail import (
    AuditPage,
    AuditQuery,
    AuditWindow,
    Look,
    SignedCheckpoint,
    SignedKey,
)
from actors.vocabulary.chains import DecisionChain, DecisionPage
from actors.vocabulary.client_calls import PastPage, PastQuestion
from actors.vocabulary.durable import Epoch, PumpSeen, StationMemory
from actors.vocabulary.durable import StoredMode as StoredMode  # noqa: PLC0414  (part of this contract)
from actors.vocabulary.limits import LimitProposal, LimitsBook, LimitVersion, Outcome, ProposalState
from actors.vocabulary.past import PastQuery, PastTable
from actors.vocabulary.records import (
    AlarmRecord,
    FailsafeRecord,
    FeedbackRow,
    OptimiserStatus,
    PlanRow,
    Record,
    StopEventRecord,
)
from actors.vocabulary.trends import Piece


class TopologyReader(Protocol):
    """Reads configuration with the read-only role (DAT-4)."""

    async def read(self) -> tuple[tuple[SiteConfig, ...], tuple[InvalidRow, ...]]:
        """Return every valid active site and the rows that were skipped, each with its reason."""
        ...


class PlanReader(Protocol):
    """Reads one station's plans with the read-only role (CTL-1)."""

    async def plans(self, station_id: str, *, start: datetime, end: datetime) -> Sequence[PlanRow]:
        """Return the rows whose interval touches [start, end), at most 10,000, oldest interval first."""
        ...

    async def optimiser_status(self, station_id: str) -> OptimiserStatus | None:
        """Return the optimiser's heartbeat row, None when there is none."""
        ...

    async def wait_for_change(self, *, at_most_s: float) -> bool:
        """Wait until the database notifies of new plans (PostgreSQL) or the time is over; return whether notified."""
        ...


class FeedbackReader(Protocol):
    """Reads foreign rows of `pump_feedback` (source not beginning with 'calejo:') with the read-only role."""

    async def foreign_feedback(self, station_id: str, *, since: datetime) -> Sequence[FeedbackRow]:
        """Return the newest foreign row of each pump of the station measured after `since`."""
        ...


class LatchStore(Protocol):
    """The durable folder of stops and clears: one small file each, merged by union (EST-2)."""

    def load(self) -> tuple[StopEventRecord, ...]:
        """Return every stop with its clear, if any. An unreadable file counts as an active SYSTEM stop."""
        ...

    def fingerprint(self) -> object:
        """Return something that changes whenever `load` would return something else (cheap: polled every 200 ms)."""
        ...

    def next_stamp(self) -> int:
        """Return a number above every stamp and release issued so far, at least the current UTC second (EST-6)."""
        ...

    def merge(self, records: Sequence[StopEventRecord], *, wanted: Callable[[], bool] = lambda: True) -> None:
        """Make these durable (fsync of file and folder) and return; a known one is kept, a clear is added to it.

        `wanted` is asked immediately before the clears among them come into force, and never about stops.

        Raises:
            DeviceError: the disk refused; the caller must still act on a stop, and must refuse a clear. Or the clears
                were not `wanted` any more, and are not in force.

        """
        ...


@runtime_checkable
class JoinedLatchStore(LatchStore, Protocol):
    """A latch store that knows whether it was ever joined with the database, and can forget (EST-2)."""

    def is_new(self) -> bool:
        """Return whether it was never marked as joined: the database's stops may be missing here."""
        ...

    def mark_joined(self) -> None:
        """Note, durably, that this folder holds all that the database holds."""
        ...

    def drop(self, record_ids: Collection[str]) -> None:
        """Forget these cleared ids; the caller knows that every other copy holds the clear."""
        ...


class ModeStore(Protocol):
    """One pump's operator mode in a local durable file."""

    def load(self, pump_id: str) -> StoredMode | None:
        """Return what was stored last; None: nothing was (AUTO)."""
        ...

    def store(self, mode: StoredMode) -> None:
        """Make it durable (fsync) before it matters."""
        ...


class TimerStore(Protocol):
    """One station's starts, run and rest times, level latches and moved duties in local files (SAF-7)."""

    def load(self, station_id: str) -> tuple[StationMemory | None, Mapping[str, PumpSeen]]:
        """Return what was stored last (None: nothing was, or it is damaged), and what was noted of each pump since."""
        ...

    def store(self, memory: StationMemory) -> None:
        """Make it durable (fsync of file and folder) and return: before a start is published.

        Raises:
            DeviceError: the disk refused, or somebody of a newer epoch has written; what was stored before stays.

        """
        ...

    def seen(self, station_id: str, epoch: Epoch, pumps: Mapping[str, PumpSeen]) -> None:
        """Note, not durably, what `epoch` saw last beside what it stored (cheap: called every second)."""
        ...


class EpochStore(Protocol):
    """The site supervisor's local fsynced file of the last epoch issued per station (SAF-11)."""

    def issue(self, station_id: str) -> Epoch:
        """Issue the next epoch, durable before it returns; a missing file starts at the current UTC second."""
        ...

    def last(self, station_id: str) -> Epoch | None:
        """Return the last one issued; None: none yet."""
        ...


class RecordSpool(Protocol):
    """The storage actor's bounded on-disk queue for the time the database is away (DAT-3)."""

    def append(self, records: Sequence[Record]) -> int:
        """Make these durable; return how many low-priority records had to be dropped to stay inside the bound."""
        ...

    def peek(self, count_max: int) -> Sequence[tuple[int, Record]]:
        """Return the oldest records with their positions."""
        ...

    def remove(self, positions: Sequence[int]) -> None:
        """Forget these (they are in the database, or refused by it and set aside)."""
        ...

    def size(self) -> tuple[int, int]:
        """Return (records, bytes) waiting."""
        ...


class RecordWriter(Protocol):
    """Writes records to the database with the writer role; storing a record twice stores it once."""

    async def write(self, records: Sequence[tuple[int, Record]]) -> dict[int, str]:
        """Write a batch in one transaction; return the positions the database refused for good, with the reason.

        Raises:
            DeviceError: the database is away or the fault is transient; nothing of the batch is to be forgotten.

        """
        ...


class HistoryReader(Protocol):
    """Reads back what was appended; for the storage actor, beside its writer."""

    async def stops(self, *, also: Collection[str] = ()) -> Sequence[StopEventRecord]:
        """Return every stop that is not cleared, the newest cleared ones, and those of the ids `also`."""
        ...

    async def open_alarms(self) -> Sequence[AlarmRecord]:
        """Return the alarms whose record has no end, then those that returned unseen: newest first, bounded."""
        ...

    async def open_failsafes(self) -> Sequence[FailsafeRecord]:
        """Return the failsafe periods whose record has no end, the newest first, bounded."""
        ...


class AuditNotary(Protocol):
    """Signs what the audit chain has come to, and notices when it does not continue what was signed (AUD-1)."""

    async def look(self, *, now: datetime) -> Look:
        """Look once; signs when it is time.

        Raises:
            DeviceError: database or disk refused: look again later.

        """
        ...


class AuditReader(Protocol):
    """Reads the audit trail for the API: bounded pages, nothing that takes a minute (AUD-1, AUD-3)."""

    async def search(self, query: AuditQuery) -> AuditPage:
        """Return the newest records that fit, a page of at most 1,000."""
        ...

    async def verify(self, *, after: int, count_max: int) -> AuditWindow:
        """Verify at most so many records behind record `after` (0: from where the database begins)."""
        ...

    async def records(self, *, after: int, count_max: int) -> Sequence[Mapping[str, Any]]:
        """Return at most so many records behind `after`, oldest first, as an export holds them."""
        ...

    async def checkpoints(self) -> Sequence[SignedCheckpoint]:
        """Return the signed checkpoints of this machine, oldest first."""
        ...

    async def keys(self) -> Sequence[SignedKey]:
        """Return every public key, the first one first."""
        ...


class DecisionReader(Protocol):
    """Reads the past of a pump with the writer's role (SAF-4). No control actor has one."""

    async def chain(self, pump_id: str, *, at: datetime) -> DecisionChain:
        """Return what is remembered of a pump at a moment: its decision, the wires, the plant."""
        ...

    async def page(
        self, pump_id: str, *, start: datetime, end: datetime, following: str, count_max: int
    ) -> DecisionPage:
        """Return decisions made in [start, end), the newest first; `following` as the page before said, or ''."""
        ...


class PastReader(Protocol):
    """Reads the past of points for an endpoint's clients (OPC-3); no control waits for it."""

    async def read(self, question: PastQuestion) -> PastPage:
        """Return one page, bounded."""
        ...


class PointReader(Protocol):
    """Reads the past of points as REST shows it (API-2); no control waits for it."""

    async def read(self, question: PastQuestion, *, endpoint: str) -> PastPage:
        """Return one page, bounded; `endpoint`: whose picture of what was shown on a wire."""
        ...


class TrendReader(Protocol):
    """Reads what displays draw, with the read-only role (HMI-2). No control actor has one."""

    async def measured(
        self, pump_id: str, *, start: datetime, end: datetime, piece_s: float
    ) -> Sequence[Piece]:
        """Return the means of what was measured in [start, end), oldest first; pieces without rows are left out."""
        ...

    async def plans(self, station_id: str, *, start: datetime, end: datetime) -> Sequence[PlanRow]:
        """Return the plan rows that touch [start, end)."""
        ...


class DecisionKeeper(Protocol):
    """Forgets decisions that are older than what is kept; for the storage actor, beside its writer."""

    async def due(self, *, before: datetime) -> Sequence[str]:
        """Return the pumps with rows that nobody needs any longer to explain what held from `before` on."""
        ...

    async def forget(self, pump_id: str, *, before: datetime, count_max: int) -> int:
        """Delete at most so many of a pump's rows and return how many; 0: nothing is left to do."""
        ...


class LimitsStore(Protocol):
    """Limits with approval in the database (SAF-6). No control actor has one: whoever asks waits for the database."""

    async def book(self, pump_id: str) -> LimitsBook:
        """Return what is in force for a pump, its envelope and its open proposals; raise UnknownSubjectError."""
        ...

    async def change(
        self, pump_id: str, decide: Callable[[LimitsBook], Outcome], *, proposal_id: str
    ) -> Outcome:
        """Have the pure `decide` judge the pump's book, and write what it says, all of it or nothing."""
        ...

    async def proposals(
        self, *, pump_id: str | None = None, states: Collection[ProposalState] = ()
    ) -> Sequence[LimitProposal]:
        """Return proposals, the newest first, bounded."""
        ...

    async def proposal(self, proposal_id: str) -> LimitProposal | None:
        """Return one proposal, or None."""
        ...

    async def history(
        self, pump_id: str, *, before: int | None = None, version: int | None = None, count_max: int = 500
    ) -> Sequence[LimitVersion]:
        """Return what ever stood in the limits table for a pump, the newest first, at most `count_max`."""
        ...


class TableReader(Protocol):
    """Rows of the past by pages (API-2)."""

    async def page(self, table: PastTable, query: PastQuery) -> tuple[Mapping[str, Any], ...]:
        """Return the rows of a table that fit, the newest first.

        Raises:
            DeviceError: the database is away or slow.

        """
        ...
