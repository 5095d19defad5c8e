"""Failsafe by each cause and its recovery, told on a whole site in virtual time (WDG-1, WDG-2, WDG-3, SAF-9).

Goal: whatever fails, the wire shows it with its reason, the record has its scope, and the return waits for its hold and
moves nothing suddenly. Method: one station of the demo with its plant, one cause at a time, everything else as in
`stories.py`; the inspector holds every invariant of `invariants.py` against what is shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec
import pytest

from actors.messages import Done, RetryChild, SetMode
from actors.vocabulary import Address, FailsafeStrategy, Mode, Reason, SafetyLimits, Scope
from actors.vocabulary.ids import pump_address, site_address, station_part_address
from actors.vocabulary.records import AlarmRecord, FailsafeRecord
from ops.demo.catalogue import DemoStation
from protocols.points import path_of
from supervisors.simulated.runtime import SimRuntime, simulate
from tests.simulation.site import SETTINGS, SimSite
from tests.simulation.stories import under_control
from tests.simulation.wires import Image

HOLD_S: Final = SETTINGS.control.failsafe_recovery_hold_s
BY_PLAN: Final = frozenset({Reason.PLAN, Reason.RAMP, Reason.LIMITED, Reason.LEVEL_BAND, Reason.STAGGER})
STATION: Final = 1


class Story:
    """A site under control, and what a test asks of it."""

    def __init__(self, site: SimSite) -> None:
        self.site = site
        [station] = site.config.stations
        self.station_id = station.station_id
        self.first, self.second = (pump.pump_id for pump in station.pumps)

    def shown(self, pump_id: str = "") -> Image:
        image = self.site.inspector.shown("modbus", pump_id or self.first)
        assert image is not None
        return image

    def reason(self, pump_id: str = "") -> Reason:
        return Reason(self.shown(pump_id).block.reason)

    async def seconds(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def until(self, holds: Callable[[], bool], *, within_s: float, what: str) -> float:
        """Wait; return how long it took (virtual s)."""
        began_s = self.site.world.elapsed_s
        while not holds():
            waited_s = self.site.world.elapsed_s - began_s
            assert waited_s <= within_s, f"{what}: not within {within_s:g} s; {self.shown()}"
            await asyncio.sleep(0.25)
        return self.site.world.elapsed_s - began_s

    async def until_reason(self, reason: Reason, *, within_s: float, of: str = "") -> float:
        return await self.until(lambda: self.reason(of) is reason, within_s=within_s, what=reason.name)

    async def returns(self, *, from_s: float, within_s: float) -> None:
        """Wait until both pumps are by their plans again; not before `from_s` have passed."""
        took_s = await self.until(
            lambda: (
                all(self.reason(each) in BY_PLAN for each in (self.first, self.second))
                and under_control(self.site)
            ),
            within_s=within_s,
            what="by plan again",
        )
        assert took_s >= from_s, f"back after {took_s:g} s"

    async def records(self) -> list[FailsafeRecord]:
        await self.seconds(8.0)
        found = [one for one in self.site.database.records.values() if isinstance(one, FailsafeRecord)]
        return sorted(found, key=lambda one: one.started_at)


def _untimed(limits: SafetyLimits | None) -> SafetyLimits | None:
    """Return limits without those of rule 6, whose stories `test_site.py` tells."""
    assert limits is not None
    return msgspec.structs.replace(
        limits, max_starts_per_hour=None, min_rest_s=None, min_run_s=None, max_run_s=None
    )


def play(
    story: Callable[[Story], Awaitable[None]],
    *,
    strategy: FailsafeStrategy = FailsafeStrategy.DEFAULT_SETPOINT,
) -> None:
    site = SimSite(5, (STATION,))
    [station] = site.config.stations
    pumps = tuple(
        msgspec.structs.replace(
            pump, failsafe_strategy=strategy, default_setpoint_hz=30.0, limits=_untimed(pump.limits)
        )
        for pump in station.pumps
    )
    station = msgspec.structs.replace(station, pumps=pumps, soft_stop_hz_per_s=None)
    site.config = msgspec.structs.replace(site.config, stations=(station,))

    async def scenario(world: SimRuntime) -> None:
        site.enter(world)
        site.write_plans()
        others = [asyncio.create_task(site.controllers.run()), asyncio.create_task(site.look())]
        try:
            await site.start()
            told = Story(site)
            await told.until(lambda: under_control(site), within_s=30.0, what="under control")
            await told.seconds(5.0)
            await story(told)
        finally:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        assert not site.inspector.findings, "\n".join(map(str, site.inspector.findings[:5]))

    simulate(5, site.make, scenario)


def test_plans_that_end_and_come_back() -> None:
    """WDG-1, WDG-2: within a poll in failsafe, still claimed; back a full hold after the plans, a relapse within the
    hold begins it anew. The record is the site's, since all of it was in failsafe.
    """

    async def story(told: Story) -> None:
        told.site.database.withdrawn = True
        await told.until_reason(Reason.FAILSAFE_PLAN_EXPIRED, within_s=8.0)
        await told.seconds(30.0)
        assert told.shown().enabled
        told.site.database.withdrawn = False
        await told.seconds(HOLD_S / 2)
        assert told.reason() is Reason.FAILSAFE_PLAN_EXPIRED
        told.site.database.withdrawn = True
        await told.seconds(10.0)
        told.site.database.withdrawn = False
        await told.returns(from_s=HOLD_S, within_s=HOLD_S + 15.0)
        last = (await told.records())[-1]
        assert (last.scope, last.reason) == (Scope.SITE, "FAILSAFE_PLAN_EXPIRED")
        assert last.ended_at is not None

    play(story)


def test_an_optimiser_that_is_silent() -> None:
    """WDG-1: plans that still cover now do not count when their optimiser has been silent for 20 min."""

    async def story(told: Story) -> None:
        told.site.database.optimiser_age_s = 1201.0
        await told.until_reason(Reason.FAILSAFE_OPTIMISER_STALE, within_s=8.0)
        told.site.database.optimiser_age_s = 0.0
        await told.returns(from_s=HOLD_S - 8.0, within_s=HOLD_S + 15.0)

    play(story)


def test_a_database_that_is_away_matters_when_the_known_plans_end_whatever_the_wall_clock_says() -> None:
    """WDG-1, DAT-3: known plans are carried out; a clock step neither ends nor lengthens them; then failsafe."""

    async def story(told: Story) -> None:
        database, world = told.site.database, told.site.world
        end = world.now().plus(100.0).utc
        database.plans = [
            msgspec.structs.replace(row, interval_end=min(row.interval_end, end))
            for row in database.plans
            if row.interval_start < end
        ]
        await told.seconds(7.0)
        database.go(hangs=False)
        await told.seconds(10.0)
        world.step_utc(7200.0)
        await told.seconds(20.0)
        assert told.reason() in BY_PLAN
        world.step_utc(-9000.0)
        await told.seconds(20.0)
        assert told.reason() in BY_PLAN
        took_s = await told.until_reason(Reason.FAILSAFE_DATABASE, within_s=60.0)
        assert 35.0 <= took_s <= 50.0, "100 s after they were cut, by the boot clock"
        database.come_back()
        told.site.write_plans()
        await told.returns(from_s=HOLD_S - 8.0, within_s=HOLD_S + 45.0)

    play(story)


@pytest.mark.parametrize("step_s", [7200.0, -7200.0])
def test_a_clock_step_with_a_database_that_answers_is_failsafe_until_the_plans_say_otherwise(
    step_s: float,
) -> None:
    """WDG-1: read by the new clock no plan covers now; the step itself changes nothing, and new plans end it."""

    async def story(told: Story) -> None:
        told.site.world.step_utc(step_s)
        took_s = await told.until_reason(Reason.FAILSAFE_PLAN_EXPIRED, within_s=8.0)
        assert took_s <= 8.0
        told.site.write_plans()
        await told.returns(from_s=HOLD_S - 8.0, within_s=HOLD_S + 15.0)

    play(story)


def test_a_pump_in_manual_knows_nothing_of_stale_plans() -> None:
    """WDG-2: the other pump is in failsafe, alone: the record is that pump's."""

    async def story(told: Story) -> None:
        site = told.site
        where = pump_address(site.config.site_id, told.station_id, told.second)
        command = SetMode(pump_id=told.second, command_id="m", mode=Mode.MANUAL, by="anna", setpoint_hz=33.0)
        assert isinstance(await site.world.directory.ref(where).ask(command, deadline_s=2.0), Done)
        site.database.withdrawn = True
        await told.until_reason(Reason.FAILSAFE_PLAN_EXPIRED, within_s=8.0)
        for _ in range(30):
            await told.seconds(1.0)
            assert told.reason(told.second) not in {Reason.FAILSAFE_PLAN_EXPIRED, Reason.FAILSAFE_DATABASE}
            assert told.shown(told.second).enabled
        [record] = await told.records()
        assert (record.scope, record.scope_id) == (Scope.PUMP, told.first)

    play(story)


def test_a_controller_that_is_silent_is_handed_back_and_taken_over_again() -> None:
    """CTL-7, WDG-1: nothing claimed once its heartbeat stands; again after all has been good for the hold."""

    async def story(told: Story) -> None:
        told.site.controllers.reboot(told.station_id, 40.0)
        took_s = await told.until(lambda: not told.shown().enabled, within_s=15.0, what="handed back")
        assert took_s >= 4.0, "a level of 5 s, a heartbeat of 10 s"
        await told.until(lambda: told.reason() is Reason.RECOVERING, within_s=45.0, what="written again")
        await told.returns(from_s=HOLD_S - 2.0, within_s=HOLD_S + 15.0)

    play(story)


def test_a_chain_that_is_silent_leaves_the_image_and_returns_with_three_fresh_setpoints() -> None:
    """SAF-9, WDG-2: the gate alone: LEASE_EXPIRED, not enabled, recorded; no hold of a minute for a lapse."""

    async def story(told: Story) -> None:
        safety = station_part_address(told.site.config.site_id, told.station_id, "safety")
        heal = told.site.world.network.partition(
            frozenset({safety}), lambda address: "/pumps/" in str(address)
        )
        took_s = await told.until_reason(Reason.LEASE_EXPIRED, within_s=12.0)
        assert took_s > 8.0
        assert not told.shown().enabled
        await told.seconds(3.0)
        heal()
        await told.returns(from_s=0.0, within_s=10.0)
        records = await told.records()
        assert {record.reason for record in records} == {"LEASE_EXPIRED"}
        assert all(record.ended_at is not None for record in records)

    play(story)


def test_a_pump_in_quarantine_is_in_failsafe_alone_until_it_is_retried() -> None:
    """SUP-5, WDG-2: a plan actor over its intensity: its station's pumps, until somebody retries it."""

    async def story(told: Story) -> None:
        world = told.site.world
        plan = station_part_address(told.site.config.site_id, told.station_id, "plan")
        killer = asyncio.create_task(_kill_for_ever(world, plan))
        try:
            await told.until_reason(Reason.FAILSAFE_CHILD_QUARANTINED, within_s=240.0)
        finally:
            killer.cancel()
        assert told.shown().enabled
        supervisor = site_address(told.site.config.site_id)
        world.directory.ref(supervisor).tell(RetryChild(child=plan))
        await told.returns(from_s=HOLD_S - 2.0, within_s=HOLD_S + 30.0)

    play(story)


async def _kill_for_ever(world: SimRuntime, victim: Address) -> None:
    while True:
        if world.is_alive(victim):
            world.crash(victim)
        await asyncio.sleep(0.5)


def test_a_pump_that_does_not_turn_is_named_on_the_wire_and_told_on() -> None:
    """CTL-5: told to run and standing still: the bit, the alarm and its return; the setpoint stays what it was."""

    async def story(told: Story) -> None:
        site = told.site
        await told.until(lambda: told.shown().hz >= 25.0, within_s=200.0, what="running")
        paths, standing = site.controllers._paths, {"actual_speed": 0.0, "running": 0.0}

        def broken(place: DemoStation, pump_id: str, values: Mapping[str, float]) -> dict[str, float]:
            return paths(place, pump_id, {**values, **standing} if pump_id == told.first else values)

        def bit() -> bool:
            server = site.ports["modbus"].look()
            assert server is not None
            path = path_of(site.config.site_id, told.station_id, told.first, "not_following")
            return bool(server.values[path].value)

        site.database.withdrawn = True  # the default setpoint: told to run for as long as it takes
        assert not bit()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(site.controllers, "_paths", broken)
            took_s = await told.until(bit, within_s=45.0, what="NOT_FOLLOWING")
            assert took_s >= 20.0
            assert told.shown().enabled
            assert told.shown().hz >= 20.0
        await told.until(lambda: not bit(), within_s=45.0, what="following again")

        def ended() -> bool:
            alarms = [one for one in site.database.records.values() if isinstance(one, AlarmRecord)]
            [alarm] = [one for one in alarms if one.condition == "not_following"]
            assert alarm.subject == told.first
            return alarm.returned_at is not None

        await told.until(ended, within_s=30.0, what="the alarm's end is on record")

    play(story)


# --------------------------------------------------------------------------- the strategies on the wire


def test_hold_last_on_the_wire_through_a_kill_of_the_safety_actor() -> None:
    """WDG-3, SAF-10: what was applied is held, by the measured speed also after a kill of who held it."""

    async def story(told: Story) -> None:
        await told.until(lambda: told.shown().hz >= 25.0, within_s=200.0, what="running")
        told.site.database.withdrawn = True
        await told.until_reason(Reason.FAILSAFE_PLAN_EXPIRED, within_s=8.0)
        held_hz = told.shown().hz
        await told.seconds(20.0)
        assert told.shown().hz == held_hz
        told.site.world.crash(station_part_address(told.site.config.site_id, told.station_id, "safety"))
        for _ in range(60):
            await told.seconds(0.5)
            assert told.shown().enabled
            assert abs(told.shown().hz - held_hz) <= 0.5, "the drive's own accuracy"

    play(story, strategy=FailsafeStrategy.HOLD_LAST)


def test_level_on_off_on_the_wire_empties_and_waits() -> None:
    """WDG-3: starts at level_max, stops at level_min, between them goes on; never dry, never two switches a minute."""

    async def story(told: Story) -> None:
        told.site.database.withdrawn = True
        await told.until_reason(Reason.FAILSAFE_PLAN_EXPIRED, within_s=8.0)
        [station] = told.site.config.stations
        limits = station.pumps[0].limits
        assert limits is not None
        assert limits.level_min_m is not None
        assert limits.level_max_m is not None
        plant = told.site.controllers.stations[told.station_id]
        for _ in range(400):
            await told.seconds(1.0)
            if plant.truth.level_m <= limits.level_min_m - 0.05:
                assert told.shown().hz <= limits.hard_max_speed_hz * 0.9, "on its way down by the ramp"
            assert plant.truth.level_m < limits.level_max_m + 0.5
            assert plant.truth.level_m > limits.level_min_m - 0.3

    play(story, strategy=FailsafeStrategy.LEVEL_ON_OFF)


def test_hand_back_on_the_wire() -> None:
    """WDG-3: the local controller decides while the failsafe lasts, and it is taken over bumpless."""

    async def story(told: Story) -> None:
        told.site.database.withdrawn = True
        await told.until(lambda: not told.shown().enabled, within_s=8.0, what="handed back")
        assert told.reason() is Reason.HANDED_BACK_STRATEGY
        told.site.database.withdrawn = False
        await told.returns(from_s=HOLD_S - 8.0, within_s=HOLD_S + 15.0)

    play(story, strategy=FailsafeStrategy.HAND_BACK)
