"""What is abnormal about a pump, a station, a site, and how much it matters; pure (HMI-1).

A display in the manner of ISA-101 is grey while all is well: what this module does not name gets no colour.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum, unique
from typing import Final

import msgspec

from actors.feedback import RUNNING, SPEED
from actors.messages import JudgedValue, PlanStatus
from actors.vocabulary import Mode, Quality, Reason, SafetyLimits
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
    """One thing that is not normal: `what` is a key of the texts (`finding.*`), `detail` comes from the tree."""

    rank: Rank
    what: str
    detail: str = ""


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


def pump_findings(view: PumpView, *, stopped: bool, endpoints: int) -> tuple[Finding, ...]:
    """Return what is abnormal about a pump, the worst first.

    `stopped`: an emergency stop covers it. `endpoints`: how many should show it.
    """
    found: list[Finding] = []
    if stopped:
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
    bad: dict[str, list[str]] = {}
    for name, word in _WATCHED.items():
        judged = view.feedback.get(name)
        if judged is not None and judged.quality != Quality.GOOD.name:
            bad.setdefault(judged.why or judged.quality, []).append(word)
    found += [
        Finding(rank=Rank.MEDIUM, what="bad_value", detail=f"{', '.join(words)}: {why}")
        for why, words in bad.items()
    ]
    return worst_first(found)


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
) -> tuple[Finding, ...]:
    """Return what is abnormal about a station as a whole, the worst first; `limits`: of its pumps."""
    found = [Finding(rank=Rank.HIGH, what="no_answer", detail=text) for text in silent]
    if level is not None and level.quality is not Quality.GOOD:
        found.append(Finding(rank=Rank.HIGH, what="bad_level", detail=level.why))
    elif level is not None and level.value is not None:
        found += _beyond(level.value, limits)
    if plan is not None:
        missing = sorted(pump_id for pump_id, covered in plan.covered.items() if not covered)
        if missing:
            found.append(Finding(rank=Rank.MEDIUM, what="no_plan", detail=", ".join(missing)))
    return worst_first(found)


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
