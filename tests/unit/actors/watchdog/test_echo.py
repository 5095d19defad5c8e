"""Goal: an echo is judged against what was shown, and only where a controller writes one (WDG-1, WDG-4)."""

from __future__ import annotations

import pytest

from actors.messages import EndpointStatus, PublishedPump
from actors.vocabulary import ControlSettings, Instant, Quality, Reason
from actors.watchdog.echo import TOLERANCE_HZ, WINDOW_S, Shown, agreed, echoing, remember
from tests.unit.actors.watchdog.test_timers import T0

CONTROL = ControlSettings()


def status(
    *,
    at_s: float = 0.0,
    shown_hz: float = 30.0,
    echo: tuple[float, float] | None = None,
    measured_s: float | None = None,
    protocol: str = "modbus",
) -> EndpointStatus:
    """`echo`: its value, and when it was written."""
    shown = PublishedPump(
        pump_id="p1",
        setpoint_hz=shown_hz,
        remote_enabled=True,
        run_inhibit=False,
        quality=Quality.GOOD,
        reason=Reason.PLAN,
        heartbeat=1,
        sequence=1,
        epoch_counter=1,
        release_id=1,
        mode=None,
        accepted_at=T0,
        lease_left_s=9.0,
        lapses=0,
        refused={},
        echo_hz=None if echo is None else echo[0],
        measured_hz=None,
        echo_at=None if echo is None else T0.plus(echo[1]),
        measured_at=None if measured_s is None else T0.plus(measured_s),
    )
    return EndpointStatus(
        protocol=protocol,
        bound="fake:0",
        clients=1,
        pumps=(shown,),
        writes_refused=0,
        stops_active=(),
        sent_at=T0.plus(at_s),
    )


SHOWN = {"p1": (Shown(T0, 30.0),)}


@pytest.mark.parametrize(
    ("echo", "agrees"),
    [
        ((30.0, 0.0), True),
        ((30.0 + TOLERANCE_HZ, 0.0), True),
        ((30.0 + TOLERANCE_HZ + 0.01, 0.0), False),
        ((30.0 - TOLERANCE_HZ - 0.01, 0.0), False),
        ((30.0, -WINDOW_S), True),
        ((30.0, -WINDOW_S - 0.1), False),
        (None, False),
    ],
)
def test_an_echo_agrees_with_what_was_shown(echo: tuple[float, float] | None, agrees: bool) -> None:
    """WDG-1: within a tenth of a Hz, and not older than a controller's read and write."""
    found = agreed(SHOWN, status(echo=echo, measured_s=0.0), CONTROL)
    assert found == ([("p1", T0.plus(echo[1]))] if echo is not None and agrees else [])


def test_a_controller_that_writes_nothing_at_all_is_another_timers_matter() -> None:
    """WDG-1: silent for longer than the echo's own limit, measured speed included, it does not disagree."""
    silent = status(at_s=30.0, echo=(12.0, 19.9), measured_s=19.9)
    assert agreed(SHOWN, silent, CONTROL) == [("p1", T0.plus(30.0))]
    assert agreed(SHOWN, status(at_s=30.0, echo=(12.0, 19.9), measured_s=20.1), CONTROL) == []
    assert agreed(SHOWN, status(at_s=30.0, echo=(12.0, 20.1), measured_s=19.9), CONTROL) == []


def test_what_both_wires_showed_within_the_window_counts_and_is_bounded() -> None:
    """WDG-1: a controller may read either wire; what is over is forgotten."""
    shown = remember({}, status(shown_hz=30.0))
    shown = remember(shown, status(at_s=1.0, shown_hz=34.0, protocol="opcua"))
    assert agreed(shown, status(at_s=1.0, echo=(32.0, 1.0)), CONTROL)
    shown = remember(shown, status(at_s=1.0 + WINDOW_S, shown_hz=34.0))
    assert [one.setpoint_hz for one in shown["p1"]] == [34.0, 34.0]
    for _ in range(100):
        shown = remember(shown, status(at_s=1.0 + WINDOW_S, shown_hz=34.0))
    assert len(shown["p1"]) <= 32


def test_only_controllers_that_write_an_echo_are_watched() -> None:
    """WDG-1: stations without one have none to be wrong."""
    assert echoing(status()) == ()
    assert echoing(status(echo=(0.0, 0.0))) == ("p1",)
    assert agreed({}, status(echo=(30.0, 0.0), measured_s=0.0), CONTROL) == [], "nothing was shown yet"


def test_an_instant_carries_the_wall_clock_of_its_own_moment() -> None:
    """WDG-1: by the boot clock alone; of two boots nothing is known."""
    now = Instant(T0.boot_id, T0.boot_ns + 5 * 10**9, 7)
    assert T0.unstepped(now) == T0.plus(5.0)
    other = Instant("another", 1, 2)
    assert T0.unstepped(other) == other
