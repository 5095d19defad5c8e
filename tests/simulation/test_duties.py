"""A station's day in virtual time: its duties go round, it assists, flushes, exercises and replaces what fails (CTL-6).

The real kernel decides, round by round, over a well with a day's inflow and a storm in it; every round is held against
the invariants of `tests/proof`. The optimiser of this story knows one pump only: it always plans for the first.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from actors.safety.types import RoundInput
from actors.vocabulary import (
    Alternation,
    Assist,
    ControlSettings,
    Exercise,
    Flush,
    Reason,
    Rule,
    StationDuties,
)
from tests.proof.invariants import Round, check_round
from tests.unit.actors.safety.timeline import Bench, limits, pump, station

STEP_S: Final = 5.0
HOUR_S: Final = 3600.0
AREA_M2: Final = 30.0
NAMES: Final = "abc"
PLACES: Final = 2
FLOW_AT_50_HZ_M3H: Final = 180.0
OF: Final = limits(
    rate_hz_per_s=2.0,
    dry_run_m=0.4,
    dry_run_reset_m=0.6,
    level_min_m=0.7,
    level_max_m=2.0,
    high_m=2.8,
    high_reset_m=2.5,
    max_starts_per_hour=12,
    min_rest_s=30.0,
    min_run_s=30.0,
)
DUTIES: Final = StationDuties(
    alternation=Alternation.BY_HOURS,
    alternation_h=0.5,
    assist=Assist(pumps=1, reset_m=1.5, after_s=60.0),
    exercise=Exercise(after_h=0.8, run_s=30.0, level_m=0.8),
    flush=Flush(every_h=1.0, run_s=60.0, speed_hz=48.0, flow_m3h=160.0, level_m=1.1),
)


@dataclass
class Day:
    """What happened: seconds of each reason and pump, starts, the most that ran at once, and the well's extremes."""

    seconds: Counter[tuple[str, Reason]] = field(default_factory=Counter)
    ran_s: Counter[str] = field(default_factory=Counter)
    rules: Counter[Rule] = field(default_factory=Counter)
    starts: Counter[str] = field(default_factory=Counter)
    most: int = 0
    lowest_m: float = math.inf
    highest_m: float = -math.inf


def inflow_m3h(hour: float) -> float:
    """A day's inflow, with a storm from 2:00 to 2:30."""
    usual = 60.0 + 25.0 * math.sin(2.0 * math.pi * (hour - 8.0) / 24.0)
    return usual + (220.0 if 2.0 <= hour < 2.5 else 0.0)


def lost(hour: float) -> dict[str, Any]:
    """Pump b trips at 1:00 and is repaired at 1:45; it is taken out of service from 3:00 to 3:30."""
    if 1.0 <= hour < 1.75:
        return {"fault": 7.0, "speed_hz": 0.0}
    return {"oos": True} if 3.0 <= hour < 3.5 else {}


def rounds(bench: Bench, hours: float) -> Iterator[tuple[float, float]]:
    """Yield (hour, level) after each round, the well following what the pumps did."""
    level_m, pumping = 1.0, True
    for step in range(round(hours * HOUR_S / STEP_S)):
        hour = step * STEP_S / HOUR_S
        pumping = level_m > 0.9 if pumping else level_m > 1.3
        told = {
            name: {"plan_hz": 35.0 if pumping and name == "a" else 0.0, "level_m": round(level_m, 3)}
            for name in NAMES
        }
        told["b"] |= lost(hour)
        seen: list[RoundInput] = []
        before = bench.state
        decisions = bench.tick(told, period_s=STEP_S, spy=seen.append)
        check_round(
            Round(given=seen[0], before=before, decisions=decisions, after=bench.state, now=bench.now)
        )
        moved_m3h = sum(hz / 50.0 * FLOW_AT_50_HZ_M3H for hz in bench.measured_hz.values())
        level_m += (inflow_m3h(hour) - moved_m3h) / HOUR_S * STEP_S / AREA_M2
        yield hour, level_m


def lived(hours: float) -> Day:
    config = station(
        *(pump(name, OF, rated_flow_m3h=FLOW_AT_50_HZ_M3H, rated_speed_hz=50.0) for name in NAMES),
        duties=DUTIES,
        max_pumps_running=PLACES,
        stagger_s=5.0,
    )
    bench, day = Bench(config), Day()
    bench.control = ControlSettings(period_s=STEP_S)
    for _, level_m in rounds(bench, hours):
        running = {name for name, decision in bench.decisions.items() if decision.setpoint_hz > 0.0}
        day.most = max(day.most, len(running))
        day.lowest_m, day.highest_m = min(day.lowest_m, level_m), max(day.highest_m, level_m)
        for name, decision in bench.decisions.items():
            day.seconds[name, decision.reason] += round(STEP_S)
            day.ran_s[name] += round(STEP_S) if name in running else 0
            day.rules.update({step.rule for step in decision.trail})
    day.starts.update({name: state.wear.starts for name, state in bench.state.pumps.items()})
    return day


def told(day: Day, reason: Reason) -> int:
    """For how long any pump showed this reason (s)."""
    return sum(seconds for (_, why), seconds in day.seconds.items() if why is reason)


@pytest.mark.parametrize(
    "hours", [4.0, pytest.param(24.0, marks=[pytest.mark.prove, pytest.mark.timeout(900)])]
)
def test_a_day_of_a_station(hours: float) -> None:
    """CTL-6, SAF-2.8: one pump is planned for, and all three share; nobody runs dry, nothing spills."""
    day = lived(hours)
    assert day.most == PLACES
    assert day.lowest_m > 0.7
    assert day.highest_m < 2.8, "assisted before the emergency"
    shares = {name: day.ran_s[name] / day.ran_s.total() for name in NAMES}
    assert min(shares.values()) > 0.2, shares
    assert max(day.starts.values()) <= 12 * hours
    assert told(day, Reason.ROTATED) > HOUR_S / 2
    # Half an hour of storm, and until the level is below the assist's reset.
    assert 300 <= told(day, Reason.ASSIST) <= 1.5 * HOUR_S
    assert told(day, Reason.FLUSH) >= 60
    assert told(day, Reason.EXERCISE) >= 20
    assert day.rules[Rule.SUBSTITUTION] + day.rules[Rule.ALTERNATION] > 0
