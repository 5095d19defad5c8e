"""Limits as REST takes them: propose, approve, reject, withdraw, and what ever stood (SAF-6).

A change is answered when the database has it, or refused: it never waits in a queue, to come into force when nobody
expects it any more. No control actor waits for any of this (DAT-3).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from actors.limits import proposals as law
from actors.limits.changes import diff, malformed, values_of
from actors.limits.proposals import Asker, Wish
from actors.messages import DiscoverNow, DiscoveryStatus
from actors.runtime import Clock
from actors.stores import LimitsStore
from actors.vocabulary import (
    DeviceError,
    InvalidValueError,
    Topology,
    UnavailableError,
    UnknownSubjectError,
)
from actors.vocabulary.ids import DISCOVERY, checked_id
from actors.vocabulary.limits import (
    LIMIT_KEYS,
    LimitProposal,
    LimitsBook,
    Outcome,
    ProposalState,
)
from api.limit_views import (
    DiffView,
    LimitsView,
    LimitView,
    ProposalView,
    ProposedView,
    VersionView,
    proposal_view,
    state_of,
    version_view,
    when_or_none,
)
from api.sources import Sources, find_pump
from api.stop_answers import checked_text

# Discovery answers a look within 2 s; whoever approved learns whether it is in force, and is told why if not.
_LOOK_DEADLINE_S: Final = 2.5


class Limits:
    """Asks the store and tells discovery. `store` None: this API was started without a database."""

    def __init__(self, sources: Sources, store: LimitsStore | None, *, clock: Clock) -> None:
        self._sources = sources
        self._given = store
        self._clock = clock

    @property
    def _store(self) -> LimitsStore:
        if self._given is None:
            raise UnavailableError("limits: this API has no database")
        return self._given

    async def shown(self, pump_id: str) -> LimitsView:
        """Return what is in force, the envelope, and the open proposals.

        Raises:
            InvalidValueError: this is no id.
            UnknownSubjectError: there is no such pump.
            DeviceError: the database is away.

        """
        pump_id = checked_id(pump_id, place="pump_id")
        book = await self._store.book(pump_id)
        current, envelope, now = book.current, book.envelope, self._clock.now().utc
        bounds: Mapping[str, float | None] = {} if envelope is None else envelope.bounds
        values = values_of(current)
        still_open = [each for each in book.proposals if state_of(each, now, book) is ProposalState.PROPOSED]
        return LimitsView(
            pump_id=pump_id,
            version=book.base_version,
            applied_version=await self._applied(pump_id),
            set_by="" if current is None else current.set_by,
            approved_by="" if current is None else current.approved_by,
            approved_at=None if current is None else when_or_none(current.approved_at),
            commissioned_by=None if envelope is None else envelope.commissioned_by,
            commissioned_at=None if envelope is None else when_or_none(envelope.commissioned_at),
            limits=[
                LimitView(
                    key=name,
                    value=values.get(name),
                    unit=key.unit,
                    envelope=bounds.get(name),
                    tighter=key.tighter.value,
                )
                for name, key in LIMIT_KEYS.items()
            ],
            proposals=[proposal_view(each, now, book) for each in still_open],
        )

    async def propose(
        self,
        pump_id: str,
        *,
        changes: dict[str, Any],
        base_version: int,
        reason: str,
        by: str,
        peer: str,
        proposal_id: str | None = None,
        expires_after_s: float | None = None,
    ) -> ProposedView:
        """Open a proposal; the same id with the same content again is the same proposal.

        Raises:
            InvalidValueError: a key, a value, the name or the reason is not acceptable, or the limits would be outside
                the commissioning envelope; every one is named.
            RefusedError: `base_version` is not in force, or too many proposals are open.
            UnknownSubjectError, DeviceError: as `shown`.

        """
        pump_id = checked_id(pump_id, place="pump_id")
        reason, asker = checked_text("reason", reason), self._asker(by, peer)
        # What no limit could be is answered at once, and is not worth an audit record.
        if complaints := malformed(changes):
            raise InvalidValueError("; ".join(complaints))
        wish = Wish(
            proposal_id=str(uuid.uuid4()) if proposal_id is None else _checked_uuid(proposal_id),
            changes=changes,
            base_version=base_version,
            reason=reason,
            life_s=law.LIFE_S if expires_after_s is None else expires_after_s,
        )
        return await self._decided(pump_id, wish.proposal_id, lambda book: law.propose(book, wish, asker))

    async def approve(
        self, pump_id: str, proposal_id: str, *, reason: str, by: str, peer: str
    ) -> ProposedView:
        """Bring a proposal into force, and have discovery look at once.

        Raises:
            RefusedError: its own author asks, it is closed or outdated, or the envelope no longer holds it.
            UnknownSubjectError, InvalidValueError, DeviceError: as `shown`.

        """
        answer = await self._closed(law.approve, pump_id, proposal_id, reason=reason, by=by, peer=peer)
        version = answer.proposal.version
        assert version is not None, "what is approved has a version"
        applied, why = await self._look(answer.proposal.pump_id)
        if applied is not None and applied >= version:
            return msgspec.structs.replace(answer, in_force=True)
        note = f"version {version} is approved, not in force yet ({why}); discovery applies it with its next look"
        return msgspec.structs.replace(answer, note=note)

    async def reject(
        self, pump_id: str, proposal_id: str, *, reason: str, by: str, peer: str
    ) -> ProposedView:
        """Close a proposal of somebody else.

        Raises:
            RefusedError: it is one's own, or closed.
            UnknownSubjectError, InvalidValueError, DeviceError: as `shown`.

        """
        return await self._closed(law.reject, pump_id, proposal_id, reason=reason, by=by, peer=peer)

    async def withdraw(
        self, pump_id: str, proposal_id: str, *, reason: str, by: str, peer: str
    ) -> ProposedView:
        """Take one's own proposal back.

        Raises:
            RefusedError: it is somebody else's, or closed.
            UnknownSubjectError, InvalidValueError, DeviceError: as `shown`.

        """
        return await self._closed(law.withdraw, pump_id, proposal_id, reason=reason, by=by, peer=peer)

    async def listed(
        self, *, pump_id: str | None = None, states: Collection[ProposalState] = ()
    ) -> list[ProposalView]:
        """Return proposals, the newest first, as they stand now.

        Raises:
            InvalidValueError, DeviceError: as `shown`.

        """
        if pump_id is not None:
            pump_id = checked_id(pump_id, place="pump_id")
        now = self._clock.now().utc
        # Time may have closed what is still written as open.
        asked = {*states, ProposalState.PROPOSED} if states else set[ProposalState]()
        found = await self._store.proposals(pump_id=pump_id, states=asked)
        views = [proposal_view(each, now) for each in found]
        return [view for view in views if not states or ProposalState(view.state) in states]

    async def one(self, pump_id: str, proposal_id: str) -> ProposedView:
        """Return a proposal and what it changes.

        Raises:
            UnknownSubjectError: the pump has none of that id.
            InvalidValueError, DeviceError: as `shown`.

        """
        pump_id = checked_id(pump_id, place="pump_id")
        proposal_id = _checked_uuid(proposal_id)
        book = await self._store.book(pump_id)
        proposal = book.proposal(proposal_id) or await self._store.proposal(proposal_id)
        if proposal is None or proposal.pump_id != pump_id:
            raise UnknownSubjectError(f"proposal {proposal_id!r} of pump {pump_id} is not known")
        return await self._answer(book, proposal)

    async def history(
        self, pump_id: str, *, before: int | None = None, count_max: int = 500
    ) -> list[VersionView]:
        """Return what ever stood in the limits table for a pump, the newest first, at most `count_max`.

        Raises:
            InvalidValueError, DeviceError: as `shown`.

        """
        pump_id = checked_id(pump_id, place="pump_id")
        found = await self._store.history(pump_id, before=before, count_max=count_max)
        if not found:
            await self._store.book(pump_id)  # an unknown pump is said to be one
        return [version_view(each) for each in found]

    async def diff(self, pump_id: str, *, before: int, after: int | None) -> DiffView:
        """Return what differs between two versions (`after` None: the one in force).

        Raises:
            UnknownSubjectError: a version never stood there.
            InvalidValueError, DeviceError: as `shown`.

        """
        pump_id = checked_id(pump_id, place="pump_id")
        book = await self._store.book(pump_id)
        last = book.base_version if after is None else after
        old, new = await self._values(book, before), await self._values(book, last)
        changes = list(diff(old, new, book.envelope))
        return DiffView(pump_id=pump_id, before=before, after=last, changes=changes)

    async def sweep(self) -> int:
        """Write down which open proposals have expired or were outdated; return how many.

        Raises:
            DeviceError: the database is away: what is shown is right all the same.

        """
        if self._given is None:
            return 0
        now = self._clock.now().utc
        waiting = await self._store.proposals(states=[ProposalState.PROPOSED])
        count = 0
        for pump_id in dict.fromkeys(each.pump_id for each in waiting):
            try:
                # Reading first: most sweeps find nothing, and then nothing is locked.
                book = await self._store.book(pump_id)
                if not law.sweep(book, now).closed:
                    continue
                done = await self._store.change(pump_id, partial(law.sweep, now=now), proposal_id="")
            except UnknownSubjectError:
                continue  # its pump was removed with SQL: nothing can come of it
            count += len(done.closed)
        return count

    # ------------------------------------------------------------------ inside

    async def _values(self, book: LimitsBook, version: int) -> Mapping[str, float | None]:
        if version == 0:
            return {}
        found = await self._store.history(book.pump_id, version=version)
        if not found:
            raise UnknownSubjectError(f"version {version} of pump {book.pump_id}'s limits is not known")
        return found[0].values

    async def _closed(
        self,
        decide: Callable[[LimitsBook, str, str, Asker], Outcome],
        pump_id: str,
        proposal_id: str,
        *,
        reason: str,
        by: str,
        peer: str,
    ) -> ProposedView:
        pump_id = checked_id(pump_id, place="pump_id")
        proposal_id = _checked_uuid(proposal_id)
        reason, asker = checked_text("reason", reason), self._asker(by, peer)
        return await self._decided(
            pump_id, proposal_id, lambda book: decide(book, proposal_id, reason, asker)
        )

    async def _decided(
        self, pump_id: str, proposal_id: str, decide: Callable[[LimitsBook], Outcome]
    ) -> ProposedView:
        seen: list[LimitsBook] = []

        def decide_on(book: LimitsBook) -> Outcome:
            seen[:] = [book]
            return decide(book)

        outcome = await self._store.change(pump_id, decide_on, proposal_id=proposal_id)
        if outcome.refusal is not None:
            # Written down, but not done.
            raise outcome.refusal
        assert outcome.proposal is not None
        return await self._answer(seen[0], outcome.proposal)

    async def _answer(self, book: LimitsBook, proposal: LimitProposal) -> ProposedView:
        base: Mapping[str, float | None] = values_of(book.current)
        if proposal.base_version != book.base_version:
            base = await self._values(book, proposal.base_version)
        now = self._clock.now().utc
        return ProposedView(
            proposal=proposal_view(proposal, now, book),
            diff=list(diff(base, {**base, **proposal.changes}, book.envelope)),
            in_force=proposal.version is not None and proposal.version == book.base_version,
        )

    async def _look(self, pump_id: str) -> tuple[int | None, str]:
        """Have discovery look now; return the version that it applies then, and why it may be an older one."""
        answers = await self._sources.gather(
            {DISCOVERY: DiscoverNow()}, DiscoveryStatus, deadline_s=_LOOK_DEADLINE_S
        )
        status = answers[DISCOVERY]
        if isinstance(status, str):
            return None, status
        return _version_in(status.topology, pump_id), status.last_error or "the pump is not active"

    async def _applied(self, pump_id: str) -> int | None:
        try:
            return _version_in(await self._sources.topology(), pump_id)
        except DeviceError:
            return None

    def _asker(self, by: str, peer: str) -> Asker:
        return Asker(
            by=checked_text("by", by),
            address=peer,
            at=self._clock.now().utc,
            request_id=str(uuid.uuid4()),
        )


def _version_in(topology: Topology | None, pump_id: str) -> int | None:
    if topology is None:
        return None
    try:
        limits = find_pump(topology, pump_id)[2].limits
    except UnknownSubjectError:
        return None
    return None if limits is None else limits.version


def _checked_uuid(value: str) -> str:
    try:
        return str(uuid.UUID(value))
    except ValueError as error:
        raise InvalidValueError(f"proposal_id: {value[:60]!r}, expected a UUID") from error
