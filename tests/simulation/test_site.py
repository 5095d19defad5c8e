"""Whole stations in virtual time: the real actors, plant and controllers, with faults drawn from a seed (BYD-5).

`make test` tells the stories of the first seeds and of every seed that ever found something; `make prove` some
thousands more, as many as CALEJO_SEEDS says. CALEJO_SEED=n tells one story alone and, if it fails, its last events.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
import pytest

from actors.messages import Epoch, Setpoint
from actors.publisher import actor as publisher
from actors.publisher import image as publisher_image
from actors.publisher.gate import PumpGate, StationGate, offer
from actors.safety import telling
from actors.safety.limits import Checked
from actors.vocabulary.settings import SparkplugSettings
from tests.simulation import schedule
from tests.simulation.site import SETTINGS
from tests.simulation.stories import drawn, tell

KEPT: Final = Path(__file__).with_name("kept_seeds.txt")
FIRST_SEEDS: Final = 100
PROVED_SEEDS: Final = 600
LONG_SEEDS: Final = 6_000
# So often at least must each fault strike in the first seeds.
STRUCK_MIN: Final = 5
# In which so many stories a gate that was taken out must have been missed.
MUTANT_SEEDS: Final = 40


def kept_seeds() -> list[int]:
    """The seeds that once found something, each with what it was."""
    lines = KEPT.read_text(encoding="utf-8").splitlines()
    return [int(line.split("#")[0]) for line in lines if line.split("#")[0].strip()]


@dataclass(frozen=True)
class Told:
    """A story's seed, what to do about what it found ('' if nothing), and how often which fault struck in it."""

    seed: int
    text: str
    struck: Counter[str]


def seeds() -> list[int]:
    only = os.environ.get("CALEJO_SEED")
    if only is not None:
        return [int(only)]
    return sorted({*range(FIRST_SEEDS), *kept_seeds()})


class Stories:
    """Stories told beside the tests, one process per core; who asks for one waits for it."""

    def __init__(self, workers: ProcessPoolExecutor) -> None:
        self._workers = workers
        self._told: dict[int, Future[Told]] = {}

    def ask(self, seed: int) -> None:
        """Have it told."""
        if seed not in self._told:
            self._told[seed] = self._workers.submit(_told, seed)

    def told(self, seed: int) -> Told:
        """Wait for it."""
        self.ask(seed)
        return self._told[seed].result()

    def struck(self) -> Counter[str]:
        """How often each fault struck in all that was asked for."""
        return sum((story.result().struck for story in self._told.values()), Counter())


@pytest.fixture(scope="module")
def stories(request: pytest.FixtureRequest) -> Iterator[Stories]:
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as workers:
        stories = Stories(workers)
        for item in request.session.items:
            if (
                isinstance(item, pytest.Function)
                and item.originalname == TOLD_BY
                and hasattr(item, "callspec")
            ):
                seed = item.callspec.params["seed"]
                assert isinstance(seed, int)
                stories.ask(seed)
        try:
            yield stories
        finally:
            workers.shutdown(cancel_futures=True)


@pytest.mark.parametrize("seed", seeds())
def test_site_stays_safe_and_comes_back(seed: int, stories: Stories) -> None:
    """BYD-5, SUP-8: whatever fails, every invariant holds; and when it ends, every pump is under control again."""
    story = stories.told(seed)
    assert not story.text, story.text


@pytest.mark.parametrize("seed", range(4))
def test_a_site_with_a_sparkplug_node_stays_safe_and_comes_back(seed: int) -> None:
    """SPB-1, BYD-5, SAF-8: a third endpoint behind the same gate: the same invariants on its wire, the same return."""
    settings = msgspec.structs.replace(SETTINGS, sparkplug=SparkplugSettings(host="127.0.0.1"))
    outcome = tell(seed, settings=settings)
    assert not outcome.findings, outcome.told(seed)


TOLD_BY: Final = test_site_stays_safe_and_comes_back.__name__
# What `Performer` and the world count beside the kinds of fault.
FELT: Final = frozenset(
    {
        "message late",
        "message overtakes",
        "message lost",
        "message doubled",
        "message cut",
        "disk refuses",
        "database does not answer",
    }
)


@pytest.mark.skipif("CALEJO_SEED" in os.environ, reason="one story alone knows few faults")
def test_every_kind_of_fault_strikes(
    stories: Stories, record_property: Callable[[str, object], None]
) -> None:
    """BYD-5: in the stories of `make test` each kind of fault finds its victims, not only its place in the schedule."""
    for seed in seeds():
        stories.told(seed)
    struck = stories.struck()
    kinds = {kind.__name__ for kind in get_args(schedule.AnyFault)}
    record_property("figures", ", ".join(f"{what} {count:,}" for what, count in sorted(struck.items())))
    assert not [what for what in kinds | FELT if struck[what] < STRUCK_MIN], struck


@pytest.mark.timeout(14_400)
@pytest.mark.parametrize(
    "stories_told",
    [
        pytest.param(PROVED_SEEDS, marks=pytest.mark.prove),
        pytest.param(LONG_SEEDS, marks=pytest.mark.endless),
    ],
)
def test_site_stays_safe_and_comes_back_in_thousands_of_stories(
    stories_told: int, record_property: Callable[[str, object], None]
) -> None:
    """BYD-5, SUP-8: the same for as many seeds as CALEJO_SEEDS says, told on every core."""
    count = int(os.environ.get("CALEJO_SEEDS", stories_told))
    failed: list[str] = []
    struck: Counter[str] = Counter()
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as workers:
        for story in workers.map(_told, range(FIRST_SEEDS, FIRST_SEEDS + count), chunksize=4):
            if story.text:
                print(story.text, flush=True)
                failed.append(str(story.seed))
            struck += story.struck
    record_property("figures", f"{count:,} stories, seeds {FIRST_SEEDS} to {FIRST_SEEDS + count - 1}")
    record_property("figures", ", ".join(f"{what} {times:,}" for what, times in sorted(struck.items())))
    assert not failed, f"add to {KEPT.name} with the cause: {', '.join(failed)}"


def _told(seed: int) -> Told:
    try:
        outcome = tell(seed)
    except Exception as error:  # noqa: BLE001  of thousands, the one to replay must be known
        return Told(seed, f"seed {seed}: {error!r}", Counter())
    return Told(seed, outcome.told(seed) if outcome.findings else "", outcome.struck)


def test_the_same_seed_tells_the_same_story_in_any_process() -> None:
    """BYD-5: a seed replays every event, also where sets are ordered otherwise; another seed tells another story."""
    script = "import sys; from tests.simulation.stories import tell; print(tell(int(sys.argv[1])).trace_hash)"
    root = Path(__file__).parents[2]

    def hash_in_a_process(seed: int, hash_seed: str) -> str:
        env = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root)}
        done = subprocess.run(
            [sys.executable, "-c", script, str(seed)],
            env=env, cwd=root, check=True, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return done.stdout.strip()

    assert hash_in_a_process(7, "1") == hash_in_a_process(7, "2") == tell(7).trace_hash
    assert tell(8).trace_hash != tell(7).trace_hash


@pytest.mark.parametrize("seed", [1, 2])
def test_site_fences_a_safety_that_no_kill_ended(seed: int) -> None:
    """SAF-11: hung, declared dead, replaced, thawed: the old safety speaks again and not one value of it is shown."""
    site, _ = drawn(seed)
    safeties = [address for address in site.addresses() if address.endswith("/safety")]
    story = tuple(schedule.Undead(at_s=5.0, lasts_s=12.0, victim=safety) for safety in safeties)
    outcome = tell(seed, story=story)
    assert not outcome.findings, outcome.told(seed)
    assert outcome.refused["epoch"] > 0, "it did speak"


# --------------------------------------------------------------------------- the simulation can fail


def _gate_for_ever_open(patch: pytest.MonkeyPatch) -> None:
    """Whatever safety ever sent stays shown: no lease, no final check, no latch, no order."""

    def image(gate: PumpGate, latches: object, pump: object, **more: Any) -> object:
        picture, after = publisher_image.image(gate, latches, pump, **more)  # type: ignore[arg-type]
        last = gate.last
        if last is None:
            return picture, after
        changes = {
            "setpoint_hz": last.setpoint_hz,
            "remote_enabled": last.remote_enabled,
            "run_inhibit": last.run_inhibit,
            "quality": last.quality,
            "reason": last.reason,
        }
        return msgspec.structs.replace(picture, **changes), after

    patch.setattr("actors.publisher.display.image", image)


def _gate_without_lease(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(publisher_image, "alive", lambda pump, *, now: pump.last is not None)


def _gate_without_latch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(publisher_image, "final_check", lambda value_hz, pump, **more: Checked(value_hz=value_hz))


def _gate_without_fence(patch: pytest.MonkeyPatch) -> None:
    """Every setpoint is taken in the order of its arrival, as if of the newest epoch and sequence."""

    def offer_anything(gate: StationGate, setpoints: Iterable[Setpoint], **more: Any) -> object:
        forgotten = {
            pump_id: pump
            if pump.last is None
            else msgspec.structs.replace(
                pump, last=msgspec.structs.replace(pump.last, epoch=Epoch(0, 0), sequence=-1)
            )
            for pump_id, pump in gate.pumps.items()
        }
        return offer(StationGate(floor=None, pumps=forgotten), setpoints, **more)

    patch.setattr(publisher, "offer", offer_anything)


@pytest.mark.parametrize(
    ("take_out", "noticed_by"),
    [
        (_gate_for_ever_open, {"a_dead_chain_lets_go", "a_stop_is_on_every_wire"}),
        (_gate_without_lease, {"a_dead_chain_lets_go"}),
        (_gate_without_latch, {"stopped_means_stopped"}),
        (_gate_without_fence, {"no_older_epoch", "never_backwards", "no_old_epoch_at_the_controller"}),
    ],
)
def test_a_gate_taken_out_does_not_go_unnoticed(
    take_out: Callable[[pytest.MonkeyPatch], None], noticed_by: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SAF-8, BYD-5: with the last gate, or one law of it, taken out some story violates the invariant it keeps."""
    take_out(monkeypatch)
    found: set[str] = set()
    for seed in range(MUTANT_SEEDS):
        found |= {finding.invariant for finding in tell(seed, recovers=False).findings}
        if found & noticed_by:
            return
    raise AssertionError(f"{MUTANT_SEEDS} stories without the gate, and only {found or 'nothing'} was found")


def test_a_rule_of_time_taken_out_does_not_go_unnoticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SAF-2.6, BYD-5: with rule 6 refusing no start some story starts a pump too often or too soon."""
    monkeypatch.setattr("actors.safety.timers.start_refusal", lambda timers, limits, *, now: "")
    found: set[str] = set()
    for seed in range(MUTANT_SEEDS):
        found |= {finding.invariant for finding in tell(seed, recovers=False).findings}
        if "no_start_too_often_or_too_soon" in found:
            return
    raise AssertionError(f"{MUTANT_SEEDS} stories without rule 6, and only {found or 'nothing'} was found")


def _mad_safety(patch: pytest.MonkeyPatch) -> None:
    """Every seventh setpoint that safety sends is beyond all reason."""
    true_setpoint = telling.setpoint_of
    values = (60.0, float("nan"), -5.0, 7.0, 1e9)

    def setpoint_of(*args: Any, sequence: int, **more: Any) -> Setpoint:
        setpoint = true_setpoint(*args, sequence=sequence, **more)
        if sequence % 7:
            return setpoint
        mad_hz = values[sequence // 7 % len(values)]
        return msgspec.structs.replace(setpoint, setpoint_hz=mad_hz, failsafe_image_hz=mad_hz)

    patch.setattr(telling, "setpoint_of", setpoint_of)


def test_the_last_gate_keeps_a_mad_safety_from_the_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    """SAF-8: with a safety actor gone mad the wire stays inside the band, but not without the gate's final check."""
    _mad_safety(monkeypatch)
    assert not {finding.invariant for finding in tell(0, recovers=False).findings} & {"inside_the_band"}
    _gate_without_latch(monkeypatch)
    assert "inside_the_band" in {finding.invariant for finding in tell(0, recovers=False).findings}
