"""One running demo for all chaos tests of a session, started as a user starts it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.wire_log import Place, WireLog
from tests.program import Program, until


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """`calejo run --demo` on ports and a data folder of its own, ready and with every pump under control."""
    program = Program(tmp_path_factory.mktemp("demo") / "data", "--demo").start().wait_ready()
    try:
        until(lambda: all_enabled(program), within_s=60, what="every pump under remote control")
        yield program
    finally:
        code = program.stop()
    assert code == 0, program.output[-20:]


def all_enabled(program: Program) -> bool:
    """Whether every pump of the demo shows remote_enabled on every endpoint."""
    pumps = program.get("/api/v1/pumps")
    return bool(pumps) and all(
        pump["published"] and all(shown["remote_enabled"] for shown in pump["published"]) for pump in pumps
    )


def places(program: Program) -> tuple[Place, ...]:
    """Where every pump's block lies (from `calejo tags`), with its approved limits (from the database)."""
    import sqlite3

    with sqlite3.connect(Path(program.data_dir) / "calejo.db") as database:
        rows = database.execute(
            "SELECT pump_id, hard_min_speed_hz, hard_max_speed_hz, max_rate_hz_per_s FROM pump_safety_limits"
        ).fetchall()
    limits = {row[0]: row[1:] for row in rows}
    return tuple(
        Place(row["pump_id"], row["unit_id"], row["address"], *limits[row["pump_id"]])
        for row in program.get("/api/v1/tags")
        if row["point"] == "sequence" and row["protocol"] == "modbus"
    )


@pytest.fixture
def wire(demo: Program) -> Iterator[WireLog]:
    """The wire, sampled at 50 Hz while the test runs; whatever the test does, what was sampled must be safe."""
    until(lambda: all_enabled(demo), within_s=90, what="every pump under remote control")
    chosen = places(demo)
    with WireLog("127.0.0.1", demo.modbus, chosen) as log:
        until(lambda: len(log.samples) > 20 * len(chosen), within_s=10, what="the first samples")
        yield log
