"""The map as REST tells it (`/api/v1/tags`), a tag per point: what every export and every client of the kit uses."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from actors.vocabulary import DeviceError

_WORD: Final = re.compile(r"[^A-Za-z0-9_]")
_DIGEST: Final = 6
PREFIX: Final = "CALEJO"
# Raw ranges by Modbus type.
RAW_RANGE: Final[Mapping[str, tuple[int, int]]] = {
    "bool": (0, 1),
    "uint16": (0, 0xFFFF),
    "uint32": (0, 0xFFFF_FFFF),
    "int32": (-0x8000_0000, 0x7FFF_FFFF),
}


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a tag lies on Modbus: zero-based address; `type` bool, uint16, uint32 or int32; value = raw x scale."""

    unit_id: int
    table: str
    address: int
    count: int
    type: str
    scale: float


class Tag(msgspec.Struct, frozen=True, kw_only=True):
    """One point; `type` is OPC UA's (Boolean, UInt16, UInt32, Double), `access` r, w or rw.

    `node_id` '': only Modbus has it; no `places`: only OPC UA has it.
    """

    path: str
    site_id: str
    station_id: str | None
    pump_id: str | None
    point: str
    type: str
    unit: str
    access: str
    description: str
    node_id: str
    places: tuple[Place, ...]

    @property
    def on_both(self) -> bool:
        """Whether both wires have it."""
        return bool(self.node_id and self.places)

    @property
    def writable(self) -> bool:
        """Whether a client may write it at all."""
        return "w" in self.access

    @property
    def owner(self) -> str:
        """Whose point it is: the path without the point."""
        return self.path.rpartition("/")[0]

    @property
    def value_range(self) -> tuple[float, float]:
        """The values its registers can say, in engineering units; a `setpoint`'s without any; (0, 1) for a bit."""
        if self.type == "Boolean":
            return 0.0, 1.0
        if not self.places:
            return 0.0, 655.35
        place = self.places[0]
        low, high = RAW_RANGE[place.type]
        # Scales are powers of ten down to 0.001: three digits say the value without binary dust.
        return round(low * place.scale, 3), round(high * place.scale, 3)


def tags_of(rows: Iterable[Mapping[str, Any]]) -> tuple[Tag, ...]:
    """Return the tags of the rows of `/api/v1/tags`, in their order.

    Raises:
        DeviceError: the rows are not what that API answers.

    """
    rows = list(rows)
    places: dict[str, list[Place]] = {}
    try:
        for row in rows:
            if row["protocol"] == "modbus":
                places.setdefault(row["path"], []).append(msgspec.convert(row, Place))
        first = {row["path"]: row for row in reversed(rows)}
        nodes = {row["path"]: row for row in rows if row["protocol"] == "opcua"}
        return tuple(
            msgspec.convert(
                {
                    **nodes.get(path, first[path]),
                    "type": nodes[path]["type"] if path in nodes else _type_of(first[path]),
                    "node_id": nodes[path]["node_id"] if path in nodes else "",
                    "unit": first[path]["unit"] or "",
                    "places": places.get(path, []),
                },
                Tag,
                strict=True,
            )
            for path in dict.fromkeys(row["path"] for row in rows)
        )
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise DeviceError(f"/api/v1/tags: not a list of tags ({error})") from error


def _type_of(row: Mapping[str, Any]) -> str:
    """Return the OPC UA type of what Modbus alone has."""
    if row["type"] == "bool":
        return "Boolean"
    if row["scale"] != 1.0 or row["type"] == "int32":
        return "Double"
    return {"uint16": "UInt16", "uint32": "UInt32"}[row["type"]]


def only(
    tags: Sequence[Tag],
    *,
    site_id: str | None = None,
    station_id: str | None = None,
    pump_id: str | None = None,
) -> tuple[Tag, ...]:
    """Return the tags of a site, station or pump."""
    return tuple(
        tag
        for tag in tags
        if (site_id is None or tag.site_id == site_id)
        and (station_id is None or tag.station_id == station_id)
        and (pump_id is None or tag.pump_id == pump_id)
    )


def word(text: str) -> str:
    """Return `text` with everything that is no letter, digit or underscore as an underscore."""
    return _WORD.sub("_", text)


def names(tags: Sequence[Tag], *, separator: str = "_") -> dict[str, str]:
    """Return a name per path that every SCADA system takes: letters, digits, underscores; never a leading digit.

    Two paths that would read alike (`a-b` and `a_b`) both get a piece of their path's digest.
    """
    plain = {
        tag.path: separator.join([PREFIX, *(word(part) for part in tag.path[1:].split("/"))]) for tag in tags
    }
    often = Counter(name.lower() for name in plain.values())
    return {
        path: name
        if often[name.lower()] == 1
        else f"{name}_{hashlib.sha256(path.encode()).hexdigest()[:_DIGEST]}"
        for path, name in plain.items()
    }
