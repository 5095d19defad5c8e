"""The publisher actor behind fakes: goal: what its wire shows, whatever reaches it and whatever fails around it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

from actors.messages import (
    AlarmAsserted,
    AlarmReturned,
    Configure,
    EndpointStatus,
    Epoch,
    FeedbackReceived,
    GetEndpoint,
    PumpFeedback,
    Sample,
    Setpoint,
    SetpointsDecided,
    StopConfirmed,
    StopsChanged,
    Tick,
)
from actors.publisher.actor import PublisherActor
from actors.safety.latch import cleared
from actors.start import WorkerStart
from actors.vocabulary import (
    ControlType,
    DeviceError,
    FailsafeStrategy,
    Instant,
    InvalidValueError,
    Mode,
    PumpConfig,
    Quality,
    Reason,
    RefusedError,
    Role,
    SafetyLimits,
    Scope,
    Settings,
    SiteConfig,
    StationConfig,
    WriteRefusal,
)
from actors.vocabulary.ids import ALARM, endpoint_address
from actors.vocabulary.records import AuditRecord, StopEventRecord
from protocols.points import Point, site_points
from tests.simulation.fakes import FakeClock, FakeEndpointServer, FakeEpochStore, FakeLatchStore, FakePorts

LIMITS = SafetyLimits(version=1, hard_min_speed_hz=20.0, hard_max_speed_hz=50.0, max_rate_hz_per_s=2.0)
SAFETY = "/sites/north/stations/s1/safety"
OPCUA = "/sites/north/endpoints/opcua"


def pump(pump_id: str, slot: int, station_id: str = "s1") -> PumpConfig:
    return PumpConfig(
        pump_id=pump_id,
        station_id=station_id,
        name=pump_id,
        control_type=ControlType.DIRECT_SPEED,
        default_setpoint_hz=25.0,
        failsafe_strategy=FailsafeStrategy.DEFAULT_SETPOINT,
        wire_slot=slot,
        limits=LIMITS,
    )


def station(station_id: str, unit: int, *pumps: PumpConfig) -> StationConfig:
    return StationConfig(
        station_id=station_id,
        site_id="north",
        name=station_id,
        timezone="UTC",
        modbus_unit_id=unit,
        pumps=pumps,
    )


SITE = SiteConfig(
    site_id="north",
    name="North",
    timezone="UTC",
    stations=(station("s1", 1, pump("p1", 0), pump("p2", 1)), station("s2", 2, pump("q1", 0, "s2"))),
)


def setpoint(
    sequence: int, origin: Instant, *, pump_id: str = "p1", hz: float = 35.0, counter: int = 7
) -> Setpoint:
    return Setpoint(
        pump_id=pump_id,
        setpoint_hz=hz,
        remote_enabled=True,
        quality=Quality.GOOD,
        reason=Reason.PLAN,
        run_inhibit=False,
        failsafe_image_hz=25.0,
        failsafe_image_reason=Reason.LEASE_EXPIRED,
        epoch=Epoch(0, counter),
        sequence=sequence,
        origin=origin,
        lease_s=10.0,
        limits_version=1,
        mode=Mode.AUTO,
    )


class Bench:
    """One Modbus endpoint with everything around it; `start` may be called again on the same stores: a restart."""

    def __init__(self, *, site: SiteConfig = SITE) -> None:
        self.clock = FakeClock()
        self.latches = FakeLatchStore()
        self.epochs = FakeEpochStore()
        self.site = site
        self.server = FakeEndpointServer()
        self.ports = FakePorts(str(endpoint_address("north", "modbus")), self.clock)

    async def start(self) -> None:
        self.ports = FakePorts(str(endpoint_address("north", "modbus")), self.clock)
        self.server = FakeEndpointServer()
        start = WorkerStart(
            role=Role.MODBUS, address=self.ports.address, settings=Settings(data_dir="unused"), site=self.site
        )
        self.actor = PublisherActor(self.ports, start, self.server, self.latches, self.epochs, site_points)
        await self.actor.start()

    async def bound(self) -> None:
        await self.start()
        for _ in range(70):
            await self.clock.advance(0.05)
        assert self.server.bound

    async def tick(self, what: str = "refresh", *, after_s: float = 0.0) -> None:
        await self.clock.advance(after_s)
        await self.actor.handle(Tick(what=what))

    async def decide(self, sequence: int, *, hz: float = 35.0, counter: int = 7) -> None:
        now = self.clock.now()
        setpoints = (setpoint(sequence, now, hz=hz, counter=counter),)
        await self.actor.handle(
            SetpointsDecided(station_id="s1", epoch=Epoch(0, counter), setpoints=setpoints)
        )

    def show(self, *points: str, of: str = "/north/s1/p1") -> list[Any]:
        read = self.server.read(*(f"{of}/{point}" for point in points))
        assert read is not None, "the endpoint is silent"
        return [value.value for value in read]

    async def records(self, kind: type) -> list[Any]:
        return await self.ports.stored(kind)


def play(story: Callable[[Bench], Awaitable[None]], *, site: SiteConfig = SITE) -> None:
    async def run() -> None:
        bench = Bench(site=site)
        try:
            await story(bench)
        finally:
            await bench.ports.end()

    asyncio.run(run())


def stop_record(record_id: str = "a", scope: Scope = Scope.PUMP, scope_id: str = "p1") -> StopEventRecord:
    return StopEventRecord(
        record_id=record_id,
        scope=scope,
        scope_id=scope_id,
        reason="t",
        set_by="op",
        set_at=FakeClock().now().utc,
        set_stamp=1_800_000_001,
    )


# --------------------------------------------------------------------------- life


def test_every_point_has_a_value_before_the_port_opens() -> None:
    """DESIGN, MOD-2: no client can read a point that nobody has filled; a point never written is BAD."""

    async def story(bench: Bench) -> None:
        await bench.start()
        assert not bench.server.bound
        assert bench.server.values.keys() == bench.server.points.keys()
        level = bench.server.values["/north/s1/p1/wet_well_level"]
        assert (level.value, level.quality, level.utc_ns) == (0.0, Quality.BAD, None)
        assert bench.server.values["/north/s1/p1/remote_enabled"].value is False

    play(story)


def test_it_binds_once_every_station_has_a_fresh_setpoint() -> None:
    """SAF-9: and then shows those: no station is handed back because another one ticked first."""

    async def story(bench: Bench) -> None:
        await bench.start()
        await bench.clock.advance(0.5)
        await bench.decide(1)
        await bench.clock.advance(0.05)
        assert not bench.server.bound
        other = setpoint(1, bench.clock.now(), pump_id="q1", hz=30.0)
        await bench.actor.handle(SetpointsDecided(station_id="s2", epoch=Epoch(0, 7), setpoints=(other,)))
        await bench.clock.advance(0.05)
        assert bench.show("setpoint", "remote_enabled") == [35.0, True]
        assert bench.show("setpoint", "remote_enabled", of="/north/s2/q1") == [30.0, True]

    play(story)


def test_a_dead_station_does_not_keep_the_others_waiting() -> None:
    """SAF-9: half a period past the tick that the other station owed."""

    async def story(bench: Bench) -> None:
        await bench.start()
        await bench.decide(1)
        await bench.clock.advance(1.45)
        assert not bench.server.bound
        await bench.clock.advance(0.05)
        assert bench.show("setpoint", "remote_enabled") == [35.0, True]
        assert bench.show("remote_enabled", of="/north/s2/q1") == [False]

    play(story)


def test_a_stale_setpoint_does_not_make_it_bind_but_three_seconds_do() -> None:
    """SAF-9: at the latest 3 s after its start, claiming nothing."""

    async def story(bench: Bench) -> None:
        await bench.start()
        old = setpoint(1, bench.clock.now().plus(-20.0))
        await bench.actor.handle(SetpointsDecided(station_id="s1", epoch=Epoch(0, 7), setpoints=(old,)))
        await bench.clock.advance(2.9)
        assert not bench.server.bound
        await bench.clock.advance(0.15)
        assert bench.show("setpoint", "remote_enabled", "reason") == [0.0, False, Reason.NOT_STARTED.value]

    play(story)


def test_a_taken_port_ends_the_actor_naming_it() -> None:
    """SUP-3: the supervisor has to see it, not a log line."""

    async def story(bench: Bench) -> None:
        await bench.start()
        bench.server.port_taken = True
        await bench.clock.advance(3.0)
        error = bench.ports.spawned["bind"].exception()
        assert isinstance(error, DeviceError)
        assert "fake:0" in str(error)

    play(story)


def test_stops_are_loaded_before_the_first_value() -> None:
    """EST-2: a restarted gate shows the latch from its first value on, and fences old epochs (SAF-11)."""

    async def story(bench: Bench) -> None:
        bench.latches.merge([stop_record()])
        bench.epochs.issued["s1"] = Epoch(0, 9)
        await bench.start()
        assert bench.server.values["/north/s1/p1/run_inhibit"].value is True
        assert bench.server.values["/north/s1/p1/epoch"].value == 9
        await bench.decide(1, counter=8)
        await bench.clock.advance(1.0)
        assert not bench.server.bound
        await bench.decide(1, counter=9)
        await bench.clock.advance(1.5)
        assert bench.show("setpoint", "run_inhibit", "emergency_stop") == [0.0, True, True]
        assert bench.show("run_inhibit", of="/north/s1/p2") == [False]

    play(story)


def test_a_read_after_the_lease_sees_the_lapse_without_any_beat() -> None:
    """SAF-9: the actor's own timers may be late; what is read is not."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        await bench.decide(1)
        await bench.clock.advance(9.99)
        assert bench.show("remote_enabled") == [True]
        await bench.clock.advance(0.01)
        assert bench.show("remote_enabled", "setpoint", "heartbeat") == [False, 25.0, 1]
        assert bench.show("failsafe", of="/north/s1") == [True]
        assert bench.show("failsafe", of="/north/s2") == [False]
        assert bench.show("failsafe", of="/north") == [True]

    play(story)


def test_a_pump_that_does_not_follow_is_told_while_the_chain_lives() -> None:
    """CTL-5, MOD-2: its own state bit, BAD before anybody judged it and after the lease."""

    async def story(bench: Bench) -> None:
        def bit() -> tuple[Any, Quality]:
            read = bench.server.read("/north/s1/p1/not_following")
            assert read is not None
            return read[0].value, read[0].quality

        await bench.bound()
        assert bit() == (False, Quality.BAD)
        await bench.decide(1)
        assert bit() == (False, Quality.GOOD)
        told = msgspec.structs.replace(setpoint(2, bench.clock.now()), not_following=True)
        await bench.actor.handle(SetpointsDecided(station_id="s1", epoch=Epoch(0, 7), setpoints=(told,)))
        assert bit() == (True, Quality.GOOD)
        assert bench.show("setpoint", "remote_enabled") == [35.0, True]
        await bench.clock.advance(10.0)
        assert bit() == (False, Quality.BAD)

    play(story)


def test_a_new_configuration_keeps_what_stays() -> None:
    """DAT-4: a station that goes takes its points along; the others' leases live on."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        await bench.decide(1)
        await bench.actor.handle(Configure(site=SITE.only("s1")))
        assert bench.show("setpoint", "remote_enabled") == [35.0, True]
        assert not [path for path in bench.server.points if path.startswith("/north/s2")]
        await bench.actor.handle(Configure(site=SITE))
        assert bench.show("remote_enabled", of="/north/s2/q1") == [False]

    play(story)


# --------------------------------------------------------------------------- emergency stop


def test_a_coil_stops_at_once_and_tells_everybody() -> None:
    """EST-1, EST-2: own wire, disk, safety in scope, other endpoint, storage, alarm; in one step of this process."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        await bench.decide(1)
        assert await bench.server.write({"/north/s1/emergency_stop": True}) == [None]
        for path in ("/north/s1/p1", "/north/s1/p2"):
            assert bench.show("setpoint", "run_inhibit", of=path) == [0.0, True]
        assert bench.show("emergency_stop", of="/north/s1") == [True]
        assert bench.show("emergency_stop", of="/north") == [False]
        (stop,) = bench.latches.held.active()
        assert (stop.scope, stop.scope_id) == (Scope.STATION, "s1")
        for address in (SAFETY, OPCUA):
            (told,) = bench.ports.told_to(address, StopsChanged)
            assert told.stops == (stop,)
            assert told.origin == str(bench.ports.address)
        assert not bench.ports.told_to("/sites/north/stations/s2/safety", StopsChanged)
        assert (await bench.records(StopEventRecord)) == [stop]
        (audit,) = await bench.records(AuditRecord)
        assert (audit.event_type, audit.source_address) == ("EMERGENCY_STOP_SET", "10.0.0.9:1024")
        (alarm,) = bench.ports.told_to(str(ALARM), AlarmAsserted)
        assert (alarm.condition, alarm.subject) == ("emergency_stop", "station:s1")

    play(story)


def test_a_coil_written_again_is_the_same_stop_and_zero_clears_nothing() -> None:
    """EST-4, EST-5: idempotent; set only."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        path = "/north/s1/p1/emergency_stop"
        for value in (True, True, False, 1, 0):
            assert await bench.server.write({path: value}) == [None]
        assert len(bench.latches.held.records) == 1
        assert len(await bench.records(AuditRecord)) == 1
        assert bench.show("emergency_stop", "run_inhibit") == [True, True]

    play(story)


@pytest.mark.parametrize(
    ("pressed_after_s", "learnt_after_s", "stopped"),
    [(0.05, 0.1, True), (-0.1, 0.1, True), (-0.6, 0.1, False), (-5.0, 0.1, False)],
)
def test_a_stop_pressed_while_a_clear_is_on_its_way_is_not_lost(
    pressed_after_s: float, learnt_after_s: float, stopped: bool
) -> None:
    """EST-2, EST-5: a coil written again is that stop only while it is uncleared; a clear takes its time to come here.

    The wire shows no gap. A clear that was made well after the press counts, however often the coil was written.
    """

    async def story(bench: Bench) -> None:
        await bench.bound()
        path = "/north/s1/p1/emergency_stop"
        await bench.server.write({path: True})
        (stop,) = bench.latches.held.active()
        await bench.clock.advance(10.0)
        cleared_at = bench.clock.now().utc

        async def press() -> None:
            assert await bench.server.write({path: True}) == [None]

        if pressed_after_s > 0:
            await bench.clock.advance(pressed_after_s)
        await press()
        await bench.clock.advance(max(0.0, -pressed_after_s))
        if pressed_after_s < 0:
            cleared_at = bench.clock.now().utc
        done = cleared(stop, by="op", at=cleared_at, reason="ok", release=bench.latches.next_stamp())
        await bench.clock.advance(learnt_after_s)
        shown: list[list[Any]] = []
        bench.server.publish = _noting(bench, shown)  # type: ignore[method-assign]
        await bench.actor.handle(StopsChanged(stops=(done,), origin="/sites/north/endpoints/opcua"))
        active = bench.latches.held.stops_of_scope(Scope.PUMP, "p1")
        assert bool(active) is stopped
        assert bench.show("run_inhibit", "emergency_stop") == [stopped, stopped]
        if stopped:
            assert active[0].record_id != stop.record_id
            assert all(picture == [True, True] for picture in shown), "the wire let go in between"
            told = [each for message in bench.ports.told_to(SAFETY, StopsChanged) for each in message.stops]
            assert active[0].record_id in {each.record_id for each in told}
            audits = await bench.records(AuditRecord)
            assert any(active[0].record_id in audit.record_id for audit in audits), audits
            # The next clear is an ordinary one.
            at = bench.clock.now().plus(5.0).utc
            again = cleared(active[0], by="op", at=at, reason="ok", release=bench.latches.next_stamp())
            await bench.actor.handle(StopsChanged(stops=(again,), origin="/sites/north/endpoints/opcua"))
            assert bench.show("run_inhibit") == [False]

    play(story)


def test_a_stop_pressed_again_is_held_against_the_folder_before_it_is_confirmed() -> None:
    """EST-2: cleared by another process just now, and then the gate dies: the disk holds what was confirmed."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        path = "/north/s1/p1/emergency_stop"
        await bench.server.write({path: True})
        (stop,) = bench.latches.held.active()
        await bench.clock.advance(10.0)
        now = bench.clock.now().utc
        bench.latches.merge(
            (cleared(stop, by="op", at=now, reason="ok", release=bench.latches.next_stamp()),)
        )
        assert await bench.server.write({path: True}) == [None]
        (again,) = bench.latches.held.active()
        assert again.record_id != stop.record_id
        assert bench.show("run_inhibit", "emergency_stop") == [True, True]

    play(story)


def _noting(bench: Bench, shown: list[list[Any]]) -> Callable[..., None]:
    publish = bench.server.publish

    def note(*given: Any, **named: Any) -> None:
        publish(*given, **named)
        shown.append(bench.show("run_inhibit", "emergency_stop"))

    return note


def test_a_stop_waits_for_no_disk() -> None:
    """EST-1, EST-2: the wire shows it before the latch folder is asked for anything: its disk may hang for minutes."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        await bench.decide(1)
        seen: list[tuple[str, list[Any]]] = []

        def asked(what: str, then: Callable[..., Any]) -> Callable[..., Any]:
            def call(*given: Any) -> Any:
                seen.append((what, bench.show("setpoint", "run_inhibit")))
                return then(*given)

            return call

        for name in ("next_stamp", "merge"):
            setattr(bench.latches, name, asked(name, getattr(bench.latches, name)))
        assert await bench.server.write({"/north/s1/p1/emergency_stop": True}) == [None]
        assert seen == [("merge", [0.0, True])]
        (stop,) = bench.latches.held.active()
        assert stop.set_stamp >= bench.clock.now().utc_ns // 10**9

    play(story)


def test_a_stop_during_a_reconfiguration_is_taken() -> None:
    """EST-1, EST-4, DAT-4: while the server builds its new points a stop is not refused, and is shown right after."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        await bench.decide(1)
        configure = bench.server.configure
        answers: list[Any] = []

        async def slow(points: Sequence[Point]) -> None:
            writes = {"/north/s1/p1/emergency_stop": True, "/north/s2/q1/running": True}
            answers.append(await bench.server.write(writes, all_or_nothing=False))
            await configure(points)

        bench.server.configure = slow  # type: ignore[method-assign]
        await bench.actor.handle(Configure(site=SITE.only("s1")))
        assert answers == [[None, None]]
        assert bench.ports.told_to(SAFETY, StopsChanged)
        assert bench.show("setpoint", "run_inhibit", "emergency_stop") == [0.0, True, True]
        # What was written to the station that went meanwhile is forgotten with it.
        await bench.tick("flush")

    play(story)


def test_a_map_that_the_server_refuses_leaves_the_old_one_alive() -> None:
    """EST-1, SAF-9, DAT-4: a configuration that cannot be served freezes no wire: stops and lapses are shown."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        await bench.decide(1)

        async def refuse(points: Sequence[Point]) -> None:
            raise InvalidValueError("two points share an address")

        bench.server.configure = refuse  # type: ignore[method-assign]
        with pytest.raises(InvalidValueError):
            await bench.actor.handle(Configure(site=SITE.only("s1")))
        await bench.decide(2, hz=36.0)
        assert bench.show("setpoint", "remote_enabled") == [36.0, True]
        assert await bench.server.write({"/north/s1/p1/emergency_stop": True}) == [None]
        assert bench.show("setpoint", "run_inhibit") == [0.0, True]
        await bench.tick(after_s=11.0)
        assert bench.show("remote_enabled", "run_inhibit") == [False, True]

    play(story)


def test_a_full_disk_neither_keeps_a_stop_from_the_wire_nor_is_hidden() -> None:
    """EST-2: shown, told, answered as not durable, alarmed, and stored as soon as the disk takes it."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        await bench.decide(1)
        bench.latches.refuses = True
        assert await bench.server.write({"/north/s1/p1/emergency_stop": 1}) == [None]
        assert bench.show("setpoint", "run_inhibit") == [0.0, True]
        answer = await bench.actor.handle(StopsChanged(stops=(stop_record("b"),), origin="/platform/api"))
        assert isinstance(answer, StopConfirmed)
        assert (answer.published, answer.durable, answer.stop_ids) == (True, False, ("b",))
        conditions = {alarm.condition for alarm in bench.ports.told_to(str(ALARM), AlarmAsserted)}
        assert "latch_not_durable" in conditions
        bench.latches.refuses = False
        await bench.tick("status", after_s=1.0)
        assert len(bench.latches.held.active()) == 2
        again = await bench.actor.handle(StopsChanged(stops=(stop_record("b"),), origin="/platform/api"))
        assert isinstance(again, StopConfirmed)
        assert again.durable

    play(story)


def test_stops_of_others_are_applied_kept_and_not_passed_on() -> None:
    """EST-2: a receiver confirms and stays silent towards the rest."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        told_before = len(bench.ports.told)
        answer = await bench.actor.handle(
            StopsChanged(stops=(stop_record(scope=Scope.SYSTEM, scope_id=""),), origin="/platform/api")
        )
        assert isinstance(answer, StopConfirmed)
        assert answer.durable
        assert bench.latches.held.active()
        assert bench.show("run_inhibit", of="/north/s2/q1") == [True]
        assert bench.show("emergency_stop", of="/north") == [True]
        addresses = {address for address, _ in bench.ports.told[told_before:]}
        assert addresses == {str(ALARM)}

    play(story)


def test_a_stop_left_in_the_folder_is_found_within_one_poll() -> None:
    """EST-2, EST-3: the CLI writes a file; no other actor is alive to tell."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        await bench.decide(1)
        bench.latches.merge([stop_record()])
        await bench.tick("latches")
        assert bench.show("setpoint", "run_inhibit") == [0.0, True]
        assert len(bench.ports.told_to(SAFETY, StopsChanged)) == 1
        assert len(await bench.records(StopEventRecord)) == 1
        await bench.tick("latches")
        assert len(await bench.records(StopEventRecord)) == 1

    play(story)


def test_a_clear_counts_when_durable_and_is_refused_when_not() -> None:
    """EST-2: first receiver of a clear on a full disk: refused, still stopped; later: cleared, never a start."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        await bench.decide(1)
        await bench.server.write({"/north/s1/p1/emergency_stop": 1})
        (stop,) = bench.latches.held.active()
        at = bench.clock.now().utc
        done = cleared(stop, by="op", at=at, reason="ok", release=bench.latches.next_stamp())
        bench.latches.refuses = True
        with pytest.raises(RefusedError):
            await bench.actor.handle(StopsChanged(stops=(done,)))
        assert bench.show("run_inhibit") == [True]
        bench.latches.refuses = False
        before = bench.show("release_id")
        await bench.actor.handle(StopsChanged(stops=(done,)))
        assert bench.show("run_inhibit", "setpoint") == [False, 0.0]
        assert bench.show("release_id") > before

    play(story)


def test_a_stop_survives_a_restart_of_the_gate() -> None:
    """EST-2: what was confirmed is there after the kill."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        await bench.server.write({"/north/s1/p1/emergency_stop": 1})
        await bench.bound()
        await bench.decide(1)
        assert bench.show("setpoint", "run_inhibit", "emergency_stop") == [0.0, True, True]

    play(story)


# --------------------------------------------------------------------------- feedback and clients


def test_feedback_is_shown_and_told_whole_to_its_station() -> None:
    """CTL-4: safety, station, pumps and the other endpoint; once per 200 ms, only when written."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        values: dict[str, bool | float] = {
            "/north/s1/p1/actual_speed": 34.5,
            "/north/s1/p1/running": True,
            "/north/s1/scada_heartbeat": 17,
        }
        assert await bench.server.write(values) == [None, None, None]
        await bench.tick("flush")
        receivers = [SAFETY, "/sites/north/stations/s1/station", OPCUA]
        receivers += [f"/sites/north/stations/s1/pumps/{pump_id}" for pump_id in ("p1", "p2")]
        for address in receivers:
            (told,) = bench.ports.told_to(address, FeedbackReceived)
            (feedback,) = told.pumps
            assert feedback.actual_speed_hz.value == 34.5
            assert feedback.running.value == 1.0
            assert feedback.wet_well_level_m is None
            assert told.scada_heartbeat.value == 17.0
        await bench.tick("flush")
        assert len(bench.ports.told_to(SAFETY, FeedbackReceived)) == 1
        await bench.tick()
        assert bench.show("actual_speed", "running") == [34.5, True]
        await bench.tick("status", after_s=30.1)
        speed = bench.server.values["/north/s1/p1/actual_speed"]
        assert (speed.value, speed.quality) == (34.5, Quality.BAD)

    play(story)


def test_feedback_of_the_other_endpoint_is_shown_and_never_told_on() -> None:
    """CTL-4: two endpoints must not play ping-pong."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        sample = Sample(41.0, bench.clock.now(), "opcua")
        heard = PumpFeedback(pump_id="p1", actual_speed_hz=sample)
        await bench.actor.handle(FeedbackReceived(station_id="s1", source="opcua", pumps=(heard,)))
        await bench.tick()
        assert bench.show("actual_speed") == [41.0]
        await bench.tick("flush")
        assert not bench.ports.told_to(OPCUA, FeedbackReceived)
        assert not bench.ports.told_to(SAFETY, FeedbackReceived)

    play(story)


def test_a_refused_write_changes_nothing_and_is_audited_sparingly() -> None:
    """MOD-3: one bad value refuses the whole Modbus request; a client in a loop fills no disk."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        bad: dict[str, bool | float] = {
            "/north/s1/p1/actual_speed": 30.0,
            "/north/s1/p1/wet_well_level": float("nan"),
        }
        for _ in range(50):
            assert await bench.server.write(bad) == [None, WriteRefusal.OUT_OF_RANGE]
        await bench.tick("flush")
        assert not bench.ports.told_to(SAFETY, FeedbackReceived)
        assert len(await bench.records(AuditRecord)) == 3
        assert await bench.server.write(bad, all_or_nothing=False) == [None, WriteRefusal.OUT_OF_RANGE]
        await bench.tick("flush")
        assert len(bench.ports.told_to(SAFETY, FeedbackReceived)) == 1
        status = await bench.actor.handle(GetEndpoint())
        assert isinstance(status, EndpointStatus)
        assert status.writes_refused == 51
        await bench.clock.advance(61.0)
        await bench.server.write(bad)
        last = (await bench.records(AuditRecord))[-1]
        assert last.after["suppressed_before"] == 48

    play(story)


def test_a_refused_client_is_audited_sparingly() -> None:
    """SEC-5: three records a minute for each address; connecting and leaving are no events of the trail."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        for port in range(40):
            bench.actor._client_news("connected", f"10.0.0.9:{port}", "")
            bench.actor._client_news("refused", f"10.0.0.9:{port}", "BadSecurityPolicyRejected None")
        told = await bench.records(AuditRecord)
        assert [each.event_type for each in told] == ["CLIENT_REFUSED"] * 3
        assert told[0].outcome == "refused: BadSecurityPolicyRejected None"
        await bench.clock.advance(61.0)
        bench.actor._client_news("refused", "10.0.0.9:77", "again")
        assert (await bench.records(AuditRecord))[-1].after == {"suppressed_before": 37}

    play(story)


def test_what_happens_with_clients_and_certificates_has_its_event_type() -> None:
    """SEC-4, SEC-5: rejected certificates, rate limits and replaced certificates are records; a misfit is an alarm."""

    def alarms(bench: Bench, kind: type) -> list[str]:
        return [each.condition for each in bench.ports.told_to(str(ALARM), kind)]

    async def story(bench: Bench) -> None:
        await bench.bound()
        for event in (
            "certificate_rejected",
            "limited",
            "write_refused",
            "disconnected",
            "listening",
            "failed",
        ):
            bench.actor._client_news(event, "10.0.0.9:77", "why")
        told = await bench.records(AuditRecord)
        assert [(each.event_type, each.outcome) for each in told] == [
            ("CERTIFICATE_REJECTED", "refused: why"), ("RATE_LIMITED", "refused: why"),
        ]  # fmt: skip
        bench.actor._client_news("certificate_unusable", "", "modbus.tls: no key")
        await bench.tick("status")
        assert "certificate_not_taken_up" in alarms(bench, AlarmAsserted)
        assert "certificate_not_taken_up" not in alarms(bench, AlarmReturned)
        bench.actor._client_news("certificate_replaced", "", "a new certificate is shown")
        await bench.tick("status", after_s=1.0)
        assert "certificate_not_taken_up" in alarms(bench, AlarmReturned)
        last = (await bench.records(AuditRecord))[-1]
        assert (last.event_type, last.outcome) == ("CERTIFICATE_REPLACED", "success")

    play(story)


@pytest.mark.parametrize("point", ["setpoint", "heartbeat", "remote_enabled", "mode", "release_id"])
def test_what_the_gate_shows_cannot_be_written(point: str) -> None:
    """OPC-2, MOD-3: read-only means read-only, also where the server would ask."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        answer = await bench.server.write({f"/north/s1/p1/{point}": 1}, all_or_nothing=False)
        assert answer == [WriteRefusal.READ_ONLY]

    play(story)


def test_the_status_tells_what_came_back() -> None:
    """EST-1: published, echoed and measured values with the times that prove them newer than a stop."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        await bench.decide(1)
        await bench.clock.advance(1.0)
        await bench.server.write({"/north/s1/p1/setpoint_echo": 35.0, "/north/s1/p1/actual_speed": 34.0})
        written_at = bench.clock.now()
        await bench.tick("status", after_s=1.0)
        (status,) = bench.ports.told_to("/sites/north/watchdog", EndpointStatus)[-1:]
        (shown,) = [entry for entry in status.pumps if entry.pump_id == "p1"]
        assert (shown.setpoint_hz, shown.echo_hz, shown.measured_hz) == (35.0, 35.0, 34.0)
        assert (shown.echo_at, shown.measured_at) == (written_at, written_at)
        assert shown.lease_left_s == pytest.approx(8.0)

    play(story)


def test_a_stop_pressed_again_needs_no_other_while_a_second_one_of_its_scope_holds() -> None:
    """EST-5: of two stops of one pump one is cleared after the coil was written again: the other is the answer."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        one, two = stop_record("a"), stop_record("b")
        await bench.actor.handle(StopsChanged(stops=(one, two), origin="/platform/api"))
        assert await bench.server.write({"/north/s1/p1/emergency_stop": True}) == [None]
        done = cleared(
            one, by="op", at=bench.clock.now().utc, reason="ok", release=bench.latches.next_stamp()
        )
        await bench.actor.handle(StopsChanged(stops=(done,), origin="/platform/api"))
        assert [stop.record_id for stop in bench.latches.held.active()] == ["b"]

    play(story)
