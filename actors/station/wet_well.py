"""One wet well, seen by several controllers: the merged level and how far it can be trusted. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from actors.messages import JudgedValue
from actors.vocabulary import Quality

TOLERANCE_M: Final = 0.15
# Two sound transmitters of one well differ by their accuracy and by waves, a few centimetres each.

UNKNOWN: Final = JudgedValue(value=None, quality=Quality.BAD, age_s=None, why="no level was ever written")


def merged_level(levels: Mapping[str, JudgedValue], *, tolerance_m: float = TOLERANCE_M) -> JudgedValue:
    """Merge the levels (m above datum) by pump id: the newest GOOD one counts.

    If another GOOD one differs from it by more than `tolerance_m` nobody knows which is right: UNCERTAIN. Without a
    GOOD one the newest of the rest is shown with its own quality.
    """
    usable = {
        pump_id: level
        for pump_id, level in levels.items()
        if level.quality is Quality.GOOD and level.value is not None
    }
    if not usable:
        written = {pump_id: level for pump_id, level in levels.items() if level.age_s is not None}
        return written[_newest(written)] if written else UNKNOWN
    chosen_id = _newest(usable)
    chosen = usable[chosen_id]
    assert chosen.value is not None
    apart = {
        pump_id: level.value
        for pump_id, level in sorted(usable.items())
        if level.value is not None and abs(level.value - chosen.value) > tolerance_m
    }
    if not apart:
        return chosen
    others = ", ".join(f"{pump_id} {value:.3f} m" for pump_id, value in apart.items())
    return JudgedValue(
        value=chosen.value,
        quality=Quality.UNCERTAIN,
        age_s=chosen.age_s,
        why=f"controllers disagree: {chosen_id} {chosen.value:.3f} m, {others}",
        utc_ns=chosen.utc_ns,
    )


def _newest(levels: Mapping[str, JudgedValue]) -> str:
    """Return the pump with the youngest value; of equals the first by id, so that the choice does not flicker."""
    return min(
        levels, key=lambda pump_id: (_age_s(levels[pump_id]), levels[pump_id].quality is Quality.BAD, pump_id)
    )


def _age_s(level: JudgedValue) -> float:
    return float("inf") if level.age_s is None else level.age_s
