"""The discretised space that the kernel is searched in: every axis with its values, and the products that are searched.

One product over everything would never end, and most axes do not meet: each space below is the whole product of those
axes that act on each other, the other axes at their usual value. Every case is one round from one state; the state is
built, not reached, so the search covers states that a defect or a later change of the rules may lead to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from actors.messages import JudgedValue, Proposal, ProposalSource
from actors.safety.following import Following
from actors.safety.types import (
    CleanOutOrder,
    Failsafe,
    HandBack,
    KernelState,
    PumpInput,
    PumpState,
    RoundInput,
    StrategyMemory,
)
from actors.vocabulary import (
    Alternation,
    Assist,
    CleanOut,
    ControlSettings,
    ControlType,
    DutyProfile,
    Exercise,
    FailsafeStrategy,
    Flush,
    HighLevelResponse,
    Instant,
    Mode,
    PumpConfig,
    Quality,
    Reason,
    Rule,
    SafetyLimits,
    StationConfig,
    StationDuties,
)
from actors.vocabulary.durable import MotorTimers, Task, Wear

NOW: Final = Instant("boot", 1_000_000_000_000, 1_800_000_000_000_000_000)
LONG_AGO: Final = NOW.plus(-900.0)
CONTROL: Final = ControlSettings(failsafe_recovery_hold_s=60.0)
BAD: Final = "bad"
NEVER: Final = "never"
NAN: Final = float("nan")

LEVELS: Final = ("dry_run_m", "dry_run_reset_m", "min_m", "high_reset_m", "high_m")
LEVEL_M: Final = dict(zip(LEVELS, (0.4, 0.6, 0.7, 2.8, 3.0), strict=True))
assert all(low < high for low, high in pairwise(LEVEL_M.values()))


def _limits(**changed: Any) -> SafetyLimits:
    usual: dict[str, Any] = {
        "version": 7,
        "hard_min_speed_hz": 20.0,
        "hard_max_speed_hz": 50.0,
        "max_rate_hz_per_s": 1.0,
        "level_dry_run_m": LEVEL_M["dry_run_m"],
        "level_dry_run_reset_m": LEVEL_M["dry_run_reset_m"],
        "level_min_m": LEVEL_M["min_m"],
        "level_emergency_high_m": LEVEL_M["high_m"],
        "level_emergency_high_reset_m": LEVEL_M["high_reset_m"],
    }
    return SafetyLimits(**{**usual, **changed})


LIMITS: Final[Mapping[str, SafetyLimits | None]] = {
    "usual": _limits(),
    "none": None,
    "contradictory": _limits(level_dry_run_m=3.5),
    "speeds_only": _limits(
        level_dry_run_m=None,
        level_dry_run_reset_m=None,
        level_min_m=None,
        level_emergency_high_m=None,
        level_emergency_high_reset_m=None,
    ),
    "odd_band": _limits(hard_min_speed_hz=20.005, hard_max_speed_hz=49.995, max_rate_hz_per_s=0.3),
    "narrow": _limits(hard_min_speed_hz=30.0, hard_max_speed_hz=30.0, max_rate_hz_per_s=7.0),
    "power": _limits(max_power_kw=8.0),
    "flow": _limits(max_flow_m3h=80.0),
    "staged": _limits(level_max_m=2.0),
    "staged_rest": _limits(level_max_m=2.0, min_rest_s=120.0),
    "power_and_flow": _limits(max_power_kw=8.0, max_flow_m3h=80.0),
    "floor": _limits(min_flow_m3h=60.0),
    "floor_and_caps": _limits(min_flow_m3h=60.0, max_power_kw=8.0, max_flow_m3h=80.0),
    "levels": _limits(level_max_m=2.0),
    "starts": _limits(max_starts_per_hour=3),
    "rest": _limits(min_rest_s=120.0),
    "runs": _limits(min_run_s=60.0, max_run_s=1800.0),
    "timers": _limits(max_starts_per_hour=3, min_rest_s=120.0, min_run_s=60.0, max_run_s=1800.0),
    "timers_and_caps": _limits(
        max_starts_per_hour=3,
        min_rest_s=120.0,
        min_run_s=60.0,
        max_run_s=1800.0,
        max_power_kw=8.0,
        max_flow_m3h=80.0,
    ),
}


def _timers(
    *, turning: bool, since_s: float, starts_s: Sequence[float] = (), known_s: float = 1.0, seen: bool = True
) -> MotorTimers:
    return MotorTimers(
        turning=turning,
        since=NOW.plus(-since_s),
        known_at=NOW.plus(-known_s),
        starts=tuple(NOW.plus(-start_s) for start_s in starts_s),
        confirmed=turning and seen,
    )


TIMERS: Final[Mapping[str, MotorTimers | None]] = {
    "unknown": None,
    "rested": _timers(turning=False, since_s=120.0, starts_s=(3000.0, 1000.0)),
    "resting": _timers(turning=False, since_s=119.0, starts_s=(1000.0,)),
    "started_often": _timers(turning=False, since_s=300.0, starts_s=(3599.0, 2000.0, 1000.0)),
    "an_hour_over": _timers(turning=False, since_s=300.0, starts_s=(3600.0, 2000.0, 1000.0)),
    "after_a_gap": _timers(turning=False, since_s=900.0, known_s=10.5),
    "ordered": _timers(turning=True, since_s=1.0, starts_s=(1.0,), seen=False),
    "young": _timers(turning=True, since_s=59.0, starts_s=(59.0,)),
    "turning": _timers(turning=True, since_s=60.0, starts_s=(60.0,)),
    "nearly_long": _timers(turning=True, since_s=1799.0, starts_s=(1799.0,)),
    "long": _timers(turning=True, since_s=1800.0, starts_s=(1800.0,)),
}

# `control_parameters` of the safety layer, for strategies and following.
PARAMETERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "none": {},
    "own": {"failsafe_start_level_m": 1.6, "failsafe_stop_level_m": 0.9, "failsafe_run_hz": 42.0},
    "brief": {"failsafe_hold_s": 5.0, "following_tolerance_hz": 5.0, "following_time_s": 5.0},
    "bad": {"failsafe_start_level_m": 1.6, "failsafe_stop_level_m": 0.9, "failsafe_hold_s": "long"},
}
MEMORIES: Final[Mapping[str, StrategyMemory]] = {
    "none": StrategyMemory(),
    "on": StrategyMemory(on=True),
    "off": StrategyMemory(on=False),
    "held": StrategyMemory(held_hz=40.0, held_since=NOW.plus(-899.0)),
    "held_young": StrategyMemory(held_hz=40.0, held_since=NOW.plus(-4.0)),
    "held_out": StrategyMemory(held_hz=40.0, held_since=NOW.plus(-900.0)),
    "held_before": StrategyMemory(held_since=NOW.plus(-300.0)),
}
FOLLOWINGS: Final[Mapping[str, Following]] = {
    "fresh": Following(),
    "off_young": Following(off_since=NOW.plus(-19.0), below=True, nearest_hz=20.0),
    "off_long": Following(off_since=NOW.plus(-20.0), below=True, nearest_hz=20.0),
    "above_long": Following(off_since=NOW.plus(-20.0), below=False, nearest_hz=40.0),
    "would_not_run": Following(
        off_since=NOW.plus(-40.0),
        below=True,
        nearest_hz=0.0,
        failed_since=NOW.plus(-20.0),
        failed_to_run=True,
    ),
    "would_not_stop": Following(
        off_since=NOW.plus(-40.0), below=False, nearest_hz=20.0, failed_since=NOW.plus(-20.0)
    ),
    "nearly_well": Following(failed_since=NOW.plus(-60.0), failed_to_run=True, good_since=NOW.plus(-19.0)),
    "well": Following(failed_since=NOW.plus(-60.0), failed_to_run=True, good_since=NOW.plus(-20.0)),
}

DUTIES: Final[Mapping[str, StationDuties]] = {
    "none": StationDuties(),
    "fixed": StationDuties(alternation=Alternation.FIXED, order=("b",)),
    "by_start": StationDuties(alternation=Alternation.BY_START),
    "by_hours": StationDuties(alternation=Alternation.BY_HOURS, alternation_h=0.5),
    "by_starts": StationDuties(alternation=Alternation.BY_STARTS, alternation_h=0.01),
    "assist": StationDuties(assist=Assist(pumps=1, reset_m=1.5, after_s=60.0)),
    "slow_assist": StationDuties(assist=Assist(pumps=2, reset_m=1.5, after_s=60.0, speed_hz=30.0)),
    "upkeep": StationDuties(
        exercise=Exercise(after_h=24.0, run_s=30.0, level_m=0.9),
        flush=Flush(every_h=12.0, run_s=60.0, speed_hz=45.0, flow_m3h=90.0, level_m=1.5),
    ),
    "exercise": StationDuties(exercise=Exercise(after_h=24.0, run_s=30.0, level_m=0.9)),
    "clean_out": StationDuties(
        clean_out=CleanOut(level_m=0.25, run_s=300.0, speed_hz=25.0, power_kw_min=3.0)
    ),
    "all": StationDuties(
        alternation=Alternation.BY_START,
        assist=Assist(pumps=1, reset_m=1.5, after_s=60.0),
        exercise=Exercise(after_h=24.0, run_s=30.0, level_m=0.9),
        flush=Flush(every_h=12.0, run_s=60.0, speed_hz=45.0, flow_m3h=90.0, level_m=1.5),
        clean_out=CleanOut(level_m=0.25, run_s=300.0, speed_hz=25.0, power_kw_min=3.0),
    ),
}
PROFILES: Final[Mapping[str, DutyProfile | None]] = {
    "none": None,
    "night": DutyProfile(
        name="night",
        weekdays=(1, 2, 3, 4, 5, 6, 7),
        from_minute=1320,
        until_minute=360,
        speed_hz_min=25.0,
        speed_hz_max=30.0,
        max_pumps_running=1,
        duty_order=("b", "a"),
    ),
}
# (which pump, what, since how many seconds)
TASKS: Final[Mapping[str, tuple[str, Rule, float] | None]] = {
    "none": None,
    "a_assists": ("a", Rule.ASSIST, 300.0),
    "a_flushes": ("a", Rule.FLUSH, 59.0),
    "a_flushed": ("a", Rule.FLUSH, 60.0),
    "a_exercises": ("a", Rule.EXERCISE, 20.0),
    "a_is_exercised_in_vain": ("a", Rule.EXERCISE, 150.0),
}
# (begun, seconds left, over)
ORDERS: Final[Mapping[str, tuple[bool, float, str] | None]] = {
    "none": None,
    "given": (False, 200.0, ""),
    "begun": (True, 200.0, ""),
    "run_out": (True, 0.0, ""),
    "over": (True, 200.0, "the pump stopped"),
}

HANDS: Final[Mapping[str, HandBack]] = {
    "claimed": HandBack(claimed=True),
    "first": HandBack(),
    "lost": HandBack(claimed=True, since=NOW.plus(-5.0), reason=Reason.HANDED_BACK_FEEDBACK),
    "recovering": HandBack(
        claimed=True, since=NOW.plus(-90.0), good_since=NOW.plus(-59.0), reason=Reason.RECOVERING
    ),
    "recovered": HandBack(
        claimed=True, since=NOW.plus(-90.0), good_since=NOW.plus(-60.0), reason=Reason.RECOVERING
    ),
}
FAILSAFES: Final[Mapping[str, Failsafe]] = {
    "none": Failsafe(),
    "plan": Failsafe(reason=Reason.FAILSAFE_PLAN_EXPIRED, since=NOW.plus(-90.0)),
    "clearing": Failsafe(
        reason=Reason.FAILSAFE_INVALID_PROPOSAL, since=NOW.plus(-90.0), clear_since=NOW.plus(-59.0)
    ),
    "cleared": Failsafe(
        reason=Reason.FAILSAFE_INVALID_PROPOSAL, since=NOW.plus(-90.0), clear_since=NOW.plus(-60.0)
    ),
}
# (wish, its own reason for failsafe, held stopped): the classes of proposals that the rules tell apart.
PROPOSALS: Final[Mapping[str, tuple[Any, Reason | None, bool]]] = {
    "0": (0.0, None, False),
    "far_below_minimum": (10.0, None, False),
    "below_minimum": (17.0, None, False),
    "just_below_minimum": (19.5, None, False),
    "minimum": (20.0, None, False),
    "in_band": (35.004, None, False),
    "maximum": (50.0, None, False),
    "above": (60.0, None, False),
    "absurd": (1e9, None, False),
    "negative": (-5.0, None, False),
    "nan": (NAN, None, False),
    "no_wish": (None, None, False),
    "plan_expired": (None, Reason.FAILSAFE_PLAN_EXPIRED, False),
    "wish_and_failsafe": (45.0, Reason.FAILSAFE_DATABASE, False),
    "held": (0.0, None, True),
    "held_in_failsafe": (None, Reason.FAILSAFE_PLAN_EXPIRED, True),
}

PUMP: Final[Mapping[str, Any]] = {
    "limits": "usual",
    "strategy": FailsafeStrategy.DEFAULT_SETPOINT,
    "parameters": "none",
    "memory": "none",
    "following": "fresh",
    "default_hz": 30.0,
    "emergency_hz": 0.0,
    "rated": False,
    "stopped": False,
    "out_of_service": False,
    "quarantined": False,
    "panel": 0.0,
    "running": 1.0,
    "speed": "previous",
    "heartbeat": "never",
    "level_m": 1.0,
    "level_age_s": 0.5,
    "float": NEVER,
    "power_kw": NEVER,
    "flow_m3h": NEVER,
    "fault": 0.0,
    "proposal": "in_band",
    "mode": Mode.AUTO,
    "ticked": True,
    "seeded": True,
    "previous_hz": 35.0,
    "duty_hz": None,
    "elapsed_s": 1.0,
    "dry_run": False,
    "high": False,
    "hand": "claimed",
    "failsafe": "none",
    "invalid_ticks": 0,
    "fresh_left": 0,
    "cap_stopped_s": None,
    "timers": "unknown",
    "origin_s": 1.0,
    "worked": (0.0, 0),
    "stood_s": 3600.0,
}
STATION: Final[Mapping[str, Any]] = {
    "max_running": None,
    "max_power_kw": None,
    "stagger_s": 0.0,
    "started_s": 900.0,
    "response": HighLevelResponse.RUN_PERMITTED,
    "dry_first": True,
    "has_float": False,
    "contradicted": False,
    "float_alone_s": None,
    "deciding": "all",
    "durable": True,
    "soft_stop_hz_per_s": None,
    "duties": "",
    "since_s": 900.0,
    "settings": "none",
    "profile": "none",
    "turn": "",
    "task": "none",
    "assisted_s": None,
    "flushed_s": None,
    "moving_s": None,
    "clean_out": "none",
}


@dataclass(frozen=True)
class Space:
    """A product: station axes × pump axes for each of `pumps` pumps; `fixed` are other values than the usual ones."""

    name: str
    about: str
    station: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    pump: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    pumps: int = 1
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def axes(self) -> tuple[tuple[str, Sequence[Any]], ...]:
        of_pumps = [(f"{name}.{axis}", values) for name in self.names for axis, values in self.pump.items()]
        return (*self.station.items(), *of_pumps)

    @property
    def names(self) -> str:
        return "abcdefgh"[: self.pumps]

    @property
    def size(self) -> int:
        size = 1
        for _, values in self.axes:
            size *= len(values)
        return size

    def point(self, index: int) -> dict[str, Any]:
        """Return the values of one case by axis; every index below `size` is another one."""
        values: dict[str, Any] = {}
        for axis, choices in self.axes:
            index, place = divmod(index, len(choices))
            values[axis] = choices[place]
        return values

    def indices(self, sample: int | None = None) -> Iterator[int]:
        """Yield every index once, or `sample` of them spread evenly over all axes (always the same)."""
        size = self.size
        if sample is None or sample >= size:
            yield from range(size)
            return
        step = int(size * 0.6180339887498949) | 1
        while _gcd(step, size) != 1:
            step += 2
        yield from (count * step % size for count in range(sample))

    def case(self, index: int) -> tuple[RoundInput, KernelState]:
        """Build one case: what the kernel is given, and what it remembers."""
        point = self.point(index)
        at_station = {**STATION, **self.fixed, **{key: point[key] for key in self.station}}
        pumps = {
            name: {**PUMP, **self.fixed, **{axis: point[f"{name}.{axis}"] for axis in self.pump}}
            for name in self.names
        }
        configs = tuple(
            _config(
                name,
                at["limits"],
                at["strategy"],
                at["default_hz"],
                at["emergency_hz"],
                rated=at["rated"],
                parameters=at["parameters"],
            )
            for name, at in pumps.items()
        )
        station = StationConfig(
            station_id="s",
            site_id="site",
            name="s",
            timezone="UTC",
            modbus_unit_id=1,
            max_pumps_running=at_station["max_running"],
            max_power_kw=at_station["max_power_kw"],
            has_high_float=at_station["has_float"],
            stagger_s=at_station["stagger_s"],
            high_level_response=at_station["response"],
            dry_run_outranks_high_level=at_station["dry_first"],
            float_response_max_s=600.0,
            soft_stop_hz_per_s=at_station["soft_stop_hz_per_s"],
            duties=DUTIES[at_station["settings"]],
            pumps=configs,
        )
        deciding = self.names if at_station["deciding"] == "all" else at_station["deciding"]
        given = RoundInput(
            station=station,
            control=CONTROL,
            pumps={config.pump_id: _entry(config, pumps[config.pump_id]) for config in configs},
            deciding=frozenset(deciding),
            starts_durable=at_station["durable"],
            profile=PROFILES[at_station["profile"]],
        )
        alone_s = at_station["float_alone_s"]
        state = KernelState(
            since=NOW.plus(-at_station["since_s"]),
            started_at=NOW.plus(-at_station["started_s"]),
            pumps={name: _state(at) for name, at in pumps.items()},
            float_alone_since=None if alone_s is None else NOW.plus(-alone_s),
            contradicted=at_station["contradicted"],
            # "ab": b does the duty of a
            duties=dict([at_station["duties"]]) if at_station["duties"] else {},
            turn=at_station["turn"],
            tasks=_tasks(at_station["task"]),
            assisted_at=_ago(at_station["assisted_s"]),
            flushed_at=_ago(at_station["flushed_s"]),
            moving_since=_ago(at_station["moving_s"]),
            clean_out=_order(at_station["clean_out"]),
        )
        return given, state


def _ago(seconds: float | None) -> Instant | None:
    return None if seconds is None else NOW.plus(-seconds)


def _tasks(name: str) -> dict[str, Task]:
    task = TASKS[name]
    return {} if task is None else {task[0]: Task(rule=task[1], since=NOW.plus(-task[2]))}


def _order(name: str) -> CleanOutOrder | None:
    """A person's order for pump a, 100 s old or just given."""
    order = ORDERS[name]
    if order is None:
        return None
    began, left_s, over = order
    return CleanOutOrder(
        order_id="o",
        pump_id="a",
        by="someone",
        reason="grit",
        since=NOW.plus(-100.0 if began else -1.0),
        until=NOW.plus(left_s),
        began=began,
        over=over,
    )


def _gcd(left: int, right: int) -> int:
    while right:
        left, right = right, left % right
    return left


@lru_cache(maxsize=4096)
def _config(
    name: str,
    limits: str,
    strategy: FailsafeStrategy,
    default_hz: float,
    emergency_hz: float,
    *,
    rated: bool,
    parameters: str,
) -> PumpConfig:
    return PumpConfig(
        pump_id=name,
        station_id="s",
        name=name,
        control_type=ControlType.DIRECT_SPEED,
        default_setpoint_hz=default_hz,
        failsafe_strategy=strategy,
        wire_slot=ord(name) - ord("a"),
        emergency_stop_setpoint_hz=emergency_hz,
        rated_power_kw=10.0 if rated else None,
        rated_flow_m3h=100.0 if rated else None,
        rated_speed_hz=50.0 if rated else None,
        control_parameters=dict(PARAMETERS[parameters]),
        limits=LIMITS[limits],
    )


@lru_cache(maxsize=4096)
def _judged(value: float | str, age_s: float = 0.5) -> JudgedValue:
    if value == NEVER:
        return JudgedValue(value=None, quality=Quality.BAD, age_s=None, why="never written")
    if isinstance(value, str):
        # It keeps its number, as a judged value does, so that a rule that forgets to look at the quality is missed.
        return JudgedValue(value=1.0, quality=Quality.BAD, age_s=age_s, why="out of range")
    return JudgedValue(value=value, quality=Quality.GOOD, age_s=age_s)


def _entry(config: PumpConfig, at: Mapping[str, Any]) -> PumpInput:
    speed, running = at["speed"], at["running"]
    if running == "as_told":
        running = float(at["previous_hz"] > 0.0)
    if speed == "previous":
        speed = 0.0 if running == 0.0 else at["previous_hz"] or 33.0
    wish, reason, held = PROPOSALS[at["proposal"]]
    heartbeat = {"never": NEVER, "moves": 7.0, "stuck": BAD}[at["heartbeat"]]
    return PumpInput(
        config=config,
        proposal=Proposal(
            pump_id=config.pump_id,
            wish_hz=wish,
            mode=at["mode"],
            origin=NOW if at["ticked"] else NOW.plus(-at["origin_s"]),
            sequence=9 if at["ticked"] else 8,
            source=ProposalSource(calculator="space", plan_id=1),
            failsafe=reason,
            held_stopped=held,
        ),
        feedback={
            "actual_speed_hz": _judged(speed),
            "actual_power_kw": _judged(at["power_kw"]),
            "actual_flow_m3h": _judged(at["flow_m3h"]),
            "wet_well_level_m": _judged(at["level_m"], at["level_age_s"]),
            "running": _judged(running),
            "local_override": _judged(at["panel"]),
            "high_float": _judged(at["float"]),
            "fault_code": _judged(at["fault"]),
            "plc_heartbeat": _judged(heartbeat),
        },
        stopped=at["stopped"],
        out_of_service=at["out_of_service"],
        scope_failure=Reason.FAILSAFE_CHILD_QUARANTINED if at["quarantined"] else None,
    )


def _state(at: Mapping[str, Any]) -> PumpState:
    capped_s = at["cap_stopped_s"]
    return PumpState(
        seeded=at["seeded"],
        essentials_at=LONG_AGO if at["seeded"] else None,
        output_hz=at["previous_hz"],
        target_hz=at["previous_hz"],
        duty_hz=at["duty_hz"],
        decided_at=NOW.plus(-at["elapsed_s"]),
        dry_run=at["dry_run"],
        high=at["high"],
        hand_back=HANDS[at["hand"]],
        failsafe=FAILSAFES[at["failsafe"]],
        strategy=MEMORIES[at["memory"]],
        following=FOLLOWINGS[at["following"]],
        invalid_ticks=at["invalid_ticks"],
        counted_sequence=8,
        cap_stopped_at=None if capped_s is None else NOW.plus(-capped_s),
        timers=TIMERS[at["timers"]],
        wear=Wear(
            run_s=at["worked"][0],
            starts=at["worked"][1],
            turning=at["previous_hz"] > 0.0,
            turned_at=NOW.plus(-at["stood_s"]),
            seen_at=NOW.plus(-1.0),
        ),
        origin=NOW.plus(-at["origin_s"]),
        fresh_left=at["fresh_left"],
    )


_BOOL: Final = (False, True)
_LEVEL_BANDS: Final = (0.3, 0.4, 0.5, 0.65, 1.0, 2.9, 3.0, 3.2, BAD, NEVER)

SPACES: Final[tuple[Space, ...]] = (
    Space(
        "core",
        "mode, latch, level band, its age, class of proposal, previous value and timers",
        pump={
            "mode": (Mode.AUTO, Mode.MANUAL),
            "panel": (0.0, 1.0),
            "stopped": _BOOL,
            "out_of_service": _BOOL,
            "level_m": _LEVEL_BANDS,
            "level_age_s": (0.5, 5.5),
            "proposal": tuple(PROPOSALS),
            "previous_hz": (0.0, 20.0, 35.0, 50.0),
            "failsafe": tuple(FAILSAFES),
            "hand": ("claimed", "recovering", "recovered"),
            "ticked": _BOOL,
        },
    ),
    Space(
        "stops",
        "latches with emergency setpoints, the panel, what is measured, and the lease",
        pump={
            "stopped": _BOOL,
            "out_of_service": _BOOL,
            "emergency_hz": (0.0, 25.0, 12.0, 40.0, NAN),
            "panel": (0.0, 1.0, BAD),
            "running": (0.0, 1.0, BAD),
            "speed": ("previous", 0.0, 28.0, BAD),
            "limits": ("usual", "none", "contradictory", "power"),
            "level_m": (0.3, 1.0, 3.2),
            "proposal": ("0", "in_band", "plan_expired"),
            "previous_hz": (0.0, 20.0, 35.0, 50.0),
            "fresh_left": (0, 2),
            "ticked": _BOOL,
        },
    ),
    Space(
        "well",
        "levels with their hysteresis, float, order of rules 3 and 4, response to high level",
        station={
            "has_float": _BOOL,
            "contradicted": _BOOL,
            "float_alone_s": (None, 5.0, 600.0),
            "dry_first": _BOOL,
            "response": tuple(HighLevelResponse),
        },
        pump={
            "level_m": _LEVEL_BANDS,
            "level_age_s": (0.5, 5.0, 5.5),
            "float": (NEVER, 0.0, 1.0),
            "dry_run": (None, False, True),
            "high": _BOOL,
            "hand": ("claimed", "first", "lost"),
            "proposal": ("0", "in_band", "held"),
            "previous_hz": (0.0, 35.0),
        },
    ),
    Space(
        "places",
        "who gets a place at a high level: faults, pumps that do not follow, drives that report late, rest",
        station={"max_running": (1, 2), "stagger_s": (0.0, 5.0), "started_s": (1.0, 900.0)},
        pump={
            "running": (0.0, 1.0),
            "previous_hz": (0.0, 35.0),
            "timers": ("rested", "resting", "ordered", "unknown"),
            "following": ("fresh", "off_long", "would_not_run"),
            "fault": (0.0, 3.0),
            "proposal": ("0", "in_band", "maximum"),
        },
        pumps=2,
        fixed={"level_m": 3.2, "limits": "rest"},
    ),
    Space(
        "claims",
        "what is lost and comes back: feedback, heartbeat, first claim, failsafe, strategy, quarantine, bad ticks",
        pump={
            "seeded": _BOOL,
            "running": (0.0, 1.0, BAD, NEVER),
            "panel": (0.0, 1.0, BAD, NEVER),
            "heartbeat": ("never", "moves", "stuck"),
            "hand": tuple(HANDS),
            "failsafe": tuple(FAILSAFES),
            "strategy": tuple(FailsafeStrategy),
            "quarantined": _BOOL,
            "invalid_ticks": (0, 2, 3),
            "proposal": ("in_band", "nan", "no_wish", "plan_expired", "held_in_failsafe"),
            "mode": (Mode.AUTO, Mode.MANUAL),
            "previous_hz": (0.0, 35.0),
        },
    ),
    Space(
        "strategies",
        "failsafe by level and by the last value: levels, what is remembered, what is configured",
        pump={
            "strategy": (FailsafeStrategy.LEVEL_ON_OFF, FailsafeStrategy.HOLD_LAST),
            "limits": ("levels", "usual", "speeds_only"),
            "parameters": tuple(PARAMETERS),
            "memory": tuple(MEMORIES),
            "level_m": (0.3, 0.65, 0.7, 0.9, 1.0, 1.6, 2.0, 3.2, BAD),
            "previous_hz": (0.0, 20.0, 35.0),
            "failsafe": tuple(FAILSAFES),
            "proposal": ("in_band", "0", "nan", "plan_expired", "held_in_failsafe"),
            "default_hz": (12.0, 30.0),
            "hand": ("claimed", "recovered"),
            "fresh_left": (0, 2),
        },
    ),
    Space(
        "held",
        "what is held of a pump that rule 4 or a task drives, under a stop, on its way back, after a lapse",
        station={"task": ("none", "a_assists", "a_flushes"), "settings": ("none", "all")},
        pump={
            "duty_hz": (None, 0.0, 35.0, 40.0),
            "previous_hz": (0.0, 20.0, 35.0, 50.0),
            "level_m": (1.8, 3.2),
            "high": _BOOL,
            "failsafe": ("none", "plan", "clearing"),
            "memory": ("none", "held", "held_before"),
            "proposal": ("0", "in_band", "plan_expired"),
            "stopped": _BOOL,
            "emergency_hz": (0.0, 25.0),
            "fresh_left": (0, 2),
        },
        fixed={"strategy": FailsafeStrategy.HOLD_LAST, "limits": "levels", "running": "as_told"},
    ),
    Space(
        "following",
        "commanded against measured speed, what is not judged, and how it returns",
        pump={
            "following": tuple(FOLLOWINGS),
            "parameters": ("none", "brief"),
            "speed": ("previous", 0.0, 20.4, 20.5, 32.9, 33.0, 39.5, 40.0, BAD),
            "running": (0.0, 1.0),
            "previous_hz": (0.0, 20.0, 35.0),
            "panel": (0.0, 1.0),
            "hand": ("claimed", "lost", "recovered"),
            "out_of_service": _BOOL,
            "stopped": _BOOL,
            "fresh_left": (0, 2),
            "proposal": ("0", "in_band"),
        },
    ),
    Space(
        "values",
        "bands, rates, ticks early and late, caps measured, rated or blind",
        pump={
            "limits": (
                "usual",
                "speeds_only",
                "odd_band",
                "narrow",
                "power",
                "flow",
                "power_and_flow",
                "floor",
                "floor_and_caps",
            ),
            "proposal": tuple(PROPOSALS),
            "previous_hz": (0.0, 20.0, 20.3, 35.0, 50.0, 55.0),
            "elapsed_s": (0.0, 0.4, 1.0, 30.0),
            "power_kw": (NEVER, 0.0, 4.0, 12.0),
            "flow_m3h": (NEVER, 40.0, 120.0),
            "rated": _BOOL,
            "cap_stopped_s": (None, 5.0, 60.0),
            "default_hz": (12.0, 30.0),
            "level_m": (1.0, 3.2),
        },
    ),
    Space(
        "timers",
        "starts, rest and run of a motor, the disk that must hold a start, soft stops",
        station={"durable": _BOOL, "soft_stop_hz_per_s": (None, 0.3, NAN)},
        pump={
            "limits": ("usual", "starts", "rest", "runs", "timers", "timers_and_caps"),
            "timers": tuple(TIMERS),
            "running": (0.0, 1.0, BAD),
            "previous_hz": (0.0, 20.0, 35.0),
            "proposal": ("0", "below_minimum", "in_band", "nan", "plan_expired", "held"),
            "default_hz": (0.0, 30.0),
            "level_m": (0.3, 1.0, 3.2),
            "power_kw": (NEVER, 12.0),
            "flow_m3h": (NEVER, 150.0),
            "stopped": _BOOL,
            "fresh_left": (0, 2),
        },
    ),
    Space(
        "soft_stops",
        "stops that are soft, and bounds on power and flow that they must not weaken",
        station={
            "soft_stop_hz_per_s": (None, 0.1, 0.3, 2.0),
            "max_power_kw": (None, 6.0),
            "max_running": (None, 0),
        },
        pump={
            "limits": ("usual", "power", "flow", "power_and_flow"),
            "previous_hz": (20.0, 20.3, 35.0, 50.0),
            "elapsed_s": (0.4, 1.0, 30.0),
            "proposal": ("0", "below_minimum", "in_band", "plan_expired"),
            "default_hz": (0.0, 30.0),
            "power_kw": (NEVER, 4.0, 8.1, 12.0),
            "flow_m3h": (NEVER, 150.0),
            "rated": _BOOL,
            "level_m": (1.0, 3.2),
        },
    ),
    Space(
        "duties",
        "duties that go to another pump, stay there and come back",
        station={"duties": ("", "ab", "ba")},
        pump={
            "timers": ("rested", "resting", "young", "long"),
            "previous_hz": (0.0, 35.0),
            "proposal": ("0", "in_band", "nan", "plan_expired"),
            "fault": (0.0, 3.0),
        },
        pumps=2,
        fixed={"limits": "timers", "running": "as_told"},
    ),
    Space(
        "duties_disturbed",
        "the same in MANUAL, at a high level, in a partial round, soon after a start, without a disk",
        station={
            "duties": ("", "ab"),
            "since_s": (5.0, 900.0),
            "deciding": ("all", "a", "b"),
            "durable": _BOOL,
        },
        pump={
            "timers": ("rested", "resting", "long"),
            "running": (0.0, 1.0),
            "previous_hz": (0.0, 35.0),
            "proposal": ("0", "in_band", "held"),
            "mode": (Mode.AUTO, Mode.MANUAL),
            "level_m": (1.0, 3.2),
        },
        pumps=2,
        fixed={"limits": "timers"},
    ),
    Space(
        "turns",
        "alternation of every kind, who worked how much, who cannot, and whose turn is over",
        station={
            "settings": ("fixed", "by_start", "by_hours", "by_starts"),
            "turn": ("", "a", "b"),
            "duties": ("", "ab", "ba"),
        },
        pump={
            "worked": ((0.0, 9), (9000.0, 2)),
            "timers": ("rested", "resting", "long"),
            "previous_hz": (0.0, 35.0),
            "proposal": ("0", "in_band"),
            "fault": (0.0, 3.0),
        },
        pumps=2,
        fixed={"limits": "timers", "running": "as_told"},
    ),
    Space(
        "unable",
        "pumps that cannot do their duty: at the panel, stopped, out of service, in fault, turning or standing",
        station={"duties": ("", "ab"), "max_running": (None, 1)},
        pump={
            "panel": (0.0, 1.0),
            "stopped": _BOOL,
            "out_of_service": _BOOL,
            "fault": (0.0, 3.0),
            "running": (0.0, 1.0),
            "previous_hz": (0.0, 35.0),
            "proposal": ("0", "in_band"),
            "level_m": (0.3, 1.0, 3.2),
        },
        pumps=2,
    ),
    Space(
        "assisted",
        "levels around level_max and the assist's own reset, who may assist, when the last one began",
        station={
            "settings": ("none", "assist", "slow_assist", "all"),
            "task": ("none", "a_assists", "a_exercises"),
            "assisted_s": (None, 59.0, 60.0),
            "max_running": (None, 0),
            "since_s": (5.0, 900.0),
        },
        pump={
            "limits": ("staged", "staged_rest"),
            "timers": ("rested", "resting"),
            "level_m": (1.4, 1.6, 2.0, 3.2, BAD),
            "previous_hz": (0.0, 35.0),
            "proposal": ("0", "in_band", "nan", "held"),
            "mode": (Mode.AUTO, Mode.MANUAL),
            "failsafe": ("none", "clearing"),
            "stopped": _BOOL,
        },
        fixed={"running": "as_told"},
    ),
    Space(
        "assisted_pair",
        "the same of two pumps: order, places, stagger, duties that have moved",
        station={
            "settings": ("assist", "slow_assist", "all"),
            "task": ("none", "a_assists"),
            "max_running": (None, 1, 2),
            "stagger_s": (0.0, 5.0),
            "started_s": (1.0, 900.0),
            "duties": ("", "ba"),
        },
        pump={
            "timers": ("rested", "resting"),
            "level_m": (1.6, 2.0, 3.2),
            "previous_hz": (0.0, 35.0),
            "proposal": ("0", "in_band"),
            "fault": (0.0, 3.0),
        },
        pumps=2,
        fixed={"running": "as_told", "limits": "staged_rest"},
    ),
    Space(
        "upkeep",
        "exercise and flush: when due, under way, with and without water and calm",
        station={
            "settings": ("upkeep", "exercise", "all"),
            "task": tuple(TASKS),
            "flushed_s": (None, 43_199.0, 43_200.0),
            "moving_s": (None, 60.0),
            "max_running": (None, 0),
            "since_s": (5.0, 900.0),
        },
        pump={
            "stood_s": (86_399.0, 86_400.0, 90_000.0),
            "level_m": (0.5, 0.8, 1.0, 1.6, 3.2),
            "previous_hz": (0.0, 20.0, 50.0),
            "proposal": ("0", "in_band", "nan"),
            "timers": ("rested", "young"),
            "failsafe": ("none", "clearing"),
            "flow_m3h": (NEVER, 120.0),
        },
        fixed={"running": "as_told", "rated": True},
    ),
    Space(
        "upkeep_pair",
        "the same of two pumps: whose turn, places, who is at the panel",
        station={
            "settings": ("upkeep", "exercise", "all"),
            "task": tuple(TASKS),
            "flushed_s": (43_199.0, 43_200.0),
            "max_running": (None, 1),
        },
        pump={
            "stood_s": (86_399.0, 90_000.0),
            "level_m": (0.5, 1.0, 1.6),
            "previous_hz": (0.0, 50.0),
            "proposal": ("0", "in_band"),
            "panel": (0.0, 1.0),
        },
        pumps=2,
        fixed={"running": "as_told", "rated": True},
    ),
    Space(
        "cleaning",
        "a person's clean-out around the dry-run level: order, time, level, power, float, panel, health",
        station={
            "clean_out": tuple(ORDERS),
            "settings": ("none", "clean_out", "all"),
            "has_float": _BOOL,
        },
        pump={
            "level_m": (0.2, 0.25, 0.3, 1.0, 3.2, BAD),
            "level_age_s": (0.5, 5.5),
            "dry_run": _BOOL,
            "running": (0.0, 1.0, BAD),
            "previous_hz": (0.0, 25.0),
            "proposal": ("0", "in_band", "nan", "held"),
            "power_kw": (NEVER, 2.0, 4.0),
            "panel": (0.0, 1.0),
            "fault": (0.0, 3.0),
            "float": (0.0, 1.0),
        },
    ),
    Space(
        "cleaning_held",
        "the same under stops, out of service, in MANUAL, in failsafe, after a lapse, beside another pump",
        station={"clean_out": tuple(ORDERS), "settings": ("clean_out", "all")},
        pump={
            "level_m": (0.2, 0.3, 0.5, 1.0),
            "dry_run": _BOOL,
            "running": (0.0, 1.0),
            "previous_hz": (0.0, 25.0),
            "proposal": ("0", "in_band", "plan_expired"),
            "mode": (Mode.AUTO, Mode.MANUAL),
            "stopped": _BOOL,
            "out_of_service": _BOOL,
            "fresh_left": (0, 2),
        },
        fixed={"power_kw": 4.0},
    ),
    Space(
        "cleaning_pair",
        "two pumps in one dry well: the order is for one of them",
        station={"clean_out": ("given", "begun"), "settings": ("clean_out", "all"), "max_running": (None, 1)},
        pump={
            "level_m": (0.2, 0.3, 0.5, 1.0),
            "dry_run": _BOOL,
            "previous_hz": (0.0, 25.0),
            "proposal": ("0", "in_band"),
        },
        pumps=2,
        fixed={"running": "as_told", "power_kw": 4.0},
    ),
    Space(
        "hours",
        "a profile of the hour: its band, its places, its order, at any level",
        station={
            "profile": tuple(PROFILES),
            "settings": ("none", "fixed"),
            "max_running": (None, 1, 2),
            "duties": ("", "ab"),
        },
        pump={
            "proposal": ("0", "below_minimum", "in_band", "maximum", "plan_expired"),
            "previous_hz": (0.0, 35.0),
            "mode": (Mode.AUTO, Mode.MANUAL),
            "level_m": (1.0, 3.2),
            "limits": ("usual", "floor"),
        },
        pumps=2,
        fixed={"running": "as_told", "rated": True},
    ),
    Space(
        "lease",
        "lapses of the lease and what follows them",
        pump={
            "origin_s": (1.0, 10.0, 10.5, 900.0),
            "fresh_left": (0, 1, 3),
            "ticked": _BOOL,
            "previous_hz": (0.0, 20.0, 35.0, 50.0),
            "running": (0.0, 1.0),
            "speed": ("previous", 0.0, 28.0, 60.0),
            "proposal": ("0", "below_minimum", "in_band", "nan", "plan_expired"),
            "stopped": _BOOL,
            "emergency_hz": (0.0, 25.0),
            "level_m": (0.3, 1.0, 3.2),
            "elapsed_s": (0.4, 1.0, 30.0),
        },
    ),
    Space(
        "pair",
        "two pumps: places, power, stagger, pumps of the local controller, unknown ones, partial rounds",
        station={
            "max_running": (None, 0, 1, 2),
            "max_power_kw": (None, 6.0, 12.0),
            "stagger_s": (0.0, 5.0),
            "started_s": (1.0, 900.0),
            "deciding": ("all", "a"),
        },
        pump={
            "previous_hz": (0.0, 35.0),
            "running": (0.0, 1.0, BAD),
            "panel": (0.0, 1.0),
            "proposal": ("0", "in_band"),
            "level_m": (1.0, 3.2),
            "rated": _BOOL,
        },
        pumps=2,
    ),
    Space(
        "trio",
        "three pumps at normal and high level, one place too few",
        station={
            "max_running": (1, 2),
            "max_power_kw": (None, 9.0),
            "stagger_s": (0.0, 5.0),
            "started_s": (1.0, 900.0),
        },
        pump={
            "previous_hz": (0.0, 35.0),
            "running": (0.0, 1.0),
            "stopped": _BOOL,
            "proposal": ("0", "in_band"),
            "level_m": (1.0, 3.2),
        },
        pumps=3,
        fixed={"rated": True},
    ),
)
