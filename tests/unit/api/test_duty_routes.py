"""Orders to clean out by REST: what is sent on, what is refused before it (CTL-6)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.messages import StartCleanOut, StopCleanOut
from actors.vocabulary import RefusedError
from tests.unit.api.served import SAFETY_1, Served, served

PATH = "/api/v1/pumps/p1/clean-out"
COMMAND = "6a4b0f6e-5f0e-4a52-9f0a-0d2f6d8c9b11"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


def orders(api: Served) -> list[tuple[str, object]]:
    return [
        (to, message) for to, message in api.tree.asked if isinstance(message, StartCleanOut | StopCleanOut)
    ]


def test_an_order_goes_to_the_stations_safety_with_its_person_and_source(api: Served) -> None:
    """CTL-6: by name, with a reason, for a time; the address of the caller goes with it."""
    body = {"by": "ann", "reason": "grit", "lasts_s": 120.0, "command_id": COMMAND}
    answer = api.post(PATH, body)
    assert answer.status == 200
    assert answer.json() == {"pump_id": "p1", "command_id": COMMAND, "by": "ann", "note": "taken"}
    [(to, order)] = orders(api)
    assert to == SAFETY_1
    assert isinstance(order, StartCleanOut)
    assert (order.pump_id, order.by, order.reason, order.lasts_s) == ("p1", "ann", "grit", 120.0)
    assert order.source_address.startswith("127.0.0.1")
    ended = api.post(f"{PATH}/end", {"by": "bob", "reason": "enough"})
    assert ended.status == 200
    assert isinstance(orders(api)[1][1], StopCleanOut)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"by": " ", "reason": "grit"}, "by"),
        ({"by": "ann", "reason": ""}, "reason"),
        ({"by": "ann", "reason": "grit", "lasts_s": 0.0}, "lasts_s"),
        ({"by": "ann", "reason": "grit", "lasts_s": -5.0}, "lasts_s"),
        ({"by": "ann", "reason": "grit", "command_id": "x"}, "command_id"),
        ({"by": "ann", "reason": "grit", "forever": True}, "forever"),
    ],
)
def test_a_wrong_order_is_refused_by_name(api: Served, body: dict[str, object], named: str) -> None:
    """CTL-6, API-1: problem details, and nothing is sent on."""
    assert named in api.post(PATH, body).problem(400)
    assert orders(api) == []


def test_what_safety_refuses_is_told(api: Served) -> None:
    """CTL-6: 409 with the reason; 404 for a pump that is not there."""
    api.tree.odd[SAFETY_1] = RefusedError("pump p1: emergency high level")
    assert "high level" in api.post(PATH, {"by": "ann", "reason": "grit"}).problem(409)
    assert "nobody" in api.post("/api/v1/pumps/nobody/clean-out", {"by": "ann", "reason": "g"}).problem(404)
