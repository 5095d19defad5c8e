"""Searches over the kernel: whatever is put in, the invariants hold, nothing raises, and it repeats itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.messages import JudgedValue, Proposal, ProposalSource
from actors.safety.kernel import decide_round
from actors.safety.memory import restored
from actors.safety.types import CleanOutOrder, HandBack, KernelState, PumpInput, RoundInput, initial_state
from actors.vocabulary import (
    Alternation,
    Assist,
    CleanOut,
    ControlSettings,
    Exercise,
    FailsafeStrategy,
    Flush,
    HighLevelResponse,
    Instant,
    Mode,
    Quality,
    Reason,
    StationDuties,
)
from tests.proof.invariants import Claim, Motor, Round, check_claims, check_motors, check_round
from tests.proof.spaces import DUTIES, PROFILES
from tests.unit.actors.safety import timeline
from tests.unit.actors.safety.timeline import START, Bench, limits, pump, station

ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)
WISH = st.one_of(st.floats(0.0, 60.0), st.sampled_from([0.0, 19.0, 20.0, 35.0, 50.0]), ANY_FLOAT, st.none())
LEVEL = st.one_of(st.sampled_from([0.2, 0.4, 0.5, 0.7, 1.0, 2.4, 2.8, 3.0, 3.2]), st.just(-99.0))

# Due within a story, so that all of it comes up.
QUICK_DUTIES = StationDuties(
    alternation=Alternation.BY_HOURS,
    alternation_h=0.005,
    assist=Assist(pumps=1, reset_m=0.8, after_s=4.0),
    exercise=Exercise(after_h=0.01, run_s=5.0, level_m=0.8),
    flush=Flush(every_h=0.015, run_s=10.0, speed_hz=45.0, flow_m3h=90.0, level_m=1.0),
    clean_out=CleanOut(level_m=0.3, run_s=60.0, speed_hz=30.0, power_kw_min=3.0),
)
STEP = st.fixed_dictionaries(
    {"plan_hz": WISH, "level_m": LEVEL},
    optional={
        "stop": st.booleans(),
        "oos": st.booleans(),
        "local": st.sampled_from([0.0, 0.0, 0.0, 1.0, 2.0]),
        "float": st.sampled_from([0.0, 1.0]),
        "silent": st.booleans(),
        "plc_stuck": st.booleans(),
        "running": st.sampled_from([0.0, 1.0, 0.5]),
        "speed_hz": st.floats(0.0, 60.0),
        "failsafe": st.sampled_from(["FAILSAFE_PLAN_EXPIRED", "FAILSAFE_DATABASE"]),
        "held": st.booleans(),
        "mode": st.sampled_from([Mode.AUTO, Mode.MANUAL]),
        "power_kw": st.floats(-1.0, 40.0),
        "flow_m3h": st.floats(-1.0, 400.0),
        "fault": st.sampled_from([0.0, 3.0]),
        "scope_failure": st.just(Reason.FAILSAFE_CHILD_QUARANTINED),
    },
)
PUMP = st.fixed_dictionaries(
    {
        "of": st.builds(
            limits,
            band_hz=st.sampled_from([(20.0, 50.0), (25.0, 45.0), (20.005, 49.995), (30.0, 30.0)]),
            rate_hz_per_s=st.sampled_from([0.3, 1.0, 7.0, 100.0]),
            dry_run_m=st.sampled_from([0.4, None]),
            level_min_m=st.sampled_from([0.7, None]),
            level_max_m=st.sampled_from([2.4, None]),
            high_m=st.sampled_from([3.0, None]),
            max_power_kw=st.sampled_from([None, 8.0]),
            max_flow_m3h=st.sampled_from([None, 80.0]),
            min_flow_m3h=st.sampled_from([None, 60.0]),
            max_starts_per_hour=st.sampled_from([None, None, 1, 2]),
            min_rest_s=st.sampled_from([None, 5.0, 30.0]),
            min_run_s=st.sampled_from([None, 3.0, 20.0]),
            max_run_s=st.sampled_from([None, 40.0]),
        ),
        "default_setpoint_hz": st.sampled_from([0.0, 12.0, 30.0, 99.0]),
        "emergency_stop_setpoint_hz": st.sampled_from([0.0, 25.0, 30.0, 12.0]),
        "failsafe_strategy": st.sampled_from(list(FailsafeStrategy)),
        "control_parameters": st.fixed_dictionaries(
            {},
            optional={
                "failsafe_start_level_m": st.floats(0.3, 3.2),
                "failsafe_stop_level_m": st.floats(0.3, 3.2),
                "failsafe_hold_s": st.sampled_from([0.0, 2.0, 60.0]),
                "following_tolerance_hz": st.floats(0.1, 10.0),
                "following_time_s": st.sampled_from([1.0, 5.0, 20.0, "long"]),
            },
        ),
        "rated_power_kw": st.sampled_from([None, 10.0]),
        "rated_flow_m3h": st.sampled_from([None, 100.0]),
        "rated_speed_hz": st.sampled_from([None, 50.0]),
    }
)
STATION = st.fixed_dictionaries(
    {
        "max_pumps_running": st.sampled_from([None, 0, 1, 2]),
        "max_power_kw": st.sampled_from([None, 12.0]),
        "stagger_s": st.sampled_from([0.0, 3.0]),
        "has_high_float": st.booleans(),
        "float_response_max_s": st.just(6.0),
        "dry_run_outranks_high_level": st.booleans(),
        "high_level_response": st.sampled_from(list(HighLevelResponse)),
        "soft_stop_hz_per_s": st.sampled_from([None, 0.5, 0.0, float("nan")]),
        "duties": st.sampled_from([QUICK_DUTIES, *DUTIES.values()]),
    }
)
STORY = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.4, 1.0, 1.0, 1.0, 4.0, 15.0, 70.0]),
        st.lists(STEP, min_size=3, max_size=3),
        st.sampled_from(["abc", "abc", "ab", "c", ""]),
        st.sampled_from([True, True, True, False]),
    ),
    min_size=1,
    max_size=16,
)


ARGUMENTS = (STATION, st.lists(PUMP, min_size=3, max_size=3), STORY, st.sampled_from([0.0, 35.0]))


def tell(
    of_station: dict[str, Any],
    of_pumps: list[dict[str, Any]],
    story: list[tuple[float, list[dict[str, Any]], str, bool]],
    start_hz: float,
    restarts: Mapping[int, float] = MappingProxyType({}),
) -> None:
    """Play a story of three pumps and check every round of it; `restarts`: before which round, and for how long (s)."""
    names = "abc"
    config = station(
        *(pump(name, **parts) for name, parts in zip(names, of_pumps, strict=True)), **of_station
    )
    bench = Bench(config, start_hz=dict.fromkeys(names, start_hz))
    bench.control = ControlSettings(failsafe_recovery_hold_s=5.0)
    bench.profile = PROFILES["night"] if of_station["duties"] is QUICK_DUTIES else None
    motors = {name: Motor() for name in names}
    claims = {name: Claim() for name in names}
    for number, (period_s, steps, deciding, durable) in enumerate(story):
        if number in restarts:
            bench.restart(away_s=restarts[number])
            claims = {name: after_a_restart(claim, bench) for name, claim in claims.items()}
        if bench.sequence % 5 == 0 and bench.state.clean_out is None:
            # Without asking whether it may be ordered: whatever is ordered must be safe.
            order = CleanOutOrder(
                order_id="o",
                pump_id="a",
                by="someone",
                reason="",
                since=bench.now,
                until=bench.now.plus(60.0),
            )
            bench.state = msgspec.structs.replace(bench.state, clean_out=order)
        before = bench.state
        seen: list[RoundInput] = []
        decisions = bench.tick(
            dict(zip(names, steps, strict=True)),
            period_s=period_s,
            deciding=frozenset(deciding),
            spy=seen.append,
            durable=durable,
        )
        round_ = Round(given=seen[0], before=before, decisions=decisions, after=bench.state, now=bench.now)
        check_round(round_)
        check_claims(round_, claims)
        if not restarts:
            # What it saw of the motors is not all that a successor has to believe.
            check_motors(round_, motors)


@settings(max_examples=150, deadline=None)
@given(*ARGUMENTS)
def test_no_story_breaks_an_invariant(
    of_station: dict[str, Any],
    of_pumps: list[dict[str, Any]],
    story: list[tuple[float, list[dict[str, Any]], str, bool]],
    start_hz: float,
) -> None:
    """SAF-1, SAF-2: band, latch, dry run, claim, rate and maximum running, over any story."""
    tell(of_station, of_pumps, story, start_hz)


def after_a_restart(claim: Claim, bench: Bench) -> Claim:
    """What the witness of a claim expects: not known for longer than gates hold our value, it is a start (CTL-7), but
    for what was lost before.
    """
    known_s = math.inf if claim.known_at is None else bench.now.seconds_since(claim.known_at)
    return claim if claim.lost or known_s <= bench.control.setpoint_lease_s else Claim()


RESTARTS = st.dictionaries(
    st.integers(1, 15), st.sampled_from([0.5, 2.0, 9.0, 13.0, 400.0]), min_size=1, max_size=4
)


@settings(max_examples=150, deadline=None)
@given(*ARGUMENTS, RESTARTS)
def test_no_story_with_restarts_breaks_an_invariant(
    of_station: dict[str, Any],
    of_pumps: list[dict[str, Any]],
    story: list[tuple[float, list[dict[str, Any]], str, bool]],
    start_hz: float,
    restarts: dict[int, float],
) -> None:
    """SAF-7, SAF-10, CTL-7: nor does any number of successors, and none ends a hand-back before its hold."""
    tell(of_station, of_pumps, story, start_hz, restarts)


@pytest.mark.prove
@settings(max_examples=10_000, deadline=None)
@given(*ARGUMENTS)
def test_no_story_of_many_breaks_an_invariant(
    of_station: dict[str, Any],
    of_pumps: list[dict[str, Any]],
    story: list[tuple[float, list[dict[str, Any]], str, bool]],
    start_hz: float,
) -> None:
    """BYD-5: the same, searched for long."""
    tell(of_station, of_pumps, story, start_hz)


@pytest.mark.prove
@settings(max_examples=5_000, deadline=None)
@given(*ARGUMENTS, RESTARTS)
def test_no_story_of_many_with_restarts_breaks_an_invariant(
    of_station: dict[str, Any],
    of_pumps: list[dict[str, Any]],
    story: list[tuple[float, list[dict[str, Any]], str, bool]],
    start_hz: float,
    restarts: dict[int, float],
) -> None:
    """BYD-5: the same with successors, searched for long."""
    tell(of_station, of_pumps, story, start_hz, restarts)


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_hand_back_that_a_restart_ends_is_missed(forgotten: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """BYD-5, CTL-7: a witness who knows nothing of the kernel's memory sees a successor claim too soon."""

    def forgetful(*given: Any, **more: Any) -> KernelState:
        state = restored(*given, **more)
        kept = {
            key: msgspec.structs.replace(one, hand_back=HandBack()) if forgotten else one
            for key, one in state.pumps.items()
        }
        return msgspec.structs.replace(state, pumps=kept)

    monkeypatch.setattr(timeline, "restored", forgetful)
    steps = [{"plan_hz": 35.0, "level_m": 1.0}, {"plan_hz": 35.0, "level_m": 1.0, "running": 0.5}]
    story = [(1.0, [steps[bad]] * 3, "abc", True) for bad in (0, 0, 1, 0, 0)]
    of_pumps = [{"of": limits()} for _ in range(3)]
    with pytest.raises(AssertionError, match="after its cause") if forgotten else nullcontext():
        tell({"duties": StationDuties()}, of_pumps, story, 35.0, {3: 1.0})


JUDGED = st.builds(
    JudgedValue,
    value=st.one_of(st.none(), ANY_FLOAT),
    quality=st.sampled_from(list(Quality)),
    age_s=st.one_of(st.none(), ANY_FLOAT),
)
FEEDBACK = st.dictionaries(
    st.sampled_from(
        [
            "actual_speed_hz",
            "actual_power_kw",
            "actual_flow_m3h",
            "wet_well_level_m",
            "running",
            "local_override",
            "high_float",
            "fault_code",
            "plc_heartbeat",
        ]
    ),
    JUDGED,
)
HUGE = st.one_of(ANY_FLOAT, st.integers(), st.just(10**400), st.text(max_size=3), st.none(), st.booleans())


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(HUGE, HUGE, HUGE, HUGE, FEEDBACK, st.booleans()), min_size=1, max_size=5),
    st.lists(ANY_FLOAT, min_size=9, max_size=9),
)
def test_the_kernel_is_total_and_deterministic(
    rounds: list[tuple[Any, Any, Any, Any, dict[str, JudgedValue], bool]], figures: list[float]
) -> None:
    """SAF-3: no float, no text in a proposal, a limit or a measurement makes it raise; twice gives the same."""
    of = msgspec.structs.replace(
        limits(dry_run_m=figures[0], high_m=figures[1], level_min_m=figures[2]), max_power_kw=figures[3]
    )
    config = station(
        pump("a", of, rated_power_kw=figures[4], rated_speed_hz=figures[5], default_setpoint_hz=figures[6]),
        pump("b", limits(), emergency_stop_setpoint_hz=figures[7]),
        max_power_kw=figures[8],
        has_high_float=True,
    )
    first, second = initial_state(START.plus(-1.0)), initial_state(START.plus(-1.0))
    now: Instant = START
    for number, (wish, mode, failsafe, held, feedback, stop) in enumerate(rounds):
        now = now.plus(1.0)
        entries = {
            one.pump_id: PumpInput(
                config=one,
                proposal=Proposal(
                    pump_id=one.pump_id,
                    wish_hz=wish,
                    mode=mode,
                    origin=now,
                    sequence=number,
                    source=ProposalSource(calculator="any"),
                    failsafe=failsafe,
                    held_stopped=held,
                ),
                feedback=feedback,
                stopped=stop,
            )
            for one in config.pumps
        }
        round_input = RoundInput(
            station=config, control=ControlSettings(), pumps=entries, deciding=frozenset(entries)
        )
        decided, first = decide_round(round_input, first, now=now)
        again, second = decide_round(round_input, second, now=now)
        assert (decided, first) == (again, second)
        for decision in decided.values():
            value_hz = decision.setpoint_hz
            assert value_hz == 0.0 or 20.0 <= value_hz <= 50.0
