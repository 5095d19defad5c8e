"""The controllers' side of the wire: reads handshake blocks, writes feedback, over Modbus TCP and nothing
else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pymodbus import ModbusException, pymodbus_apply_logging_config
from pymodbus.client import AsyncModbusTcpClient

from actors.vocabulary import DeviceError, InvalidValueError, SiteConfig
from ops.demo.plc import Block
from protocols.modbus.codec import decode, encode
from protocols.points import (
    FEEDBACK_OFFSET,
    FEEDBACK_POINTS,
    FEEDBACK_REGISTERS,
    HANDSHAKE_REGISTERS,
    Point,
    pump_base,
    site_points,
)

_CRITICAL: Final = "CRITICAL"


class PumpPlace:
    """One pump's registers: where its block begins, and its points by name."""

    def __init__(self, unit_id: int, base: int, points: Mapping[str, Point]) -> None:
        """Keep them."""
        self.unit_id, self.base, self._points = unit_id, base, points

    def block(self, registers: list[int]) -> Block:
        """Return the handshake block in the registers of one read.

        Raises:
            InvalidValueError: it cannot be a block.

        """

        def value(name: str) -> Any:
            point = self._points[name]
            place = point.places[0]
            first = place.address - self.base
            return decode(place, registers[first : first + place.count], point.type)

        return Block(
            sequence=value("sequence"),
            sequence_end=value("sequence_end"),
            remote_enabled=value("remote_enabled"),
            run_inhibit=value("run_inhibit"),
            setpoint_hz=value("setpoint"),
            setpoint_quality=value("setpoint_quality"),
            heartbeat=value("heartbeat"),
            epoch=value("epoch"),
            release_id=value("release_id"),
            reason=value("reason"),
        )

    def feedback(self, values: Mapping[str, float]) -> list[int]:
        """Return the registers of all feedback points."""
        registers = [0] * FEEDBACK_REGISTERS
        for name in FEEDBACK_POINTS:
            place = self._points[name].places[0]
            first = place.address - self.base - FEEDBACK_OFFSET
            registers[first : first + place.count] = encode(place, values[name]).registers
        return registers


def places(site: SiteConfig) -> dict[str, PumpPlace]:
    """Return every pump's place by pump id."""
    by_pump: dict[str, dict[str, Point]] = {}
    for point in site_points(site):
        if point.pump_id is not None:
            by_pump.setdefault(point.pump_id, {})[point.point] = point
    return {
        pump.pump_id: PumpPlace(station.modbus_unit_id, pump_base(pump.wire_slot), by_pump[pump.pump_id])
        for station in site.stations
        for pump in station.pumps
    }


class Link:
    """One controller's connection. A fault closes it and says so; whoever holds it opens it again."""

    def __init__(self, host: str, port: int, *, answer_s: float) -> None:
        """Prepare; `open` connects."""
        # A controller that calls a Calejo that is not there is no news; pymodbus would print each attempt.
        pymodbus_apply_logging_config(_CRITICAL)
        self._client = AsyncModbusTcpClient(host, port=port, timeout=answer_s, retries=0, reconnect_delay=0)

    async def open(self) -> bool:
        """Connect; False: nobody answers."""
        return bool(await self._client.connect())

    async def read(self, place: PumpPlace) -> Block:
        """Read a pump's block in one request.

        Raises:
            DeviceError: no answer, a refusal, or what is no block.

        """
        try:
            answer = await self._client.read_holding_registers(
                place.base, count=HANDSHAKE_REGISTERS, device_id=place.unit_id
            )
        except (ModbusException, OSError, TimeoutError) as error:
            raise DeviceError(f"unit {place.unit_id} register {place.base}: {error}") from error
        if answer.isError() or len(answer.registers) != HANDSHAKE_REGISTERS:
            raise DeviceError(f"unit {place.unit_id} register {place.base}: {answer}")
        try:
            return place.block(list(answer.registers))
        except InvalidValueError as error:
            raise DeviceError(f"unit {place.unit_id}: {error}") from error

    async def write(self, place: PumpPlace, values: Mapping[str, float]) -> None:
        """Write all of a pump's feedback in one request.

        Raises:
            DeviceError: no answer, or a refusal.

        """
        first = place.base + FEEDBACK_OFFSET
        try:
            answer = await self._client.write_registers(
                first, place.feedback(values), device_id=place.unit_id
            )
        except (ModbusException, OSError, TimeoutError) as error:
            raise DeviceError(f"unit {place.unit_id} register {first}: {error}") from error
        if answer.isError():
            raise DeviceError(f"unit {place.unit_id} register {first}: {answer}")

    def close(self) -> None:
        """Hang up."""
        self._client.close()
