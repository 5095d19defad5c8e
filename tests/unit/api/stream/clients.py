"""Clients of the stream, as small as they can be: server-sent events by http.client, WebSocket by wsproto."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Self

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

from tests.unit.api.served import Served

STREAM = "/api/v1/stream"


class Got(NamedTuple):
    """One event that arrived."""

    event: str
    event_id: str | None
    data: Any


class Sse:
    """A browser's EventSource without its habit of coming back."""

    def __init__(
        self,
        api: Served,
        query: str = "",
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        path: str = STREAM,
    ) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", api.rest, timeout=20)
        token = api.token() if token is None else token
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        self._connection.request("GET", f"{path}?{query}", headers=sent | (headers or {}))
        self._answer = self._connection.getresponse()
        self.status = self._answer.status
        self.headers = {name.lower(): value for name, value in self._answer.getheaders()}

    def next(self) -> Got | None:
        """Return the next event, None: the stream has ended."""
        fields: dict[str, str] = {}
        while line := self._answer.readline().decode():
            name, _, value = line.rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            elif "data" in fields:
                return Got(fields["event"], fields.get("id"), json.loads(fields["data"]))
        return None

    def until(self, wanted: Callable[[Got], object], *, within_s: float = 15.0) -> list[Got]:
        """Return everything up to the first event that is wanted."""
        return _until(self.next, wanted, within_s)

    def first(self, event: str, **named: float) -> Got:
        """Return the first event of a kind."""
        return self.until(lambda got: got.event == event, **named)[-1]

    def rest(self) -> bytes:
        """Return what is left, as bytes."""
        return self._answer.read()

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Socket:
    """A WebSocket; `status` is 101 once it is open, else what it was refused with, and `body` why."""

    def __init__(
        self,
        api: Served,
        query: str = "",
        *,
        path: str = STREAM,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self._socket = socket.create_connection(("127.0.0.1", api.rest), timeout=20)
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._events: list[Event] = []
        token = api.token() if token is None else token
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        lines = [(name.encode(), value.encode()) for name, value in (sent | (headers or {})).items()]
        target = f"{path}?{query}" if query else path
        self._socket.sendall(
            self._ws.send(Request(host=f"127.0.0.1:{api.rest}", target=target, extra_headers=lines))
        )
        self.body = b""
        self.close_code: int | None = None
        first = self._event()
        self.status = first.status_code if isinstance(first, RejectConnection) else 101
        if isinstance(first, RejectConnection):
            while isinstance(more := self._event(), RejectData):
                self.body += more.data
                if more.body_finished:
                    break
        else:
            assert isinstance(first, AcceptConnection), first

    def next(self) -> Got | None:
        """Return the next event, None: closed, and `close_code` says how."""
        text = ""
        while True:
            match self._event():
                case TextMessage(data=data, message_finished=whole):
                    text += data
                    if whole:
                        content = json.loads(text)
                        return Got(content["event"], content["id"], content["data"])
                case CloseConnection(code=code):
                    self.close_code = code
                    return None
                case None:
                    return None
                case _:
                    continue  # pings are the library's business

    def until(self, wanted: Callable[[Got], object], *, within_s: float = 15.0) -> list[Got]:
        return _until(self.next, wanted, within_s)

    def say(self, text: str) -> None:
        self._socket.sendall(self._ws.send(TextMessage(data=text)))

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _event(self) -> Event | None:
        while True:
            for event in self._ws.events():
                return event
            data = self._socket.recv(65_536)
            if not data:
                return None
            self._ws.receive_data(data)


def _until(read: Callable[[], Got | None], wanted: Callable[[Got], object], within_s: float) -> list[Got]:
    deadline = time.monotonic() + within_s
    found: list[Got] = []
    while True:
        got = read()
        assert got is not None, f"the stream ended after {[each.event for each in found]}"
        found.append(got)
        if wanted(got):
            return found
        assert time.monotonic() < deadline, f"only {[each.event for each in found]}"
