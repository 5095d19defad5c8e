"""Was the plant better off alone? The ground truth of a run beside its twin on local levels, pure but for the
reading.

The twin begins where the log begins and lives through the same inflow, the same faults of its sensor, the same
stops, hand operation and reboots; only Calejo's setpoints never reach it. A run that spilled or ran dry where
its twin did not is worse (EST-6, WDG-4: losing Calejo is safe; so must having it be).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from actors.vocabulary import DeviceError
from ops.demo.catalogue import STATIONS, DemoStation
from ops.demo.files import TRUTH, TRUTH_BEFORE, SavedStation
from ops.demo.machine import Station
from ops.demo.plant import PumpTruth, Sensor, SensorFault, StationTruth
from ops.demo.plc import PumpPanel, Retained, Source

_STEP_S_MAX: Final = 1.0
_HOUR_S: Final = 3_600.0
# The log is rounded, and a twin's scans fall between those of the run.
SPILL_M3_WORSE: Final = 0.01
DRY_RUN_S_WORSE: Final = 1.0


class PumpLine(msgspec.Struct, frozen=True, kw_only=True):
    """One pump in a line of the log; see `machine.Station.line`."""

    pump: str
    speed_hz: float
    command_hz: float
    source: Source
    inhibited: bool
    starts: int
    dry_run_s: float
    energy_kwh: float


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the log: a station at one moment, its counts since the plant was first started."""

    at: datetime
    station: str
    passed_s: float
    level_m: float
    sensor: SensorFault
    controller_up: bool
    inflow_m3: float
    spilled_m3: float
    pumps: tuple[PumpLine, ...]


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """What a station lost and used in the time of the log; levels in m above the well's floor."""

    spilled_m3: float = 0.0
    dry_run_s: float = 0.0
    starts: int = 0
    energy_kwh: float = 0.0
    level_m_min: float = math.inf
    level_m_max: float = -math.inf

    def plus(self, other: Ledger) -> Ledger:
        """Return both one after the other."""
        return Ledger(
            spilled_m3=self.spilled_m3 + other.spilled_m3,
            dry_run_s=self.dry_run_s + other.dry_run_s,
            starts=self.starts + other.starts,
            energy_kwh=self.energy_kwh + other.energy_kwh,
            level_m_min=min(self.level_m_min, other.level_m_min),
            level_m_max=max(self.level_m_max, other.level_m_max),
        )


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One station: how long the log is, the run, its twin, and in what the run was worse (empty: in nothing)."""

    station: str
    hours: float
    run: Ledger
    twin: Ledger

    @property
    def worse(self) -> tuple[str, ...]:
        """What the run lost that the station alone would not have lost."""
        spilled_m3 = self.run.spilled_m3 - self.twin.spilled_m3
        dry_run_s = self.run.dry_run_s - self.twin.dry_run_s
        return (
            *([f"spilled {spilled_m3:.2f} m3 more"] if spilled_m3 > SPILL_M3_WORSE else []),
            *([f"ran dry {dry_run_s:.0f} s longer"] if dry_run_s > DRY_RUN_S_WORSE else []),
        )


def read_log(folder: Path) -> Iterator[Line]:
    """Yield the lines of a demo's ground truth, the oldest first; one that is being written is left out.

    Raises:
        DeviceError: there is no log, it cannot be read, or a line is none.

    """
    decoder = msgspec.json.Decoder(Line)
    found = [path for path in (folder / TRUTH_BEFORE, folder / TRUTH) if path.exists()]
    if not found:
        raise DeviceError(f"{folder / TRUTH}: there is no ground truth yet")
    for path in found:
        try:
            with path.open("rb") as file:
                for number, text in enumerate(file, 1):
                    if text.endswith(b"\n"):
                        yield _decoded(decoder, text, f"{path}:{number}")
        except OSError as error:
            raise DeviceError(f"{path}: {error.strerror}") from error


def judge(lines: Iterable[Line]) -> list[Verdict]:
    """Let every station's twin live through the lines (in order of time) and return what became of both."""
    twins: dict[str, _Twin] = {}
    stations = {station.station_id: station for station in STATIONS}
    for line in lines:
        if line.station not in twins:
            if line.station not in stations:
                raise DeviceError(f"the ground truth names {line.station!r}, which is no station of the demo")
            twins[line.station] = _Twin(stations[line.station], line)
        twins[line.station].live(line)
    return [twin.verdict() for twin in twins.values()]


def table(verdicts: Sequence[Verdict]) -> str:
    """Return the verdicts for people: a line per station and life, then the judgement."""
    columns = ("station", "hours", "", "spilled m3", "dry run s", "starts", "energy kWh", "level m")
    rows = [columns]
    for verdict in verdicts:
        for name, ledger in (("run", verdict.run), ("alone", verdict.twin)):
            rows.append(
                (
                    verdict.station,
                    f"{verdict.hours:.2f}",
                    name,
                    f"{ledger.spilled_m3:.2f}",
                    f"{ledger.dry_run_s:.0f}",
                    f"{ledger.starts}",
                    f"{ledger.energy_kwh:.2f}",
                    f"{ledger.level_m_min:.2f} to {ledger.level_m_max:.2f}",
                )
            )
    widths = [max(len(row[place]) for row in rows) for place in range(len(columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    worse = [f"{verdict.station} {what}" for verdict in verdicts for what in verdict.worse]
    lines.append(
        f"worse than on local levels alone: {'; '.join(worse)}"
        if worse
        else "no spill and no dry run that the plant on local levels alone would not have had"
    )
    return "\n".join(line.rstrip() for line in lines)


def _decoded(decoder: msgspec.json.Decoder[Line], text: bytes, place: str) -> Line:
    try:
        return decoder.decode(text)
    except msgspec.DecodeError as error:
        raise DeviceError(f"{place}: {error}") from error


class _Twin:
    """A station that hears nothing, beside the lines of the one that did."""

    def __init__(self, station: DemoStation, first: Line) -> None:
        self._station = station
        self._passed_s = 0.0
        self._run, self._alone = Ledger(), Ledger()
        self._begin(first)

    def _begin(self, line: Line) -> None:
        """Begin a life where the line stands."""
        truth = StationTruth(
            level_m=line.level_m, pumps=tuple(PumpTruth(speed_hz=pump.speed_hz) for pump in line.pumps)
        )
        self._first = self._last = line
        self._body = Station(self._station, SavedStation(truth=truth, sensor=Sensor()), _retained(line))
        self._levels = Ledger(level_m_min=line.level_m, level_m_max=line.level_m)
        self._twin_levels = self._levels

    def live(self, line: Line) -> None:
        """Pass the time to this line."""
        before = self._last
        if line.passed_s < before.passed_s or line.inflow_m3 < before.inflow_m3:
            # The plant began afresh: somebody emptied its folder.
            self._end()
            self._begin(line)
            return
        self._last = line
        self._levels = self._levels.plus(Ledger(level_m_min=line.level_m, level_m_max=line.level_m))
        lasted_s = line.passed_s - before.passed_s
        if lasted_s > 0.0:
            self._pass(line, lasted_s, (line.inflow_m3 - before.inflow_m3) / lasted_s * _HOUR_S)

    def _pass(self, line: Line, lasted_s: float, inflow: float) -> None:
        body, day_s = self._body, line.at.timestamp()
        retained = _retained(line)
        body.sensor = body.sensor.with_fault(line.sensor, level_m=body.truth.level_m, now_s=day_s - lasted_s)
        body.memory = msgspec.structs.replace(
            body.memory,
            pumps=tuple(
                msgspec.structs.replace(memory, retained=retained[pump.pump_id])
                for memory, pump in zip(body.memory.pumps, self._station.pumps, strict=True)
            ),
        )
        if line.controller_up:
            body.down_until_s = None
        elif body.down_until_s is None:
            body.reboot(math.inf)
        panels = {
            pump.pump: PumpPanel(hand_hz=pump.command_hz)
            for pump in line.pumps
            if pump.source is Source.PANEL
        }
        steps = math.ceil(lasted_s / _STEP_S_MAX)
        part_s = lasted_s / steps
        for left in reversed(range(steps)):
            at_s = day_s - left * part_s
            body.pass_time(inflow=inflow, now_s=at_s, day_s=at_s, dt_s=part_s, panels=panels)
            level_m = body.truth.level_m
            self._twin_levels = self._twin_levels.plus(Ledger(level_m_min=level_m, level_m_max=level_m))

    def _end(self) -> None:
        """Close a life's accounts."""
        first, last, truth = self._first, self._last, self._body.truth
        self._passed_s += last.passed_s - first.passed_s
        self._run = self._run.plus(self._levels).plus(_between(first, last))
        self._alone = self._alone.plus(self._twin_levels).plus(
            Ledger(
                spilled_m3=truth.spilled_m3,
                dry_run_s=sum(pump.dry_run_s for pump in truth.pumps),
                starts=sum(pump.starts for pump in truth.pumps),
                energy_kwh=sum(pump.energy_kwh for pump in truth.pumps),
            )
        )

    def verdict(self) -> Verdict:
        """Close the accounts; nothing lives after that."""
        self._end()
        return Verdict(
            station=self._station.station_id,
            hours=round(self._passed_s / _HOUR_S, 4),
            run=self._run,
            twin=self._alone,
        )


def _between(first: Line, last: Line) -> Ledger:
    return Ledger(
        spilled_m3=last.spilled_m3 - first.spilled_m3,
        dry_run_s=sum(pump.dry_run_s for pump in last.pumps) - sum(pump.dry_run_s for pump in first.pumps),
        starts=sum(pump.starts for pump in last.pumps) - sum(pump.starts for pump in first.pumps),
        energy_kwh=sum(pump.energy_kwh for pump in last.pumps) - sum(pump.energy_kwh for pump in first.pumps),
    )


def _retained(line: Line) -> Mapping[str, Retained]:
    return {pump.pump: Retained(inhibited=pump.inhibited) for pump in line.pumps}
