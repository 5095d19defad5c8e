"""The part of `ops/docs/configuration.md` that tells the keys of `pumps.control_parameters`, made from the code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from actors.pump.parameters import BOUNDS, LevelParameters, PowerParameters
from actors.safety.parameters import BOUNDS as SAFETY_BOUNDS
from actors.safety.parameters import DEFAULTS

INTRODUCTION: Final = """\

## `pumps.control_parameters`

Not settings of a run but of a pump: a JSON object in its row of the database. An unknown key, a wrong type, a value
outside its bounds or two that contradict each other: the row is skipped and the reason shown (`calejo alarms`, DAT-4).
Keys that begin with `x_` are nobody's business here. Levels in m above the station's datum.

`failsafe_strategy` (a column of `pumps`) says what the pump does in failsafe while the chain lives and feedback is good;
rules 6 to 11 and the station's maximum running hold on top of each ([0036](../decisions/0036-failsafe-strategies.md)):

| strategy | in failsafe |
|---|---|
| `DEFAULT_SETPOINT` | `default_setpoint_hz`; 0 where that is outside the pump's band |
| `LEVEL_ON_OFF` | runs from its start level down to its stop level, between them goes on as it was; without a GOOD level it is handed back; without levels that lie inside the protective ones the default setpoint, and an alarm says why |
| `HOLD_LAST` | what its plan or operator had it do last, never what a high level or a station duty did, for `failsafe_hold_s`, then the default setpoint |
| `HAND_BACK` | remote_enabled 0: the local controller decides |

When the chain itself is gone the gates show the default setpoint for the first three, 0 for `HAND_BACK`, and
remote_enabled 0 for all.
"""  # noqa: E501  (a row of a table is one line)

_ANY: Final[Mapping[str, str]] = {
    "failsafe_start_level_m": "LEVEL_ON_OFF starts here; together with the stop level; not given: the approved"
    " `level_max_m`. Below the emergency high level, not below `level_min_m`",
    "failsafe_stop_level_m": "LEVEL_ON_OFF stops here; not given: the approved `level_min_m`. Above the dry-run level",
    "failsafe_run_hz": "Speed of LEVEL_ON_OFF while it runs; not given: the default setpoint, and where that is 0 the"
    " pump's maximum",
    "failsafe_hold_s": "How long HOLD_LAST holds, whatever restarts meanwhile",
    "following_tolerance_hz": "A measured speed that is farther from the commanded one is off",
    "following_time_s": "Off for so long without coming nearer: NOT_FOLLOWING; within it for so long: no more",
}
_LEVEL: Final[Mapping[str, str]] = {
    "direction": "EMPTYING: a faster pump lowers the level; FILLING: it raises it",
    "gain_hz_per_m": "Proportional gain",
    "integral_time_s": "0: no integral part",
    "derivative_time_s": "0: no derivative part",
    "derivative_filter_s": "Filter of the derivative",
    "deadband_m": "A deviation that is smaller counts for nothing",
    "start_level_m": "The controller starts the pump here; both or neither",
    "stop_level_m": "The controller stops the pump here",
    "output_min_hz": "Lowest output; none: the pump's band",
    "output_max_hz": "Highest output; none: the pump's band",
    "tracking_time_s": "How fast the integral follows what was applied instead",
}
_POWER: Final[Mapping[str, str]] = {
    "gain_hz_per_kw": "Gain of the trim; none: rated speed / (6 x rated power)",
    "integral_time_s": "0: no integral part",
    "trim_limit_hz": "The trim corrects the affinity law by at most this",
    "deadband_kw": "A deviation that is smaller counts for nothing; none: 1 % of rated power",
    "output_min_hz": "Lowest output; none: the pump's band",
    "output_max_hz": "Highest output; none: the pump's band",
    "tracking_time_s": "How fast the integral follows what was applied instead",
}
_UNITS: Final = (
    ("_hz_per_kw", "Hz/kW"),
    ("_hz_per_m", "Hz/m"),
    ("_hz", "Hz"),
    ("_kw", "kW"),
    ("_m", "m"),
    ("_s", "s"),
)


def lines() -> Iterator[str]:
    """Yield the lines of this part of the page."""
    yield INTRODUCTION
    yield from _table("Every control type", DEFAULTS, _ANY, SAFETY_BOUNDS)
    yield from _table("`LEVEL_CONTROLLED`", LevelParameters(), _LEVEL, BOUNDS)
    yield from _table("`POWER_CONTROLLED`", PowerParameters(), _POWER, BOUNDS)


def _table(
    title: str, defaults: Any, meanings: Mapping[str, str], bounds: Mapping[str, tuple[float, float]]
) -> Iterator[str]:
    yield f"### {title}\n"
    yield "| key | unit | default | from | to | meaning |"
    yield "|---|---|---|---|---|---|"
    for key in type(defaults).__struct_fields__:
        low, high = (f"{bound:g}" for bound in bounds[key]) if key in bounds else ("–", "–")
        default = getattr(defaults, key)
        shown = "none" if default is None else f"`{default}`"
        unit = next((unit for ending, unit in _UNITS if key.endswith(ending)), "–")
        yield f"| `{key}` | {unit} | {shown} | {low} | {high} | {meanings[key]} |"
    yield ""
