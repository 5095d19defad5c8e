"""What the units hold: registers and bits by unit, changed and read in one piece, and what may be written
where.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from actors.vocabulary import InvalidValueError, Quality
from protocols.modbus.codec import decode, encode
from protocols.modbus.points import block_of
from protocols.points import (
    ADDRESSES,
    Access,
    ModbusPlace,
    Point,
    PointValue,
)

TABLES: Final = ("holding", "input", "coil", "discrete")


class _Illegal(Exception):
    """What a client asked for cannot be; `path` is the point that it is about, '' if there is none."""

    def __init__(self, text: str, path: str = "") -> None:
        """Keep the path beside the text."""
        super().__init__(text, path)
        self.path = path

    def __str__(self) -> str:
        """Return the text alone."""
        return str(self.args[0])


class IllegalAddress(_Illegal):
    """A client named an address that is not there, or that it may not write (Modbus exception 02)."""


class IllegalValue(_Illegal):
    """A client sent what the addressed points cannot take (Modbus exception 03)."""


class DecodedWrite(msgspec.Struct, frozen=True):
    """One point of a write request in engineering units."""

    path: str
    value: bool | int | float


class _Unit:
    """One unit's four tables: cells, which of them exist, and the point that begins at an address."""

    def __init__(self) -> None:
        self.cells = {table: array("H") for table in TABLES}
        self.present = {table: bytearray() for table in TABLES}
        self.points: dict[str, dict[int, tuple[Point, ModbusPlace]]] = {table: {} for table in TABLES}
        self.owners: dict[str, dict[int, Point]] = {table: {} for table in TABLES}

    def reserve(self, table: str, first: int, count: int) -> None:
        """Make these addresses exist, reading 0."""
        missing = first + count - len(self.present[table])
        if missing > 0:
            self.cells[table].extend([0] * missing)
            self.present[table].extend(bytes(missing))
        self.present[table][first : first + count] = b"\x01" * count

    def add(self, point: Point, place: ModbusPlace) -> None:
        span = range(place.address, place.address + place.count)
        owners = self.owners[place.table]
        if place.address < 0 or span.stop > ADDRESSES or any(address in owners for address in span):
            raise InvalidValueError(
                f"{point.path}: {place.table} {place.address} is taken or outside the unit"
            )
        owners.update(dict.fromkeys(span, point))
        self.reserve(place.table, place.address, place.count)
        self.points[place.table][place.address] = (point, place)


class RegisterImage:
    """All units of one endpoint. Every method is synchronous, so on one event loop no client sees half a
    change.
    """

    def __init__(self, points: Sequence[Point] = ()) -> None:
        """Build the units of `points`, every point 0 and BAD.

        Raises:
            InvalidValueError: two points share an address.

        """
        self._points = {point.path: point for point in points}
        self._values: dict[str, PointValue] = {}
        self._units: dict[int, _Unit] = {}
        for point in points:
            for place in point.places:
                unit = self._units.setdefault(place.unit_id, _Unit())
                unit.add(point, place)
                unit.reserve(place.table, *block_of(point, place))

    def __contains__(self, unit_id: int) -> bool:
        """Say whether the unit exists."""
        return unit_id in self._units

    def reshaped(self, points: Sequence[Point]) -> RegisterImage:
        """Return the image of other points in which those that stay keep their values.

        Raises:
            InvalidValueError: two points share an address.

        """
        image = RegisterImage(points)
        image.take({path: value for path, value in self._values.items() if path in image._points})
        return image

    def take(self, values: Mapping[str, PointValue]) -> list[str]:
        """Show new values, all or none; return a line per value that its registers cannot say as it is.

        What the PLC wrote elsewhere (a number from OPC UA, say) may exceed our registers: it is shown at the
        end of the range and told. Our own points must fit: the gate has checked them.

        Raises:
            ValueError: an unknown path, or a value of our own that does not fit: our bug, nothing was
            changed.

        """
        changes: list[tuple[array[int], int, tuple[int, ...]]] = []
        faults: list[str] = []
        for path, value in values.items():
            point = self._points.get(path)
            if point is None:
                raise ValueError(f"{path}: no such point on this endpoint")
            held = self._values.get(path)
            if held is not None and held.value == value.value:
                continue
            for place in point.places:
                encoded = encode(place, value.value)
                if encoded.fault:
                    if point.access is Access.READ:
                        raise ValueError(f"{path}: {encoded.fault}")
                    faults.append(f"{path}: {encoded.fault}")
                changes.append(
                    (self._units[place.unit_id].cells[place.table], place.address, encoded.registers)
                )
        for cells, address, registers in changes:
            for offset, register in enumerate(registers):
                cells[address + offset] = register
        self._values.update(values)
        return faults

    def value(self, path: str) -> PointValue:
        """Return what was last shown at `path`; 0 and BAD if nothing ever was."""
        return self._values.get(path, PointValue(value=0, quality=Quality.BAD))

    def point(self, path: str) -> Point | None:
        """Return the point of this path, None if there is none."""
        return self._points.get(path)

    def sets(self, unit_id: int, table: str, first: int, raw: Sequence[int], point: str) -> bool:
        """Whether this would write something other than 0 to a point of this name."""
        unit = self._units.get(unit_id)
        if unit is None:
            return False
        owners = unit.owners[table]
        found = (owners.get(first + offset) for offset, word in enumerate(raw) if word)
        return any(owner is not None and owner.point == point for owner in found)

    def check(self, unit_id: int, table: str, first: int, count: int) -> None:
        """See that all these addresses exist.

        Raises:
            IllegalAddress: one of them does not.

        """
        present = self._units[unit_id].present[table]
        if first + count > len(present) or 0 in present[first : first + count]:
            raise IllegalAddress(f"{table} {first}..{first + count - 1}")

    def read(self, unit_id: int, table: str, first: int, count: int) -> list[int]:
        """Return `count` registers or bits, all of one moment.

        Raises:
            IllegalAddress: one of them does not exist.

        """
        self.check(unit_id, table, first, count)
        return self._units[unit_id].cells[table][first : first + count].tolist()

    def decode_write(self, unit_id: int, table: str, first: int, raw: Sequence[int]) -> list[DecodedWrite]:
        """Turn a write request into points; all of it must be writable, every point whole.

        Raises:
            IllegalAddress: an address does not exist, is reserved, or belongs to a point clients may only
            read. IllegalValue: half of a 32-bit value, or a value its point cannot have.

        """
        unit = self._units[unit_id]
        self.check(unit_id, table, first, len(raw))
        writes: list[DecodedWrite] = []
        offset = 0
        half: tuple[str, str] | None = None
        while offset < len(raw):
            owner = unit.owners[table].get(first + offset)
            if owner is None:
                raise IllegalAddress(f"{table} {first + offset} is reserved")
            if owner.access is Access.READ:
                raise IllegalAddress(f"{owner.path} is read-only", owner.path)
            found = unit.points[table].get(first + offset)
            if found is None:
                half = half or (f"{owner.path}: only its last register", owner.path)
                offset += 1
                continue
            point, place = found
            words = raw[offset : offset + place.count]
            offset += place.count
            if len(words) < place.count:
                half = half or (f"{point.path}: {len(words)} of {place.count} registers", point.path)
                continue
            writes.append(_decoded(point, place, words))
        if half is not None:
            raise IllegalValue(*half)
        return writes


def _decoded(point: Point, place: ModbusPlace, words: Sequence[int]) -> DecodedWrite:
    try:
        return DecodedWrite(point.path, decode(place, words, point.type))
    except InvalidValueError as error:
        raise IllegalValue(f"{point.path}: {error}", point.path) from error
