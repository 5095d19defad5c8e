"""Alarms as Modbus has them: two bits for each object, and a coil that acknowledges all of one; pure (ALM-1, MOD-2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from actors.vocabulary import Quality
from actors.vocabulary.client_calls import ShownAlarms
from protocols.modbus.points import ALARM_ACTIVE, ALARM_UNACKNOWLEDGED
from protocols.points import PointValue

ACKNOWLEDGED_MAX: Final = 200
"""Alarms that one writing of the coil acknowledges; there are more than so many in a flood only."""


def alarm_bits(alarms: ShownAlarms, paths: Iterable[str]) -> dict[str, PointValue]:
    """Return what the alarm bits among `paths` show: an alarm shows at its object and at those above it.

    As long as the list is not whole an absence means nothing: bits are then set, but none is cleared.
    """
    active: set[str] = set()
    unseen: set[str] = set()
    for alarm in alarms.alarms:
        for owner in _upwards(alarm.source):
            if alarm.active:
                active.add(owner)
            if not alarm.acknowledged:
                unseen.add(owner)
    shown = {}
    for path in paths:
        owner, _, point = path.rpartition("/")
        if point not in (ALARM_ACTIVE, ALARM_UNACKNOWLEDGED):
            continue
        holds = owner in (active if point == ALARM_ACTIVE else unseen)
        if holds or alarms.whole:
            quality = Quality.GOOD if alarms.current else Quality.UNCERTAIN
            shown[path] = PointValue(value=holds, quality=quality)
    return shown


def unacknowledged(alarms: ShownAlarms, owner: str) -> tuple[str, ...]:
    """Return the ids of the alarms at an object or below it that nobody has acknowledged, at most ACKNOWLEDGED_MAX."""
    found = (
        alarm.alarm_id
        for alarm in alarms.alarms
        if not alarm.acknowledged and owner in _upwards(alarm.source)
    )
    return tuple(alarm_id for alarm_id, _ in zip(found, range(ACKNOWLEDGED_MAX), strict=False))


def _upwards(path: str) -> tuple[str, ...]:
    """Return a path and those above it: `/site/station/pump`, `/site/station`, `/site`."""
    parts = path[1:].split("/")
    return tuple("/" + "/".join(parts[:depth]) for depth in range(len(parts), 0, -1))
