"""Start here: what must hold of every decision of the safety kernel, each once, in words (its docstring) and in code.

Everything that searches the kernel uses this file: the exhaustive search (`test_kernel_exhaustive.py`), the stories of
arbitrary numbers (`tests/unit/actors/safety/test_kernel.py`) and the rules taken out in turn (`test_rules_removed.py`).
What must hold at the gates, the controllers and the plant stands in `tests/simulation/invariants.py` and in
`fencing.pml`.

An invariant sees one round: what the kernel was given, what it remembered, what it answered. It computes what it needs
from the inputs anew, without the kernel's own functions wherever a figure is at stake, and returns what is wrong ('' if
nothing is). Each holds in any state whatever, also in one that no story leads to: so one round is enough to check it,
and a search over states and inputs proves it for stories of any length.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, TypeAlias, assert_never

from actors.messages import JudgedValue, Proposal
from actors.safety.limits import problems
from actors.safety.types import Decision, KernelState, PumpInput, PumpState, RoundInput, StrategyMemory
from actors.vocabulary import (
    Alternation,
    FailsafeStrategy,
    HighLevelResponse,
    Instant,
    Mode,
    PumpConfig,
    Quality,
    Reason,
    Rule,
    SafetyLimits,
)

STEP_HZ: Final = 0.01 + 1e-9
"""The resolution of the wire: what is closer together than this is the same value."""

ABSURD_HZ: Final = 100.0
HOUR_S: Final = 3600.0
MOVED: Final = frozenset({Rule.ROTATION, Rule.SUBSTITUTION, Rule.ALTERNATION})
"""Under which a pump does another's duty."""
TASK_REASONS: Final[Mapping[Rule, Reason]] = {
    Rule.ASSIST: Reason.ASSIST,
    Rule.FLUSH: Reason.FLUSH,
    Rule.EXERCISE: Reason.EXERCISE,
    Rule.CLEAN_OUT: Reason.CLEAN_OUT,
}
SETTLING_S: Final = 10.0
"""So long after its start the kernel moves and begins nothing: pumps may not have spoken yet (SAF-10)."""
FORCED: Final = frozenset({Reason.EMERGENCY_STOP, Reason.OUT_OF_SERVICE, Reason.DRY_RUN})
PLAN_REASONS: Final = frozenset(
    {Reason.FAILSAFE_PLAN_EXPIRED, Reason.FAILSAFE_OPTIMISER_STALE, Reason.FAILSAFE_DATABASE}
)
ESSENTIAL: Final = ("running", "actual_speed_hz", "local_override")


@dataclass(frozen=True, slots=True)
class Round:
    """One call of `decide_round`: its arguments and its answer."""

    given: RoundInput
    before: KernelState
    decisions: dict[str, Decision]
    after: KernelState
    now: Instant


@dataclass(frozen=True, slots=True)
class One:
    """One pump of a round. `limits` None: not commissioned, also where its limits contradict each other.

    `previous_hz`: what the pump was told last, or turns at where nothing was told (its first round, or after a lapse of
    the lease); the rate and the word "start" count from there. `elapsed_s`: since its last decision, at most a tick.
    """

    round: Round
    entry: PumpInput
    decision: Decision
    state: PumpState
    limits: SafetyLimits | None
    previous_hz: float
    elapsed_s: float
    lapsed: bool

    @property
    def config(self) -> PumpConfig:
        return self.entry.config

    @property
    def proposal(self) -> Proposal:
        return self.decision.proposal

    @property
    def starts(self) -> bool:
        """Whether this decision starts the pump."""
        return self.decision.remote_enabled and self.previous_hz <= 0.0 < self.decision.setpoint_hz

    @property
    def answers_high_level(self) -> bool:
        """Whether rule 4 chose the pump: then it says so, in its trail or as its reason."""
        return self.decision.reason is Reason.HIGH_LEVEL or any(
            step.rule is Rule.HIGH_LEVEL for step in self.decision.trail
        )

    def good(self, point: str) -> float | None:
        return good(self.entry.feedback.get(point))

    def level_m(self) -> float | None:
        """The level that rules 3, 4 and 8 may use: GOOD and no older than the station's age."""
        return protective_level_m(self.round.given, self.entry)

    def softly_hz(self, base_hz: float) -> float:
        """Where a soft stop brings it in this tick from `base_hz`; -inf without one, or where power orders the stop."""
        soft = self.round.given.station.soft_stop_hz_per_s
        if soft is None or not math.isfinite(soft) or soft <= 0.0 or self.decision.conditions.high_level:
            return -math.inf
        stops = self.round.after.pumps[self.decision.pump_id].target_hz <= 0.0
        return base_hz - soft * self.elapsed_s if stops and not self.cut_by_power() else -math.inf

    def power_cap_hz(self) -> float:
        """The speed that the motor's power allows, the minimum where it cannot be judged; inf: no bound."""
        if self.limits is None or self.limits.max_power_kw is None:
            return math.inf
        point = _operating_point(self, "actual_power_kw", self.config.rated_power_kw)
        if point is None:
            return self.limits.hard_min_speed_hz
        return point[0] * math.pow(self.limits.max_power_kw / point[1], 1.0 / 3.0)

    def flow_cap_hz(self) -> float:
        """The same for the flow; inf: no bound, or a high level, where the well matters more."""
        if self.limits is None or self.limits.max_flow_m3h is None:
            return math.inf
        if self.answers_high_level or self.decision.conditions.high_level:
            return math.inf
        point = _operating_point(self, "actual_flow_m3h", self.config.rated_flow_m3h)
        return (
            self.limits.hard_min_speed_hz if point is None else point[0] * self.limits.max_flow_m3h / point[1]
        )

    def least_flow_hz(self) -> float:
        """The speed that moves the minimum flow by the rated point (rule 7), at most the maximum; 0: none is set."""
        config, limits = self.config, self.limits
        if limits is None or limits.min_flow_m3h is None:
            return 0.0
        if config.rated_speed_hz is None or config.rated_flow_m3h is None:
            return 0.0
        floor_hz = config.rated_speed_hz * limits.min_flow_m3h / config.rated_flow_m3h
        return min(floor_hz, limits.hard_max_speed_hz)

    def kept_running_hz(self) -> float:
        """The minimum, while rule 6 lets no wish stop the pump; else 0."""
        turned = motor_of(self)
        if self.limits is None or self.limits.min_run_s is None or turned is None or turned.run_s is None:
            return 0.0
        young = self.previous_hz > 0.0 and turned.run_s < self.limits.min_run_s
        return self.limits.hard_min_speed_hz if young else 0.0

    def held_at_hz(self) -> float:
        """What rule 6 may keep it at: the minimum, or what rule 7 makes of it for the minimum flow; else 0."""
        kept_hz = self.kept_running_hz()
        return max(kept_hz, self.least_flow_hz()) if kept_hz > 0.0 else 0.0

    def cut_by_power(self) -> bool:
        """Whether a bound on power stops it, which no soft stop delays and no minimum run outranks."""
        by = {Rule.POWER_CAP, Rule.STATION_POWER}
        return any(step.rule in by and step.after_hz == 0.0 for step in self.decision.trail)

    def at_most_hz(self, target_hz: float) -> float:
        """What may be shown of a pump that must come down to `target_hz` (rule 10): no more than one tick's way, by the
        rate, or softly on its way to 0; above what power and flow allow nothing is soft.
        """
        assert self.limits is not None
        low, high = self.limits.hard_min_speed_hz, self.limits.hard_max_speed_hz
        if self.previous_hz <= 0.0:
            return target_hz
        base_hz = min(max(self.previous_hz, low), high)
        lower_hz = base_hz - self.limits.max_rate_hz_per_s * self.elapsed_s
        if target_hz > 0.0:
            return max(target_hz, lower_hz)
        bounded_hz = max(low, lower_hz, min(self.softly_hz(base_hz), self.power_cap_hz(), self.flow_cap_hz()))
        return 0.0 if base_hz <= low else bounded_hz


# --------------------------------------------------------------------------- of every pump


def fit_for_the_wire(one: One) -> str:
    """SAF-2.9, SAF-2.11, DAT-5: setpoint and failsafe image are finite, 0 or inside the pump's own band, in steps of
    0.01 Hz; without valid limits they are 0.
    """
    for name, value_hz in (
        ("setpoint", one.decision.setpoint_hz),
        ("image", one.decision.failsafe_image_hz),
    ):
        if not math.isfinite(value_hz):
            return f"{name} is no number"
        if one.limits is None:
            if value_hz != 0.0:
                return f"{name} {value_hz:g} Hz without limits"
            continue
        inside = one.limits.hard_min_speed_hz <= value_hz <= one.limits.hard_max_speed_hz
        if value_hz != 0.0 and not inside:
            return f"{name} {value_hz:g} Hz is outside the band"
        if abs(value_hz * 100.0 - round(value_hz * 100.0)) > 1e-6:
            return f"{name} {value_hz!r} Hz is no step of 0.01 Hz"
    return ""


def nothing_claimed_without_feedback(one: One) -> str:
    """CTL-7, DAT-5: remote_enabled 1 needs valid limits, good running, speed and local_override, a heartbeat that is
    not lost, and a panel that is not in local.
    """
    if not one.decision.remote_enabled:
        return ""
    if one.limits is None:
        return "claimed without limits"
    for point in ESSENTIAL:
        if one.good(point) is None:
            return f"claimed without a good {point}"
    heartbeat = one.entry.feedback.get("plc_heartbeat")
    if heartbeat is not None and heartbeat.age_s is not None and good(heartbeat) is None:
        return "claimed with a lost PLC heartbeat"
    return "claimed at the panel's pump" if one.good("local_override") == 1.0 else ""


def a_lost_claim_waits(one: One) -> str:
    """CTL-7, WDG-2: after a loss nothing is claimed until all has been good for `failsafe_recovery_hold`."""
    was = one.state.hand_back
    if not one.decision.remote_enabled or not was.claimed or was.since is None:
        return ""
    good_s = 0.0 if was.good_since is None else one.round.now.seconds_since(was.good_since)
    return "" if good_s >= one.round.given.control.failsafe_recovery_hold_s else f"claimed after {good_s:g} s"


def a_lost_claim_is_remembered(one: One) -> str:
    """CTL-7: what has arrived and is bad loses a claim, and the moment is kept: its hold has to be over first."""
    was, kept = one.state.hand_back, one.round.after.pumps[one.decision.pump_id].hand_back
    points = [one.entry.feedback.get(point) for point in (*ESSENTIAL, "plc_heartbeat")]
    bad = any(point is not None and point.age_s is not None and good(point) is None for point in points)
    if not bad or not was.claimed:
        return ""
    return "" if kept.claimed and kept.since is not None else f"bad, and {kept} is remembered"


def the_claim_is_told(one: One) -> str:
    """CTL-7, WDG-3: quality BAD exactly where nothing is claimed, GOOD exactly where it is and no failsafe holds; what
    is not claimed follows the measured speed, what is claimed follows nothing.
    """
    decision = one.decision
    wanted = Quality.GOOD if decision.failsafe.reason is None else Quality.UNCERTAIN
    if decision.quality is not (wanted if decision.remote_enabled else Quality.BAD):
        return f"quality {decision.quality.name}"
    if (decision.tracking_hz is None) is not decision.remote_enabled:
        return f"tracks {decision.tracking_hz} with remote_enabled {decision.remote_enabled}"
    measured_hz = measured_speed_hz(one.entry, one.limits)
    known = one.good("running") == 0.0 or (
        one.good("running") == 1.0 and one.good("actual_speed_hz") is not None
    )
    if known and not decision.remote_enabled and decision.tracking_hz != measured_hz:
        return f"tracks {decision.tracking_hz} while the pump turns at {measured_hz}"
    return ""


def an_emergency_stop_stops(one: One) -> str:
    """SAF-2.1, EST-6: run_inhibit; at most min(last applied, emergency setpoint), 0 where that is no speed of the
    band, where the pump was not running or is not ours; an image of 0; and the reason says so.
    """
    decision = one.decision
    if decision.run_inhibit is not (one.entry.stopped or one.entry.out_of_service):
        return f"run_inhibit {decision.run_inhibit}"
    if not one.entry.stopped:
        return ""
    if decision.reason is not Reason.EMERGENCY_STOP:
        return f"a stop shows as {decision.reason.name}"
    if decision.failsafe_image_hz != 0.0:
        return f"image {decision.failsafe_image_hz:g} Hz under a stop"
    emergency_hz = one.config.emergency_stop_setpoint_hz
    runs = decision.remote_enabled and one.good("running") == 1.0 and one.limits is not None
    ceiling_hz = 0.0
    if runs and one.limits is not None and math.isfinite(emergency_hz):
        inside = one.limits.hard_min_speed_hz <= emergency_hz <= one.limits.hard_max_speed_hz
        ceiling_hz = min(one.previous_hz, emergency_hz) if inside else 0.0
    if decision.setpoint_hz > ceiling_hz + (STEP_HZ if ceiling_hz > 0.0 else 0.0):
        return f"{decision.setpoint_hz:g} Hz under a stop, at most {ceiling_hz:g}"
    return ""


def out_of_service_is_0(one: One) -> str:
    """SAF-2.2, CTL-7: out of service is 0, as setpoint and as image, and its mode says so."""
    if not one.entry.out_of_service:
        return ""
    decision = one.decision
    if decision.setpoint_hz != 0.0 or decision.failsafe_image_hz != 0.0:
        return f"{decision.setpoint_hz:g} Hz, image {decision.failsafe_image_hz:g} Hz"
    return "" if decision.mode is Mode.OUT_OF_SERVICE else f"mode {decision.mode.name}"


def the_panel_is_told(one: One) -> str:
    """SAF-2.2, CTL-7: at the panel's pump mode and reason say LOCAL, unless a stop or OUT_OF_SERVICE says more."""
    if one.good("local_override") != 1.0 or one.entry.out_of_service:
        return ""
    if one.decision.mode is not Mode.LOCAL:
        return f"mode {one.decision.mode.name} at the panel"
    if one.entry.stopped:
        return ""
    return "" if one.decision.reason is Reason.LOCAL else f"reason {one.decision.reason.name} at the panel"


def dry_run_is_0(one: One) -> str:
    """SAF-2.3: at a good level at or below dry run, and from there to above its reset, 0 as setpoint and as image,
    unless a declared float contradicts, or has contradicted and the well has not left dry since, or the station lets a
    high level outrank it. A clean-out (`_snores`) lifts it from the setpoint of its one pump, never from an image.
    """
    contradicted = one.round.given.station.has_high_float or one.round.before.contradicted
    if not one.round.given.station.dry_run_outranks_high_level and one.decision.conditions.high_level:
        return ""
    if one.limits is None or one.limits.level_dry_run_m is None or contradicted:
        return ""
    level_m = one.level_m()
    reset_m = one.limits.level_dry_run_reset_m
    reset_m = one.limits.level_dry_run_m if reset_m is None else reset_m
    dry = level_m is not None and level_m <= one.limits.level_dry_run_m
    kept = one.state.dry_run is True and (level_m is None or level_m <= reset_m)
    if not dry and not kept:
        return ""
    if _snores(one):
        image_hz = one.decision.failsafe_image_hz
        return f"image {image_hz:g} Hz while it cleans out" if image_hz != 0.0 else ""
    if not one.decision.conditions.dry_run:
        return "dry and not told"
    if one.decision.setpoint_hz != 0.0 or one.decision.failsafe_image_hz != 0.0:
        return f"{one.decision.setpoint_hz:g} Hz, image {one.decision.failsafe_image_hz:g} Hz when dry"
    return ""


def failsafe_is_the_strategys(one: One) -> str:
    """SAF-2.5, SAF-9, WDG-3: in failsafe, and in every image, the wish counts for nothing: no more than the strategy
    says, in an image no more than the default setpoint (0 where that is outside the band, or the strategy hands back),
    or the minimum flow, reached by the ramp, but for rules above it and a pump that has not run long enough.
    """
    if one.limits is None:
        return ""
    high = one.limits.hard_max_speed_hz
    handed_back = one.config.failsafe_strategy is FailsafeStrategy.HAND_BACK
    default_hz = default_setpoint_hz(one)
    default_hz = max(default_hz, one.least_flow_hz()) if default_hz > 0.0 else 0.0
    image_hz = high if one.decision.conditions.high_level else 0.0 if handed_back else default_hz
    if one.decision.failsafe_image_hz > image_hz + STEP_HZ:
        return f"image {one.decision.failsafe_image_hz:g} Hz, failsafe {image_hz:g} Hz"
    if not one.decision.remote_enabled or one.decision.failsafe.reason is None:
        return ""
    if handed_back:
        return "in failsafe, its strategy hands back, and it is claimed"
    if one.answers_high_level or one.entry.stopped:
        return ""
    wanted_hz = strategy_hz(one)
    wanted_hz = max(wanted_hz, one.least_flow_hz()) if wanted_hz > 0.0 else 0.0
    # A stop by its place or by power may be on its soft way to 0 from above.
    most_hz = max(one.at_most_hz(min(wanted_hz, high)), one.at_most_hz(0.0), one.held_at_hz())
    return "" if one.decision.setpoint_hz <= most_hz + STEP_HZ else f"at most {most_hz:g} Hz"


def failsafe_is_carried_out(one: One) -> str:
    """WDG-3, SAF-2.5: nor less: where no other rule has a say the pump goes to what its strategy says, up and down:
    LEVEL_ON_OFF runs from its start level to its stop level and between them goes on, HOLD_LAST holds what was applied
    for its time, and what cannot be evaluated is the default setpoint. An operator's 0 stays.
    """
    if one.limits is None or not one.decision.remote_enabled or one.decision.failsafe.reason is None:
        return ""
    at_0 = one.proposal.wish_hz == 0.0 or (one.proposal.wish_hz is None and one.previous_hz <= 0.0)
    by_operator = one.proposal.mode is Mode.MANUAL and at_0
    if one.proposal.held_stopped is True or by_operator or one.decision.reason in FORCED:
        return ""
    beneath = {Rule.FAILSAFE, Rule.INVALID_PROPOSAL, Rule.START_STEP, Rule.RATE, Rule.SOFT_STOP}
    if one.answers_high_level or not {step.rule for step in one.decision.trail} <= beneath:
        return ""
    target_hz, wanted_hz = one.round.after.pumps[one.decision.pump_id].target_hz, strategy_hz(one)
    return "" if abs(target_hz - wanted_hz) <= STEP_HZ else f"goes to {target_hz:g} Hz, due {wanted_hz:g} Hz"


def what_a_strategy_does_is_remembered(one: One) -> str:
    """WDG-3, SAF-10: LEVEL_ON_OFF remembers whether it runs, HOLD_LAST its value, for a pump that is ours, and since
    when, which no restart and no hand-back makes later; out of failsafe nothing is remembered.
    """
    kept = one.round.after.pumps[one.decision.pump_id].strategy
    strategy = one.config.failsafe_strategy
    if one.decision.failsafe.reason is None:
        return "" if kept == StrategyMemory() else f"remembers {kept} without a failsafe"
    ours = one.decision.remote_enabled and not one.lapsed
    if strategy is FailsafeStrategy.HOLD_LAST:
        since = one.state.strategy.held_since or one.round.now
        if kept.held_since != since:
            return f"counts its hold from {kept.held_since}"
        held_hz = held_last_hz(one) if ours else None
        return "" if kept.held_hz == held_hz else f"holds {kept.held_hz}, due {held_hz}"
    levels = levels_of(one) if strategy is FailsafeStrategy.LEVEL_ON_OFF else None
    runs = None if levels is None or not ours else runs_by_level(one, levels)
    return "" if kept.on is runs else f"remembers on {kept.on}, due {runs}"


def only_its_own_duty_is_held(one: One) -> str:
    """WDG-3: what HOLD_LAST would hold is the last value of the pump's own duty: rule 4 and the station's tasks do not
    move it, a stop does not raise it, and on the way back from any of them it is no more than where the pump goes.
    """
    after, shown_hz = one.round.after.pumps[one.decision.pump_id], one.decision.setpoint_hz
    kept_hz, was_hz = after.duty_hz, last_duty_hz(one)
    if not one.decision.remote_enabled:
        return "" if kept_hz is None else f"remembers {kept_hz} of a pump that is not ours"
    if one.lapsed:
        return ""
    if kept_hz is None:
        return "its duty is not remembered"
    if one.answers_high_level or one.decision.reason in TASK_REASONS.values():
        was_hz = 0.0 if one.state.duty_hz is None else was_hz
        return "" if kept_hz == was_hz else f"{kept_hz} Hz for a duty of {was_hz} Hz"
    if one.decision.conditions.high_level and one.decision.reason not in FORCED:
        # Whether rule 4 chose a pump that wishes its maximum is not always told.
        return "" if kept_hz <= max(was_hz, shown_hz) + STEP_HZ else f"{kept_hz} Hz at {shown_hz} Hz"
    want_hz = shown_hz
    if was_hz != one.previous_hz:
        want_hz = min(want_hz, was_hz if one.decision.reason in FORCED else after.target_hz)
    return "" if abs(kept_hz - want_hz) <= STEP_HZ else f"{kept_hz} Hz for a duty of {want_hz} Hz"


def after_a_lapse_it_follows_the_pump(one: One) -> str:
    """SAF-9, SAF-10, CTL-3: until the gates trust us again, and in the decision with which they do, the value goes on
    from the speed that is measured; nothing starts before, and each fresh decision counts once.
    """
    if not one.lapsed or one.limits is None or not one.decision.remote_enabled:
        return ""
    after = one.round.after.pumps[one.decision.pump_id]
    old = one.state.origin is not None
    old = old and one.round.now.seconds_since(one.state.origin) > one.round.given.control.setpoint_lease_s  # type: ignore[arg-type]
    left = (3 if old else one.state.fresh_left) - (one.proposal.origin != one.state.origin)
    if after.fresh_left < left:
        return f"trusted after {after.fresh_left} more, {left} are missing"
    low, high = one.limits.hard_min_speed_hz, one.limits.hard_max_speed_hz
    turns_hz, value_hz = measured_speed_hz(one.entry, one.limits), one.decision.setpoint_hz
    if turns_hz <= 0.0:
        most_hz = 0.0 if after.fresh_left > 0 else low
        return "" if value_hz <= most_hz + STEP_HZ else f"{value_hz:g} Hz of a pump that stands"
    if one.decision.reason in FORCED or (value_hz == 0.0 and turns_hz <= low + STEP_HZ):
        return ""
    most_hz = one.limits.max_rate_hz_per_s * one.round.given.control.period_s
    off_hz = abs(value_hz - min(max(turns_hz, low), high))
    return "" if off_hz <= most_hz + STEP_HZ else f"{value_hz:g} Hz of a pump that turns at {turns_hz:g} Hz"


def not_following_is_told(one: One) -> str:
    """CTL-5: of a pump that is ours, told when it has been off for its time without coming nearer, until it has been
    within its tolerance for that time, at a speed if it would not run; never of another pump, and never sooner.
    """
    told, was, now = one.decision.conditions.not_following, one.state.following, one.round.now
    speed_hz = one.good("actual_speed_hz")
    judged = one.decision.remote_enabled and not one.lapsed and not one.entry.out_of_service
    if not judged or speed_hz is None or one.state.decided_at is None:
        return "told of a pump that is not judged" if told else ""
    own = own_parameters(one)
    tolerance_hz, time_s = own.get("following_tolerance_hz", 2.0), own.get("following_time_s", 20.0)
    turns_hz = 0.0 if one.good("running") == 0.0 else speed_hz
    off_hz = turns_hz - one.previous_hz
    if abs(off_hz) <= tolerance_hz:
        good_s = 0.0 if was.good_since is None else now.seconds_since(was.good_since)
        proof = one.previous_hz > 0.0 or not was.failed_to_run
        want = was.failed_since is not None and not (proof and good_s >= time_s)
    else:
        same_side = was.off_since is not None and was.below is (off_hz < 0.0)
        came_hz = (turns_hz - was.nearest_hz) * (1.0 if off_hz < 0.0 else -1.0)
        off_s = now.seconds_since(was.off_since) if same_side and was.off_since is not None else 0.0
        want = was.failed_since is not None or (same_side and came_hz < 0.5 and off_s >= time_s)
    return "" if told is want else f"told {told}: {turns_hz:g} Hz, told {one.previous_hz:g} Hz"


def no_start_against_the_timers(one: One) -> str:
    """SAF-2.6, SAF-7: no start too soon, too often, after too long a run, or that no disk holds; not at high level."""
    if not one.starts or one.answers_high_level:
        return ""
    why = start_forbidden(one)
    return f"started, and {why}" if why else ""


def every_start_is_counted(one: One) -> str:
    """SAF-2.6, SAF-7: what we start, and what was seen to start without us, is among the starts of the hour."""
    kept, turned = one.round.after.pumps[one.decision.pump_id].timers, motor_of(one)
    if turned is None:
        return ""
    want = turned.starts + (1 if one.starts else 0)
    if kept is None or sum(one.round.now.seconds_since(at) < HOUR_S for at in kept.starts) != want:
        return f"remembers {kept}, {want} starts in the last hour"
    if not one.starts:
        return "" if kept.turning is (turned.run_s is not None) else f"remembers turning {kept.turning}"
    return "" if kept.turning and kept.since == one.round.now else "a start that is not remembered"


def no_stop_before_the_minimum_run(one: One) -> str:
    """SAF-2.6: a pump that has not run long enough stops for rules 1 to 3, power, or its place, and nothing else."""
    if one.kept_running_hz() <= 0.0 or not one.decision.remote_enabled or one.decision.setpoint_hz > 0.0:
        return ""
    above = {Rule.POWER_CAP, Rule.STATION_POWER, Rule.MAX_RUNNING}
    excused = one.decision.reason in FORCED or any(step.rule in above for step in one.decision.trail)
    return "" if excused else "stopped before its minimum run"


def no_run_beyond_the_maximum(one: One) -> str:
    """SAF-2.6: a pump that has run for its maximum comes down, unless it answers a high level."""
    turned, limits = motor_of(one), one.limits
    if limits is None or limits.max_run_s is None or turned is None or turned.run_s is None:
        return ""
    if (
        one.previous_hz <= 0.0
        or one.entry.stopped
        or one.answers_high_level
        or not one.decision.remote_enabled
    ):
        return ""
    most_hz = one.at_most_hz(0.0)
    over = turned.run_s >= limits.max_run_s and one.decision.setpoint_hz > most_hz + STEP_HZ
    return f"{one.decision.setpoint_hz:g} Hz after {turned.run_s:g} s, at most {most_hz:g} Hz" if over else ""


def a_soft_stop_is_soft(one: One) -> str:
    """SAF-2.10: a normal stop comes down no faster than `soft_stop`; what power orders, or above what it allows, no
    slower than the rate.
    """
    target_hz, reason = one.round.after.pumps[one.decision.pump_id].target_hz, one.decision.reason
    if one.limits is None or one.lapsed or one.previous_hz <= 0.0 or target_hz > 0.0 or reason in FORCED:
        return ""
    if not one.decision.remote_enabled:
        return ""
    want_hz = one.at_most_hz(0.0)
    shown_hz = one.decision.setpoint_hz
    return (
        "" if abs(shown_hz - want_hz) <= STEP_HZ else f"{shown_hz:g} Hz on its way to 0, due {want_hz:g} Hz"
    )


def flow_at_least_the_minimum(one: One) -> str:
    """SAF-2.7: what runs is on its way to a speed that moves `min_flow` by its rated point, or to the lowest cap."""
    target_hz, floor_hz = one.round.after.pumps[one.decision.pump_id].target_hz, one.least_flow_hz()
    if not one.decision.remote_enabled or one.entry.stopped or target_hz <= 0.0:
        return ""
    if any(step.rule is Rule.STATION_POWER for step in one.decision.trail):
        return ""
    floor_hz = min(floor_hz, one.power_cap_hz(), one.flow_cap_hz())
    return "" if target_hz >= floor_hz - STEP_HZ else f"goes to {target_hz:g} Hz, {floor_hz:g} are needed"


def failsafe_lasts(one: One) -> str:
    """WDG-2, SUP-5: entered at once by its cause, left only after its hold (a plan's cause: at once in MANUAL)."""
    was, reason = one.state.failsafe, one.decision.failsafe.reason
    cause = one.entry.scope_failure
    wish_cause = one.proposal.failsafe
    if cause is not None or (wish_cause is not None and isinstance(wish_cause, Reason)):
        return "" if reason is not None else "its cause holds and it is not entered"
    if was.reason is None or (one.proposal.mode is Mode.MANUAL and was.reason in PLAN_REASONS):
        return ""
    clear_s = 0.0 if was.clear_since is None else one.round.now.seconds_since(was.clear_since)
    over = clear_s >= one.round.given.control.failsafe_recovery_hold_s
    return "" if over or reason is not None else f"left after {clear_s:g} s"


def power_within_the_motors(one: One) -> str:
    """SAF-2.7: no more speed than the motor's power allows, by P ~ n³ from measured, else from rated values; 0 where
    that is below the minimum; without any such value no more than the minimum.
    """
    return _above_cap(one, one.power_cap_hz(), "kW")


def flow_within_its_limit(one: One) -> str:
    """SAF-2.7: the same for the flow, Q ~ n, except at a high level, where the well matters more."""
    return _above_cap(one, one.flow_cap_hz(), "m3/h")


def a_cap_holds_off_the_next_start(one: One) -> str:
    """SAF-2.7: what a cap has stopped does not start again before `failsafe_recovery_hold`: no cycling at the cap."""
    stopped_at, limits = one.state.cap_stopped_at, one.limits
    if not one.starts or stopped_at is None or limits is None or one.answers_high_level:
        return ""
    capped = limits.max_power_kw is not None or limits.max_flow_m3h is not None
    held_s = one.round.now.seconds_since(stopped_at)
    over = held_s >= one.round.given.control.failsafe_recovery_hold_s
    return "" if over or not capped else f"started {held_s:g} s after a cap stopped it"


def no_start_below_the_minimum_level(one: One) -> str:
    """SAF-2.8: no start below level_min or at a level nobody knows, except in answer to a high level."""
    if one.limits is None or one.limits.level_min_m is None or not one.starts or one.answers_high_level:
        return ""
    level_m = one.level_m()
    known = level_m is not None and level_m >= one.limits.level_min_m
    return "" if known else f"started at {level_m} m"


def no_step_beyond_the_rate(one: One) -> str:
    """CTL-3, SAF-2.10: a start goes to the minimum, a stop comes from it, and between the two the value moves by the
    rate for at most one tick's time. Only what rules 1 to 3 order goes at once.
    """
    if one.limits is None or not one.decision.remote_enabled or one.lapsed:
        return ""
    low, high = one.limits.hard_min_speed_hz, one.limits.hard_max_speed_hz
    value_hz, forced = one.decision.setpoint_hz, one.decision.reason in FORCED
    if one.previous_hz <= 0.0:
        return "" if value_hz <= low + STEP_HZ else f"started at {value_hz:g} Hz"
    base_hz = min(max(one.previous_hz, low), high)
    if value_hz == 0.0:
        return "" if forced or base_hz <= low + STEP_HZ else f"stopped from {base_hz:g} Hz"
    if forced:
        return ""
    step_hz = abs(value_hz - base_hz)
    most_hz = one.limits.max_rate_hz_per_s * one.elapsed_s
    return "" if step_hz <= most_hz + STEP_HZ else f"moved by {step_hz:g} Hz in {one.elapsed_s:g} s"


def no_start_before_a_new_tick(one: One) -> str:
    """EST-2: a decision about an old tick starts nothing (a clear must not start a pump at once)."""
    if not one.starts or one.answers_high_level:
        return ""
    return "started on an old tick" if one.proposal.origin == one.state.origin else ""


def a_bad_wish_raises_nothing(one: One) -> str:
    """SAF-3: a wish that is no number, negative or absurd leaves the last safe value for at most 3 ticks, then the
    failsafe strategy: it never speeds a pump up beyond both.
    """
    wish, limits = one.proposal.wish_hz, one.limits
    bad = wish is not None and not (0.0 <= wish <= ABSURD_HZ)
    missing = wish is None and one.proposal.failsafe is None and one.proposal.held_stopped is not True
    if limits is None or not one.decision.remote_enabled or one.answers_high_level or not (bad or missing):
        return ""
    counted = one.state.counted_sequence == one.proposal.sequence
    ticks = one.state.invalid_ticks + (0 if counted else 1)
    if ticks > 0 and not one.decision.conditions.invalid_proposal:
        return "a bad wish is not told"
    if ticks > 3 and one.decision.failsafe.reason is None:
        return f"{ticks} bad ticks and no failsafe"
    strategys_hz = strategy_hz(one) if one.decision.failsafe.reason is not None else 0.0
    most_hz = max(one.previous_hz, strategys_hz)
    most_hz = max(most_hz, one.least_flow_hz()) if most_hz > 0.0 else 0.0
    return (
        "" if one.decision.setpoint_hz <= most_hz + STEP_HZ else f"{wish!r}: {one.decision.setpoint_hz:g} Hz"
    )


def held_stopped_stays(one: One) -> str:
    """CTL-7: a MANUAL 0 that expired is held stopped: no failsafe starts it, only a high level does."""
    if one.proposal.held_stopped is not True or one.answers_high_level:
        return ""
    return "a pump held stopped was started" if one.starts else ""


def the_trail_tells_every_change(one: One) -> str:
    """SAF-4: each step of the trail begins where the one before it ended, the last ends at the setpoint, and without
    any step the setpoint is the wish, the value before, the pump's own speed or the 0 it is held at.
    """
    trail, shown_hz = one.decision.trail, one.decision.setpoint_hz
    for before, after in pairwise(trail):
        if before.after_hz != after.before_hz:
            return f"{before.rule.value} ended at {before.after_hz}, {after.rule.value} began at {after.before_hz}"
    if trail:
        end_hz = trail[-1].after_hz
        return "" if abs(end_hz - shown_hz) <= STEP_HZ else f"the trail ends at {end_hz}, shown {shown_hz}"
    wish = one.proposal.wish_hz
    known_hz = [one.previous_hz, 0.0 if one.decision.tracking_hz is None else one.decision.tracking_hz]
    known_hz += [0.0] if one.proposal.held_stopped is True or wish is None else [wish]
    if one.decision.remote_enabled and one.proposal.held_stopped is not True and wish is not None:
        known_hz = [wish]
    return "" if any(abs(known - shown_hz) <= STEP_HZ for known in known_hz) else f"{shown_hz} untold"


def rule_11_has_nothing_to_do(one: One) -> str:
    """SAF-2.11: what fails the final validation is our own bug, so it never happens."""
    return "the final check refused a value" if one.decision.conditions.final_check else ""


def what_was_told_is_remembered(one: One) -> str:
    """SAF-1, SAF-2.11: the value that the next round counts from is the one that was shown."""
    kept_hz = one.round.after.pumps[one.decision.pump_id].output_hz
    if not one.decision.remote_enabled:
        return ""
    return "" if abs(kept_hz - one.decision.setpoint_hz) <= STEP_HZ else f"remembers {kept_hz}"


PumpInvariant: TypeAlias = Callable[[One], str]
OF_A_PUMP: Final[tuple[PumpInvariant, ...]] = (
    fit_for_the_wire,
    nothing_claimed_without_feedback,
    a_lost_claim_waits,
    a_lost_claim_is_remembered,
    the_claim_is_told,
    an_emergency_stop_stops,
    out_of_service_is_0,
    the_panel_is_told,
    dry_run_is_0,
    failsafe_is_the_strategys,
    failsafe_is_carried_out,
    what_a_strategy_does_is_remembered,
    only_its_own_duty_is_held,
    failsafe_lasts,
    not_following_is_told,
    no_start_against_the_timers,
    every_start_is_counted,
    no_stop_before_the_minimum_run,
    no_run_beyond_the_maximum,
    flow_at_least_the_minimum,
    power_within_the_motors,
    flow_within_its_limit,
    a_cap_holds_off_the_next_start,
    no_start_below_the_minimum_level,
    no_step_beyond_the_rate,
    after_a_lapse_it_follows_the_pump,
    a_soft_stop_is_soft,
    no_start_before_a_new_tick,
    a_bad_wish_raises_nothing,
    held_stopped_stays,
    the_trail_tells_every_change,
    rule_11_has_nothing_to_do,
    what_was_told_is_remembered,
)


# --------------------------------------------------------------------------- of the station


def no_start_beyond_the_permitted_number(round_: Round, pumps: dict[str, One]) -> str:
    """CTL-6: no start beyond `max_pumps_running`, counting what runs, is told to, or is unknown; nor in the images."""
    permitted = places(round_)
    if permitted is None:
        return ""
    images = [pump_id for pump_id, one in pumps.items() if one.decision.failsafe_image_hz > 0.0]
    if len(images) > permitted:
        return f"{len(images)} images run, {permitted} may"
    started = {pump_id for pump_id, one in pumps.items() if one.starts and one.good("running") == 0.0}
    occupied = started | {
        pump_id
        for pump_id, entry in round_.given.pumps.items()
        if good(entry.feedback.get("running")) in {None, 1.0}
    }
    return (
        f"{started} started, {occupied} occupy {permitted} places"
        if started and len(occupied) > permitted
        else ""
    )


def starts_are_staggered(round_: Round, pumps: dict[str, One]) -> str:
    """CTL-6: between two starts of a station, and after our own start, at least `stagger_s`."""
    stagger_s = round_.given.station.stagger_s
    started = [pump_id for pump_id, one in pumps.items() if one.starts]
    if stagger_s <= 0.0 or not started:
        return ""
    since_s = round_.now.seconds_since(round_.before.started_at)
    if since_s < stagger_s:
        return f"{started} started {since_s:g} s after the start before"
    return "" if len(started) == 1 else f"{started} started together"


def station_power_within_its_limit(round_: Round, pumps: dict[str, One]) -> str:
    """SAF-1, SAF-2.7: where all pumps are ours and have a known power, the speeds they go to draw no more together
    than the station may.
    """
    most_kw = round_.given.station.max_power_kw
    if most_kw is None or pumps.keys() != round_.given.pumps.keys():
        return ""
    sum_kw = 0.0
    for pump_id, one in pumps.items():
        point = _operating_point(one, "actual_power_kw", one.config.rated_power_kw)
        if not one.decision.remote_enabled or point is None:
            return ""
        sum_kw += point[1] * (round_.after.pumps[pump_id].target_hz / point[0]) ** 3
    return "" if sum_kw <= most_kw + 1e-6 else f"{sum_kw:g} kW of {most_kw:g} kW"


def a_high_level_is_answered(round_: Round, pumps: dict[str, One]) -> str:
    """SAF-2.4: at a high level the permitted number of pumps that can run go to their maximum, held back by nothing but
    their place, the stagger, the tick, motor power, station power and the ramp; or the station is handed back.
    """
    station = round_.given.station
    if pumps.keys() != round_.given.pumps.keys() or not is_high(round_):
        return ""
    told = [pump_id for pump_id, one in pumps.items() if not one.decision.conditions.high_level]
    if told:
        return f"{told} do not tell of the high level"
    claimed = {pump_id: one for pump_id, one in pumps.items() if one.decision.remote_enabled}
    if station.high_level_response is HighLevelResponse.HAND_BACK:
        return f"{list(claimed)} claimed at a high level that hands back" if claimed else ""
    able = [
        one
        for one in claimed.values()
        if not (one.entry.stopped or one.entry.out_of_service)
        and not (one.decision.conditions.dry_run and station.dry_run_outranks_high_level)
    ]
    foreign = sum(
        good(entry.feedback.get("running")) == 1.0
        for pump_id, entry in round_.given.pumps.items()
        if pump_id not in claimed
    )
    permitted = len(pumps) if station.max_pumps_running is None else max(0, station.max_pumps_running)
    due = min(len(able), max(0, permitted - foreign))
    answering = sum(_answers(one, pumps) for one in able)
    return "" if answering >= due else f"{answering} of {due} pumps answer the high level"


def a_high_level_is_answered_by_pumps_that_run(round_: Round, pumps: dict[str, One]) -> str:
    """SAF-2.4, CTL-5: a place at a high level is for a pump that can run: none goes to one that stands in fault or does
    not follow while a sound one has none; and who was told to run loses it to no pump that stands, seen to turn or not.
    """
    station = round_.given.station
    if (
        pumps.keys() != round_.given.pumps.keys()
        or station.high_level_response is HighLevelResponse.HAND_BACK
    ):
        return ""
    able = {
        pump_id: one
        for pump_id, one in pumps.items()
        if one.decision.remote_enabled
        and one.decision.conditions.high_level
        and not (one.entry.stopped or one.entry.out_of_service)
        and not (one.decision.conditions.dry_run and station.dry_run_outranks_high_level)
    }
    chosen = {pump_id: one for pump_id, one in able.items() if one.answers_high_level}
    for pump_id in able.keys() - chosen.keys():
        one = able[pump_id]
        if _is_dead(one) or _answers(one, pumps):
            continue
        for other_id, other in chosen.items():
            if _is_dead(other):
                return f"{other_id} cannot run and has the place of {pump_id}"
            stands = other.previous_hz <= 0.0 and other.good("running") == 0.0
            if one.previous_hz > 0.0 and stands:
                return f"{pump_id}, told to run, lost its place to {other_id}, which stands"
    return ""


def a_high_level_lasts_to_its_reset(round_: Round, pumps: dict[str, One]) -> str:
    """SAF-2.4: once high, high until the level is below its reset."""
    for pump_id, one in pumps.items():
        reset_m = None if one.limits is None else one.limits.level_emergency_high_reset_m
        level_m = one.level_m()
        in_use = not one.entry.out_of_service and one.good("local_override") != 1.0
        kept = one.state.high and in_use and reset_m is not None and level_m is not None and level_m > reset_m
        if kept and not one.decision.conditions.high_level:
            return f"{pump_id} forgot the high level at {level_m} m"
    return ""


def a_refused_duty_is_done(round_: Round, pumps: dict[str, One]) -> str:
    """SAF-2.6, CTL-6: the plan's duty of a pump that may not start or run on, or stands at its panel, in fault, stopped
    or out of service, goes to a pump that is idle and may; who does another's duty runs, or says why not, and the other
    does not run beside it.
    """
    if pumps.keys() != round_.given.pumps.keys():
        return ""
    duties = round_.after.duties
    for pump_id, other_id in duties.items():
        one, other = pumps[pump_id], pumps[other_id]
        rotated = any(step.rule in MOVED and step.after_hz > 0.0 for step in other.decision.trail)
        if not rotated:
            return f"{other_id} does not do the duty of {pump_id}"
        most_hz = max(one.at_most_hz(0.0), one.held_at_hz())
        busy = pump_id in round_.after.tasks or pump_id in _reserved(round_)
        if one.decision.remote_enabled and not busy and one.decision.setpoint_hz > most_hz + STEP_HZ:
            return f"{pump_id} runs at {one.decision.setpoint_hz:g} Hz while {other_id} does its duty"
    undone = [
        pump_id
        for pump_id, one in pumps.items()
        if pump_id not in duties and (_is_refused(one) or _is_unable(one))
    ]
    taken = {*duties, *duties.values()}
    undone = [pump_id for pump_id in undone if pump_id not in taken]
    free = [pump_id for pump_id, one in pumps.items() if pump_id not in taken and _is_free(one)]
    return f"{free} stand idle while {undone} may not do their duty" if undone and free else ""


def a_duty_goes_by_turns(round_: Round, pumps: dict[str, One]) -> str:
    """CTL-6: with alternation, a duty that begins goes to the first of the order that may do it, and is told so."""
    station = round_.given.station
    if station.duties.alternation is Alternation.OFF or pumps.keys() != round_.given.pumps.keys():
        return ""
    duties, order = round_.after.duties, order_of(round_)
    taken = {*duties, *duties.values()}
    for pump_id, one in pumps.items():
        wish, limits = one.proposal.wish_hz, one.limits
        begins = _commanded(one) and wish is not None and limits is not None and one.previous_hz <= 0.0
        begins = begins and one.good("running") == 0.0 and one.good("fault_code") in {None, 0.0}
        begins = begins and one.proposal.held_stopped is not True and not start_forbidden(one)
        if not begins or wish is None or limits is None or not limits.hard_min_speed_hz <= wish <= ABSURD_HZ:
            continue
        if pump_id in round_.before.duties or pump_id in duties.values():
            continue
        doer_id = duties.get(pump_id, pump_id)
        passed = [other for other in order[: order.index(doer_id)] if other not in taken - {pump_id}]
        passed = [other for other in passed if other == pump_id or _is_free(pumps[other])]
        if passed:
            return f"{doer_id} got the duty of {pump_id} before {passed[0]}"
        told = doer_id == pump_id or any(step.rule in MOVED for step in pumps[doer_id].decision.trail)
        if not told:
            return f"{doer_id} does not tell that it does the duty of {pump_id}"
    return ""


def a_task_is_done_and_nothing_else_is_one(round_: Round, pumps: dict[str, One]) -> str:
    """CTL-6: who has a task of the station does it and says so; nobody else does; none is given to a pump that is not
    ours and in AUTO with a wish to believe, or in failsafe, stopped, out of service or dry.
    """
    tasks = {pump_id: task.rule for pump_id, task in round_.after.tasks.items()}
    order = round_.after.clean_out
    if order is not None and not order.over:
        tasks[order.pump_id] = Rule.CLEAN_OUT
    for pump_id, one in pumps.items():
        rule, decision = tasks.get(pump_id), one.decision
        told = {step.rule for step in decision.trail} & TASK_REASONS.keys()
        told |= {rule for rule, reason in TASK_REASONS.items() if reason is decision.reason}
        if told - {rule}:
            return f"{pump_id} does {told} without an order"
        if told and not (decision.remote_enabled and _is_sound(one)):
            return f"{pump_id} does {told} although it may not"
        if rule is not None and not told and not one.answers_high_level:
            return f"{pump_id} does not do {rule.value}"
    return ""


def an_assist_keeps_its_bounds(round_: Round, pumps: dict[str, One]) -> str:
    """SAF-2.8, CTL-6: an assist begins at level_max and no sooner than `after_s` after the last, goes on only above its
    own reset, and there are no more of them than configured.
    """
    assist = round_.given.station.duties.assist
    helping = {key for key, task in round_.after.tasks.items() if task.rule is Rule.ASSIST}
    was = {key for key, task in round_.before.tasks.items() if task.rule is Rule.ASSIST}
    begun = helping - was
    if assist is None:
        return f"{helping} assist, and nobody asked" if helping else ""
    if begun and len(helping) > assist.pumps:
        return f"{len(helping)} pumps assist, {assist.pumps} may"
    last = round_.before.assisted_at
    if len(begun) > 1 or (begun and last is not None and round_.now.seconds_since(last) < assist.after_s):
        return f"{begun} begin to assist too soon"
    for pump_id in helping & pumps.keys():
        one = pumps[pump_id]
        level_m, level_max_m = one.level_m(), None if one.limits is None else one.limits.level_max_m
        if one.decision.conditions.high_level:
            continue
        if level_m is None or level_m <= assist.reset_m:
            return f"{pump_id} assists at {level_m} m"
        if pump_id in begun and (level_max_m is None or level_m < level_max_m):
            return f"{pump_id} begins to assist at {level_m} m"
    return ""


def a_full_well_is_assisted(round_: Round, pumps: dict[str, One]) -> str:
    """SAF-2.8: above level_max an idle pump that may start assists, unless all places, or all assists, are taken."""
    assist, last = round_.given.station.duties.assist, round_.before.assisted_at
    if assist is None or pumps.keys() != round_.given.pumps.keys() or is_settling(round_):
        return ""
    helping = sum(task.rule is Rule.ASSIST for task in round_.after.tasks.values())
    soon = last is not None and round_.now.seconds_since(last) < assist.after_s
    begun = any(
        task.rule is Rule.ASSIST and task != round_.before.tasks.get(key)
        for key, task in round_.after.tasks.items()
    )
    if helping >= assist.pumps or soon or begun:
        return ""
    most = places(round_)
    taken = {*round_.after.duties.values(), *_reserved(round_)}
    for pump_id, one in pumps.items():
        if one.limits is None or one.limits.level_max_m is None or pump_id in taken:
            continue
        level_m = one.level_m()
        if level_m is None or level_m < one.limits.level_max_m or not _is_free(one):
            continue
        if one.good("running") == 0.0 and (most is None or _wanting(round_, pumps, pump_id) < most):
            return f"{pump_id} stands idle at {level_m} m"
    return ""


def upkeep_keeps_its_bounds(round_: Round, pumps: dict[str, One]) -> str:
    """CTL-6: of exercise and flush at most one, never at a high level, in failsafe or near dry run, begun only when due
    and with the water that is configured, and ended with its time.
    """
    duties, now = round_.given.station.duties, round_.now
    found = {key: task for key, task in round_.after.tasks.items() if task.rule is not Rule.ASSIST}
    new = {key for key, task in found.items() if round_.before.tasks.get(key) != task}
    if new and (len(found) > 1 or len(round_.after.tasks) > 1):
        return f"{new} begin beside another"
    for pump_id in found.keys() & pumps.keys():
        task, one = found[pump_id], pumps[pump_id]
        calm = not any(
            other.decision.conditions.high_level or other.decision.failsafe.reason is not None
            for other in pumps.values()
        )
        level_m = one.level_m()
        least_m = _water_m(one)
        if not calm or level_m is None or level_m < least_m:
            return f"{pump_id}: {task.rule.value} at {level_m} m, calm: {calm}"
        settings = duties.flush if task.rule is Rule.FLUSH else duties.exercise
        if settings is None:
            return f"{pump_id}: {task.rule.value}, and nobody asked"
        longest_s = settings.run_s + (0.0 if task.rule is Rule.FLUSH else 120.0)
        if now.seconds_since(task.since) > longest_s:
            return f"{pump_id}: {task.rule.value} for {now.seconds_since(task.since):g} s"
        if pump_id in new and level_m < settings.level_m:
            return f"{pump_id}: {task.rule.value} begins at {level_m} m"
        if pump_id in new and is_settling(round_):
            return f"{pump_id}: {task.rule.value} begins just after our start"
    return ""


def upkeep_that_is_due_begins(round_: Round, pumps: dict[str, One]) -> str:
    """CTL-6: a pump that stood too long is exercised and a main that had no flow is flushed, where all is calm, water
    and a place are there, and nobody has a task.
    """
    duties, before, now = round_.given.station.duties, round_.before, round_.now
    whole = pumps.keys() == round_.given.pumps.keys() and not is_settling(round_)
    if not whole or before.tasks or round_.after.tasks or _reserved(round_):
        return ""
    if not all(_commanded(one) for one in pumps.values()):
        return ""
    most = places(round_)
    for pump_id, one in pumps.items():
        level_m, was = one.level_m(), before.pumps.get(pump_id, PumpState())
        if pump_id in round_.after.duties.values() or not _is_free(one) or one.good("running") != 0.0:
            continue
        if level_m is None or (most is not None and _wanting(round_, pumps, pump_id) >= most):
            continue
        exercise, flush, turned_at = duties.exercise, duties.flush, was.wear.turned_at
        stood_s = 0.0 if turned_at is None else now.seconds_since(turned_at)
        if exercise is not None and stood_s >= exercise.after_h * HOUR_S and level_m >= exercise.level_m:
            return f"{pump_id} has stood for {stood_s:g} s"
        still = before.moving_since is None and before.flushed_at is not None
        still_s = now.seconds_since(before.flushed_at) if still and before.flushed_at is not None else 0.0
        if flush is not None and still_s >= flush.every_h * HOUR_S and level_m >= flush.level_m:
            return f"the main has stood for {still_s:g} s"
    return ""


def a_clean_out_ends(round_: Round, pumps: dict[str, One]) -> str:
    """CTL-6, SAF-2.3: only a person's order begins one; it ends for good with its time, with its pump's claim, mode,
    run or health, at a high level, at a level that is not GOOD or at its bound, and when its pump takes air.
    """
    before, after = round_.before.clean_out, round_.after.clean_out
    if before is None or after is None or before.over:
        return "" if after == before else "a clean-out that nobody ordered"
    kept = (before.order_id, before.pump_id, before.since, before.until)
    if kept != (after.order_id, after.pump_id, after.since, after.until):
        return "its order has changed"
    one = pumps.get(before.pump_id)
    if after.over or one is None:
        return ""
    if not _may_clean_out(one):
        return "it goes on although it may not"
    in_time = round_.now.seconds_since(before.until) < 0.0
    return "" if in_time else "its time is over and it goes on"


def a_profile_bounds_the_plan(round_: Round, pumps: dict[str, One]) -> str:
    """CTL-6: a plan's wish goes no further than the profile of the hour allows, and no rule is weaker for it."""
    profile = round_.given.profile
    if profile is None or profile.speed_hz_max is None:
        return ""
    for pump_id, one in pumps.items():
        moved = {step.rule for step in one.decision.trail} & {*MOVED, *TASK_REASONS}
        told = one.decision.reason in TASK_REASONS.values()
        if one.limits is None or not _commanded(one) or one.answers_high_level or moved or told:
            continue
        if not _is_sound(one):
            continue
        most_hz = max(profile.speed_hz_max, one.limits.hard_min_speed_hz, one.least_flow_hz())
        target_hz = round_.after.pumps[pump_id].target_hz
        if target_hz > most_hz + STEP_HZ:
            return f"{pump_id} goes to {target_hz:g} Hz by plan, at most {most_hz:g}"
    return ""


def every_pump_is_remembered(round_: Round, pumps: dict[str, One]) -> str:
    """SAF-1, SAF-10: the state after holds exactly the station's pumps, and only seeded pumps of this round that have
    a proposal get a decision.
    """
    if round_.after.pumps.keys() != round_.given.pumps.keys():
        return "the state holds other pumps than the station"
    for pump_id in round_.decisions:
        given = round_.given.pumps[pump_id].proposal is not None
        if pump_id not in round_.given.deciding or not given or not round_.after.pumps[pump_id].seeded:
            return f"{pump_id} was decided"
    return ""


StationInvariant: TypeAlias = Callable[[Round, dict[str, One]], str]
OF_THE_STATION: Final[tuple[StationInvariant, ...]] = (
    no_start_beyond_the_permitted_number,
    starts_are_staggered,
    station_power_within_its_limit,
    a_high_level_is_answered,
    a_high_level_is_answered_by_pumps_that_run,
    a_high_level_lasts_to_its_reset,
    a_refused_duty_is_done,
    a_duty_goes_by_turns,
    a_task_is_done_and_nothing_else_is_one,
    an_assist_keeps_its_bounds,
    a_full_well_is_assisted,
    upkeep_keeps_its_bounds,
    upkeep_that_is_due_begins,
    a_clean_out_ends,
    a_profile_bounds_the_plan,
    every_pump_is_remembered,
)


# --------------------------------------------------------------------------- how they are asked


def violations(round_: Round) -> Iterator[tuple[str, str]]:
    """Yield the name of every invariant that this round breaks, with the pump and what is wrong."""
    pumps = {pump_id: one_of(round_, decision) for pump_id, decision in round_.decisions.items()}
    for pump_id, one in pumps.items():
        for of_a_pump in OF_A_PUMP:
            if wrong := of_a_pump(one):
                yield of_a_pump.__name__, f"{pump_id}: {wrong}"
    for of_the_station in OF_THE_STATION:
        if wrong := of_the_station(round_, pumps):
            yield of_the_station.__name__, wrong


OF_A_PUMP_OVER_RESTARTS: Final[tuple[PumpInvariant, ...]] = (
    a_lost_claim_waits,
    a_lost_claim_is_remembered,
    failsafe_lasts,
    dry_run_is_0,
    after_a_lapse_it_follows_the_pump,
    nothing_claimed_without_feedback,
    out_of_service_is_0,
)
OF_THE_STATION_OVER_RESTARTS: Final[tuple[StationInvariant, ...]] = (a_high_level_lasts_to_its_reset,)
"""What must hold of a successor's first decisions when they are judged by what its predecessor remembered."""


def violations_over_a_restart(round_: Round) -> Iterator[tuple[str, str]]:
    """Yield what a successor's round breaks; `round_.before` is its predecessor's state."""
    pumps = {pump_id: one_of(round_, decision) for pump_id, decision in round_.decisions.items()}
    for pump_id, one in pumps.items():
        for of_a_pump in OF_A_PUMP_OVER_RESTARTS:
            if wrong := of_a_pump(one):
                yield of_a_pump.__name__, f"{pump_id}: {wrong}"
    for of_the_station in OF_THE_STATION_OVER_RESTARTS:
        if wrong := of_the_station(round_, pumps):
            yield of_the_station.__name__, wrong


def check_round(round_: Round) -> None:
    """Fail with the first invariant that this round breaks."""
    for name, wrong in violations(round_):
        raise AssertionError(f"{name}: {wrong}")


def one_of(round_: Round, decision: Decision) -> One:
    entry = round_.given.pumps[decision.pump_id]
    state = round_.before.pumps.get(decision.pump_id, PumpState())
    limits = entry.config.limits
    limits = None if limits is None or problems(limits) else limits
    control = round_.given.control
    old = state.origin is not None and round_.now.seconds_since(state.origin) > control.setpoint_lease_s
    lapsed = old or state.fresh_left > 0
    previous_hz = state.output_hz if state.seeded and not lapsed else measured_speed_hz(entry, limits)
    elapsed_s = 0.0 if state.decided_at is None else round_.now.seconds_since(state.decided_at)
    return One(
        round=round_,
        entry=entry,
        decision=decision,
        state=state,
        limits=limits,
        previous_hz=previous_hz,
        elapsed_s=min(max(elapsed_s, 0.0), control.period_s),
        lapsed=lapsed,
    )


@dataclass(frozen=True, slots=True)
class Turned:
    """A motor as of now: for how long it turns (None: it stands) or stands (None: it turns), its starts of the hour."""

    run_s: float | None
    rest_s: float | None
    starts: int


def motor_of(one: One) -> Turned | None:
    """Return what was remembered and is measured of the motor; None: whether it turns is unknown.

    What was unknown for longer than a lease counts as just started and just stopped. What we told to run and was not
    seen to turn yet is on its way; any other pump that is seen to turn anew has started.
    """
    was, running, now = one.state.timers, one.good("running"), one.round.now
    if running is None:
        return None
    starts = 0 if was is None else sum(now.seconds_since(at) < HOUR_S for at in was.starts)
    lease_s = one.round.given.control.setpoint_lease_s
    if was is None or not 0.0 <= now.seconds_since(was.known_at) <= lease_s:
        return Turned(0.0 if running else None, None if running else 0.0, starts + 1)
    since_s = now.seconds_since(was.since)
    if running == 1.0:
        return Turned(since_s, None, starts) if was.turning else Turned(0.0, None, starts + 1)
    told = one.state.seeded and one.state.hand_back.claimed and one.state.hand_back.since is None
    told = told and not one.lapsed and one.state.output_hz > 0.0
    if was.turning and told and not was.confirmed:
        return Turned(since_s, None, starts)
    return Turned(None, 0.0 if was.turning else since_s, starts)


def start_forbidden(one: One) -> str:
    """Why rule 6 forbids a start of this pump now; '': it does not."""
    limits, turned = one.limits, motor_of(one)
    if limits is None:
        return ""
    most, rest_s, max_run_s = limits.max_starts_per_hour, limits.min_rest_s, limits.max_run_s
    if most is None and rest_s is None and max_run_s is None and limits.min_run_s is None:
        return ""
    if not one.round.given.starts_durable:
        return "no disk would hold it"
    if turned is None:
        return "nobody knows whether it turns"
    if rest_s is not None and (turned.rest_s is None or turned.rest_s < rest_s):
        return f"it has rested {turned.rest_s or 0.0:g} s"
    if max_run_s is not None and turned.run_s is not None and turned.run_s >= max_run_s:
        return f"it has run {turned.run_s:g} s"
    return f"it has started {turned.starts} times" if most is not None and turned.starts >= most else ""


def default_setpoint_hz(one: One) -> float:
    """The default setpoint, 0 where that is outside the band."""
    default_hz, limits = one.config.default_setpoint_hz, one.limits
    if limits is None or not math.isfinite(default_hz):
        return 0.0
    return default_hz if limits.hard_min_speed_hz <= default_hz <= limits.hard_max_speed_hz else 0.0


def own_parameters(one: One) -> Mapping[str, float]:
    """The pump's own figures for failsafe and following; a set with a bad value, or half a pair, is refused whole."""
    own = one.config.control_parameters
    start_m, stop_m = own.get("failsafe_start_level_m"), own.get("failsafe_stop_level_m")
    paired = (start_m is None) is (stop_m is None) and (start_m is None or start_m > stop_m)
    return own if paired and not any(isinstance(value, str) for value in own.values()) else {}


@dataclass(frozen=True, slots=True)
class Levels:
    """What LEVEL_ON_OFF of a pump that empties goes by."""

    start_m: float
    stop_m: float
    run_hz: float


def levels_of(one: One) -> Levels | None:
    """Return the levels of LEVEL_ON_OFF: its own, else the approved, if they lie inside the protective ones."""
    limits, own = one.limits, own_parameters(one)
    if limits is None:
        return None
    start_m = own.get("failsafe_start_level_m", limits.level_max_m)
    stop_m = own.get("failsafe_stop_level_m", limits.level_min_m)
    if start_m is None or stop_m is None:
        return None
    dry_m, high_m, least_m = limits.level_dry_run_m, limits.level_emergency_high_m, limits.level_min_m
    inside = (dry_m is None or stop_m > dry_m) and (high_m is None or start_m < high_m)
    if not inside or (least_m is not None and start_m < least_m):
        return None
    run_hz = own.get("failsafe_run_hz", default_setpoint_hz(one) or limits.hard_max_speed_hz)
    return Levels(start_m, stop_m, run_hz)


def runs_by_level(one: One, levels: Levels) -> bool:
    """Whether it runs: by the level, and where that says nothing as before."""
    level_m, was = believed_level_m(one), one.state.strategy.on
    if level_m is not None and level_m >= levels.start_m:
        return True
    if level_m is not None and level_m <= levels.stop_m:
        return False
    return one.previous_hz > 0.0 if was is None or one.lapsed else was


def believed_level_m(one: One) -> float | None:
    """The level that rules may use, none while a closed float contradicts it."""
    return None if one.round.after.contradicted else one.level_m()


def held_last_hz(one: One) -> float:
    held_hz = one.state.strategy.held_hz
    return last_duty_hz(one) if held_hz is None or one.lapsed else held_hz


def last_duty_hz(one: One) -> float:
    """What its own duty had the pump do last; not known: what it does, 0 where rule 4 or a task had it do that."""
    if one.lapsed:
        return one.previous_hz
    if one.state.duty_hz is not None:
        return one.state.duty_hz
    served = one.decision.conditions.high_level or one.state.high
    served = served or one.decision.pump_id in one.round.before.tasks
    return 0.0 if served else one.previous_hz


def strategy_hz(one: One) -> float:
    """What the pump's strategy says in failsafe, before any rule beneath it."""
    default_hz = default_setpoint_hz(one)
    match one.config.failsafe_strategy:
        case FailsafeStrategy.DEFAULT_SETPOINT:
            return default_hz
        case FailsafeStrategy.HAND_BACK:
            return 0.0
        case FailsafeStrategy.LEVEL_ON_OFF:
            levels = levels_of(one)
            if levels is None or believed_level_m(one) is None:
                return default_hz
            return levels.run_hz if runs_by_level(one, levels) else 0.0
        case FailsafeStrategy.HOLD_LAST:
            hold_s = own_parameters(one).get("failsafe_hold_s", 900.0)
            since = one.state.strategy.held_since
            held_s = 0.0 if since is None else one.round.now.seconds_since(since)
            return default_hz if held_s >= hold_s else held_last_hz(one)
        case _:
            assert_never(one.config.failsafe_strategy)


def _commanded(one: One) -> bool:
    """Whether the pump is ours and in AUTO, and neither rules 1 to 4 nor failsafe have a say."""
    free = one.decision.remote_enabled and not one.entry.stopped and not one.entry.out_of_service
    conditions = one.decision.conditions
    free = free and not conditions.dry_run and not conditions.high_level
    return free and one.proposal.mode is Mode.AUTO and one.decision.failsafe.reason is None and not one.lapsed


def _is_refused(one: One) -> bool:
    """Whether a pump has a duty by its plan that rule 6 forbids it to do."""
    wish, limits, turned = one.proposal.wish_hz, one.limits, motor_of(one)
    if not _commanded(one) or limits is None or one.proposal.held_stopped is True or wish is None:
        return False
    if not limits.hard_min_speed_hz <= wish <= ABSURD_HZ:
        return False
    if one.previous_hz <= 0.0:
        return bool(start_forbidden(one))
    if turned is None or turned.run_s is None or limits.max_run_s is None:
        return False
    return turned.run_s >= limits.max_run_s


def _is_unable(one: One) -> bool:
    """Whether a pump stands that has a duty by its plan and cannot do it: at its panel, stopped, out of service, in
    fault; not in a dry well, nor where rule 4 has the say.
    """
    wish, limits, conditions = one.proposal.wish_hz, one.limits, one.decision.conditions
    if limits is None or wish is None or not limits.hard_min_speed_hz <= wish <= ABSURD_HZ:
        return False
    calm = not conditions.high_level and one.round.after.pumps[one.decision.pump_id].dry_run is not True
    calm = calm and one.decision.failsafe.reason is None and one.proposal.mode is Mode.AUTO and not one.lapsed
    if not calm or one.proposal.held_stopped is True or one.good("running") != 0.0:
        return False
    gone = one.good("local_override") == 1.0 or one.entry.stopped or one.entry.out_of_service
    return gone or (one.decision.remote_enabled and one.good("fault_code") not in {None, 0.0})


def _is_sound(one: One) -> bool:
    """Whether a pump is in AUTO with a wish to believe, and neither stopped, out of service, in failsafe nor dry."""
    wish = one.proposal.wish_hz
    sane = wish is not None and 0.0 <= wish <= ABSURD_HZ and one.proposal.held_stopped is not True
    sane = sane and one.proposal.mode is Mode.AUTO and one.decision.failsafe.reason is None
    return sane and not (one.entry.stopped or one.entry.out_of_service or one.decision.conditions.dry_run)


def _may_clean_out(one: One) -> bool:
    """Whether a clean-out of this pump may go on, by what is measured now (not by what the kernel thinks)."""
    settings, level_m, before = one.round.given.station.duties.clean_out, one.level_m(), one.round.before
    if settings is None or one.limits is None or level_m is None or level_m <= settings.level_m:
        return False
    ours = one.decision.remote_enabled and _is_sound(one) and not one.decision.conditions.high_level
    if not ours or one.lapsed or one.good("fault_code") not in {None, 0.0}:
        return False
    dry = one.round.after.pumps[one.decision.pump_id].dry_run is True
    began = before.clean_out is not None and before.clean_out.began
    if not began:
        return not dry
    if one.previous_hz <= 0.0 or one.good("running") != 1.0:
        return False
    power_kw, least_kw = one.good("actual_power_kw"), settings.power_kw_min
    return not dry or (power_kw is not None and power_kw >= least_kw)


def _snores(one: One) -> bool:
    """Whether a person's clean-out lets this pump run on below its dry-run level: it ran under it before."""
    order = one.round.before.clean_out
    if order is None or order.over or order.pump_id != one.decision.pump_id or not order.began:
        return False
    return one.round.now.seconds_since(order.until) < 0.0 and _may_clean_out(one)


def _reserved(round_: Round) -> frozenset[str]:
    order = round_.after.clean_out
    return frozenset() if order is None or order.over else frozenset({order.pump_id})


def _water_m(one: One) -> float:
    """The level below which no pump runs for upkeep."""
    limits = one.limits
    assert limits is not None
    known = (limits.level_min_m, limits.level_dry_run_reset_m, limits.level_dry_run_m)
    return max((level_m for level_m in known if level_m is not None), default=-math.inf)


def _wanting(round_: Round, pumps: dict[str, One], but: str) -> int:
    """At most so many pumps run, are told to, or mean to."""
    return sum(
        one.good("running") != 0.0
        or one.previous_hz > 0.0
        or one.proposal.wish_hz != 0.0
        or pump_id in round_.after.duties.values()
        or round_.after.pumps[pump_id].target_hz > 0.0
        for pump_id, one in pumps.items()
        if pump_id != but
    )


def is_settling(round_: Round) -> bool:
    return round_.now.seconds_since(round_.before.since) <= SETTLING_S


def places(round_: Round) -> int | None:
    """How many pumps may run: the station's number, or the profile's where that is less and no high level holds."""
    own, profile = round_.given.station.max_pumps_running, round_.given.profile
    own = None if own is None else max(own, 0)
    high = any(decision.conditions.high_level for decision in round_.decisions.values())
    if profile is None or profile.max_pumps_running is None or high:
        return own
    return profile.max_pumps_running if own is None else min(own, profile.max_pumps_running)


def order_of(round_: Round) -> list[str]:
    """Whose turn it is, the next one first, counted from what is remembered of each pump's work."""
    duties, names = round_.given.station.duties, list(round_.given.pumps)
    profile = round_.given.profile
    named = duties.order if profile is None or not profile.duty_order else profile.duty_order
    fixed = [*(name for name in named if name in names), *(name for name in names if name not in named)]
    pumps = round_.after.pumps
    match duties.alternation:
        case Alternation.OFF | Alternation.FIXED:
            return fixed
        case Alternation.BY_START:
            at = fixed.index(round_.before.turn) + 1 if round_.before.turn in fixed else 0
            return [*fixed[at:], *fixed[:at]]
        case Alternation.BY_HOURS:
            return sorted(fixed, key=lambda name: pumps[name].wear.run_s)
        case Alternation.BY_STARTS:
            return sorted(fixed, key=lambda name: pumps[name].wear.starts)
        case _:
            assert_never(duties.alternation)


def _is_free(one: One) -> bool:
    """Whether a pump stands by its plan's wish, is well, and may start."""
    idle = one.proposal.wish_hz == 0.0 and one.proposal.held_stopped is not True
    return (
        _commanded(one)
        and idle
        and one.previous_hz <= 0.0
        and one.good("fault_code") in {None, 0.0}
        and not start_forbidden(one)
    )


def good(value: JudgedValue | None) -> float | None:
    return value.value if value is not None and value.quality is Quality.GOOD else None


def protective_level_m(given: RoundInput, entry: PumpInput) -> float | None:
    value, limits = entry.feedback.get("wet_well_level_m"), entry.config.limits
    if value is None or value.quality is not Quality.GOOD or value.age_s is None:
        return None
    protects = limits is not None and (
        limits.level_dry_run_m is not None or limits.level_emergency_high_m is not None
    )
    return None if protects and value.age_s > given.station.protective_level_age_s else value.value


def measured_speed_hz(entry: PumpInput, limits: SafetyLimits | None) -> float:
    """What the pump turns at, as a value that could have been ordered: 0, or inside the band."""
    speed_hz = good(entry.feedback.get("actual_speed_hz"))
    if limits is None or good(entry.feedback.get("running")) != 1.0:
        return 0.0
    return min(max(0.0 if speed_hz is None else speed_hz, limits.hard_min_speed_hz), limits.hard_max_speed_hz)


def is_high(round_: Round) -> bool:
    """Whether some pump in use measures its emergency high level, or a declared float is closed."""
    station = round_.given.station
    for entry in round_.given.pumps.values():
        float_ = entry.feedback.get("high_float")
        young = float_ is not None and float_.age_s is not None
        young = young and float_ is not None and (float_.age_s or 0.0) <= station.protective_level_age_s
        if station.has_high_float and young and good(float_) == 1.0:
            return True
        limits = entry.config.limits
        at_panel = good(entry.feedback.get("local_override")) == 1.0
        if limits is None or problems(limits) or entry.out_of_service or at_panel:
            continue
        level_m, high_m = protective_level_m(round_.given, entry), limits.level_emergency_high_m
        if level_m is not None and high_m is not None and level_m >= high_m:
            return True
    return False


def _operating_point(one: One, measured: str, rated: float | None) -> tuple[float, float] | None:
    """Speed (Hz) and amount: measured while running inside the band, else rated, else None."""
    speed_hz, amount = one.good("actual_speed_hz"), one.good(measured)
    if (
        one.good("running") == 1.0
        and one.limits is not None
        and speed_hz is not None
        and amount is not None
        and speed_hz >= one.limits.hard_min_speed_hz
        and amount > 0.0
    ):
        return speed_hz, amount
    rated_hz = one.config.rated_speed_hz
    return None if rated is None or rated_hz is None else (rated_hz, rated)


def _above_cap(one: One, cap_hz: float, unit: str) -> str:
    if one.limits is None or cap_hz == math.inf:
        return ""
    target_hz = cap_hz if cap_hz >= one.limits.hard_min_speed_hz else 0.0
    if one.decision.failsafe_image_hz > target_hz + STEP_HZ:
        return f"image {one.decision.failsafe_image_hz:g} Hz, cap {target_hz:g} Hz ({unit})"
    if not one.decision.remote_enabled:
        return ""
    if unit == "m3/h":  # rule 6 stands above the flow, motor power above rule 6
        target_hz = max(target_hz, one.kept_running_hz())
    most_hz = max(target_hz, one.at_most_hz(target_hz))
    return "" if one.decision.setpoint_hz <= most_hz + STEP_HZ else f"at most {most_hz:g} Hz ({unit})"


def _is_dead(one: One) -> bool:
    """Whether a pump stands that should not, or could not run: in fault, or told to run in vain."""
    faulty = one.good("fault_code") not in {None, 0.0}
    return one.good("running") == 0.0 and (faulty or one.decision.conditions.not_following)


def _answers(one: One, pumps: Mapping[str, One]) -> bool:
    """Whether the pump goes to its maximum, or to what power leaves of it, as fast as its rate allows; or stands and
    waits with that speed for what really keeps it: its place, the stagger, the gates after a lapse, a cap's hold.
    """
    assert one.limits is not None
    low, high = one.limits.hard_min_speed_hz, one.limits.hard_max_speed_hz
    goal_hz = min(high, one.power_cap_hz())
    for step in one.decision.trail:
        if step.rule is Rule.STATION_POWER and step.before_hz >= goal_hz - STEP_HZ:
            goal_hz = step.after_hz
    goal_hz = goal_hz if goal_hz >= low else 0.0
    value_hz = one.decision.setpoint_hz
    if one.previous_hz > 0.0:
        way_hz = one.limits.max_rate_hz_per_s * one.elapsed_s
        return value_hz >= min(max(one.previous_hz, low) + way_hz, goal_hz) - STEP_HZ
    if value_hz > 0.0 or goal_hz <= 0.0:
        return True
    waiting = [
        step for step in one.decision.trail if step.before_hz >= goal_hz - STEP_HZ and step.after_hz == 0.0
    ]
    return any(_is_kept_by(step.rule, one, pumps) for step in waiting)


def _is_kept_by(rule: Rule, one: One, pumps: Mapping[str, One]) -> bool:
    """Whether what the trail says keeps a pump from its start at a high level does so truly."""
    given, now = one.round.given, one.round.now
    others = {pump_id for pump_id in given.pumps if pump_id != one.decision.pump_id}
    match rule:
        case Rule.MAX_RUNNING:
            taken = {
                pump_id
                for pump_id in others
                if good(given.pumps[pump_id].feedback.get("running")) in {None, 1.0}
                or (pump_id in pumps and pumps[pump_id].decision.remote_enabled and _is_told(pumps[pump_id]))
            }
            return len(taken) >= max(0, given.station.max_pumps_running or 0)
        case Rule.STAGGER:
            just = any(pumps[pump_id].starts for pump_id in others & pumps.keys())
            return just or now.seconds_since(one.round.before.started_at) < given.station.stagger_s
        case Rule.RATE:
            return one.lapsed
        case Rule.POWER_CAP:
            hold_s, at = given.control.failsafe_recovery_hold_s, one.state.cap_stopped_at
            return at is not None and now.seconds_since(at) < hold_s
        case _:
            return False


def _is_told(one: One) -> bool:
    """Whether the pump was told to run, or is, or has its place and waits for the gates alone."""
    last = one.decision.trail[-1] if one.decision.trail else None
    waits = one.lapsed and last is not None and last.rule is Rule.RATE and last.before_hz > 0.0
    return one.previous_hz > 0.0 or one.decision.setpoint_hz > 0.0 or waits


# --------------------------------------------------------------------------- over a whole story


@dataclass
class Motor:
    """What a witness beside the kernel knows of one motor: when it was started by order, and when it last turned."""

    started: list[Instant] = field(default_factory=list)
    turned: Instant | None = None


@dataclass
class Claim:
    """What a witness beside the kernel knows of one claim: whether it ever was, whether it is lost, since when all has
    been good, and when anybody last knew whether the pump turns.
    """

    claimed: bool = False
    lost: bool = False
    good_since: Instant | None = None
    known_at: Instant | None = None


def check_claims(round_: Round, claims: Mapping[str, Claim]) -> None:
    """CTL-7, WDG-2: a hand-back does not end before its cause has been gone for the hold, over restarts too: judged by
    what was measured, not by what any kernel remembers. What a new kernel has not heard of yet says nothing.
    """
    for pump_id, entry in round_.given.pumps.items():
        claim, decision = claims[pump_id], round_.decisions.get(pump_id)
        heartbeat = entry.feedback.get("plc_heartbeat")
        if good(entry.feedback.get("running")) is not None:
            claim.known_at = round_.now
        points = [entry.feedback.get(point) for point in ESSENTIAL]
        points += [heartbeat] if heartbeat is not None else []
        if claim.claimed and any(
            point is not None and point.age_s is not None and good(point) is None for point in points
        ):
            claim.lost, claim.good_since = True, None
        elif claim.good_since is None:
            claim.good_since = round_.now if claim.claimed else round_.before.since.plus(-HOUR_S)
        if decision is None or not decision.remote_enabled:
            continue
        assert claim.good_since is not None, f"{pump_id} is claimed while its cause holds"
        good_s = round_.now.seconds_since(claim.good_since)
        hold_s = round_.given.control.failsafe_recovery_hold_s
        assert good_s >= hold_s, f"{pump_id} is claimed {good_s:g} s after its cause"
        claim.claimed, claim.lost = True, False


def check_motors(round_: Round, motors: Mapping[str, Motor]) -> None:
    """SAF-2.6, SAF-7: starts per hour, rest and run, judged by what was ordered and measured, not by the kernel's own
    count: the invariants above believe what it remembers.
    """
    now = round_.now
    for pump_id, entry in round_.given.pumps.items():
        motor, decision = motors[pump_id], round_.decisions.get(pump_id)
        was = round_.before.pumps.get(pump_id)
        if good(entry.feedback["running"]) == 1.0:
            motor.turned = now
        limits = entry.config.limits
        if decision is None or limits is None or problems(limits) or not decision.remote_enabled:
            continue
        state = round_.after.pumps[pump_id]
        begins = was is not None and was.seeded and was.output_hz <= 0.0 < decision.setpoint_hz
        if begins and _ordered_now(state, now):
            if decision.reason is not Reason.HIGH_LEVEL:
                _check_start(limits, motor, decision, now=now, durable=round_.given.starts_durable)
            motor.started.append(now)
        if decision.setpoint_hz > 0.0:
            motor.turned = now
        elif was is not None and was.output_hz > 0.0:
            _check_end(limits, state, decision, now=now)


def _ordered_now(state: PumpState, now: Instant) -> bool:
    """An order is not confirmed yet; a pump that is only followed after a gap runs already."""
    return state.timers is not None and state.timers.starts[-1:] == (now,) and not state.timers.confirmed


def _check_start(
    limits: SafetyLimits, motor: Motor, decision: Decision, *, now: Instant, durable: bool
) -> None:
    of_the_hour = [at for at in motor.started if now.seconds_since(at) < HOUR_S]
    if limits.max_starts_per_hour is not None:
        assert len(of_the_hour) < limits.max_starts_per_hour, (
            f"start {len(of_the_hour) + 1} of {decision.pump_id}"
        )
        assert durable, "a start that no disk holds"
    if limits.min_rest_s is not None and motor.turned is not None:
        assert now.seconds_since(motor.turned) >= limits.min_rest_s, f"{decision.pump_id} has not rested"


def _check_end(limits: SafetyLimits, state: PumpState, decision: Decision, *, now: Instant) -> None:
    """A stop within the minimum run has a reason that stands above it, or the pump did not turn."""
    if limits.min_run_s is None or state.timers is None or not state.timers.turning:
        return
    above = {Rule.POWER_CAP, Rule.MAX_RUNNING, Rule.STATION_POWER, Rule.FINAL_CHECK}
    if decision.reason not in FORCED and not any(step.rule in above for step in decision.trail):
        assert now.seconds_since(state.timers.since) >= limits.min_run_s, f"{decision.pump_id} ran too short"
