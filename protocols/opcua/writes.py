"""Client writes: judged item by item, strictly, then put before the publisher's guard (OPC-2, SEC-2)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from asyncua import ua

from actors.vocabulary import WriteRefusal
from protocols.endpoint import ClientNews, ClientWrite, WriteGuard
from protocols.opcua import limits
from protocols.opcua.identity import current_caller
from protocols.opcua.ids import status
from protocols.opcua.rights import operation_of
from protocols.opcua.values import decode, refusal_status
from protocols.points import Access

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
        """Answer every item with its own status code."""
        assert self._guard is not None
        assert self._news is not None
        answers: list[ua.StatusCode | None] = []
        asked: list[ClientWrite] = []
        for item in items:
            judged = judge(item, peer, space)
            if isinstance(judged, ClientWrite):
                asked.append(judged)
                answers.append(None)
            else:
                answers.append(judged)
        verdicts = iter(await self._ask(self._guard, asked))
        codes = [next(verdicts) if answer is None else answer for answer in answers]
        refused = [index for index, code in enumerate(codes) if not code.is_good()]
        if refused:
            # One line per request: a client could otherwise make hundreds with one message.
            first = str(items[refused[0]].NodeId.Identifier)[:NAME_SHOWN]
            text = f"{len(refused)} of {len(items)} writes, first {first!r}: {codes[refused[0]].name}"
            self._news("refused", peer, text)
        return codes

    async def _ask(self, guard: WriteGuard, asked: Sequence[ClientWrite]) -> list[ua.StatusCode]:
        if not asked:
            return []
        try:
            async with asyncio.timeout(limits.GUARD_DEADLINE_S):
                verdicts = await guard(asked, False)
        except TimeoutError:
            # It may or may not have been taken; the client sees by reading back.
            return [status(ua.StatusCodes.BadTimeout)] * len(asked)
        assert len(verdicts) == len(asked), f"{len(verdicts)} verdicts on {len(asked)} writes"
        return [ua.StatusCode() if verdict is None else refusal_status(verdict) for verdict in verdicts]


def judge(item: ua.WriteValue, peer: str, space: AddressSpace) -> ClientWrite | ua.StatusCode:
    """Return the write that the guard is to judge, or why it does not get that far."""
    attribute = space.attribute_status(item.NodeId, item.AttributeId)
    if not attribute.is_good():
        return attribute
    slot = space.slot_of(item.NodeId)
    if slot is None or item.AttributeId != ua.AttributeIds.Value or slot.point.access is Access.READ:
        return status(ua.StatusCodes.BadNotWritable)
    if item.IndexRange:
        return status(ua.StatusCodes.BadIndexRangeNoData)
    value = decode(item.Value, slot.point.type)
    if isinstance(value, ua.StatusCode):
        return value
    caller = current_caller()
    # What they may not do is told to the publisher all the same: it counts and audits by name.
    refusal = None if caller.may(operation_of(slot.point)) else WriteRefusal.NOT_PERMITTED
    return ClientWrite(path=slot.point.path, value=value, peer=peer, refusal=refusal, caller=caller)
