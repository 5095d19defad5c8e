"""The command line's own client: a list that comes by pages is shown whole."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ops.cli import client
from ops.cli.exits import ExitError


class Paged(BaseHTTPRequestHandler):
    """Three pages of one row; `/endless` has no end."""

    def do_GET(self) -> None:
        number = int(self.path.rpartition("=")[2]) if "cursor=" in self.path else 0
        is_endless = self.path.startswith("/endless")
        body = json.dumps([number]).encode()
        self.send_response(200)
        if number < 2 or is_endless:
            self.send_header("Link", f'<{self.path.partition("?")[0]}?cursor={number + 1}>; rel="next"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def base() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Paged)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def test_every_page_of_a_list_is_fetched(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """API-2: a thousand pumps are not cut off at the first page; who names a limit gets that page."""
    assert client.call(base, "GET", "/rows") == [0, 1, 2]
    assert client.call(base, "GET", "/rows?limit=1") == [0]
    monkeypatch.setattr(client, "_PAGES_MAX", 5)
    with pytest.raises(ExitError, match="more than 5 pages"):
        client.call(base, "GET", "/endless")
