"""Client writes: judged item by item, strictly, then put before the publisher's guard (OPC-2, SEC-2)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from asyncua import ua

from actors.vocabulary import WriteRefusal
from actors.vocabulary.texts import storable
from protocols.endpoint import ClientNews, ClientWrite, WriteGuard
from protocols.opcua import limits
from protocols.opcua.identity import current_caller
from protocols.opcua.ids import status
from protocols.opcua.rights import operation_of
from protocols.opcua.values import decode, refusal_status
from protocols.points import OPCUA_NAMESPACE_INDEX, Access

if TYPE_CHECKING:
    from protocols.opcua.address_space import AddressSpace


NAME_SHOWN: Final = 200


class Writes:
    """The way of a write from a request to the guard.

    An accepted value is not put into the address space here: what a client reads back is what the publisher
    then publishes, so that `emergency_stop` shows the latch and not the wish.
    """

    def __init__(self) -> None:
        self._guard: WriteGuard | None = None
        self._news: ClientNews | None = None

    def open(self, guard: WriteGuard, news: ClientNews) -> None:
        """Take the guard that judges, and who hears of refusals that never reach it."""
        self._guard, self._news = guard, news

    async def write(
        self, items: Sequence[ua.WriteValue], peer: str, space: AddressSpace
    ) -> list[ua.StatusCode]:
        """Answer every item with its own status code.

        What is refused here is put before the guard all the same: it counts, and audits by name.
        """
        assert self._guard is not None
        assert self._news is not None
        judged = [judge(item, peer, space) for item in items]
        try:
            async with asyncio.timeout(limits.GUARD_DEADLINE_S):
                verdicts = await self._guard([write for write, _ in judged], False)
        except TimeoutError:
            # It may or may not have been taken; the client sees by reading back.
            self._news("unanswered", peer, f"{len(items)} writes were not judged in time")
            return [code or status(ua.StatusCodes.BadTimeout) for _, code in judged]
        assert len(verdicts) == len(judged), f"{len(verdicts)} verdicts on {len(judged)} writes"
        return [code or _code_of(verdict) for (_, code), verdict in zip(judged, verdicts, strict=True)]


def _code_of(verdict: WriteRefusal | None) -> ua.StatusCode:
    return ua.StatusCode() if verdict is None else refusal_status(verdict)


def judge(item: ua.WriteValue, peer: str, space: AddressSpace) -> tuple[ClientWrite, ua.StatusCode | None]:
    """Return the write that the guard is to judge; of one that is refused already the status that says why best."""
    slot, caller = space.slot_of(item.NodeId), current_caller()

    def refused(why: WriteRefusal, code: ua.StatusCode) -> tuple[ClientWrite, ua.StatusCode]:
        path = _named(item.NodeId) if slot is None else slot.point.path
        return ClientWrite(path=path, value=_shown(item), peer=peer, refusal=why, caller=caller), code

    attribute = space.attribute_status(item.NodeId, item.AttributeId)
    if not attribute.is_good():
        return refused(WriteRefusal.UNKNOWN_POINT, attribute)
    if slot is None or item.AttributeId != ua.AttributeIds.Value or slot.point.access is Access.READ:
        return refused(WriteRefusal.READ_ONLY, status(ua.StatusCodes.BadNotWritable))
    if item.IndexRange:
        return refused(WriteRefusal.BAD_TYPE, status(ua.StatusCodes.BadIndexRangeNoData))
    value = decode(item.Value, slot.point.type)
    if isinstance(value, ua.StatusCode):
        is_out = value.value == ua.StatusCodes.BadOutOfRange
        return refused(WriteRefusal.OUT_OF_RANGE if is_out else WriteRefusal.BAD_TYPE, value)
    refusal = None if caller.may(operation_of(slot.point)) else WriteRefusal.NOT_PERMITTED
    return ClientWrite(path=slot.point.path, value=value, peer=peer, refusal=refusal, caller=caller), None


def _named(node: ua.NodeId) -> str:
    """Return how a node that is no point of ours is called in a record."""
    name = storable(str(node.Identifier)[:NAME_SHOWN])
    return name if node.NamespaceIndex == OPCUA_NAMESPACE_INDEX else f"ns={node.NamespaceIndex};{name}"


def _shown(item: ua.WriteValue) -> float:
    """Return the number that was to be written; not a number: it was none."""
    value = None if item.Value.Value is None else item.Value.Value.Value
    return value if isinstance(value, bool | int | float) else math.nan
