"""What clients command by methods: goal: the same ways and rights as elsewhere, answered and audited by name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from actors.messages import AcknowledgeAlarm, Alarms, Done, GetAlarms, SetMode, StopsChanged
from actors.publisher.actor import PublisherActor
from actors.start import WorkerStart
from actors.vocabulary import (
    Mode,
    RefusedError,
    Role,
    Scope,
    Settings,
    UnansweredError,
    UnavailableError,
    UnknownSubjectError,
    WriteRefusal,
)
from actors.vocabulary.access import UserRole
from actors.vocabulary.callers import Caller, Shown
from actors.vocabulary.client_calls import (
    CallAnswer,
    ClearStops,
    ClientCall,
    ClientCommand,
    CommandMode,
    PastQuestion,
    SeeAlarm,
    SetStop,
    ShownAlarms,
)
from actors.vocabulary.ids import ALARM, endpoint_address, pump_address
from actors.vocabulary.records import AuditRecord, StopEventRecord
from protocols.endpoint import CallDesk, ClientWrite, PastReader
from protocols.points import opcua_points
from tests.simulation.fakes import FakeClock, FakeEndpointServer, FakeEpochStore, FakeLatchStore, FakePorts
from tests.unit.actors.publisher.test_actor import SAFETY, SITE

PUMP = str(pump_address("north", "s1", "p1"))
MODBUS = str(endpoint_address("north", "modbus"))
PEER = "10.0.0.9:1024"


class Operated(FakeEndpointServer):
    """An endpoint whose clients call: `call` is their side."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[ShownAlarms] = []
        self.desk: CallDesk | None = None
        self.past: PastReader | None = None

    def operate(self, *, call: CallDesk, past: PastReader) -> None:
        self.desk, self.past = call, past

    def show_alarms(self, alarms: ShownAlarms) -> None:
        self.shown.append(alarms)


class Bench:
    """An OPC UA endpoint's publisher over a fake server."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.latches = FakeLatchStore()
        self.ports = FakePorts(str(endpoint_address("north", "opcua")), self.clock)
        self.server = Operated()
        start = WorkerStart(
            role=Role.OPCUA, address=self.ports.address, settings=Settings(data_dir="unused"), site=SITE
        )
        self.actor = PublisherActor(
            self.ports, start, self.server, self.latches, FakeEpochStore(), opcua_points
        )
        self.ports.answers[PUMP] = lambda message: Done()
        self.ports.answers[str(ALARM)] = lambda message: (
            Alarms(alarms=()) if isinstance(message, GetAlarms) else Done()
        )

    async def open(self) -> None:
        await self.actor.start()
        for _ in range(70):
            await self.clock.advance(0.05)
        assert self.server.desk is not None

    async def call(
        self, command: ClientCommand, *, role: UserRole = UserRole.OPERATOR, name: str = "anna"
    ) -> CallAnswer:
        assert self.server.desk is not None
        caller = Caller(name=name, roles=frozenset({role}), how=Shown.PASSWORD)
        return await self.server.desk(ClientCall(command=command, caller=caller, peer=PEER))

    async def audited(self, *event_types: str) -> list[AuditRecord]:
        records = await self.ports.stored(AuditRecord)
        return [record for record in records if not event_types or record.event_type in event_types]

    def stops(self) -> list[StopEventRecord]:
        return list(self.latches.held.active())


def play(story: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        bench = Bench()
        try:
            await story(bench)
        finally:
            await bench.ports.end()

    asyncio.run(run())


SET = SetStop(scope=Scope.STATION, scope_id="s1", reason="flood")


def clear(*ids: str, scope: Scope = Scope.STATION, scope_id: str = "s1") -> ClearStops:
    return ClearStops(scope=scope, scope_id=scope_id, stop_ids=ids, reason="over")


def mode(code: int, hz: float | None = None) -> CommandMode:
    return CommandMode(
        station_id="s1", pump_id="p1", mode=code, setpoint_hz=hz, expires_after_s=None, reason="test"
    )


def test_a_stop_is_shown_told_durable_and_named() -> None:
    """EST-1, EST-5, AUD-2: the ways of a coil, with the caller's name and reason; again it is that one."""

    async def story(bench: Bench) -> None:
        await bench.open()
        answer = await bench.call(SET)
        (stop,) = bench.stops()
        assert answer == CallAnswer(ids=(stop.record_id,))
        assert (stop.set_by, stop.reason, stop.scope_id) == ("anna", "flood", "s1")
        assert bench.server.values["/north/s1/emergency_stop"].value is True
        assert bench.server.values["/north/s1/p1/run_inhibit"].value is True
        assert bench.ports.told_to(MODBUS, StopsChanged)
        assert bench.ports.told_to(SAFETY, StopsChanged)
        assert (await bench.call(SET)).ids == (stop.record_id,)
        (record,) = await bench.audited("EMERGENCY_STOP_SET")
        assert (record.actor, record.source_address) == ("anna", PEER)

    play(story)


def test_a_clear_names_its_stops_and_clears_all_or_none() -> None:
    """EST-2: within the object at which it is asked; an unknown id beside a known one clears nothing."""

    async def story(bench: Bench) -> None:
        await bench.open()
        (stop_id,) = (await bench.call(SET)).ids
        assert (await bench.call(clear(stop_id, "none"))).refusal is WriteRefusal.UNKNOWN_POINT
        elsewhere = clear(stop_id, scope=Scope.PUMP, scope_id="p1")
        assert (await bench.call(elsewhere)).refusal is WriteRefusal.UNKNOWN_POINT
        other = clear(stop_id, scope=Scope.STATION, scope_id="s2")
        assert (await bench.call(other)).refusal is WriteRefusal.UNKNOWN_POINT
        assert [stop.record_id for stop in bench.stops()] == [stop_id]
        assert await bench.call(clear(stop_id, scope=Scope.SITE, scope_id="north")) == CallAnswer(
            ids=(stop_id,)
        )
        assert bench.stops() == []
        (held,) = bench.latches.held.records
        assert (held.cleared_by, held.clear_reason) == ("anna", "over")
        assert held.release is not None
        assert bench.server.values["/north/s1/emergency_stop"].value is False
        # Cleared before: it counts as cleared, and nothing happens.
        assert (await bench.call(clear(stop_id))).refusal is None
        (record,) = await bench.audited("EMERGENCY_STOP_CLEARED")
        assert record.actor == "anna"

    play(story)


@pytest.mark.parametrize(
    ("scope", "scope_id"), [(Scope.SITE, "north"), (Scope.STATION, "s1"), (Scope.PUMP, "p1")]
)
def test_a_site_clears_what_stands_below_it(scope: Scope, scope_id: str) -> None:
    """EST-2: its own stop, a station's and a pump's; not those of another site."""

    async def story(bench: Bench) -> None:
        await bench.open()
        (stop_id,) = (await bench.call(SetStop(scope=scope, scope_id=scope_id, reason="r"))).ids
        other = msgspec.structs.replace(bench.stops()[0], record_id="other", scope_id="elsewhere")
        await bench.actor.handle(StopsChanged(stops=(other,)))
        at_site = clear("other", scope=Scope.SITE, scope_id="north")
        assert (await bench.call(at_site)).refusal is WriteRefusal.UNKNOWN_POINT
        at_site = clear(stop_id, scope=Scope.SITE, scope_id="north")
        assert (await bench.call(at_site)).refusal is None
        assert stop_id not in [stop.record_id for stop in bench.stops()]

    play(story)


def test_a_pump_is_marked_out_of_service_once() -> None:
    """CTL-7, EST-5: asked again it is the mark that holds."""

    async def story(bench: Bench) -> None:
        await bench.open()
        first = await bench.call(mode(4))
        again = await bench.call(mode(4))
        assert first.refusal is None
        assert (again, len(bench.stops())) == (first, 1)

    play(story)


def test_a_clear_that_no_disk_takes_is_refused() -> None:
    """EST-2: nothing is cleared, nobody is told."""

    async def story(bench: Bench) -> None:
        await bench.open()
        (stop_id,) = (await bench.call(SET)).ids
        told = len(bench.ports.told_to(MODBUS, StopsChanged))
        bench.latches.refuses = True
        assert (await bench.call(clear(stop_id))).refusal is WriteRefusal.DEVICE_FAILURE
        assert bench.server.values["/north/s1/emergency_stop"].value is True
        assert len(bench.ports.told_to(MODBUS, StopsChanged)) == told
        (record,) = await bench.audited("EMERGENCY_STOP_CLEAR_REFUSED")
        assert record.outcome.startswith("refused: device_failure")

    play(story)


def test_a_system_stop_is_an_engineers_to_clear() -> None:
    """EST-2, SEC-2: by the row of its own."""

    async def story(bench: Bench) -> None:
        await bench.open()
        record = StopEventRecord(
            record_id="sys",
            scope=Scope.SYSTEM,
            scope_id="",
            reason="r",
            set_by="x",
            set_at=bench.clock.now().utc,
        )
        await bench.actor.handle(StopsChanged(stops=(record,)))
        at_site = clear("sys", scope=Scope.SITE, scope_id="north")
        assert (await bench.call(at_site)).refusal is WriteRefusal.NOT_PERMITTED
        assert (await bench.call(at_site, role=UserRole.ENGINEER)).refusal is None
        assert bench.stops() == []

    play(story)


@pytest.mark.parametrize("command", [SET, clear("x"), mode(1), SeeAlarm(alarm_id="a", comment="")])
@pytest.mark.parametrize("role", [UserRole.READ_ONLY, UserRole.FIELD])
def test_who_may_not_is_told_so_and_audited(command: ClientCommand, role: UserRole) -> None:
    """SEC-2, AUD-2: READ_ONLY and FIELD command nothing; nobody hears of it but the audit."""

    async def story(bench: Bench) -> None:
        await bench.open()
        assert (await bench.call(command, role=role, name="bert")).refusal is WriteRefusal.NOT_PERMITTED
        assert bench.stops() == []
        assert bench.ports.told_to(PUMP) == []
        assert bench.ports.told_to(str(ALARM), AcknowledgeAlarm) == []
        (record,) = await bench.audited()
        assert (record.actor, record.source_address) == ("bert", PEER)
        assert record.outcome.startswith("refused: not_permitted")

    play(story)


def test_a_mode_goes_to_the_pump_and_auto_returns_it_to_service() -> None:
    """CTL-7: MANUAL by the pump's actor, OUT_OF_SERVICE like a stop, AUTO lifts that again."""

    async def story(bench: Bench) -> None:
        await bench.open()
        assert (await bench.call(mode(2, 35.0))).refusal is None
        (message,) = bench.ports.told_to(PUMP, SetMode)
        assert (message.mode, message.setpoint_hz, message.by) == (Mode.MANUAL, 35.0, "anna")
        assert (message.reason, message.source_address) == ("test", PEER), (
            "for the record, which the pump writes"
        )
        assert (await bench.call(mode(4))).refusal is None
        (mark,) = bench.stops()
        assert (mark.kind, mark.set_by) == ("out_of_service", "anna")
        assert bench.server.values["/north/s1/p1/mode"].value == Mode.OUT_OF_SERVICE
        assert (await bench.call(mode(2, 35.0))).refusal is WriteRefusal.INVALID_STATE
        assert (await bench.call(mode(3))).refusal is WriteRefusal.OUT_OF_RANGE
        assert (await bench.call(mode(1))).refusal is None
        assert bench.stops() == []
        kinds = [record.event_type for record in await bench.audited()]
        assert kinds == [
            "OUT_OF_SERVICE_SET", "MODE_REFUSED", "MODE_REFUSED", "OUT_OF_SERVICE_CLEARED",
        ]  # fmt: skip

    play(story)


def test_a_mode_that_may_have_been_taken_is_not_called_refused() -> None:
    """CTL-7, AUD-2: no answer in time is none; and of AUTO that the pump took, only the return to service failed."""

    async def story(bench: Bench) -> None:
        await bench.open()

        def silent(message: object) -> object:
            raise UnansweredError("no answer to SetMode within 1 s")

        bench.ports.answers[PUMP] = silent
        assert (await bench.call(mode(2, 35.0))).refusal is WriteRefusal.DEVICE_FAILURE
        (record,) = await bench.audited()
        assert (record.event_type, record.outcome.split(":")[0]) == ("MODE_UNCONFIRMED", "not known")
        bench.ports.answers[PUMP] = lambda message: Done()
        assert (await bench.call(mode(4))).refusal is None
        bench.latches.refuses = True
        answer = await bench.call(mode(1))
        assert answer.refusal is WriteRefusal.DEVICE_FAILURE
        assert "AUTO is taken, but it stays out of service" in answer.detail
        bench.latches.refuses = False
        kinds = [record.event_type for record in await bench.audited()]
        assert kinds == ["MODE_UNCONFIRMED", "OUT_OF_SERVICE_SET", "EMERGENCY_STOP_CLEAR_REFUSED"]
        assert len(bench.stops()) == 1

    play(story)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (RefusedError("not now"), WriteRefusal.INVALID_STATE),
        (UnavailableError("no answer"), WriteRefusal.DEVICE_FAILURE),
        (UnknownSubjectError("none"), WriteRefusal.UNKNOWN_POINT),
    ],
)
def test_what_the_alarm_actor_says_is_what_the_client_hears(error: Exception, verdict: WriteRefusal) -> None:
    """ALM-1: acknowledged by name, or refused with the fitting word; both audited."""

    async def story(bench: Bench) -> None:
        await bench.open()
        see = SeeAlarm(alarm_id="a1", comment="on my way")
        assert (await bench.call(see)).refusal is None
        (message,) = bench.ports.told_to(str(ALARM), AcknowledgeAlarm)
        assert message == AcknowledgeAlarm(alarm_id="a1", by="anna", comment="on my way")

        def refuse(message: object) -> object:
            raise error

        bench.ports.answers[str(ALARM)] = refuse
        assert (await bench.call(see)).refusal is verdict
        kinds = [record.event_type for record in await bench.audited()]
        assert kinds == ["ALARM_ACKNOWLEDGED", "ALARM_ACKNOWLEDGE_REFUSED"]

    play(story)


def test_refusals_in_a_loop_do_not_fill_the_trail() -> None:
    """AUD-2: a few records a minute for each host; the answer is the same each time."""

    async def story(bench: Bench) -> None:
        await bench.open()
        for _ in range(50):
            assert (await bench.call(mode(9))).refusal is WriteRefusal.OUT_OF_RANGE
        assert len(await bench.audited()) == 3

    play(story)


def test_alarms_are_shown_and_say_when_they_are_old() -> None:
    """OPC-3: asked for each second while somebody listens; a silent alarm actor leaves the last ones, as old."""

    async def story(bench: Bench) -> None:
        await bench.open()
        assert bench.server.shown[-1] == ShownAlarms(alarms=(), whole=True, current=True)

        def silent(message: object) -> object:
            raise UnavailableError("no answer")

        bench.ports.answers[str(ALARM)] = silent
        await bench.clock.advance(1.5)
        assert bench.server.shown[-1] == ShownAlarms(alarms=(), whole=True, current=False)

    play(story)


def test_without_a_past_nobody_looks_back() -> None:
    """OPC-3: an endpoint without storage says so; it does not fail."""

    async def story(bench: Bench) -> None:
        await bench.open()
        assert bench.server.past is not None
        question = PastQuestion(pump_id="p1", point="setpoint", start=None, end=None, count_max=1)
        with pytest.raises(Exception, match="no past is kept here"):
            await bench.server.past(question)

    play(story)


def test_a_write_is_audited_by_the_name_of_its_writer() -> None:
    """OPC-2, AUD-2: a stop, a refusal and the first feedback of a client."""

    async def story(bench: Bench) -> None:
        await bench.open()
        assert bench.server._open is not None
        caller = Caller(name="plc-1", roles=frozenset({UserRole.FIELD}), how=Shown.CERTIFICATE)

        def write(path: str, value: float, refusal: WriteRefusal | None = None) -> ClientWrite:
            return ClientWrite(path=path, value=value, peer=PEER, caller=caller, refusal=refusal)

        await bench.server._open[0](
            [
                write("/north/s1/p1/running", True),
                write("/north/s1/p1/actual_speed", 30.0),
                write("/north/s1/p1/setpoint_request", 30.0, WriteRefusal.NOT_PERMITTED),
                write("/north/s1/p1/emergency_stop", True),
            ],
            False,
        )
        records = [(record.event_type, record.actor) for record in await bench.audited()]
        assert sorted(records) == [
            ("EMERGENCY_STOP_SET", "plc-1"),
            ("POINTS_WRITTEN", "plc-1"),
            ("WRITE_REFUSED", "plc-1"),
        ]

    play(story)
