"""Filters of lists: what they leave in, what they refuse, and that pages of a filtered list meet."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from actors.vocabulary.past import PastTable
from tests.unit.api.examples import PAST
from tests.unit.api.served import MODBUS, SAFETY_1, Served, served, walked

BASE = "/api/v1"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("api")) as running:
        for table, row in PAST.items():
            running.past.rows[table] = [row]
        stop = {"scope": "PUMP", "scope_id": "p1", "reason": "leak", "by": "anna"}
        assert running.post(f"{BASE}/emergency-stops", stop).status == 201
        assert (
            running.post(f"{BASE}/emergency-stops", stop | {"scope": "SITE", "scope_id": "north"}).status
            == 201
        )
        out = {"mode": "OUT_OF_SERVICE", "by": "anna", "reason": "seal"}
        assert running.post(f"{BASE}/pumps/p3/mode", out).status == 200
        yield running


@pytest.mark.parametrize(
    ("path", "key", "expected"),
    [
        ("tree?role=safety", "address", [SAFETY_1]),
        ("tree?role=SAFETY,modbus", "address", [MODBUS, SAFETY_1]),
        ("tree?state=running", "address", ["/", MODBUS, SAFETY_1]),
        ("tree?state=quarantined", "address", []),
        ("tree?state=running&role=modbus", "address", [MODBUS]),
        ("stations?site_id=NORTH", "station_id", ["s1", "s2"]),
        ("pumps?site_id=north", "pump_id", ["p1", "p2", "p3"]),
        ("pumps?site_id=north&station_id=s2", "pump_id", ["p3"]),
        ("alarms?severity=high", "alarm_id", ["a2", "a1"]),
        ("alarms?severity=low,critical", "alarm_id", []),
        ("alarms?subject=p1", "alarm_id", ["a1"]),
        ("alarms?state=unacknowledged", "alarm_id", ["a2"]),
        ("alarms?state=UNACKNOWLEDGED,RETURNED_UNACKNOWLEDGED&subject=p2", "alarm_id", ["a2"]),
        ("alarms?subject=p", "alarm_id", []),
        ("emergency-stops?kind=emergency_stop", "scope", ["PUMP", "SITE"]),
        ("emergency-stops?kind=out_of_service", "scope_id", ["p3"]),
        ("emergency-stops?scope=pump", "scope_id", ["p1", "p3"]),
        ("emergency-stops?scope=pump&kind=emergency_stop", "scope_id", ["p1"]),
        ("emergency-stops?scope_id=north", "scope", ["SITE"]),
        ("plans?station_id=s1", "plan_id", [17]),
        ("plans?station_id=s2", "plan_id", []),
        ("violations?station_id=s1&pump_id=p1", "violation_id", [5]),
        ("violations?station_id=s2&pump_id=p1", "violation_id", []),
        ("failsafes?station_id=s1", "event_id", [2]),
        ("failsafes?scope_id=p2", "event_id", []),
        ("plan-refusals?pump_id=P1", "refusal_id", [3]),
    ],
)
def test_a_filter_leaves_in_what_it_says(api: Served, path: str, key: str, expected: list[object]) -> None:
    """API-2: each filter alone and two together."""
    answer = api.get(f"{BASE}/{path}")
    assert answer.status == 200, answer.raw
    assert [row[key] for row in answer.json()] == expected


def test_alarms_are_filtered_by_the_states_that_the_alarm_actor_has(api: Served) -> None:
    """API-2, ALM-1: by the words of the life cycle, in any case."""
    from actors.alarm.lifecycle import AlarmState

    for state in AlarmState:
        rows = api.get(f"{BASE}/alarms?state={state.value.lower()}").json()
        assert {row["state"] for row in rows} <= {state.value}
    every = api.get(f"{BASE}/alarms").json()
    of_any = api.get(f"{BASE}/alarms?state={','.join(AlarmState)}").json()
    assert of_any == [row for row in every if row["state"] in set(AlarmState)]


@pytest.mark.parametrize("site", ["site_id=north&", ""])
@pytest.mark.parametrize("station", ["s1", "s2"])
def test_tags_of_a_station_are_the_rows_that_name_it(api: Served, site: str, station: str) -> None:
    """MOD-2, API-2: page by page, none twice, none missing."""
    rows = api.get(f"{BASE}/tags").json()
    path = f"{BASE}/tags?{site}station_id={station}&limit=70"
    found = [row for page in walked(api, path) for row in page.json()]
    assert found == [row for row in rows if row["station_id"] == station]
    assert found


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        ("tree?role=pilot", 400, "pilot"),
        ("tree?state=" + ",".join("x" * 60), 400, "at most 50"),
        ("alarms?severity=grave", 400, "severity"),
        ("alarms?state=raised!", 400, "state"),
        ("emergency-stops?kind=pause", 400, "emergency_stop, out_of_service"),
        ("emergency-stops?scope=PLANET", 400, "PLANET"),
        ("emergency-stops?scope_id=a%20b", 400, "scope_id"),
        ("tags?site_id=south", 404, "south"),
        ("tags?station_id=s9", 404, "s9"),
        ("stations?site_id=a%20b", 400, "site_id"),
        ("stations?site_id=south", 404, "north"),
        ("pumps?site_id=south", 404, "south"),
        ("violations?station_id=s9", 404, "s9"),
        ("violations?since=yesterday", 400, "since"),
        ("failsafes?until=9999-12-31T23:59:59-12:00", 400, "until"),
        ("plans?cursor=LTE", 400, "cursor"),
        ("account/sessions?cursor=x", 400, "cursor"),
    ],
)
def test_a_filter_that_is_none_is_named(api: Served, path: str, status: int, word: str) -> None:
    """API-1, API-2: never a guess, never an empty list for a word that means nothing."""
    assert word in api.get(f"{BASE}/{path}").problem(status)


def test_a_span_reaches_the_database_as_moments(api: Served) -> None:
    """API-2: UTC unless it says otherwise; one row more than the page is asked for."""
    api.past.asked.clear()
    api.get(f"{BASE}/violations?since=2026-11-21T10:00&until=2026-11-21T13:00%2B02:00&limit=7")
    [query] = api.past.asked
    assert query.since == datetime(2026, 11, 21, 10, tzinfo=UTC)
    assert query.until == datetime(2026, 11, 21, 11, tzinfo=UTC)
    assert (query.count_max, query.subjects, query.before) == (8, None, None)


def test_rows_of_the_past_are_paged(tmp_path: Path) -> None:
    """API-2: newest first, by `Link`."""
    with served(tmp_path) as api:
        row = PAST[PastTable.VIOLATIONS]
        api.past.rows[PastTable.VIOLATIONS] = [row | {"violation_id": number} for number in range(1, 8)]
        pages = [page.json() for page in walked(api, f"{BASE}/violations?limit=3&pump_id=p1")]
        assert [[each["violation_id"] for each in page] for page in pages] == [[7, 6, 5], [4, 3, 2], [1]]


def test_ones_own_sessions_come_by_pages(tmp_path: Path) -> None:
    """API-2, SEC-1: as every other list."""
    from actors.vocabulary.access import UserRole
    from tests.unit.api.people import logged_in

    with served(tmp_path) as api:
        tokens = [logged_in(api.users, api.desk, "olga", UserRole.OPERATOR) for _ in range(3)]
        first = api.get(f"{BASE}/account/sessions?limit=2", token=tokens[0])
        assert len(first.json()) == 2
        following = first.headers["link"].partition(">")[0][1:]
        second = api.get(following, token=tokens[0])
        assert "link" not in second.headers
        ids = {row["session_id"] for row in (*first.json(), *second.json())}
        assert len(ids) == 3
