"""What goes wrong in a story, as data: faults drawn from a seed, in the order of their times.

Each seed first draws which kinds of fault its world knows at all: a world with few kinds repeats them until they meet
each other, which a world with every kind seldom does.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from enum import StrEnum, unique
from typing import Final, TypeAlias

import msgspec

from actors.safety.latch import EMERGENCY_STOP, OUT_OF_SERVICE
from actors.vocabulary import Address, Scope, SiteConfig
from ops.demo.plant import SensorFault
from supervisors.simulated.network import NetworkFaults
from tests.simulation.database import PlanKind

# A world knows each kind of fault with this chance, and so many faults happen in it.
_KNOWN: Final = 0.6
_FAULTS: Final = (4, 20)
_LATE_S_MAX: Final = 0.2
_HANGS: Final = 0.5
# `/sites/<id>` is a supervisor, whoever lives deeper is not.
_SUPERVISORS_DEPTH: Final = 2


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Something that goes wrong `at_s` into the safety phase; `lasts_s` 0: it is done at once."""

    at_s: float
    lasts_s: float = 0.0


class Kill(Fault, frozen=True, kw_only=True):
    """SIGKILL of whoever lives there."""

    victim: Address


class Hang(Fault, frozen=True, kw_only=True):
    """SIGSTOP, then SIGCONT, if liveness has not killed it before."""

    victim: Address


class Undead(Fault, frozen=True, kw_only=True):
    """SIGSTOP with every kill suppressed: a successor acts, then the old one goes on (SAF-11)."""

    victim: Address


class PowerCut(Fault, frozen=True, kw_only=True):
    """Every process ends at once; the whole tree is started again when it is over."""


class Restart(Fault, frozen=True, kw_only=True):
    """The whole tree is stopped in order and started again."""


class BadNetwork(Fault, frozen=True, kw_only=True):
    """Messages are delayed, reordered, lost, duplicated."""

    network: NetworkFaults


class Partition(Fault, frozen=True, kw_only=True):
    """Nothing passes between some and all others."""

    cut_off: tuple[Address, ...]


class DatabaseAway(Fault, frozen=True, kw_only=True):
    """The database refuses, or does not answer at all."""

    hangs: bool


class DiskFull(Fault, frozen=True, kw_only=True):
    """The latch folder and the modes take nothing."""


@unique
class Way(StrEnum):
    """How a stop is set or cleared."""

    COIL = "coil"
    NODE = "node"
    ENDPOINT = "endpoint"
    SAFETY = "safety"
    FOLDER = "folder"


class Stop(Fault, frozen=True, kw_only=True):
    """Somebody sets an emergency stop or marks a pump out of service; cleared when it is over."""

    way: Way
    scope: Scope
    scope_id: str
    kind: str = EMERGENCY_STOP


class NewPlans(Fault, frozen=True, kw_only=True):
    """The optimiser writes a new version, good or bad."""

    kind: PlanKind


class PlansGone(Fault, frozen=True, kw_only=True):
    """Every plan is withdrawn for a while."""


class Manual(Fault, frozen=True, kw_only=True):
    """An operator takes a pump in hand, and gives it back."""

    pump: Address
    setpoint_hz: float


class Panel(Fault, frozen=True, kw_only=True):
    """Somebody turns the switch at the station to hand, and back."""

    pump_id: str
    hand_hz: float


class Reboot(Fault, frozen=True, kw_only=True):
    """A controller loses its power."""

    station_id: str


class BadSensor(Fault, frozen=True, kw_only=True):
    """A station's level sensor sticks, drifts or fails low."""

    station_id: str
    sensor: SensorFault


class ClockStep(Fault, frozen=True, kw_only=True):
    """Somebody sets the wall clock."""

    step_s: float


AnyFault: TypeAlias = (
    Kill
    | Hang
    | Undead
    | PowerCut
    | Restart
    | BadNetwork
    | Partition
    | DatabaseAway
    | DiskFull
    | Stop
    | NewPlans
    | PlansGone
    | Manual
    | Panel
    | Reboot
    | BadSensor
    | ClockStep
)


class Draw:
    """Draws one story of a site from one seed."""

    def __init__(self, seed: int, site: SiteConfig, victims: Sequence[Address]) -> None:
        self._dice = random.Random(f"schedule:{seed}")
        self._site = site
        self._victims = tuple(victims)

    def story(self, *, seconds: float) -> tuple[AnyFault, ...]:
        """Return the faults of a safety phase of `seconds`, by time."""
        dice = self._dice
        known = [kind for kind in KINDS if dice.random() < _KNOWN] or ["kill"]
        weights = [KINDS[kind][0] for kind in known]
        kinds = dice.choices(known, weights, k=dice.randint(*_FAULTS))
        faults = [KINDS[kind][1](self, dice.uniform(0.0, seconds)) for kind in kinds]
        return tuple(sorted(faults, key=lambda fault: fault.at_s))

    def _kill(self, at_s: float) -> Kill:
        return Kill(at_s=at_s, victim=self._dice.choice(self._victims))

    def _hang(self, at_s: float) -> Hang:
        return Hang(at_s=at_s, lasts_s=self._dice.uniform(0.1, 8.0), victim=self._dice.choice(self._victims))

    def _undead(self, at_s: float) -> Undead:
        workers = [address for address in self._victims if address.count("/") > _SUPERVISORS_DEPTH]
        return Undead(at_s=at_s, lasts_s=self._dice.uniform(3.0, 15.0), victim=self._dice.choice(workers))

    def _power_cut(self, at_s: float) -> PowerCut:
        return PowerCut(at_s=at_s, lasts_s=self._dice.uniform(0.5, 15.0))

    def _restart(self, at_s: float) -> Restart:
        return Restart(at_s=at_s)

    def _bad_network(self, at_s: float) -> BadNetwork:
        dice = self._dice
        network = NetworkFaults(
            late=dice.choice((0.0, 0.2, 0.5)),
            late_s_max=_LATE_S_MAX,
            drop=dice.choice((0.0, 0.1, 0.4)),
            duplicate=dice.choice((0.0, 0.2)),
        )
        return BadNetwork(at_s=at_s, lasts_s=dice.uniform(2.0, 30.0), network=network)

    def _partition(self, at_s: float) -> Partition:
        dice = self._dice
        cut_off = tuple(dice.sample(self._victims, dice.choice((1, 1, 1, 2, 3))))
        return Partition(at_s=at_s, lasts_s=dice.uniform(0.5, 15.0), cut_off=cut_off)

    def _database_away(self, at_s: float) -> DatabaseAway:
        dice = self._dice
        return DatabaseAway(at_s=at_s, lasts_s=dice.uniform(1.0, 60.0), hangs=dice.random() < _HANGS)

    def _disk_full(self, at_s: float) -> DiskFull:
        return DiskFull(at_s=at_s, lasts_s=self._dice.uniform(1.0, 15.0))

    def _new_plans(self, at_s: float) -> NewPlans:
        return NewPlans(at_s=at_s, kind=self._dice.choice(list(PlanKind)))

    def _plans_gone(self, at_s: float) -> PlansGone:
        return PlansGone(at_s=at_s, lasts_s=self._dice.uniform(5.0, 40.0))

    def _manual(self, at_s: float) -> Manual:
        dice = self._dice
        pumps = [address for address in self._victims if "/pumps/" in address]
        hz = dice.choice((0.0, 20.0, dice.uniform(20.0, 50.0)))
        return Manual(at_s=at_s, lasts_s=dice.uniform(5.0, 40.0), pump=dice.choice(pumps), setpoint_hz=hz)

    def _panel(self, at_s: float) -> Panel:
        dice = self._dice
        hz = dice.choice((0.0, 30.0, 48.0))
        return Panel(at_s=at_s, lasts_s=dice.uniform(2.0, 20.0), pump_id=self._pump_id(), hand_hz=hz)

    def _reboot(self, at_s: float) -> Reboot:
        dice = self._dice
        station_id = dice.choice(self._site.stations).station_id
        # Short enough to go unnoticed, or long enough to lose the pumps.
        lasts_s = dice.choice((dice.uniform(1.0, 8.0), dice.uniform(8.0, 45.0)))
        return Reboot(at_s=at_s, lasts_s=lasts_s, station_id=station_id)

    def _bad_sensor(self, at_s: float) -> BadSensor:
        dice = self._dice
        station_id = dice.choice(self._site.stations).station_id
        faults = [fault for fault in SensorFault if fault is not SensorFault.NONE]
        return BadSensor(
            at_s=at_s, lasts_s=dice.uniform(5.0, 60.0), station_id=station_id, sensor=dice.choice(faults)
        )

    def _clock_step(self, at_s: float) -> ClockStep:
        return ClockStep(at_s=at_s, step_s=self._dice.choice((-7200.0, -3.0, 3.0, 7200.0)))

    def _out_of_service(self, at_s: float) -> Stop:
        return Stop(
            at_s=at_s,
            lasts_s=self._dice.uniform(1.0, 20.0),
            way=self._dice.choice((Way.ENDPOINT, Way.SAFETY, Way.FOLDER)),
            scope=Scope.PUMP,
            scope_id=self._pump_id(),
            kind=OUT_OF_SERVICE,
        )

    def _stop(self, at_s: float) -> Stop:
        dice = self._dice
        lasts_s = dice.choice((dice.uniform(0.1, 3.0), dice.uniform(3.0, 30.0)))
        scope = dice.choice((Scope.PUMP, Scope.PUMP, Scope.STATION, Scope.SITE, Scope.SYSTEM))
        ids = {
            Scope.PUMP: self._pump_id(),
            Scope.STATION: dice.choice(self._site.stations).station_id,
            Scope.SITE: self._site.site_id,
            Scope.SYSTEM: "",
        }
        # A stop of the whole system has no point on a wire.
        ways = [way for way in Way if scope is not Scope.SYSTEM or way not in {Way.COIL, Way.NODE}]
        return Stop(at_s=at_s, lasts_s=lasts_s, way=dice.choice(ways), scope=scope, scope_id=ids[scope])

    def _pump_id(self) -> str:
        return self._dice.choice(self._dice.choice(self._site.stations).pumps).pump_id


# What is drawn -> how often it comes up in a world that knows it, and how.
KINDS: Final[dict[str, tuple[float, Callable[[Draw, float], AnyFault]]]] = {
    "kill": (5.0, Draw._kill),
    "hang": (3.0, Draw._hang),
    "undead": (2.0, Draw._undead),
    "power_cut": (0.5, Draw._power_cut),
    "restart": (0.3, Draw._restart),
    "bad_network": (2.0, Draw._bad_network),
    "partition": (2.0, Draw._partition),
    "database_away": (1.0, Draw._database_away),
    "disk_full": (0.5, Draw._disk_full),
    "stop": (4.0, Draw._stop),
    "out_of_service": (1.0, Draw._out_of_service),
    "new_plans": (2.0, Draw._new_plans),
    "plans_gone": (0.5, Draw._plans_gone),
    "manual": (1.5, Draw._manual),
    "panel": (0.7, Draw._panel),
    "reboot": (0.7, Draw._reboot),
    "bad_sensor": (0.7, Draw._bad_sensor),
    "clock_step": (0.5, Draw._clock_step),
}
