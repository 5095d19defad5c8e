"""The simulated plant's own account of what happened, apart from what it reports to Calejo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.demo.catalogue import STATIONS
from ops.demo.files import SavedPlant, SavedStation, holder, replace
from ops.demo.plant import Sensor, fresh_station
from ops.demo.simulator import SAVED
from tests.program import Program, until


@dataclass(frozen=True, slots=True)
class Truth:
    """One plant's folder."""

    folder: Path

    def lines(self, *, since: datetime) -> list[dict[str, Any]]:
        """Return the ground truth of all stations, a line a second each, from a moment on."""
        found: list[dict[str, Any]] = []
        for name in ("truth.1.jsonl", "truth.jsonl"):
            path = self.folder / name
            text = path.read_text() if path.exists() else ""
            # The last line may be under way.
            found += [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        return [line for line in found if datetime.fromisoformat(line["at"]) >= since]

    def pumps(self, *, since: datetime) -> dict[str, list[dict[str, Any]]]:
        """Return the same by pump."""
        by_pump: dict[str, list[dict[str, Any]]] = {}
        for line in self.lines(since=since):
            for pump in line["pumps"]:
                by_pump.setdefault(pump["pump"], []).append({"at": line["at"], **pump})
        return by_pump

    def now(self) -> dict[str, dict[str, Any]]:
        """Return each pump as the plant shows it now."""
        state = json.loads((self.folder / "state.json").read_text())
        return {pump["pump"]: pump for station in state["stations"] for pump in station["pumps"]}

    def unharmed(self, *, since: datetime) -> None:
        """Fail if anything was spilled or a pump ran dry."""
        lines = self.lines(since=since)
        assert lines, "the plant wrote no log"
        first, last = lines[0], lines[-1]
        assert last["at"] > first["at"]
        by_station = {line["station"]: line for line in lines}
        before = {line["station"]: line for line in reversed(lines)}
        for name, line in by_station.items():
            assert line["spilled_m3"] == before[name]["spilled_m3"], f"{name} spilled: {line}"
            for pump, earlier in zip(line["pumps"], before[name]["pumps"], strict=True):
                assert pump["dry_run_s"] == earlier["dry_run_s"], f"{pump['pump']} ran dry"

    def noticed(self, *, since: datetime) -> list[str]:
        """Return what the controllers noticed: seconds not under remote control, torn blocks, old epochs."""
        found = []
        for pump_id, lines in self.pumps(since=since).items():
            local = [line["at"] for line in lines if line["source"] != "remote"]
            if local:
                found.append(f"{pump_id}: {len(local)} s not under remote control, from {local[0]} on")
            found += [
                f"{pump_id}: {count} from {lines[0][count]} to {lines[-1][count]}"
                for count in ("torn", "old_epochs")
                if lines[-1][count] != lines[0][count]
            ]
        return found

    def pids(self) -> dict[str, int | None]:
        """Return the processes of plant and optimiser."""
        return {kind: holder(self.folder / f"{kind}.lock") for kind in ("plant", "optimiser")}

    def end(self, kind: str) -> None:
        """End one of them in order."""
        pid = self.pids()[kind]
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            until(lambda: self.pids()[kind] is None, within_s=10, what=f"the end of the demo's {kind}")


def truth_of(program: Program) -> Truth:
    """Return the plant of a demo run."""
    return Truth(Path(program.data_dir) / "demo")


def utc_now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  (a test has no actor's clock)


def full_wells(folder: Path, *, level_m: float) -> None:
    """Have a plant that is yet to be started begin with its wells filled to `level_m`."""
    folder.mkdir(parents=True)
    stations = {
        station.station_id: SavedStation(truth=fresh_station(station, level_m=level_m), sensor=Sensor())
        for station in STATIONS
    }
    replace(folder / SAVED, SavedPlant(origin_s=utc_now().timestamp(), stations=stations), durable=False)


@contextmanager
def plant_at(data_dir: Path, modbus_port: int) -> Iterator[Truth]:
    """Run a plant beside a program that is not told to be a demo, as a real one is there whoever runs Calejo."""
    truth = Truth(data_dir / "demo")
    process = subprocess.Popen(
        [
            sys.executable, "-m", "ops.demo", "plant", "--data-dir", str(data_dir),
            "--modbus", f"127.0.0.1:{modbus_port}",
        ],
        cwd=Path(__file__).resolve().parents[2], stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: truth.pids()["plant"], within_s=15, what="the plant")
        yield truth
    finally:
        process.terminate()
        process.wait(timeout=10)
