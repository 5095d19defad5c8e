"""PostgreSQL goes away for longer than the plans last, under the program as a utility runs it: no demo, limited roles.

Times are shortened by configuration; the laws are the same.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest
from psycopg import sql as composed

from actors.vocabulary import Quality, Reason
from tests.chaos.conftest import places, sampled, under_way, until_enabled
from tests.chaos.figures import keep
from tests.chaos.opcua_log import OpcUaLog
from tests.chaos.sql import Sql
from tests.chaos.test_emergency_stop import (
    ON_THE_WIRES_WITHIN_S,
    held_stopped,
    running_pump,
    stopped_on_both,
)
from tests.chaos.test_kills import BACK_WITHIN_S, pids
from tests.chaos.truth import Truth, plant_at, utc_now
from tests.chaos.wire_log import WireLog, lapses
from tests.program import Program, until
from tests.services import Postgres

POLL_S, UNREACHABLE_S, HOLD_S = 2.0, 6.0, 5.0
# How long the plans that are known go on without the database; `CALEJO_OUTAGE_S=240 make pytest ARGS=<this file>`
# has it away for minutes.
PLANS_LAST_S = float(os.environ.get("CALEJO_OUTAGE_S", "16"))
# From the end of the plans; the pumps tick each second.
FAILSAFE_WITHIN_S = 3.0
# The storage actor asks again after 15 s at most, the plan actor at its poll.
RECOVERED_WITHIN_S = 30.0
OF_THE_STATION = frozenset({Reason.MAX_RUNNING, Reason.STAGGER})
SETTINGS = {
    "CALEJO_CONTROL__PLAN_POLL_S": POLL_S,
    "CALEJO_CONTROL__DATABASE_UNREACHABLE_S": UNREACHABLE_S,
    "CALEJO_CONTROL__FAILSAFE_RECOVERY_HOLD_S": HOLD_S,
    "CALEJO_DATABASE__CONNECT_TIMEOUT_S": 1,
    "CALEJO_DATABASE__STATEMENT_TIMEOUT_S": 2,
    # The log of OPC UA looks without a certificate, as it does at a demo.
    "CALEJO_OPCUA__ALLOW_NONE": "true",
    "CALEJO_OPCUA__ANONYMOUS_ROLES": "READ_ONLY",
}

pytestmark = [pytest.mark.chaos, pytest.mark.services, pytest.mark.timeout(240 + PLANS_LAST_S)]


def driver_url(url: str, user: str | None = None) -> str:
    """Return a URL for Calejo's own configuration, for another user if one is given."""
    return url.replace("postgresql://postgres@", f"postgresql+psycopg://{user or 'postgres'}@")


class Utility:
    """The cluster, the database with its two limited logins, and a Calejo configured for them."""

    def __init__(self, cluster: Postgres, data_dir: Path) -> None:
        self.cluster = cluster
        self.sql = Sql(cluster.fresh_database())
        self.program = Program(data_dir, environment={"CALEJO_DATABASE__URL": driver_url(self.sql.where)})
        self.program.command("db", "upgrade")
        for role in ("reader", "writer"):
            with psycopg.connect(self.sql.where) as connection:
                connection.execute(
                    composed.SQL("CREATE ROLE {} LOGIN IN ROLE {}").format(
                        composed.Identifier(f"calejo_{role}"), composed.Identifier(f"control_{role}")
                    )
                )
        self._seed()
        self.program.environment = {key: str(value) for key, value in SETTINGS.items()} | {
            "CALEJO_DATABASE__URL": driver_url(self.sql.where, "calejo_writer"),
            "CALEJO_DATABASE__READER_URL": driver_url(self.sql.where, "calejo_reader"),
        }

    def _seed(self) -> None:
        """Write the demo's stations; the plans are ours."""
        subprocess.run(
            [
                sys.executable, "-m", "ops.demo", "seed", "--data-dir", str(self.program.data_dir),
                "--database", driver_url(self.sql.where),
            ],
            cwd=Path(__file__).resolve().parents[2], check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        self.sql.run("DELETE FROM pump_plans")
        self.sql.insert_moving_plans(lasts_s=3600.0)


class Outage:
    """What was seen before, during and after the database's absence."""

    def __init__(self, utility: Utility, wire: WireLog, truth: Truth) -> None:
        self.utility, self.program, self.sql = utility, utility.program, utility.sql
        self.wire, self.truth = wire, truth
        self.began = utc_now()
        self.nan_plan_id = 0
        self.stop_id = ""

    def refuse_a_nan(self) -> None:
        """A real NaN, which PostgreSQL keeps and SQLite does not."""
        pump_id = self.sql.run("SELECT pump_id FROM pumps WHERE control_type = 'DIRECT_SPEED' LIMIT 1")[0][0]
        self.nan_plan_id = self.sql.insert_plan(pump_id, math.nan, version=self.sql.newest_version + 1)
        self.nan_reason = until(
            lambda: self.sql.run("SELECT reason FROM plan_refusals WHERE plan_id = ?", self.nan_plan_id),
            within_s=15,
            what="the refusal of a NaN on record",
        )[0][0]

    def go_away(self) -> None:
        """Let the plans end soon, and the database before them; strike the storage actor meanwhile."""
        plans_end_s = time.monotonic() + PLANS_LAST_S
        version = self.sql.insert_moving_plans(lasts_s=PLANS_LAST_S, alone=True)
        stations = self.program.get("/api/v1/stations")
        until(
            lambda: all(
                self.program.get(f"/api/v1/pumps/{pump}/explain")["proposal"]["plan_version"] == version
                for station in stations
                for pump in station["pumps"]
            ),
            within_s=10,
            what="every pump on the plan that ends soon",
        )
        self.pids = pids(self.program)
        self.away, self.away_s = utc_now(), time.monotonic()
        self.utility.cluster.stop()
        self.stopped = running_pump(self.wire)
        done = self.program.command(
            "estop", "set", "--scope", "pump", "--id", self.stopped, "--reason", "drill", "--format", "json"
        )
        self.stop_id = json.loads(done.stdout)["stop_id"]
        self.program.command("estop", "clear", "--stop", self.stop_id, "--reason", "over")
        os.kill(self.pids["/storage"], signal.SIGKILL)
        until(
            lambda: self.program.running("/storage", not_pid=self.pids["/storage"]),
            within_s=BACK_WITHIN_S,
            what="the storage actor, without a database",
        )
        self.control_until_s = plans_end_s
        until(
            lambda: all(self._in_failsafe(place.pump_id, since_s=plans_end_s) for place in self.wire.places),
            within_s=plans_end_s - time.monotonic() + FAILSAFE_WITHIN_S,
            what=lambda: f"every pump in failsafe for the database's sake: {self._reasons()}",
        )
        self.failsafe_s = time.monotonic()

    def _in_failsafe(self, pump_id: str, *, since_s: float) -> bool:
        """Whether it is said of the pump, or that its station lets no more pumps run (which the default asks for)."""
        seen = self.wire.of(pump_id, since_s=since_s)
        return bool(seen) and seen[-1].reason in {Reason.FAILSAFE_DATABASE, *OF_THE_STATION}

    def in_failsafe(self) -> list[str]:
        """Return the pumps of which the wire said so."""
        return [
            place.pump_id
            for place in self.wire.places
            if any(
                sample.reason == Reason.FAILSAFE_DATABASE
                for sample in self.wire.of(place.pump_id, since_s=self.control_until_s, to_s=self.back_s)
            )
        ]

    def _reasons(self) -> dict[str, str]:
        latest = {place.pump_id: self.wire.latest(place.pump_id) for place in self.wire.places}
        return {pump_id: Reason(seen.reason).name for pump_id, seen in latest.items() if seen}

    def come_back(self) -> None:
        self.back, self.back_s = utc_now(), time.monotonic()
        self.utility.cluster.start()
        self.started = utc_now()
        self.sql.insert_moving_plans(lasts_s=3600.0)
        until(
            lambda: all(
                (seen := self.wire.latest(place.pump_id)) is not None
                and seen.reason != Reason.FAILSAFE_DATABASE
                and seen.enabled
                for place in self.wire.places
            ),
            within_s=RECOVERED_WITHIN_S,
            what="every pump by its plan again",
        )
        self.controlled_s = time.monotonic() - self.back_s
        until(self._all_written, within_s=RECOVERED_WITHIN_S, what="what was spooled in the database")
        self.written_s = time.monotonic() - self.back_s

    def _all_written(self) -> bool:
        """Whether rows have arrived that were made after the return: the spool is written in order."""
        return bool(self.sql.run("SELECT 1 FROM pump_feedback WHERE measured_at > ? LIMIT 1", self.started))


@pytest.fixture(scope="module")
def outage(tmp_path_factory: pytest.TempPathFactory, own_cluster: Postgres) -> Iterator[Outage]:
    utility = Utility(own_cluster, tmp_path_factory.mktemp("utility") / "data")
    program = utility.program
    with plant_at(program.data_dir, program.modbus) as truth:
        try:
            program.start().wait_ready()
            until_enabled(program)
            with sampled(program, utility.sql) as wire:
                under_way(wire)
                outage = Outage(utility, wire, truth)
                outage.refuse_a_nan()
                outage.go_away()
                outage.come_back()
                yield outage
        finally:
            code = program.stop()
    assert code == 0, program.output[-20:]


def test_known_plans_are_carried_out_without_the_database(outage: Outage) -> None:
    """DAT-3, CTL-1: while the known plans last every pump follows them, as if nothing were missing."""
    began_s, ended_s = outage.away_s + 0.5, outage.control_until_s
    assert ended_s - began_s > UNREACHABLE_S, "the outage must have been noticed and yet not mattered"
    assert outage.wire.moving(began_s, ended_s), "setpoints must have changed by plan meanwhile"
    for place in outage.wire.places:
        seen = outage.wire.of(place.pump_id, since_s=began_s, to_s=ended_s)
        assert all(sample.enabled for sample in seen), place.pump_id
        reasons = {Reason(sample.reason).name for sample in seen}
        assert not {name for name in reasons if "FAILSAFE" in name}, (place.pump_id, reasons)
    keep("DAT-3 database away (s)", "control by known plans", ended_s - outage.away_s)


def test_then_failsafe_with_its_reason_is_on_the_wire(outage: Outage) -> None:
    """WDG-1, WDG-3: when no plan covers now and the database is silent, failsafe says exactly that; control stays."""
    failed_at = {outage.wire.place(pump_id).station_id for pump_id in outage.in_failsafe()}
    assert failed_at == {place.station_id for place in outage.wire.places}
    for place in outage.wire.places:
        seen = outage.wire.of(place.pump_id, since_s=outage.control_until_s, to_s=outage.back_s)
        failed = [sample for sample in seen if sample.reason == Reason.FAILSAFE_DATABASE]
        assert all(sample.enabled for sample in seen), f"{place.pump_id}: DEFAULT_SETPOINT keeps control"
        assert {sample.quality for sample in failed} <= {Quality.UNCERTAIN}, place.pump_id
        expired = [sample for sample in seen if sample.reason == Reason.FAILSAFE_PLAN_EXPIRED]
        assert not expired, "it is the database that is missing, not a plan"
        assert not lapses(outage.wire.of(place.pump_id))
    keep(
        "DAT-3 database away (s)",
        "end of plans to failsafe on the wire",
        outage.failsafe_s - outage.control_until_s,
    )
    wrong = outage.wire.findings()
    assert not wrong, wrong[0].text
    assert not outage.wire.gaps


def test_nothing_is_lost_that_was_to_be_written(outage: Outage) -> None:
    """DAT-3, AUD-4: stop, clear, audit, decisions and feedback of the outage are all there; storage was killed too."""
    sql = outage.sql
    ((set_at, cleared_at),) = sql.run(
        "SELECT set_at, cleared_at FROM emergency_stop_events WHERE stop_id = ?", outage.stop_id
    )
    assert outage.away <= set_at <= cleared_at <= outage.back
    audited = sql.run("SELECT event_type FROM audit_log WHERE at BETWEEN ? AND ?", outage.away, outage.back)
    assert len(audited) >= 2, audited
    sequences = [row[0] for row in sql.run("SELECT sequence FROM audit_log ORDER BY sequence")]
    assert sequences == list(range(1, len(sequences) + 1))
    for pump_id in outage.in_failsafe():
        reasons = {
            row[0]
            for row in sql.run(
                "SELECT reason FROM decisions WHERE pump_id = ? AND at BETWEEN ? AND ?",
                pump_id, outage.away, outage.back,
            )
        }  # fmt: skip
        assert Reason.FAILSAFE_DATABASE.name in reasons, (pump_id, reasons)
    gaps_s = {}
    for place in outage.wire.places:
        rows = sql.run(
            "SELECT measured_at FROM pump_feedback WHERE pump_id = ? AND measured_at > ? ORDER BY measured_at",
            place.pump_id, outage.began,
        )  # fmt: skip
        moments = [row[0] for row in rows]
        inside = [at for at in moments if outage.away <= at <= outage.back]
        assert inside, f"no feedback of {place.pump_id} from the outage"
        gaps_s[place.pump_id] = max((later - earlier).total_seconds() for earlier, later in pairwise(moments))
    # A row comes each second in which a value has changed. A level of 1 mm resolution now and then reads the same in
    # two seconds that follow each other, and a standing pump has nothing else that moves: a gap of 3 s, and no loss.
    assert max(gaps_s.values()) < 4.0, gaps_s
    keep("DAT-3 database away (s)", "largest gap in a pump's feedback rows", max(gaps_s.values()))


def test_it_recovers_by_itself(outage: Outage) -> None:
    """DAT-3, WDG-2: plans are in force again and the spool is empty soon after the return; nobody was restarted."""
    keep("DAT-3 database away (s)", "return to every pump by its plan", outage.controlled_s)
    keep("DAT-3 database away (s)", "return to everything spooled written", outage.written_s)
    restarted = {key for key, pid in pids(outage.program).items() if outage.pids.get(key) != pid}
    assert restarted == {"/storage"}, "the database's absence restarts nobody; storage was killed by us"
    events = outage.sql.run(
        "SELECT scope_id, reason, started_at, ended_at FROM failsafe_events WHERE started_at > ?", outage.away
    )
    assert events, "the failsafe must be on record"
    # Between the database's return and the new plans, what is missing is a plan.
    reasons = {row[1] for row in events}
    assert Reason.FAILSAFE_DATABASE.name in reasons
    assert reasons <= {Reason.FAILSAFE_DATABASE.name, Reason.FAILSAFE_PLAN_EXPIRED.name}, events
    until(
        lambda: not outage.sql.run("SELECT 1 FROM failsafe_events WHERE ended_at IS NULL"),
        within_s=10,
        what="the end of the failsafe on record",
    )
    outage.truth.unharmed(since=outage.began)


def test_a_nan_in_a_plan_is_refused(outage: Outage) -> None:
    """CTL-1: PostgreSQL keeps a NaN, and the plan actor refuses the row for it."""
    assert "suggested_speed_hz is not finite" in outage.nan_reason


def test_the_roles_suffice(outage: Outage) -> None:
    """DAT-2: goal: the program ran all that with a reader that may only SELECT and a writer that may only append."""
    rows = outage.sql.run("SELECT DISTINCT usename FROM pg_stat_activity WHERE usename IS NOT NULL")
    assert {row[0] for row in rows} - {"postgres"} == {"calejo_reader", "calejo_writer"}
    assert len(places(outage.program, outage.sql)) == len(outage.wire.places)


def test_a_stop_needs_neither_the_database_nor_safety_and_outlives_a_restart_of_everything(
    outage: Outage,
) -> None:
    """EST-1, EST-2, EST-3: the database stops, safety is killed, a person stops the station, all at one moment.

    Both wires show it within 1 s; the whole program, ended and started again before the database is back, goes on
    showing it from its first value on.
    """
    program, wire = outage.program, outage.wire
    pump_id = running_pump(wire)
    station_id = wire.place(pump_id).station_id
    pumps = wire.pumps_of(station_id)
    safety = pids(program)[f"/sites/demo/stations/{station_id}/safety"]
    with OpcUaLog(program.opcua, wire.places) as opcua:
        outage.utility.cluster.stop()
        os.kill(safety, signal.SIGKILL)
        began_s = time.monotonic()
        done = program.command(
            "estop", "set", "--scope", "station", "--id", station_id, "--reason", "drill", "--format", "json"
        )
        took_s = stopped_on_both(wire, opcua, pumps, began_s)
        assert took_s < ON_THE_WIRES_WITHIN_S, took_s
        keep("EST-1 both wires (s)", "command line, safety killed and database stopped", took_s)
        stop_id = json.loads(done.stdout)["stop_id"]
        held_stopped(wire, pumps, began_s + took_s)
    assert program.stop() == 0
    again_s = time.monotonic()
    program.start()
    until(
        lambda: all(wire.of(pump, since_s=again_s) for pump in pumps),
        within_s=60,
        what="the wire of the program started again without a database",
    )
    outage.utility.cluster.start()
    program.wait_ready()
    held_stopped(wire, pumps, again_s)
    stopped = until(
        lambda: outage.sql.run("SELECT cleared_at FROM emergency_stop_events WHERE stop_id = ?", stop_id),
        within_s=RECOVERED_WITHIN_S,
        what="the stop on record",
    )
    assert stopped == [(None,)]
