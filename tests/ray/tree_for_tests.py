"""A small tree of trivial actors under real supervisors: the shape of Calejo's own, without its weight."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from actors.runtime import Ports
from actors.start import WorkerStart
from actors.vocabulary import (
    Address,
    ControlType,
    FailsafeStrategy,
    PumpConfig,
    Role,
    SiteConfig,
    StationConfig,
)
from actors.vocabulary.ids import ROOT
from supervisors.memory import Memory, MemoryFile, NoMemory, Remembered
from supervisors.roles import memory_path
from supervisors.runtime import Runtime
from supervisors.spec import ChildSpec, GroupSpec, Intensity
from supervisors.supervisor import Supervisor
from supervisors.tree import root_tree, site_tree


def pump(number: int, station_id: str = "s1") -> PumpConfig:
    return PumpConfig(
        pump_id=f"p{number}",
        station_id=station_id,
        name=f"Pump {number}",
        control_type=ControlType.DIRECT_SPEED,
        default_setpoint_hz=30.0,
        failsafe_strategy=FailsafeStrategy.DEFAULT_SETPOINT,
        wire_slot=number - 1,
    )


def site(*pumps: PumpConfig, site_id: str = "north", name: str = "North") -> SiteConfig:
    station = StationConfig(
        station_id="s1", site_id=site_id, name="Station 1", timezone="UTC", modbus_unit_id=1, pumps=pumps
    )
    return SiteConfig(site_id=site_id, name=name, timezone="UTC", stations=(station,))


class CountingEpochs:
    """Epochs in memory of the supervisor's process."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def issue(self, station_id: str) -> object:
        from actors.messages import Epoch

        self._last[station_id] = self._last.get(station_id, 0) + 1
        return Epoch(0, self._last[station_id])

    def last(self, station_id: str) -> object:
        from actors.messages import Epoch

        return Epoch(0, self._last[station_id]) if station_id in self._last else None


def _without_endless_work(spec: ChildSpec | GroupSpec) -> ChildSpec | GroupSpec:
    """The tree's own specs, with the intensity that the tests count on written out."""
    if isinstance(spec, ChildSpec):
        return msgspec.structs.replace(spec, intensity=Intensity(restarts_max=5, period_s=60.0))
    children = tuple(_without_endless_work(child) for child in spec.children)
    return msgspec.structs.replace(spec, children=children)


def make_supervisor(ports: Ports, start: WorkerStart, runtime: Runtime) -> Supervisor:
    def shape(sites: Sequence[SiteConfig], holder: str | None) -> GroupSpec:
        if start.address == ROOT:
            tree = root_tree(start.settings, sites, holder=holder)
        else:
            tree = site_tree(start.settings, sites[0])
        shaped = _without_endless_work(tree)
        assert isinstance(shaped, GroupSpec)
        return shaped

    if start.address == ROOT and runtime.run_id.startswith("sim"):
        memory: Memory = MEMORY
    elif start.address == ROOT:
        memory = MemoryFile(memory_path(start.settings))
    else:
        memory = NoMemory()
    epochs = CountingEpochs() if start.role is Role.SUPERVISOR else None
    return Supervisor(ports, start, runtime, shape=shape, epochs=epochs, memory=memory)  # type: ignore[arg-type]


class SharedMemory(NoMemory):
    """Outlives the simulated root; one scenario at a time."""

    def __init__(self) -> None:
        self.content = Remembered()

    def load(self) -> Remembered:
        return self.content

    def save(self, remembered: Remembered) -> None:
        self.content = remembered


MEMORY = SharedMemory()


def address(text: str) -> Address:
    return Address(text)
