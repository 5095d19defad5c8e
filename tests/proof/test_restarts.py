"""Every invariant that a restart must not break, in cases of the spaces: the predecessor's state, the successor's word.

A restart here is what `actors.safety.memory` makes of one: what is durable, through the file's own format, and what was
noted a second ago. The successor decides the same round; what its predecessor knew says what it may decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

import msgspec
import pytest

from actors.safety import kernel
from actors.safety.memory import memory_of, restored, seen_of
from actors.safety.types import Failsafe, HandBack, KernelState, PumpState
from actors.vocabulary.durable import Epoch, PumpSeen, StationMemory
from tests.proof.invariants import Round, violations_over_a_restart
from tests.proof.search import FIRST_CASES, PROVED_CASES, QUICK_CASES, Finding
from tests.proof.spaces import NOW, SPACES, TIMERS, Space

Forgetting = Callable[[PumpState], PumpState]
OF_RESTARTS: Final = [
    space for space in SPACES if space.name in {"core", "well", "claims", "lease", "stops", "places"}
]
each_space = pytest.mark.parametrize("space", OF_RESTARTS, ids=lambda space: space.name)


def nothing(pump: PumpState) -> PumpState:
    return pump


def successor(before: KernelState, forget: Forgetting) -> KernelState:
    """Return what a safety that starts half a second ago knows of its predecessor's state."""
    memory = memory_of("s", before, epoch=Epoch(0, 1), boot_id=NOW.boot_id)
    seen = seen_of(before, {}, now=NOW.plus(-1.0))
    memory = msgspec.json.decode(msgspec.json.encode(memory), type=StationMemory)
    seen = msgspec.json.decode(msgspec.json.encode(seen), type=dict[str, PumpSeen])
    state = restored(memory, seen, now=NOW.plus(-0.5), gap_s_max=10.0)
    return msgspec.structs.replace(state, pumps={key: forget(pump) for key, pump in state.pumps.items()})


def findings(space: Space, indices: Iterable[int], forget: Forgetting = nothing) -> Iterator[Finding]:
    for index in indices:
        given, before = space.case(index)
        # Of a pump of which nobody knows whether it turns nothing is remembered.
        pumps = {
            key: msgspec.structs.replace(pump, timers=TIMERS["rested"]) if pump.timers is None else pump
            for key, pump in before.pumps.items()
        }
        before = msgspec.structs.replace(before, pumps=pumps)
        decisions, after = kernel.decide_round(given, successor(before, forget), now=NOW)
        round_ = Round(given=given, before=before, decisions=decisions, after=after, now=NOW)
        for invariant, wrong in violations_over_a_restart(round_):
            yield Finding(invariant, wrong, space.name, index, space.point(index))


@each_space
def test_a_restart_breaks_no_invariant_in_a_slice(space: Space) -> None:
    """SAF-7, SAF-9, CTL-7, WDG-2, BYD-5: no case of the slice."""
    found = list(islice(findings(space, space.indices(QUICK_CASES)), 5))
    assert not found, "\n" + "\n".join(map(str, found))


@pytest.mark.prove
@pytest.mark.timeout(3600)
@each_space
def test_a_restart_breaks_no_invariant(space: Space) -> None:
    """SAF-7, SAF-9, CTL-7, WDG-2, BYD-5: the same in many more."""
    found = list(islice(findings(space, space.indices(PROVED_CASES // 20)), 5))
    assert not found, "\n" + "\n".join(map(str, found))


def _the_hand_back(pump: PumpState) -> PumpState:
    return msgspec.structs.replace(pump, hand_back=HandBack())


def _the_claim(pump: PumpState) -> PumpState:
    return msgspec.structs.replace(pump, hand_back=msgspec.structs.replace(pump.hand_back, inherited=False))


def _the_failsafe(pump: PumpState) -> PumpState:
    return msgspec.structs.replace(pump, failsafe=Failsafe())


def _the_lease(pump: PumpState) -> PumpState:
    return msgspec.structs.replace(pump, origin=None, fresh_left=0, fresh_since=None)


def _the_dry_run(pump: PumpState) -> PumpState:
    return msgspec.structs.replace(pump, dry_run=None)


def _the_high_level(pump: PumpState) -> PumpState:
    return msgspec.structs.replace(pump, high=False)


@pytest.mark.parametrize(
    ("forget", "missed_by"),
    [
        (_the_hand_back, "a_lost_claim_waits"),
        (_the_claim, "a_lost_claim_is_remembered"),
        (_the_failsafe, "failsafe_lasts"),
        (_the_lease, "after_a_lapse_it_follows_the_pump"),
        (_the_dry_run, "dry_run_is_0"),
        (_the_high_level, "a_high_level_lasts_to_its_reset"),
    ],
)
def test_what_a_successor_forgets_is_missed(forget: Forgetting, missed_by: str) -> None:
    """BYD-5: each thing that must survive a restart, forgotten in turn."""
    found = {
        finding.invariant
        for space in OF_RESTARTS
        for finding in findings(space, space.indices(4 * FIRST_CASES), forget)
    }
    assert missed_by in found, found
