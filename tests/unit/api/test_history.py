"""What a point of a pump was, and which settings are in force: over real HTTP (API-2, CFG-1)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from actors.vocabulary import Quality
from actors.vocabulary.access import UserRole
from actors.vocabulary.client_calls import PAST_POINTS, PastValue
from actors.vocabulary.settings import AccessSettings, DatabaseSettings, Settings, SparkplugSettings
from api.service import Service
from tests.unit.api.people import logged_in
from tests.unit.api.served import Answer, Served, moment, served, until

HISTORY = "/api/v1/pumps/p1/history"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        running.points.shown["opcua"] = [value(number) for number in range(5)]
        yield running


def value(number: int, now: datetime = NOON) -> PastValue:
    return PastValue(value=30.0 + number, quality=Quality.GOOD, at=now - timedelta(minutes=number))


def asked(api: Served, point: str = "actual_speed", **named: Any) -> Answer:
    query = "&".join(f"{name.rstrip('_')}={quote(str(each))}" for name, each in named.items())
    return api.get(f"{HISTORY}?point={point}&{query}")


def test_rows_come_newest_first_by_pages(api: Served) -> None:
    """API-2: the newest first; `Link` leads through all of it once, also when the first page said no `to`."""
    answer = asked(api, from_="2026-11-21T11:00Z", to="2026-11-21T12:00Z", limit=2)
    assert answer.json()[0] == {"at": "2026-11-21T12:00:00Z", "value": 30.0, "quality": "GOOD"}
    seen = [row["value"] for row in answer.json()]
    while link := answer.headers.get("link"):
        answer = api.get(link.partition(">")[0].lstrip("<"))
        seen += [row["value"] for row in answer.json()]
    assert seen == [30.0, 31.0, 32.0, 33.0, 34.0]
    assert len(api.points.asked) == 3


def test_without_a_span_it_is_the_last_day_and_stays_that_day(api: Served) -> None:
    """API-2: the next page belongs to the first one's span, not to a span that moved on meanwhile."""
    now = moment().utc
    api.points.shown["opcua"] = [value(number, now) for number in range(5)]
    answer = asked(api, limit=3)
    assert len(answer.json()) == 3
    api.points.shown["opcua"] = [value(number, moment().utc) for number in range(5)]
    again = api.get(answer.headers["link"].partition(">")[0].lstrip("<"))
    assert again.status == 200
    (first, _), (second, _) = api.points.asked
    assert first.end is not None
    assert first.start is not None
    assert first.start - first.end == timedelta(hours=24)
    assert second.start == first.start
    assert (first.backwards, second.following) == (True, "3")


def test_every_point_that_has_a_past_can_be_asked_for(api: Served) -> None:
    """API-2, OPC-3: the same points as on OPC UA; what was shown, of the endpoint that is named."""
    api.points.shown["modbus"] = [PastValue(value=True, quality=Quality.BAD, at=NOON)]
    for point in PAST_POINTS:
        assert asked(api, point, to="2026-11-21T12:00Z").status == 200
    rows = asked(api, "run_inhibit", endpoint="modbus", to="2026-11-21T12:00Z").json()
    assert rows == [{"at": "2026-11-21T12:00:00Z", "value": True, "quality": "BAD"}]


@pytest.mark.parametrize(
    ("named", "status", "told"),
    [
        ({"point": "speed"}, 400, "actual_speed"),
        ({"endpoint": "sparkplug"}, 400, "modbus, opcua"),
        ({"from_": "yesterday"}, 400, "from: 'yesterday'"),
        ({"to": "2026-13-01"}, 400, "to: '2026-13-01'"),
        ({"from_": "2026-11-21T12:00Z", "to": "2026-11-21T12:00Z"}, 400, "expected before"),
        ({"from_": "9999-12-31T23:59:59-12:00"}, 400, "from: "),
        ({"cursor": "rubbish"}, 400, "cursor"),
        ({"cursor": "cnViYmlzaA"}, 400, "following"),
        ({"limit": 0}, 400, "limit"),
    ],
)
def test_what_cannot_be_asked_is_named(api: Served, named: dict[str, Any], status: int, told: str) -> None:
    """API-1: the value, the place and what was expected."""
    assert told in asked(api, **named).problem(status)


def test_to_the_beginning_of_time_is_no_error(api: Served) -> None:
    """API-1: a span that reaches before the calendar begins is cut, not a bug."""
    assert asked(api, to="0001-01-01T06:00Z").json() == []


def test_unknown_pumps_an_away_database_and_strangers(api: Served) -> None:
    """API-1, SEC-2: 404, 503 and 403, each for what it is."""
    assert api.get("/api/v1/pumps/p9/history?point=running").problem(404)
    api.points.away = True
    assert "connection refused" in asked(api).problem(503)
    plc = logged_in(api.users, api.desk, "plc", UserRole.FIELD)
    assert api.get(f"{HISTORY}?point=running", token=plc).problem(403)
    assert api.get(f"{HISTORY}?point=running", token="").problem(401)


# --------------------------------------------------------------------------- settings


def test_the_settings_in_force_are_shown_to_who_may_configure(api: Served) -> None:
    """CFG-1, SEC-2: CONFIGURE is enforced: an engineer sees them, an operator does not, and no browser keeps them."""
    engineer = logged_in(api.users, api.desk, "erna", UserRole.ENGINEER)
    answer = api.get("/api/v1/configuration", token=engineer)
    assert answer.status == 200
    assert answer.json()["api"]["rest"] == api.rest
    assert answer.json()["data_dir"] == api.settings.data_dir
    assert answer.headers["cache-control"] == "no-store"
    for role in (UserRole.OPERATOR, UserRole.READ_ONLY, UserRole.FIELD):
        token = logged_in(api.users, api.desk, f"someone-{role.value.lower()}", role)
        assert api.get("/api/v1/configuration", token=token).problem(403)
    until(lambda: [each for each in api.tree.records if getattr(each, "event_type", "") == "ACCESS_DENIED"])


def test_no_secret_is_where_rest_could_show_it() -> None:
    """SEC-3: masked when the service is made: what handlers hold has none."""
    settings = Settings(
        data_dir="unused",
        database=DatabaseSettings(url="postgresql://calejo:geheim-1@db/plant?sslpassword=geheim-2"),
        access=AccessSettings(signing_keys="geheim-3" * 8),
        sparkplug=SparkplugSettings(host="broker", user="edge", password="geheim-4"),
    )
    nothing: Any = None
    service = Service(
        sources=nothing, stops=nothing, limits=nothing, access=nothing, decisions=nothing, watching=nothing,
        clock=nothing, record=nothing, settings=settings,
    )  # fmt: skip
    assert "geheim" not in str(service.configuration)
    assert service.configuration.sparkplug.user == "edge"
    assert service.configuration.database.url.startswith("postgresql://calejo:***@db/plant")
