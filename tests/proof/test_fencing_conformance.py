"""The model says what the code does: random walks of `fencing.pml`, each step asked of the real functions.

spin walks and tells every step with the model's answer. Here the same step goes to `gate.offer`, `image.image`,
`LatchSet` and the demo's controller, which is what a real controller must be; what they answer must be the same. A tick
of the model is 4 s, so that its lease of two ticks and a bit is the 10 s of the code.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from actors.messages import Epoch, Setpoint
from actors.publisher import gate as gate_law
from actors.publisher.gate import PumpGate, StationGate, offer
from actors.publisher.image import PumpImage, image
from actors.safety.latch import EMERGENCY_STOP, LatchSet, cleared
from actors.vocabulary import (
    ControlType,
    FailsafeStrategy,
    Instant,
    Mode,
    PumpConfig,
    Quality,
    Reason,
    SafetyLimits,
    Scope,
)
from actors.vocabulary.records import StopEventRecord
from ops.demo.plc import Block, PumpMemory, obeys, receive
from tests.proof.spin_runs import walk

pytestmark = pytest.mark.services

TICK_S: Final = 4.0
LEASE_S: Final = 10.0
STOPS: Final = 2
STEPS: Final = 30_000
FIRST: Final = Instant("boot", 1_000 * 10**9, 1_800_000_000 * 10**9)
PUMP: Final = PumpConfig(
    pump_id="p",
    station_id="s",
    name="P",
    control_type=ControlType.DIRECT_SPEED,
    default_setpoint_hz=0.0,
    failsafe_strategy=FailsafeStrategy.DEFAULT_SETPOINT,
    wire_slot=0,
    limits=SafetyLimits(version=1, hard_min_speed_hz=20.0, hard_max_speed_hz=50.0, max_rate_hz_per_s=2.0),
)


class Replay:
    """One gate, its latch and one controller, led through the steps of a walk."""

    def __init__(self) -> None:
        self.tick = 0
        self.gate = StationGate()
        self.latches = LatchSet()
        self.whole = False
        self.starts = 0
        self.set_at = [0] * STOPS
        self.rel_at = [0] * STOPS
        self.controller = PumpMemory()
        self.picture: PumpImage | None = None

    @property
    def now(self) -> Instant:
        return FIRST.plus(self.tick * TICK_S)

    def step(self, line: str) -> str:
        """Do one step; return what the real functions answered otherwise than the model, '' if nothing."""
        what, *rest = line.split()
        told = dict(part.split("=") for part in rest if "=" in part)
        said = {key: int(value) for key, value in told.items()}
        plain = [int(part) for part in rest if "=" not in part]
        match what:
            case "TICK":
                self.tick += 1
            case "REBOOT":
                self.controller = PumpMemory(retained=self.controller.retained)
            case "DOWN":
                self.gate, self.latches, self.whole = StationGate(), LatchSet(), False
            case "START":
                self._start(**said)
            case "WHOLE":
                self.whole = True
            case "STAMP":
                (self.set_at if "set" in said else self.rel_at)[plain[0]] = said.get(
                    "set", said.get("rel", 0)
                )
            case "LEARN":
                self.latches = self.latches.merge(self._records(said["set"], said["clr"]))
            case "OFFER":
                return self._offer(**said)
            case "SHOW":
                return self._show(**said)
            case "READ":
                return self._read(**said)
            case _:
                raise AssertionError(f"the walk tells of an unknown step: {line}")
        return ""

    def _start(self, *, floor: int, set: int, clr: int, whole: int) -> None:  # noqa: A002  (the model's word)
        self.starts += 1
        # No two lives count from the same number: what the model calls another heartbeat is another here.
        pump = PumpGate(heartbeat=1_000 * self.starts)
        self.gate = StationGate(floor=Epoch(0, floor) if floor else None, pumps={"p": pump})
        self.latches = LatchSet.of(self._records(set, clr))
        self.whole = bool(whole)

    def _records(self, known: int, clear: int) -> list[StopEventRecord]:
        records = []
        for number in range(STOPS):
            if not (known | clear) >> number & 1:
                continue
            record = StopEventRecord(
                record_id=str(number),
                scope=Scope.PUMP,
                scope_id="p",
                reason="walk",
                set_by="walk",
                set_at=FIRST.utc,
                kind=EMERGENCY_STOP,
                set_stamp=self.set_at[number],
            )
            if clear >> number & 1:
                record = cleared(record, by="walk", at=FIRST.utc, reason="walk", release=self.rel_at[number])
            records.append(record)
        return records

    def _offer(self, *, epoch: int, age: int, k: int, stops: int, rel: int, took: int, moved: int) -> str:
        origin = FIRST.plus((self.tick - age) * TICK_S)
        setpoint = Setpoint(
            pump_id="p",
            setpoint_hz=0.0 if stops else 35.0,
            remote_enabled=True,
            quality=Quality.GOOD,
            reason=Reason.EMERGENCY_STOP if stops else Reason.PLAN,
            run_inhibit=bool(stops),
            failsafe_image_hz=0.0,
            failsafe_image_reason=Reason.LEASE_EXPIRED,
            epoch=Epoch(0, epoch),
            # As one safety actor counts: a later tick, or a later decision of the same tick, has the higher number.
            sequence=2 * (self.tick - age + 4) + k,
            origin=origin,
            lease_s=LEASE_S,
            limits_version=1,
            mode=Mode.AUTO,
            latch_release=rel,
        )
        before = self.gate.pumps["p"]
        if self.whole:  # the actor offers nothing before its latches are whole
            self.gate, _ = offer(self.gate, [setpoint], now=self.now, lease_s_max=LEASE_S)
        after = self.gate.pumps["p"]
        answered = (int(after.last is setpoint), int(after.heartbeat != before.heartbeat))
        return "" if answered == (took, moved) else f"took, moved: {answered}"

    def _show(self, *, en: int, inh: int, value: int, rel: int, epoch: int) -> str:
        floor = self.gate.floor
        self.picture, pump = image(
            self.gate.pumps["p"],
            self.latches,
            PUMP,
            site_id="site",
            whole=self.whole,
            epoch_floor=0 if floor is None else floor.counter,
            now=self.now,
        )
        self.gate = msgspec.structs.replace(self.gate, pumps={"p": pump})
        seen = self.picture
        answered = (
            int(seen.remote_enabled),
            int(seen.run_inhibit),
            int(seen.setpoint_hz > 0.0),
            seen.release_id,
            seen.epoch_counter,
        )
        return "" if answered == (en, inh, value, rel, epoch) else f"en, inh, value, rel, epoch: {answered}"

    def _read(self, *, inh: int, rel: int, epoch: int, obeys: int) -> str:
        assert self.picture is not None
        block = Block(
            sequence=self.picture.sequence,
            sequence_end=self.picture.sequence,
            remote_enabled=self.picture.remote_enabled,
            run_inhibit=self.picture.run_inhibit,
            setpoint_hz=self.picture.setpoint_hz,
            setpoint_quality=self.picture.quality.value,
            heartbeat=self.picture.heartbeat,
            epoch=self.picture.epoch_counter,
            release_id=self.picture.release_id,
        )
        now_s = self.tick * TICK_S
        self.controller = receive(self.controller, block, now_s=now_s)
        kept = self.controller.retained
        answered = (int(kept.inhibited), kept.release_id, kept.epoch, int(_obeys(self.controller, now_s)))
        return "" if answered == (inh, rel, epoch, obeys) else f"inh, rel, epoch, obeys: {answered}"


def _obeys(controller: PumpMemory, now_s: float) -> bool:
    return obeys(controller, now_s=now_s)


def replayed(spin: Path, folder: Path, seed: int, defines: tuple[str, ...], steps: int) -> dict[str, int]:
    """Replay one walk; return how often each step came up."""
    replay, met = Replay(), dict[str, int]()
    lines = walk(spin, folder, [f"NS={STOPS}", "FRESH=3", "WALK", *defines], seed=seed, steps=steps)
    for number, line in enumerate(lines):
        wrong = replay.step(line)
        assert not wrong, "\n".join(
            [f"seed {seed}", *lines[max(0, number - 25) : number + 1], f"the code: {wrong}"]
        )
        word = line.split()[0]
        met[word] = met.get(word, 0) + 1
        met["taken"] = met.get("taken", 0) + ("took=1" in line)
        met["obeyed"] = met.get("obeyed", 0) + ("obeys=1" in line)
    return met


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model leaves out that the third lapse in ten minutes waits for a minute."""
    monkeypatch.setattr(gate_law, "LAPSES_PATIENT", 1_000_000)


@pytest.mark.parametrize(
    "defines", [(), ("WIPE",), ("EPOCH_LOST",)], ids=lambda given: given[0] if given else "plain"
)
def test_the_code_does_what_the_model_does(defines: tuple[str, ...], spin: Path, tmp_path: Path) -> None:
    """BYD-5, SAF-9, SAF-11, EST-2, EST-6: some thousand steps of the model, each answered by the code alike."""
    met: dict[str, int] = {}
    for seed in range(1, 6):
        for word, count in replayed(spin, tmp_path, seed, defines, STEPS).items():
            met[word] = met.get(word, 0) + count
    wanted = ("TICK", "REBOOT", "DOWN", "START", "STAMP", "LEARN", "OFFER", "SHOW", "READ", "taken", "obeyed")
    assert not [word for word in wanted if not met.get(word)], met


@pytest.mark.prove
@pytest.mark.timeout(3600)
def test_the_code_does_what_the_model_does_for_long(
    spin: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """BYD-5: the same for many walks."""
    steps = 0
    for seed in range(100, 160):
        for defines in ((), ("WIPE",), ("EPOCH_LOST",)):
            steps += sum(replayed(spin, tmp_path, seed, defines, STEPS).values())
    record_property("figures", f"180 walks, {steps:,} steps answered alike by gate, latch and controller")


def test_a_gate_without_its_fence_does_not_conform(
    spin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BYD-5: the comparison can fail: a gate that forgets which epoch it must not go below is told from the model's."""

    def forgetful(gate: StationGate, setpoints: list[Setpoint], **more: Any) -> object:
        pumps = {
            name: msgspec.structs.replace(
                pump, last=pump.last and msgspec.structs.replace(pump.last, epoch=Epoch(0, 0), sequence=-1)
            )
            for name, pump in gate.pumps.items()
        }
        return true_offer(StationGate(floor=None, pumps=pumps), setpoints, **more)

    true_offer = offer
    monkeypatch.setitem(globals(), "offer", forgetful)
    with pytest.raises(AssertionError, match="the code"):
        all(replayed(spin, tmp_path, seed, (), STEPS) for seed in range(1, 6))
