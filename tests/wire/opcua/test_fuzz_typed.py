"""Seeded fuzz by requests that are well formed and mean nonsense: calls, filters, history, names, while alarms move."""

from __future__ import annotations

import asyncio
import os
import random
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

from actors.vocabulary import Quality, Severity
from actors.vocabulary.access import UserRole
from actors.vocabulary.client_calls import PastValue, ShownAlarms
from actors.vocabulary.records import AuditRecord, Record
from api.access.security_log import SecurityLog
from api.access.wire_users import WireUsers
from protocols.opcua.admission import Rules
from protocols.opcua.condition_nodes import ACKNOWLEDGE
from protocols.opcua.ids import own, standard
from protocols.opcua.methods import BY_NODE
from storage.spool import SpoolFile
from tests.simulation.fakes import FakeClock
from tests.unit.api.people import Users as NobodyKnown
from tests.wire.opcua.papers import Cabinet, Guarded, Users, client_of, paper
from tests.wire.opcua.served import PUMP, Fault, Publisher, Raw, alarm_shown, served
from tests.wire.opcua.test_fuzz import ANSWER_S_MAX, GROWTH_MIB_MAX, LASTS_S, damaged, rss_mib

pytestmark = pytest.mark.wire
ROLES: Final = frozenset({UserRole.OPERATOR, UserRole.FIELD, UserRole.READ_ONLY})
RULES: Final = Rules(allow_none=True, anonymous_roles=ROLES, has_users=True)
KINDS: Final = ua.VariantType
NOON: Final = datetime(2026, 11, 21, 12, tzinfo=UTC)
TEXTS: Final = (
    "",
    "p1",
    "dry_run",
    "\udcff",
    "a\0b",
    "\U0001f6b0",
    "x" * 401,
    "/north/s1/p1",
    "NaN",
    "' OR 1=1",
)
FIELDS: Final = (
    "EventId", "EventType", "SourceNode", "SourceName", "Time", "Message", "Severity", "Retain", "Comment",
    "Quality", "InputNode", "BranchId", "ActiveState", "Changes", "nothing",
)  # fmt: skip
NUMBERS: Final = (0, 1, -1, 255, 700, 65_535, 2**31 - 1, 2**32 - 1, -(2**31))
OBJECTS: Final = (
    own("/north"), own("/north/s1"), own(PUMP), own("conditions/dry_run/p1"), own("types/PumpType"),
    standard(ua.ObjectIds.ConditionType), standard(ua.ObjectIds.Server), ua.NodeId(), own("\udcff"),
)  # fmt: skip
METHODS: Final = (
    *BY_NODE, ACKNOWLEDGE, standard(ua.ObjectIds.ConditionType_ConditionRefresh),
    standard(ua.ObjectIds.ConditionType_ConditionRefresh2), ua.NodeId(),
)  # fmt: skip


def scalar(chance: random.Random) -> tuple[Any, Any]:
    made: tuple[tuple[Any, Any], ...] = (
        (chance.choice(TEXTS), KINDS.String),
        (chance.choice(TEXTS).encode("utf-8", "surrogateescape"), KINDS.ByteString),
        (ua.LocalizedText(chance.choice(TEXTS)), KINDS.LocalizedText),
        (ua.QualifiedName(chance.choice(TEXTS), 2), KINDS.QualifiedName),
        (chance.choice(OBJECTS), KINDS.NodeId),
        (chance.choice(NUMBERS) % 65_536, KINDS.UInt16),
        (abs(chance.choice(NUMBERS)) % 2**32, KINDS.UInt32),
        (chance.choice((0.0, -1.0, 35.0, float("nan"), float("inf"), 1e308)), KINDS.Double),
        (chance.random() < 0.5, KINDS.Boolean),
        (NOON + timedelta(days=chance.randint(-200_000, 200_000)), KINDS.DateTime),
        (ua.StatusCode(ua.UInt32(0x80000000)), KINDS.StatusCode),
        (ua.Argument(), KINDS.ExtensionObject),
        (None, KINDS.Null),
    )
    return chance.choice(made)


def variant(chance: random.Random) -> ua.Variant:
    """Return any value: mostly one, sometimes a list or a matrix of it."""
    value, kind = scalar(chance)
    shape = chance.random()
    if shape < 0.7 or kind is KINDS.Null:
        return ua.Variant(value, kind)
    if shape < 0.85:
        return ua.Variant([value] * chance.randint(0, 3), kind, is_array=True)
    two: Any = ua.Int32(2)
    return ua.Variant([[value, value], [value, value]], kind, Dimensions=[two, two], is_array=True)


def operand(chance: random.Random, index: int) -> Any:
    kind = chance.randrange(4)
    if kind == 0:
        return ua.LiteralOperand(Value=variant(chance))
    if kind == 1:
        made: Any = ua.ElementOperand()
        made.Index = ua.UInt32(chance.choice((index + 1, index + 2, 0, 2**32 - 1)))
        return made
    field: Any = ua.SimpleAttributeOperand(AttributeId=chance.choice((13, 13, 13, 1)))
    field.BrowsePath = [ua.QualifiedName(chance.choice(FIELDS), 0)] * chance.randint(0, 2)
    return field


def event_filter(chance: random.Random) -> ua.EventFilter:
    made = ua.EventFilter()
    for _ in range(chance.randint(1, 6)):
        field: Any = ua.SimpleAttributeOperand(AttributeId=13)
        field.BrowsePath = [ua.QualifiedName(chance.choice(FIELDS), 0)]
        made.SelectClauses.append(field)
    for index in range(chance.randint(0, 3)):
        element = ua.ContentFilterElement()
        element.FilterOperator = chance.choice(list(ua.FilterOperator))
        element.FilterOperands = [operand(chance, index) for _ in range(chance.choice((1, 2, 2, 2, 3)))]
        made.WhereClause.Elements.append(element)
    return made


def listening(chance: random.Random, subscription: int) -> Any:
    request = ua.CreateMonitoredItemsRequest()
    request.Parameters.SubscriptionId = subscription
    one = ua.MonitoredItemCreateRequest()
    at = standard(ua.ObjectIds.Server) if chance.random() < 0.7 else chance.choice(OBJECTS)
    one.ItemToMonitor = ua.ReadValueId(at, ua.AttributeIds.EventNotifier)
    one.MonitoringMode = ua.MonitoringMode.Reporting
    one.RequestedParameters.Filter = event_filter(chance)
    request.Parameters.ItemsToCreate = [one]
    return request


def calling(chance: random.Random, subscription: int) -> Any:
    request = ua.CallRequest()
    for _ in range(chance.randint(1, 4)):
        one = ua.CallMethodRequest()
        one.ObjectId, one.MethodId = chance.choice(OBJECTS), chance.choice(METHODS)
        one.InputArguments = [variant(chance) for _ in range(chance.randint(0, 4))]
        if chance.random() < 0.3:
            one.InputArguments = [ua.Variant(subscription, KINDS.UInt32)]
        request.Parameters.MethodsToCall.append(one)
    return request


def looking_back(chance: random.Random, _: int) -> Any:
    request = ua.HistoryReadRequest()
    times: Any = [NOON + timedelta(seconds=chance.randint(-100, 100)), datetime(1601, 1, 1, tzinfo=UTC), None]
    request.Parameters.HistoryReadDetails = ua.ReadRawModifiedDetails(
        IsReadModified=chance.random() < 0.1,
        StartTime=chance.choice(times),
        EndTime=chance.choice(times),
        NumValuesPerNode=ua.Counter(abs(chance.choice(NUMBERS)) % 2**32),
        ReturnBounds=chance.random() < 0.5,
    )
    request.Parameters.TimestampsToReturn = chance.choice(list(ua.TimestampsToReturn))
    request.Parameters.ReleaseContinuationPoints = chance.random() < 0.2
    for _ in range(chance.randint(1, 4)):
        one: Any = ua.HistoryReadValueId(NodeId=chance.choice((own(f"{PUMP}/setpoint"), *OBJECTS)))
        point = msgspec.msgpack.encode(
            {"path": f"{PUMP}/setpoint", "start": chance.choice(("2026-11-21T12:00:00Z", None, 7)), "end": None,
             "backwards": False, "bounds": True, "following": chance.choice(("", "3", "x\0")), "opened": True}
        )  # fmt: skip
        one.ContinuationPoint = chance.choice((None, chance.randbytes(20), point, damaged(chance, point)))
        request.Parameters.NodesToRead.append(one)
    return request


def browsing(chance: random.Random, _: int) -> Any:
    if chance.random() < 0.3:
        request: Any = ua.BrowseNextRequest()
        request.Parameters.ContinuationPoints = [chance.randbytes(chance.choice((0, 16)))]
        return request
    request = ua.BrowseRequest()
    request.Parameters.RequestedMaxReferencesPerNode = abs(chance.choice(NUMBERS)) % 2**32
    for _ in range(chance.randint(1, 20)):
        one: Any = ua.BrowseDescription(NodeId=chance.choice(OBJECTS), ReferenceTypeId=chance.choice(OBJECTS))
        one.BrowseDirection = chance.choice(list(ua.BrowseDirection))
        request.Parameters.NodesToBrowse.append(one)
    return request


def identified(chance: random.Random, _: int) -> Any:
    request = ua.ActivateSessionRequest()
    name, secret = chance.choice(TEXTS), chance.choice(TEXTS).encode("utf-8", "surrogateescape")
    request.Parameters.UserIdentityToken = chance.choice(
        (
            ua.UserNameIdentityToken(
                UserName=name, Password=secret, EncryptionAlgorithm=chance.choice(TEXTS)
            ),
            ua.X509IdentityToken(CertificateData=secret),
            ua.IssuedIdentityToken(TokenData=secret),
            ua.AnonymousIdentityToken(PolicyId=name),
        )
    )
    return request


MADE: Final[tuple[Callable[[random.Random, int], Any], ...]] = (
    listening, listening, calling, calling, looking_back, browsing, identified
)  # fmt: skip


def told(context: dict[str, Any]) -> str:
    error = context.get("exception")
    where = traceback.format_exception(error) if isinstance(error, BaseException) else []
    return "".join((str(context.get("message")), "\n", *where[-6:]))


async def attack(chance: random.Random, publisher: Publisher, asked: dict[str, int]) -> None:
    """One session that asks a few dozen questions, and is told its events meanwhile."""
    raw = await Raw.session_to(publisher)
    subscription = (await raw.subscribe()).SubscriptionId
    for _ in range(chance.randint(5, 40)):
        make = chance.choice(MADE)
        try:
            body = make(chance, subscription)
            body.RequestHeader.AuthenticationToken = raw.token
            sent = struct_to_binary(body)
        except (ua.UaError, ValueError, TypeError, AttributeError, OverflowError):
            continue  # what this library cannot even send
        asked[make.__name__] = asked.get(make.__name__, 0) + 1
        await raw.send_bytes(sent if chance.random() < 0.8 else damaged(chance, sent))
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await raw.message()
    await raw.post(ua.PublishRequest())
    with suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            await raw.reader.read(4_096)
    await raw.close()
    publisher.raws.remove(raw)


async def strange_names(chance: random.Random, one: Guarded, goes_on: Callable[[], bool]) -> int:
    """Come in by names that are none, over a secure channel."""
    tries = 0
    while goes_on():
        client = await client_of(one, user=chance.choice(TEXTS) or "x", password=chance.choice(TEXTS))
        with suppress(ua.UaError, ConnectionError, TimeoutError, ValueError, asyncio.CancelledError):
            await client.connect()
        tries += 1
        await asyncio.sleep(0.1)
    return tries


def test_nonsense_that_is_well_formed_ends_nothing_while_alarms_move(tmp_path: Path) -> None:
    """OPC-5, SEC-5: no fault of ours, every record one that the spool takes, a good client answered throughout."""
    seed = int(os.environ.get("CALEJO_FUZZ_SEED", "20261122"))
    print(f"replay with CALEJO_FUZZ_SEED={seed}")
    spool = SpoolFile(tmp_path / "spool", bytes_max=50_000_000, utc_second=lambda: 1_790_000_000)

    def keep(records: Iterable[Record]) -> None:
        spool.append(list(records))

    async def story() -> None:
        faults: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: faults.append(told(context)))
        door = WireUsers(NobodyKnown(), log=SecurityLog(keep, FakeClock()), clock=FakeClock(), wire="OPC UA")
        keys, chance = Cabinet(paper("client")), random.Random(seed)
        async with served(rules=RULES, pki=keys, doorkeeper=door) as publisher:
            publisher.past[("p1", "setpoint")] = [
                PastValue(at=NOON + timedelta(seconds=second), value=1.0, quality=Quality.GOOD)
                for second in range(-50, 50)
            ]
            good = await Raw.session_to(publisher)
            before_mib, ends_s = rss_mib(), loop.time() + LASTS_S
            asked: dict[str, int] = {}
            slowest_s, answers = 0.0, 0

            def goes_on() -> bool:
                return loop.time() < ends_s

            async def attacker(number: int) -> None:
                own_chance = random.Random(seed + number)
                while goes_on():
                    with suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError, AssertionError, Fault,
                                  LookupError, ua.UaError, TypeError, ValueError):  # fmt: skip
                        # Of the tests' own client: it met an error message, or another answer than it expected.
                        await attack(own_chance, publisher, asked)

            attackers = [loop.create_task(attacker(number)) for number in range(4)]
            names = loop.create_task(strange_names(chance, Guarded(publisher, keys, Users()), goes_on))
            moves = 0
            while goes_on():
                moves += 1
                alarms = tuple(
                    alarm_shown(
                        "dry_run",
                        f"p{number}",
                        PUMP,
                        occurrences=moves,
                        severity=chance.choice(list(Severity)),
                    )
                    for number in range(1 + moves % 5)
                )
                publisher.endpoint.show_alarms(ShownAlarms(alarms=alarms, whole=True))
                publisher.show({f"{PUMP}/setpoint": float(moves)})
                start_s = loop.time()
                async with asyncio.timeout(ANSWER_S_MAX):
                    assert (await good.read(f"{PUMP}/setpoint"))[0][1] == "Good"
                slowest_s, answers = max(slowest_s, loop.time() - start_s), answers + 1
                await asyncio.sleep(0.01)
            await asyncio.gather(*attackers)
            tries = await names
            grown_mib = rss_mib() - before_mib
            print(f"{asked}, {tries} names, {moves} moves of alarms")
            print(f"{answers} answers, slowest {slowest_s:.3f} s, {grown_mib:+.1f} MiB")
            assert set(asked) == {make.__name__ for make in MADE}, "a corpus was never sent"
            assert min(asked.values()) > 5
            assert tries > 0
            assert not faults, faults[0]
            assert publisher.events("failed") == []
            assert grown_mib < GROWTH_MIB_MAX
            for call in publisher.calls:
                msgspec.msgpack.encode(call.command)
            for request in publisher.requests:
                for write in request:
                    write.path.encode()
        door._hashing.close()

    asyncio.run(story())
    kept = [record for _, record in spool.peek(10_000) if isinstance(record, AuditRecord)]
    assert {record.event_type for record in kept} >= {"LOGIN", "CLIENT_REFUSED"}
    spool.close()
