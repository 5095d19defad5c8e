"""The load on REST: what wrk prints is read to the letter, and what it cannot say is no figure."""

from __future__ import annotations

import pytest

from ops.bench.rest import read, table, to_wire_p99_ms
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
    shown = table({"modbus": 9.0}, [row, fine])
    assert "NOT GOOD: 12 refused" in shown
    assert "before: modbus 9.0 ms" in shown
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
