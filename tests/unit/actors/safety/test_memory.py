"""What of a station survives restarts of the actor and of the machine, and what of it is believed (SAF-7)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from actors.feedback import LEVEL, FeedbackMemory, Held
from actors.publisher.gate import FRESH_NEEDED
from actors.safety.memory import UNMOVED_S, feedback_of, memory_of, orders_a_start, restored, same, seen_of
from actors.safety.timers import advance, ordered
from actors.safety.types import Failsafe, PumpState, initial_state
from actors.vocabulary import Instant, Reason
from actors.vocabulary.durable import Epoch, HeldPoint, MotorTimers, PumpMemory, PumpSeen, StationMemory
from tests.unit.actors.safety.timeline import START, Bench, limits, pump, station

RESTED = MotorTimers(turning=False, since=START.plus(-7200.0), known_at=START, starts=(START.plus(-60.0),))
MEMORY = StationMemory(
    station_id="s",
    epoch=Epoch(0, 7),
    boot_id="boot",
    pumps={
        "a": PumpMemory(timers=RESTED, dry_run=True, high=False),
        "b": PumpMemory(timers=RESTED, high=True),
    },
    duties={"a": "b"},
)


def test_what_is_kept_comes_back() -> None:
    """SAF-7: timers, level latches and moved duties; output, claims and failsafe begin anew (SAF-10)."""
    state = restored(MEMORY, {}, now=START.plus(2.0), gap_s_max=10.0)
    assert state.pumps == {
        "a": PumpState(timers=RESTED, dry_run=True),
        "b": PumpState(timers=RESTED, high=True),
    }
    assert (state.duties, state.since) == ({"a": "b"}, START.plus(2.0))
    assert memory_of("s", state, epoch=Epoch(0, 7), boot_id="boot") == MEMORY
    assert same(memory_of("s", state, epoch=Epoch(0, 7), boot_id="boot"), MEMORY)
    # A new incarnation writes it under its own epoch, so that its predecessor can no longer.
    assert not same(memory_of("s", state, epoch=Epoch(0, 8), boot_id="boot"), MEMORY)
    assert restored(None, {}, now=START, gap_s_max=10.0) == initial_state(START)


def test_it_survives_the_file() -> None:
    """SAF-7: the same after JSON."""
    assert msgspec.json.decode(msgspec.json.encode(MEMORY), type=StationMemory) == MEMORY


def test_a_pump_of_which_nothing_is_known_leaves_nothing() -> None:
    """SAF-7: absent is unknown, and unknown is just started and just stopped."""
    state = msgspec.structs.replace(initial_state(START), pumps={"a": PumpState()})
    assert memory_of("s", state, epoch=Epoch(0, 7), boot_id="boot").pumps == {}


def test_later_marks_bridge_a_restart_and_earlier_ones_say_nothing() -> None:
    """SAF-7: an actor that was away for less than a lease goes on where it was."""
    stored = msgspec.structs.replace(
        MEMORY, pumps={"a": PumpMemory(timers=msgspec.structs.replace(RESTED, known_at=START.plus(-900.0)))}
    )
    now = START.plus(3.0)
    marked = restored(stored, {"a": PumpSeen(known_at=START)}, now=now, gap_s_max=10.0).pumps["a"].timers
    assert advance(marked, running=False, told=False, now=now, gap_s_max=10.0) == msgspec.structs.replace(
        RESTED, known_at=now
    )
    unmarked = restored(stored, {}, now=now, gap_s_max=10.0).pumps["a"].timers
    unknown = advance(unmarked, running=False, told=False, now=now, gap_s_max=10.0)
    assert unknown is not None
    assert (unknown.since, unknown.starts) == (now, (*RESTED.starts, now))
    older = (
        restored(stored, {"a": PumpSeen(known_at=START.plus(-950.0))}, now=now, gap_s_max=10.0)
        .pumps["a"]
        .timers
    )
    assert older is not None
    assert older.known_at == START.plus(-900.0)


def reboot(*, uptime_s: float, off_s: float) -> Instant:
    """A moment of another boot: `uptime_s` after it, `off_s` after START by the wall clock."""
    return Instant("next", round(uptime_s * 1e9), START.utc_ns + round(off_s * 1e9))


def test_starts_keep_their_age_across_a_reboot() -> None:
    """SAF-7: counters survive a restart of the machine by the wall clock; what happened meanwhile is unknown."""
    now = reboot(uptime_s=30.0, off_s=600.0)
    timers = restored(MEMORY, {"a": PumpSeen(known_at=START)}, now=now, gap_s_max=10.0).pumps["a"].timers
    assert timers is not None
    assert [now.seconds_since(start) for start in timers.starts] == [660.0]
    seen = advance(timers, running=False, told=False, now=now, gap_s_max=10.0)
    assert seen is not None
    assert seen.since == now
    assert [now.seconds_since(start) for start in seen.starts] == [660.0, 0.0]


def test_a_clock_that_lost_its_time_makes_nothing_older_than_our_uptime() -> None:
    """SAF-7: a board without a battery starts in the past: its own uptime is the least age."""
    now = reboot(uptime_s=30.0, off_s=-3_000_000.0)
    timers = restored(MEMORY, {}, now=now, gap_s_max=10.0).pumps["a"].timers
    assert timers is not None
    assert [now.seconds_since(start) for start in timers.starts] == [30.0]


def test_a_moment_after_now_counts_as_now() -> None:
    """SAF-7: what stands in a file is believed only where it can be true."""
    timers = restored(MEMORY, {}, now=START.plus(-100.0), gap_s_max=10.0).pumps["a"].timers
    assert timers is not None
    assert timers.starts == (START.plus(-100.0),)


def test_only_orders_must_be_durable_at_once() -> None:
    """SAF-7: a start that we order; what is only seen waits for the next beat."""
    before = restored(MEMORY, {}, now=START, gap_s_max=10.0)
    pump_a = before.pumps["a"]

    def after(timers: MotorTimers | None) -> bool:
        state = msgspec.structs.replace(
            before, pumps={**before.pumps, "a": msgspec.structs.replace(pump_a, timers=timers)}
        )
        return orders_a_start(before, state)

    assert after(ordered(RESTED, now=START.plus(1.0)))
    assert not after(advance(RESTED, running=True, told=False, now=START.plus(1.0), gap_s_max=10.0))
    assert not after(advance(RESTED, running=False, told=False, now=START.plus(1.0), gap_s_max=10.0))
    assert not after(None)


def test_dry_run_and_high_level_are_latches_that_survive() -> None:
    """SAF-7, SAF-2.3, 2.4: between the levels and their resets a restart forgets neither."""
    of = limits(dry_run_m=0.4, dry_run_reset_m=0.6, high_m=3.0, high_reset_m=2.5, rate_hz_per_s=100.0)
    for level_m, dry_run, high, expected_hz in ((0.5, True, False, 0.0), (2.8, False, True, 20.0)):
        bench = Bench(station(pump(of=of)))
        memory = StationMemory(
            station_id="s",
            epoch=Epoch(0, 7),
            boot_id="boot",
            pumps={"a": PumpMemory(timers=RESTED, dry_run=dry_run, high=high)},
        )
        bench.state = restored(memory, {}, now=START.plus(-1.0), gap_s_max=10.0)
        bench.measured_hz["a"] = 30.0 if dry_run else 0.0
        told = {"plan_hz": 30.0 if dry_run else 0.0, "level_m": level_m}
        assert bench.tick({"a": told}, period_s=1.0)["a"].setpoint_hz == expected_hz


def in_failsafe(bench: Bench, *, seconds: int, row: Mapping[str, object]) -> None:
    for _ in range(seconds):
        bench.tick({"a": row}, period_s=1.0)


def test_a_restart_ends_no_failsafe_before_its_hold() -> None:
    """WDG-2, SAF-10: killed within the hold, the successor waits for a whole one; `since` stays the beginning."""
    bench = Bench(station(pump(of=limits())), start_hz={"a": 30.0})
    in_failsafe(bench, seconds=5, row={"plan_hz": None, "failsafe": "FAILSAFE_PLAN_EXPIRED"})
    since = bench.decisions["a"].failsafe.since
    in_failsafe(bench, seconds=50, row={"plan_hz": 40.0})
    bench.restart(away_s=1.0)
    in_failsafe(bench, seconds=59, row={"plan_hz": 40.0})
    decision = bench.decisions["a"]
    assert (decision.setpoint_hz, decision.reason) == (30.0, Reason.FAILSAFE_PLAN_EXPIRED)
    assert decision.failsafe.since == since
    in_failsafe(bench, seconds=2, row={"plan_hz": 40.0})
    assert bench.decisions["a"].failsafe.reason is None


def test_a_failsafe_of_long_ago_is_over() -> None:
    """WDG-2: longer away than the gates hold a value, everything is seen anew; so is after another boot."""
    for away_s, boot_id in ((10.1, START.boot_id), (1.0, "another")):
        bench = Bench(station(pump(of=limits())), start_hz={"a": 30.0})
        in_failsafe(bench, seconds=5, row={"plan_hz": None, "failsafe": "FAILSAFE_PLAN_EXPIRED"})
        bench.restart(away_s=away_s, boot_id=boot_id)
        assert bench.state.pumps["a"].failsafe == Failsafe()


def test_a_failsafe_is_worth_storing_when_it_begins_and_ends() -> None:
    """SAF-7, WDG-2: and not each second in between."""
    bench = Bench(station(pump(of=limits())), start_hz={"a": 30.0})

    def stored() -> StationMemory:
        return memory_of("s", bench.state, epoch=Epoch(0, 2), boot_id=bench.now.boot_id)

    in_failsafe(bench, seconds=1, row={"plan_hz": 30.0})
    before = stored()
    in_failsafe(bench, seconds=1, row={"plan_hz": None, "failsafe": "FAILSAFE_PLAN_EXPIRED"})
    began = stored()
    assert not same(before, began)
    in_failsafe(bench, seconds=5, row={"plan_hz": None, "failsafe": "FAILSAFE_PLAN_EXPIRED"})
    assert same(began, stored())


# --------------------------------------------------------------------------- hand-backs


def shown(bench: Bench) -> tuple[bool, Reason]:
    decision = bench.decisions["a"]
    return decision.remote_enabled, decision.reason


def test_a_restart_ends_no_hand_back_while_its_cause_holds() -> None:
    """CTL-7: a heartbeat that is stuck behind a gateway that writes everything else: no successor claims the pump."""
    bench = Bench(station(pump(of=limits())), start_hz={"a": 40.0})
    in_failsafe(bench, seconds=5, row={"plan_hz": 40.0})
    in_failsafe(bench, seconds=12, row={"plan_hz": 40.0, "plc_stuck": 1})
    assert shown(bench) == (False, Reason.HANDED_BACK_PLC_HEARTBEAT)
    for _ in range(3):
        bench.restart(away_s=2.0)
        for _ in range(70):
            bench.tick({"a": {"plan_hz": 40.0, "plc_stuck": 1}}, period_s=1.0)
            assert not bench.decisions["a"].remote_enabled


def test_the_first_word_of_a_successor_is_the_hand_back() -> None:
    """CTL-7, SAF-10: and its hold begins anew with the first good moment after the restart."""
    bench = Bench(station(pump(of=limits())), start_hz={"a": 40.0})
    in_failsafe(bench, seconds=5, row={"plan_hz": 40.0})
    in_failsafe(bench, seconds=1, row={"plan_hz": 40.0, "running": 0.5})
    since = bench.state.pumps["a"].hand_back.since
    in_failsafe(bench, seconds=50, row={"plan_hz": 40.0})
    bench.restart(away_s=1.0)
    in_failsafe(bench, seconds=1, row={"plan_hz": 40.0})
    assert shown(bench) == (False, Reason.RECOVERING)
    assert bench.decisions["a"].handed_back_since == since
    in_failsafe(bench, seconds=59, row={"plan_hz": 40.0})
    assert shown(bench) == (False, Reason.RECOVERING)
    in_failsafe(bench, seconds=1, row={"plan_hz": 40.0})
    assert bench.decisions["a"].remote_enabled


def test_a_hand_back_outlives_a_long_absence_and_a_reboot() -> None:
    """CTL-7: who was away for long knows no better than who was away for a moment."""
    for away_s, boot_id in ((500.0, START.boot_id), (500.0, "another")):
        bench = Bench(station(pump(of=limits())), start_hz={"a": 40.0})
        in_failsafe(bench, seconds=5, row={"plan_hz": 40.0})
        in_failsafe(bench, seconds=1, row={"plan_hz": 40.0, "running": 0.5})
        bench.restart(away_s=away_s, boot_id=boot_id)
        in_failsafe(bench, seconds=60, row={"plan_hz": 40.0})
        assert shown(bench) == (False, Reason.RECOVERING)
        in_failsafe(bench, seconds=1, row={"plan_hz": 40.0})
        assert bench.decisions["a"].remote_enabled


def test_before_the_first_claim_a_restart_is_a_start() -> None:
    """CTL-7: what was waited for and never lost has no hold."""
    bench = Bench(station(pump(of=limits())), start_hz={"a": 40.0})
    in_failsafe(bench, seconds=5, row={"plan_hz": 40.0, "without": "local_override"})
    bench.restart(away_s=1.0)
    in_failsafe(bench, seconds=1, row={"plan_hz": 40.0})
    assert bench.decisions["a"].remote_enabled


def test_what_is_bad_at_a_restart_loses_the_claim_that_was_held() -> None:
    """CTL-7, SAF-10: found by the search: bad within the second of the restart, and good again, skipped the hold."""
    for away_s, hold_s in ((1.0, 60), (13.0, 0)):
        bench = Bench(station(pump(of=limits())), start_hz={"a": 40.0})
        in_failsafe(bench, seconds=5, row={"plan_hz": 40.0})
        bench.restart(away_s=away_s)
        in_failsafe(bench, seconds=1, row={"plan_hz": 40.0, "running": 0.5})
        assert not bench.decisions["a"].remote_enabled
        in_failsafe(bench, seconds=hold_s, row={"plan_hz": 40.0})
        assert not bench.decisions["a"].remote_enabled
        in_failsafe(bench, seconds=1, row={"plan_hz": 40.0})
        assert bench.decisions["a"].remote_enabled, "longer away than a lease it is a start"


def test_what_has_not_arrived_at_a_restart_loses_nothing() -> None:
    """SAF-10: an actor's restart while its gates' lease lives is neither a start nor a loss."""
    bench = Bench(station(pump(of=WET)), start_hz={"a": 40.0})
    in_failsafe(bench, seconds=5, row={"plan_hz": 40.0, "level_m": 1.0})
    for _ in range(2):
        bench.restart(away_s=1.0)
        in_failsafe(bench, seconds=2, row={"plan_hz": 40.0, "level_m": 1.0, "without": "local_override"})
        assert bench.decisions == {}
    in_failsafe(bench, seconds=1, row={"plan_hz": 40.0, "level_m": 1.0})
    assert bench.decisions["a"].remote_enabled


def test_a_hand_back_is_worth_storing_when_it_begins_and_ends() -> None:
    """SAF-7, CTL-7: and not each second in between; so are the lapses of the lease."""
    bench = Bench(station(pump(of=limits())), start_hz={"a": 40.0})

    def stored() -> StationMemory:
        return memory_of("s", bench.state, epoch=Epoch(0, 2), boot_id=bench.now.boot_id)

    in_failsafe(bench, seconds=5, row={"plan_hz": 40.0})
    before = stored()
    in_failsafe(bench, seconds=1, row={"plan_hz": 40.0, "local": 0.5})
    began = stored()
    assert not same(before, began)
    in_failsafe(bench, seconds=30, row={"plan_hz": 40.0})
    assert same(began, stored())
    in_failsafe(bench, seconds=40, row={"plan_hz": 40.0})
    ended = stored()
    assert not same(began, ended)
    for _ in range(12):
        bench.tick({"a": {"speed_hz": 40.0}}, period_s=1.0, deciding=frozenset())
    assert not same(ended, stored())


# --------------------------------------------------------------------------- points that do not move

WET = limits(dry_run_m=0.4, dry_run_reset_m=0.6)


def test_no_restart_makes_a_frozen_level_good() -> None:
    """CTL-4, CTL-7, SAF-2.3: dry run would be blind for as long as it takes to find it frozen once more."""
    bench = Bench(station(pump(of=WET)), start_hz={"a": 40.0})
    frozen = {"plan_hz": 40.0, "level_m": 1.0, "speed_hz": 40.0}
    in_failsafe(bench, seconds=310, row=frozen)
    assert shown(bench) == (False, Reason.HANDED_BACK_LEVEL)
    bench.restart(away_s=30.0)
    for _ in range(100):
        bench.tick({"a": frozen}, period_s=1.0)
        assert not bench.decisions["a"].remote_enabled
    in_failsafe(bench, seconds=60, row={**frozen, "level_m": 1.1})
    assert shown(bench) == (False, Reason.RECOVERING)
    in_failsafe(bench, seconds=1, row={**frozen, "level_m": 1.1})
    assert bench.decisions["a"].remote_enabled


def test_restarts_do_not_keep_a_level_from_being_found_frozen() -> None:
    """CTL-4: each minute a restart: 300 s of seeing it unmoved are 300 s; the time between counts for nothing."""
    bench = Bench(station(pump(of=WET)), start_hz={"a": 40.0})
    for minute in range(6):
        for second in range(58):
            bench.tick({"a": {"plan_hz": 40.0, "level_m": 1.0, "speed_hz": 40.0}}, period_s=1.0)
            watched_s = 58 * minute + second
            assert bench.decisions["a"].remote_enabled is (watched_s <= 305) or 295 < watched_s < 312
        bench.restart(away_s=8.0)


def test_a_point_that_moves_is_not_noted_nor_what_is_no_number() -> None:
    """CTL-4: each second a file is written; what matters of it is what stood still."""
    held = {
        "moving": Held(value=1.0, since=START.plus(0.1 - UNMOVED_S)),
        LEVEL: Held(value=1.5, since=START.plus(-UNMOVED_S)),
        "broken": Held(value=float("nan"), since=START.plus(-100.0)),
    }
    state = restored(MEMORY, {}, now=START, gap_s_max=10.0)
    memories = {"a": FeedbackMemory(held=held, echo_hz_min=30.0, echo_hz_max=31.0), "gone": FeedbackMemory()}
    seen = seen_of(state, memories, now=START)
    assert seen["a"].held == {LEVEL: HeldPoint(value=1.5, held_s=UNMOVED_S)}
    assert seen["b"] == PumpSeen(known_at=START)
    later = reboot(uptime_s=30.0, off_s=600.0)
    back = feedback_of(seen, now=later)
    assert back["a"].held == {LEVEL: Held(value=1.5, since=later.plus(-UNMOVED_S))}
    assert (back["a"].echo_hz_min, back["a"].echo_hz_max) == (30.0, 31.0)
    assert back["b"] == FeedbackMemory()


# --------------------------------------------------------------------------- leases that have run out


def lapsed(mark: PumpSeen | None, *, now: Instant, lapses: tuple[Instant, ...] = ()) -> PumpState:
    memory = msgspec.structs.replace(
        MEMORY, pumps={"a": msgspec.structs.replace(MEMORY.pumps["a"], lapses=lapses)}
    )
    return restored(memory, {} if mark is None else {"a": mark}, now=now, gap_s_max=10.0).pumps["a"]


def test_what_the_gates_remember_of_our_lease_a_successor_remembers_too() -> None:
    """SAF-9, SAF-10: the last decision's tick, the fresh ones they wait for, and the lapses that make them wait."""
    now = START.plus(13.0)
    mark = PumpSeen(known_at=START, origin=START.plus(-1.0), fresh_left=2, fresh_since=START.plus(-3.0))
    pump_a = lapsed(mark, now=now, lapses=(START.plus(-50.0),))
    assert (pump_a.origin, pump_a.fresh_left, pump_a.fresh_since) == (
        mark.origin,
        mark.fresh_left,
        mark.fresh_since,
    )
    assert pump_a.lapses == (START.plus(-50.0),)


def test_of_gates_of_which_nothing_is_known_the_worst_is_taken() -> None:
    """SAF-9: away for longer than a lease and without a note, or of another boot: as after any lapse."""
    noted = PumpSeen(known_at=START, origin=START)
    rebooted = reboot(uptime_s=30.0, off_s=600.0)
    assert lapsed(None, now=START.plus(9.0)).fresh_left == 0
    assert lapsed(None, now=START.plus(13.0)).fresh_left == FRESH_NEEDED
    assert lapsed(PumpSeen(known_at=START, fresh_left=2), now=START.plus(9.0)).fresh_left == 2
    after = lapsed(noted, now=rebooted, lapses=(START,))
    assert (after.origin, after.fresh_left, after.lapses) == (None, FRESH_NEEDED, ())
