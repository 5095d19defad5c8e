"""What is asked once for all who ask the same, and what never is: a command's effect is seen by who gave it."""

from __future__ import annotations

import asyncio
import http.client
import threading
from collections import Counter
from collections.abc import Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.messages import GetEndpoint, GetPlanStatus, GetStation, GetStationDecisions, SetMode
from actors.vocabulary import Mode, Topology, UnavailableError
from actors.vocabulary.ids import DISCOVERY
from actors.vocabulary.past import PastTable
from api.questions import Questions
from protocols.tags import tags as point_tags
from tests.unit.api.examples import PAST
from tests.unit.api.served import MODBUS, SAFETY_1, TOPOLOGY, Answer, Served, Tree, served, until
from tests.unit.protocols.plants import north


class SlowTree(Tree):
    """Questions to `slow` addresses wait until the gate is open; they answer as things are when they are asked."""

    def __init__(self) -> None:
        super().__init__()
        self.slow: set[str] = set()
        self.open = threading.Event()

    def answer(self, address: str, message: Any) -> Any:
        answered = super().answer(address, message)
        if address not in self.slow:
            return answered

        async def later() -> Any:
            while not self.open.is_set():
                await asyncio.sleep(0.001)
            return answered

        return later()

    def asked_for(self, kind: type) -> int:
        return sum(isinstance(message, kind) for _, message in self.asked)


@pytest.fixture
def tree() -> SlowTree:
    return SlowTree()


@pytest.fixture
def api(tmp_path: Path, tree: SlowTree) -> Iterator[Served]:
    with served(tmp_path, tree=tree) as running:
        running.token()
        yield running


@contextmanager
def arrivals() -> Iterator[Counter[Hashable]]:
    """Count who asks what, and let the next question wait for the one under way however long that takes."""
    arrived: Counter[Hashable] = Counter()
    patient: dict[Questions, float] = {}
    real = Questions.ask

    async def ask(self: Questions, key: Hashable, question: Any) -> Any:
        patient.setdefault(self, self._patience_s)
        self._patience_s = 60.0
        arrived[key] += 1
        return await real(self, key, question)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Questions, "ask", ask)
        yield arrived
    for questions, patience_s in patient.items():
        questions._patience_s = patience_s


def tags_sent(api: Served, path: str) -> list[str] | None:
    """Return every ETag header of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", api.rest, timeout=10)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {api.token()}"})
        response = connection.getresponse()
        response.read()
        return response.headers.get_all("etag")
    finally:
        connection.close()


def at_once(api: Served, path: str, count: int) -> list[Answer]:
    with ThreadPoolExecutor(count) as pool:
        return [each.result() for each in [pool.submit(api.get, path) for _ in range(count)]]


@pytest.mark.parametrize(
    ("path", "kind", "who"),
    [
        ("/api/v1/pumps", GetStationDecisions, SAFETY_1),
        ("/api/v1/pumps", GetEndpoint, MODBUS),
        ("/api/v1/stations", GetStation, "/sites/north/stations/s1/station"),
        ("/api/v1/stations", GetPlanStatus, "/sites/north/stations/s1/plan"),
    ],
)
def test_many_who_ask_at_once_cost_a_few_questions(
    api: Served, tree: SlowTree, path: str, kind: type, who: str
) -> None:
    """API-4: thirty requests while an actor takes its time: one question, and one for those who came later."""
    tree.slow.add(who)
    with arrivals() as arrived, ThreadPoolExecutor(30) as pool:
        first = [pool.submit(api.get, path) for _ in range(30)]
        until(lambda: max(arrived.values(), default=0) >= 30)
        tree.open.set()
        answers = [each.result() for each in first]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.raw for answer in answers}) <= 2
    assert Counter(to for to, message in tree.asked if isinstance(message, kind))[who] == 2


def test_who_commands_reads_what_became_of_it(api: Served, tree: SlowTree) -> None:
    """CTL-7, API-4: a question that was under way before a command never answers who asks after it."""
    path = "/api/v1/pumps/p1/explain"
    tree.slow.add("/sites/north/stations/s1/pumps/p1")
    tree.dead.add(SAFETY_1)  # so that the mode told is the pump's own
    with ThreadPoolExecutor(2) as pool:
        before = pool.submit(api.get, path)
        until(lambda: len([1 for to, _ in tree.asked if to.endswith("/pumps/p1")]) >= 1)
        # As another wire would: the answer that is on its way knows nothing of it.
        tree.modes["p1"] = SetMode(
            pump_id="p1", command_id="1", mode=Mode.MANUAL, by="bert", setpoint_hz=30.0, expires_after_s=60.0
        )
        after = pool.submit(api.get, path)
        until(lambda: len([1 for to, _ in tree.asked if to.endswith("/pumps/p1")]) >= 2)
        tree.open.set()
        assert (before.result().json()["mode"], after.result().json()["mode"]) == ("AUTO", "MANUAL")


def test_a_page_asks_only_for_what_it_shows(api: Served, tree: SlowTree) -> None:
    """API-2, API-4: cut first, asked then."""
    [first] = api.get("/api/v1/stations?limit=1").json()
    assert first["station_id"] == "s1"
    assert {str(to) for to, message in tree.asked if isinstance(message, GetStation | GetPlanStatus)} == {
        "/sites/north/stations/s1/station",
        "/sites/north/stations/s1/plan",
    }
    [pump] = api.get("/api/v1/pumps?limit=1").json()
    assert pump["pump_id"] == "p1"
    assert tree.asked_for(GetStationDecisions) == 1


def test_tags_are_made_when_the_plant_changes(
    api: Served, tree: SlowTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MOD-2, API-4: rows and pages are kept with their tag as long as the plant is the same, and no longer."""
    made: list[str] = []

    def counted(site: Any) -> Any:
        made.append(site.site_id)
        return point_tags(site)

    monkeypatch.setattr("api.tag_pages.point_tags", counted)
    whole = api.get("/api/v1/tags")
    assert tags_sent(api, "/api/v1/tags") == [whole.headers["etag"]]
    assert api.get("/api/v1/tags", headers={"If-None-Match": whole.headers["etag"]}).status == 304
    assert api.get("/api/v1/tags").raw == whole.raw
    pressed = api.get("/api/v1/tags", headers={"Accept-Encoding": "gzip"})
    assert pressed.headers["content-encoding"] == "gzip"
    assert api.get("/api/v1/tags", headers={"If-None-Match": pressed.headers["etag"]}).status == 304
    assert made == ["north"]
    fewer = msgspec.structs.replace(north(), stations=north().stations[:1])
    tree.topology = Topology(revision="r2", sites=(fewer,))
    changed = api.get("/api/v1/tags", headers={"If-None-Match": whole.headers["etag"]})
    assert changed.status == 200
    assert {row["station_id"] for row in changed.json()} == {None, "s1"}
    assert made == ["north", "north"]
    tree.dead.add(DISCOVERY)
    assert api.get("/api/v1/tags").raw == changed.raw


def test_a_reader_who_asks_for_many_different_pages_of_tags_fills_nothing(api: Served) -> None:
    """API-4: pages are kept, but only so many."""
    from api.tag_pages import _PAGES_MAX

    for limit in range(1, _PAGES_MAX + 10):
        assert len(api.get(f"/api/v1/tags?limit={limit}").json()) == limit
    assert len(api.actor._service.tags._pages) == _PAGES_MAX
    made = api.actor._service.tags._made
    assert made is not None
    assert made[0].revision == TOPOLOGY.revision


@pytest.mark.usefixtures("impatient")
def test_everybody_who_asks_for_a_part_that_is_away_hears_so(api: Served, tree: SlowTree) -> None:
    """API-4: an error is shared by those who waited for it, and kept for nobody."""
    tree.deaf.add("/platform/alarm")
    answers = at_once(api, "/api/v1/alarms", 10)
    assert all("/platform/alarm" in answer.problem(503) for answer in answers)
    tree.deaf.clear()
    assert api.get("/api/v1/alarms").status == 200


def test_the_map_of_a_great_plant_is_made_beside_the_loop(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EST-1, MOD-2: while somebody's first look at the tags takes long, everybody else is answered; it is made once."""
    begun, may_end, made = threading.Event(), threading.Event(), []

    def slow(site: Any) -> Any:
        made.append(site.site_id)
        begun.set()
        assert may_end.wait(10)
        return point_tags(site)

    monkeypatch.setattr("api.tag_pages.point_tags", slow)
    with ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(api.get, "/api/v1/tags?limit=5") for _ in range(5)]
        try:
            assert begun.wait(10)
            assert api.get("/api/v1/pumps").status == 200
            assert not any(each.done() for each in asked)
        finally:
            may_end.set()
        assert {each.result().status for each in asked} == {200}
    assert made == ["north"]


def test_a_map_that_could_not_be_made_is_made_when_somebody_asks_again(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """API-4: an error is kept for nobody."""

    def broken(site: Any) -> Any:
        raise UnavailableError(f"{site.site_id}: not now")

    with monkeypatch.context() as patch:
        patch.setattr("api.tag_pages.point_tags", broken)
        assert "not now" in api.get("/api/v1/tags").problem(503)
    assert api.get("/api/v1/tags").status == 200


def test_many_who_ask_the_database_the_same_cost_a_few_reads(api: Served) -> None:
    """API-4: rows of the past are read once for all who ask at once, and again for who asks later."""
    table = api.past.rows[PastTable.VIOLATIONS]
    table.append(PAST[PastTable.VIOLATIONS])
    may_end = threading.Event()
    real = api.past.page

    async def slow(*asked: Any) -> Any:
        found = await real(*asked)
        while not may_end.is_set():
            await asyncio.sleep(0.001)
        return found

    with pytest.MonkeyPatch.context() as patch, arrivals() as arrived, ThreadPoolExecutor(31) as pool:
        patch.setattr(api.past, "page", slow)
        first = [pool.submit(api.get, "/api/v1/violations") for _ in range(30)]
        other = pool.submit(api.get, "/api/v1/violations?pump_id=p2")
        until(lambda: max(arrived.values(), default=0) >= 30 and len(arrived) == 2)
        may_end.set()
        assert {len(each.result().json()) for each in first} == {1}
        assert other.result().json() == []
    assert len(api.past.asked) == 3, "who came first, all the others, and the other question"
    table.append(PAST[PastTable.VIOLATIONS] | {"violation_id": 6})
    assert len(api.get("/api/v1/violations").json()) == 2
