"""The HTTP server around the handlers: ports, deadlines, hostile and clumsy clients, bugs in handlers."""

from __future__ import annotations

import asyncio
import http.client
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from actors.messages import Done, GetApi
from actors.vocabulary import DeviceError, RefusedError
from actors.vocabulary.ids import DISCOVERY, ROOT
from api import server
from api.actor import ApiActor
from api.guard import BODY_BYTES_MAX, Guard
from api.senders import is_loopback_name
from api.server import PatientProtocol, _idlest, bind_loopback, is_trusted
from tests.unit.api.served import Latches, Memory, Ports, Served, Tree, served, until

STOPS = "/api/v1/emergency-stops"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org", ""])
def test_other_hosts_than_loopback_are_refused(host: str) -> None:
    """Issue 2 item 7: on loopback only until authentication exists; refuse to bind elsewhere."""
    with pytest.raises(RefusedError, match=r"api\.rest"):
        bind_loopback(host, 0, what="api.rest")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2", "::1"])
def test_loopback_is_bound(host: str) -> None:
    """Issue 2 item 7: loopback, by whatever name."""
    try:
        bind_loopback(host, 0, what="api.rest").close()
    except DeviceError:
        assert host == "::1", "a machine may be without IPv6, never without IPv4"


@pytest.mark.parametrize("taken", ["rest", "health"])
def test_a_taken_port_is_one_clear_line_and_frees_the_other(tmp_path: Path, taken: str) -> None:
    """Issue 2: a taken port: the key and the port are named, and nothing is half started."""
    api = Served(Tree(), Latches(), Memory(), tmp_path)
    port = getattr(api, taken)
    with socket.create_server(("127.0.0.1", port)):
        actor = ApiActor(Ports(api.tree), api.start_arguments(), Latches(), Memory())
        with pytest.raises(DeviceError, match=rf"api\.{taken}: port {port}"):
            asyncio.run(actor.start())
        other = api.health if taken == "rest" else api.rest
        socket.create_server(("127.0.0.1", other)).close()
    api.loop.close()


def test_the_actor_answers_that_it_serves(api: Served) -> None:
    """SUP-3: through its own mailbox."""
    assert api.on_loop(api.actor.handle(GetApi())) == Done()


def test_a_bug_in_a_handler_costs_one_request(api: Served) -> None:
    """STYLE 7, brief of the API: a handler must never make the process die; the client is told no secrets."""
    api.tree.odd[ROOT] = RuntimeError("secret detail")
    detail = api.get("/api/v1/tree").problem(500)
    assert "secret" not in detail
    assert any(
        "secret detail" in str(fields) for event, fields in api.ports.logged if event == "handler_failed"
    )
    assert api.get("/api/v1/alive").status == 200


def test_a_body_that_is_too_large_is_refused(api: Served) -> None:
    """API-1: bounded, whether or not the length is announced."""
    large = b"x" * (BODY_BYTES_MAX + 1)
    assert "65536" in api.post(STOPS, raw=large).problem(413)
    assert "65536" in api.post(STOPS, raw=iter([large[: 1 << 15], large[1 << 15 :]])).problem(413)
    assert api.get("/api/v1/alive").status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Host": "attacker.example"}, 421),
        ({"Host": "attacker.example:8080"}, 421),
        ({"Origin": "http://attacker.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_a_web_page_elsewhere_cannot_command(api: Served, headers: dict[str, str], status: int) -> None:
    """API-2: as long as there are no users, a browser on this machine must not be a way in."""
    body = {"scope": "SYSTEM", "reason": "mischief", "by": "page"}
    api.post(STOPS, body, headers=headers).problem(status)
    assert api.latches.held.records == ()


def test_our_own_page_and_names_may(api: Served) -> None:
    """API-2: loopback under its names, with a charset."""
    headers = {"Host": f"localhost:{api.rest}", "Origin": f"http://localhost:{api.rest}"}
    headers["Content-Type"] = "application/json; charset=utf-8"
    assert api.post(STOPS, {"scope": "SYSTEM", "reason": "test", "by": "page"}, headers=headers).status == 201


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("127.0.0.1:8080", True), ("[::1]:8080", True), ("LOCALHOST", True), ("", False),
        ("127.0.0.1.evil.example", False),
        ("10.0.0.1", False), ("[::1", True), ("localhost.evil.example:80", False),
    ],
)  # fmt: skip
def test_loopback_names(name: str, ours: bool) -> None:
    """API-2: a name counts only as what it says."""
    assert is_loopback_name(name) is ours


def test_a_client_that_sends_nothing_is_sent_away(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """API-1: neither a silent client, nor half a request, nor an idle one holds a connection for ever."""
    monkeypatch.setattr(server, "REQUEST_HEAD_S", 0.3)
    for words in (b"", b"GET /api/v1/alive HTTP/1.1\r\nHost: local", b"\r\n"):
        with socket.create_connection(("127.0.0.1", api.rest), timeout=5) as client:
            client.sendall(words)
            assert _closed(client)


def test_a_connection_that_is_used_stays(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """API-1: patience starts anew with each answer."""
    monkeypatch.setattr(server, "REQUEST_HEAD_S", 0.5)
    with socket.create_connection(("127.0.0.1", api.rest), timeout=5) as client:
        for _ in range(4):
            client.sendall(b"GET /api/v1/alive HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert _read_until(client, b'{"alive":true}')
            time.sleep(0.25)  # two of these are longer than the patience of one wait
    assert api.get("/api/v1/alive").status == 200


def test_a_body_that_does_not_come_is_given_up(api: Served) -> None:
    """API-1: every request has a deadline, also while its own body dribbles."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", api.rest), timeout=15) as client:
        client.sendall(
            b"POST /api/v1/emergency-stops HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        answer = client.recv(65_536)
    assert b"408" in answer.split(b"\r\n")[0]
    assert time.monotonic() - began < 6.0


@pytest.mark.parametrize(
    "garbage",
    [b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00", b"PRI * HTTP/2.0\r\n\r\n"],
)
def test_what_is_no_http_harms_nothing(api: Served, garbage: bytes) -> None:
    """API-1: bytes of another protocol get 400 or the door."""
    with socket.create_connection(("127.0.0.1", api.rest), timeout=5) as client:
        client.sendall(garbage)
        client.shutdown(socket.SHUT_WR)
        answer = client.recv(65_536)
        assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 421"))
    assert api.get("/api/v1/alive").status == 200


def test_fifty_clients_at_once_are_all_answered(api: Served) -> None:
    """API-1: none is refused or cut off; how long it takes is measured on a whole tree (`ops.bench.rest`)."""
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: api.get("/api/v1/pumps"), range(200)))
    assert {answer.status for answer in answers} == {200}


def test_who_says_nothing_gives_way_to_who_stops(api: Served) -> None:
    """EST-4, API-1: every place taken by silent connections: a stop is set at once, and nobody waits for a 503."""
    taken = range(server.CONNECTIONS_MAX)
    held = [socket.create_connection(("127.0.0.1", api.rest), timeout=10) for _ in taken]
    try:
        until(lambda: len(connections_of(api)) == server.CONNECTIONS_MAX)
        began = time.monotonic()
        stop = {"scope": "PUMP", "scope_id": "p1", "reason": "leak"}
        assert api.post(STOPS, stop).status == 201
        assert time.monotonic() - began < 5.0
        assert _closed(held[0]), "whoever waited longest"
        assert len(connections_of(api)) <= server.CONNECTIONS_MAX
        # SEC-5: it is written down and counted.
        assert api.desk.log.counts["RATE_LIMITED", "refused"] == 1
        assert "all 200 connections" in rate_limited(api).outcome
    finally:
        for each in held:
            each.close()


def test_a_body_that_is_not_sent_keeps_no_stop_out(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """EST-4: a head that announces a body is no more work than silence until the body is whole."""
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 3)
    slow = [socket.create_connection(("127.0.0.1", api.rest), timeout=30) for _ in range(3)]
    try:
        for each in slow:
            each.sendall(
                b"POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: 40\r\n\r\n{"
            )
        until(lambda: sum(each.cycle is not None for each in connections_of(api)) == 3)
        assert api.post(STOPS, {"scope": "PUMP", "scope_id": "p1", "reason": "leak"}).status == 201
    finally:
        for each in slow:
            each.close()


def test_whoever_is_being_answered_gives_way_to_nobody(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """API-1: with every place at work a newcomer is cut off, and what is established is answered all the same."""
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 3)
    api.tree.deaf.add(str(DISCOVERY))
    busy = [socket.create_connection(("127.0.0.1", api.rest), timeout=30) for _ in range(3)]
    try:
        for each in busy:
            each.sendall(
                b"POST /api/v1/discovery HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Authorization: Bearer " + api.token().encode() + b"\r\nContent-Length: 2\r\n\r\n{}"
            )
        until(lambda: sum(each.is_at_work for each in connections_of(api)) == 3)
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            api.get("/api/v1/alive", token="")
        assert "all 3 connections" in rate_limited(api).outcome
        assert [each.is_at_work for each in connections_of(api)] == [True] * 3
    finally:
        for each in busy:
            each.close()


def test_the_address_that_holds_most_gives_way_first() -> None:
    """EST-4: one of many silent connections of a few addresses, not the only one of somebody else's."""

    class Held(PatientProtocol):
        def __init__(self, source: str, since_s: float, *, works: bool = False) -> None:
            self.source, self.since_s, self._works = source, since_s, works

        @property
        def is_at_work(self) -> bool:
            return self._works

    flood = [Held("192.0.2.1", 10.0 + number) for number in range(3)]
    lonely, working = Held("192.0.2.9", 1.0), Held("192.0.2.1", 0.0, works=True)
    assert _idlest([working, lonely, *flood]) is flood[0]
    assert _idlest([working]) is None


def connections_of(api: Served) -> Any:
    return api.actor._servers[0][1].server_state.connections


def rate_limited(api: Served) -> Any:
    def found() -> list[Any]:
        return [each for each in api.tree.records if getattr(each, "event_type", "") == "RATE_LIMITED"]

    until(found)
    return found()[-1]


def test_two_requests_at_once_leave_no_connection_that_waits_for_ever(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """API-1, EST-4: pipelined requests are both answered, and half a head after them is not waited for."""
    monkeypatch.setattr(server, "REQUEST_HEAD_S", 0.5)
    one = b"GET /api/v1/alive HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", api.rest), timeout=10) as client:
        client.sendall(one + one)
        assert _read_until(client, b'{"alive":true}', times=2)
        client.sendall(b"G")  # one byte ends uvicorn's own patience
        assert _closed(client)
    until(lambda: not connections_of(api))


def test_an_application_that_hangs_or_breaks_is_answered_for() -> None:
    """API-1: the guard's own deadline and catch-all, whatever is inside."""

    async def hangs(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    async def breaks(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    assert _through(Guard(hangs, log=Ports(Tree()), deadlines_s={"/": 0.05}))[0] == 503
    assert _through(Guard(breaks, log=Ports(Tree())))[0] == 500


@pytest.mark.parametrize(
    "path", ["/api/v1/emergency-stops/", "//api/v1//emergency-stops", "/api/v1/emergency-stops"]
)
def test_a_path_has_one_deadline_however_it_is_spelled(path: str) -> None:
    """EST-1, API-1: what Litestar serves as one resource the guard judges as that one."""

    async def hangs(scope: Any, receive: Any, send: Any) -> None:
        assert scope["path"] == "/api/v1/emergency-stops"
        await asyncio.sleep(60)

    guard = Guard(hangs, log=Ports(Tree()), deadlines_s={"/api/v1/emergency-stops": 0.05})
    assert _through(guard, path) == [503]


def test_an_answer_that_has_begun_is_not_begun_again() -> None:
    """API-1: a late failure ends the connection; it is not a second answer in the first one's body."""

    async def breaks_late(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    assert _through(Guard(breaks_late, log=Ports(Tree()))) == [200]


def test_stop_frees_the_ports_while_a_client_waits(tmp_path: Path) -> None:
    """SUP-2: an ordered end is not held up by a request that is not."""
    tree = Tree()
    tree.deaf.add("/platform/discovery")
    with served(tmp_path, tree=tree) as api:
        client = socket.create_connection(("127.0.0.1", api.rest), timeout=10)
        client.sendall(
            b"POST /api/v1/discovery HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer " + api.token().encode() + b"\r\n"
            b"Content-Length: 2\r\n\r\n{}"
        )
        until(lambda: any(type(message).__name__ == "DiscoverNow" for _, message in tree.asked))
        began = time.monotonic()
        api.on_loop(api.actor.stop())
        assert time.monotonic() - began < 3.5
        client.close()


def _through(guard: Guard, path: str = "/") -> list[int]:
    """Send one GET through the guard; return the statuses that came out."""
    statuses: list[int] = []
    scope = {"type": "http", "path": path, "method": "GET", "headers": [(b"host", b"localhost")]}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    asyncio.run(guard(scope, receive, send))  # type: ignore[arg-type]
    return statuses


def _read_until(client: socket.socket, end: bytes, *, times: int = 1) -> bool:
    got = b""
    while got.count(end) < times and (more := client.recv(65_536)):
        got += more
    return got.count(end) == times and got.endswith(end)


def _closed(client: socket.socket) -> bool:
    try:
        while client.recv(65_536):
            pass
    except ConnectionResetError:
        pass
    return True


def test_one_address_does_not_take_every_connection(api: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """EST-4: whoever opens many connections and sends nothing loses its own oldest ones, nobody else a place."""
    monkeypatch.setattr("api.server.is_trusted", lambda address, proxy: False)
    monkeypatch.setattr("api.server.CONNECTIONS_PER_ADDRESS_MAX", 5)
    idle = [socket.create_connection(("127.0.0.1", api.rest), timeout=10) for _ in range(5)]
    try:
        until(lambda: len(connections_of(api)) == 5)
        assert api.get("/api/v1/alive", token="").status == 200
        assert _closed(idle[0])
        until(lambda: len(connections_of(api)) == 4)
        # SEC-5: it is written down and counted.
        assert api.desk.log.counts["RATE_LIMITED", "refused"] == 1
        assert "one address" in rate_limited(api).outcome
    finally:
        for client in idle:
            client.close()


def test_only_this_machine_and_the_proxy_are_not_counted() -> None:
    """EST-4, SEC-4: everybody behind the proxy has its address."""
    assert is_trusted("127.0.0.1", "")
    assert is_trusted("::1", "")
    assert is_trusted("192.0.2.1", "192.0.2.1")
    assert is_trusted("::ffff:192.0.2.1", "192.0.2.1"), "a port of both families writes it so"
    assert is_trusted("::ffff:127.0.0.1", "")
    assert not is_trusted("2001:db8::2", "2001:db8::1"), "a proxy is one machine, not its subnet"
    assert not is_trusted("192.0.2.2", "192.0.2.1")


def test_what_is_no_method_of_a_route_is_405_and_options_are_told(api: Served) -> None:
    """API-1: OPTIONS and other methods ask nobody for anything, and change nothing."""
    assert api.call("OPTIONS", "/api/v1/pumps", token="").status == 204
    assert (
        api.call("DELETE", "/api/v1/users/anna", headers={"Content-Type": "application/json"}).status == 405
    )
    assert api.get("/api/v1/nothing", token="").problem(404)
