"""The judge of one endpoint: goal: it remembers what it must, through new configurations too, and nothing else."""

from __future__ import annotations

import msgspec

from actors.feedback import POWER, RUNNING, SPEED
from actors.publisher.feedback_board import Board, written
from actors.publisher.judging import FeedbackJudge
from actors.vocabulary import ControlSettings, Instant, Quality, SafetyLimits
from tests.unit.actors.publisher.test_actor import SITE

T0 = Instant("boot-a", 1_000 * 10**9, 1_800_000_000 * 10**9)
CONTROL = ControlSettings(feedback_frozen_s=40.0)


def reported(board: Board, at: Instant, *, power_kw: float = 5.0) -> Board:
    for point, value in (("running", 1.0), ("actual_power", power_kw), ("actual_speed", 30.0)):
        board = written(board, "s1", "p1", point, value, at=at, source="modbus")
    return board


def qualities(judge: FeedbackJudge, board: Board, now: Instant) -> dict[str, Quality]:
    station = SITE.station("s1")
    assert station is not None
    judged = judge.judged(station, board, now=now)["p1"].verdicts
    return {point: judged[point].quality for point in (RUNNING, POWER, SPEED)}


def played(judge: FeedbackJudge, board: Board, *, from_s: int, to_s: int) -> Board:
    for second in range(from_s, to_s):
        board = reported(board, T0.plus(second))
        qualities(judge, board, T0.plus(second))
    return board


def test_a_new_configuration_makes_no_frozen_value_move() -> None:
    """CTL-4, DAT-4: what stood still goes on standing still; a pump that went and came again is a new one."""
    judge, board = FeedbackJudge(CONTROL), Board()
    board = played(judge, board, from_s=0, to_s=30)
    assert qualities(judge, board, T0.plus(30)) == dict.fromkeys((RUNNING, POWER, SPEED), Quality.GOOD)
    judge.configure(SITE)
    board = played(judge, board, from_s=30, to_s=45)
    assert qualities(judge, board, T0.plus(45))[POWER] is Quality.BAD
    assert qualities(judge, board, T0.plus(45))[SPEED] is Quality.GOOD, "its setpoint did not move either"
    judge.configure(SITE.only("s2"))
    judge.configure(SITE)
    board = reported(board, T0.plus(46))
    assert qualities(judge, board, T0.plus(46))[POWER] is Quality.GOOD


def test_another_boots_values_are_nobodys() -> None:
    """CTL-4, SAF-9: of what another boot wrote no age is known."""
    judge = FeedbackJudge(CONTROL)
    other = Instant("boot-b", T0.boot_ns, T0.utc_ns)
    assert set(qualities(judge, reported(Board(), T0), other).values()) == {Quality.BAD}


def test_limits_decide_what_a_level_can_be() -> None:
    """CTL-4: the limits in force now, not those of the time when the endpoint started."""
    judge = FeedbackJudge(CONTROL)
    board = written(Board(), "s1", "p1", "wet_well_level", 500.0, at=T0, source="modbus")
    station = SITE.station("s1")
    assert station is not None
    assert judge.judged(station, board, now=T0)["p1"].verdicts["wet_well_level_m"].quality is Quality.GOOD
    limits = SafetyLimits(
        version=2,
        hard_min_speed_hz=20.0,
        hard_max_speed_hz=50.0,
        max_rate_hz_per_s=2.0,
        level_min_m=1.0,
        level_max_m=4.0,
    )
    bounded = msgspec.structs.replace(
        station, pumps=tuple(msgspec.structs.replace(pump, limits=limits) for pump in station.pumps)
    )
    assert judge.judged(bounded, board, now=T0)["p1"].verdicts["wet_well_level_m"].quality is Quality.BAD
