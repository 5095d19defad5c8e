"""Fencing, freshness and latch together: `fencing.pml` in every order of events, as it is and with each part broken.

`make test` takes the protections out one by one; spin must find what that breaks. `make prove` looks at every order of
the model that has them all.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.proof.spin_runs import check

pytestmark = pytest.mark.services
Note = Callable[[str, object], None]

EPOCH = "newest_epoch"
ORDER = "c_k>g[0].k"
LEASE = "v_en)||(g[j].age<=2"
CHAIN = "c_age<=2)"
CONTROLLER_AGE = "p_age<"
LOST_AT_THE_GATE = "knew"
SHOWN = "v_inh&&"
LET_GO = "p_saw& ~(cleared))&("
STARTED = "v_value&& !(p_runs)"
BACK = "quiet<7"
REFUSES_NOTHING = "v_epoch>=p_epoch"

# (what is taken out and what may fail beside, how deep to look, a piece of the assertion that must break)
BROKEN = [
    (("BREAK_EPOCH_AT_GATE",), 400, EPOCH),
    (("BREAK_EPOCH_AT_START",), 400, EPOCH),
    (("EPOCH_LOST", "BREAK_EPOCH_AT_PLC"), 400, REFUSES_NOTHING),
    (("BREAK_SEQUENCE",), 400, ORDER),
    (("BREAK_STALE",), 400, CHAIN),
    (("BREAK_LEASE",), 400, LEASE),
    (("BREAK_LEASE_FROM_ARRIVAL",), 400, LEASE),
    (("BREAK_HEARTBEAT",), 400, CONTROLLER_AGE),
    (("BREAK_LATCH_BELOW_LEASE",), 400, SHOWN),
    (("BREAK_LOAD",), 400, LOST_AT_THE_GATE),
    (("BREAK_UNION",), 400, LOST_AT_THE_GATE),
    (("BREAK_ANSWER_BEFORE_DISK",), 400, LOST_AT_THE_GATE),
    (("BREAK_RETAIN",), 60, STARTED),
    (("BREAK_RELEASE_ID",), 60, LET_GO),
    (("WIPE", "BREAK_WHOLE"), 60, LOST_AT_THE_GATE),
    (("LIVE", "BREAK_RECOVERY"), 400, BACK),
    # A gate that knows of a clear takes a setpoint that was decided before it: shown, run_inhibit would be retained
    # with a release number that is already spent, until somebody goes there (EST-6).
    (("LIVE", "BREAK_SPENT"), 400, BACK),
    # A controller that reads a stop from a gate of an older epoch retains it without that block's release number.
    # (Calejo's numbers are those of people's clears; beside one that makes them up itself it is seen.)
    (("EPOCH_LOST", "BREAK_SEED", "BREAK_OLD_STOP"), 110, LET_GO),
    # The folder is lost before the database had the stop. A new folder whose release number is the present second lets
    # go of what no copy knows; without a number of its own, only a person's clear does.
    (("REINSTALL", "BREAK_SEED"), 60, LET_GO),
    # A gate whose folder was lost hears of one stop's clear, and not of another stop.
    (("NS=2", "WIPE", "BREAK_HALF"), 60, LET_GO),
]


@pytest.mark.parametrize(("defines", "depth", "piece"), BROKEN, ids=[broken[0][-1] for broken in BROKEN])
def test_a_protection_taken_out_is_missed(
    defines: tuple[str, ...], depth: int, piece: str, spin: Path, tmp_path: Path, record_property: Note
) -> None:
    """BYD-5: without it some order of events breaks the property that it is there for."""
    found = check(spin, tmp_path, defines, depth=depth)
    assert piece in found.broken, found.output
    record_property("figures", f"{' '.join(defines)}: broken after {found.states:,} states")


WHOLE = [
    pytest.param(("NG=1", "NS=1"), id="one gate, one stop"),
    pytest.param(("NG=1", "NS=1", "LIVE"), id="and service returns"),
    pytest.param(("NG=1", "NS=1", "EPOCH_LOST"), id="and the epoch file is lost"),
    pytest.param(("NG=1", "NS=1", "REINSTALL"), id="and the latch folder is lost", marks=pytest.mark.endless),
]


@pytest.mark.prove
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("defines", WHOLE)
def test_no_order_of_events_breaks_a_property(
    defines: tuple[str, ...], spin: Path, tmp_path: Path, record_property: Note
) -> None:
    """SAF-9, SAF-11, EST-2, EST-6, BYD-5: nothing older than was accepted, nothing older than the lease, no stop lost,
    no stop turned into a start, and service back when faults cease; in every order.
    """
    found = check(spin, tmp_path, defines)
    assert not found.broken, found.output
    assert found.complete, found.output
    record_property(
        "figures", f"{' '.join(defines)}: {found.states:,} states in {found.seconds:.0f} s, all of them"
    )
