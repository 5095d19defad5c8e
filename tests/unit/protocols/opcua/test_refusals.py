"""What of a refusal is told to whom: all is counted, of a flood little is told, and nothing twice."""

from __future__ import annotations

import asyncio

import pytest
from asyncua import ua
from asyncua.common.utils import ServiceError

from protocols.opcua import limits
from protocols.opcua.doorkeeper import NoUsers
from protocols.opcua.ids import status
from protocols.opcua.refusals import EVENTS, KnownRefusal, Refusals

PEER = "192.0.2.7:50123"


def test_a_flood_of_news_is_counted_whole_and_told_sparingly() -> None:
    """OPC-5, SEC-5: who connects ten thousand times fills no log, and hides nothing of another kind."""

    async def story() -> None:
        refusals, told = Refusals(NoUsers()), list[tuple[str, str]]()
        tell = refusals.counting(lambda event, _, detail: told.append((event, detail)))
        for _ in range(10_000):
            tell("connected", PEER, "")
        tell("refused", PEER, "does not read its answers")
        assert refusals.counts == {"connected": 10_000, "refused": 1}
        kinds = [event for event, _ in told]
        assert limits.NEWS_BURST <= kinds.count("connected") < 2 * limits.NEWS_BURST
        assert told[-1] == ("refused", "does not read its answers")
        loop = asyncio.get_running_loop()
        end_s = loop.time() + 5.0
        while told[-1][0] != "connected" or "not told" not in told[-1][1]:
            assert loop.time() < end_s, "the next that is told says how many were not"
            await asyncio.sleep(0.05)
            tell("connected", PEER, "")

    asyncio.run(story())


@pytest.mark.parametrize(
    ("code", "event"),
    [
        (ua.StatusCodes.BadApplicationSignatureInvalid, "CERTIFICATE_REJECTED"),
        (ua.StatusCodes.BadTooManySessions, "RATE_LIMITED"),
        (ua.StatusCodes.BadUserAccessDenied, "CLIENT_REFUSED"),
        (ua.StatusCodes.BadNothingToDo, None),
    ],
)
def test_a_fault_is_the_event_of_its_status(code: int, event: str | None) -> None:
    """SEC-5: what is no security matter is a count and no event; what is told already is not told again."""
    assert EVENTS.get(code) == event
    door = NoUsers()
    refusals = Refusals(door)
    refusals.fault(ServiceError(code), actor="anna", peer=PEER, asked="Read")
    expected = {} if event is None else {(event, "refused"): 1}
    assert door.counts == expected
    refusals.fault(KnownRefusal(code), actor="anna", peer=PEER, asked="Read")
    assert door.counts == expected
    assert refusals.counts["fault"] == 2


def test_a_thousand_refused_operations_are_one_event_of_each_kind() -> None:
    """SEC-5: a request is told once, with how many of its operations were refused."""
    door = NoUsers()
    refusals = Refusals(door)
    denied, many = ua.StatusCodes.BadUserAccessDenied, ua.StatusCodes.BadTooManyMonitoredItems
    codes = [
        ua.StatusCode(),
        None,
        *[status(denied)] * 1_000,
        status(many),
        status(ua.StatusCodes.BadNodeIdUnknown),
    ]
    refusals.items(codes, actor="anna", peer=PEER, asked="Read")
    assert door.counts == {("CLIENT_REFUSED", "refused"): 1, ("RATE_LIMITED", "refused"): 1}
    assert refusals.counts == {"refused": 1, "limited": 1}
