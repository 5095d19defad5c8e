"""What a wire's clients command beside writing points: stops, clears, modes, acknowledgements; and the site's alarms.

The same ways as REST and the points take: a stop through the gate's own latch, a mode through the pump's own actor and
the kernel, an acknowledgement through the alarm actor. Judged by the one table of permissions, bounded in time, audited
by name whether it was carried out or not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, assert_never

import msgspec

from actors.messages import AcknowledgeAlarm, Alarms, GetAlarms, SetMode
from actors.outbox import Outbox
from actors.publisher import stops
from actors.publisher.refusals import Refusals, allowance
from actors.publisher.site_alarms import shown_alarms
from actors.publisher.stop_desk import StopDesk
from actors.publisher.stop_traffic import StopTraffic
from actors.runtime import Ports
from actors.safety.latch import EMERGENCY_STOP, OUT_OF_SERVICE, is_cleared
from actors.vocabulary import (
    CalejoError,
    DeviceError,
    InvalidValueError,
    Mode,
    RefusedError,
    Scope,
    Severity,
    SiteConfig,
    UnansweredError,
    UnknownSubjectError,
    WriteRefusal,
)
from actors.vocabulary.access import Operation, clear_operation
from actors.vocabulary.client_calls import (
    CallAnswer,
    ClearStops,
    ClientCall,
    CommandMode,
    SeeAlarm,
    SetStop,
    ShownAlarms,
    named,
)
from actors.vocabulary.ids import ALARM, pump_address
from actors.vocabulary.records import AuditRecord, StopEventRecord

ASK_S: Final = 1.0
ALARMS_PERIOD_S: Final = 1.0
# Nobody is connected: alarms need not be younger than this.
ALARMS_IDLE_S: Final = 5.0
_DONE: Final = CallAnswer()


class CallDesk:
    """Carries commands out. `site` returns the site as it is configured now."""

    def __init__(
        self,
        ports: Ports,
        outbox: Outbox,
        desk: StopDesk,
        traffic: StopTraffic,
        *,
        protocol: str,
        site: Callable[[], SiteConfig],
        next_id: Callable[[], str],
    ) -> None:
        self._ports = ports
        self._outbox = outbox
        self._desk = desk
        self._traffic = traffic
        self._protocol = protocol
        self._site = site
        self._next_id = next_id
        self._refusals = Refusals()

    async def carry_out(self, call: ClientCall) -> CallAnswer:
        """Judge a command and carry it out; the answer says which."""
        by = named(call.caller, protocol=self._protocol, peer=call.peer)
        try:
            match call.command:
                case SetStop():
                    self._permit(call, Operation.SET_STOP)
                    return self._set_stop(call.command, by=by, peer=call.peer)
                case ClearStops():
                    self._permit(call, Operation.CLEAR_STOP)
                    return self._clear_stops(call, call.command, by=by)
                case CommandMode():
                    self._permit(call, Operation.SET_MODE)
                    return await self._command_mode(call.command, by=by, peer=call.peer)
                case SeeAlarm():
                    self._permit(call, Operation.ACKNOWLEDGE_ALARM)
                    return await self._see_alarm(call.command, by=by, peer=call.peer)
                case _:
                    assert_never(call.command)
        except _NotPermittedError as error:
            return self._refused(call, by, WriteRefusal.NOT_PERMITTED, str(error))
        except InvalidValueError as error:
            return self._refused(call, by, WriteRefusal.OUT_OF_RANGE, str(error))
        except UnknownSubjectError as error:
            return self._refused(call, by, WriteRefusal.UNKNOWN_POINT, str(error))
        except RefusedError as error:
            return self._refused(call, by, WriteRefusal.INVALID_STATE, str(error))
        except _StillOutOfServiceError as error:
            event = "EMERGENCY_STOP_CLEAR_REFUSED"
            return self._refused(call, by, WriteRefusal.DEVICE_FAILURE, str(error), event=event)
        except UnansweredError as error:
            event = "MODE_UNCONFIRMED" if isinstance(call.command, CommandMode) else ""
            return self._refused(
                call, by, WriteRefusal.DEVICE_FAILURE, str(error), event=event, outcome="not known"
            )
        except DeviceError as error:
            return self._refused(call, by, WriteRefusal.DEVICE_FAILURE, str(error))

    # ------------------------------------------------------------------ stops

    def _set_stop(self, command: SetStop, *, by: str, peer: str) -> CallAnswer:
        """On the wire before it is answered (EST-1); while one of just this scope holds it is that one (EST-5)."""

        def made() -> StopEventRecord:
            now = self._ports.clock.now()
            stamp = stops.stamp_without_disk(self._desk.latches, now)
            return self._stop(EMERGENCY_STOP, command.scope, command.scope_id, command.reason, by, stamp)

        self._traffic.press(command.scope, command.scope_id, peer=peer, make=made)
        held = self._desk.latches.stops_of_scope(command.scope, command.scope_id)
        return CallAnswer(ids=tuple(stop.record_id for stop in held))

    def _stop(
        self, kind: str, scope: Scope, scope_id: str, reason: str, by: str, stamp: int
    ) -> StopEventRecord:
        return StopEventRecord(
            record_id=self._next_id(),
            scope=scope,
            scope_id=scope_id,
            reason=reason,
            set_by=by,
            set_at=self._ports.clock.now().utc,
            kind=kind,
            set_stamp=stamp,
        )

    def _clear_stops(self, call: ClientCall, command: ClearStops, *, by: str) -> CallAnswer:
        """Clear all of the named stops or none; durable before anybody hears of it (EST-2).

        Raises:
            UnknownSubjectError: no such stop at this object or below it.
            DeviceError: the clear cannot be made durable.

        """
        # What another process has just set or cleared must be known here.
        self._traffic.look()
        chosen = []
        for stop_id in dict.fromkeys(command.stop_ids):
            stop = self._desk.latches.by_id.get(stop_id)
            if stop is None or stop.kind != EMERGENCY_STOP or not self._within(stop, command):
                raise UnknownSubjectError(f"{stop_id[:60]!r} is no emergency stop of this object")
            self._permit(call, clear_operation(stop.scope))
            chosen.append(stop)
        self._clear(chosen, by=by, reason=command.reason, peer=call.peer)
        return CallAnswer(ids=tuple(stop.record_id for stop in chosen))

    def _clear(self, chosen: list[StopEventRecord], *, by: str, reason: str, peer: str) -> None:
        held = [stop for stop in chosen if not is_cleared(stop)]
        if not held:
            return
        done = self._desk.clear(held, by=by, reason=reason, at=self._ports.clock.now())
        self._traffic.apply(done, announce=True, record=True, source=peer, on_disk=True)

    def _within(self, stop: StopEventRecord, command: ClearStops) -> bool:
        """Whether a stop is of the object at which it is to be cleared, or of what is below it."""
        match command.scope:
            case Scope.PUMP:
                return (stop.scope, stop.scope_id) == (Scope.PUMP, command.scope_id)
            case Scope.STATION:
                station = self._site().station(command.scope_id)
                pumps = set() if station is None else {pump.pump_id for pump in station.pumps}
                own = (stop.scope, stop.scope_id) == (Scope.STATION, command.scope_id)
                return own or (stop.scope is Scope.PUMP and stop.scope_id in pumps)
            case Scope.SITE | Scope.SYSTEM:
                return self._of_site(stop)
            case _:
                assert_never(command.scope)

    def _of_site(self, stop: StopEventRecord) -> bool:
        site = self._site()
        match stop.scope:
            case Scope.SYSTEM:
                return True
            case Scope.SITE:
                return stop.scope_id == site.site_id
            case Scope.STATION:
                return site.station(stop.scope_id) is not None
            case Scope.PUMP:
                pumps = (pump.pump_id for station in site.stations for pump in station.pumps)
                return stop.scope_id in pumps
            case _:
                assert_never(stop.scope)

    # ------------------------------------------------------------------ modes

    async def _command_mode(self, command: CommandMode, *, by: str, peer: str) -> CallAnswer:
        """AUTO and MANUAL through the pump's actor; OUT_OF_SERVICE is latched like a stop (CTL-7)."""
        if command.mode == Mode.OUT_OF_SERVICE:
            if not self._marks(command.pump_id):
                stamp = stops.stamp_without_disk(self._desk.latches, self._ports.clock.now())
                reason = command.reason or "out of service"
                mark = self._stop(OUT_OF_SERVICE, Scope.PUMP, command.pump_id, reason, by, stamp)
                self._traffic.apply((mark,), announce=True, record=True, source=peer)
            return CallAnswer(ids=tuple(mark.record_id for mark in self._marks(command.pump_id)))
        if command.mode not in (Mode.AUTO, Mode.MANUAL):
            raise InvalidValueError(f"mode {command.mode}: expected 1 AUTO, 2 MANUAL or 4 OUT_OF_SERVICE")
        manual = command.mode == Mode.MANUAL
        if manual and self._marks(command.pump_id):
            raise RefusedError(f"pump {command.pump_id}: out of service, AUTO returns it to service first")
        message = SetMode(
            pump_id=command.pump_id,
            command_id=self._next_id(),
            mode=Mode(command.mode),
            by=by,
            setpoint_hz=command.setpoint_hz if manual else None,
            expires_after_s=command.expires_after_s if manual else None,
            reason=command.reason,
            source_address=peer,
        )
        pump = pump_address(self._site().site_id, command.station_id, command.pump_id)
        # The pump's own mode first: a return to service must find the mode that the operator asked for.
        await self._ports.directory.ref(pump).ask(message, deadline_s=ASK_S)
        if not manual:
            reason = command.reason or "returned to service"
            try:
                self._clear(list(self._marks(command.pump_id)), by=by, reason=reason, peer=peer)
            except DeviceError as error:
                raise _StillOutOfServiceError(
                    f"AUTO is taken, but it stays out of service: {error}"
                ) from error
        return _DONE

    def _marks(self, pump_id: str) -> tuple[StopEventRecord, ...]:
        marks = self._desk.latches.active(OUT_OF_SERVICE)
        return tuple(mark for mark in marks if mark.scope is Scope.PUMP and mark.scope_id == pump_id)

    # ------------------------------------------------------------------ alarms

    async def _see_alarm(self, command: SeeAlarm, *, by: str, peer: str) -> CallAnswer:
        message = AcknowledgeAlarm(alarm_id=command.alarm_id, by=by, comment=command.comment)
        await self._ports.directory.ref(ALARM).ask(message, deadline_s=ASK_S)
        after = {"comment": command.comment}
        self._audit("ALARM_ACKNOWLEDGED", by, peer, f"ALARM:{command.alarm_id}", after)
        return _DONE

    async def follow_alarms(self, show: Callable[[ShownAlarms], None], *, clients: Callable[[], int]) -> None:
        """Show the site's alarms as the alarm actor has them, for ever; while it is away, say that they are old."""
        alarm = self._ports.directory.ref(ALARM)
        held = ShownAlarms(alarms=(), whole=False, current=False)
        while True:
            try:
                answer = await alarm.ask(GetAlarms(), deadline_s=ASK_S)
            except CalejoError:
                # Its supervisor says so; here it only means that what is shown may be old.
                answer = None
            if isinstance(answer, Alarms):
                held = shown_alarms(answer, self._site())
            show(held if isinstance(answer, Alarms) else msgspec.structs.replace(held, current=False))
            await self._ports.clock.sleep(ALARMS_PERIOD_S if clients() else ALARMS_IDLE_S)

    # ------------------------------------------------------------------ rights and audit

    def _permit(self, call: ClientCall, operation: Operation) -> None:
        if not call.caller.may(operation):
            raise _NotPermittedError(f"{operation.value} is not permitted")

    def _refused(
        self,
        call: ClientCall,
        by: str,
        why: WriteRefusal,
        detail: str,
        *,
        event: str = "",
        outcome: str = "refused",
    ) -> CallAnswer:
        """Answer, and audit while the client's share lasts: one in a loop must not fill the disk."""
        self._refusals, may_tell, suppressed = allowance(
            self._refusals, peer=call.peer, now=self._ports.clock.now()
        )
        if may_tell:
            event, subject = event or _AUDITED[type(call.command)], _subject(call.command)
            after = {**msgspec.to_builtins(call.command), "suppressed_before": suppressed}
            self._audit(
                event, by, call.peer, subject, after, outcome=f"{outcome}: {why.value}: {detail}"[:300]
            )
        return CallAnswer(refusal=why, detail=detail)

    def _audit(
        self,
        event_type: str,
        by: str,
        peer: str,
        object_id: str,
        after: Mapping[str, object],
        *,
        outcome: str = "success",
    ) -> None:
        record_id = self._next_id()
        self._outbox.put(
            AuditRecord(
                record_id=f"{record_id}:{event_type.lower()}",
                at=self._ports.clock.now().utc,
                event_type=event_type,
                actor=by,
                source_address=peer,
                object_id=object_id,
                outcome=outcome,
                severity=Severity.MEDIUM,
                after=dict(after),
                correlation_id=record_id,
            )
        )


class _NotPermittedError(CalejoError):
    """The caller's role does not suffice."""


class _StillOutOfServiceError(DeviceError):
    """The pump took its mode, and the disk refused to lift the mark."""


_AUDITED: Final = {
    SetStop: "EMERGENCY_STOP_REFUSED",
    ClearStops: "EMERGENCY_STOP_CLEAR_REFUSED",
    CommandMode: "MODE_REFUSED",
    SeeAlarm: "ALARM_ACKNOWLEDGE_REFUSED",
}


def _subject(command: SetStop | ClearStops | CommandMode | SeeAlarm) -> str:
    match command:
        case SetStop() | ClearStops():
            return f"{command.scope.value}:{command.scope_id}"
        case CommandMode():
            return f"PUMP:{command.pump_id}"
        case SeeAlarm():
            return f"ALARM:{command.alarm_id[:60]}"
        case _:
            assert_never(command)
