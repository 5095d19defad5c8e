"""Clean-out: the one exception to rule 3, and everything that ends it (CTL-6, SAF-2.3)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors.safety.conditions import observe
from actors.safety.memory import memory_of, restored
from actors.safety.types import CleanOutOrder, RoundInput, Work
from actors.station.clean_out import served, why_not
from actors.vocabulary import CleanOut, Mode, Reason, Rule, StationDuties
from actors.vocabulary.durable import Epoch
from tests.unit.actors.safety.timeline import Bench, limits, pump, station

OF = limits(
    rate_hz_per_s=100.0,
    dry_run_m=0.4,
    dry_run_reset_m=0.6,
    level_min_m=0.7,
    high_m=3.0,
    high_reset_m=2.6,
)
DUTIES = StationDuties(clean_out=CleanOut(level_m=0.25, run_s=300.0, speed_hz=25.0, power_kw_min=3.0))
USUAL: dict[str, Any] = {"plan_hz": 0.0, "level_m": 1.0, "power_kw": 6.0}


def bench_of(*names: str, **more: Any) -> Bench:
    bench = Bench(station(*(pump(name, OF) for name in names or ("a",)), **{"duties": DUTIES, **more}))
    run(bench, 12)
    return bench


def run(bench: Bench, seconds: int, **told: Any) -> None:
    values = {name: {**USUAL, **told} for name in bench.measured_hz}
    for _ in range(seconds):
        bench.tick(values, period_s=1.0)


def ordered(bench: Bench, *, lasts_s: float = 200.0) -> None:
    order = CleanOutOrder(
        order_id="o", pump_id="a", by="ann", reason="grit", since=bench.now, until=bench.now.plus(lasts_s)
    )
    bench.state = msgspec.structs.replace(bench.state, clean_out=order)


def snoring() -> Bench:
    """A bench whose pump a runs below its dry-run level by order."""
    bench = bench_of()
    ordered(bench)
    run(bench, 3)
    run(bench, 3, level_m=0.3)
    assert bench.decisions["a"].setpoint_hz == 25.0
    return bench


def over(bench: Bench) -> str:
    assert bench.state.clean_out is not None
    return bench.state.clean_out.over


def test_a_clean_out_runs_the_pump_down_to_its_own_bound_and_is_then_over() -> None:
    """CTL-6: told in trail, reason and image: whoever loses us stops the pump."""
    bench = bench_of()
    ordered(bench)
    run(bench, 3)
    assert (bench.decisions["a"].setpoint_hz, bench.decisions["a"].reason) == (25.0, Reason.CLEAN_OUT)
    run(bench, 1, level_m=0.3)
    decision = bench.decisions["a"]
    assert (decision.setpoint_hz, decision.reason) == (25.0, Reason.CLEAN_OUT)
    assert [(step.rule, step.why) for step in decision.trail] == [
        (Rule.CLEAN_OUT, "clean-out by ann down to 0.25 m")
    ]
    assert decision.conditions.clean_out
    assert not decision.conditions.dry_run
    assert (decision.failsafe_image_hz, decision.failsafe_image_reason) == (0.0, Reason.DRY_RUN)
    run(bench, 1, level_m=0.25)
    decision = bench.decisions["a"]
    assert (decision.setpoint_hz, decision.reason) == (0.0, Reason.DRY_RUN)
    assert decision.conditions.dry_run
    assert over(bench) == "level 0.25 m, its lower bound is 0.25 m"
    # For good: neither the level nor anything else brings it back, and rule 3 has its usual hysteresis.
    run(bench, 30, level_m=0.5)
    assert bench.decisions["a"].reason is Reason.DRY_RUN
    run(bench, 30, level_m=1.0)
    assert bench.decisions["a"].setpoint_hz == 0.0


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"level_m": 0.2}, "level 0.2 m"),
        ({"level_m": -99.0}, "the pump is not ours"),
        ({"without": "wet_well_level_m"}, "the pump is not ours"),
        ({"power_kw": 2.9}, "takes air"),
        ({"without": "actual_power_kw"}, "power is not GOOD"),
        ({"fault": 3.0}, "fault"),
        ({"running": 0.0}, "the pump stopped"),
        ({"local": 1.0}, "not ours"),
        ({"stop": True}, "stopped"),
        ({"oos": True}, "out of service"),
        ({"mode": Mode.MANUAL, "plan_hz": 30.0}, "not in AUTO"),
        ({"held": True}, "held stopped"),
        ({"plan_hz": float("nan")}, "not in AUTO"),
        ({"failsafe": "FAILSAFE_DATABASE", "plan_hz": None}, "failsafe"),
        ({"plc_stuck": True}, "not ours"),
    ],
)
def test_whatever_is_not_as_it_must_be_ends_it_for_good_and_rule_3_stops_the_pump(
    told: dict[str, Any], why: str
) -> None:
    """CTL-6, SAF-2.3: at once, in the very round in which it is seen; a level that ages ends it within 5 s."""
    bench = snoring()
    silent = "without" in told or "plc_stuck" in told
    run(bench, 60 if silent else 1, **{"level_m": 0.3, **told})
    assert why in over(bench)
    decision = bench.decisions["a"]
    assert decision.setpoint_hz == 0.0 or not decision.remote_enabled
    run(bench, 90, level_m=0.3)
    assert bench.decisions["a"].setpoint_hz == 0.0


def test_a_pump_that_we_stopped_is_not_started_again_while_it_still_turns() -> None:
    """CTL-6, SAF-2.3: told 0 and coasting is stopped, whatever it measures."""
    bench = snoring()
    stopped = msgspec.structs.replace(bench.state.pumps["a"], output_hz=0.0, target_hz=0.0)
    bench.state = msgspec.structs.replace(bench.state, pumps={"a": stopped})
    run(bench, 1, level_m=0.3, running=1.0, speed_hz=22.0)
    assert over(bench) == "the pump stopped"
    assert bench.decisions["a"].setpoint_hz == 0.0


def test_a_pump_that_takes_its_time_to_start_is_waited_for() -> None:
    """CTL-6: it has begun once it was seen to turn; until then nothing has stopped."""
    bench = bench_of()
    ordered(bench)
    run(bench, 5, running=0.0, speed_hz=0.0)
    assert (over(bench), bench.decisions["a"].setpoint_hz) == ("", 25.0)
    run(bench, 3)
    run(bench, 3, level_m=0.3)
    assert (over(bench), bench.decisions["a"].setpoint_hz) == ("", 25.0)


def test_a_pump_that_coasts_without_our_order_has_not_begun() -> None:
    """CTL-6: it turns, but we give it 0 for want of a place: it has neither begun nor stopped, and is waited for."""
    bench = bench_of(max_pumps_running=0)
    ordered(bench)
    run(bench, 5, running=1.0, speed_hz=22.0)
    assert bench.state.clean_out is not None
    assert (over(bench), bench.state.clean_out.began) == ("", False)
    assert bench.decisions["a"].setpoint_hz == 0.0


def test_power_at_its_bound_is_enough() -> None:
    """CTL-6: takes air below it."""
    bench = snoring()
    run(bench, 1, level_m=0.3, power_kw=3.0)
    assert (over(bench), bench.decisions["a"].setpoint_hz) == ("", 25.0)


def test_its_time_ends_it() -> None:
    """CTL-6: bounded time, in the dry zone and above it."""
    for level_m in (0.3, 1.0):
        bench = bench_of()
        ordered(bench, lasts_s=20.0)
        run(bench, 3)
        run(bench, 16, level_m=level_m)
        assert over(bench) == ""
        run(bench, 1, level_m=level_m)
        assert over(bench) == "its time is over"
        assert bench.decisions["a"].setpoint_hz in {0.0, 20.0}


def test_it_starts_nothing_below_the_minimum_level_or_late() -> None:
    """SAF-2.3, SAF-2.8: rules 3 and 8 let only a pump run on that ran before; an old order starts nothing."""
    bench = bench_of()
    ordered(bench)
    run(bench, 59, level_m=0.65)
    assert over(bench) == ""
    run(bench, 1, level_m=0.65)
    assert bench.decisions["a"].setpoint_hz == 0.0
    assert over(bench) == "the pump did not start in time"
    bench = bench_of()
    ordered(bench)
    run(bench, 1, level_m=0.35)
    assert over(bench) == "dry run before the pump ran"
    assert bench.decisions["a"].setpoint_hz == 0.0


def test_a_high_level_and_a_closed_float_end_it() -> None:
    """SAF-2.4: rule 4 has the pump; where a float contradicts the level, the level is BAD."""
    bench = snoring()
    run(bench, 1, level_m=3.1)
    assert over(bench) == "emergency high level"
    bench = bench_of(has_high_float=True)
    ordered(bench)
    run(bench, 3, float=0.0)
    run(bench, 3, level_m=0.3, float=0.0)
    assert bench.decisions["a"].setpoint_hz == 25.0
    run(bench, 1, level_m=0.3, float=1.0)
    assert over(bench) == "emergency high level"


def test_it_is_for_one_pump() -> None:
    """CTL-6: the other pump of the same dry well stays under rule 3."""
    bench = bench_of("a", "b")
    ordered(bench)
    run(bench, 3, plan_hz=35.0)
    run(bench, 3, plan_hz=35.0, level_m=0.3)
    assert {name: one.setpoint_hz for name, one in bench.decisions.items()} == {"a": 25.0, "b": 0.0}
    assert bench.decisions["b"].reason is Reason.DRY_RUN


def test_a_restart_ends_it() -> None:
    """CTL-6, SAF-10: it is never stored, and what is stored says that the well is dry."""
    bench = snoring()
    stored = memory_of("s", bench.state, epoch=Epoch(0, 1), boot_id="boot")
    assert stored.pumps["a"].dry_run is True
    bench.state = restored(stored, {}, now=bench.now, gap_s_max=10.0)
    run(bench, 1, level_m=0.45)
    assert bench.state.clean_out is None
    assert (bench.decisions["a"].setpoint_hz, bench.decisions["a"].reason) == (0.0, Reason.DRY_RUN)


def test_a_configuration_that_is_taken_away_ends_it() -> None:
    """CTL-6: what is not configured, and valid, is not there."""
    bench = snoring()
    bench.config = msgspec.structs.replace(bench.config, duties=StationDuties())
    run(bench, 1, level_m=0.3)
    assert over(bench) == "it is not configured any more"
    assert bench.decisions["a"].setpoint_hz == 0.0
    # Nor does it hold for a pump that is gone.
    bench = bench_of("a", "b")
    ordered(bench)
    run(bench, 3)
    bench.config = msgspec.structs.replace(bench.config, pumps=(pump("b", OF),))
    run(bench, 1)
    assert over(bench) == "it is not configured any more"


def refusal(told: dict[str, Any], pump_id: str = "a", duties: StationDuties = DUTIES) -> str:
    """Why it could not be ordered in a round like this."""
    bench = bench_of(duties=duties)
    seen: list[RoundInput] = []
    bench.tick({"a": {**USUAL, **told}}, period_s=1.0, spy=seen.append)
    facts, _ = observe(seen[0], bench.state, now=bench.now)
    return why_not(pump_id, facts, seen[0].station)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({}, ""),
        ({"plan_hz": 35.0}, ""),
        ({"level_m": 0.65}, "no start below 0.7 m"),
        ({"level_m": 0.7}, ""),
        ({"level_m": 0.3}, "dry run"),
        ({"level_m": 3.2}, "emergency high level"),
        ({"stop": True}, "stopped"),
        ({"local": 1.0}, "not ours"),
        ({"mode": Mode.MANUAL}, "not in AUTO"),
        ({"fault": 2.0}, "fault"),
    ],
)
def test_an_order_that_would_end_at_once_is_refused_with_the_reason(told: dict[str, Any], why: str) -> None:
    """CTL-6: the person hears it, instead of wondering."""
    told_why = refusal(told)
    assert (told_why == "") is (why == "")
    assert why in told_why


def test_a_pump_without_a_minimum_level_may_be_ordered_above_its_dry_run_reset() -> None:
    """CTL-6: rule 8 has nothing to say there."""
    of = msgspec.structs.replace(OF, level_min_m=None)
    bench = Bench(station(pump("a", of), duties=DUTIES))
    run(bench, 12)
    seen: list[RoundInput] = []
    bench.tick({"a": {**USUAL, "level_m": 0.65}}, period_s=1.0, spy=seen.append)
    facts, _ = observe(seen[0], bench.state, now=bench.now)
    assert why_not("a", facts, seen[0].station) == ""
    without = msgspec.structs.replace(of, level_dry_run_m=None, level_dry_run_reset_m=None)
    told = {"a": msgspec.structs.replace(facts["a"], limits=without)}
    assert why_not("a", told, seen[0].station) == "the pump has no dry-run level"
    told = {"a": msgspec.structs.replace(facts["a"], proposal=None)}
    assert why_not("a", told, seen[0].station) == "the pump is not in AUTO"
    told = {"a": msgspec.structs.replace(facts["a"], limits=None)}
    assert why_not("a", told, seen[0].station) == "the pump has no dry-run level"


def test_without_a_valid_configuration_or_pump_it_is_refused() -> None:
    """CTL-6: off unless configured."""
    assert "station_duties" in refusal({}, duties=StationDuties())
    assert "no pump 'z'" in refusal({}, pump_id="z")


def test_only_its_pump_in_this_round_gets_its_value_and_only_while_it_is_configured() -> None:
    """CTL-6: a pump that is not decided now, or a configuration that went away, leaves every value as it is."""
    bench = bench_of()
    ordered(bench)
    order = bench.state.clean_out
    seen: list[RoundInput] = []
    bench.tick({"a": USUAL}, period_s=1.0, spy=seen.append)
    facts, _ = observe(seen[0], bench.state, now=bench.now)
    station_, wishes = seen[0].station, {"a": Work(value_hz=0.0, reason=Reason.PLAN)}
    assert served(order, wishes, facts, station_)["a"].value_hz == 25.0
    assert served(order, {}, facts, station_) == {}
    bare = msgspec.structs.replace(station_, duties=StationDuties())
    assert served(order, wishes, facts, bare) == wishes
    assert served(None, wishes, facts, station_) == wishes
    stopped = {"a": msgspec.structs.replace(wishes["a"], stopped_by=Rule.DRY_RUN)}
    assert served(order, stopped, facts, station_) == stopped


def test_without_a_good_level_it_is_refused() -> None:
    """CTL-6, SAF-2.3: a pump may be ours by its float, but nobody knows how far down the well is."""
    bench = bench_of()
    seen: list[RoundInput] = []
    bench.tick({"a": USUAL}, period_s=1.0, spy=seen.append)
    facts, _ = observe(seen[0], bench.state, now=bench.now)
    unknown = {"a": msgspec.structs.replace(facts["a"], level_m=None)}
    assert why_not("a", facts, seen[0].station) == ""
    assert why_not("a", unknown, seen[0].station) == "the level is not GOOD"
