"""When each protocol's client saw a change: the first sight counts, and only of what was commanded."""

from __future__ import annotations

import asyncio
import io
import json

import pytest

from ops.bench.seen import Watch, _by_stream, _events, table

MS = 1_000_000


def _row(pump_id: str, setpoint_hz: float) -> bytes:
    return json.dumps({"pump_id": pump_id, "published": [{"setpoint_hz": setpoint_hz}]}).encode()


async def _watch(start_hz: float) -> Watch:
    return Watch(start_hz)


def test_first_sights_beside_the_source_time() -> None:
    """OPS-5: per protocol median, 99th percentile and greatest; what was not commanded or not seen is left out."""
    watch = asyncio.run(_watch(32.0))
    for number, value in enumerate((32.01, 32.02, 32.03)):
        watch.born(value, source_ns=1_000 * MS * number)
        watch.saw("modbus", value, at_ns=1_000 * MS * number + (number + 1) * MS)
        watch.saw("modbus", value, at_ns=1_000 * MS * number + 900 * MS)
    watch.born(32.004, source_ns=0)
    watch.saw("stream", 32.02, at_ns=1_400 * MS)
    watch.saw("stream", 40.0, at_ns=5 * MS)
    rows = watch.rows([32.01, 32.02, 32.03])
    assert [(row.protocol, row.seen, row.p50_ms, row.greatest_ms) for row in rows] == [
        ("modbus", 3, 2.0, 3.0),
        ("stream", 1, 400.0, 400.0),
    ]
    assert "3 of 3" in table(rows, changes=3)
    assert "1 of 3" in table(rows, changes=3)
    assert watch.at_start.is_set()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            b'event: snapshot\nid: 1\ndata: {"topics": {"setpoints": [' + _row("p1", 32.5) + b"]}}\n\n",
            {32.5},
        ),
        (
            b'event: heartbeat\ndata: {"at": "now"}\n\nevent: setpoints\ndata: {"changed": ['
            + b", ".join((_row("p1", 33.0), _row("p2", 9.0)))
            + b"]}\n\n",
            {33.0},
        ),
        (b"", set()),
    ],
)
def test_the_stream_is_read_by_its_events(content: bytes, expected: set[float]) -> None:
    """OPS-5, API-2: a snapshot and the changes of one pump; of anything else nothing is taken."""
    watch = asyncio.run(_watch(0.0))
    _by_stream(watch, io.BytesIO(content), "p1")
    assert set(watch.seen_ns.get("REST, server-sent events", {})) == expected
    assert [event for event, _ in _events(io.BytesIO(content))] == [
        line.removeprefix("event: ") for line in content.decode().splitlines() if line.startswith("event: ")
    ]
