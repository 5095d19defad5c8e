"""A run judged against its twin: equal when Calejo did nothing, worse when it did harm, never for a person's
deed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.vocabulary import DeviceError
from ops.demo.__main__ import main
from ops.demo.files import TRUTH, TRUTH_BEFORE, Control
from ops.demo.machine import Machine
from ops.demo.plant import SensorFault, Storm
from ops.demo.plc import Block
from ops.demo.truth import Line, Verdict, judge, read_log, table
from tests.unit.ops.demo.timeline import DAY_S, fresh

START_S = DAY_S + 7 * 3_600
Blocks = Callable[[str, float], Block | None]


class Run:
    """The plant's process without the process: an hour in a moment, a line each five seconds."""

    def __init__(self, *only: str, control: Control | None = None) -> None:
        self.machine = Machine(
            saved=None, retained={}, seed=7, storm=Storm(first_s=600.0), day_s=START_S, reboot_s=30.0
        )
        self.machine.stations = {
            name: station for name, station in self.machine.stations.items() if not only or name in only
        }
        self.t_s = START_S
        self.lines: list[dict[str, Any]] = []
        self.log()
        self.machine.obey(control or Control(), now_s=self.t_s, day_s=self.t_s)

    def log(self) -> None:
        at = datetime.fromtimestamp(self.t_s, tz=UTC).isoformat(timespec="milliseconds")
        self.lines += [{"at": at, **station.line()} for station in self.machine.stations.values()]

    def go(self, seconds: float, blocks: Blocks = lambda pump, t_s: None) -> Run:
        end_s = self.t_s + seconds
        while self.t_s < end_s:
            self.t_s += 1.0
            for station in self.machine.stations.values():
                for index, pump in enumerate(station.station.pumps):
                    block = blocks(pump.pump_id, self.t_s)
                    if block is not None:
                        station.receive(index, block, now_s=self.t_s)
            self.machine.tick(now_s=self.t_s, day_s=self.t_s, dt_s=1.0)
            if self.t_s % 5 == 0:
                self.log()
        return self

    def verdicts(self) -> dict[str, Verdict]:
        lines = [msgspec.convert(line, Line, strict=False) for line in self.lines]
        return {verdict.station: verdict for verdict in judge(lines)}


def stopped(pump: str, t_s: float) -> Block:
    """A Calejo that is well and wants nothing to run."""
    return fresh(0.0, t_s)


def racing(pump: str, t_s: float) -> Block:
    """A Calejo that wants everything to run, whatever the level."""
    return fresh(50.0, t_s)


def test_a_plant_that_was_alone_is_its_own_twin() -> None:
    """OPS-4: through a storm, a drifting sensor, a reboot and hand operation; from the rounded log alone."""
    control = Control(
        sensors={"hill": SensorFault.DRIFTING}, reboots={"mill": 1}, hand_hz={"harbour-2": 25.0}
    )
    verdicts = Run(control=control).go(3_600).verdicts()
    assert set(verdicts) == {"harbour", "hill", "mill"}
    for verdict in verdicts.values():
        assert verdict.hours == 1.0
        assert verdict.worse == ()
        assert verdict.run.starts == verdict.twin.starts > 0
        assert verdict.run.energy_kwh == pytest.approx(verdict.twin.energy_kwh, rel=0.02)
        assert verdict.run.level_m_max == pytest.approx(verdict.twin.level_m_max, abs=0.02)


def test_setpoints_that_let_a_well_overflow_are_worse_than_none() -> None:
    """OPS-4, WDG-4: the twin would have pumped."""
    verdicts = Run("harbour").go(3_000, stopped).verdicts()
    harbour = verdicts["harbour"]
    assert harbour.run.spilled_m3 > 1.0
    assert harbour.twin.spilled_m3 == 0.0
    assert harbour.worse == (f"spilled {harbour.run.spilled_m3:.2f} m3 more",)
    assert "worse than on local levels alone: harbour spilled" in table(list(verdicts.values()))


def test_setpoints_that_run_a_pump_dry_are_worse_than_none() -> None:
    """OPS-4, WDG-4: a sensor that is stuck high, and a Calejo that believes it."""
    run = Run("mill", "hill", control=Control(sensors={"mill": SensorFault.STUCK}))
    lines = run.go(2_400, racing).verdicts()
    assert lines["mill"].run.dry_run_s > 60
    assert lines["mill"].twin.dry_run_s == 0.0
    assert any(what.startswith("ran dry") for what in lines["mill"].worse)
    assert lines["hill"].worse == (), "there the controller's own cut-out kept the pumps from running dry"


def test_a_stop_that_somebody_set_binds_the_twin_too() -> None:
    """EST-6: what a person stopped stays stopped; a spill that follows is not the setpoints' doing."""

    def inhibited(pump: str, t_s: float) -> Block:
        return fresh(0.0, t_s, run_inhibit=True, remote_enabled=False)

    harbour = Run("harbour").go(3_000, inhibited).verdicts()["harbour"]
    assert harbour.run.spilled_m3 > 1.0
    assert harbour.twin.spilled_m3 == pytest.approx(harbour.run.spilled_m3, abs=0.01)
    assert harbour.worse == ()


def test_a_plant_that_was_begun_afresh_has_two_lives_that_add_up() -> None:
    """OPS-4: somebody emptied the folder but for the log."""
    first, second = Run("hill").go(600), Run("hill").go(600)
    first.lines += second.lines
    verdict = first.verdicts()["hill"]
    alone = second.verdicts()["hill"]
    assert verdict.hours == pytest.approx(2 * alone.hours, abs=0.001)
    assert verdict.run.starts == 2 * alone.run.starts
    assert verdict.twin.energy_kwh == pytest.approx(2 * alone.twin.energy_kwh)


def write(path: Path, lines: list[dict[str, Any]], end: bytes = b"") -> None:
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines) + end)


def test_the_command_reads_both_files_and_says_it_with_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """OPS-4: 0: no worse; 1: worse; a line that is just being written is left out."""
    folder = tmp_path / "demo"
    folder.mkdir()
    command = ["truth", "--data-dir", str(tmp_path)]
    assert main(command) == 1
    assert "no ground truth yet" in capsys.readouterr().err
    lines = Run().go(120).lines
    write(folder / TRUTH_BEFORE, lines[:30])
    write(folder / TRUTH, lines[30:], end=b'{"at": "2026-')
    assert len(list(read_log(folder))) == len(lines)
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "no spill and no dry run that the plant on local levels alone would not have had" in told
    assert [line.split()[0] for line in told.splitlines()[1:7:2]] == ["harbour", "hill", "mill"]
    (folder / TRUTH_BEFORE).unlink()
    write(folder / TRUTH, Run("harbour").go(3_000, stopped).lines)
    assert main([*command, "--format", "json"]) == 1
    shown = msgspec.json.decode(capsys.readouterr().out)
    assert [row["station"] for row in shown if row["worse"]] == ["harbour"]
    assert shown[0]["run"]["starts"] == 0 < shown[0]["twin"]["starts"]


def test_a_log_that_is_none_is_refused_with_its_line(tmp_path: Path) -> None:
    """OPS-4: named by file and line."""
    (tmp_path / TRUTH).write_bytes(b'{"at": 1}\n')
    with pytest.raises(DeviceError, match=r"truth\.jsonl:1: "):
        list(read_log(tmp_path))
