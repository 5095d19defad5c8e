"""`calejo limits …` and `calejo db commission`: what they print, send and refuse."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from storage import schema
from storage.urls import sqlite_url
from tests.unit.api.served import Served, served
from tests.unit.ops.cli.runs import Ran, announce, run, trust

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def api(data: Path, tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        folder = announce(data, rest=running.rest)
        trust(data, tmp_path)
        PEOPLE["api"] = running
        yield running
        folder.release()
        PEOPLE.clear()


PEOPLE: dict[str, Served] = {}


def limits(capsys: Capsys, data: Path, *words: object) -> Ran:
    """Run a command as whoever `--by` names, logged in; without it as a command of this machine."""
    with pytest.MonkeyPatch.context() as patch:
        if "--by" in words and "api" in PEOPLE:
            named = str(words[words.index("--by") + 1]).lower()
            patch.setenv("CALEJO_TOKEN", PEOPLE["api"].token(named))
        return run(capsys, "limits", *words, "--data-dir", data)


def test_a_command_of_this_machine_neither_proposes_nor_approves(
    api: Served, data: Path, capsys: Capsys
) -> None:
    """SAF-6: nobody knows who sits at a shell: whatever name it gives, it is neither of the two persons."""
    change = ("p1", "hard_max_speed_hz=45", "--reason", "r")
    for named in ("anna", "local:anna", "bert"):
        told = run(capsys, "limits", "propose", *change, "--by", named, "--data-dir", data).line(4)
        assert "may not PROPOSE_LIMITS" in told
        assert "--user NAME" in told
    assert not api.limits.all
    assert limits(capsys, data, "propose", *change, "--by", "anna").code == 0
    (proposal,) = api.limits.all.values()
    assert proposal.proposed_by == "anna"
    close = ("p1", proposal.proposal_id, "--reason", "r")
    assert "may not APPROVE_LIMITS" in limits(capsys, data, "approve", *close).line(4)
    assert "may not PROPOSE_LIMITS" in limits(capsys, data, "withdraw", *close).line(4)
    assert "second person" in limits(capsys, data, "approve", *close, "--by", "anna").line(4)
    assert limits(capsys, data, "approve", *close, "--by", "bert").code == 0


def proposed(capsys: Capsys, data: Path, *words: object, by: str = "anna") -> dict[str, Any]:
    told = limits(
        capsys, data, "propose", "p1", *words, "--reason", "bearing", "--by", by, "--format", "json"
    )
    assert told.code == 0, told.err
    answer = told.json()
    assert isinstance(answer, dict)
    return answer


def test_show_stands_limits_beside_the_envelope(api: Served, data: Path, capsys: Capsys) -> None:
    """SAF-6: version and persons in one line, then a table; as JSON what REST says."""
    lines = limits(capsys, data, "show", "p1").out.splitlines()
    assert lines[0].startswith(
        "pump p1: version 3, set by zoe, approved by yan (control works with none known)"
    )
    assert "commissioned by carl" in lines[0]
    assert [word for line in lines if line.startswith("hard_max") for word in line.split()] == [
        "hard_max_speed_hz", "50", "Hz", "52", "LOWER",
    ]  # fmt: skip
    assert not any(line.startswith("min_rest_s") for line in lines), "neither set nor bounded"
    shown = limits(capsys, data, "show", "p1", "--format", "json").json()
    assert shown == api.get("/api/v1/limits/p1").json()


def test_from_proposal_to_approval(api: Served, data: Path, capsys: Capsys) -> None:
    """SAF-6: propose, list, look at it, approve as somebody else, history, differences."""
    told = limits(
        capsys, data, "propose", "p1", "hard_max_speed_hz=45", "max_rate_hz_per_s=1.5", "--reason", "bearing",
        "--by", "anna", "--expires-after", "2h",
    )  # fmt: skip
    assert told.code == 0, told.err
    (proposal,) = api.limits.all.values()
    assert (proposal.base_version, proposal.changes) == (
        3,
        {"hard_max_speed_hz": 45.0, "max_rate_hz_per_s": 1.5},
    )
    assert (proposal.expires_at - proposal.proposed_at).total_seconds() == 7200.0
    assert (
        f"proposal {proposal.proposal_id} of pump p1: PROPOSED by anna, waits for a second person" in told.out
    )
    assert "hard_max_speed_hz  50      45     Hz    TIGHTER    52" in told.out
    listed = limits(capsys, data, "list").out
    assert proposal.proposal_id in listed
    assert "hard_max_speed_hz=45 max_rate_hz_per_s=1.5" in listed
    assert limits(capsys, data, "list", "p1").out == listed
    assert proposal.proposal_id in limits(capsys, data, "show", "p1").out
    assert "TIGHTER" in limits(capsys, data, "diff", "p1", proposal.proposal_id).out
    approved = limits(capsys, data, "approve", "p1", proposal.proposal_id, "--reason", "seen", "--by", "bert")
    assert approved.code == 0, approved.err
    assert "APPROVED as version 4, version 4 is approved, not in force yet" in approved.out
    assert proposal.proposal_id not in limits(capsys, data, "list").out
    assert proposal.proposal_id in limits(capsys, data, "list", "--all").out
    assert proposal.proposal_id in limits(capsys, data, "list", "--state", "approved").out
    history = limits(capsys, data, "history", "p1").out.splitlines()
    assert [line.split()[1] for line in history] == ["version", "4", "3"]
    assert limits(capsys, data, "history", "p1", "--before", "2").out.count("\n") == 2
    versions = limits(capsys, data, "diff", "p1", "4", "3", "--format", "json").json()
    assert [row["direction"] for row in versions["changes"]] == ["WIDER", "WIDER"]
    assert limits(capsys, data, "diff", "p1", "3").out.count("TIGHTER") == 2


def test_refusals_have_their_exit_code_and_line(api: Served, data: Path, capsys: Capsys) -> None:
    """SAF-6: 4 what the state forbids or nobody knows, 2 what is not understood or outside the envelope."""
    proposal_id = proposed(capsys, data, "hard_max_speed_hz=45")["proposal"]["proposal_id"]
    close = ("p1", proposal_id, "--reason", "r", "--by")
    assert "second person" in limits(capsys, data, "approve", *close, "ANNA").line(4)
    assert "withdraw it" in limits(capsys, data, "reject", *close, "anna").line(4)
    assert "others reject it" in limits(capsys, data, "withdraw", *close, "bert").line(4)
    wide = limits(capsys, data, "propose", "p1", "hard_max_speed_hz=53", "--reason", "r", "--by", "anna")
    assert "hard_max_speed_hz: 53 Hz, expected at most 52 Hz" in wide.line(2)
    old = limits(
        capsys, data, "propose", "p1", "max_rate_hz_per_s=1", "--base", "2", "--reason", "r", "--by", "anna"
    )
    assert "version 3" in old.line(4)
    assert "nobody" in limits(capsys, data, "show", "nobody").line(4)
    for word in ("hard_max_speed_hz", "=3", "hard_max_speed_hz=x", "hard_max_speed_hz=nan", "a=inf"):
        told = limits(capsys, data, "propose", "p1", word, "--reason", "r").line(2)
        assert "expected KEY=NUMBER" in told
    assert "twice" in limits(capsys, data, "propose", "p1", "a=1", "a=2", "--reason", "r").line(2)
    assert "version's number" in limits(capsys, data, "diff", "p1", "3", "x").line(2)
    assert limits(capsys, data, "diff", "p1", "../3").code in {2, 4}
    assert limits(capsys, data, "withdraw", *close, "anna").code == 0
    rejected = proposed(capsys, data, "hard_max_speed_hz=44")["proposal"]["proposal_id"]
    told_rejected = limits(capsys, data, "reject", "p1", rejected, "--reason", "no", "--by", "bert")
    assert "REJECTED by bert: no" in told_rejected.out


def test_nothing_runs(data: Path, capsys: Capsys) -> None:
    """SAF-6: limits are changed through a running Calejo only."""
    assert "not running" in limits(capsys, data, "show", "p1").line(3)


def test_commissioning_needs_no_running_calejo(data: Path, capsys: Capsys) -> None:
    """SAF-6: straight into the database, with its audit record; every refusal in one line."""
    words = ("db", "commission", "--by", "carl", "p1", "hard_min_speed_hz=18", "hard_max_speed_hz=52")
    assert "db upgrade" in run(capsys, *words, "--data-dir", data).line(1)
    file = data / "calejo.db"
    schema.upgrade(sqlite_url(file))
    assert "'p1' is not known" in run(capsys, *words, "--data-dir", data).line(1)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("INSERT INTO sites (site_id, name) VALUES ('north', 'North')")
        connection.execute(
            "INSERT INTO pump_stations (station_id, site_id, name, modbus_unit_id) VALUES ('s1', 'north', 'S', 1)"
        )
        connection.execute(
            "INSERT INTO pumps (pump_id, station_id, name, control_type, default_setpoint_hz)"
            " VALUES ('p1', 's1', 'P', 'DIRECT_SPEED', 30)"
        )
    done = run(capsys, *words, "--data-dir", data)
    assert done.code == 0, done.err
    assert done.out.startswith("pump p1 is commissioned by carl in ")
    assert "--replace" in run(capsys, *words, "--data-dir", data).line(1)
    again = run(capsys, *words, "max_starts_per_hour=6", "--replace", "--format", "json", "--data-dir", data)
    assert again.json()["before"]["hard_max_speed_hz"] == 52.0
    assert "max_power_kw: -1" in run(capsys, *words, "max_power_kw=-1", "--replace", "--data-dir", data).line(
        1
    )
    with closing(sqlite3.connect(file)) as connection:
        rows = connection.execute("SELECT event_type, actor FROM audit_log ORDER BY sequence").fetchall()
        held = connection.execute(
            "SELECT max_speed_hz, max_starts_per_hour FROM pump_commissioning_envelopes"
        )
        assert held.fetchall() == [(52.0, 6)]
    assert rows == [("PUMP_COMMISSIONED", "carl")] * 2
