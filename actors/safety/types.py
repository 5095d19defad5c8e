"""What the kernel is given, what it remembers and what it answers; plain frozen values, no behaviour."""

from __future__ import annotations

import msgspec

from actors.messages import JudgedValue, Proposal, TrailStep
from actors.safety.following import Following
from actors.vocabulary import (
    ControlSettings,
    Instant,
    Mode,
    PumpConfig,
    Quality,
    Reason,
    Rule,
    SafetyLimits,
    StationConfig,
)
from actors.vocabulary.durable import MotorTimers, Task, Wear
from actors.vocabulary.duties import DutyProfile


class PumpInput(msgspec.Struct, frozen=True, kw_only=True):
    """All that concerns one pump in a round: its newest proposal, judged feedback, latches and scope failure.

    `stopped`: an emergency stop covers it; `out_of_service`: that latch does. `scope_failure`: the reason
    of a quarantine (SUP-5) that covers it.
    """

    config: PumpConfig
    proposal: Proposal | None
    feedback: dict[str, JudgedValue]
    stopped: bool = False
    out_of_service: bool = False
    scope_failure: Reason | None = None


class RoundInput(msgspec.Struct, frozen=True, kw_only=True):
    """One scheduling round of one station. `pumps` holds every pump of `station.pumps`; `deciding` names
    those that get a decision, the others only advance their conditions. `starts_durable`: the disk takes what a
    start must leave behind before it is published (SAF-7). `profile`: the one that holds at this hour (CTL-6).
    """

    station: StationConfig
    control: ControlSettings
    pumps: dict[str, PumpInput]
    deciding: frozenset[str]
    starts_durable: bool = True
    profile: DutyProfile | None = None


class HandBack(msgspec.Struct, frozen=True, kw_only=True):
    """Whether we may claim a pump (CTL-7). `claimed`: all had arrived once since our start.

    `since` is when the claim was lost (or, before the first claim, when we started to wait), `good_since`
    since when all has been good again, `reason` why nothing is claimed. `inherited`: our predecessor had claimed it a
    moment ago, so what is bad at our start is a loss and not something that has yet to arrive (SAF-10).
    """

    claimed: bool = False
    inherited: bool = False
    since: Instant | None = None
    good_since: Instant | None = None
    reason: Reason | None = None


class Failsafe(msgspec.Struct, frozen=True, kw_only=True):
    """A pump's failsafe (WDG-2): why and since when, and since when its cause is gone."""

    reason: Reason | None = None
    since: Instant | None = None
    clear_since: Instant | None = None


class StrategyMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What a failsafe strategy remembers (WDG-3): LEVEL_ON_OFF whether the pump runs, HOLD_LAST the value held (Hz) and
    since when. None: not known, or the strategy is another.
    """

    on: bool | None = None
    held_hz: float | None = None
    held_since: Instant | None = None


class CleanOutOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A person's order to clean out a well with one pump (CTL-6), in force from `since` to `until`.

    `began`: its pump has run under it. `over`: why it has ended; such an order does nothing any more. Never stored: a
    restart ends it.
    """

    order_id: str
    pump_id: str
    by: str
    reason: str
    since: Instant
    until: Instant
    began: bool = False
    over: str = ""


class PumpState(msgspec.Struct, frozen=True, kw_only=True):
    """What the kernel remembers of one pump.

    `output_hz` is the last applied value before rounding, or the measured speed while nothing is claimed;
    `target_hz` where it was going before the ramp. `duty_hz` is the last value that was its own duty's and not rule 4's
    or a task's; None: not known, it is what the pump does. `dry_run` None: no good level was seen yet.
    `essentials_at`: when running, speed and local override had arrived (SAF-10). `invalid_ticks` counts bad
    proposals in a row, each `counted_sequence` once. `cap_stopped_at`: when a power or flow cap stopped it.
    `timers`: its starts, run and rest; None: nothing is known. `wear`: hours run and starts since we know it.
    `following`: whether it does as it was told (CTL-5).
    `origin`: the tick of the last decision; `fresh_left`: fresh decisions that a gate still waits for after
    a lapse, the first of which was made at `fresh_since`; `lapses`: when the last leases ran out.
    """

    seeded: bool = False
    essentials_at: Instant | None = None
    output_hz: float = 0.0
    target_hz: float = 0.0
    duty_hz: float | None = None
    decided_at: Instant | None = None
    dry_run: bool | None = None
    high: bool = False
    hand_back: HandBack = HandBack()
    failsafe: Failsafe = Failsafe()
    strategy: StrategyMemory = StrategyMemory()
    following: Following = Following()
    invalid_ticks: int = 0
    counted_sequence: int | None = None
    cap_stopped_at: Instant | None = None
    timers: MotorTimers | None = None
    wear: Wear = Wear()
    origin: Instant | None = None
    fresh_left: int = 0
    fresh_since: Instant | None = None
    lapses: tuple[Instant, ...] = ()


class KernelState(msgspec.Struct, frozen=True, kw_only=True):
    """What the kernel remembers of one station.

    `since`: our own start. `started_at`: the last start of a pump (at first our own start, so that a power-
    up is staggered too). `float_alone_since`: since when a closed high float stands against the level.
    `contradicted`: a dry level met a closed float and has not left dry since. `duties`: pump -> the pump that
    runs in its place (rule 6). `turn`: who started last on duty. `tasks`: who assists, exercises or flushes.
    `assisted_at`: the last begin of an assist. `flushed_at`: when the rising main last had its minimum flow for long
    enough, `moving_since`: since when it has it now. `clean_out`: a person's order.
    """

    since: Instant
    started_at: Instant
    pumps: dict[str, PumpState] = msgspec.field(default_factory=dict)
    float_alone_since: Instant | None = None
    contradicted: bool = False
    duties: dict[str, str] = msgspec.field(default_factory=dict)
    turn: str = ""
    tasks: dict[str, Task] = msgspec.field(default_factory=dict)
    assisted_at: Instant | None = None
    flushed_at: Instant | None = None
    moving_since: Instant | None = None
    clean_out: CleanOutOrder | None = None


def initial_state(since: Instant) -> KernelState:
    """The state of a kernel that has just started and knows nothing (SAF-10)."""
    return KernelState(since=since, started_at=since)


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a pump whether or not it changed the value: the alarms are made of these."""

    dry_run: bool = False
    high_level: bool = False
    failsafe: bool = False
    handed_back: bool = False
    not_commissioned: bool = False
    invalid_proposal: bool = False
    final_check: bool = False
    not_following: bool = False
    substituted: bool = False
    clean_out: bool = False


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The kernel's answer for one pump; the shell adds epoch, sequence and lease.

    `tracking_hz` is the measured speed that our output follows while nothing is claimed, else None.
    `proposal` is the one decided on; its origin is the setpoint's. `duty_hz` is the value of the pump that runs in
    its place, None: none does. `not_following_since`: since when it does not do as it was told (CTL-5).
    """

    pump_id: str
    proposal: Proposal
    setpoint_hz: float
    remote_enabled: bool
    quality: Quality
    reason: Reason
    run_inhibit: bool
    mode: Mode
    limits_version: int
    trail: tuple[TrailStep, ...]
    failsafe_image_hz: float
    failsafe_image_reason: Reason
    failsafe: Failsafe
    handed_back_since: Instant | None
    tracking_hz: float | None
    conditions: Conditions
    duty_hz: float | None = None
    not_following_since: Instant | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """One pump at one instant as its rules see it. `level_m` is GOOD and protective, `running` None is
    unknown.

    `limits` None: not commissioned. `image`: the rules are asked what to show when the lease runs out.
    `ticked`: the proposal is newer than the one decided last.
    `high_level`: the station's emergency high level holds; `high_chosen`: this pump answers it.
    `start_refused`: why rule 6 forbids a start now; `run_s`: for how long the pump has been turning.
    `unseen`: after a lapse the gates will not show this decision yet.
    `held_s`: for how long a last value has been held in failsafe (HOLD_LAST).
    `soft_stop_hz_per_s`: how fast a normal stop comes down at most. `not_following`: it does not do as it was told
    (CTL-5), a fact for the station's duties; no rule of the pump pass looks at it. `profile`: what bounds a plan's wish
    at this hour. `snoring`: a person's clean-out lets the running pump go on below its dry-run level.
    """

    config: PumpConfig
    limits: SafetyLimits | None
    control: ControlSettings
    feedback: dict[str, JudgedValue]
    proposal: Proposal | None
    state: PumpState
    running: bool | None
    level_m: float | None
    enabled: bool
    claim_reason: Reason | None
    local: bool
    stopped: bool
    out_of_service: bool
    dry_run: bool
    tracked_hz: float
    elapsed_s: float
    cap_hold: bool
    ticked: bool = True
    high_level: bool = False
    high_chosen: bool = False
    start_refused: str = ""
    run_s: float | None = None
    soft_stop_hz_per_s: float | None = None
    unseen: bool = False
    profile: DutyProfile | None = None
    snoring: bool = False
    image: bool = False
    not_following: bool = False
    held_s: float = 0.0


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """A value on its way through the rules.

    `stopped_by`: rule 1, 2 or 3 holds; `high`: rule 4 does; `held`: rule 6 keeps the pump running; `cut`: the
    station's power stops it, which no soft stop delays.
    """

    value_hz: float
    reason: Reason
    stopped_by: Rule | None = None
    high: bool = False
    held: bool = False
    cut: bool = False
    failed_check: bool = False
    trail: tuple[TrailStep, ...] = ()
