"""What `setpoint_request` reads back: the last speed taken here, while its pump is in MANUAL (OPC-2).

Nobody else writes these points. A speed that was taken stands there as good while it is what the pump was told last in
MANUAL; when the mode is another, it is the last usable value and no longer true.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from asyncua import ua

from actors.vocabulary import Mode, Quality
from protocols.opcua.values import wire_time
from protocols.points import SETPOINT_REQUEST, PointValue

if TYPE_CHECKING:
    from protocols.opcua.address_space import AddressSpace


class RequestsShown:
    """The requests that are shown, by path."""

    def __init__(self) -> None:
        self._shown: dict[str, PointValue] = {}

    def keep(self, paths: Container[str]) -> None:
        """Forget the requests of pumps that are gone."""
        self._shown = {path: held for path, held in self._shown.items() if path in paths}

    def taken(
        self, items: Sequence[ua.WriteValue], codes: Sequence[ua.StatusCode], space: AddressSpace
    ) -> dict[str, PointValue]:
        """Return what is to be shown of a request that was judged: each speed that was taken."""
        fresh: dict[str, PointValue] = {}
        for item, code in zip(items, codes, strict=True):
            slot = space.slot_of(item.NodeId)
            if slot is None or slot.point.point != SETPOINT_REQUEST or not code.is_good():
                continue
            assert item.Value.Value is not None, "a null is never taken"
            utc_ns = int(wire_time().timestamp() * 1_000_000) * 1_000
            fresh[slot.point.path] = PointValue(
                value=item.Value.Value.Value, quality=Quality.GOOD, utc_ns=utc_ns
            )
        self._shown.update(fresh)
        return fresh

    def outdated(self, values: Mapping[str, PointValue]) -> dict[str, PointValue]:
        """Return the requests that new values of `mode` make untrue."""
        if not self._shown:
            return {}
        old: dict[str, PointValue] = {}
        for path, held in list(self._shown.items()):
            mode = values.get(f"{path.rpartition('/')[0]}/mode")
            if mode is None or (mode.quality is Quality.GOOD and mode.value == Mode.MANUAL):
                continue
            old[path] = msgspec.structs.replace(held, quality=Quality.UNCERTAIN)
            del self._shown[path]
        return old
