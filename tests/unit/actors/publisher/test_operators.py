"""Operators' requests on a wire: what may go on to a pump, as which command, and what is written down."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from actors.messages import Configure, Done, Epoch, SetMode, SetpointsDecided
from actors.publisher.actor import PublisherActor
from actors.publisher.gate import PumpGate
from actors.publisher.operators import Wanted, commands, refusal_of
from actors.start import WorkerStart
from actors.vocabulary import (
    DeviceError,
    InvalidValueError,
    Mode,
    RefusedError,
    Role,
    Scope,
    Settings,
    UnavailableError,
    WriteRefusal,
)
from actors.vocabulary.ids import endpoint_address, pump_address
from actors.vocabulary.records import AuditRecord, StopEventRecord
from actors.vocabulary.settings import SparkplugSettings
from protocols.endpoint import ClientWrite
from protocols.sparkplug.names import sparkplug_points
from tests.simulation.fakes import FakeClock, FakeEndpointServer, FakeEpochStore, FakeLatchStore, FakePorts
from tests.unit.actors.publisher.test_actor import SITE, setpoint

PUMP = str(pump_address("north", "s1", "p1"))
SPEED, MODE = "/north/s1/p1/setpoint_request", "/north/s1/p1/mode_request"
SETTINGS = Settings(data_dir="unused", sparkplug=SparkplugSettings(host="127.0.0.1"))


def wanted(point: str, value: float) -> Wanted:
    return Wanted(station_id="s1", pump_id="p1", point=point, value=value, peer="broker:8883")


def gate(mode: Mode, *, alive: bool = True) -> PumpGate:
    now = FakeClock().now()
    end_ns = now.boot_ns + (10**9 if alive else 0)
    return PumpGate(last=msgspec.structs.replace(setpoint(1, now), mode=mode), lease_end_ns=end_ns)


@pytest.mark.parametrize(
    ("asked", "mode", "verdict"),
    [
        (wanted("setpoint_request", 35.0), Mode.MANUAL, None),
        (wanted("setpoint_request", 0.0), Mode.MANUAL, None),
        (wanted("setpoint_request", 35.0), Mode.AUTO, WriteRefusal.INVALID_STATE),
        (wanted("setpoint_request", 35.0), Mode.LOCAL, WriteRefusal.INVALID_STATE),
        (wanted("setpoint_request", 100.5), Mode.MANUAL, WriteRefusal.OUT_OF_RANGE),
        (wanted("setpoint_request", -0.1), Mode.MANUAL, WriteRefusal.OUT_OF_RANGE),
        (wanted("setpoint_request", math.nan), Mode.MANUAL, WriteRefusal.OUT_OF_RANGE),
        (wanted("setpoint_request", True), Mode.MANUAL, WriteRefusal.BAD_TYPE),
        (wanted("mode_request", 1), Mode.MANUAL, None),
        (wanted("mode_request", 2), Mode.AUTO, None),
        (wanted("mode_request", 3), Mode.AUTO, WriteRefusal.OUT_OF_RANGE),
        (wanted("mode_request", 4), Mode.AUTO, WriteRefusal.OUT_OF_RANGE),
        (wanted("mode_request", 0), Mode.AUTO, WriteRefusal.OUT_OF_RANGE),
        (wanted("mode_request", 1), Mode.LOCAL, WriteRefusal.INVALID_STATE),
    ],
)
def test_a_speed_is_for_manual_only(asked: Wanted, mode: Mode, verdict: WriteRefusal | None) -> None:
    """SPB-1, OPC-2, CTL-7: in MANUAL only, AUTO and MANUAL only, and never over LOCAL."""
    now = FakeClock().now()
    assert refusal_of(asked, gate(mode), out_of_service=False, with_manual=False, now=now) is verdict


def test_without_a_living_chain_nobody_knows_the_mode() -> None:
    """CTL-7, SAF-9: lapsed, never started, or out of service: refused."""
    now = FakeClock().now()
    asked = wanted("setpoint_request", 35.0)
    for held, mark in (
        (gate(Mode.MANUAL, alive=False), False),
        (PumpGate(), False),
        (gate(Mode.MANUAL), True),
    ):
        verdict = refusal_of(asked, held, out_of_service=mark, with_manual=False, now=now)
        assert verdict is WriteRefusal.INVALID_STATE


def test_one_request_is_one_command_per_pump() -> None:
    """CTL-7: mode and speed together are MANUAL at that speed; a speed alone counts in MANUAL only."""
    ids = iter("abc")
    both = [wanted("mode_request", 2), wanted("setpoint_request", 35.0)]
    ((command, indices),) = commands(both, protocol="sparkplug", next_id=lambda: next(ids))
    assert (command.mode, command.setpoint_hz, command.only_in, indices) == (Mode.MANUAL, 35.0, None, (0, 1))
    ((alone, _),) = commands(both[1:], protocol="sparkplug", next_id=lambda: next(ids))
    assert (alone.mode, alone.setpoint_hz, alone.only_in, alone.by) == (
        Mode.MANUAL, 35.0, Mode.MANUAL, "sparkplug:broker:8883",
    )  # fmt: skip


class Bench:
    """A Sparkplug endpoint's publisher over a fake server; the pump's answer is the test's."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.latches = FakeLatchStore()
        self.ports = FakePorts(str(endpoint_address("north", "sparkplug")), self.clock)
        self.server = FakeEndpointServer()
        start = WorkerStart(role=Role.SPARKPLUG, address=self.ports.address, settings=SETTINGS, site=SITE)
        self.actor = PublisherActor(
            self.ports, start, self.server, self.latches, FakeEpochStore(), sparkplug_points
        )
        self.ports.answers[PUMP] = lambda message: Done()

    async def open(self, mode: Mode = Mode.MANUAL) -> None:
        await self.actor.start()
        for _ in range(70):
            await self.clock.advance(0.05)
        now = self.clock.now()
        decided = msgspec.structs.replace(setpoint(1, now), mode=mode)
        await self.actor.handle(SetpointsDecided(station_id="s1", epoch=Epoch(0, 7), setpoints=(decided,)))

    async def write(self, values: dict[str, float]) -> list[WriteRefusal | None]:
        answer = await self.server.write(values, peer="broker:8883", all_or_nothing=False)
        assert answer is not None
        return answer

    def asked(self) -> list[SetMode]:
        found: list[SetMode] = self.ports.told_to(PUMP, SetMode)
        return found


def play(story: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        bench = Bench()
        try:
            await story(bench)
        finally:
            await bench.ports.end()

    asyncio.run(run())


def test_an_accepted_request_goes_to_the_pump_with_what_it_records() -> None:
    """SAF-1, AUD-2: it shows nothing by itself; what the wire shows comes past the gate."""

    async def story(bench: Bench) -> None:
        await bench.open()
        before = bench.server.values["/north/s1/p1/setpoint"]
        assert await bench.write({SPEED: 41.0}) == [None]
        (command,) = bench.asked()
        assert (command.pump_id, command.setpoint_hz, command.only_in) == ("p1", 41.0, Mode.MANUAL)
        assert bench.server.values["/north/s1/p1/setpoint"] == before
        assert (command.by, command.source_address) == ("sparkplug:broker:8883", "broker:8883")
        assert await bench.ports.stored(AuditRecord) == [], "the pump records what it takes"

    play(story)


def test_a_mode_and_a_speed_together_begin_manual() -> None:
    """CTL-7: from AUTO, in one message; and a speed beside AUTO is refused while AUTO is done."""

    async def story(bench: Bench) -> None:
        await bench.open(Mode.AUTO)
        assert await bench.write({SPEED: 41.0}) == [WriteRefusal.INVALID_STATE]
        assert await bench.write({MODE: 2, SPEED: 41.0}) == [None, None]
        assert await bench.write({MODE: 1, SPEED: 41.0}) == [None, WriteRefusal.INVALID_STATE]
        assert [(each.mode, each.setpoint_hz) for each in bench.asked()] == [
            (Mode.MANUAL, 41.0),
            (Mode.AUTO, None),
        ]

    play(story)


def test_a_speed_beside_auto_is_refused_from_manual_too() -> None:
    """CTL-7: AUTO is done, and the speed, which MANUAL alone would have taken, has nothing to act on."""

    async def story(bench: Bench) -> None:
        await bench.open()
        assert await bench.write({MODE: 1, SPEED: 41.0}) == [None, WriteRefusal.INVALID_STATE]
        (command,) = bench.asked()
        assert (command.mode, command.setpoint_hz) == (Mode.AUTO, None)

    play(story)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (InvalidValueError("below the minimum"), WriteRefusal.OUT_OF_RANGE),
        (RefusedError("not in MANUAL"), WriteRefusal.INVALID_STATE),
        (UnavailableError("no answer"), WriteRefusal.DEVICE_FAILURE),
        (DeviceError("disk"), WriteRefusal.DEVICE_FAILURE),
    ],
)
def test_what_the_pump_says_is_what_the_client_hears(error: Exception, verdict: WriteRefusal) -> None:
    """SPB-1, AUD-2: each refusal has its own code, and is counted and audited; nothing counts as done."""

    async def story(bench: Bench) -> None:
        await bench.open()

        def refuse(message: object) -> object:
            raise error

        bench.ports.answers[PUMP] = refuse
        assert await bench.write({SPEED: 41.0}) == [verdict]
        records = await bench.ports.stored(AuditRecord)
        assert [(each.event_type, each.outcome) for each in records] == [
            ("WRITE_REFUSED", f"refused: {verdict.value}")
        ]

    play(story)


def test_pumps_are_asked_at_once_and_each_item_has_its_own_answer() -> None:
    """OPC-2: a pump that does not answer holds up no other's item, and the request takes one ask's time."""

    async def story(bench: Bench) -> None:
        await bench.open()
        now = bench.clock.now()
        both = tuple(
            msgspec.structs.replace(setpoint(2, now, pump_id=pump_id), mode=Mode.MANUAL)
            for pump_id in ("p1", "p2")
        )
        await bench.actor.handle(SetpointsDecided(station_id="s1", epoch=Epoch(0, 7), setpoints=both))
        met = asyncio.Barrier(2)

        async def carried_out(wanted: tuple[Wanted, ...]) -> list[WriteRefusal | None]:
            await met.wait()
            return [WriteRefusal.DEVICE_FAILURE if each.pump_id == "p2" else None for each in wanted]

        bench.actor._operators.carry_out = carried_out  # type: ignore[assignment]
        other = "/north/s1/p2/setpoint_request"
        async with asyncio.timeout(5):
            assert await bench.write({other: 30.0, SPEED: 41.0}) == [WriteRefusal.DEVICE_FAILURE, None]

    play(story)


def test_what_the_protocol_refused_is_counted_and_audited_and_not_carried_out() -> None:
    """SPB-1, AUD-2: a replayed stop sets nothing and leaves a record."""

    async def story(bench: Bench) -> None:
        await bench.open()
        assert bench.server._open is not None
        replayed = ClientWrite(
            path="/north/s1/p1/emergency_stop", value=True, peer="broker:8883", refusal=WriteRefusal.STALE
        )
        assert list(await bench.server._open[0]([replayed], False)) == [WriteRefusal.STALE]
        assert bench.server.values["/north/s1/p1/emergency_stop"].value is False
        (record,) = await bench.ports.stored(AuditRecord)
        assert record.outcome == "refused: stale"

    play(story)


def test_a_pump_out_of_service_takes_no_request() -> None:
    """CTL-7: the mark is lifted by a person with a reason, not by a mode on a wire."""

    async def story(bench: Bench) -> None:
        bench.latches.merge(
            [
                StopEventRecord(
                    record_id="6f1e9a9e-35b6-4c4c-9d43-2d5c0f7b9f01", scope=Scope.PUMP, scope_id="p1", reason="seal",
                    set_by="anna", set_at=bench.clock.now().utc, kind="out_of_service",
                )
            ]
        )  # fmt: skip
        await bench.open()
        assert await bench.write({MODE: 1, SPEED: 41.0}) == [WriteRefusal.INVALID_STATE] * 2
        assert bench.asked() == []

    play(story)


def test_a_pump_that_has_gone_takes_no_request() -> None:
    """DAT-4: its points went with it."""

    async def story(bench: Bench) -> None:
        await bench.open()
        await bench.actor.handle(Configure(site=SITE.only("s2")))
        assert await bench.write({SPEED: 41.0}) == [WriteRefusal.UNKNOWN_POINT]

    play(story)
