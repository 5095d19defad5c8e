"""What the searches found and is not repaired yet: each fails once its defect is gone, and then goes itself."""

from __future__ import annotations

import pytest

from tests.unit.actors.safety.timeline import limits, play, pump, station

CAPPED = station(pump(of=limits(band_hz=(20.0, 50.0), max_power_kw=8.0)))


def test_a_pump_that_draws_too_much_at_its_minimum_is_stopped() -> None:
    """SAF-2.7: 12 kW at 20 Hz where 8 kW are allowed, so 17.5 Hz at most, which is below the minimum: 0."""
    play(
        CAPPED,
        """
        t_s  plan_hz  power_kw | setpoint_hz  because
          0       20        12 |        0.00  power_cap
        """,
        start_hz=20.0,
    )


@pytest.mark.xfail(strict=True, reason="rule 9 lifts a wish to a minimum that rule 7 forbids")
def test_a_wish_below_the_minimum_is_not_lifted_above_the_motors_power() -> None:
    """SAF-2.7, SAF-2.9: a lower rule never weakens a higher one. Rule 7 lets 17 Hz pass, rule 9 makes 20 Hz of it."""
    play(
        CAPPED,
        """
        t_s  plan_hz  power_kw | setpoint_hz
          0       17        12 |        0.00
        """,
        start_hz=20.0,
    )
