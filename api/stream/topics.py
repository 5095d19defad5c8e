"""What can be watched, who may, and one change of it: pure.

A topic is a table by key. An item is one row as JSON, made once for everybody; a change is the rows that are new or
other than before, and the keys of those that are gone.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from enum import StrEnum, unique
from typing import Any, Final

import msgspec

from actors.vocabulary import InvalidValueError
from actors.vocabulary.access import Operation
from actors.vocabulary.users import Principal


@unique
class Topic(StrEnum):
    """A table that can be watched."""

    SETPOINTS = "setpoints"
    FEEDBACK = "feedback"
    MODES = "modes"
    STATIONS = "stations"
    STOPS = "stops"
    FAILSAFES = "failsafes"
    ALARMS = "alarms"
    TREE = "tree"
    UNAVAILABLE = "unavailable"


NEEDS: Final[Mapping[Topic, Operation]] = {
    # The same rights as for the resource that shows the same.
    Topic.SETPOINTS: Operation.READ_POINTS,
    Topic.FEEDBACK: Operation.READ_POINTS,
    Topic.MODES: Operation.READ_POINTS,
    Topic.STATIONS: Operation.READ_POINTS,
    Topic.STOPS: Operation.READ_PLANT,
    Topic.FAILSAFES: Operation.READ_PLANT,
    Topic.ALARMS: Operation.READ_PLANT,
    Topic.TREE: Operation.READ_PLANT,
    Topic.UNAVAILABLE: Operation.READ_POINTS,
}
assert set(NEEDS) == set(Topic), "every topic names its operation"
PLACED: Final = frozenset({Topic.SETPOINTS, Topic.FEEDBACK, Topic.MODES, Topic.STATIONS})
"""Topics that can be narrowed to a part of the plant. The others are always told whole: nobody misses a stop."""
ALWAYS: Final = frozenset({Topic.UNAVAILABLE})
"""Told to everybody: what is not heard of must not look unchanged."""


class Place(msgspec.Struct, frozen=True):
    """Where an item stands; '' for what stands nowhere in particular."""

    site_id: str = ""
    station_id: str = ""
    pump_id: str = ""


class Item(msgspec.Struct, frozen=True):
    """One row as it is sent."""

    place: Place
    json: bytes


class Change(msgspec.Struct, frozen=True):
    """Rows of one topic that are new or other than before, and keys of rows that are gone."""

    topic: Topic
    changed: Mapping[str, Item]
    removed: Mapping[str, Place]

    @property
    def size_bytes(self) -> int:
        """What it weighs, about."""
        return sum(len(item.json) + len(key) for key, item in self.changed.items()) + sum(
            len(key) for key in self.removed
        )


class Filter(msgspec.Struct, frozen=True):
    """What somebody wants to watch; '' narrows nothing."""

    topics: frozenset[Topic]
    site_id: str = ""
    station_id: str = ""
    pump_id: str = ""

    @property
    def mark(self) -> str:
        """What is asked for, as eight hexadecimal digits: two questions that differ hardly ever share them."""
        words = (*sorted(self.topics), self.site_id, self.station_id, self.pump_id)
        return f"{zlib.crc32('|'.join(words).encode()):08x}"

    def takes(self, topic: Topic, place: Place) -> bool:
        """Say whether a row is wanted."""
        if topic not in self.topics:
            return False
        if topic not in PLACED:
            return True
        if self.pump_id and topic is not Topic.STATIONS and place.pump_id != self.pump_id:
            return False
        if self.station_id and place.station_id != self.station_id:
            return False
        return not self.site_id or place.site_id == self.site_id


def item(place: Place, row: Any) -> Item:
    """Return a row as it is sent."""
    return Item(place, msgspec.json.encode(row))


def change_of(topic: Topic, before: Mapping[str, Item], after: Mapping[str, Item]) -> Change | None:
    """Return what is other than before, None: nothing."""
    changed = {key: row for key, row in after.items() if before.get(key) != row}
    removed = {key: row.place for key, row in before.items() if key not in after}
    return Change(topic, changed, removed) if changed or removed else None


def topics_of(text: str, principal: Principal) -> frozenset[Topic]:
    """Return the topics that comma-separated words name; without any, all that the asker may watch.

    Raises:
        InvalidValueError: a word names none.

    """
    words = [word for part in text.split(",") if (word := part.strip().lower())]
    known = {topic.value for topic in Topic}
    for word in words:
        if word not in known:
            expected = ", ".join(topic for topic in Topic)
            raise InvalidValueError(f"topics: {word[:40]!r}, expected some of {expected}")
    if not words:
        return ALWAYS | {topic for topic in Topic if principal.may(NEEDS[topic])}
    return ALWAYS | {Topic(word) for word in words}


def not_allowed(topics: Iterable[Topic], principal: Principal) -> str:
    """Return the topics that this asker may not watch, as text; '' : none."""
    return ", ".join(sorted(topic for topic in topics if not principal.may(NEEDS[topic])))
