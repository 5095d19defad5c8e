"""Engineering values to Modbus registers and back: most significant word first, value = raw x scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from actors.vocabulary import InvalidValueError
from protocols.points import ModbusPlace, PointType

_RANGES: Final = {
    "bit": (0, 1),
    "uint16": (0, 0xFFFF),
    "uint32": (0, 0xFFFF_FFFF),
    "int32": (-0x8000_0000, 0x7FFF_FFFF),
}
_WORD: Final = 0xFFFF
# Scales are powers of ten down to 0.001: six digits lose nothing and drop the binary dust of `raw x scale`.
_DIGITS: Final = 6


class Encoded(msgspec.Struct, frozen=True):
    """Registers (or one bit) and whether they say the value; if not, `fault` says why and what stands
    instead.
    """

    registers: tuple[int, ...]
    fault: str = ""


def encode(place: ModbusPlace, value: float) -> Encoded:
    """Put a value (engineering units) into `place.count` registers.

    A value that the registers cannot say is never encoded silently: not finite becomes 0, past an end of the
    range becomes that end, and `fault` tells. The caller decides whether such a value may be shown at all.
    """
    low, high = _RANGES[place.raw]
    if not math.isfinite(value):
        return Encoded(_split(place, 0), f"{value} is not finite, shown as 0")
    raw = round(value / place.scale)
    if low <= raw <= high:
        return Encoded(_split(place, raw))
    end = low if raw < low else high
    return Encoded(
        _split(place, end), f"{value} is outside the range of {place.raw}, shown as {end * place.scale}"
    )


def decode(place: ModbusPlace, registers: Sequence[int], point_type: PointType) -> bool | int | float:
    """Read a value (engineering units) from `place.count` registers.

    Raises:
        InvalidValueError: the wrong number of registers, or a boolean that is neither 0 nor 1.

    """
    if len(registers) != place.count:
        raise InvalidValueError(
            f"address {place.address}: {len(registers)} registers, expected {place.count}"
        )
    raw = 0
    for word in registers:
        raw = raw << 16 | word
    if place.raw == "int32" and raw > _RANGES["int32"][1]:
        raw -= 1 << 32
    match point_type:
        case PointType.BOOL:
            if raw not in (0, 1):
                raise InvalidValueError(f"address {place.address}: {raw} is neither 0 nor 1")
            return bool(raw)
        case PointType.FLOAT:
            return round(raw * place.scale, _DIGITS)
        case PointType.UINT16 | PointType.UINT32:
            return raw


def _split(place: ModbusPlace, raw: int) -> tuple[int, ...]:
    words = [raw >> 16 * index & _WORD for index in range(place.count)]
    return tuple(reversed(words))
