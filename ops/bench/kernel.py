"""How many decisions a second the safety kernel makes on one core: no Ray, no clock, no I/O, only the law (SAF-1)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Final

from actors.feedback import FLOW, LEVEL, LOCAL_OVERRIDE, PLC_HEARTBEAT, POINTS, POWER, RUNNING, SPEED
from actors.messages import JudgedValue, Proposal, ProposalSource
from actors.safety.kernel import decide_round
from actors.safety.types import PumpInput, RoundInput, initial_state
from actors.vocabulary import (
    ControlSettings,
    ControlType,
    FailsafeStrategy,
    Instant,
    Mode,
    PumpConfig,
    Quality,
    Reason,
    SafetyLimits,
    StationConfig,
)
from ops.bench.report import KernelRate

STATIONS: Final = (1, 4, 10)
QUIET: Final = "quiet"
EVERYTHING: Final = "everything happens"
# What the first rounds do is seeding, and the interpreter warming up.
_WARM_ROUNDS: Final = 200
# A round of everything is different from the one before; after so many they repeat. Lost data and a failsafe keep a
# pump from its plan for another minute, so they come once in a cycle, and the wet well fills and empties each minute.
_CYCLE: Final = 300
_WELL: Final = 60
_BEGIN: Final = Instant("bench", 10**15, 1_800_000_000 * 10**9)
_CONTROL: Final = ControlSettings()


def measure(*, seconds: float) -> tuple[KernelRate, ...]:
    """Measure each size of station, quiet and with everything happening, so long each (s of processor time)."""
    return tuple(
        _measured(pumps, what, make, seconds=seconds)
        for pumps in STATIONS
        for what, make in ((QUIET, quiet_round), (EVERYTHING, busy_round))
    )


def _measured(
    pumps: int, what: str, make: Callable[[StationConfig, int], RoundInput], *, seconds: float
) -> KernelRate:
    station = station_of(pumps)
    state = initial_state(_BEGIN)
    took_ns: list[int] = []
    spent_ns, decided = 0, 0
    for number in _numbers():
        given, now = make(station, number), moment(number)
        # Of this thread's processor time: what else runs on the machine is not the kernel's.
        began_ns = time.thread_time_ns()
        decisions, state = decide_round(given, state, now=now)
        round_ns = time.thread_time_ns() - began_ns
        if number < _WARM_ROUNDS:
            continue
        took_ns.append(round_ns)
        spent_ns += round_ns
        decided += len(decisions)
        if spent_ns >= seconds * 1e9:
            break
    ordered = sorted(took_ns)
    return KernelRate(
        pumps=pumps,
        what=what,
        decisions_per_s=decided / (spent_ns / 1e9),
        round_p50_us=_rank(ordered, 0.5) / 1e3,
        round_p99_us=_rank(ordered, 0.99) / 1e3,
    )


def _numbers() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


def _rank(ordered: list[int], share: float) -> int:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def moment(number: int) -> Instant:
    """Return when round `number` is: one a second."""
    return _BEGIN.plus(float(number))


def station_of(pumps: int) -> StationConfig:
    """Return a station whose every limit is set, so that every rule has something to look at."""
    limits = SafetyLimits(
        version=1, hard_min_speed_hz=20.0, hard_max_speed_hz=50.0, max_rate_hz_per_s=2.0, level_min_m=0.8,
        level_max_m=2.5, level_emergency_high_m=3.0, level_emergency_high_reset_m=2.6, level_dry_run_m=0.4,
        level_dry_run_reset_m=0.6, max_power_kw=40.0, max_flow_m3h=400.0, min_flow_m3h=40.0, max_starts_per_hour=12,
        min_run_s=10.0, max_run_s=3600.0, min_rest_s=10.0, set_by="bench", approved_by="bench2",
    )  # fmt: skip
    return StationConfig(
        station_id="s", site_id="bench", name="s", timezone="UTC", modbus_unit_id=1,
        max_pumps_running=pumps, max_power_kw=30.0 * pumps, has_high_float=True,
        soft_stop_hz_per_s=5.0,
        pumps=tuple(
            PumpConfig(
                pump_id=f"p{slot}", station_id="s", name=f"p{slot}", control_type=ControlType.DIRECT_SPEED,
                default_setpoint_hz=30.0, failsafe_strategy=FailsafeStrategy.DEFAULT_SETPOINT, wire_slot=slot,
                rated_power_kw=22.0, rated_flow_m3h=300.0, rated_speed_hz=50.0, limits=limits,
            )
            for slot in range(pumps)
        ),
    )  # fmt: skip


def quiet_round(station: StationConfig, number: int) -> RoundInput:
    """Return a round of an afternoon on which nothing happens: every plan inside every limit."""
    pumps = {
        pump.pump_id: PumpInput(
            config=pump,
            proposal=_proposal(pump.pump_id, number, wish_hz=35.0),
            feedback=feedback(level_m=1.5, hz=35.0, number=number),
        )
        for pump in station.pumps
    }
    return RoundInput(station=station, control=_CONTROL, pumps=pumps, deciding=frozenset(pumps))


def busy_round(station: StationConfig, number: int) -> RoundInput:
    """Return a round of a bad day: levels from dry to flood, wishes out of every band or none, stops, lost data."""
    phase = number % _CYCLE
    level_m = 1.7 - 1.6 * math.cos(2.0 * math.pi * phase / _WELL)
    pumps = {}
    for slot, pump in enumerate(station.pumps):
        turn = (phase + 7 * slot) % _CYCLE
        wishes = (60.0, 10.0, math.nan, 35.0, 0.0, 22.0, -5.0, 49.0)
        failed = turn in range(105, 112)
        pumps[pump.pump_id] = PumpInput(
            config=pump,
            proposal=_proposal(
                pump.pump_id,
                number,
                wish_hz=None if failed else wishes[turn % len(wishes)],
                mode=Mode.MANUAL if turn in range(30, 40) else Mode.AUTO,
                failsafe=Reason.FAILSAFE_PLAN_EXPIRED if failed else None,
            ),
            feedback=feedback(
                level_m=level_m,
                hz=30.0 + turn % 9,
                number=number,
                lost=turn in range(180, 183),
                local=turn in range(15, 18),
            ),
            stopped=turn in range(20, 25),
            out_of_service=turn in range(25, 28),
        )
    return RoundInput(station=station, control=_CONTROL, pumps=pumps, deciding=frozenset(pumps))


def _proposal(
    pump_id: str,
    number: int,
    *,
    wish_hz: float | None,
    mode: Mode = Mode.AUTO,
    failsafe: Reason | None = None,
) -> Proposal:
    return Proposal(
        pump_id=pump_id,
        wish_hz=wish_hz,
        mode=mode,
        origin=moment(number),
        sequence=number,
        source=ProposalSource(calculator="bench"),
        failsafe=failsafe,
    )


def feedback(
    *, level_m: float, hz: float, number: int, lost: bool = False, local: bool = False
) -> dict[str, JudgedValue]:
    """Return what a controller wrote 0.3 s ago, judged; `lost`: long ago."""
    values = dict.fromkeys(POINTS, 0.0) | {
        LEVEL: level_m,
        SPEED: hz,
        RUNNING: float(hz > 0.0),
        POWER: 15.0,
        FLOW: 200.0,
        LOCAL_OVERRIDE: float(local),
        PLC_HEARTBEAT: float(number % 65_536),
    }
    quality, age_s, why = (Quality.BAD, 40.0, "older than 30 s") if lost else (Quality.GOOD, 0.3, "")
    return {
        point: JudgedValue(value=value, quality=quality, age_s=age_s, why=why)
        for point, value in values.items()
    }
