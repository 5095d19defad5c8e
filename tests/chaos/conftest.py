"""One running demo for all chaos tests, started as a user starts it, with pumps whose setpoints keep moving."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.chaos.figures import figures
from tests.chaos.opcua_log import OpcUaLog
from tests.chaos.sql import Sql, sql_of
from tests.chaos.truth import full_wells, truth_of
from tests.chaos.wire_log import Place, WireLog
from tests.program import Program, until
from tests.services import Postgres, _postgres_programs

# Back from a hand-back within the time of a test; the law is the same as with the 60 s of the default.
RECOVERY_HOLD_S = 5.0
PLANS_LAST_S = 3600.0
# Above the level at which a local controller starts its first pump, below the second's.
FULL_M = 1.9
ASKED_EVERY_S = 0.2


@pytest.fixture(scope="package")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """`calejo run --demo` on ports and a data folder of its own, with every pump under remote control.

    Its optimiser has ended: from then on the tests write the plans, and by theirs the pumps run and keep changing
    speed whatever the time of day.
    """
    program = Program(
        tmp_path_factory.mktemp("demo") / "data",
        "--demo",
        environment={"CALEJO_CONTROL__FAILSAFE_RECOVERY_HOLD_S": str(RECOVERY_HOLD_S)},
    )
    try:
        program.start().wait_ready()
        truth_of(program).end("optimiser")
        sql_of(program).insert_moving_plans(lasts_s=PLANS_LAST_S)
        yield program
    finally:
        code = program.stop()
    assert code == 0, program.output[-20:]


@pytest.fixture(scope="package")
def second(demo: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Another `calejo run --demo` beside the first, with wells so full that stations would pump by themselves."""
    data_dir = tmp_path_factory.mktemp("second") / "data"
    full_wells(data_dir / "demo", level_m=FULL_M)
    program = Program(data_dir, "--demo", environment=demo.environment)
    try:
        program.start().wait_ready()
        truth_of(program).end("optimiser")
        sql_of(program).insert_moving_plans(lasts_s=PLANS_LAST_S)
        yield program
    finally:
        code = program.stop()
    assert code == 0, program.output[-20:]


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[Postgres]:
    """A PostgreSQL cluster for one file, which may stop and start it."""
    with Postgres(_postgres_programs()) as cluster:
        yield cluster


def all_enabled(program: Program) -> bool:
    """Whether every pump of the demo shows remote_enabled on every endpoint."""
    pumps = program.get("/api/v1/pumps")
    return bool(pumps) and all(
        pump["published"] and all(shown["remote_enabled"] for shown in pump["published"]) for pump in pumps
    )


def until_enabled(
    *programs: Program, within_s: float = 60, what: str = "every pump under remote control"
) -> None:
    """Wait until every pump is enabled; asked seldom, for the answer takes the whole tree's time."""
    until(lambda: all(map(all_enabled, programs)), within_s=within_s, what=what, every_s=ASKED_EVERY_S)


def places(program: Program, sql: Sql | None = None) -> tuple[Place, ...]:
    """Where every pump's block lies (from `calejo tags`), with its approved limits (from the database)."""
    rows = (sql or sql_of(program)).run(
        "SELECT pump_id, hard_min_speed_hz, hard_max_speed_hz, max_rate_hz_per_s FROM pump_safety_limits"
        " WHERE approved_by IS NOT NULL ORDER BY pump_id, version"
    )
    # The newest version of each.
    limits = {row[0]: row[1:] for row in rows}
    return tuple(
        Place(row["station_id"], row["pump_id"], row["unit_id"], row["address"], *limits[row["pump_id"]])
        for row in program.get("/api/v1/tags")
        if row["point"] == "sequence" and row["protocol"] == "modbus"
    )


def sampled(program: Program, sql: Sql | None = None) -> WireLog:
    """Return a log of the program's Modbus wire, to be entered."""
    return WireLog("127.0.0.1", program.modbus, places(program, sql))


def under_way(log: WireLog) -> None:
    """Wait until the wire is sampled, and a pump of every station runs by remote control."""
    stations = {place.station_id for place in log.places}

    def running() -> bool:
        now = {place: log.latest(place.pump_id) for place in log.places}
        return stations == {
            place.station_id for place, seen in now.items() if seen and seen.enabled and seen.setpoint_hz > 0
        }

    until(running, within_s=60, what="a pump of every station running under remote control")


@pytest.fixture
def wire(demo: Program) -> Iterator[WireLog]:
    """The wire, sampled at 50 Hz while the test runs."""
    until_enabled(demo)
    with sampled(demo) as log:
        under_way(log)
        yield log


@pytest.fixture
def opcua(demo: Program, wire: WireLog) -> Iterator[OpcUaLog]:
    with OpcUaLog(demo.opcua, wire.places) as log:
        yield log


@pytest.fixture
def database(demo: Program) -> Iterator[Sql]:
    """The database; afterwards the pumps swing as before."""
    sql = sql_of(demo)
    yield sql
    sql.insert_moving_plans(lasts_s=PLANS_LAST_S)


@pytest.fixture
def pump_id(database: Sql, wire: WireLog) -> str:
    """A pump that follows its plan's speed and nothing else, running."""
    direct = [row[0] for row in database.run("SELECT pump_id FROM pumps WHERE control_type = 'DIRECT_SPEED'")]

    def running() -> str | None:
        seen = {pump: wire.latest(pump) for pump in direct}
        return next((pump for pump, latest in seen.items() if latest and latest.setpoint_hz > 0), None)

    return until(running, within_s=30, what="a pump with a DIRECT_SPEED plan running")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what was measured, for the pages that claim it."""
    if not figures():
        return
    terminalreporter.section("measured on the running program")
    for requirement, found in sorted(figures().items()):
        terminalreporter.write_line(f"{requirement}: {json.dumps(found)}")
    cache = config.cache
    if cache is not None:
        cache.set("calejo/chaos_figures", figures())
