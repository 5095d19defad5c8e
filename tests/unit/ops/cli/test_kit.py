"""`calejo tags`, `plc` and `wire` as people type them: formats, choices, files, and the line when it goes wrong."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import openpyxl
import pytest

from actors.vocabulary import Settings
from actors.vocabulary.settings import ApiSettings, PortSettings, SiteSettings
from ops.cli.kit_parser import FORMATS
from ops.cli.wire import endpoints
from ops.rundir import DataDirectory
from tests.unit.api.served import Served, served
from tests.unit.ops.cli.runs import announce, run, run_process, trust

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


@pytest.mark.parametrize("form", FORMATS[1:])
def test_every_format_to_a_pipe_and_to_a_file(api: Served, data: Path, tmp_path: Path, form: str) -> None:
    """MOD-2: the same bytes in a pipe and in a file, of the chosen station alone."""
    piped = run_process("tags", "--station", "s2", "--format", form, "--data-dir", data)
    assert (piped.returncode, piped.stderr) == (0, "")
    assert "p3" in piped.stdout
    assert "p1" not in piped.stdout
    out = tmp_path / f"map.{form}"
    filed = run_process("tags", "--station", "S2", "--format", form, "--out", out, "--data-dir", data)
    assert (filed.returncode, filed.stdout) == (0, "")
    assert f"{out}: " in filed.stderr
    assert out.read_text().splitlines() == piped.stdout.splitlines()


def test_the_map_in_numbers(api: Served, data: Path, tmp_path: Path, capsys: Capsys) -> None:
    """MOD-2: JSON and CSV have every row; a workbook for WinCC is one; names of the other side are the caller's."""
    rows = run(capsys, "tags", "--format", "json", "--data-dir", data).json()
    assert rows == api.get("/api/v1/tags").json()
    listed = run_process("tags", "--format", "csv", "--data-dir", data)
    assert len(list(csv.reader(io.StringIO(listed.stdout)))) == len(rows) + 1
    out = tmp_path / "map.XLSX"
    assert run(capsys, "tags", "--format", "wincc", "--out", out, "--data-dir", data).code == 0
    assert openpyxl.load_workbook(out).sheetnames == ["Hmi Tags"]
    named = ("--format", "ignition", "--server", "North A", "--pump", "p1", "--data-dir", data)
    assert '"opcServer": "North A"' in run_process("tags", *named).stdout
    prefixed = ("--format", "factorytalk", "--shortcut", "/Area::[X]", "--data-dir", data)
    assert '"/Area::[X]north/s1/p1/setpoint"' in run_process("tags", *prefixed).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("tags", "--station", "s9"), 2, "no station 's9'"),
        (("tags", "--site", "south"), 2, "no site 'south'"),
        (("tags", "--station", "s2", "--pump", "p1"), 2, "no pump 'p1'"),
        (("tags", "--out", "x.txt"), 2, "another --format than table"),
        (("tags", "--format", "csv", "--out", "/nowhere/x"), 1, "not written"),
        (("plc", "st", "s9"), 2, "no station 's9'"),
        (("plc", "sheet", "s1", "--out", "/nowhere/x"), 1, "not written"),
        (("wire", "watch", "--pump", "p9"), 2, "no pump 'p9'"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    api: Served, data: Path, capsys: Capsys, arguments: tuple[str, ...], code: int, told: str
) -> None:
    """MOD-2: exit code and reason."""
    assert told in run(capsys, *arguments, "--data-dir", data).line(code)


@pytest.mark.parametrize("arguments", [("tags",), ("plc", "st", "s1"), ("wire", "watch"), ("wire", "check")])
def test_without_a_run(tmp_path: Path, capsys: Capsys, arguments: tuple[str, ...]) -> None:
    """SUP-7: the kit speaks of the running map; without a run it says so."""
    assert "not running" in run(capsys, *arguments, "--data-dir", tmp_path).line(3)


def test_text_and_sheet_of_a_station(api: Served, data: Path, tmp_path: Path, capsys: Capsys) -> None:
    """WDG-4: for the station that was named, printed or in a file."""
    out = tmp_path / "s1.st"
    assert run(capsys, "plc", "st", "S1", "--out", out, "--data-dir", data).code == 0
    assert "PROGRAM CALEJO_STATION_S1" in out.read_text()
    assert out.read_text() == run(capsys, "plc", "st", "s1", "--data-dir", data).out
    sheet = run(capsys, "plc", "sheet", "s2", "--data-dir", data)
    assert sheet.out.startswith("# Commissioning sheet: station s2, site north\n")


def test_where_each_site_is_served(tmp_path: Path) -> None:
    """DAT-4: own ports are own ports; of several sites without any, none is claimed to be served unless it is sure."""
    folder = DataDirectory(tmp_path)
    folder.acquire()
    own = SiteSettings(ports=PortSettings(host="::1", opcua=4_850, modbus=5_050))
    settings = Settings(
        data_dir=str(tmp_path), api=ApiSettings(rest=1), ports=PortSettings(modbus=5_021), sites={"east": own}
    )
    folder.announce(settings, started_at="2026-11-21T00:00:00+00:00", ray_address="", namespace="calejo")
    try:
        alone = endpoints(tmp_path, ["east", "north"])
        assert (alone["east"].opcua_url, alone["east"].modbus_port) == ("opc.tcp://[::1]:4850", 5_050)
        assert (alone["north"].modbus_host, alone["north"].modbus_port) == ("127.0.0.1", 5_021)
        assert (alone["east"].dark, alone["north"].dark) == ("", "")
        several = endpoints(tmp_path, ["east", "north", "south"])
        assert several["east"].dark == ""
        assert several["north"].dark
        assert several["south"].dark
    finally:
        folder.release()


def test_a_site_that_nobody_serves_fails_the_check(
    api: Served, data: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DAT-4: no endpoint is a failure of the check, and nothing to watch."""
    monkeypatch.setattr("ops.cli.wire.unserved", lambda *_: {"north": "nobody has the ports"})
    report = run(capsys, "wire", "check", "--format", "json", "--data-dir", data)
    assert report.code == 1
    assert json.loads(report.out)["findings"][0]["detail"] == "nobody has the ports"
    assert "no endpoint serves" in run(capsys, "wire", "watch", "--data-dir", data).line(1)
