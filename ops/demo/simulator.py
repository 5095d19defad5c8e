"""The plant's process: lets time pass, talks to Calejo as the stations' controllers would, keeps the ground
truth.

It outlives Calejo: a connection that fails is opened again for ever, elsewhere if `target.json` says so, and
meanwhile the stations pump on their own levels. It ends when told, or when Calejo has been silent for
`alone_s`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from actors.vocabulary import DeviceError
from ops.demo.catalogue import demo_site
from ops.demo.files import (
    CONTROL,
    RETAINED,
    STATE,
    TARGET,
    Control,
    RetainedMemory,
    SavedPlant,
    Target,
    TruthLog,
    read,
    replace,
)
from ops.demo.link import Link, PumpPlace, places
from ops.demo.machine import Machine, Station
from ops.demo.plc import Retained
from ops.demo.settings import DemoSettings

SAVED: Final = "saved.json"
_NS: Final = 1e9


def _now_s() -> float:
    return time.monotonic_ns() / _NS


def _day_s() -> float:
    return time.time_ns() / _NS


class Simulator:
    """One plant in one folder."""

    def __init__(self, folder: Path, settings: DemoSettings) -> None:
        """Go on where the folder says the plant was left.

        Raises:
            DeviceError: the folder cannot be read.

        """
        self._folder, self._settings = folder, settings
        self._places = places(demo_site())
        self._log = TruthLog(folder, settings.log_bytes_max)
        self._machine = Machine(
            saved=self._left(),
            retained=self._remembered(),
            seed=settings.seed,
            storm=settings.storm,
            day_s=_day_s(),
            reboot_s=settings.reboot_s,
        )
        self._machine.know(read(folder / CONTROL, Control) or Control())
        self._written_retained: dict[str, Retained] = {}
        self._control_seen: tuple[int, int] | None = None
        self._complaint = ""
        self._heard_s = _now_s()
        self._connected: dict[str, bool] = dict.fromkeys(self._machine.stations, False)
        self._answers = 0
        self._faults = 0
        self._last_fault = ""
        self.ended = asyncio.Event()

    def _left(self) -> SavedPlant | None:
        try:
            return read(self._folder / SAVED, SavedPlant)
        except DeviceError as error:
            print(f"demo plant: {error}; starting afresh", file=sys.stderr)
            return None

    def _remembered(self) -> dict[str, Retained]:
        """Read what the controllers retained; memory that is damaged counts as a stop until somebody releases
        it.
        """
        try:
            memory = read(self._folder / RETAINED, RetainedMemory)
        except DeviceError as error:
            print(f"demo plant: {error}; every pump is inhibited", file=sys.stderr)
            return {pump_id: Retained(inhibited=True) for pump_id in self._places}
        return memory.pumps if memory else {}

    async def run(self) -> None:
        """Run until told to end, or alone for too long."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._passing_time()), group.create_task(self._keeping())]
            tasks += [
                group.create_task(self._talking(station)) for station in self._machine.stations.values()
            ]
            await self.ended.wait()
            for task in tasks:
                task.cancel()
        self._keep()

    async def _passing_time(self) -> None:
        before_s = _now_s()
        while True:
            await asyncio.sleep(self._settings.scan_s)
            now_s = _now_s()
            self._look_at_control(now_s)
            self._machine.tick(now_s=now_s, day_s=_day_s(), dt_s=now_s - before_s)
            before_s = now_s
            self._remember()
            if now_s - self._heard_s > self._settings.alone_s:
                self.ended.set()

    def _remember(self) -> None:
        """Make a stop durable in the scan that took it: the controller's memory needs no power."""
        retained = self._machine.retained()
        if retained == self._written_retained:
            return
        try:
            replace(self._folder / RETAINED, RetainedMemory(pumps=retained), durable=True)
        except DeviceError as error:
            self._complaint = str(error)
            return
        self._written_retained = retained

    def _look_at_control(self, now_s: float) -> None:
        try:
            status = (self._folder / CONTROL).stat()
        except OSError:
            return
        seen = (status.st_mtime_ns, status.st_ino)
        if seen == self._control_seen:
            return
        self._control_seen = seen
        try:
            control = read(self._folder / CONTROL, Control)
        except DeviceError as error:
            self._complaint = str(error)
            return
        self._complaint = ""
        if control is not None:
            self._machine.obey(control, now_s=now_s, day_s=_day_s())

    async def _keeping(self) -> None:
        while True:
            self._keep()
            await asyncio.sleep(self._settings.log_s)

    def _keep(self) -> None:
        at = datetime.fromtimestamp(_day_s(), tz=UTC).isoformat(timespec="milliseconds")
        lines = [{"at": at, **station.line()} for station in self._machine.stations.values()]
        state = {
            "at": at,
            "pid": os.getpid(),
            "connected": self._connected,
            "heard_s_ago": round(_now_s() - self._heard_s, 1),
            "answers": self._answers,
            "faults": self._faults,
            "last_fault": self._last_fault,
            "complaint": self._complaint,
            "stations": lines,
        }
        try:
            self._log.write(lines)
            replace(self._folder / SAVED, self._machine.saved(), durable=False)
            replace(self._folder / STATE, state, durable=False)
        except DeviceError as error:
            # The plant goes on without a log; that it could not write is all it can tell.
            self._complaint = str(error)

    # --- The controllers' side of the wire
    # ---------------------------------------------------------------------

    async def _talking(self, station: Station) -> None:
        while True:
            try:
                await self._conversation(station)
            except DeviceError as error:
                self._faults += 1
                self._last_fault = str(error)
            self._connected[station.station.station_id] = False
            await asyncio.sleep(self._settings.reconnect_s)

    async def _conversation(self, station: Station) -> None:
        """Read and write until something fails.

        Raises:
            DeviceError: the target is unknown or does not answer.

        """
        target = read(self._folder / TARGET, Target)
        if target is None or not station.up(_now_s()):
            return
        link = Link(target.host, target.port, answer_s=self._settings.answer_s)
        try:
            if not await link.open():
                raise DeviceError(f"{target.host}:{target.port} does not answer")
            self._connected[station.station.station_id] = True
            await self._exchange(station, link)
        finally:
            link.close()

    async def _exchange(self, station: Station, link: Link) -> None:
        own = [(index, self._places[pump.pump_id]) for index, pump in enumerate(station.station.pumps)]
        write_due_s = _now_s()
        while station.up(_now_s()):
            due_s = _now_s() + self._settings.read_s
            for index, place in own:
                block = await link.read(place)
                self._heard()
                station.receive(index, block, now_s=_now_s())
            if _now_s() >= write_due_s:
                write_due_s = max(write_due_s + self._settings.write_s, _now_s())
                await self._report(station, link, own)
            await asyncio.sleep(max(0.0, due_s - _now_s()))

    async def _report(self, station: Station, link: Link, own: list[tuple[int, PumpPlace]]) -> None:
        station.beat()
        for index, place in own:
            await link.write(place, station.feedback(index, self._machine.panels))
            self._heard()

    def _heard(self) -> None:
        self._answers += 1
        self._heard_s = _now_s()


def state_of(folder: Path) -> dict[str, Any]:
    """Return what the plant showed last.

    Raises:
        DeviceError: there is nothing, or it cannot be read.

    """
    state = read(folder / STATE, dict)
    if state is None:
        raise DeviceError(f"{folder / STATE}: the demo plant has shown nothing yet")
    return msgspec.convert(state, dict[str, Any])
