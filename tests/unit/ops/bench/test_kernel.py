"""The kernel's rate: goal: what is measured is the real kernel, on a day that is as quiet, or as bad, as it says."""

from __future__ import annotations

import pytest

from actors.safety.kernel import decide_round
from actors.safety.types import initial_state
from ops.bench.kernel import STATIONS, busy_round, measure, moment, quiet_round, station_of


@pytest.mark.parametrize("pumps", STATIONS)
def test_a_quiet_day_is_quiet_and_a_bad_one_has_everything(pumps: int) -> None:
    """OPS-5, SAF-2: quiet: the plan runs and no rule speaks; bad: nearly every rule has its say."""
    station = station_of(pumps)
    for make in (quiet_round, busy_round):
        state = initial_state(moment(0))
        decided, reasons, rules = 0, set(), set()
        for number in range(800):
            decisions, state = decide_round(make(station, number), state, now=moment(number))
            if number < 200:
                continue
            decided += len(decisions)
            reasons |= {decision.reason.name for decision in decisions.values()}
            rules |= {step.rule.value for decision in decisions.values() for step in decision.trail}
        assert decided == 600 * pumps
        if make is busy_round:
            expected = {"emergency_stop", "out_of_service", "local", "dry_run", "high_level", "failsafe"}
            assert expected <= rules, expected - rules
            assert len(reasons) >= 6, reasons
        else:
            assert (reasons, rules) == ({"PLAN"}, set())


def test_each_size_and_each_day_has_its_line() -> None:
    """OPS-5: 1, 4 and 10 pumps, quiet and not; a short look suffices to see that it counts."""
    rates = measure(seconds=0.002)
    assert [(rate.pumps, rate.what) for rate in rates] == [
        (pumps, what) for pumps in (1, 4, 10) for what in ("quiet", "everything happens")
    ]
    assert all(rate.decisions_per_s > 0 and rate.round_p50_us <= rate.round_p99_us for rate in rates)
