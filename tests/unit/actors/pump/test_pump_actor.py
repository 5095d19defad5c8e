"""The pump actor on the bench: proposals each second, failsafe causes, modes that last, bumpless returns."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from actors.messages import (
    AlarmAsserted,
    AlarmReturned,
    Configure,
    Done,
    FeedbackReceived,
    GetPlanIntervals,
    GetPump,
    PlanIntervals,
    Proposal,
    PumpFeedback,
    Sample,
    SetMode,
    SetpointDecided,
    Stored,
    StoreRecords,
)
from actors.pump.actor import PumpActor
from actors.vocabulary import (
    ControlType,
    DeviceError,
    InvalidValueError,
    Mode,
    PumpConfig,
    Reason,
    RefusedError,
    Role,
    SiteConfig,
    UnavailableError,
)
from actors.vocabulary.durable import StoredMode
from actors.vocabulary.records import AuditRecord, PlanRow, Record
from tests.unit.actors.pump.bench import Bench, station_of, worker_start
from tests.unit.actors.pump.parts import instant, level_plan, plan, pump

PLAN = "/sites/north/stations/st-1/plan"
SAFETY = "/sites/north/stations/st-1/safety"


class FakeModes:
    """A mode file that can refuse."""

    def __init__(self) -> None:
        self.stored: StoredMode | None = None
        self.refuses = False

    def load(self, pump_id: str) -> StoredMode | None:
        if self.refuses:
            raise DeviceError("read error")
        return self.stored

    def store(self, mode: StoredMode) -> None:
        if self.refuses:
            raise DeviceError("disk full")
        self.stored = mode


class Played:
    """One pump actor with its bench, its mode file and the words of its neighbours."""

    def __init__(self, *pumps: PumpConfig) -> None:
        self.bench = Bench()
        self.modes = FakeModes()
        self.station = station_of(*(pumps or (pump(),)))
        self.records: list[Record] = []
        self.bench.answers["/storage"] = self._stored
        self.row: PlanRow | None = plan(1, -100, 1_000)
        self.bench.answers[PLAN] = lambda message: self.intervals()

    def _stored(self, message: StoreRecords) -> Stored:
        self.records += message.records
        return Stored(count=len(message.records))

    def recorded(self) -> list[AuditRecord]:
        return [each for each in self.records if isinstance(each, AuditRecord)]

    def intervals(self, **changes: Any) -> PlanIntervals:
        values: dict[str, Any] = {
            "pump_id": "p-1",
            "current": self.row,
            "following": None,
            "database_answered_at": self.bench.now(),
            "optimiser_heartbeat_age_s": 1.0,
            "sent_at": self.bench.now(),
        }
        return PlanIntervals(**{**values, **changes})

    async def start(self) -> None:
        await self.bench.run(
            PumpActor(self.bench, worker_start(Role.PUMP, self.station, pump_id="p-1"), self.modes)
        )

    def proposal(self) -> Proposal:
        found = self.bench.heard(Proposal, to=SAFETY)
        assert found, "nothing was proposed"
        newest: Proposal = found[-1]
        return newest

    async def decide(self, hz: float, reason: Reason, **changes: Any) -> None:
        values: dict[str, Any] = {
            "pump_id": "p-1",
            "applied_hz": hz,
            "reason": reason,
            "remote_enabled": True,
            "tracking_hz": None,
            "origin": self.bench.now(),
        }
        await self.bench.give(SetpointDecided(**{**values, **changes}))

    async def measure(self, pump_id: str = "p-1", **points: float) -> None:
        samples = {point: Sample(value, self.bench.now(), "modbus") for point, value in points.items()}
        feedback = PumpFeedback(pump_id=pump_id, **samples)
        await self.bench.give(FeedbackReceived(station_id="st-1", source="modbus", pumps=(feedback,)))

    async def manual(self, hz: float | None, for_s: float = 60.0, command_id: str = "c-1") -> Any:
        return await self.bench.give(
            SetMode(
                pump_id="p-1",
                command_id=command_id,
                mode=Mode.MANUAL,
                by="ada",
                setpoint_hz=hz,
                expires_after_s=for_s,
            )
        )


def play(story: Callable[[Played], Awaitable[None]], *pumps: PumpConfig) -> None:
    async def run() -> None:
        played = Played(*pumps)
        try:
            await story(played)
        finally:
            played.bench.close()

    asyncio.run(run())


def test_a_proposal_each_second_in_the_stations_beat() -> None:
    """CTL-2: one wish per control period, with its origin, its plan and a sequence that only rises."""

    async def story(it: Played) -> None:
        await it.start()
        await it.bench.until(5.0)
        proposals = it.bench.heard(Proposal, to=SAFETY)
        assert len(proposals) == 5
        assert {proposal.wish_hz for proposal in proposals} == {30.0}
        assert all(proposal.failsafe is None and proposal.source.plan_id == 1 for proposal in proposals)
        steps = itertools.pairwise(proposals)
        assert all(
            b.sequence > a.sequence and b.origin.seconds_since(a.origin) == pytest.approx(1.0)
            for a, b in steps
        )

    play(story)


def test_a_restarted_pump_goes_on_above_its_old_sequence() -> None:
    """SAF-9: safety decides only what is newer, so a restart must not fall below what was sent before."""

    async def story(it: Played) -> None:
        await it.start()
        await it.bench.until(5.0)
        before = it.proposal().sequence
        again = Played()
        again.bench.t_s = it.bench.t_s
        await again.start()
        await again.bench.until(7.0)
        assert again.proposal().sequence > before
        again.bench.close()

    play(story)


def test_it_proposes_nothing_before_it_has_heard_of_its_plan_or_ten_seconds() -> None:
    """WDG-2: a restart is not a failsafe: silence first, the plan actor is asked each second, then the reason."""

    async def story(it: Played) -> None:
        def nobody(message: Any) -> Any:
            raise UnavailableError("plan is being restarted")

        it.bench.answers[PLAN] = nobody
        await it.start()
        await it.bench.until(9.9)
        assert it.bench.heard(Proposal) == []
        assert len(it.bench.heard(GetPlanIntervals, to=PLAN)) == 10
        await it.bench.until(11.0)
        assert (it.proposal().wish_hz, it.proposal().failsafe) == (None, Reason.FAILSAFE_PLAN_EXPIRED)
        it.bench.answers[PLAN] = lambda message: it.intervals()
        await it.bench.until(13.5)
        assert (it.proposal().wish_hz, it.proposal().failsafe) == (30.0, None)

    play(story)


def test_the_next_interval_takes_over_though_everybody_else_is_dead() -> None:
    """CTL-1, SUP-8: the pump changes over by itself, and says when and why it cannot go on."""

    async def story(it: Played) -> None:
        it.row = plan(1, -100, 20)
        following = plan(2, 20, 100, suggested_speed_hz=40.0)
        it.bench.answers[PLAN] = lambda message: it.intervals(following=following)
        await it.start()
        del it.bench.answers[PLAN]
        timeline = """
            t_s  wish_hz  failsafe
              5       30  -
             19       30  -
             21       40  -
             99       40  -
            101        -  FAILSAFE_DATABASE
        """
        for line in timeline.strip().splitlines()[1:]:
            t_s, wish_hz, failsafe = line.split()
            await it.bench.until(float(t_s))
            assert it.proposal().wish_hz == (None if wish_hz == "-" else float(wish_hz)), line
            assert it.proposal().failsafe == (None if failsafe == "-" else Reason[failsafe]), line

    play(story)


def test_a_manual_pump_cares_for_no_plan() -> None:
    """WDG-2, CTL-7: stale plans put AUTO pumps into failsafe, not MANUAL ones; afterwards AUTO is."""

    async def story(it: Played) -> None:
        it.row = None
        await it.start()
        await it.bench.until(2.0)
        assert it.proposal().failsafe is Reason.FAILSAFE_PLAN_EXPIRED
        assert isinstance(await it.manual(38.0, for_s=60.0), Done)
        await it.bench.until(61.9)
        assert (it.proposal().wish_hz, it.proposal().failsafe, it.proposal().mode) == (
            38.0,
            None,
            Mode.MANUAL,
        )
        await it.bench.until(63.5)
        assert (it.proposal().wish_hz, it.proposal().mode) == (None, Mode.AUTO)

    play(story)


def test_a_manual_stop_that_runs_out_is_held_alarmed_and_survives_a_restart() -> None:
    """CTL-7: MANUAL 0 expires to held-stopped with an alarm, never into a start; an operator ends it."""

    async def story(it: Played) -> None:
        await it.start()
        await it.manual(0.0, for_s=10.0)
        await it.bench.until(15.0)
        assert (it.proposal().wish_hz, it.proposal().held_stopped) == (0.0, True)
        assert "pump_held_stopped" in {alarm.condition for alarm in it.bench.heard(AlarmAsserted)}
        again = Played()
        again.modes, again.bench.t_s = it.modes, 5_000.0
        again.row = plan(1, 0, 9_000)
        await again.start()
        await again.bench.until(5_020.0)
        assert {(told.wish_hz, told.held_stopped) for told in again.bench.heard(Proposal)} == {(0.0, True)}
        await again.bench.give(SetMode(pump_id="p-1", command_id="c-2", mode=Mode.AUTO, by="ada"))
        await again.bench.until(5_022.0)
        assert (again.proposal().wish_hz, again.proposal().held_stopped) == (30.0, False)
        assert "pump_held_stopped" in {alarm.condition for alarm in again.bench.heard(AlarmReturned)}
        again.bench.close()

    play(story)


def test_a_mode_that_cannot_be_stored_is_refused_and_changes_nothing() -> None:
    """CTL-7: durable before it matters; the caller learns of the disk, the pump stays as it was."""

    async def story(it: Played) -> None:
        await it.start()
        it.modes.refuses = True
        with pytest.raises(DeviceError, match="disk full"):
            await it.manual(38.0)
        await it.bench.until(2.0)
        assert (it.proposal().wish_hz, it.proposal().mode) == (30.0, Mode.AUTO)
        it.modes.refuses = False
        await it.manual(38.0, command_id="c-1")
        await it.bench.until(3.0)
        assert it.proposal().wish_hz == 38.0

    play(story)


def test_an_expiry_that_cannot_be_stored_happens_all_the_same() -> None:
    """CTL-7: a full disk lengthens nobody's command; the alarm stands until the store takes it."""

    async def story(it: Played) -> None:
        await it.start()
        await it.manual(38.0, for_s=5.0)
        it.modes.refuses = True
        await it.bench.until(8.0)
        assert it.proposal().mode is Mode.AUTO
        assert "mode_not_durable" in {alarm.condition for alarm in it.bench.heard(AlarmAsserted)}
        it.modes.refuses = False
        await it.bench.until(10.0)
        assert it.modes.stored is not None
        assert it.modes.stored.mode is Mode.AUTO
        assert "mode_not_durable" in {alarm.condition for alarm in it.bench.heard(AlarmReturned)}

    play(story)


def test_a_mode_file_that_cannot_be_read_holds_the_pump() -> None:
    """CTL-7: it may have been a MANUAL 0; losing the file must not start the pump."""

    async def story(it: Played) -> None:
        it.modes.refuses = True
        await it.start()
        await it.bench.until(2.0)
        assert (it.proposal().wish_hz, it.proposal().held_stopped) == (0.0, True)
        assert "mode_unreadable" in {alarm.condition for alarm in it.bench.heard(AlarmAsserted)}

    play(story)


def test_a_repeated_order_is_told_as_one_also_after_a_restart() -> None:
    """SUP-6, CTL-7: the answer says when it was carried out; the same id with another content is refused."""

    async def story(it: Played) -> None:
        await it.start()
        assert (await it.manual(40.0)).repeat_of is None
        taken_at = it.bench.now().utc
        await it.bench.until(5.0)
        assert (await it.manual(40.0)).repeat_of == taken_at
        with pytest.raises(RefusedError, match="another command of pump p-1"):
            await it.manual(45.0)
        again = Played()
        again.modes, again.bench.t_s = it.modes, 20.0
        await again.start()
        assert (await again.manual(40.0)).repeat_of == taken_at
        auto = SetMode(pump_id="p-1", command_id="c-1", mode=Mode.AUTO, by="ada")
        with pytest.raises(RefusedError, match="another command of pump p-1"):
            await again.bench.give(auto)
        auto = msgspec.structs.replace(auto, command_id="c-2")
        assert (await again.bench.give(auto)).repeat_of is None
        back_at = again.bench.now().utc
        again.bench.close()
        third = Played()
        third.modes, third.bench.t_s = it.modes, 40.0
        await third.start()
        assert (await third.bench.give(auto)).repeat_of == back_at
        assert (await third.manual(40.0)).repeat_of == taken_at, "nor does its copy end the AUTO"
        assert (await third.bench.give(GetPump())).mode is Mode.AUTO
        third.bench.close()

    play(story)


def test_a_pump_records_what_it_takes_and_nothing_else() -> None:
    """AUD-2, CTL-7: who, from where, from what to what; one id for one command, written again when it is repeated."""

    async def story(it: Played) -> None:
        await it.start()
        asked = SetMode(
            pump_id="p-1", command_id="c-1", mode=Mode.MANUAL, by="ada", setpoint_hz=40.0, reason="test",
            expires_after_s=60.0, source_address="10.0.0.9:1024",
        )  # fmt: skip
        await it.bench.give(asked)
        await it.bench.until(1.0)
        (record,) = it.recorded()
        assert (record.record_id, record.event_type, record.actor) == ("c-1:p-1:mode", "MODE_SET", "ada")
        assert (record.source_address, record.object_id) == ("10.0.0.9:1024", "PUMP:p-1")
        assert record.before == {"mode": "AUTO", "by": "", "setpoint_hz": None}
        assert record.after == {
            "mode": "MANUAL", "pump_id": "p-1", "command_id": "c-1", "by": "ada", "setpoint_hz": 40.0,
            "expires_after_s": 60.0, "reason": "test",
        }  # fmt: skip
        with pytest.raises(RefusedError):
            await it.bench.give(msgspec.structs.replace(asked, setpoint_hz=41.0))
        it.modes.refuses = True
        with pytest.raises(DeviceError):
            await it.bench.give(msgspec.structs.replace(asked, command_id="c-2"))
        await it.bench.until(5.0)
        assert len(it.recorded()) == 1, "what was refused is recorded where it came in"
        await it.bench.give(asked)
        await it.bench.until(6.0)
        _, again = it.recorded()
        assert (again.record_id, again.at) == (record.record_id, record.at)

    play(story)


def test_bad_orders_are_refused_with_their_reason() -> None:
    """CTL-7: out of range, for somebody else, or not the operator's to give."""

    async def story(it: Played) -> None:
        await it.start()
        with pytest.raises(InvalidValueError, match="setpoint_hz is 400"):
            await it.manual(400.0)
        with pytest.raises(RefusedError, match="panel"):
            await it.bench.give(SetMode(pump_id="p-1", command_id="c-2", mode=Mode.LOCAL, by="ada"))
        with pytest.raises(RefusedError, match="'p-7'"):
            await it.bench.give(SetMode(pump_id="p-7", command_id="c-3", mode=Mode.AUTO, by="ada"))
        assert it.modes.stored is None

    play(story)


def test_local_and_back_without_a_step() -> None:
    """CTL-7, CTL-2: while the panel holds the pump the wish follows the measured speed, and goes on from there."""

    async def story(it: Played) -> None:
        it.row = msgspec.structs.replace(level_plan(1.5), interval_end=plan(1, 0, 90_000).interval_end)
        await it.start()
        for second in range(1, 40):
            await it.bench.until(float(second))
            await it.measure(wet_well_level_m=2.5 + second / 1000, running=1.0, actual_speed_hz=42.0)
            if second < 20:
                await it.decide(42.0, Reason.LOCAL, remote_enabled=False, tracking_hz=42.0)
            else:
                await it.decide(it.proposal().wish_hz or 0.0, Reason.PLAN)
            if second > 2:
                assert it.proposal().wish_hz == pytest.approx(42.0, abs=1.0), second
        assert it.proposal().source.calculator == "level_pid"

    play(story, pump(ControlType.LEVEL_CONTROLLED))


def test_back_to_auto_in_the_middle_of_a_manual_ramp() -> None:
    """CTL-2, CTL-7: AUTO goes on from the speed that the ramp has reached, not from where the operator was heading."""

    async def story(it: Played) -> None:
        it.row = level_plan(1.5)
        await it.start()
        await it.bench.until(1.0)
        await it.manual(45.0)
        for second in range(2, 6):
            await it.bench.until(float(second))
            await it.measure(wet_well_level_m=1.8 + second / 1000, running=1.0, actual_speed_hz=30.0)
            await it.decide(30.0, Reason.RAMP)
        await it.bench.give(SetMode(pump_id="p-1", command_id="c-2", mode=Mode.AUTO, by="ada"))
        await it.bench.until(6.0)
        assert it.proposal().mode is Mode.AUTO
        assert it.proposal().wish_hz == pytest.approx(30.0)

    play(story, pump(ControlType.LEVEL_CONTROLLED))


def test_two_levels_that_disagree_are_not_controlled_by() -> None:
    """CTL-2, CTL-4: of two transmitters in one well that differ nobody knows which is right: the plan's speed."""

    async def story(it: Played) -> None:
        it.row = level_plan(1.5, 33.0)
        await it.start()
        for second in range(1, 10):
            await it.bench.until(float(second))
            await it.measure(wet_well_level_m=2.0 + second / 1000, running=1.0)
            await it.measure(
                "p-2", wet_well_level_m=(2.05 if second < 5 else 3.0) + second / 1000, running=1.0
            )
            if second == 4:
                assert it.proposal().source.calculator == "level_pid"
        assert it.proposal().source.calculator == "level_fallback_plan_speed"
        assert it.proposal().wish_hz == 33.0

    play(story, pump(ControlType.LEVEL_CONTROLLED), pump(pump_id="p-2", wire_slot=1))


def test_bad_parameters_alarm_and_good_ones_end_it() -> None:
    """CTL-2: the defaults hold, an alarm names the key; Configure with good ones returns it."""

    async def story(it: Played) -> None:
        it.row = level_plan(1.5)
        await it.start()
        await it.bench.until(2.0)
        (alarm,) = it.bench.heard(AlarmAsserted)
        assert alarm.condition == "control_parameters_invalid"
        assert "pump p-1: control_parameters.gain_hz_per_m is -1" in alarm.text
        mended = station_of(pump(ControlType.LEVEL_CONTROLLED))
        await it.bench.give(
            Configure(site=SiteConfig(site_id="north", name="North", timezone="UTC", stations=(mended,)))
        )
        await it.bench.until(4.0)
        assert [alarm.condition for alarm in it.bench.heard(AlarmReturned)] == ["control_parameters_invalid"]
        empty = SiteConfig(site_id="north", name="North", timezone="UTC", stations=(station_of(),))
        await it.bench.give(Configure(site=empty))
        await it.bench.until(8.0)
        assert it.bench.heard(Proposal, since_s=5.1) == [], "a pump that is gone proposes nothing"

    play(story, pump(ControlType.LEVEL_CONTROLLED, control_parameters={"gain_hz_per_m": -1}))


def test_a_plan_that_gives_no_speed_is_a_failsafe_with_its_reason() -> None:
    """CTL-2: power control without ratings and without a plan speed cannot wish anything."""

    async def story(it: Played) -> None:
        it.row = plan(1, -100, 1_000, suggested_speed_hz=None, target_power_kw=5.0)
        await it.start()
        await it.bench.until(2.0)
        assert (it.proposal().wish_hz, it.proposal().failsafe) == (None, Reason.FAILSAFE_INVALID_PROPOSAL)
        assert "rated" in it.proposal().source.note

    play(story, pump(ControlType.POWER_CONTROLLED, rated_power_kw=None))


def test_the_status_tells_mode_plan_wish_and_feedback() -> None:
    """CTL-7, CTL-4: GetPump shows who commands until when, the plan, the wish with its source, and judged feedback."""

    async def story(it: Played) -> None:
        await it.start()
        await it.measure(actual_speed_hz=31.0)
        await it.bench.until(2.0)
        await it.manual(38.0, for_s=100.0)
        await it.bench.until(3.0)
        status = await it.bench.give(GetPump())
        assert (status.mode, status.mode_by, status.manual_hz, status.held_stopped) == (
            Mode.MANUAL,
            "ada",
            38.0,
            False,
        )
        assert status.mode_expires_at == instant(102.0)
        assert status.plan.plan_id == 1
        assert (status.wish_hz, status.source.calculator) == (38.0, "manual")
        assert status.feedback["actual_power_kw"].why == "never written since our start"

    play(story)


def test_a_wish_that_another_pump_carries_out_goes_on_as_if_it_were_carried_out_here() -> None:
    """SAF-2.6, CTL-2: the regulator follows what its wish comes to at the other pump, not the 0 of this one."""
    wishes: dict[bool, list[float | None]] = {}
    for rotated in (True, False):

        async def story(it: Played, *, rotated: bool = rotated) -> None:
            it.row = level_plan(1.5)
            await it.start()
            told: list[float | None] = []
            for second in range(1, 40):
                await it.bench.until(float(second))
                await it.measure(wet_well_level_m=2.0 + second / 1000, running=0.0, actual_speed_hz=0.0)
                told.append(it.proposal().wish_hz)
                wish_hz = it.proposal().wish_hz or 0.0
                if rotated:
                    await it.decide(0.0, Reason.PROTECTION_TIMER, duty_hz=wish_hz)
                else:
                    await it.decide(wish_hz, Reason.PLAN)
            wishes[rotated] = told
            if rotated:
                # A value that an operator leaves out is this pump's own.
                assert isinstance(await it.manual(None), Done)
                await it.bench.until(41.0)
                assert it.proposal().wish_hz == 0.0

        play(story, pump(ControlType.LEVEL_CONTROLLED))
    assert wishes[True] == wishes[False]
    assert len(set(wishes[True])) > 10
