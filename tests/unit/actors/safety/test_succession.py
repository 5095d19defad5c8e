"""Goal: what a successor of the safety actor decides and what the gates show go together (SAF-9, SAF-10, CTL-3).

Method: kernel and gates side by side in virtual time, the kernel restarted through what is stored; a plant that obeys
the wire while it is enabled, and a local controller that leaves the pumps at 0 while it is not.
"""

from __future__ import annotations

from typing import Final

from actors.messages import Setpoint
from actors.publisher.gate import StationGate, offer
from actors.publisher.image import PumpImage, image
from actors.safety.latch import LatchSet
from actors.safety.memory import memory_of, restored, seen_of
from actors.safety.telling import setpoint_of
from actors.vocabulary.durable import Epoch
from tests.unit.actors.safety.timeline import Bench, limits, pump, station

LEASE_S: Final = 10.0
RATE_HZ_PER_S: Final = 1.0
LOW_HZ: Final = 20.0


class Site:
    """One safety after the other, one gate, and what it shows."""

    def __init__(self, plan_hz: dict[str, float]) -> None:
        self.plan_hz = plan_hz
        of = limits(rate_hz_per_s=RATE_HZ_PER_S, band_hz=(LOW_HZ, 50.0))
        self.bench = Bench(station(*(pump(name, of) for name in plan_hz)))
        self.gate = StationGate().of(plan_hz)
        self.epoch, self.sequence = Epoch(0, 1), 0
        self.shown: dict[str, PumpImage] = {}
        self.wire_hz = dict.fromkeys(plan_hz, 0.0)
        self.enabled_s = dict.fromkeys(plan_hz, 0)

    def run(self, seconds: int) -> None:
        """Let safety live: each second a round, a setpoint to the gate, and a look at the wire."""
        for _ in range(seconds):
            rows = {
                name: {"plan_hz": self.plan_hz[name], "speed_hz": self.wire_hz[name]} for name in self.plan_hz
            }
            decisions = self.bench.tick(rows, period_s=1.0)
            setpoints: list[Setpoint] = []
            for decision in decisions.values():
                self.sequence += 1
                setpoints.append(
                    setpoint_of(
                        decision, epoch=self.epoch, sequence=self.sequence, lease_s=LEASE_S, latch_release=0
                    )
                )
            self.gate, refused = offer(self.gate, setpoints, now=self.bench.now, lease_s_max=LEASE_S)
            assert not refused
            self.look()

    def away(self, seconds: int) -> None:
        """Kill safety; its successor starts so much later from what the disk holds."""
        memory = memory_of("s", self.bench.state, epoch=self.epoch, boot_id=self.bench.now.boot_id)
        seen = seen_of(self.bench.state, self.bench.memories, now=self.bench.now)
        for _ in range(seconds):
            self.bench.now = self.bench.now.plus(1.0)
            self.look()
        self.epoch = Epoch(0, self.epoch.counter + 1)
        self.bench.state = restored(memory, seen, now=self.bench.now, gap_s_max=LEASE_S)
        self.bench.held.clear()

    def look(self) -> None:
        """Show the image of each pump, let the plant obey, and hold the wire against the rate (CTL-3)."""
        for one in self.bench.config.pumps:
            name = one.pump_id
            picture, pump_gate = image(
                self.gate.pumps[name],
                LatchSet(),
                one,
                site_id="site",
                whole=True,
                epoch_floor=1,
                now=self.bench.now,
            )
            self.gate = StationGate(floor=self.gate.floor, pumps={**self.gate.pumps, name: pump_gate})
            self.shown[name] = picture
            was_hz, now_hz = self.wire_hz[name], picture.setpoint_hz if picture.remote_enabled else 0.0
            if picture.remote_enabled:
                self.enabled_s[name] += 1
                most_hz = LOW_HZ if was_hz <= 0.0 else was_hz + RATE_HZ_PER_S
                assert now_hz <= most_hz + 0.011, f"{name}: {was_hz:g} -> {now_hz:g} Hz at {self.bench.now}"
                assert now_hz <= 0.0 or self.plan_hz[name] > 0.0, f"{name} starts, and nobody asked"
            self.wire_hz[name] = now_hz

    def enabled(self, pump_id: str) -> bool:
        """Whether the wire claims the pump."""
        return self.shown[pump_id].remote_enabled


def test_a_successor_knows_that_the_gates_have_let_go() -> None:
    """SAF-9, SAF-10, CTL-3, CTL-5: away for 13 s three times within ten minutes: the gates wait for three fresh
    decisions, then for 60 s. No wire steps, no pump starts that nobody asked, and none is taken for one that does not
    follow a start that nobody saw.
    """
    site = Site({"a": 40.0, "b": 0.0})
    site.run(30)
    assert (site.wire_hz["a"], site.wire_hz["b"]) == (40.0, 0.0)
    for lapse in (1, 2, 3):
        site.away(13)
        assert not site.enabled("a")
        site.run(90)
        assert site.enabled("a"), lapse
        following = [state.following.failed_since for state in site.bench.state.pumps.values()]
        assert following == [None, None], lapse
        assert site.wire_hz == {"a": 40.0 if lapse < 3 else site.wire_hz["a"], "b": 0.0}
        assert site.bench.state.duties == {}, "nobody had to stand in"
    site.run(60)
    assert site.wire_hz == {"a": 40.0, "b": 0.0}


def test_a_successor_that_dies_while_the_gates_wait_does_not_lose_count() -> None:
    """SAF-9: killed between the fresh decisions and within the 60 s: the next one waits as long as the gates do."""
    site = Site({"a": 40.0})
    site.run(30)
    for lived_s in (2, 40, 40, 5, 30):
        site.away(13 if lived_s in {2, 40} else 3)
        site.run(lived_s)
    site.run(120)
    assert site.wire_hz == {"a": 40.0}
    assert site.bench.state.pumps["a"].following.failed_since is None


def test_a_successor_within_the_lease_moves_nothing() -> None:
    """SAF-10: the gates keep the last value, so the successor goes on from the measured speed at once."""
    site = Site({"a": 40.0, "b": 0.0})
    site.run(30)
    for _ in range(5):
        before_s = site.enabled_s["a"]
        site.away(5)
        site.run(10)
        assert site.enabled_s["a"] - before_s == 15
        assert site.wire_hz == {"a": 40.0, "b": 0.0}
