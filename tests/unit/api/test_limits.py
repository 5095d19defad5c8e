"""Limits with approval over real HTTP: propose, approve, reject, withdraw, list, history, diff; and every refusal."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.messages import DiscoverNow
from actors.vocabulary import Topology
from actors.vocabulary.ids import DISCOVERY
from actors.vocabulary.limits import LIMIT_KEYS
from api.actor import ApiActor
from tests.unit.actors.limits.books import VALUES, book, current, envelope
from tests.unit.api.served import Latches, Memory, Ports, Served, served, until, walked
from tests.unit.protocols.plants import north

P1 = "/api/v1/limits/p1"
JSON: dict[str, Any] = {
    "changes": {"hard_max_speed_hz": 45},
    "base_version": 3,
    "reason": "bearing",
    "by": "anna",
}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


def proposed(api: Served, **changed: Any) -> str:
    answer = api.post(f"{P1}/proposals", {**JSON, **changed})
    assert answer.status == 201, answer.raw
    return str(answer.json()["proposal"]["proposal_id"])


def closing(api: Served, verb: str, proposal_id: str, *, by: str = "bert", reason: str = "reviewed") -> Any:
    return api.post(f"{P1}/proposals/{proposal_id}/{verb}", {"by": by, "reason": reason})


def applies(api: Served, version: int) -> None:
    """Have discovery answer that control works with this version of p1's limits."""
    site = north()
    stations = []
    for station in site.stations:
        pumps = tuple(
            msgspec.structs.replace(pump, limits=current(version)) if pump.pump_id == "p1" else pump
            for pump in station.pumps
        )
        stations.append(msgspec.structs.replace(station, pumps=pumps))
    api.tree.topology = Topology(
        revision=f"r{version}", sites=(msgspec.structs.replace(site, stations=tuple(stations)),)
    )


def test_limits_are_shown_beside_their_envelope(api: Served) -> None:
    """API-2, SAF-6: every key with value, unit, bound and direction; who set and approved; what control works with."""
    applies(api, 3)
    shown = api.get(P1).json()
    assert (shown["version"], shown["applied_version"], shown["set_by"], shown["approved_by"]) == (
        3,
        3,
        "zoe",
        "yan",
    )
    assert shown["commissioned_by"] == "carl"
    assert [row["key"] for row in shown["limits"]] == list(LIMIT_KEYS)
    assert shown["limits"][1] == {
        "key": "hard_max_speed_hz", "value": 50.0, "unit": "Hz", "envelope": 52.0, "tighter": "LOWER",
    }  # fmt: skip
    assert shown["proposals"] == []
    api.tree.dead.add(DISCOVERY)
    assert api.get(P1).json()["version"] == 3


def test_a_proposal_waits_and_a_second_person_brings_it_into_force(api: Served) -> None:
    """SAF-6: 201 with the difference; nothing changes; approved it is a version, and discovery looks at once."""
    answer = api.post(f"{P1}/proposals", JSON)
    assert answer.status == 201
    body = answer.json()
    assert body["proposal"]["state"] == "PROPOSED"
    assert body["in_force"] is False
    assert body["diff"] == [
        {
            "key": "hard_max_speed_hz", "unit": "Hz", "before": 50.0, "after": 45.0, "direction": "TIGHTER",
            "bound": 52.0,
        }
    ]  # fmt: skip
    assert api.get(P1).json()["version"] == 3
    assert [each["proposal_id"] for each in api.get(P1).json()["proposals"]] == [
        body["proposal"]["proposal_id"]
    ]
    assert not [message for _, message in api.tree.asked if isinstance(message, DiscoverNow)]
    applies(api, 4)
    approved = closing(api, "approve", body["proposal"]["proposal_id"])
    assert approved.status == 200
    done = approved.json()
    assert (done["proposal"]["state"], done["proposal"]["version"], done["in_force"]) == ("APPROVED", 4, True)
    assert done["diff"] == body["diff"]
    assert [to for to, message in api.tree.asked if isinstance(message, DiscoverNow)] == [DISCOVERY]
    shown = api.get(P1).json()
    assert (shown["version"], shown["set_by"], shown["approved_by"], shown["proposals"]) == (
        4,
        "anna",
        "bert",
        [],
    )


@pytest.mark.parametrize("discovery", ["dead", "behind"])
def test_approved_is_not_called_in_force_before_it_is(api: Served, discovery: str) -> None:
    """SAF-6: the version is written; the answer says that control does not have it yet, and why."""
    proposal_id = proposed(api)
    if discovery == "dead":
        api.tree.dead.add(DISCOVERY)
    else:
        applies(api, 3)
    done = closing(api, "approve", proposal_id).json()
    assert done["proposal"]["state"] == "APPROVED"
    assert done["in_force"] is False
    assert "version 4 is approved, not in force yet" in done["note"]


def test_conflicts_are_409(api: Served) -> None:
    """SAF-6, API-1: one's own proposal, an outdated base, what is closed, another's to withdraw."""
    proposal_id = proposed(api)
    assert "second person" in closing(api, "approve", proposal_id, by=" ANNA").problem(409)
    assert "withdraw it" in closing(api, "reject", proposal_id, by="Anna").problem(409)
    assert "others reject it" in closing(api, "withdraw", proposal_id).problem(409)
    assert "version 3" in api.post(f"{P1}/proposals", {**JSON, "base_version": 2}).problem(409)
    rival = proposed(api, changes={"max_rate_hz_per_s": 1.0}, by="dora")
    assert closing(api, "approve", proposal_id).status == 200
    assert "SUPERSEDED" in closing(api, "approve", rival).problem(409)
    assert "APPROVED" in closing(api, "reject", proposal_id, by="carl").problem(409)
    assert closing(api, "approve", proposal_id).status == 200, "the same person again is told the same"
    assert api.get(P1).json()["version"] == 4
    assert [audit.event_type for audit in api.limits.audits if audit.outcome != "success"] == [
        "LIMITS_APPROVED", "LIMITS_REJECTED", "LIMITS_WITHDRAWN", "LIMITS_PROPOSED", "LIMITS_APPROVED",
        "LIMITS_REJECTED",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"changes": {"hard_max_speed_hz": 53}}, "hard_max_speed_hz: 53 Hz, expected at most 52 Hz, the commissioning"),
        ({"changes": {"hard_max_speed_hz": 53, "max_rate_hz_per_s": 9}}, "; max_rate_hz_per_s: 9 Hz/s, expected at"),
        ({"changes": {"hard_min_speed_hz": 50}}, "hard_min_speed_hz: 50 must be below"),
        ({"changes": {"level_dry_run_m": 0.6}}, "level_dry_run_m: 0.6 must be below level_dry_run_reset_m"),
        ({"changes": {}}, "changes: empty"),
        ({"changes": {"speed": 1}}, "'speed': not a limit"),
        ({"changes": {"hard_max_speed_hz": "45"}}, "hard_max_speed_hz: '45', expected a number (Hz)"),
        ({"changes": {"hard_max_speed_hz": None}}, "a limit is not removed remotely"),
        ({"changes": {"hard_max_speed_hz": True}}, "expected a number"),
        ({"changes": {"hard_max_speed_hz": {"a": 1}}}, "expected a number"),
        ({"changes": {"hard_max_speed_hz": 50}}, "nothing differs"),
        ({"changes": [1]}, "changes: '[1]', Expected `object`"),
        ({"base_version": "3"}, "base_version"),
        ({"base_version": -1}, "base_version"),
        ({"base_version": 3.5}, "base_version"),
        ({"reason": " "}, "reason: ' ', expected 1 to"),
        ({"by": "bert, for anna"}, "expected 'anna', who is logged in"),
        ({"by": "an\u200bna"}, "expected 'anna', who is logged in"),
        ({"expires_after_s": 1}, "expires_after_s: 1, expected 60"),
        ({"expires_after_s": 1e300}, "expires_after_s"),
        ({"proposal_id": "7"}, "proposal_id: '7', expected a UUID"),
        ({"version": 4}, "version"),
    ],
)  # fmt: skip
def test_what_is_invalid_is_400_and_named(api: Served, changed: dict[str, Any], told: str) -> None:
    """API-1, SAF-6: key, value, expectation and envelope; nothing is proposed."""
    assert told in api.post(f"{P1}/proposals", {**JSON, **changed}).problem(400)
    assert api.limits.all == {}


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-1e999", b"1e999"])
def test_numbers_that_are_none(api: Served, number: bytes) -> None:
    """API-1: JSON has no such words, and no limit such a value."""
    raw = b'{"changes": {"hard_max_speed_hz": %s}, "base_version": 3, "reason": "r", "by": "a"}' % number
    api.call("POST", f"{P1}/proposals", raw=raw).problem(400)


def test_unknown_is_404(api: Served) -> None:
    """API-1: pumps, proposals, versions."""
    nobody, some_id = "/api/v1/limits/nobody", str(uuid.uuid4())
    assert "nobody" in api.get(nobody).problem(404)
    assert "nobody" in api.get(f"{nobody}/history").problem(404)
    assert "nobody" in api.post(f"{nobody}/proposals", JSON).problem(404)
    assert some_id in api.get(f"{P1}/proposals/{some_id}").problem(404)
    for verb in ("approve", "reject", "withdraw"):
        assert some_id in closing(api, verb, some_id).problem(404)
    assert "version 9" in api.get(f"{P1}/diff?before=9").problem(404)
    closing(api, "approve", "seven").problem(400)
    api.get("/api/v1/limits/No%20Id").problem(400)
    assert api.limits.all == {}


def test_the_same_request_again_is_the_same_proposal(api: Served) -> None:
    """API-1: an answer that got lost is asked for again by its id."""
    proposal_id = str(uuid.uuid4())
    first, again = (api.post(f"{P1}/proposals", {**JSON, "proposal_id": proposal_id}) for _ in range(2))
    assert (first.status, again.status) == (201, 201)
    assert first.json() == again.json()
    assert len(api.limits.all) == 1
    api.post(f"{P1}/proposals", {**JSON, "proposal_id": proposal_id, "reason": "other"}).problem(409)


def test_lists_by_pump_and_state(api: Served) -> None:
    """API-2: newest first, open ones, closed ones, all pumps'."""
    first, second = proposed(api), proposed(api, changes={"max_rate_hz_per_s": 1})
    closing(api, "reject", first)
    assert [row["proposal_id"] for row in api.get(f"{P1}/proposals").json()] == [second, first]
    assert [row["proposal_id"] for row in api.get("/api/v1/limit-proposals?state=rejected").json()] == [first]
    assert [row["state"] for row in api.get(f"{P1}/proposals?state=PROPOSED,REJECTED").json()] == [
        "PROPOSED",
        "REJECTED",
    ]
    assert "expected one of PROPOSED" in api.get("/api/v1/limit-proposals?state=gone").problem(400)
    one = api.get(f"{P1}/proposals/{first}").json()
    assert (one["proposal"]["state"], one["proposal"]["closed_by"]) == ("REJECTED", "bert")
    assert one["diff"][0]["after"] == 45.0


def test_a_proposal_that_nobody_approved_in_time_is_shown_as_expired(api: Served) -> None:
    """SAF-6: also before anybody has written that down."""
    proposal_id = proposed(api)
    held = api.limits.all[proposal_id]
    api.limits.all[proposal_id] = msgspec.structs.replace(held, expires_at=held.proposed_at)
    assert [row["state"] for row in api.get(f"{P1}/proposals").json()] == ["EXPIRED"]
    assert [row["state"] for row in api.get("/api/v1/limit-proposals?state=expired").json()] == ["EXPIRED"]
    assert api.get("/api/v1/limit-proposals?state=proposed").json() == []
    assert api.get(P1).json()["proposals"] == []
    assert "EXPIRED" in closing(api, "approve", proposal_id).problem(409)


def test_what_time_has_closed_is_written_down_by_itself(api: Served) -> None:
    """SAF-6, AUD-2: nobody has to ask; also what a version by SQL outdated; a database that is away costs nothing."""
    expired, outdated = proposed(api), proposed(api, changes={"max_rate_hz_per_s": 1})
    held = api.limits.all[expired]
    api.limits.all[expired] = msgspec.structs.replace(held, expires_at=held.proposed_at)
    api.limits.away = True
    api.tick("limits")
    until(lambda: [event for event, _ in api.ports.logged if event == "limit_proposals_not_swept"])
    api.limits.away = False
    api.tick("limits")
    until(lambda: api.limits.all[expired].state == "EXPIRED")
    assert api.limits.all[outdated].state == "PROPOSED"
    api.limits.book_now = book(current=current(4), version_max=4)
    until(lambda: "limits" not in api.actor._beside_now)
    api.tick("limits")
    until(lambda: api.limits.all[outdated].state == "SUPERSEDED")
    assert [audit.event_type for audit in api.limits.audits][-2:] == ["LIMITS_EXPIRED", "LIMITS_SUPERSEDED"]
    # Nothing is left; a pump that is gone leaves its proposals as they are.
    assert api.on_loop(api.actor._service.limits.sweep()) == 0
    stray = msgspec.structs.replace(held, proposal_id=str(uuid.uuid4()), pump_id="gone")
    api.limits.all[stray.proposal_id] = stray
    assert api.on_loop(api.actor._service.limits.sweep()) == 0


def test_history_and_differences(api: Served) -> None:
    """SAF-6: every version with who and when; any two of them compared, by default with what is in force."""
    closing(api, "approve", proposed(api))
    history = api.get(f"{P1}/history").json()
    assert [(row["version"], row["set_by"], row["approved_by"]) for row in history] == [
        (4, "anna", "bert"), (3, "zoe", "yan"),
    ]  # fmt: skip
    assert history[0]["limits"]["hard_max_speed_hz"] == 45.0
    pages = [page.json() for page in walked(api, f"{P1}/history?limit=1")]
    assert [[row["version"] for row in page] for page in pages] == [[4], [3]]
    assert "cursor" in api.get(f"{P1}/history?cursor=x").problem(400)
    diff = api.get(f"{P1}/diff?before=3").json()
    assert (diff["before"], diff["after"], [row["key"] for row in diff["changes"]]) == (
        3,
        4,
        ["hard_max_speed_hz"],
    )
    back = api.get(f"{P1}/diff?before=4&after=3").json()["changes"]
    assert [(row["before"], row["after"], row["direction"]) for row in back] == [(45.0, 50.0, "WIDER")]
    assert len(api.get(f"{P1}/diff?before=0&after=3").json()["changes"]) == len(VALUES)


def test_without_the_database_a_change_is_refused_not_kept_for_later(api: Served) -> None:
    """DAT-3, SUP-6: 503; when it is back nothing happens by itself."""
    proposal_id = proposed(api)
    api.limits.away = True
    assert "connection refused" in closing(api, "approve", proposal_id).problem(503)
    api.get(P1).problem(503)
    api.post(f"{P1}/proposals", JSON).problem(503)
    assert api.get("/api/v1/alive").status == 200
    api.limits.away = False
    assert api.get(P1).json()["version"] == 3
    assert len(api.limits.all) == 1


def test_a_pump_without_limits_or_envelope(api: Served) -> None:
    """DAT-5, SAF-6: shown as what it is; without an envelope nothing can be proposed."""
    api.limits.book_now = book(current=None, version_max=0)
    shown = api.get(P1).json()
    assert (shown["version"], shown["approved_at"], shown["limits"][0]["value"]) == (0, None, None)
    assert api.post(f"{P1}/proposals", {**JSON, "changes": VALUES, "base_version": 0}).status == 201
    api.limits.book_now = book(envelope=None)
    assert api.get(P1).json()["commissioned_by"] is None
    assert "not commissioned" in api.post(f"{P1}/proposals", JSON).problem(400)
    api.limits.book_now = book(envelope=envelope(hard_max_speed_hz=None))
    told = api.post(f"{P1}/proposals", {**JSON, "changes": {"hard_max_speed_hz": 51}}).problem(400)
    assert "may be tightened only" in told


def test_an_api_without_a_store_says_so(api: Served) -> None:
    """API-1: 503, never a bug."""
    import asyncio

    from actors.vocabulary import UnavailableError

    actor = ApiActor(Ports(api.tree), api.start_arguments(), Latches(), Memory())
    with pytest.raises(UnavailableError, match="no database"):
        asyncio.run(actor._service.limits.shown("p1"))
