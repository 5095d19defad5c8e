"""Every other command: what it prints, its exit code, and the line it leaves when something is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.vocabulary import RefusedError
from actors.vocabulary.ids import ALARM, ROOT
from tests.unit.api.served import PUMP_1, SAFETY_1, Served, served
from tests.unit.ops.cli.runs import announce, run, run_process, silent_server, trust

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def api(data: Path, tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        folder = announce(data, rest=running.rest)
        trust(data, tmp_path)
        yield running
        folder.release()


@pytest.mark.parametrize("command", ["tree", "tags", "alarms"])
def test_lists_as_table_and_json(api: Served, data: Path, capsys: Capsys, command: str) -> None:
    """SUP-7, MOD-2: the same rows for people and for programs."""
    table = run(capsys, command, "--data-dir", data)
    listed = run(capsys, command, "--format", "json", "--data-dir", data)
    assert (table.code, listed.code) == (0, 0)
    assert len(table.out.splitlines()) == len(listed.json()) + 1
    first = "alarm_id" if command == "alarms" else ("address" if command == "tree" else "path")
    assert [row[first] for row in listed.json()] == [
        row[first] for row in api.get(f"/api/v1/{command}").json()
    ]


def test_explain_tells_the_chain(api: Served, data: Path, capsys: Capsys) -> None:
    """SAF-4: plan, calculator with inputs, rules, decision, wire and readback, in this order."""
    lines = run(capsys, "explain", "p1", "--data-dir", data).out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "pump", "plan", "calculator", "input", "rule", "safety", "wire", "readback", "wire", "readback",
    ]  # fmt: skip
    assert "power_cap: 44.00 Hz -> 35.00 Hz" in lines[4]
    assert (
        run(capsys, "explain", "p1", "--format", "json", "--data-dir", data).json()["plan"]["plan_id"] == 17
    )
    assert "nobody" in run(capsys, "explain", "nobody", "--data-dir", data).line(4)
    assert run(capsys, "explain", "../x?y", "--data-dir", data).code in {2, 4}


def test_priorities_as_table_and_json(api: Served, data: Path, capsys: Capsys) -> None:
    """SAF-2: the order of the rules, highest first, with the station's own values."""
    lines = run(capsys, "priorities", "s1", "--data-dir", data).out.splitlines()
    assert lines[0].split() == ["rank", "SAF-2", "rule", "decided", "effect", "values"]
    table = run(capsys, "priorities", "s1", "--format", "json", "--data-dir", data).json()
    assert [line.split()[2] for line in lines[1 : 1 + len(table["rows"])]] == [
        row["rule"] for row in table["rows"]
    ]
    [band] = [line for line in lines if " speed_band " in line]
    assert "hard_min_speed_hz" in band
    assert "nowhere" in run(capsys, "priorities", "nowhere", "--data-dir", data).line(4)


def test_explain_says_which_parts_are_silent(api: Served, data: Path, capsys: Capsys) -> None:
    """SAF-4: what does not answer is named, not left out."""
    api.tree.dead |= {SAFETY_1, PUMP_1}
    out = run(capsys, "explain", "p1", "--data-dir", data).out
    assert "plan        not known" in out
    assert "safety does not answer" in out
    assert f"silent      safety: {SAFETY_1}" in out
    assert f"silent      pump: {PUMP_1}" in out
    assert out.count("readback") == 2


def test_mode_set(api: Served, data: Path, capsys: Capsys) -> None:
    """CTL-7: AUTO, MANUAL with Hz and duration, OUT_OF_SERVICE."""
    manual = (
        "mode",
        "set",
        "p1",
        "manual",
        "--hz",
        "31.5",
        "--for",
        "15m",
        "--by",
        "anna",
        "--data-dir",
        data,
    )
    assert run(capsys, *manual).code == 0
    assert (api.tree.modes["p1"].setpoint_hz, api.tree.modes["p1"].expires_after_s) == (31.5, 900.0)
    answer = run(capsys, "mode", "set", "p1", "OUT_OF_SERVICE", "--format", "json", "--data-dir", data).json()
    assert (answer["mode"], answer["note"]) == ("OUT_OF_SERVICE", "durable")
    assert "AUTO" in run(capsys, "mode", "set", "p1", "MANUAL", "--data-dir", data).line(4)
    assert run(capsys, "mode", "set", "p1", "AUTO", "--data-dir", data).code == 0
    assert run(capsys, "mode", "set", "p1", "MANUAL", "--data-dir", data).code == 0
    assert api.tree.modes["p1"].setpoint_hz is None
    assert run(capsys, "mode", "set", "nobody", "AUTO", "--data-dir", data).code == 4
    api.tree.odd[PUMP_1] = RefusedError("no applied speed is known to take over")
    assert "take over" in run(capsys, "mode", "set", "p1", "MANUAL", "--data-dir", data).line(4)
    del api.tree.odd[PUMP_1]
    api.tree.dead.add(PUMP_1)
    assert PUMP_1 in run(capsys, "mode", "set", "p1", "AUTO", "--data-dir", data).line(1)


@pytest.mark.parametrize(
    "arguments",
    [
        ("p1", "MANUAL", "--hz", "nan"),
        ("p1", "MANUAL", "--hz", "inf"),
        ("p1", "MANUAL", "--hz", "-1"),
        ("p1", "MANUAL", "--hz", "fast"),
        ("p1", "AUTO", "--hz", "30"),
        ("p1", "AUTO", "--for", "1h"),
        ("p1", "MANUAL", "--hz", "30", "--for", "0"),
        ("p1", "MANUAL", "--hz", "30", "--for", "soon"),
        ("p1", "MANUAL", "--hz", "30", "--for", "nan"),
        ("p1", "LOCAL"),
        ("p1",),
    ],
)
def test_a_mode_that_makes_no_sense_is_usage(data: Path, capsys: Capsys, arguments: tuple[str, ...]) -> None:
    """CTL-7: 2 usage, before anybody is asked."""
    assert run(capsys, "mode", "set", *arguments, "--data-dir", data).code == 2


@pytest.mark.parametrize(
    "command",
    [
        ("tree",),
        ("tags",),
        ("alarms",),
        ("explain", "p1"),
        ("priorities", "s1"),
        ("mode", "set", "p1", "AUTO"),
        ("tree", "--retry", "/storage"),
        ("estop", "list"),
        ("estop", "clear", "--stop", "x", "--reason", "y"),
    ],
)
def test_not_running_is_3_and_says_how_to_start(data: Path, capsys: Capsys, command: tuple[str, ...]) -> None:
    """Issue 2 names: 3 not running."""
    assert "calejo run" in run(capsys, *command, "--data-dir", data).line(3)


def test_an_api_that_is_away_is_1(data: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 2 names: the run is there, its API is not: 1 failed, within the time-out."""
    with silent_server() as port:
        folder = announce(data, rest=port)
        ran = run(capsys, "tree", "--data-dir", data)
        folder.release()
    assert "restarting" in ran.line(1)
    assert ran.seconds < 7.0


def test_a_dead_part_is_1_and_named(api: Served, data: Path, capsys: Capsys) -> None:
    """API-1: 503 becomes 1 failed with the actor's address."""
    api.tree.dead |= {ROOT, ALARM}
    assert ALARM in run(capsys, "alarms", "--data-dir", data).line(1)
    assert run(capsys, "tree", "--data-dir", data).code == 1


def test_retry_takes_a_child_out_of_quarantine(api: Served, data: Path, capsys: Capsys) -> None:
    """SUP-5: and shows the tree after it."""
    ran = run(capsys, "tree", "--retry", "/sites/north/watchdog", "--data-dir", data)
    assert ran.code == 0
    assert any(type(message).__name__ == "RetryChild" for _, message in api.tree.asked)


def test_a_retry_that_starts_nothing_is_4_with_the_reason(api: Served, data: Path, capsys: Capsys) -> None:
    """SUP-5: the supervisor's refusal is the line; no tree is shown as if something had happened."""
    api.tree.odd["/sites/north"] = RefusedError("/sites/north/watchdog: nothing of it is in quarantine")
    ran = run(capsys, "tree", "--retry", "/sites/north/watchdog", "--data-dir", data)
    assert "nothing of it is in quarantine" in ran.line(4)
    assert ran.out == ""


# --------------------------------------------------------------------------- configuration, database


def test_each_setting_tells_where_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """CFG-1: at three in the morning one sees which file or variable set a value."""
    config = tmp_path / "calejo.yaml"
    config.write_text("ports: {modbus: 1502}\n")
    monkeypatch.setenv("CALEJO_CONTROL__PERIOD_S", "2")
    out = run(capsys, "config", "show", "--config", config).out
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in out.splitlines()}
    assert rows["ports.modbus"] == ["1502", str(config)]
    assert rows["control.period_s"] == ["2.0", "environment CALEJO_CONTROL__PERIOD_S"]
    assert rows["ports.opcua"] == ["4840", "default"]


def test_config_check_show_schema(tmp_path: Path, capsys: Capsys) -> None:
    """CFG-1: valid, what is in force with secrets masked, the schema."""
    config = tmp_path / "c.yaml"
    config.write_text("database: {url: 'postgresql+psycopg://u:hunter2@h/d'}\nports: {modbus: 5021}\n")
    assert run(capsys, "config", "check", "--config", config).out.startswith("valid")
    for form in ("table", "json"):
        shown = run(capsys, "config", "show", "--config", config, "--format", form).out
        assert "hunter2" not in shown
        assert "5021" in shown
    assert (
        run(capsys, "config", "show", "--config", config, "--format", "json").json()["ports"]["modbus"]
        == 5021
    )
    assert "Settings" in run(capsys, "config", "schema").json()["$defs"]
    config.write_text("ports: {modbus: 0}\n")
    for verb in ("check", "show"):
        line = run(capsys, "config", verb, "--config", config).line(1)
        assert all(word in line for word in ("c.yaml", "ports.modbus", "0", "65535"))
    assert "cannot be read" in run(capsys, "config", "check", "--config", tmp_path / "none.yaml").line(1)


def test_environment_reaches_the_commands(
    tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CFG-1: CALEJO_CONFIG names the file, CALEJO_DATA_DIR the folder, an option wins."""
    config = tmp_path / "c.json"
    config.write_text(json.dumps({"data_dir": str(tmp_path / "a"), "api": {"rest": 8090}}))
    monkeypatch.setenv("CALEJO_CONFIG", str(config))
    assert run(capsys, "config", "show", "--format", "json").json()["api"]["rest"] == 8090
    assert str(tmp_path / "a") in run(capsys, "tree").line(3)
    monkeypatch.setenv("CALEJO_DATA_DIR", str(tmp_path / "b"))
    assert str(tmp_path / "b") in run(capsys, "tree").line(3)
    assert str(tmp_path / "c") in run(capsys, "tree", "--data-dir", tmp_path / "c").line(3)


def test_db_upgrade_makes_and_keeps_the_schema(tmp_path: Path, capsys: Capsys) -> None:
    """DAT-1: idempotent; prints the revision."""
    data = tmp_path / "data"
    first = run(capsys, "db", "upgrade", "--format", "json", "--data-dir", data)
    assert first.code == 0
    assert first.json()["revision"]
    assert (data / "calejo.db").exists()
    assert (
        run(capsys, "db", "upgrade", "--data-dir", data).out
        == f"schema is at revision {first.json()['revision']}\n"
    )


def test_db_upgrade_of_what_cannot_be_written_is_one_line(tmp_path: Path, capsys: Capsys) -> None:
    """Issue 2: an unwritable data directory: one clear line, non-zero exit."""
    (tmp_path / "file").write_text("")
    assert "file" in run(capsys, "db", "upgrade", "--data-dir", tmp_path / "file" / "data").line(1)


def test_a_reader_that_goes_away_leaves_no_traceback(api: Served, data: Path) -> None:
    """`calejo tags | head -1` ends quietly."""
    command = f"{sys.executable} -m ops.cli.main tags --data-dir {data} | head -1"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=False)
    assert (len(ran.stdout.splitlines()), ran.stderr) == (1, "")


def test_help_names_the_exit_codes() -> None:
    """Issue 2 names: 0 done, 1 failed, 2 usage, 3 not running, 4 refused."""
    assert "3 not running" in run_process("--help").stdout
