"""The load on REST: what wrk prints is read to the letter, and what it cannot say is no figure."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ops.bench.rest import _idle, head, line, read, script, to_wire_p99_ms
from ops.cli.exits import ExitError

OUTPUT = """\
Running 20s test @ http://127.0.0.1:8080/api/v1/pumps
  2 threads and 50 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    61.20ms   12.40ms 190.11ms   80.00%
    Req/Sec   410.00     50.00   520.00     70.00%
  Latency Distribution
     50%   59.70ms
     75%   66.10ms
     90%   75.00ms
     99%    1.10s
  16321 requests in 20.02s, 80.11MB read
  Socket errors: connect 0, read 3, write 0, timeout 1
  Non-2xx or 3xx responses: 12
Requests/sec:    815.23
Transfer/sec:      4.00MB
"""


def test_what_wrk_prints_is_read_and_judged() -> None:
    """API-4: p50, p99 in ms whatever its unit; refused answers and lost connections are no good run."""
    row = read(OUTPUT, "/api/v1/pumps", {"modbus": 12.0})
    assert (row.per_s, row.p50_ms, row.p99_ms, row.refused) == (815.23, 59.7, 1100.0, 12)
    assert row.errors.startswith("connect 0, read 3")
    assert not row.is_good
    fine = read(
        OUTPUT.replace("1.10s", "199.9ms").replace("  Socket errors", "  No").replace("  Non-2xx", "  No"),
        "/x",
        {},
    )
    assert fine.is_good
    assert not read(OUTPUT.replace("1.10s", "200.0ms").replace("  Non-2xx", " "), "/x", {}).is_good
    assert "NOT GOOD: 12 refused, connect 0, read 3, write 0, timeout 1, p99 not below 200 ms" in line(row)
    assert "NOT" not in line(fine)
    assert "in 120 s without this load: modbus 9.0 ms" in head({"modbus": 9.0}, 120.0)
    with pytest.raises(ExitError, match="expected its table"):
        read("unable to connect", "/x", {})


def test_latency_to_the_wires_is_read_from_health() -> None:
    """API-4: control under that load, as the endpoints themselves measure it."""
    detail = {
        "endpoints": {
            "/sites/north/endpoints/modbus": {"proposal_to_wire": {"p99_ms": 7.5}},
            "/sites/north/endpoints/opcua": "no answer",
            "/sites/north/endpoints/sparkplug": {"proposal_to_wire": None},
        }
    }
    assert to_wire_p99_ms(detail) == {"modbus": 7.5}


def test_an_answer_that_names_a_silent_part_is_no_good_one() -> None:
    """API-4: a page without its stations is quick, and does not count."""
    whole = OUTPUT.replace("1.10s", "99.9ms").replace("  Socket errors", "  No").replace("  Non-2xx", "  No")
    assert read(whole + "answers that name a silent part: 0\n", "/x", {}).is_good
    row = read(whole + "answers that name a silent part: 31\n", "/x", {})
    assert (row.silent, row.is_good) == (31, False)
    assert "NOT GOOD: 31 name a silent part" in line(row)


def test_the_control_latency_without_load_is_the_worst_of_its_minutes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """API-4: looked at once a minute, for what is told is of the last minute only."""
    slept: list[float] = []
    monkeypatch.setattr("ops.bench.rest.time.sleep", slept.append)
    looks = iter([{"modbus": 9.0, "opcua": 3.0}, {"modbus": 4.0, "opcua": 5.0}, {"modbus": 1.0}])
    assert _idle(lambda: next(looks), 130.0) == {"modbus": 9.0, "opcua": 5.0}
    assert slept == [60.0, 60.0, 10.0]


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is no part of Calejo")
def test_requests_show_one_credential_after_the_other_and_answers_are_looked_into(tmp_path: Path) -> None:
    """API-4: wrk takes the script: each token in turn, none on a command line, silent parts counted."""
    shown = [{"Authorization": f"Bearer {name}", "X-Other": "b"} for name in ("one", "two", "three")]
    text, environment = script(shown, looks=True)
    assert "Bearer" not in text
    seen: Counter[str | None] = Counter()
    answered = 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            nonlocal answered
            seen[self.headers["Authorization"]] += 1
            body = b'[{"unavailable":["station: no answer"]}]' if answered % 2 else b'[{"unavailable":[]}]'
            answered += 1
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    (tmp_path / "wrk.lua").write_text(text)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}/pumps"
            done = subprocess.run(
                ["wrk", "-t1", "-c1", "-d1s", "--latency", "-s", str(tmp_path / "wrk.lua"), url],
                capture_output=True, text=True, check=True, timeout=30, env=os.environ | environment,
            )  # fmt: skip
        finally:
            server.shutdown()
            serving.join()
    assert set(seen) == {"Bearer one", "Bearer two", "Bearer three"}
    assert max(seen.values()) - min(seen.values()) <= 1
    row = read(done.stdout, "/pumps", {})
    assert abs(row.silent - answered / 2) <= 1
