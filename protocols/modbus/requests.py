"""Modbus requests as bytes and as values, strict: a request that is not exactly well formed is refused.

pymodbus decodes leniently (a truncated write, a coil value that is neither ON nor OFF, counts past the
standard), so requests are read here. Source: MODBUS Application Protocol Specification V1.1b3, section 6.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum, unique
from typing import Final, TypeAlias

import msgspec

from actors.vocabulary import WriteRefusal


@unique
class ExceptionCode(IntEnum):
    """Exception codes that Calejo answers with."""

    ILLEGAL_FUNCTION = 0x01
    ILLEGAL_ADDRESS = 0x02
    ILLEGAL_VALUE = 0x03
    DEVICE_FAILURE = 0x04
    BUSY = 0x06
    NO_SUCH_UNIT = 0x0B


class Refusal(Exception):
    """A request that is answered with an exception code; the text is for the log.

    `why`: what a write is audited as, where nobody has done so yet.
    """

    def __init__(self, code: ExceptionCode, text: str, why: WriteRefusal | None = None) -> None:
        """Keep the code beside the text."""
        super().__init__(code, text)
        self.code = code
        self.why = why


class Read(msgspec.Struct, frozen=True):
    """FC 1, 2, 3, 4."""

    function: int
    table: str
    address: int
    count: int


class Write(msgspec.Struct, frozen=True):
    """FC 5, 6, 15, 16; `echo` is what the answer repeats."""

    function: int
    table: str
    address: int
    values: tuple[int, ...]
    echo: bytes


class MaskWrite(msgspec.Struct, frozen=True):
    """FC 22: register = (register and `and_mask`) or (`or_mask` and not `and_mask`)."""

    function: int
    address: int
    and_mask: int
    or_mask: int
    echo: bytes


class ReadWrite(msgspec.Struct, frozen=True):
    """FC 23: write, then read."""

    function: int
    read_address: int
    read_count: int
    write_address: int
    values: tuple[int, ...]


Request: TypeAlias = Read | Write | MaskWrite | ReadWrite

ADDRESSES: Final = 0x1_0000
READ_BITS_MAX: Final = 2000
READ_REGISTERS_MAX: Final = 125
WRITE_BITS_MAX: Final = 1968
WRITE_REGISTERS_MAX: Final = 123
READ_WRITE_REGISTERS_MAX: Final = 121
COIL_ON: Final = 0xFF00
COIL_OFF: Final = 0x0000
_FOUR_BYTES: Final = 5  # function and two words
_SIX_BYTES: Final = 7  # function and three words
_HEADER: Final = 6
_HEADER_READ_WRITE: Final = 10
_READ_TABLES: Final = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}


def parse(pdu: bytes) -> Request:
    """Read one request.

    Raises:
        Refusal: an unknown function (01), addresses past 65,535 (02), a count, length or value that the
        standard
            does not allow (03).

    """
    reader = _READERS.get(pdu[0])
    if reader is None:
        raise Refusal(ExceptionCode.ILLEGAL_FUNCTION, f"function {pdu[0]} is not served")
    return reader(pdu)


def refusal_pdu(function: int, code: ExceptionCode) -> bytes:
    """Return the answer that refuses: the function with its top bit set, then the code."""
    return bytes((function | 0x80, code))


def registers_pdu(function: int, registers: Sequence[int]) -> bytes:
    """Return the answer to a reading of registers."""
    return struct.pack(f">BB{len(registers)}H", function, 2 * len(registers), *registers)


def bits_pdu(function: int, bits: Sequence[int]) -> bytes:
    """Return the answer to a reading of bits, the first in the lowest bit of the first byte."""
    packed = bytearray((len(bits) + 7) // 8)
    for index, bit in enumerate(bits):
        packed[index // 8] |= bool(bit) << index % 8
    return bytes((function, len(packed))) + bytes(packed)


def _must(condition: bool, text: str) -> None:
    if not condition:
        raise Refusal(ExceptionCode.ILLEGAL_VALUE, text, WriteRefusal.OUT_OF_RANGE)


def _span(address: int, count: int, count_max: int) -> None:
    _must(1 <= count <= count_max, f"count {count} is not in 1..{count_max}")
    if address + count > ADDRESSES:
        text = f"{address} + {count} is past {ADDRESSES - 1}"
        raise Refusal(ExceptionCode.ILLEGAL_ADDRESS, text, WriteRefusal.UNKNOWN_POINT)


def _two_words(pdu: bytes) -> tuple[int, int]:
    _must(len(pdu) == _FOUR_BYTES, f"{len(pdu)} bytes, expected {_FOUR_BYTES}")
    first, second = struct.unpack_from(">HH", pdu, 1)
    return first, second


def _read(pdu: bytes) -> Read:
    address, count = _two_words(pdu)
    table = _READ_TABLES[pdu[0]]
    _span(address, count, READ_BITS_MAX if table in ("coil", "discrete") else READ_REGISTERS_MAX)
    return Read(pdu[0], table, address, count)


def _write_coil(pdu: bytes) -> Write:
    address, value = _two_words(pdu)
    _must(value in (COIL_ON, COIL_OFF), f"coil value {value:#06x} is neither 0xff00 nor 0x0000")
    return Write(pdu[0], "coil", address, (int(value == COIL_ON),), pdu)


def _write_register(pdu: bytes) -> Write:
    address, value = _two_words(pdu)
    return Write(pdu[0], "holding", address, (value,), pdu)


def _write_coils(pdu: bytes) -> Write:
    address, count, data = _counted(pdu)
    _span(address, count, WRITE_BITS_MAX)
    _must(len(data) == (count + 7) // 8, f"{len(data)} bytes for {count} coils")
    bits = tuple(data[index // 8] >> index % 8 & 1 for index in range(count))
    return Write(pdu[0], "coil", address, bits, pdu[:_FOUR_BYTES])


def _write_registers(pdu: bytes) -> Write:
    address, count, data = _counted(pdu)
    _span(address, count, WRITE_REGISTERS_MAX)
    return Write(pdu[0], "holding", address, _words(data, count), pdu[:_FOUR_BYTES])


def _counted(pdu: bytes) -> tuple[int, int, bytes]:
    _must(
        len(pdu) > _HEADER and pdu[5] == len(pdu) - _HEADER,
        f"{len(pdu)} bytes do not hold what they announce",
    )
    address, count = struct.unpack_from(">HH", pdu, 1)
    return address, count, pdu[_HEADER:]


def _words(data: bytes, count: int) -> tuple[int, ...]:
    _must(len(data) == 2 * count, f"{len(data)} bytes for {count} registers")
    return struct.unpack(f">{count}H", data)


def _mask(pdu: bytes) -> MaskWrite:
    _must(len(pdu) == _SIX_BYTES, f"{len(pdu)} bytes, expected {_SIX_BYTES}")
    address, and_mask, or_mask = struct.unpack_from(">HHH", pdu, 1)
    return MaskWrite(pdu[0], address, and_mask, or_mask, pdu)


def _read_write(pdu: bytes) -> ReadWrite:
    enough = len(pdu) > _HEADER_READ_WRITE and pdu[9] == len(pdu) - _HEADER_READ_WRITE
    _must(enough, f"{len(pdu)} bytes do not hold what they announce")
    read_address, read_count, write_address, write_count = struct.unpack_from(">HHHH", pdu, 1)
    _span(read_address, read_count, READ_REGISTERS_MAX)
    _span(write_address, write_count, READ_WRITE_REGISTERS_MAX)
    return ReadWrite(
        pdu[0], read_address, read_count, write_address, _words(pdu[_HEADER_READ_WRITE:], write_count)
    )


_READERS: Final[Mapping[int, Callable[[bytes], Request]]] = {
    1: _read,
    2: _read,
    3: _read,
    4: _read,
    5: _write_coil,
    6: _write_register,
    15: _write_coils,
    16: _write_registers,
    22: _mask,
    23: _read_write,
}
