"""A person's orders at the safety actor: taken, refused, ended, recorded once; and profiles by its clock (CTL-6)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors.messages import (
    AlarmAsserted,
    Done,
    FeedbackReceived,
    PumpFeedback,
    RoundDue,
    Sample,
    SetpointsDecided,
    StartCleanOut,
    StopCleanOut,
)
from actors.safety.orders import begun
from actors.safety.types import initial_state
from actors.vocabulary import (
    CleanOut,
    DutyProfile,
    InvalidValueError,
    Reason,
    RefusedError,
    Rule,
    StationConfig,
    StationDuties,
)
from actors.vocabulary.records import AuditRecord, DecisionRecord
from tests.unit.actors.safety.test_safety_actor import ENDPOINTS, FakeTimers, Rig
from tests.unit.actors.safety.timeline import START, limits, pump, station

DUTIES = StationDuties(clean_out=CleanOut(level_m=0.25, run_s=300.0, speed_hz=25.0, power_kw_min=3.0))
OF = limits(rate_hz_per_s=100.0, dry_run_m=0.4, dry_run_reset_m=0.6, level_min_m=0.7)


def config(duties: StationDuties = DUTIES) -> StationConfig:
    return station(pump("a", OF), duties=duties)


def second(
    rig: Rig, *, level_m: float = 1.0, hz: float | None = None, power_kw: float = 6.0, wish_hz: float = 0.0
) -> None:
    """Let a second pass in which the controller obeys and writes."""
    rig.world.instant = rig.world.instant.plus(1.0)
    at = rig.world.instant
    speed_hz = shown(rig).setpoint_hz if hz is None and rig.sequence else hz or 0.0
    values = {
        "actual_speed_hz": speed_hz,
        "running": float(speed_hz > 0),
        "local_override": 0.0,
        "wet_well_level_m": level_m,
        "actual_power_kw": power_kw,
        "plc_heartbeat": float(rig.sequence),
    }
    feedback = PumpFeedback(pump_id="a", **{name: Sample(value, at) for name, value in values.items()})
    rig.send(FeedbackReceived(station_id="s", source="modbus", pumps=(feedback,)))
    rig.send(rig.proposal("a", wish_hz))


def shown(rig: Rig) -> Any:
    batches = [
        one
        for address, one in rig.world.told
        if address == ENDPOINTS[0] and isinstance(one, SetpointsDecided)
    ]
    return batches[-1].setpoints[0]


def order(**more: Any) -> StartCleanOut:
    return StartCleanOut(
        **{
            "pump_id": "a",
            "command_id": "c1",
            "by": "ann",
            "reason": "grit",
            "source_address": "10.0.0.9",
            **more,
        }
    )


def refused(rig: Rig, message: StartCleanOut, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        rig.send(message)
    rig.send(RoundDue())


def audits(rig: Rig) -> list[tuple[str, str]]:
    return [(one.event_type, one.outcome) for one in rig.records(AuditRecord)]


def started() -> Rig:
    rig = Rig(config())
    second(rig)
    second(rig)
    done = rig.send(order())
    assert isinstance(done, Done)
    assert done.note.startswith("until ")
    for _ in range(3):
        second(rig)
    return rig


def test_an_order_is_carried_out_recorded_with_its_person_and_told_in_the_decision() -> None:
    """CTL-6, SAF-4: who, from where, why, until when; the decision's record has it in its trail."""
    rig = started()
    second(rig, level_m=0.3)
    setpoint = shown(rig)
    assert (setpoint.setpoint_hz, setpoint.reason, setpoint.failsafe_image_hz) == (
        25.0,
        Reason.CLEAN_OUT,
        0.0,
    )
    [record] = rig.records(AuditRecord)
    assert (record.event_type, record.actor, record.source_address) == (
        "CLEAN_OUT_STARTED",
        "ann",
        "10.0.0.9",
    )
    assert record.object_id == "PUMP:a"
    assert record.after is not None
    assert record.after["reason"] == "grit"
    rows = [row for row in rig.records(DecisionRecord) if row.reason == "CLEAN_OUT"]
    assert rows[-1].trail["steps"][0]["rule"] == "CLEAN_OUT"
    assert "clean-out by ann" in rows[-1].trail["steps"][0]["why"]
    alarms = [one for _, one in rig.world.told if isinstance(one, AlarmAsserted)]
    assert {one.condition for one in alarms} == {"clean_out"}


def test_what_ends_it_is_recorded_once() -> None:
    """CTL-6: by itself or by a person; ended once, whatever else is said."""
    rig = started()
    second(rig, level_m=0.3, power_kw=1.0)
    assert shown(rig).setpoint_hz == 0.0
    for _ in range(3):
        second(rig, level_m=0.3)
    assert audits(rig) == [("CLEAN_OUT_STARTED", "success"), ("CLEAN_OUT_ENDED", "done")]
    assert "takes air" in rig.records(AuditRecord)[-1].after["why"]
    rig = started()
    second(rig, level_m=0.3)
    stop = StopCleanOut(pump_id="a", command_id="c2", by="bob", reason="enough")
    assert rig.send(stop) == Done(note="ended")
    assert shown(rig).setpoint_hz == 0.0, "in that very round"
    assert "under way" in rig.send(stop).note
    assert audits(rig)[1:] == [("CLEAN_OUT_ENDED", "done")]
    assert rig.records(AuditRecord)[-1].after["why"] == "ended by bob: enough"


def test_the_same_order_twice_is_one() -> None:
    """EST-5 for orders: an answer that got lost may be asked for again."""
    rig = started()
    assert rig.send(order()) == Done(note="already carried out")
    assert audits(rig) == [("CLEAN_OUT_STARTED", "success")]
    refused(rig, order(command_id="c2"), RefusedError, "ann has a clean-out under way")


@pytest.mark.parametrize(
    ("more", "error", "why"),
    [
        ({"pump_id": "z"}, RefusedError, "no pump"),
        ({"lasts_s": 301.0}, InvalidValueError, "300"),
        ({"lasts_s": 5.0}, InvalidValueError, "10"),
        ({"lasts_s": float("nan")}, InvalidValueError, "nan"),
    ],
)
def test_an_order_that_may_not_be_is_refused_and_the_refusal_recorded(
    more: dict[str, Any], error: type[Exception], why: str
) -> None:
    """CTL-6: typed, with the reason; nothing has changed."""
    rig = Rig(config())
    second(rig)
    second(rig)
    refused(rig, order(**more), error, why)
    assert audits(rig) == [("CLEAN_OUT_REFUSED", "refused")]


def test_without_a_configuration_or_before_the_latches_are_known_it_is_refused() -> None:
    """CTL-6, EST-2: off unless configured; an actor that does not know the stops yet orders nothing."""
    rig = Rig(config(StationDuties()))
    second(rig)
    refused(rig, order(), RefusedError, "station_duties")
    rig = Rig(config())
    rig.actor._latches_loaded = False
    refused(rig, order(), RefusedError, "stops are not known")


def test_a_restarted_actor_knows_no_order_and_that_the_well_is_dry() -> None:
    """CTL-6, SAF-7: the successor holds rule 3 at once, also between dry run and its reset."""
    rig = started()
    second(rig, level_m=0.3)
    timers = FakeTimers()
    timers.memory, timers.marks = rig.timers.memory, rig.timers.marks
    again = Rig(config(), timers=timers, now=rig.world.instant)
    second(again, hz=25.0, level_m=0.5)
    second(again, hz=25.0, level_m=0.5)
    assert (shown(again).setpoint_hz, shown(again).reason) == (0.0, Reason.DRY_RUN)


def test_a_profile_holds_by_the_wall_clock() -> None:
    """CTL-6: the intake chooses it for each round by the station's own time zone."""
    now = Rig(config()).world.instant.utc
    minute = now.hour * 60 + now.minute
    quiet = DutyProfile(
        name="quiet",
        weekdays=(1, 2, 3, 4, 5, 6, 7),
        from_minute=minute,
        until_minute=(minute + 2) % 1440,
        speed_hz_max=30.0,
        default_setpoint_hz=21.0,
    )
    rig = Rig(config(StationDuties(profiles=(quiet,))))
    for _ in range(4):
        second(rig, wish_hz=40.0)
    assert shown(rig).setpoint_hz == 30.0
    row = rig.records(DecisionRecord)[-1]
    assert Rule.PROFILE.name in {step["rule"] for step in row.trail["steps"]}
    assert shown(rig).failsafe_image_hz == 21.0
    rig.world.instant = msgspec.structs.replace(
        rig.world.instant, utc_ns=rig.world.instant.utc_ns + 300 * 10**9
    )
    for _ in range(3):
        second(rig, wish_hz=40.0)
    assert shown(rig).setpoint_hz == 40.0


def test_a_pump_of_a_station_that_is_not_configured_cannot_clean_out() -> None:
    """CTL-6: without a configuration there is nothing to judge by."""
    order = StartCleanOut(command_id="o", pump_id="a", by="ann", reason="grit")
    with pytest.raises(RefusedError, match="pump a: its station is not configured"):
        begun(order, None, initial_state(START), now=START)
