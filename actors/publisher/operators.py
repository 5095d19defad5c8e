"""What an operator asks for on a wire: a mode, a speed in MANUAL; judged here, decided by pump and kernel.

Nothing here touches what the wire shows: an accepted request becomes a command to the pump's own actor, whose wish
goes through the kernel and comes back past the gate like any other (SAF-1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from actors.messages import SetMode
from actors.publisher.gate import PumpGate, alive
from actors.pump.modes import MANUAL_HZ_MAX
from actors.runtime import Ports
from actors.safety.limits import is_finite_number
from actors.vocabulary import (
    DeviceError,
    Instant,
    InvalidValueError,
    Mode,
    RefusedError,
    UnknownSubjectError,
    WriteRefusal,
)
from actors.vocabulary.ids import pump_address

SETPOINT_REQUEST: Final = "setpoint_request"
MODE_REQUEST: Final = "mode_request"
OPERATOR_POINTS: Final = frozenset({SETPOINT_REQUEST, MODE_REQUEST})
ASK_S: Final = 1.0
_MODES: Final = (Mode.AUTO, Mode.MANUAL)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One point of an operator's request."""

    station_id: str
    pump_id: str
    point: str
    value: bool | int | float
    peer: str
    # Who asks by name; '' : the wire knows no names.
    by: str = ""


def refusal_of(
    wanted: Wanted, gate: PumpGate, *, out_of_service: bool, with_manual: bool, now: Instant
) -> WriteRefusal | None:
    """Return why a request may not go on to the pump; None: it may. `with_manual`: the same request asks for MANUAL.

    A speed is for MANUAL only, and whether a pump is in MANUAL is known only while its chain speaks.
    """
    if isinstance(wanted.value, bool):
        return WriteRefusal.BAD_TYPE
    if not is_finite_number(wanted.value):
        return WriteRefusal.OUT_OF_RANGE
    if wanted.point == MODE_REQUEST and wanted.value not in _MODES:
        return WriteRefusal.OUT_OF_RANGE
    if wanted.point == SETPOINT_REQUEST and not 0.0 <= wanted.value <= MANUAL_HZ_MAX:
        return WriteRefusal.OUT_OF_RANGE
    mode = gate.last.mode if gate.last is not None and alive(gate, now=now) else None
    if out_of_service or mode not in _MODES:
        return WriteRefusal.INVALID_STATE
    if wanted.point == SETPOINT_REQUEST and mode is not Mode.MANUAL and not with_manual:
        return WriteRefusal.INVALID_STATE
    return None


def asks_manual(wanted: Wanted) -> bool:
    """Whether this request puts its pump into MANUAL."""
    return wanted.point == MODE_REQUEST and wanted.value == Mode.MANUAL


def commands(
    wanted: Sequence[Wanted], *, protocol: str, next_id: Callable[[], str]
) -> list[tuple[SetMode, tuple[int, ...]]]:
    """Return one command per pump and what of `wanted` it carries out, by position."""
    by_pump: dict[tuple[str, str], list[int]] = {}
    for index, each in enumerate(wanted):
        by_pump.setdefault((each.station_id, each.pump_id), []).append(index)
    made = []
    for (_, pump_id), indices in by_pump.items():
        # Of a point that is named twice the last counts, as on every other wire.
        given = {wanted[index].point: wanted[index] for index in indices}
        mode, speed = given.get(MODE_REQUEST), given.get(SETPOINT_REQUEST)
        manual = mode is None or mode.value == Mode.MANUAL
        command = SetMode(
            pump_id=pump_id,
            command_id=next_id(),
            mode=Mode.MANUAL if manual else Mode.AUTO,
            by=wanted[indices[0]].by or f"{protocol}:{wanted[indices[0]].peer}",
            setpoint_hz=float(speed.value) if speed is not None and manual else None,
            # MANUAL may have ended since it was last seen here: a late speed must not bring it back.
            only_in=Mode.MANUAL if mode is None else None,
            source_address=wanted[indices[0]].peer,
        )
        made.append((command, tuple(indices)))
    return made


class OperatorDesk:
    """Puts requests before the pumps; a pump that takes one records it itself."""

    def __init__(self, ports: Ports, *, site_id: str, protocol: str, next_id: Callable[[], str]) -> None:
        self._ports = ports
        self._site_id = site_id
        self._protocol = protocol
        self._next_id = next_id

    async def carry_out(self, wanted: Sequence[Wanted]) -> list[WriteRefusal | None]:
        """Return for each request why its pump refused it; None: the pump took it."""
        verdicts: list[WriteRefusal | None] = [None] * len(wanted)
        for command, indices in commands(wanted, protocol=self._protocol, next_id=self._next_id):
            verdict = await self._put(command, wanted[indices[0]])
            for index in indices:
                verdicts[index] = verdict
            if command.mode is Mode.AUTO:
                # A speed that came with AUTO has nothing to act on.
                for index in _speeds(wanted, indices):
                    verdicts[index] = verdict or WriteRefusal.INVALID_STATE
        return verdicts

    async def _put(self, command: SetMode, first: Wanted) -> WriteRefusal | None:
        pump = self._ports.directory.ref(pump_address(self._site_id, first.station_id, command.pump_id))
        try:
            await pump.ask(command, deadline_s=ASK_S)
        except InvalidValueError:
            return WriteRefusal.OUT_OF_RANGE
        except (RefusedError, UnknownSubjectError):
            return WriteRefusal.INVALID_STATE
        except DeviceError:
            return WriteRefusal.DEVICE_FAILURE
        return None


def _speeds(wanted: Sequence[Wanted], indices: Iterable[int]) -> list[int]:
    return [index for index in indices if wanted[index].point == SETPOINT_REQUEST]
