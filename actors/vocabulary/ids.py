"""Ids and addresses: every actor is named by the ids on its path through the tree."""

from __future__ import annotations

import re
from typing import Final, NewType

from actors.vocabulary.errors import InvalidValueError

Address = NewType("Address", str)

ID_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}\Z")

ROOT: Final = Address("/")
STORAGE: Final = Address("/storage")
DISCOVERY: Final = Address("/platform/discovery")
ALARM: Final = Address("/platform/alarm")
API: Final = Address("/platform/api")


def checked_id(value: str, *, place: str) -> str:
    """Lower-case `value` and return it if it is a valid id.

    Raises:
        InvalidValueError: `value` is not `[a-z0-9][a-z0-9_-]{0,39}` after lower-casing.

    """
    lowered = value.lower()
    if not ID_PATTERN.match(lowered):
        text = f"{place}: {value!r} is not an id ([a-z0-9][a-z0-9_-]{{0,39}} after lower-casing)"
        raise InvalidValueError(text)
    return lowered


def site_address(site_id: str) -> Address:
    """Address of a site's supervisor."""
    return Address(f"/sites/{site_id}")


def endpoint_address(site_id: str, protocol: str) -> Address:
    """Address of a protocol endpoint (`opcua`, `modbus`)."""
    return Address(f"/sites/{site_id}/endpoints/{protocol}")


def watchdog_address(site_id: str) -> Address:
    """Address of a site's watchdog."""
    return Address(f"/sites/{site_id}/watchdog")


def station_part_address(site_id: str, station_id: str, part: str) -> Address:
    """Address of a station's `safety`, `plan` or `station` actor."""
    return Address(f"/sites/{site_id}/stations/{station_id}/{part}")


def pump_address(site_id: str, station_id: str, pump_id: str) -> Address:
    """Address of a pump's actor."""
    return Address(f"/sites/{site_id}/stations/{station_id}/pumps/{pump_id}")
