"""Whether controllers read what the gates show: the setpoint's echo against the setpoints shown (WDG-1, WDG-4); pure.

The echo is what a controller read, obeyed or not, so it is judged whoever commands the pump. Whether the pump then
turns as it is told is another question (CTL-5, `actors.safety.following`).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Final

import msgspec

from actors.messages import EndpointStatus, PublishedPump
from actors.vocabulary import ControlSettings, Instant

TOLERANCE_HZ: Final = 0.1
"""Ten steps of the register: a controller may reckon in per cent of its maximum, and back."""

WINDOW_S: Final = 6.0
"""An echo is as old as one read and one write of the controller: each setpoint shown so long ago may stand in it."""

_SHOWN_MAX: Final = 32


class Shown(msgspec.Struct, frozen=True):
    """A setpoint (Hz) and when it was last seen on some wire."""

    at: Instant
    setpoint_hz: float


def remember(shown: Mapping[str, tuple[Shown, ...]], status: EndpointStatus) -> dict[str, tuple[Shown, ...]]:
    """Return the setpoints shown within the window, by pump, with those of this endpoint; bounded."""
    after = dict(shown)
    for pump in status.pumps:
        former = [
            one for one in shown.get(pump.pump_id, ()) if status.sent_at.seconds_since(one.at) <= WINDOW_S
        ]
        after[pump.pump_id] = (*former, Shown(status.sent_at, pump.setpoint_hz))[-_SHOWN_MAX:]
    return after


def echoing(status: EndpointStatus) -> tuple[str, ...]:
    """Name the pumps whose controller writes an echo: the others have none to be wrong."""
    return tuple(pump.pump_id for pump in status.pumps if pump.echo_at is not None)


def agreed(
    shown: Mapping[str, tuple[Shown, ...]], status: EndpointStatus, control: ControlSettings
) -> list[tuple[str, Instant]]:
    """Return of which pumps the echo agrees with what was shown, and at which moment it was written.

    A controller that writes nothing at all any more is another timer's matter: it counts as agreeing.
    """
    found: list[tuple[str, Instant]] = []
    for pump in status.pumps:
        if pump.echo_at is None or pump.echo_hz is None:
            continue
        if _is_silent(pump, status.sent_at, control):
            found.append((pump.pump_id, status.sent_at))
        elif status.sent_at.seconds_since(pump.echo_at) <= WINDOW_S and _agrees(
            pump.echo_hz, shown.get(pump.pump_id, ())
        ):
            found.append((pump.pump_id, pump.echo_at))
    return found


def _is_silent(pump: PublishedPump, now: Instant, control: ControlSettings) -> bool:
    written = [at for at in (pump.echo_at, pump.measured_at) if at is not None]
    return all(now.seconds_since(at) > control.setpoint_echo_s for at in written)


def _agrees(echo_hz: float, shown: tuple[Shown, ...]) -> bool:
    """One of the setpoints shown, or on a ramp one between two of them; between 0 and the minimum none ever is."""
    values = [one.setpoint_hz for one in shown]
    ramps = [(low, high) for low, high in map(sorted, pairwise(values)) if low > 0.0]
    ranges = [*((value, value) for value in values), *ramps]
    return any(low - TOLERANCE_HZ <= echo_hz <= high + TOLERANCE_HZ for low, high in ranges)
