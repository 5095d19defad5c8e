"""The watchdog actor behind fakes: goal: what is silent is alarmed once it is late, what gates show is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from itertools import pairwise

from actors.messages import (
    AlarmAsserted,
    AlarmReturned,
    Configure,
    EndpointStatus,
    Epoch,
    GetWatchdog,
    OpenFailsafesRead,
    PublishedPump,
    ReadOpenFailsafes,
    StationDecisions,
    Tick,
    WatchdogStatus,
)
from actors.start import WorkerStart
from actors.vocabulary import Quality, Reason, Role, Scope, Settings
from actors.vocabulary.ids import ALARM, STORAGE, watchdog_address
from actors.vocabulary.records import FailsafeRecord
from actors.watchdog.actor import ASK_AGAIN_BEATS, WatchdogActor
from tests.simulation.fakes import FakePorts
from tests.unit.actors.watchdog.test_timers import SITE


class Bench:
    """A watchdog of the site, told things second by second."""

    def __init__(self) -> None:
        address = watchdog_address("north")
        self.ports = FakePorts(str(address))
        start = WorkerStart(role=Role.WATCHDOG, address=address, settings=Settings(data_dir="x"), site=SITE)
        self.actor = WatchdogActor(self.ports, start)

    async def second(self, *messages: object) -> None:
        await self.ports.clock.advance(1.0)
        for message in messages:
            await self.actor.handle(message)  # type: ignore[arg-type]
        await self.actor.handle(Tick(what="beat"))

    def decisions(self, station_id: str) -> StationDecisions:
        return StationDecisions(
            station_id=station_id,
            epoch=Epoch(0, 1),
            decisions=(),
            waiting_for={},
            feedback={},
            sent_at=self.ports.clock.now(),
        )

    def endpoint(
        self, *, lease_left_s: float = 9.0, shown_hz: float = 25.0, echo_hz: float | None = None
    ) -> EndpointStatus:
        now = self.ports.clock.now()
        shown = PublishedPump(
            pump_id="p1",
            setpoint_hz=shown_hz,
            remote_enabled=False,
            run_inhibit=False,
            quality=Quality.BAD,
            reason=Reason.LEASE_EXPIRED,
            heartbeat=1,
            sequence=1,
            epoch_counter=1,
            release_id=1,
            mode=None,
            accepted_at=now,
            lease_left_s=lease_left_s,
            lapses=1,
            refused={},
            echo_hz=echo_hz,
            measured_hz=None,
            echo_at=None if echo_hz is None else now,
        )
        return EndpointStatus(
            protocol="modbus",
            bound="fake:0",
            clients=0,
            pumps=(shown,),
            writes_refused=0,
            stops_active=(),
            sent_at=now,
        )

    def alarms(self, kind: type) -> set[tuple[str, str]]:
        return {(news.condition, news.subject) for news in self.ports.told_to(str(ALARM), kind)}


def play(story: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        bench = Bench()
        await bench.actor.start()
        await story(bench)
        await bench.ports.end()

    asyncio.run(run())


def test_a_silent_chain_is_alarmed_again_and_again_and_returns() -> None:
    """WDG-1: s2's safety dies; s1's alarm never rings; s2's is asserted every 10 s and returns with its chain."""

    async def story(bench: Bench) -> None:
        for _ in range(45):
            await bench.second(bench.decisions("s1"))
        assert ("chain_silent", "s1") not in bench.alarms(AlarmAsserted)
        told = [
            news.at
            for news in bench.ports.told_to(str(ALARM), AlarmAsserted)
            if (news.condition, news.subject) == ("chain_silent", "s2")
        ]
        gaps = [later.seconds_since(earlier) for earlier, later in pairwise(told)]
        assert gaps == [10.0, 10.0, 10.0]
        for _ in range(5):
            await bench.second(bench.decisions("s1"), bench.decisions("s2"))
        assert ("chain_silent", "s2") in bench.alarms(AlarmReturned)

    play(story)


def test_a_lapse_at_the_gate_is_a_recorded_failsafe() -> None:
    """WDG-2: the chain is dead, so the gate's own word opens and closes the record."""

    async def story(bench: Bench) -> None:
        await bench.second(bench.endpoint(lease_left_s=0.0))
        await bench.second(bench.endpoint(lease_left_s=0.0))
        assert ("failsafe", "pump:p1") in bench.alarms(AlarmAsserted)
        status = await bench.actor.handle(GetWatchdog())
        assert isinstance(status, WatchdogStatus)
        assert [entry["scope_id"] for entry in status.failsafes] == ["p1"]
        await bench.second(bench.endpoint(lease_left_s=9.0))
        records = await bench.ports.stored()
        assert [record.reason for record in records] == ["LEASE_EXPIRED", "LEASE_EXPIRED"]
        assert [record.ended_at is None for record in records] == [True, False]
        assert ("failsafe", "pump:p1") in bench.alarms(AlarmReturned)

    play(story)


def test_what_a_former_watchdog_left_open_is_asked_for_and_ended() -> None:
    """WDG-2: asked again until storage answers, taken over once, ended when nobody is in failsafe any more."""
    left = FailsafeRecord(
        record_id="old", scope=Scope.PUMP, scope_id="p1", reason="LEASE_EXPIRED", detail="",
        started_at=datetime(2026, 6, 1, tzinfo=UTC),
    )  # fmt: skip

    async def story(bench: Bench) -> None:
        asked = ReadOpenFailsafes(site_id="north")
        assert bench.ports.told_to(str(STORAGE), ReadOpenFailsafes) == [asked]
        for _ in range(ASK_AGAIN_BEATS):
            await bench.second()
        assert bench.ports.told_to(str(STORAGE), ReadOpenFailsafes) == [asked, asked]
        read = OpenFailsafesRead(records=(left,))
        await bench.second(read)
        await bench.second(read)
        [record] = [each for each in await bench.ports.stored() if isinstance(each, FailsafeRecord)]
        assert (record.record_id, record.ended_at is None) == ("old", False)
        for _ in range(ASK_AGAIN_BEATS):
            await bench.second()
        assert len(bench.ports.told_to(str(STORAGE), ReadOpenFailsafes)) == 2

    play(story)


def test_an_echo_that_is_not_what_was_shown_is_alarmed_and_returns() -> None:
    """WDG-1: a controller that reads another register; following a ramp a step behind is no mismatch."""

    async def story(bench: Bench) -> None:
        mismatch = ("setpoint_echo_mismatch", "p1")
        for second in range(30):
            shown_hz = 20.0 + second
            await bench.second(bench.endpoint(shown_hz=shown_hz, echo_hz=max(20.0, shown_hz - 3.0)))
        for _ in range(12):
            await bench.second(bench.endpoint(shown_hz=49.0, echo_hz=49.05))
        assert mismatch not in bench.alarms(AlarmAsserted)
        for _ in range(9):
            await bench.second(bench.endpoint(shown_hz=49.0, echo_hz=12.0))
        assert mismatch not in bench.alarms(AlarmAsserted)
        await bench.second(bench.endpoint(shown_hz=49.0, echo_hz=12.0))
        assert mismatch in bench.alarms(AlarmAsserted)
        for _ in range(22):
            await bench.second(bench.endpoint(shown_hz=49.0, echo_hz=49.0))
        assert mismatch not in bench.alarms(AlarmReturned)
        await bench.second(bench.endpoint(shown_hz=49.0, echo_hz=49.0))
        assert mismatch in bench.alarms(AlarmReturned)

    play(story)


def test_an_echo_that_stands_still_is_not_excused_by_a_ramp_that_passes_it() -> None:
    """WDG-1: a start from 0 to the minimum shows nothing in between, and a ramp passes 30 Hz in a moment."""

    async def story(bench: Bench) -> None:
        mismatch = ("setpoint_echo_mismatch", "p1")
        for echo_hz in (12.0, 30.0):
            for _ in range(12):
                await bench.second(bench.endpoint(shown_hz=0.0, echo_hz=echo_hz))
            assert mismatch in bench.alarms(AlarmAsserted)
            for second in range(30):
                shown_hz = min(20.0 + 2.0 * second, 50.0)
                await bench.second(bench.endpoint(shown_hz=shown_hz, echo_hz=echo_hz))
                assert mismatch not in bench.alarms(AlarmReturned)

    play(story)


def test_an_echo_that_was_never_right_is_alarmed_and_one_never_written_is_not() -> None:
    """WDG-1: watched from the first one that a controller writes."""

    async def story(bench: Bench) -> None:
        for _ in range(30):
            await bench.second(bench.endpoint(shown_hz=49.0))
        assert ("setpoint_echo_mismatch", "p1") not in bench.alarms(AlarmAsserted)
        for _ in range(12):
            await bench.second(bench.endpoint(shown_hz=49.0, echo_hz=0.0))
        assert ("setpoint_echo_mismatch", "p1") in bench.alarms(AlarmAsserted)

    play(story)


def test_a_wall_clock_that_is_set_is_alarmed_for_a_minute() -> None:
    """WDG-1: told at once with the step, returned after the hold; slewed or read late it rings for nothing."""

    async def story(bench: Bench) -> None:
        stepped = ("clock_step", "north")
        clock = bench.ports.clock
        for _ in range(30):
            clock.set_wall(0.001)
            await bench.second()
        await clock.advance(20.0)
        await bench.second()
        assert stepped not in bench.alarms(AlarmAsserted)
        clock.set_wall(-3600.0)
        await bench.second()
        assert stepped in bench.alarms(AlarmAsserted)
        [text] = [
            news.text
            for news in bench.ports.told_to(str(ALARM), AlarmAsserted)
            if (news.condition, news.subject) == stepped
        ]
        assert "by -3600.0 s" in text
        for _ in range(60):
            await bench.second()
        assert stepped not in bench.alarms(AlarmReturned)
        await bench.second()
        assert stepped in bench.alarms(AlarmReturned)

    play(story)


def test_a_station_that_is_gone_is_not_late() -> None:
    """DAT-4: its alarms return, nothing new rings for it."""

    async def story(bench: Bench) -> None:
        for _ in range(12):
            await bench.second()
        assert ("chain_silent", "s2") in bench.alarms(AlarmAsserted)
        await bench.second(Configure(site=SITE.only("s1")))
        assert ("chain_silent", "s2") in bench.alarms(AlarmReturned)
        status = await bench.actor.handle(GetWatchdog())
        assert isinstance(status, WatchdogStatus)
        assert "s2" not in {entry["subject"] for entry in status.timers}

    play(story)
