"""Browse, BrowseNext, TranslateBrowsePaths: in parts that hold up nobody, and only what one may know (OPC-5).

A continuation point is a place in a node's list of references, kept for the session that asked; a session has few.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
from asyncua import ua
from asyncua.server.address_space import AddressSpace, NodeData, ViewService

from actors.vocabulary.access import Operation
from protocols.opcua import limits
from protocols.opcua.identity import current_caller
from protocols.opcua.ids import is_of_condition, standard, status

_HAS_CONDITION: Final = standard(ua.ObjectIds.HasCondition)
_DIRECTIONS: Final = (ua.BrowseDirection.Forward, ua.BrowseDirection.Inverse, ua.BrowseDirection.Both)
_POINT_BYTES: Final = 16
_WHOLE_PATH: Final = 0xFFFF_FFFF


class _Place(msgspec.Struct):
    """Where a node's answer was cut off: the question, how many references were looked at, and the last of them."""

    asked: ua.BrowseDescription
    looked_at: int
    last: ua.ReferenceDescription
    count_max: int


class Browser:
    """One session's way through the space: its continuation points, the oldest forgotten for new ones."""

    def __init__(self, views: Views) -> None:
        self._views: Final = views
        self._places: Final[dict[bytes, _Place]] = {}

    def __len__(self) -> int:
        return len(self._places)

    async def browse(self, params: ua.BrowseParameters) -> list[ua.BrowseResult]:
        """Answer every node with its first references; what one node leaves of the whole is the next one's."""
        asked = [
            _Place(each, 0, ua.ReferenceDescription(), params.RequestedMaxReferencesPerNode)
            for each in params.NodesToBrowse
        ]
        return await self._answer(asked)

    async def browse_next(self, points: Sequence[bytes], *, release: bool) -> list[ua.BrowseResult]:
        """Go on at each point; `release`: forget them."""
        places = [self._places.pop(point or b"", None) for point in points]
        if not release:
            return await self._answer(places)
        return [
            ua.BrowseResult() if place else _refused(ua.StatusCodes.BadContinuationPointInvalid)
            for place in places
        ]

    async def _answer(self, places: Sequence[_Place | None]) -> list[ua.BrowseResult]:
        results: list[ua.BrowseResult] = []
        left = limits.REFERENCES_PER_BROWSE_MAX
        for number, place in enumerate(places):
            if place is None:
                results.append(_refused(ua.StatusCodes.BadContinuationPointInvalid))
                continue
            # What is after it keeps its own least part: a node with thousands does not take it all.
            share = max(limits.REFERENCES_PER_NODE_MIN, left - _kept_for(len(places) - number - 1))
            result = self._one(place, min(share, place.count_max or share))
            left -= len(result.References)
            results.append(result)
            # Nodes with thousands of references, two hundred times: the others get their turn between them.
            await asyncio.sleep(0)
        return results

    def _one(self, place: _Place, count_max: int) -> ua.BrowseResult:
        found = self._views.looked_up(place.asked.NodeId)
        if isinstance(found, ua.StatusCode):
            return ua.BrowseResult(StatusCode=found)
        if place.asked.BrowseDirection not in _DIRECTIONS:
            return _refused(ua.StatusCodes.BadBrowseDirectionInvalid)
        if not self._views.is_reference_type(place.asked.ReferenceTypeId):
            return _refused(ua.StatusCodes.BadReferenceTypeIdInvalid)
        references = found.references
        begin = place.looked_at
        if begin and (begin > len(references) or references[begin - 1] is not place.last):
            # Something before it has gone meanwhile: where its last one stands now, or nobody knows where to go on.
            begin = next((n for n, one in enumerate(references, start=1) if one is place.last), 0)
            if begin == 0:
                return _refused(ua.StatusCodes.BadContinuationPointInvalid)
        result = ua.BrowseResult()
        sees_alarms = current_caller().may(Operation.READ_PLANT)
        for number in range(begin, len(references)):
            one = references[number]
            if not self._views.is_wanted(place.asked, one, sees_alarms=sees_alarms):
                continue
            if len(result.References) >= count_max:
                result.ContinuationPoint = self._kept(
                    msgspec.structs.replace(place, looked_at=number, last=references[number - 1])
                )
                break
            result.References.append(one)
        return result

    def _kept(self, place: _Place) -> bytes:
        while len(self._places) >= limits.BROWSE_POINTS_MAX:
            del self._places[next(iter(self._places))]
        point = secrets.token_bytes(_POINT_BYTES)
        self._places[point] = place
        return point


class Views(ViewService):
    """Browsing at a steady cost: the tree of reference types is walked once, not once per reference."""

    def __init__(self, aspace: AddressSpace) -> None:
        super().__init__(aspace)
        # Reference types are the standard's and do not change. Bounded: the key comes from the client.
        self._subtypes = lru_cache(maxsize=256)(self._walk)

    def _walk(self, reference_type: ua.NodeId) -> frozenset[ua.NodeId]:
        return frozenset(super()._get_sub_ref(reference_type))

    def _get_sub_ref(self, ref: ua.NodeId) -> Any:
        return self._subtypes(ref)

    def looked_up(self, node_id: ua.NodeId) -> NodeData | ua.StatusCode:
        """Return a node, or why the present caller sees none."""
        if is_of_condition(node_id) and not current_caller().may(Operation.READ_PLANT):
            return status(ua.StatusCodes.BadUserAccessDenied)
        node = self._aspace.get(node_id)
        return status(ua.StatusCodes.BadNodeIdUnknown) if node is None else node

    def is_reference_type(self, node_id: ua.NodeId) -> bool:
        """Say whether references can be asked for by this type; null: by any."""
        return bool(node_id.is_null()) or node_id in self._aspace

    def is_wanted(
        self, asked: ua.BrowseDescription, one: ua.ReferenceDescription, *, sees_alarms: bool
    ) -> bool:
        """Whether a reference is of the kind that was asked for, and one that the caller may see."""
        return (sees_alarms or one.ReferenceTypeId != _HAS_CONDITION) and self._is_suitable_ref(asked, one)

    async def translate(self, paths: Sequence[ua.BrowsePath]) -> list[ua.BrowsePathResult]:
        """Follow every path of a request; the others get their turn between two of them."""
        results = []
        for path in paths:
            results.append(self._followed(path))
            await asyncio.sleep(0)
        return results

    def _followed(self, path: ua.BrowsePath) -> ua.BrowsePathResult:
        elements = path.RelativePath.Elements
        if len(elements) > limits.PATH_ELEMENTS_MAX:
            return ua.BrowsePathResult(StatusCode=status(ua.StatusCodes.BadQueryTooComplex))
        if not elements[-1].TargetName or not elements[-1].TargetName.Name:
            return ua.BrowsePathResult(StatusCode=status(ua.StatusCodes.BadBrowseNameInvalid))
        found = self.looked_up(path.StartingNode)
        if isinstance(found, ua.StatusCode):
            return ua.BrowsePathResult(StatusCode=found)
        here = [path.StartingNode]
        for element in elements:
            # Each once, by however many references it is one: or a few elements would be two to their power.
            here = list(dict.fromkeys(node for each in here for node in self._next(element, each)))
        made = ua.BrowsePathResult()
        if not here:
            made.StatusCode = status(ua.StatusCodes.BadNoMatch)
        for node in here[: limits.PATH_TARGETS_MAX]:
            target: Any = ua.BrowsePathTarget()
            target.TargetId, target.RemainingPathIndex = node, ua.Index(_WHOLE_PATH)
            made.Targets.append(target)
        return made

    def _next(self, element: ua.RelativePathElement, node_id: ua.NodeId) -> list[ua.NodeId]:
        if isinstance(self.looked_up(node_id), ua.StatusCode):
            return []  # a reference to what is not there, or not for the caller
        found: list[ua.NodeId] = self._find_elements_in_node(element, node_id)
        sees_alarms = current_caller().may(Operation.READ_PLANT)
        return [each for each in found if sees_alarms or not is_of_condition(each)]


def _kept_for(nodes: int) -> int:
    return nodes * limits.REFERENCES_PER_NODE_MIN


def _refused(code: int) -> ua.BrowseResult:
    return ua.BrowseResult(StatusCode=status(code))
