"""What `wire watch` makes of what it reads, pure: differences between the wires, standstill, torn blocks, silence.

Both wires are read one after the other and the endpoints hear of feedback some 200 ms apart, so that two values may
differ for a moment: they differ when neither is what the other wire showed in the last seconds, twice in a row.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from ops.kit.clients import Shown, number
from ops.kit.tags import Tag

# A controller obeys no longer than this (WDG-4).
STALE_S: Final = 10.0
_MEMORY_S: Final = 3.0
_LOOKS_MAX: Final = 64
# Each endpoint counts its own heartbeat; sequences move between the two reads of a look.
_OWN_PER_WIRE: Final = frozenset({"heartbeat", "sequence", "sequence_end", "plc_heartbeat"})
WIRES: Final = ("modbus", "opcua")


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """One look at one pump or station: values by point and wire; a wire that did not answer has a `fault`."""

    owner: str
    values: Mapping[str, Mapping[str, Shown]]
    faults: Mapping[str, str]
    marks: tuple[str, ...]
    differing: frozenset[str]


class _Beat:
    """When a wire's heartbeat moved last, or since when it is watched (s)."""

    def __init__(self, now_s: float) -> None:
        self.value: bool | int | float | None = None
        self.since_s = now_s

    def see(self, value: bool | int | float, now_s: float) -> None:  # noqa: PYI041 - a point's value
        if value != self.value:
            self.value, self.since_s = value, now_s


class Owner:
    """One pump or station under watch. Times are s of one monotonic clock."""

    def __init__(self, owner: str, tags: Sequence[Tag]) -> None:
        """Begin with nothing seen."""
        self.owner, self.tags = owner, tuple(tags)
        self._seen: dict[tuple[str, str], deque[tuple[float, bool | int | float]]] = {}
        self._apart: dict[str, int] = {}
        self._beats: dict[str, _Beat] = {}

    def look(
        self, values: Mapping[str, Mapping[str, Shown]], faults: Mapping[str, str], *, now_s: float
    ) -> Look:
        """Take what both wires showed (by wire, then point) and say what is remarkable."""
        marks = [f"{wire}: {fault}" for wire, fault in faults.items()]
        for wire, shown in values.items():
            marks += self._beat(wire, shown, now_s)
            first, last = shown.get("sequence"), shown.get("sequence_end")
            # OPC UA has no block: its nodes are read in one request of one moment all the same.
            if first is not None and last is not None and first.value != last.value:
                marks.append(f"{wire}: torn ({number(first.value)}, {number(last.value)})")
        differing = self._differing(values, now_s) if not faults else frozenset()
        for point in sorted(differing):
            pair = "/".join(number(values[wire][point].value) for wire in WIRES)
            marks.append(f"differs: {point} {pair}")
        return Look(
            owner=self.owner, values=values, faults=dict(faults), marks=tuple(marks), differing=differing
        )

    def _beat(self, wire: str, shown: Mapping[str, Shown], now_s: float) -> list[str]:
        heartbeat = shown.get("heartbeat")
        if heartbeat is None:
            return []
        beat = self._beats.setdefault(wire, _Beat(now_s))
        beat.see(heartbeat.value, now_s)
        still_s = now_s - beat.since_s
        return [f"{wire}: stale {still_s:.0f} s"] if still_s > STALE_S else []

    def _differing(self, values: Mapping[str, Mapping[str, Shown]], now_s: float) -> frozenset[str]:
        for wire in WIRES:
            for point, shown in values[wire].items():
                seen = self._seen.setdefault((wire, point), deque(maxlen=_LOOKS_MAX))
                seen.append((now_s, shown.value))
                while now_s - seen[0][0] > _MEMORY_S:
                    seen.popleft()
        found = set()
        for tag in self.tags:
            if tag.point in _OWN_PER_WIRE or not all(tag.point in values[wire] for wire in WIRES):
                continue
            apart = not self._agree(tag, values)
            self._apart[tag.point] = self._apart.get(tag.point, 0) + 1 if apart else 0
            if self._apart[tag.point] > 1:
                found.add(tag.point)
        return frozenset(found)

    def _agree(self, tag: Tag, values: Mapping[str, Mapping[str, Shown]]) -> bool:
        tolerance = tag.places[0].scale * 0.5 + 1e-9 if tag.type == "Double" and tag.places else 0.0
        for one, other in (WIRES, WIRES[::-1]):
            now = values[one][tag.point].value
            if any(abs(now - before) <= tolerance for _, before in self._seen[other, tag.point]):
                return True
        return False
