"""What a pump draws and moves at another speed: affinity laws from measured, else from rated values (rule 7)."""

from __future__ import annotations

import math

import msgspec

from actors.feedback import FLOW, POWER, SPEED, good_value
from actors.safety.limits import is_finite_number
from actors.safety.types import Facts


class OperatingPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A known pair of speed (Hz) and power (kW) or flow (m3/h), both above 0, and where it comes from."""

    speed_hz: float
    amount: float
    measured: bool


def power_point(facts: Facts) -> OperatingPoint | None:
    """Return the pair from which power is scaled, P ~ n^3; None: neither measured nor rated values are
    usable.
    """
    return _point(facts, POWER, facts.config.rated_power_kw)


def flow_point(facts: Facts) -> OperatingPoint | None:
    """Return the pair from which flow is scaled, Q ~ n; None: neither measured nor rated values are usable."""
    return _point(facts, FLOW, facts.config.rated_flow_m3h)


def rated_flow_point(facts: Facts) -> OperatingPoint | None:
    """Return the rated pair of speed and flow; None: not known."""
    return _rated(facts.config.rated_flow_m3h, facts.config.rated_speed_hz)


def power_kw_at(point: OperatingPoint, speed_hz: float) -> float:
    """Power (kW) at a speed by the affinity law."""
    ratio = speed_hz / point.speed_hz
    return point.amount * ratio * ratio * ratio


def speed_hz_for_power(point: OperatingPoint, power_kw: float) -> float:
    """Speed (Hz) at which the pump draws `power_kw` by the affinity law."""
    return point.speed_hz * math.cbrt(max(power_kw, 0.0) / point.amount)


def speed_hz_for_flow(point: OperatingPoint, flow_m3h: float) -> float:
    """Speed (Hz) at which the pump moves `flow_m3h` by the affinity law."""
    return point.speed_hz * (max(flow_m3h, 0.0) / point.amount)


def _point(facts: Facts, measured: str, rated: float | None) -> OperatingPoint | None:
    """Measured while running inside the band (scaling from a crawl would magnify noise), else rated."""
    speed_hz = good_value(facts.feedback, SPEED)
    amount = good_value(facts.feedback, measured)
    if (
        facts.running is True
        and facts.limits is not None
        and speed_hz is not None
        and amount is not None
        and speed_hz >= facts.limits.hard_min_speed_hz
        and amount > 0.0
    ):
        return OperatingPoint(speed_hz=speed_hz, amount=amount, measured=True)
    return _rated(rated, facts.config.rated_speed_hz)


def _rated(rated: float | None, rated_hz: float | None) -> OperatingPoint | None:
    if rated is None or rated_hz is None or not is_finite_number(rated) or not is_finite_number(rated_hz):
        return None
    if rated <= 0.0 or rated_hz <= 0.0:
        return None
    return OperatingPoint(speed_hz=rated_hz, amount=rated, measured=False)
