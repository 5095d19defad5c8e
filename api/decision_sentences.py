"""Tells a remembered chain in plain sentences, top to bottom: plan, calculator, rules, wire, plant (SAF-4, BYD-1)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from actors.vocabulary import Reason

BECAUSE: Final[dict[Reason, str]] = {
    Reason.NOT_STARTED: "nothing was decided yet",
    Reason.PLAN: "the plan asks for it",
    Reason.MANUAL: "an operator asked for it",
    Reason.LIMITED: "a limit allowed no more and no less",
    Reason.RAMP: "it was on its way and may only change slowly",
    Reason.EMERGENCY_STOP: "an emergency stop held",
    Reason.OUT_OF_SERVICE: "the pump was out of service",
    Reason.LOCAL: "the station's own panel had control",
    Reason.DRY_RUN: "the wet well was too low to pump",
    Reason.HIGH_LEVEL: "the wet well was at its emergency high level",
    Reason.MAX_RUNNING: "no more pumps of the station may run at once",
    Reason.STAGGER: "another pump had just started",
    Reason.LEVEL_BAND: "the level was below the one at which a pump may start",
    Reason.PROTECTION_TIMER: "the motor is protected by its rest, run time and number of starts",
    Reason.ROTATED: "another pump ran in its place",
    Reason.FAILSAFE_PLAN_EXPIRED: "failsafe: no plan covered that time",
    Reason.FAILSAFE_OPTIMISER_STALE: "failsafe: the optimiser was silent",
    Reason.FAILSAFE_DATABASE: "failsafe: the database was away",
    Reason.FAILSAFE_INVALID_PROPOSAL: "failsafe: the proposal could not be believed",
    Reason.FAILSAFE_CHILD_QUARANTINED: "failsafe: a part of Calejo was in quarantine",
    Reason.FAILSAFE_OPERATOR: "failsafe: an operator ordered it",
    Reason.HANDED_BACK_FEEDBACK: "handed back to local control: feedback was missing or old",
    Reason.HANDED_BACK_LEVEL: "handed back to local control: the level could not be believed",
    Reason.HANDED_BACK_PLC_HEARTBEAT: "handed back to local control: the PLC was silent",
    Reason.HANDED_BACK_STRATEGY: "handed back to local control: that is the pump's failsafe",
    Reason.RECOVERING: "data had to be good for a while first",
    Reason.HANDED_BACK_STORAGE: "handed back to local control: the disk would not keep what a start must leave behind",
    Reason.NOT_COMMISSIONED: "the pump has no approved limits",
    Reason.LEASE_EXPIRED: "nothing fresh had come within the setpoint's lease",
    Reason.EPOCH_REFUSED: "it came from a writer that had been replaced",
    Reason.FINAL_CHECK: "the final check refused a value of our own",
    Reason.HELD_STOPPED: "it was held stopped until an operator says otherwise",
}
assert set(BECAUSE) == set(Reason), "every reason has its words"

_PLANNED: Final = {
    "suggested_speed_hz": "Hz",
    "target_level_m": "m",
    "target_power_kw": "kW",
    "target_flow_m3h": "m3/h",
}
_MEASURED: Final = {
    "actual_speed_hz": "Hz",
    "wet_well_level_m": "m of level",
    "actual_power_kw": "kW",
    "actual_flow_m3h": "m3/h",
}


def sentences(view: dict[str, Any]) -> list[str]:
    """Return the lines for an operator; `view` is what `api.decision_views` made, whose texts are all of our own."""
    decision = view["decision"]
    claim = "remote enabled" if decision["remote_enabled"] else "nothing claimed (local control)"
    pump = f"Pump {view['pump_id']} of station {view['station_id']} at {_time(view['at'])}"
    lines = [f"{pump}: {_hz(decision['setpoint_hz'])}, {claim}, because {because(decision['reason'])}."]
    if view["silent"]:
        until = _time(view["next_decision_at"]) if view["next_decision_at"] else "now"
        lines.append(
            f"Careful: the last decision recorded is of {_time(view['decided_at'])}, the next of {until}."
            " In between nothing was decided or nothing could be recorded; the wires say which."
        )
    lines += [_plan(view), *_calculator(view["proposal"]), *_rules(view["rules"])]
    lines.append(_safety(view))
    if decision.get("not_following") is True:
        lines.append("The pump was NOT_FOLLOWING: for some time it had not turned as it was told.")
    lines += [_stop(stop) for stop in view["stops"]]
    lines += [line for wire in view["wire"] for line in _wire(wire, view)]
    if not view["wire"]:
        lines.append("Wire: no endpoint has recorded what it showed then.")
    lines.append(_plant(view["plant"]))
    return lines


def because(reason: str) -> str:
    """Return a reason in words; one that this version does not know as it stands."""
    return BECAUSE[Reason[reason]] if reason in Reason.__members__ else reason


def _plan(view: dict[str, Any]) -> str:
    plan, proposal = view["plan"], view["proposal"]
    if plan is None:
        if proposal["plan_id"] is not None:
            return f"Plan: row {proposal['plan_id']}, whose values were not recorded by the version that ran then."
        return "Plan: none was used."
    figures = [f"{_number(plan[key])} {unit}" for key, unit in _PLANNED.items() if plan.get(key) is not None]
    return (
        f"Plan: row {plan.get('plan_id')}, version {plan.get('plan_version')},"
        f" from {_time(plan.get('interval_start'))} to {_time(plan.get('interval_end'))}:"
        f" {', '.join(figures) or 'no values'}."
    )


def _calculator(proposal: dict[str, Any]) -> list[str]:
    name = proposal["calculator"] or "not recorded"
    wish = proposal["wish_hz"]
    asked = "asked for no speed" if wish is None else f"asked for {_hz(wish)}"
    note = f" ({proposal['note']})" if proposal["note"] else ""
    lines = [f"Calculator: {name} {asked} in mode {proposal['mode']}{note}."]
    for point, value in proposal["inputs"].items():
        lines.append(f"  from {point} = {_judged(value)}")
    return lines


def _judged(value: dict[str, Any]) -> str:
    age = value.get("age_s")
    old = f", {age:.1f} s old" if isinstance(age, int | float) else ""
    why = f" ({value['why']})" if value.get("why") else ""
    return f"{_number(value.get('value'))}, {value.get('quality')}{old}{why}"


def _rules(rules: list[dict[str, Any]]) -> list[str]:
    if not rules:
        return ["Rules: none changed it."]
    return [
        f"Rule {step['rule']}: {_hz(step['before_hz'])} -> {_hz(step['after_hz'])}, {step['why']}"
        for step in rules
    ]


def _safety(view: dict[str, Any]) -> str:
    decision, limits = view["decision"], view["limits"]
    known = "no limits in force"
    if decision["limits_version"] is not None:
        known = f"limits version {decision['limits_version']}"
    if limits is not None:
        known += (
            f" ({limits['hard_min_speed_hz']:g} to {limits['hard_max_speed_hz']:g} Hz, set by {limits['set_by']},"
            f" approved by {limits.get('approved_by')})"
        )
    return (
        f"Safety decided {_hz(decision['setpoint_hz'])} at {_time(view['decided_at'])} with {known};"
        f" epoch {decision['epoch']}, sequence {decision['sequence']}."
    )


def _stop(stop: dict[str, Any]) -> str:
    what = "Emergency stop" if stop["kind"] == "emergency_stop" else "Out of service"
    where = stop["scope"].lower() + (f" {stop['scope_id']}" if stop["scope_id"] else "")
    return f"{what} of {where} by {stop['set_by']} since {_time(stop['set_at'])}: {stop['reason']}"


def _wire(wire: dict[str, Any], view: dict[str, Any]) -> list[str]:
    name, took, shown = wire["endpoint"], wire["took"], wire["shown"]
    if took is None:
        lines = [f"Wire {name}: did not take this decision, or a later one overtook it."]
    elif datetime.fromisoformat(took["since"]) > datetime.fromisoformat(view["at"]):
        lines = [f"Wire {name}: had not taken it yet; it did at {_time(took['since'])}."]
    else:
        later = _after(view["decided_at"], took["since"])
        lines = [
            f"Wire {name}: took it at {_time(took['since'])}, {later} after it was decided, and {_picture(took)}."
        ]
    if took is not None:
        lines.append(f"  the controller {_echo(took)}")
    if shown is not None and (took is None or shown["record_id"] != took["record_id"]):
        lines.append(f"  at that time, since {_time(shown['since'])}, it {_picture(shown)}")
        if took is None:
            lines.append(f"  the controller {_echo(shown)}")
    return lines


def _picture(shown: dict[str, Any]) -> str:
    enabled = "enabled" if shown["remote_enabled"] else "not enabled"
    inhibited = ", starts forbidden" if shown.get("run_inhibit") else ""
    return (
        f"showed {_hz(shown['setpoint_hz'])}, {enabled}{inhibited}, {shown.get('quality')}:"
        f" {because(shown['reason'])}"
    )


def _echo(shown: dict[str, Any]) -> str:
    told = []
    if shown.get("echo_at"):
        told.append(f"echoed {_hz(shown['echo_hz'])} at {_time(shown['echo_at'])}")
    if shown.get("measured_at"):
        told.append(f"measured {_hz(shown['measured_hz'])} at {_time(shown['measured_at'])}")
    return " and ".join(told) or "had written nothing back"


def _plant(plant: dict[str, Any] | None) -> str:
    if plant is None:
        return "Plant: no feedback was recorded until then."
    figures = [f"{plant[key]:g} {unit}" for key, unit in _MEASURED.items() if plant.get(key) is not None]
    if plant.get("running") is not None:
        figures.append("running" if plant["running"] else "standing still")
    if plant.get("local_override"):
        figures.append("under local control")
    told = ", ".join(figures) or "no values"
    return f"Plant at {_time(plant['measured_at'])} ({plant['source']}, {plant['quality']}): {told}."


def _time(moment: Any) -> str:
    """Return a moment as people read it: UTC to the millisecond, or to the second where that is all there is."""
    try:
        told = datetime.fromisoformat(str(moment)).astimezone(UTC).isoformat(timespec="milliseconds")
    except ValueError:
        return str(moment)  # whatever stood in what was recorded
    return told.removesuffix("+00:00").removesuffix(".000") + "Z"


def _after(earlier: str, later: str) -> str:
    seconds = (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
    return f"{seconds * 1000:.0f} ms" if abs(seconds) < 1.0 else f"{seconds:.1f} s"


def _hz(value: Any) -> str:
    return f"{value:.2f} Hz" if isinstance(value, int | float) else f"{value} Hz"


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else ("nothing" if value is None else str(value))
