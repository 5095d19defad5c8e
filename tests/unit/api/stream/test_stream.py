"""The stream over real HTTP and WebSocket, with a tree in memory behind the API."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.messages import GetEndpoint, GetStationDecisions, StationDecisions
from actors.vocabulary import Mode, Quality, Reason
from actors.vocabulary.access import UserRole
from actors.vocabulary.ids import ALARM, ROOT
from actors.vocabulary.records import AuditRecord
from api import server
from api.stream import feed, places, subscription
from tests.unit.api.people import logged_in
from tests.unit.api.served import MODBUS, OPCUA, SAFETY_1, Served, decisions, served, until
from tests.unit.api.stream.clients import STREAM, Got, Socket, Sse
from tests.unit.protocols.plants import north

STOPS = "/api/v1/emergency-stops"
QUICKER = 5.0


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """Run an API whose feed looks, beats and checks five times as often; what has to be in time takes `paced`."""
    monkeypatch.setattr(feed, "PERIOD_S", feed.PERIOD_S / QUICKER)
    monkeypatch.setattr(subscription, "HEARTBEAT_S", subscription.HEARTBEAT_S / QUICKER)
    monkeypatch.setattr(subscription, "CHECK_S", subscription.CHECK_S / QUICKER)
    with served(tmp_path) as running:
        yield running


@pytest.fixture
def paced(tmp_path: Path) -> Iterator[Served]:
    """Run an API as it is."""
    with served(tmp_path) as running:
        yield running


def changed_decisions(**changes: Any) -> StationDecisions:
    """Return station s1's decisions, those of p1 with another setpoint."""
    station = north().station("s1")
    assert station is not None
    whole = decisions(station)
    first, *others = whole.decisions
    setpoint = msgspec.structs.replace(first.setpoint, **changes)
    return msgspec.structs.replace(
        whole, decisions=(msgspec.structs.replace(first, setpoint=setpoint), *others)
    )


def rows(got: Got, topic: str) -> dict[str, Any]:
    return {row["pump_id"]: row for row in got.data["topics"][topic]}


def test_the_snapshot_shows_what_every_other_resource_shows(api: Served) -> None:
    """API-2, issue 5 bullet 5: the same values, the same quality as `/pumps`, which shows what the wires show."""
    with Sse(api) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        hello = stream.next()
        snapshot = stream.next()
    assert hello is not None
    assert hello.event == "hello"
    assert hello.data["user"] == "anna"
    assert not hello.data["resumed"]
    assert snapshot is not None
    assert snapshot.event == "snapshot"
    setpoints, feedback = rows(snapshot, "setpoints"), rows(snapshot, "feedback")
    modes = rows(snapshot, "modes")
    pumps = api.get("/api/v1/pumps").json()
    assert len(pumps) == len(setpoints) > 1
    for pump in pumps:
        told = setpoints[pump["pump_id"]]
        for key in ("setpoint_hz", "quality", "reason", "remote_enabled", "run_inhibit", "mode"):
            assert told["decided"][key] == pump["setpoint"][key]
        assert len(told["published"]) == len(pump["published"]) == 2
        for one, other in zip(told["published"], pump["published"], strict=True):
            shared = {
                "endpoint",
                "setpoint_hz",
                "quality",
                "reason",
                "remote_enabled",
                "run_inhibit",
                "echo_hz",
            }
            assert {key: one[key] for key in shared} == {key: other[key] for key in shared}
        level = feedback[pump["pump_id"]]["values"]["level"]
        assert level == {key: pump["feedback"]["level"][key] for key in ("value", "quality", "why", "utc")}
        assert modes[pump["pump_id"]]["mode"] == pump["mode"]
    topics = snapshot.data["topics"]
    assert {each["station_id"]: each["level"]["value"] for each in topics["stations"]}["s1"] == 1.23
    assert {each["address"] for each in topics["tree"]} == {ROOT, MODBUS, SAFETY_1}
    assert [each["condition"] for each in topics["alarms"]] == ["feedback_stale"] * 2
    assert topics["stops"] == topics["failsafes"] == topics["unavailable"] == []


@pytest.mark.parametrize("path", [f"{STREAM}/", f"/{STREAM}"])
def test_a_stream_streams_however_its_path_is_spelled(api: Served, path: str) -> None:
    """API-2: `/stream/` is the stream, too: not an answer that is collected until its deadline."""
    with Sse(api, "topics=stops", path=path) as stream:
        assert stream.status == 200
        assert stream.first("snapshot", within_s=5.0).data["topics"]["stops"] == []


def test_what_changes_is_told_and_nothing_else(paced: Served) -> None:
    """API-2: a setpoint that moves is told within a second or so, its neighbours are not told again."""
    api = paced
    assert (feed.PERIOD_S, subscription.HEARTBEAT_S, subscription.CHECK_S) == (1.0, 2.0, 3.0), (
        "as the pages say"
    )
    with Sse(api, "topics=setpoints") as stream:
        stream.first("snapshot")
        api.tree.odd[SAFETY_1] = changed_decisions(
            setpoint_hz=31.5, quality=Quality.UNCERTAIN, reason=Reason.PLAN
        )
        got = stream.first("setpoints")
        assert [row["pump_id"] for row in got.data["changed"]] == ["p1"]
        assert got.data["changed"][0]["decided"]["setpoint_hz"] == 31.5
        assert got.data["changed"][0]["decided"]["quality"] == "UNCERTAIN"
        # Sequence, heartbeat and lease of the gates move all the time; that is no news.
        beats = [each.event for each in stream.until(lambda each: each.event == "heartbeat")]
        assert set(beats) == {"heartbeat"}


def test_a_stop_is_told_at_once_and_so_is_its_end(api: Served) -> None:
    """EST-1, HMI-2: set and cleared by REST, seen by everybody who watches, with the inhibited pump."""
    with Sse(api, "topics=stops,setpoints") as stream:
        stream.first("snapshot")
        stop = api.post(STOPS, {"scope": "PUMP", "scope_id": "p1", "reason": "leak"}).json()
        seen = stream.until(lambda got: got.event == "stops")
        assert [row["stop_id"] for row in seen[-1].data["changed"]] == [stop["stop_id"]]
        inhibited = [got for got in seen if got.event == "setpoints"] or [stream.first("setpoints")]
        row = inhibited[0].data["changed"][0]
        assert row["pump_id"] == "p1"
        assert all(each["run_inhibit"] for each in row["published"])
        assert api.post(f"{STOPS}/clear", {"stop_ids": [stop["stop_id"]], "reason": "ok"}).status == 200
        assert stream.first("stops").data["removed"] == [stop["stop_id"]]


def test_a_mode_is_told(api: Served) -> None:
    """CTL-7: modes as safety decided with, and marks out of service."""
    with Sse(api, "topics=modes&pump_id=p1") as stream:
        assert [row["pump_id"] for row in stream.first("snapshot").data["topics"]["modes"]] == ["p1"]
        api.tree.odd[SAFETY_1] = changed_decisions(mode=Mode.MANUAL)
        assert stream.first("modes").data["changed"][0]["mode"] == "MANUAL"
        body = {"mode": "OUT_OF_SERVICE", "reason": "bearing"}
        assert api.post("/api/v1/pumps/p1/mode", body).status == 200
        assert stream.first("modes").data["changed"][0]["out_of_service"] is True


def test_what_does_not_answer_is_named_and_not_shown_as_unchanged(api: Served) -> None:
    """CTL-4: who is silent is told; what they alone knew is unknown, what others know stays."""
    with Sse(api, "topics=setpoints,feedback,tree,stops") as stream:
        stream.first("snapshot")
        api.tree.dead |= {SAFETY_1, OPCUA, ROOT, ALARM}
        parts: set[str] = set()
        seen: dict[str, Any] = {}

        def all_named(got: Got) -> bool:
            if got.event in {"setpoints", "feedback"}:
                seen.update({f"{got.event}:{row['pump_id']}": row for row in got.data["changed"]})
            if got.event == "unavailable":
                parts.update(row["part"] for row in got.data["changed"])
            return {OPCUA, "safety of s1", "tree", "alarms"} <= parts and "feedback:p1" in seen

        stream.until(all_named)
        assert seen["setpoints:p1"]["decided"] is None
        assert [each["endpoint"] for each in seen["setpoints:p1"]["published"]] == [MODBUS]
        assert seen["feedback:p1"]["known"] is False
        api.tree.dead.clear()
        back = stream.until(lambda got: got.event == "unavailable" and OPCUA in got.data["removed"])
        assert back


def test_a_stop_list_that_cannot_be_read_ends_no_stop(api: Served) -> None:
    """EST-2: a latch folder that is silent is named; the stops last seen go on to be shown."""
    with Sse(api, "topics=stops") as stream:
        stream.first("snapshot")
        api.post(STOPS, {"scope": "PUMP", "scope_id": "p1", "reason": "leak"})
        stream.first("stops")
        api.latches.unreadable = True
        # The marks' look at the same folder may be told first.
        seen = stream.until(
            lambda got: got.event == "unavailable" and "stops" in {row["part"] for row in got.data["changed"]}
        )
        assert not [got for got in seen if got.event == "stops" and got.data["removed"]]
        api.latches.unreadable = False


def test_resumed_the_stream_goes_on_where_it_was(api: Served) -> None:
    """API-2: resume by Last-Event-ID; what happened in between is told, and no snapshot."""
    query = "topics=setpoints"
    with Sse(api, query) as stream:
        last = stream.first("snapshot").event_id
    assert last
    api.tree.odd[SAFETY_1] = changed_decisions(setpoint_hz=29.0)
    asked = len(api.tree.asked)
    until(lambda: len([1 for _, each in api.tree.asked[asked:] if isinstance(each, GetStationDecisions)]) > 4)
    with Sse(api, query, headers={"Last-Event-ID": last}) as stream:
        hello, missed = stream.next(), stream.next()
    assert hello is not None
    assert hello.data["resumed"]
    assert missed is not None
    assert missed.event == "setpoints"
    assert missed.data["changed"][0]["decided"]["setpoint_hz"] == 29.0
    for unknown in ("0123456789abcdef-3-00000000", "rubbish", f"{last}0"):
        with Sse(api, f"{query}&last_event_id={unknown}") as stream:
            kinds = [got.event for got in stream.until(lambda got: got.event == "snapshot")]
        assert kinds == ["hello", "gap", "snapshot"]
    with Sse(api, "topics=stops", headers={"Last-Event-ID": last}) as stream:
        assert stream.first("snapshot"), "another question cannot be resumed"


def test_rights_are_those_of_the_other_protocols(api: Served) -> None:
    """SEC-2: a controller sees points, and neither alarms nor tree nor stops; nobody sees anything."""
    field = logged_in(api.users, api.desk, "plc-1", UserRole.FIELD)
    with Sse(api, token=field) as stream:
        topics = stream.first("snapshot").data["topics"]
    assert set(topics) == {"setpoints", "feedback", "modes", "stations", "unavailable"}
    assert "FIELD may not watch alarms" in api.get(f"{STREAM}?topics=alarms", token=field).problem(403)
    assert api.get(STREAM, token="").problem(401)
    assert "topics: 'weather'" in api.get(f"{STREAM}?topics=weather").problem(400)
    assert "p77" in api.get(f"{STREAM}?pump_id=p77").problem(404)
    assert "s77" in api.get(f"{STREAM}?station_id=s77").problem(404)
    assert api.get(f"{STREAM}?site_id=%2F").problem(400)


def test_a_session_that_ends_ends_its_streams(api: Served) -> None:
    """SEC-1: ended by an administrator, disabled or expired: the stream ends within seconds, with the reason."""
    token = logged_in(api.users, api.desk, "leaver", UserRole.READ_ONLY)
    short = logged_in(api.users, api.desk, "shorty", UserRole.READ_ONLY, life_s=2.0)
    with Sse(api, token=token) as stream, Sse(api, token=short) as brief, Socket(api, token=token) as beside:
        stream.first("snapshot")
        assert api.post("/api/v1/users/leaver/disable", {}).status == 200
        assert "over" in stream.first("ended", within_s=12).data["why"]
        assert stream.next() is None
        assert beside.until(lambda got: got.event == "ended", within_s=12)
        assert beside.next() is None
        assert beside.close_code == 4401
        assert "expired" in brief.first("ended", within_s=12).data["why"]


def test_so_many_streams_and_no_more(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """API-2: a limit per user and in total, with Retry-After, audited; a place left is free again."""
    own = api.actor._service.watching.places
    own._per_user_max = 2
    with Sse(api) as first, Sse(api):
        refused = api.get(STREAM)
        assert "2 times" in refused.problem(429)
        assert int(refused.headers["retry-after"]) > 0
        with Socket(api) as another:
            assert another.status == 429
            assert json.loads(another.body)["status"] == 429
        bert = logged_in(api.users, api.desk, "bert", UserRole.READ_ONLY)
        own._streams_max = 2
        assert api.get(STREAM, token=bert).problem(429)
        own._streams_max = places.STREAMS_MAX
        first.close()
        until(lambda: len(own) == 1)
        with Sse(api) as again:
            assert again.status == 200
    until(lambda: len(own) == 0)
    until(
        lambda: [r for r in api.tree.records if isinstance(r, AuditRecord) and r.event_type == "RATE_LIMITED"]
    )


def test_many_watch_and_the_plant_is_asked_once(paced: Served) -> None:
    """API-2: one feed per process, not one poll per client; nobody watches, nobody is asked."""
    api = paced
    streams = [Sse(api) for _ in range(8)]
    for each in streams:
        each.first("snapshot")
    began, before = time.monotonic(), len(api.tree.asked)
    until(lambda: time.monotonic() - began > 3.0)
    asked = [(to, type(message)) for to, message in api.tree.asked[before:]]
    took = time.monotonic() - began
    assert asked.count((SAFETY_1, GetStationDecisions)) <= took / feed.PERIOD_S + 1
    assert asked.count((MODBUS, GetEndpoint)) <= took / feed.PERIOD_S + 1
    assert asked.count((SAFETY_1, GetStationDecisions)) >= 1
    for each in streams:
        each.close()


def test_a_feed_that_nobody_watches_sleeps(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """API-2: after a while without anybody the tree is left alone; a new life begins with the next one."""
    monkeypatch.setattr(feed, "IDLE_S", 0.1)
    with Sse(api) as stream:
        last = stream.first("snapshot").event_id
    own = api.actor._service.watching.feed
    until(lambda: not own._running)
    asked = len(api.tree.asked)
    with Sse(api, headers={"Last-Event-ID": str(last)}) as stream:
        kinds = [got.event for got in stream.until(lambda got: got.event == "snapshot")]
    assert kinds == ["hello", "gap", "snapshot"]
    assert len(api.tree.asked) > asked


def test_a_bug_in_a_look_costs_the_look(api: Served) -> None:
    """STYLE 7: the stream goes on, and says how old its picture is."""
    with Sse(api, "topics=tree") as stream:
        stream.first("snapshot")
        api.tree.odd[ROOT] = RuntimeError("a bug")
        until(lambda: "stream_look_failed" in [event for event, _ in api.ports.logged])
        assert stream.first("heartbeat")
        del api.tree.odd[ROOT]
        assert stream.first("heartbeat").data["age_s"] < 10


def test_the_end_of_the_api_is_told(api: Served) -> None:
    """API-2: a browser that watches comes back by itself, and knows at once that it has to."""
    with Sse(api) as stream, Socket(api) as beside:
        stream.first("snapshot")
        beside.until(lambda got: got.event == "snapshot")
        api.on_loop(api.actor.stop())
        assert "ending" in stream.first("ended").data["why"]
        assert beside.until(lambda got: got.event == "ended")


def test_a_websocket_tells_the_same(api: Served) -> None:
    """API-2: hello, snapshot, changes, resume: the same events, each a message."""
    with Socket(api, "topics=setpoints") as beside, Sse(api, "topics=setpoints") as stream:
        assert beside.status == 101
        mine = beside.until(lambda got: got.event == "snapshot")[-1]
        theirs = stream.first("snapshot")
        assert mine.data["topics"] == theirs.data["topics"]
        api.tree.odd[SAFETY_1] = changed_decisions(setpoint_hz=27.0)
        here = beside.until(lambda got: got.event == "setpoints")[-1]
        there = stream.first("setpoints")
        assert here == there
    api.tree.odd[SAFETY_1] = changed_decisions(setpoint_hz=28.0)
    with Socket(api, f"topics=setpoints&last_event_id={here.event_id}") as beside:
        kinds = [got.event for got in beside.until(lambda got: got.event == "setpoints")]
    assert kinds[0] == "hello"
    assert "snapshot" not in kinds


@pytest.mark.parametrize(
    ("query", "path", "headers", "token", "status"),
    [
        ("", STREAM, {}, "", 401),
        ("", STREAM, {"Origin": "https://evil.example"}, None, 403),
        ("topics=weather", STREAM, {}, None, 400),
        ("pump=p1", STREAM, {}, None, 400),
        (f"topics={'a' * 300}", STREAM, {}, None, 400),
        ("pump_id=p77", STREAM, {}, None, 404),
        ("", "/api/v1/pumps", {}, None, 404),
        ("", "/", {}, None, 404),
    ],
)
def test_a_websocket_that_is_refused_says_why(
    api: Served, query: str, path: str, headers: dict[str, str], token: str | None, status: int
) -> None:
    """SEC-1, API-1: before it is open: status and problem details; a page elsewhere opens none (cross-site)."""
    with Socket(api, query, path=path, headers=headers, token=token) as refused:
        assert refused.status == status
        body = json.loads(refused.body)
    assert body["status"] == status
    assert body["detail"]


def test_opening_websockets_counts_as_asking(tmp_path: Path) -> None:
    """API-2, SEC-5: who opens one after the other asks too often as well."""
    with served(tmp_path, settings={"user_requests_per_s": 1.0}) as api:
        statuses = []
        for _ in range(5):
            with Socket(api, "topics=weather") as one:
                statuses.append(one.status)
        assert statuses == [400, 400, 400, 429, 429]


def test_health_has_no_websockets(api: Served) -> None:
    """API-3: the other port speaks HTTP only."""
    with socket.create_connection(("127.0.0.1", api.health), timeout=10) as client:
        client.sendall(
            b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert b" 101 " not in client.recv(4_096).partition(b"\r\n")[0]


def test_a_client_that_speaks_on_the_stream_is_ended(api: Served) -> None:
    """API-2: nothing is taken from a WebSocket client."""
    with Socket(api) as one:
        one.until(lambda got: got.event == "snapshot")
        one.say("set everything to 50 Hz")
        while one.next() is not None:
            pass
        assert one.close_code == 1008
    until(lambda: len(api.actor._service.watching.places) == 0)


@pytest.mark.parametrize("scheme", ["sse", "socket"])
def test_a_client_that_never_reads_is_cut_off(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """API-2: who takes nothing of what it asked for holds a connection and its buffer for a moment only."""
    monkeypatch.setattr(server, "STALLED_S", 0.3)

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
            while True:
                await send({"type": "websocket.send", "bytes": b"x" * 65_536, "text": None})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})

    async def story() -> None:
        listening = server.bind_loopback("127.0.0.1", 0, what="test")
        http = server.HttpServer(endless, listening, sockets=True)
        running = asyncio.create_task(http.run_until_stopped())
        await http.wait_started(deadline_s=10)
        upgrade = (
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            b"Sec-WebSocket-Version: 13\r\n"
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", http.port, limit=1)
        extra = upgrade if scheme == "socket" else b""
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + extra + b"\r\n")
        async with asyncio.timeout(10):
            while not http.server_state.connections:
                await asyncio.sleep(0.005)
            while http.server_state.connections:
                await asyncio.sleep(0.01)
        for task in http.server_state.tasks:
            task.cancel()
        del reader
        writer.close()
        await http.stop(deadline_s=5)
        await running

    asyncio.run(story())


def test_a_websocket_outlives_the_patience_for_request_heads(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """API-2: the wait for a next request ends with the upgrade."""
    monkeypatch.setattr(server, "REQUEST_HEAD_S", 0.5)
    with Socket(api) as one, Sse(api) as stream:
        for _ in range(2):
            assert one.until(lambda got: got.event == "heartbeat")
            assert stream.first("heartbeat")
