"""Emergency stops and out-of-service marks as REST takes them: to every gate and safety actor, and durable (EST)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Final

import msgspec

from actors.messages import EndpointStatus, GetEndpoint, StopConfirmed, StopsChanged
from actors.publisher.stops import audit_of, stamp_without_disk, subject_of
from actors.safety.latch import EMERGENCY_STOP, OUT_OF_SERVICE, is_cleared
from actors.stores import LatchStore
from actors.vocabulary import (
    Address,
    Instant,
    InvalidValueError,
    RefusedError,
    Scope,
    Topology,
    UnavailableError,
    UnknownSubjectError,
)
from actors.vocabulary.ids import endpoint_address, station_part_address
from actors.vocabulary.records import Record, StopEventRecord
from api.access.errors import ForbiddenError, OutcomeUnknownError
from api.latch_memory import LatchMemory
from api.late_clears import cleared_late, refused_late
from api.sources import Sources
from api.stop_answers import (
    ClearAnswer,
    EndpointAnswer,
    StopAnswer,
    StoppedPump,
    checked_text,
    endpoint_answer,
    shows_stop,
    stopped_pumps,
)
from api.stop_subjects import checked_scope_id, checked_uuid, holds, sites_of

_CONFIRM_DEADLINE_S: Final = 1.0
_SHOWN_DEADLINE_S: Final = 0.5


class Stops:
    """Sets and clears stops. `record` hands rows to storage and never waits for them."""

    def __init__(
        self,
        sources: Sources,
        latches: LatchStore,
        *,
        own_address: Address,
        record: Callable[[Iterable[Record]], None],
    ) -> None:
        self._sources = sources
        self._own_address = own_address
        self._record = record
        self._memory = LatchMemory(latches)

    # ------------------------------------------------------------------ what REST asks for

    async def set(
        self, *, stop_id: str, scope: Scope, scope_id: str, reason: str, by: str, now: Instant, peer: str
    ) -> StopAnswer:
        """Set an emergency stop; setting the same id again is the same stop.

        Raises:
            InvalidValueError: an id, the reason or the name is not acceptable.
            UnknownSubjectError: the plant is known and has no such pump, station or site.
            RefusedError: the id belongs to something else, or to a stop that was cleared.
            OutcomeUnknownError: neither the disk nor any endpoint took it yet; it is tried on.

        """
        stop_id = checked_uuid("stop_id", stop_id)
        reason, by = checked_text("reason", reason), checked_text("by", by)
        scope_id = checked_scope_id(scope, scope_id)
        topology = await self._topology_for(scope, scope_id)
        await self._memory.looked()
        stop = self._memory.known.by_id.get(stop_id)
        if stop is None:
            stop = self._new(stop_id, EMERGENCY_STOP, scope, scope_id, reason=reason, by=by, now=now)
        elif (stop.kind, stop.scope, stop.scope_id) != (EMERGENCY_STOP, scope, scope_id):
            raise RefusedError(f"stop_id: {stop_id} is already the {stop.kind} of {subject_of(stop)}")
        elif is_cleared(stop):
            raise RefusedError(
                f"stop_id: {stop_id} was cleared by {stop.cleared_by}; a new stop needs a new id"
            )
        return await self._latch(stop, topology, now=now, peer=peer)

    async def withdraw(
        self, *, pump_id: str, mark_id: str, reason: str, by: str, now: Instant, peer: str
    ) -> StopAnswer:
        """Put a pump out of service: latched and stored like a stop (CTL-7). A pump that is, stays so.

        Raises:
            InvalidValueError, UnknownSubjectError, RefusedError, OutcomeUnknownError: as `set`.

        """
        mark_id = checked_uuid("command_id", mark_id)
        reason, by = checked_text("reason", reason or "out of service"), checked_text("by", by)
        topology = await self._topology_for(Scope.PUMP, pump_id)
        await self._memory.looked()
        mark = next(iter(self._marks(pump_id)), None)
        if mark is None and mark_id in self._memory.known.by_id:
            raise RefusedError(f"command_id: {mark_id} was used before; a new command needs a new id")
        if mark is None:
            mark = self._new(mark_id, OUT_OF_SERVICE, Scope.PUMP, pump_id, reason=reason, by=by, now=now)
        return await self._latch(mark, topology, now=now, peer=peer)

    async def return_to_service(
        self,
        *,
        pump_id: str,
        reason: str,
        by: str,
        now: Instant,
        peer: str,
        set_until: datetime | None = None,
    ) -> ClearAnswer:
        """Clear every out-of-service mark of a pump, or those set until a moment; nothing to clear is no error.

        Raises:
            DeviceError: the clear cannot be made durable, so it is refused.
            OutcomeUnknownError: the disk hung over its last step; what became of it is recorded when it answers.

        """
        reason, by = checked_text("reason", reason or "returned to service"), checked_text("by", by)
        await self._memory.refresh()
        marks = [mark for mark in self._marks(pump_id) if set_until is None or mark.set_at <= set_until]
        return await self._clear(marks, reason=reason, by=by, now=now, peer=peer)

    async def clear(
        self,
        *,
        stop_ids: list[str],
        reason: str,
        by: str,
        now: Instant,
        peer: str,
        may_clear: Callable[[Scope], bool],
    ) -> ClearAnswer:
        """Clear named stops; one that is cleared already counts as cleared. `may_clear`: whose scope `by` may clear.

        Raises:
            InvalidValueError: no id is given, or the reason or the name is not acceptable.
            UnknownSubjectError: no stop has that id; nothing is cleared then.
            RefusedError: the id is an out-of-service mark, which `mode set` clears.
            ForbiddenError: somebody else must clear a stop of that scope; nothing is cleared then.
            DeviceError: the clear cannot be made durable, so it is refused.
            OutcomeUnknownError: the disk hung over its last step; what became of it is recorded when it answers.

        """
        reason, by = checked_text("reason", reason), checked_text("by", by)
        if not stop_ids:
            raise InvalidValueError("stop_ids: empty, expected the ids of the stops to clear")
        await self._memory.refresh()
        chosen = []
        for stop_id in dict.fromkeys(stop_ids):
            stop = self._stop(stop_id)
            if stop.kind != EMERGENCY_STOP:
                raise RefusedError(
                    f"{stop_id!r} is an out-of-service mark of pump {stop.scope_id}: set its mode to clear it"
                )
            if not may_clear(stop.scope):
                raise ForbiddenError(f"stop {stop_id}: you may not clear one of scope {stop.scope.value}")
            chosen.append(stop)
        return await self._clear(chosen, reason=reason, by=by, now=now, peer=peer)

    async def listed(self, *, everything: bool) -> list[StopEventRecord]:
        """Return the stops that hold, oldest first; with `everything` the cleared ones that are still kept too.

        Raises:
            DeviceError: the latch folder cannot be read: a list that may lack a stop is none.

        """
        await self._memory.refresh()
        return self._in_order(everything=everything)

    async def known(self, *, everything: bool) -> tuple[list[StopEventRecord], str]:
        """Return as `listed` what is known, and why it may be incomplete ('' if it is not): for a page, which must
        show its stop button whatever the disk does.
        """
        why = await self._memory.looked()
        return self._in_order(everything=everything), why

    async def shown(
        self, stop_id: str
    ) -> tuple[StopEventRecord, bool, list[EndpointAnswer], list[StoppedPump]]:
        """Return a stop, whether it is durable here, and what each endpoint and covered pump shows right now.

        Raises:
            UnknownSubjectError: no stop has that id.

        """
        await self._memory.looked()
        stop = self._stop(stop_id)
        topology = await self._topology_for(stop.scope, stop.scope_id, must_exist=False)
        return stop, self._memory.is_durable(stop_id), *await self._on_the_wire(stop, topology)

    async def out_of_service(self) -> tuple[frozenset[str], str]:
        """Return the pumps that are out of service, and why the latch folder could not be asked ('' if it was)."""
        why = await self._memory.looked()
        return frozenset(mark.scope_id for mark in self._memory.known.active(OUT_OF_SERVICE)), why

    # ------------------------------------------------------------------ what the actor's clock asks for

    async def keep(self, now: Instant) -> str:
        """Try again what the disk refused, and tell the gates again until it is durable; return why it is not."""
        self._memory.forget_old(now)
        waiting = self._memory.undurable
        if not waiting:
            return ""
        why = await self._memory.store(waiting)
        self._tell(waiting)
        return f"{len(waiting)} stop(s) are told to the gates but not durable: {why}" if why else ""

    # ------------------------------------------------------------------ inside

    async def _latch(
        self, stop: StopEventRecord, topology: Topology | None, *, now: Instant, peer: str
    ) -> StopAnswer:
        is_new = stop.record_id not in self._memory.known.by_id
        self._memory.remember_undurable(stop, now)
        # The disk and the gates at once: neither a slow disk nor a dead gate delays the other, and each gate stores
        # the stop itself before it confirms.
        why, endpoints = await asyncio.gather(self._memory.store((stop,)), self._send((stop,), topology))
        if is_new:
            audit = audit_of(stop, source_address=peer)
            outcome = "success" if why == "" else f"not durable: {why}"
            self._record((stop, msgspec.structs.replace(audit, outcome=outcome)))
        if why and not any(answer.published for answer in endpoints):
            # No refusal: it is told and stored as soon as one of them takes it (`keep`).
            raise OutcomeUnknownError(
                f"stop {stop.record_id}: not durable ({why}), and no endpoint has confirmed it; tried on"
            )
        return StopAnswer(
            stop_id=stop.record_id,
            scope=stop.scope,
            scope_id=stop.scope_id,
            durable=why == "",
            endpoints=endpoints,
            pumps=(await self._on_the_wire(stop, topology))[1],
            detail=why,
        )

    async def _clear(
        self, stops: Iterable[StopEventRecord], *, reason: str, by: str, now: Instant, peer: str
    ) -> ClearAnswer:
        chosen = list(stops)
        held = [stop for stop in chosen if not is_cleared(stop)]
        endpoints: list[EndpointAnswer] = []
        if held:
            # Durable before it is told to anybody: a clear that the disk refuses is refused altogether (EST-2).
            done = await self._memory.clear(
                held, by=by, reason=reason, now=now, late=partial(self._ended_late, held, by, peer, now)
            )
            for stop in done:
                self._record((stop, audit_of(stop, source_address=peer)))
            endpoints = await self._send(done, self._sources.remembered)
        return ClearAnswer(cleared=[stop.record_id for stop in chosen], endpoints=endpoints)

    def _ended_late(
        self,
        held: list[StopEventRecord],
        by: str,
        peer: str,
        asked: Instant,
        done: tuple[StopEventRecord, ...],
        why: str,
    ) -> None:
        """Record what became of clears whose answer was "not known"; those that count are told to everybody."""
        if why:
            self._record(refused_late(held, by=by, peer=peer, why=why, asked=asked))
            return
        self._record(cleared_late(done, peer=peer))
        self._tell(done)

    def _tell(self, records: tuple[StopEventRecord, ...]) -> None:
        topology = self._sources.remembered
        news = StopsChanged(stops=records, origin=str(self._own_address))
        for address in (*self._safeties(records, topology), *self._endpoints(records, topology)):
            self._sources.tell(address, news)

    def _new(
        self, record_id: str, kind: str, scope: Scope, scope_id: str, *, reason: str, by: str, now: Instant
    ) -> StopEventRecord:
        return StopEventRecord(
            record_id=record_id,
            scope=scope,
            scope_id=scope_id,
            reason=reason,
            set_by=by,
            set_at=now.utc,
            kind=kind,
            # Not from the disk, which may hang: the store counts what is merged as issued (EST-6).
            set_stamp=stamp_without_disk(self._memory.known, now),
        )

    async def _send(
        self, records: tuple[StopEventRecord, ...], topology: Topology | None
    ) -> list[EndpointAnswer]:
        news = StopsChanged(stops=records, origin=str(self._own_address))
        for address in self._safeties(records, topology):
            self._sources.tell(address, news)
        questions = dict.fromkeys(self._endpoints(records, topology), news)
        answers = await self._sources.gather(questions, StopConfirmed, deadline_s=_CONFIRM_DEADLINE_S)
        ids = tuple(record.record_id for record in records)
        return [endpoint_answer(str(address), answer, ids) for address, answer in answers.items()]

    async def _on_the_wire(
        self, stop: StopEventRecord, topology: Topology | None
    ) -> tuple[list[EndpointAnswer], list[StoppedPump]]:
        statuses = await self._sources.gather(
            {address: GetEndpoint() for address in self._endpoints((stop,), topology)},
            EndpointStatus,
            deadline_s=_SHOWN_DEADLINE_S,
        )
        named = {str(address): status for address, status in statuses.items()}
        endpoints = [shows_stop(stop, name, status) for name, status in named.items()]
        return endpoints, [] if topology is None else stopped_pumps(stop, topology, named)

    def _safeties(
        self, records: tuple[StopEventRecord, ...], topology: Topology | None
    ) -> tuple[Address, ...]:
        return tuple(
            station_part_address(site.site_id, station.station_id, "safety")
            for site in sites_of(records, topology)
            for station in site.stations
        )

    def _endpoints(
        self, records: tuple[StopEventRecord, ...], topology: Topology | None
    ) -> tuple[Address, ...]:
        return tuple(
            endpoint_address(site.site_id, protocol)
            for site in sites_of(records, topology)
            for protocol in self._sources.protocols
        )

    async def _topology_for(self, scope: Scope, scope_id: str, *, must_exist: bool = True) -> Topology | None:
        """Return the plant as remembered if it holds the scope; discovery is asked only if it does not.

        Raises:
            UnknownSubjectError: discovery answers and does not know the scope either. When it is away, our own
                knowledge may be old: then the stop goes to everybody rather than to nobody.

        """
        known = self._sources.remembered
        if known is not None and holds(known, scope, scope_id):
            return known
        try:
            known = await self._sources.fresh_topology()
        except UnavailableError:
            return known
        if must_exist and not holds(known, scope, scope_id):
            raise UnknownSubjectError(f"scope_id: {scope.value.lower()} {scope_id!r} is not known")
        return known

    def _stop(self, stop_id: str) -> StopEventRecord:
        stop = self._memory.known.by_id.get(stop_id)
        if stop is None:
            raise UnknownSubjectError(
                f"stop {stop_id[:100]!r} is not known (see /api/v1/emergency-stops?all=true)"
            )
        return stop

    def _in_order(self, *, everything: bool) -> list[StopEventRecord]:
        stops = self._memory.known.records if everything else self._memory.known.active()
        return sorted(stops, key=lambda stop: (stop.set_at, stop.record_id))

    def _marks(self, pump_id: str) -> list[StopEventRecord]:
        return [mark for mark in self._memory.known.active(OUT_OF_SERVICE) if mark.scope_id == pump_id]
