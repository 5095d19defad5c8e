"""What is abnormal about a pump, a station, a site, and how much it matters; pure (HMI-1).

A display in the manner of ISA-101 is grey while all is well: what this module does not name gets no colour.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum, unique
from typing import Final

import msgspec

from actors.feedback import FAULT, HIGH_FLOAT, RUNNING, SPEED
from actors.messages import AlarmView, JudgedValue, PlanStatus
from actors.vocabulary import Mode, Quality, Reason, Rule, SafetyLimits, Severity
from api.dashboard.alarms import part_of
from api.views import PublishedView, PumpView


@unique
class Rank(IntEnum):
    """How much a finding matters; a higher one is shown first. NOTED: not as usual, and meant by somebody."""

    NORMAL = 0
    NOTED = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not normal: `what` is a key of the texts (`finding.*`), `detail` comes from the tree.

    `of`: whose words `detail` is in, a prefix of the texts ('condition' of an alarm, else 'reason'). `part`: which part
    of the object it is about, by its own name.
    """

    rank: Rank
    what: str
    detail: str = ""
    of: str = "reason"
    part: str = ""


_OF_REASON: Final[Mapping[str, tuple[Rank, str]]] = {
    reason.name: found
    for reason, found in {
        Reason.DRY_RUN: (Rank.HIGH, "dry_run"),
        Reason.HIGH_LEVEL: (Rank.CRITICAL, "high_level"),
        Reason.NOT_STARTED: (Rank.MEDIUM, "not_started"),
        Reason.RECOVERING: (Rank.MEDIUM, "recovering"),
        Reason.PROTECTION_TIMER: (Rank.NOTED, "protection_timer"),
        Reason.HELD_STOPPED: (Rank.MEDIUM, "held_stopped"),
        Reason.LEASE_EXPIRED: (Rank.HIGH, "lease_expired"),
        Reason.EPOCH_REFUSED: (Rank.HIGH, "epoch_refused"),
        Reason.FINAL_CHECK: (Rank.HIGH, "final_check"),
        Reason.HANDED_BACK_FEEDBACK: (Rank.HIGH, "handed_back"),
        Reason.HANDED_BACK_LEVEL: (Rank.HIGH, "handed_back"),
        Reason.HANDED_BACK_PLC_HEARTBEAT: (Rank.HIGH, "handed_back"),
        Reason.HANDED_BACK_STRATEGY: (Rank.HIGH, "handed_back"),
        Reason.HANDED_BACK_STORAGE: (Rank.HIGH, "handed_back"),
        Reason.EXERCISE: (Rank.NOTED, "exercise"),
        Reason.FLUSH: (Rank.NOTED, "flush"),
        Reason.CLEAN_OUT: (Rank.NOTED, "clean_out"),
    }.items()
}
_OF_MODE: Final[Mapping[str, str]] = {Mode.MANUAL.name: "manual", Mode.LOCAL.name: "local"}
# The level is the station's, and said there once.
_WATCHED: Final = {SPEED: "speed", RUNNING: "running"}
_GATE_REASONS: Final = frozenset(
    {Reason.LEASE_EXPIRED.name, Reason.EPOCH_REFUSED.name, Reason.NOT_STARTED.name, Reason.FINAL_CHECK.name}
)
_OF_SEVERITY: Final[Mapping[Severity, Rank]] = {
    Severity.CRITICAL: Rank.CRITICAL,
    Severity.HIGH: Rank.HIGH,
    Severity.MEDIUM: Rank.MEDIUM,
    Severity.LOW: Rank.NOTED,
}
# What an alarm is called where a finding of another name says the same.
_SAME: Final[Mapping[str, str]] = {
    "plan_coverage": "no_plan",
    "feedback_stale": "bad_value",
    "pump_held_stopped": "held_stopped",
    "endpoint_silent": "endpoint_dead",
    "lease_lapsed": "lease_expired",
}


def pump_findings(
    view: PumpView,
    *,
    stopped: bool,
    endpoints: int,
    has_high_float: bool = False,
    alarms: Iterable[AlarmView] = (),
) -> tuple[Finding, ...]:
    """Return what is abnormal about a pump, the worst first.

    `stopped`: an emergency stop covers it. `endpoints`: how many should show it. `has_high_float`: its station has one.
    `alarms`: those of it that stand.
    """
    found: list[Finding] = []
    # The wire's own word counts as much: the folder of stops may be unreadable.
    if stopped or _shows_stop(view):
        found.append(Finding(rank=Rank.CRITICAL, what="emergency_stop"))
    if view.out_of_service:
        found.append(Finding(rank=Rank.NOTED, what="out_of_service"))
    if not view.commissioned:
        found.append(Finding(rank=Rank.MEDIUM, what="not_commissioned"))
    if endpoints and not view.published:
        found.append(Finding(rank=Rank.CRITICAL, what="not_published"))
    silent = [text for text in view.unavailable if text.startswith(("safety:", "latches:"))]
    found += [Finding(rank=Rank.HIGH, what="no_answer", detail=text) for text in silent]
    found += _of_setpoint(view)
    found += _of_wires(view.published, known=view.setpoint is not None)
    if view.waiting_for:
        found.append(Finding(rank=Rank.MEDIUM, what="waiting", detail=view.waiting_for))
    found += _of_motor(view, has_high_float=has_high_float)
    bad: dict[str, list[str]] = {}
    for name, word in _WATCHED.items():
        judged = view.feedback.get(name)
        if judged is not None and judged.quality != Quality.GOOD.name:
            bad.setdefault(judged.why or judged.quality, []).append(word)
    found += [
        Finding(rank=Rank.MEDIUM, what="bad_value", detail=f"{', '.join(words)}: {why}")
        for why, words in bad.items()
    ]
    return worst_first([*found, *of_alarms(alarms, found)])


def of_alarms(alarms: Iterable[AlarmView], said: Iterable[Finding]) -> list[Finding]:
    """Return what alarms that stand say beyond what is `said` of the same object, at the same rank or above."""
    known = {each.what: each.rank for each in sorted(said, key=lambda each: each.rank)}
    found = []
    for alarm in alarms:
        rank = _OF_SEVERITY[alarm.severity]
        if known.get(_SAME.get(alarm.condition, alarm.condition), Rank.NORMAL) < rank:
            part = part_of(alarm.subject)
            found.append(Finding(rank=rank, what="alarm", detail=alarm.condition, of="condition", part=part))
    return found


def _shows_stop(view: PumpView) -> bool:
    stop = Reason.EMERGENCY_STOP.name
    decided = view.setpoint is not None and view.setpoint.reason == stop
    return decided or any(shown.reason == stop for shown in view.published)


def _of_motor(view: PumpView, *, has_high_float: bool) -> Iterable[Finding]:
    """Return what the station itself reports: a value counts while it is GOOD, a float where there is one."""
    fault, high = (view.feedback.get(name) for name in (FAULT, HIGH_FLOAT))
    if fault is not None and fault.quality == Quality.GOOD.name and fault.value:
        yield Finding(rank=Rank.HIGH, what="fault", detail=f"{fault.value:g}")
    if has_high_float and high is not None and high.quality == Quality.GOOD.name and high.value:
        yield Finding(rank=Rank.CRITICAL, what="high_float")


def _of_setpoint(view: PumpView) -> Iterable[Finding]:
    setpoint = view.setpoint
    if setpoint is None:
        return
    if setpoint.failsafe_since is not None:
        yield Finding(rank=Rank.HIGH, what="failsafe", detail=setpoint.failsafe_reason or "")
    elif (known := _OF_REASON.get(setpoint.reason)) is not None:
        yield Finding(rank=known[0], what=known[1], detail=setpoint.reason)
    if setpoint.not_following_since is not None:
        yield Finding(rank=Rank.HIGH, what="not_following")
    if (what := _OF_MODE.get(setpoint.mode)) is not None:
        yield Finding(rank=Rank.NOTED, what=what)
    moved = [step.why for step in setpoint.trail if step.rule == Rule.SUBSTITUTION.value]
    if moved:
        # The pump that stands cannot do its duty; the one that runs for it is well.
        rank = Rank.NOTED if setpoint.setpoint_hz > 0.0 else Rank.MEDIUM
        yield Finding(rank=rank, what="duty_substituted", detail=moved[-1])


def _of_wires(published: Iterable[PublishedView], *, known: bool) -> Iterable[Finding]:
    """Return what the gates show that safety did not decide: their own last check speaks (SAF-8, SAF-9)."""
    for shown in published:
        reason = shown.reason
        if reason in _GATE_REASONS or (not known and reason in _OF_REASON):
            rank, what = _OF_REASON[reason]
            yield Finding(rank=rank, what=what, detail=_short(shown.endpoint))


def station_findings(
    level: JudgedValue | None,
    plan: PlanStatus | None,
    silent: Iterable[str],
    limits: Iterable[SafetyLimits] = (),
    alarms: Iterable[AlarmView] = (),
) -> tuple[Finding, ...]:
    """Return what is abnormal about a station as a whole, the worst first.

    `limits`: of its pumps. `alarms`: those of it that stand; its pumps' are said at those.
    """
    found = [Finding(rank=Rank.HIGH, what="no_answer", detail=text) for text in silent]
    if level is not None and level.quality is not Quality.GOOD:
        found.append(Finding(rank=Rank.HIGH, what="bad_level", detail=level.why))
    elif level is not None and level.value is not None:
        found += _beyond(level.value, limits)
    if plan is not None:
        missing = sorted(pump_id for pump_id, covered in plan.covered.items() if not covered)
        if missing:
            found.append(Finding(rank=Rank.MEDIUM, what="no_plan", detail=", ".join(missing)))
    return worst_first([*found, *of_alarms(alarms, found)])


def _beyond(level_m: float, limits: Iterable[SafetyLimits]) -> Iterable[Finding]:
    """Return the alarm limits that a level is beyond, whatever safety has made of it yet."""
    for each in limits:
        if each.level_emergency_high_m is not None and level_m >= each.level_emergency_high_m:
            yield Finding(rank=Rank.CRITICAL, what="high_level")
        if each.level_dry_run_m is not None and level_m <= each.level_dry_run_m:
            yield Finding(rank=Rank.HIGH, what="dry_level")


def endpoint_finding(name: str, bound: str | None, why: str) -> Finding | None:
    """Return what is abnormal about an endpoint; `bound` None: it does not answer, '': it has no port."""
    if bound is None:
        return Finding(rank=Rank.HIGH, what="endpoint_dead", detail=f"{_short(name)}: {why}")
    if not bound:
        return Finding(rank=Rank.HIGH, what="endpoint_unbound", detail=_short(name))
    return None


def worst_first(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings without repetition, the worst first, else as they came."""
    return tuple(sorted(dict.fromkeys(found), key=lambda each: -each.rank))


def worst_of(*groups: Iterable[Finding]) -> Rank:
    """Return the worst rank of all."""
    return max((each.rank for group in groups for each in group), default=Rank.NORMAL)


def _short(address: str) -> str:
    return address.rpartition("/")[2]
