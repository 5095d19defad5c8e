"""Goal: alarms look as they are: counted while they stand, the worst first, at what they are about, seen or not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from actors.alarm.lifecycle import AlarmState
from actors.messages import AcknowledgeAlarm, AlarmView
from actors.vocabulary import Severity
from actors.vocabulary.access import UserRole
from actors.vocabulary.ids import ALARM
from api.dashboard.abnormal import of_alarms
from api.dashboard.alarms import by_object, in_order, placed, stands, waits
from tests.browser.plant import NORTH, SOUTH, Plant
from tests.browser.watching import Watched
from tests.unit.api.dashboard.test_pages import look
from tests.unit.api.served import moment, until


def alarm(
    name: str,
    state: AlarmState,
    severity: Severity = Severity.HIGH,
    *,
    subject: str = "p1",
    age_s: float = 0.0,
) -> AlarmView:
    return AlarmView(
        alarm_id=name, condition="failsafe", subject=subject, severity=severity, state=state.value, text=name,
        raised_at=moment().plus(-age_s), returned_at=None, occurrences=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "standing", "waiting"),
    [
        (AlarmState.UNACKNOWLEDGED, True, True),
        (AlarmState.ACKNOWLEDGED, True, False),
        (AlarmState.RETURNED_UNACKNOWLEDGED, False, True),
        (AlarmState.NORMAL, False, False),
    ],
)
def test_every_state_stands_or_not_and_waits_or_not(state: AlarmState, standing: bool, waiting: bool) -> None:
    """ALM-1: the states of the alarm actor, each judged."""
    assert (stands(alarm("a", state)), waits(alarm("a", state))) == (standing, waiting)


def test_what_stands_comes_first_and_of_it_the_worst() -> None:
    """ALM-1, HMI-1: then what nobody has seen, then the newest."""
    given = [
        alarm("over and seen", AlarmState.NORMAL, Severity.CRITICAL),
        alarm("over, unseen", AlarmState.RETURNED_UNACKNOWLEDGED, Severity.CRITICAL),
        alarm("low", AlarmState.UNACKNOWLEDGED, Severity.LOW),
        alarm("high, seen", AlarmState.ACKNOWLEDGED),
        alarm("high, old", AlarmState.UNACKNOWLEDGED, age_s=60.0),
        alarm("high, new", AlarmState.UNACKNOWLEDGED, age_s=10.0),
        alarm("critical, seen", AlarmState.ACKNOWLEDGED, Severity.CRITICAL),
    ]
    assert [each.alarm_id for each in in_order(given)] == [
        "critical, seen", "high, new", "high, old", "high, seen", "low", "over, unseen", "over and seen",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("subject", "place"),
    [
        ("p1", "harbour/p1"),
        ("pump:p3", "mill/p3"),
        ("modbus:p1", "harbour/p1"),
        ("modbus:p6", None),
        ("modbus:nobody", None),
        ("harbour", "harbour"),
        ("/sites/north/stations/mill/pumps/p4", "mill/p4"),
        ("/sites/north/stations/mill/safety", "mill"),
        ("/sites/north/endpoints/modbus", ""),
        ("north", ""),
        ("p6", None),
        ("/sites/south/watchdog", None),
        ("storage", None),
        ("/platform/alarm", None),
    ],
)
def test_an_alarm_is_at_what_it_is_about(subject: str, place: str | None) -> None:
    """HMI-1: a pump's at the pump, a station's at the station; another site's and the platform's at none of ours."""
    told = [alarm("a", AlarmState.UNACKNOWLEDGED, subject=subject)]
    found = by_object(told, placed(told, (SOUTH, NORTH)), "north")
    assert list(found) == ([] if place is None else [place])


@pytest.mark.parametrize(
    ("subject", "part"),
    [
        ("p1", ""),
        ("pump:p3", ""),
        ("modbus:p1", "modbus"),
        ("/sites/north/stations/mill/plan", "plan"),
        ("/sites/north/endpoints/opcua", "opcua"),
    ],
)
def test_an_alarm_names_the_part_that_it_is_about(subject: str, part: str) -> None:
    """HMI-1: "process restarted" twice at one station says which."""
    told = alarm("a", AlarmState.UNACKNOWLEDGED, subject=subject)
    assert [each.part for each in of_alarms([told], [])] == [part]


def test_one_that_is_over_is_at_nothing() -> None:
    """ALM-1: what has returned makes nothing abnormal."""
    over = [alarm("a", AlarmState.RETURNED_UNACKNOWLEDGED), alarm("b", AlarmState.NORMAL)]
    assert by_object(over, placed(over, (NORTH,)), "north") == {}


def counts(page: str) -> list[int]:
    return [int(each) for each in re.findall(r'<span class="n">(\d+)</span>', page)]


def rows(page: str) -> list[tuple[str, str]]:
    return re.findall(r'<tr id="alarm-[^"]+" class="(\w*)" data-state="(\w+)"', page)


def test_an_alarm_is_counted_ranked_acknowledged_and_over(tmp_path: Path) -> None:
    """ALM-1, HMI-1: by the alarm actor's own law: strip, list, its pump and station, through a whole life."""
    plant = Plant()
    with Watched(plant, tmp_path) as watched:
        assert counts(look(watched, "/").raw.decode()) == [0, 0, 0, 0]
        low = plant.alarm("not_following", "p2", Severity.LOW, "p2 is slow")
        worst = plant.alarm("levels_disagree", "mill", Severity.CRITICAL, "1.2 m against 2.1 m")
        until(lambda: counts(look(watched, "/").raw.decode()) == [1, 0, 0, 1])
        page = look(watched, "/").raw.decode()
        assert "2 unseen" in page
        assert re.findall(r"station-card r(\d)", page) == ["4", "1", "0"], (
            "the mill first, by its alarm alone"
        )
        assert "Levels disagree" in page
        page = look(watched, "/alarms").raw.decode()
        assert rows(page) == [("r4", "UNACKNOWLEDGED"), ("low", "UNACKNOWLEDGED")]
        assert "stands, unseen" in page
        assert page.count('data-open="acknowledge-dialog"') == 2
        plant.answer(str(ALARM), AcknowledgeAlarm(alarm_id=worst, by="olga", comment="gauge is dirty"))
        until(lambda: "1 unseen" in look(watched, "/").raw.decode())
        page = look(watched, "/alarms").raw.decode()
        assert counts(page) == [1, 0, 0, 1], "who has seen it has not ended it"
        assert rows(page)[0] == ("r4", "ACKNOWLEDGED")
        assert "olga" in page
        assert "gauge is dirty" in page
        plant.alarm_over("not_following", "p2")
        until(lambda: counts(look(watched, "/").raw.decode()) == [1, 0, 0, 0])
        assert rows(look(watched, "/alarms").raw.decode())[1] == ("", "RETURNED_UNACKNOWLEDGED")
        plant.answer(str(ALARM), AcknowledgeAlarm(alarm_id=low, by="olga"))
        until(lambda: rows(look(watched, "/alarms").raw.decode())[1] == ("over", "NORMAL"))
        page = look(watched, "/alarms").raw.decode()
        assert 'data-open="acknowledge-dialog"' not in page
        for word in AlarmState:
            assert f">{word.value}<" not in page, "told in words"


def test_who_may_not_acknowledge_is_offered_no_button(tmp_path: Path) -> None:
    """SEC-2: no button that would be refused."""
    plant = Plant()
    plant.alarm("not_following", "p2", Severity.LOW, "p2 is slow")
    with Watched(plant, tmp_path) as watched:
        page = look(watched, "/alarms", UserRole.READ_ONLY).raw.decode()
        assert "p2 is slow" in page
        assert "acknowledge-dialog" not in page


def test_a_list_that_has_just_begun_says_so(tmp_path: Path) -> None:
    """ALM-1, HMI-2: an absence means nothing before the alarm actor knows what its former life left open."""
    plant = Plant()
    plant.alarms_whole = False
    with Watched(plant, tmp_path) as watched:
        assert "older ones may be missing" in look(watched, "/").raw.decode()
        plant.alarms_whole = True
        until(lambda: "older ones may be missing" not in look(watched, "/").raw.decode())
