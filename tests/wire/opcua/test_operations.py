"""Methods, conditions, history and rights on the wire, by asyncua's client: what is answered and what it costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from asyncua import Client, ua

from actors.vocabulary import Quality, SafetyLimits, Severity, SiteConfig, WriteRefusal
from actors.vocabulary.access import UserRole
from actors.vocabulary.client_calls import (
    CallAnswer,
    CommandMode,
    PastValue,
    SetStop,
    ShownAlarm,
    ShownAlarms,
)
from protocols.opcua import limits
from protocols.opcua.ids import own, standard
from protocols.points import opcua_points
from tests.unit.protocols.plants import north, site, station
from tests.wire.opcua.served import PUMP, Publisher, alarm_shown, item, served, until

pytestmark = pytest.mark.wire
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SET_MODE = own("types/PumpType/SetMode")


@asynccontextmanager
async def connected(publisher: Publisher) -> AsyncIterator[Client]:
    client = Client(publisher.endpoint.bound, timeout=10)
    await client.connect()
    try:
        yield client
    finally:
        await client.disconnect()


def play(
    story: Callable[[Publisher, Client], Coroutine[Any, Any, None]],
    *,
    roles: frozenset[UserRole] = frozenset({UserRole.OPERATOR, UserRole.FIELD}),
    plant: SiteConfig | None = None,
) -> None:
    async def run() -> None:
        async with served(roles=roles, site=plant) as publisher, connected(publisher) as client:
            await story(publisher, client)
            assert publisher.events("failed") == []

    asyncio.run(run())


async def call(client: Client, where: ua.NodeId, method: ua.NodeId, *arguments: ua.Variant) -> Any:
    request = ua.CallMethodRequest()
    request.ObjectId, request.MethodId, request.InputArguments = where, method, list(arguments)
    (result,) = await client.uaclient.call([request])
    return result


def mode_arguments(*replaced: tuple[int, ua.Variant]) -> list[ua.Variant]:
    arguments = [
        ua.Variant(2, ua.VariantType.UInt16),
        ua.Variant(35.0, ua.VariantType.Double),
        ua.Variant(0.0, ua.VariantType.Double),
        ua.Variant("why", ua.VariantType.String),
    ]
    for place, value in replaced:
        arguments[place] = value
    return arguments


@pytest.mark.parametrize(
    ("place", "given", "code"),
    [
        (0, ua.Variant(2, ua.VariantType.Int32), "BadTypeMismatch"),
        (0, ua.Variant([2], ua.VariantType.UInt16), "BadTypeMismatch"),
        (0, ua.Variant(None), "BadTypeMismatch"),
        (1, ua.Variant(float("nan"), ua.VariantType.Double), "BadOutOfRange"),
        (2, ua.Variant(float("inf"), ua.VariantType.Double), "BadOutOfRange"),
        (3, ua.Variant("x" * 401, ua.VariantType.String), "BadOutOfRange"),
        (3, ua.Variant(b"why", ua.VariantType.ByteString), "BadTypeMismatch"),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_commanded(place: int, given: ua.Variant, code: str) -> None:
    """OPC-3: BadInvalidArgument, and the status of just that argument."""

    async def story(publisher: Publisher, client: Client) -> None:
        result = await call(client, own(PUMP), SET_MODE, *mode_arguments((place, given)))
        assert result.StatusCode.name == "BadInvalidArgument"
        names = [each.name for each in result.InputArgumentResults]
        assert names == [code if index == place else "Good" for index in range(4)]
        assert publisher.calls == []
        assert publisher.endpoint.security["CLIENT_REFUSED", "refused"] == 1

    play(story)


def test_a_reason_that_is_no_text_stops_all_the_same() -> None:
    """EST-4, OPC-5: bytes that are no UTF-8 become question marks: no latch file and no database could hold them."""

    async def story(publisher: Publisher, client: Client) -> None:
        given = ua.Variant("fl\udcffod", ua.VariantType.String)
        result = await call(client, own(PUMP), own("types/PumpType/EmergencyStop"), given)
        assert result.StatusCode.name == "Good"
        (made,) = publisher.calls
        assert isinstance(made.command, SetStop)
        assert made.command.reason == "fl?od"

    play(story)


def test_a_call_names_an_object_and_a_method_of_its_type() -> None:
    """OPC-3: anything else has its own status; the calls of one request are answered one by one."""

    async def story(publisher: Publisher, client: Client) -> None:
        requests = []
        for where, method, arguments in (
            (own("/north/s1/p9"), SET_MODE, mode_arguments()),
            (own("/north/s1"), SET_MODE, mode_arguments()),
            (own(PUMP), own(f"{PUMP}/setpoint"), []),
            (own(PUMP), own("types/StationType/EmergencyStop"), [ua.Variant("x", ua.VariantType.String)]),
            (own(PUMP), SET_MODE, mode_arguments()[:3]),
            (own(PUMP), SET_MODE, [*mode_arguments(), ua.Variant("more", ua.VariantType.String)]),
            (own(PUMP), SET_MODE, mode_arguments()),
        ):
            request = ua.CallMethodRequest()
            request.ObjectId, request.MethodId, request.InputArguments = where, method, arguments
            requests.append(request)
        results = await client.uaclient.call(requests)
        assert [result.StatusCode.name for result in results] == [
            "BadNodeIdUnknown", "BadMethodInvalid", "BadMethodInvalid", "BadMethodInvalid", "BadArgumentsMissing",
            "BadTooManyArguments", "Good",
        ]  # fmt: skip
        assert [type(each.command) for each in publisher.calls] == [CommandMode]
        with pytest.raises(ua.UaStatusCodeError, match="BadTooManyOperations"):
            await client.uaclient.call(requests[:1] * (limits.METHODS_PER_CALL_MAX + 1))

    play(story)


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (WriteRefusal.NOT_PERMITTED, "BadUserAccessDenied"),
        (WriteRefusal.OUT_OF_RANGE, "BadOutOfRange"),
        (WriteRefusal.INVALID_STATE, "BadInvalidState"),
        (WriteRefusal.UNKNOWN_POINT, "BadNotFound"),
        (WriteRefusal.DEVICE_FAILURE, "BadDeviceFailure"),
    ],
)
def test_the_desks_refusal_is_the_calls_status(refusal: WriteRefusal, code: str) -> None:
    """OPC-3: each with its own code, and no output."""

    async def story(publisher: Publisher, client: Client) -> None:
        publisher.answers = [CallAnswer(refusal=refusal, ids=("x",))]
        result = await call(client, own(PUMP), SET_MODE, *mode_arguments())
        assert (result.StatusCode.name, result.OutputArguments or []) == (code, [])

    play(story)


def test_a_desk_that_hangs_costs_its_caller_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPC-2, OPC-5: BadTimeout; the others are served meanwhile."""
    monkeypatch.setattr(limits, "GUARD_DEADLINE_S", 0.3)

    async def story(publisher: Publisher, client: Client) -> None:
        publisher.show({"/north/failsafe": False})
        publisher.hold = asyncio.Event()
        waiting = asyncio.create_task(call(client, own(PUMP), SET_MODE, *mode_arguments()))
        async with connected(publisher) as other:
            assert await other.get_node(own("/north/failsafe")).read_value() is False
        assert (await waiting).StatusCode.name == "BadTimeout"

    play(story)


async def attribute(client: Client, node_id: ua.NodeId, which: ua.AttributeIds) -> Any:
    data = await client.get_node(node_id).read_attribute(which)
    assert data.Value is not None
    return data.Value.Value


FIELD = frozenset({UserRole.FIELD})


def test_rights_are_those_of_the_role() -> None:
    """SEC-2, OPC-2: writes are judged by the table, told to the publisher by name; UserAccessLevel says so before."""

    async def story(publisher: Publisher, client: Client) -> None:
        asked = [
            item(f"{PUMP}/setpoint_request", 30.0, ua.VariantType.Double),
            item(f"{PUMP}/emergency_stop", True, ua.VariantType.Boolean),
            item("/north/s1/scada_heartbeat", 4, ua.VariantType.UInt16),
            item(f"{PUMP}/running", True, ua.VariantType.Boolean),
        ]
        params = ua.WriteParameters()
        params.NodesToWrite = asked
        publisher.refusals = {}
        codes = [code.name for code in await client.uaclient.write(params)]
        assert codes == ["BadUserAccessDenied"] * 3 + ["Good"]
        (seen,) = publisher.requests
        assert [write.refusal for write in seen] == [WriteRefusal.NOT_PERMITTED] * 3 + [None]
        assert {None if write.caller is None else write.caller.name for write in seen} == {"anonymous"}
        levels = [await attribute(client, each.NodeId, ua.AttributeIds.UserAccessLevel) for each in asked]
        # FIELD reads all, writes feedback, and has no business with the past.
        assert levels == [1, 1, 1, 3]
        method = own("types/PumpType/EmergencyStop")
        assert await attribute(client, method, ua.AttributeIds.UserExecutable) is False

    async def guarded(publisher: Publisher, client: Client) -> None:
        original = publisher.guard

        async def guard(writes: Any, all_or_nothing: Any) -> Any:
            verdicts = await original(writes, all_or_nothing)
            return [write.refusal or verdict for write, verdict in zip(writes, verdicts, strict=True)]

        publisher.endpoint._writes.open(guard, publisher.tell)
        await story(publisher, client)

    play(guarded, roles=FIELD)


def test_a_controller_hears_no_alarms_and_reads_no_past() -> None:
    """SEC-2: READ_PLANT is not FIELD's; its data subscriptions go on."""

    async def story(publisher: Publisher, client: Client) -> None:
        heard = Heard()
        subscription = await client.create_subscription(50, heard)
        with pytest.raises(ua.UaStatusCodeError, match="BadUserAccessDenied"):
            await subscription.subscribe_events()
        await subscription.subscribe_data_change(client.get_node(own(f"{PUMP}/setpoint")))
        publisher.show({f"{PUMP}/setpoint": 31.5})
        await until(lambda: 31.5 in heard.values, what="the value")
        assert (await history(client)).StatusCode.name == "BadUserAccessDenied"
        condition = standard(ua.ObjectIds.ConditionType)
        refresh = standard(ua.ObjectIds.ConditionType_ConditionRefresh)
        number = ua.Variant(subscription.subscription_id, ua.VariantType.UInt32)
        assert (await call(client, condition, refresh, number)).StatusCode.name == "BadUserAccessDenied"

    play(story, roles=FIELD)


# --------------------------------------------------------------------------- conditions


class Heard:
    """What a subscription was told."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.values: list[Any] = []
        self.statuses: list[str] = []

    def event_notification(self, event: Any) -> None:
        self.events.append(event)

    def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        self.values.append(value)
        self.statuses.append(data.monitored_item.Value.StatusCode.name)


def show(publisher: Publisher, *alarms: ShownAlarm, whole: bool = True) -> None:
    publisher.endpoint.show_alarms(ShownAlarms(alarms=alarms, whole=whole))


async def listening(client: Client, heard: Heard, source: Any = ua.ObjectIds.Server) -> Any:
    subscription = await client.create_subscription(50, heard)
    kind = client.get_node(standard(ua.ObjectIds.AlarmConditionType))
    await subscription.subscribe_alarms_and_conditions(source, kind)
    return subscription


def test_an_event_is_heard_at_its_source_and_above_and_nowhere_else() -> None:
    """OPC-3: pump, station, site, server; not at the neighbour."""

    async def story(publisher: Publisher, client: Client) -> None:
        places = [standard(ua.ObjectIds.Server), own("/north"), own("/north/s1"), own(PUMP)]
        heard = [Heard() for _ in range(5)]
        for one, place in zip(heard, [*places, own("/north/s1/p2")], strict=True):
            await listening(client, one, place)
        show(publisher, alarm_shown("dry_run", "p1", PUMP))
        await until(lambda: all(one.events for one in heard[:4]), what="the event")
        assert heard[4].events == []
        (event,) = heard[0].events
        assert event.SourceName == PUMP
        assert event.ConditionName == "dry_run"
        show(publisher, alarm_shown("dry_run", "p1", PUMP), alarm_shown("dry_run", "p2", "/north/s1/p2"))
        await until(lambda: [len(one.events) for one in heard] == [2, 2, 2, 1, 1], what="the neighbour's")

    play(story)


def test_only_a_change_of_state_is_an_event() -> None:
    """ALM-2: a message whose figures move is shown and not told; raised again is told again."""

    async def story(publisher: Publisher, client: Client) -> None:
        heard = Heard()
        await listening(client, heard)
        alarm = alarm_shown("dry_run", "p1", PUMP)
        show(publisher, alarm)
        show(publisher, alarm)
        show(publisher, msgspec.structs.replace(alarm, text="it holds at 0.39 m"))
        show(publisher, msgspec.structs.replace(alarm, occurrences=2, text="it holds at 0.38 m"))
        await until(lambda: len(heard.events) == 2, what="two events")
        assert [event.Message.Text for event in heard.events] == ["it holds", "it holds at 0.38 m"]
        message = client.get_node(own("conditions/dry_run/p1/Message"))
        assert (await message.read_value()).Text == "it holds at 0.38 m"

    play(story)


def test_what_leaves_the_list_is_told_as_over_unless_the_list_is_not_whole() -> None:
    """ALM-1: an alarm actor that has just restarted and knows nothing yet returns no alarm."""

    async def story(publisher: Publisher, client: Client) -> None:
        heard = Heard()
        await listening(client, heard)
        show(publisher, alarm_shown("dry_run", "p1", PUMP))
        show(publisher, whole=False)
        publisher.endpoint.show_alarms(ShownAlarms(alarms=(), whole=True, current=False))
        await until(lambda: len(heard.events) == 1, what="the event")
        quality = client.get_node(own("conditions/dry_run/p1/Quality"))
        assert (await quality.read_value()).name == "UncertainLastUsableValue"
        show(publisher)
        await until(lambda: len(heard.events) == 2, what="its end")
        assert (heard.events[1].Retain, getattr(heard.events[1], "ActiveState/Id")) == (False, False)
        with pytest.raises(ua.UaStatusCodeError, match="BadNodeIdUnknown"):
            await quality.read_value()

    play(story)


def test_a_restart_changes_no_event_id_and_forgets_no_acknowledgement() -> None:
    """OPC-3, ALM-1: what a client saw before it can acknowledge after it; what was seen stays seen."""
    alarms = (
        alarm_shown("dry_run", "p1", PUMP),
        alarm_shown("high_level", "s1", "/north/s1", acknowledged=True, acknowledged_by="anna"),
    )
    seen: list[dict[str, tuple[bytes, bool]]] = []

    async def life(publisher: Publisher, client: Client) -> None:
        heard = Heard()
        await listening(client, heard)
        show(publisher, *alarms)
        await until(lambda: len(heard.events) == 2, what="both")
        states = {
            event.ConditionName: (event.EventId, getattr(event, "AckedState/Id")) for event in heard.events
        }
        seen.append(states)
        if len(seen) == 2:
            arguments = (
                ua.Variant(seen[0]["dry_run"][0], ua.VariantType.ByteString),
                ua.Variant(ua.LocalizedText(), ua.VariantType.LocalizedText),
            )
            acknowledge = standard(ua.ObjectIds.AcknowledgeableConditionType_Acknowledge)
            result = await call(client, own("conditions/dry_run/p1"), acknowledge, *arguments)
            assert result.StatusCode.name == "Good"

    play(life)
    play(life)
    assert seen[0] == seen[1]
    assert {name: acknowledged for name, (_, acknowledged) in seen[0].items()} == {
        "dry_run": False,
        "high_level": True,
    }


def test_an_instance_is_reached_from_its_source_and_read() -> None:
    """OPC-3: HasCondition; its state can be read without events."""

    async def story(publisher: Publisher, client: Client) -> None:
        show(publisher, alarm_shown("dry_run", "p1", PUMP, acknowledged=True, acknowledged_by="anna"))
        (found,) = await client.get_node(own(PUMP)).get_referenced_nodes(ua.ObjectIds.HasCondition)
        assert found.nodeid == own("conditions/dry_run/p1")
        state = await client.get_node(own("conditions/dry_run/p1/AckedState/Id")).read_value()
        assert state is True
        names = {(await child.read_browse_name()).Name for child in await found.get_children()}
        assert {"Retain", "Severity", "ActiveState", "AckedState", "EventId", "Acknowledge"} <= names

    play(story)


def test_a_refresh_is_for_ones_own_subscription() -> None:
    """OPC-3, OPC-5: another session's subscription is unknown here; one item alone can be refreshed."""

    async def story(publisher: Publisher, client: Client) -> None:
        heard, other_heard = Heard(), Heard()
        show(publisher, *(alarm_shown("dry_run", name, f"/north/s1/{name}") for name in ("p1", "p2")))
        subscription = await listening(client, heard)
        condition = standard(ua.ObjectIds.ConditionType)
        refresh = standard(ua.ObjectIds.ConditionType_ConditionRefresh)
        refresh_one = standard(ua.ObjectIds.ConditionType_ConditionRefresh2)
        async with connected(publisher) as other:
            await listening(other, other_heard)
            number = ua.Variant(subscription.subscription_id, ua.VariantType.UInt32)
            code = (await call(other, condition, refresh, number)).StatusCode.name
            assert code == "BadSubscriptionIdInvalid"
            assert (await call(client, condition, refresh, number)).StatusCode.name == "Good"
            await until(lambda: len(heard.events) == 4, what="start, two conditions, end")
            wrong = ua.Variant(999, ua.VariantType.UInt32)
            result = await call(client, condition, refresh_one, number, wrong)
            assert result.StatusCode.name == "BadMonitoredItemIdInvalid"
            assert (await call(client, condition, refresh, number)).StatusCode.name == "BadRefreshInProgress"
            assert other_heard.events == []

    play(story)


def test_filters_that_cannot_be_evaluated_are_refused_when_they_come() -> None:
    """OPC-5: an item with such a filter is not made; a filter by severity selects."""

    async def story(publisher: Publisher, client: Client) -> None:
        kind = client.get_node(standard(ua.ObjectIds.AlarmConditionType))
        heard = Heard()
        subscription = await client.create_subscription(50, heard)
        severity = ua.SimpleAttributeOperand()
        severity.BrowsePath = [ua.QualifiedName("Severity", 0)]
        severity.AttributeId = ua.AttributeIds.Value
        element = ua.ContentFilterElement()
        element.FilterOperator = ua.FilterOperator.GreaterThanOrEqual
        element.FilterOperands = [severity, ua.LiteralOperand(Value=ua.Variant(900, ua.VariantType.UInt16))]
        chosen = await client_filter(kind)
        chosen.WhereClause.Elements = [element]
        await subscription.subscribe_events(evfilter=chosen)
        for operator, code in (
            (ua.FilterOperator.Like, "BadFilterOperatorUnsupported"),
            (ua.FilterOperator.Not, "BadFilterOperandCountMismatch"),
        ):
            element.FilterOperator = operator
            with pytest.raises(ua.UaStatusCodeError, match=code):
                await subscription.subscribe_events(evfilter=chosen)
        show(
            publisher,
            alarm_shown("dry_run", "p1", PUMP),
            alarm_shown("high_level", "s1", "/north/s1", severity=Severity.CRITICAL),
        )
        await until(lambda: bool(heard.events), what="the critical one")
        assert [event.ConditionName for event in heard.events] == ["high_level"]

    play(story)


def test_one_session_cannot_take_all_event_items() -> None:
    """OPC-5: the eleventh of a session is refused, another session's first is not."""

    async def story(publisher: Publisher, client: Client) -> None:
        subscription = await client.create_subscription(50, Heard())
        for _ in range(limits.EVENT_ITEMS_PER_SESSION_MAX):
            await subscription.subscribe_events()
        with pytest.raises(ua.UaStatusCodeError, match="BadTooManyMonitoredItems"):
            await subscription.subscribe_events()
        async with connected(publisher) as other:
            await (await other.create_subscription(50, Heard())).subscribe_events()

    play(story)


async def client_filter(kind: Any) -> Any:
    from asyncua.common.events import get_filter_from_event_type

    return await get_filter_from_event_type([kind], where_clause_generation=False)


def test_a_client_that_does_not_fetch_its_events_loses_the_oldest_and_is_told() -> None:
    """OPC-5: queues are bounded; what is lost is said."""

    async def story(publisher: Publisher, client: Client) -> None:
        heard = Heard()
        subscription = await listening(client, heard)
        sessions = publisher.endpoint._sessions
        assert sessions is not None
        held = sessions.bounded_subscriptions.subscriptions[subscription.subscription_id]
        alarm = alarm_shown("dry_run", "p1", PUMP)
        for number in range(limits.EVENT_QUEUE + 50):
            show(publisher, msgspec.structs.replace(alarm, occurrences=number))
        (waiting,) = held._triggered_events.values()
        assert len(waiting) == limits.EVENT_QUEUE
        await until(lambda: len(heard.events) == limits.EVENT_QUEUE, what="what is left")
        assert heard.events[0].EventType == standard(ua.ObjectIds.EventQueueOverflowEventType)

    play(story)


# --------------------------------------------------------------------------- history


async def history(client: Client, path: str = f"{PUMP}/setpoint", **given: Any) -> Any:
    details = ua.ReadRawModifiedDetails(
        IsReadModified=given.pop("modified", False),
        StartTime=given.pop("start", NOON),
        EndTime=given.pop("end", NOON + timedelta(hours=1)),
        NumValuesPerNode=given.pop("count", 0),
        ReturnBounds=given.pop("bounds", False),
    )
    node = ua.HistoryReadValueId()
    node.NodeId = own(path)
    node.ContinuationPoint = given.pop("point", None)
    params = ua.HistoryReadParameters()
    params.HistoryReadDetails, params.NodesToRead = details, [node]
    params.ReleaseContinuationPoints = given.pop("release", False)
    params.TimestampsToReturn = ua.TimestampsToReturn.Both
    assert not given
    (result,) = await client.uaclient.history_read(params)
    return result


def past(count: int) -> list[PastValue]:
    return [
        PastValue(value=float(number), quality=Quality.GOOD, at=NOON + timedelta(seconds=number))
        for number in range(count)
    ]


def forged(*, start: str = "2026-11-21T12:00:00Z", following: str = "3") -> bytes:
    """Return a continuation point as a client may make one."""
    return msgspec.msgpack.encode(
        {
            "path": f"{PUMP}/setpoint",
            "start": start,
            "end": None,
            "backwards": False,
            "bounds": True,
            "following": following,
        }
    )


def numbers(result: Any) -> list[Any]:
    return [None if one.Value is None else one.Value.Value for one in result.HistoryData.DataValues]


def test_history_comes_in_pages_by_continuation_point() -> None:
    """OPC-3: forwards, backwards, bounded; a point of another node, or garbage, is invalid."""

    async def story(publisher: Publisher, client: Client) -> None:
        publisher.past["p1", "setpoint"] = past(7)
        first = await history(client, count=3)
        assert (numbers(first), first.HistoryData.DataValues[0].SourceTimestamp) == ([0.0, 1.0, 2.0], NOON)
        second = await history(client, count=3, point=first.ContinuationPoint)
        third = await history(client, count=3, point=second.ContinuationPoint)
        assert (numbers(second), numbers(third)) == ([3.0, 4.0, 5.0], [6.0])
        assert not third.ContinuationPoint
        back = await history(client, start=NOON + timedelta(seconds=6), end=NOON, count=2)
        assert numbers(back) == [6.0, 5.0]
        newest = await history(client, start=datetime(1601, 1, 1, tzinfo=UTC), count=2)
        assert numbers(newest) == [6.0, 5.0]
        for path, point in (
            (f"{PUMP}/reason", first.ContinuationPoint),
            (f"{PUMP}/setpoint", b"garbage"),
            (f"{PUMP}/setpoint", b"\x00" * 2_000),
            (f"{PUMP}/setpoint", forged(start="0001-01-01T00:00:00+10:00")),
            (f"{PUMP}/setpoint", forged(start="2026-11-21T12:00:00")),
            (f"{PUMP}/setpoint", forged(following="")),
        ):
            wrong = await history(client, path=path, point=point)
            assert wrong.StatusCode.name == "BadContinuationPointInvalid"
        assert (await history(client, release=True, point=b"any")).StatusCode.name == "Good"
        publisher.past["p1", "setpoint"] = past(limits.HISTORY_VALUES_MAX + 5)
        capped = await history(client, count=0xFFFF_FFFF)
        assert len(capped.HistoryData.DataValues) == limits.HISTORY_VALUES_MAX
        assert capped.ContinuationPoint

    play(story)


def test_bounds_are_the_values_that_hold_at_the_ends() -> None:
    """OPC 10000-11, 6.5.3: the newest until the start, the first from the end; BadBoundNotFound where none is."""

    async def story(publisher: Publisher, client: Client) -> None:
        publisher.past["p1", "setpoint"] = past(10)
        result = await history(
            client,
            start=NOON + timedelta(seconds=2.5),
            end=NOON + timedelta(seconds=4.5),
            bounds=True,
        )
        assert numbers(result) == [2.0, 3.0, 4.0, 5.0]
        result = await history(
            client, start=NOON - timedelta(seconds=1), end=NOON + timedelta(seconds=0.5), bounds=True
        )
        assert numbers(result) == [None, 0.0, 1.0]
        assert result.HistoryData.DataValues[0].StatusCode.name == "BadBoundNotFound"

    play(story)


def test_what_has_no_past_says_so() -> None:
    """OPC-3: each node by itself, the request as a whole for what we never serve."""

    async def story(publisher: Publisher, client: Client) -> None:
        codes = {
            path: (await history(client, path=path)).StatusCode.name
            for path in (
                f"{PUMP}/heartbeat",
                PUMP,
                "/north/s1/p9/setpoint",
                "/north/failsafe",
                f"{PUMP}/running",
            )
        }
        assert codes == {
            f"{PUMP}/heartbeat": "BadHistoryOperationUnsupported",
            PUMP: "BadHistoryOperationUnsupported",
            "/north/s1/p9/setpoint": "BadNodeIdUnknown",
            "/north/failsafe": "BadHistoryOperationUnsupported",
            f"{PUMP}/running": "GoodNoData",
        }
        none = datetime(1601, 1, 1, tzinfo=UTC)
        assert (await history(client, start=none, end=none, count=5)).StatusCode.name == "BadInvalidArgument"
        with pytest.raises(ua.UaStatusCodeError, match="BadHistoryOperationUnsupported"):
            await history(client, modified=True)
        assert await attribute(client, own(f"{PUMP}/setpoint"), ua.AttributeIds.AccessLevel) == 5

    play(story)


def test_a_database_that_is_away_or_hangs_keeps_nobody_else_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPC-3, OPC-5: a Bad status within a bound, and the endpoint's loop goes on."""
    monkeypatch.setattr(limits, "HISTORY_DEADLINE_S", 0.5)

    async def story(publisher: Publisher, client: Client) -> None:
        publisher.show({"/north/failsafe": False})
        publisher.database_away = True
        assert (await history(client)).StatusCode.name == "BadNoCommunication"
        publisher.database_away, publisher.hold = False, asyncio.Event()
        clients = [Client(publisher.endpoint.bound, timeout=10) for _ in range(4)]
        for one in clients:
            await one.connect()
        waiting = [asyncio.create_task(history(one)) for one in clients]
        assert await client.get_node(own("/north/failsafe")).read_value() is False
        results = await asyncio.gather(*waiting)
        assert {result.StatusCode.name for result in results} == {"BadTimeout"}
        publisher.hold.set()
        publisher.hold = None
        publisher.past["p1", "setpoint"] = past(1)
        assert numbers(await history(client)) == [0.0]
        for one in clients:
            await one.disconnect()

    play(story)


# --------------------------------------------------------------------------- the space itself


def ranged(*, high_hz: float = 50.0) -> SiteConfig:
    plant = north()
    bounds = SafetyLimits(version=1, hard_min_speed_hz=20.0, hard_max_speed_hz=high_hz, max_rate_hz_per_s=2.0)
    first = plant.stations[0]
    pumps = tuple(
        msgspec.structs.replace(pump, limits=bounds, rated_power_kw=22.0) if pump.pump_id == "p1" else pump
        for pump in first.pumps
    )
    changed = msgspec.structs.replace(first, pumps=pumps)
    return msgspec.structs.replace(plant, stations=(changed, *plant.stations[1:]))


def test_ranges_stand_where_they_are_known_and_follow_the_limits() -> None:
    """OPC-1: EURange with a stable id; who watches it hears of another limit; units by their UNECE codes."""

    async def story(publisher: Publisher, client: Client) -> None:
        setpoint = client.get_node(own(f"{PUMP}/setpoint"))
        names = {str((await each.read_browse_name()).Name): each for each in await setpoint.get_properties()}
        assert set(names) == {"EngineeringUnits", "EURange"}
        assert names["EURange"].nodeid == own(f"{PUMP}/setpoint/EURange")
        assert await names["EURange"].read_value() == ua.Range(0.0, 50.0)
        power = await client.get_node(own(f"{PUMP}/actual_power/EURange")).read_value()
        assert power == ua.Range(0.0, 22.0)
        for path in (f"{PUMP}/actual_flow", "/north/s1/p2/setpoint"):
            properties = await client.get_node(own(path)).get_properties()
            assert [(await each.read_browse_name()).Name for each in properties] == ["EngineeringUnits"]
        heard = Heard()
        subscription = await client.create_subscription(50, heard)
        await subscription.subscribe_data_change(names["EURange"])
        await publisher.endpoint.configure(opcua_points(ranged(high_hz=45.0)))
        await until(lambda: ua.Range(0.0, 45.0) in heard.values, what="the new range")
        await publisher.endpoint.configure(opcua_points(north()))
        await until(lambda: heard.statuses[-1:] == ["BadNodeIdUnknown"], what="no range any longer")
        await subscription.delete()

    play(story, plant=ranged())


def test_pumps_come_and_go_beside_clients_that_stay() -> None:
    """OPC-1, DAT-4: no node id of another changes, subscriptions go on, and a model change tells what came and went."""

    async def story(publisher: Publisher, client: Client) -> None:
        heard, changes = Heard(), Heard()
        values = await client.create_subscription(50, heard)
        stays, goes = (client.get_node(own(path)) for path in (f"{PUMP}/setpoint", "/north/s1/p2/setpoint"))
        name = client.get_node(own("/north/s1/p2/setpoint"))
        await values.subscribe_data_change([stays, goes])
        # Another attribute of a node that goes is let go of as well.
        await values.subscribe_data_change(name, attr=ua.AttributeIds.DisplayName)
        events = await client.create_subscription(50, changes)
        await events.subscribe_events(evtypes=ua.ObjectIds.GeneralModelChangeEventType)
        show(publisher, alarm_shown("dry_run", "p2", "/north/s1/p2"))
        before = await tree(client)
        grown = site(station("s1", 1, {"p1": 0, "p4": 2}), station("s2", 2, {"p3": 0}))
        await publisher.endpoint.configure(opcua_points(grown))
        await until(lambda: "BadNodeIdUnknown" in heard.statuses, what="its item goes Bad")
        await until(lambda: bool(changes.events), what="the model change")
        (event,) = changes.events
        told = [(change.Affected, change.Verb) for change in event.Changes]
        assert told == [(own("/north/s1/p2"), 2), (own("/north/s1/p4"), 1)]
        after = await tree(client)
        assert {path for path in before if "/p2" not in path} == {path for path in after if "/p4" not in path}
        publisher.show({f"{PUMP}/setpoint": 41.5})
        await until(lambda: 41.5 in heard.values, what="the other goes on")
        with pytest.raises(ua.UaStatusCodeError, match="BadNodeIdUnknown"):
            await goes.read_value()
        with pytest.raises(ua.UaStatusCodeError, match="BadNodeIdUnknown"):
            await client.get_node(own("conditions/dry_run/p2/Retain")).read_value()
        await values.delete()
        await publisher.endpoint.configure(opcua_points(north()))
        assert await tree(client) == before

    play(story)


async def tree(client: Client) -> set[str]:
    """Return the node ids of everything below the site, by browsing."""
    found: set[str] = set()
    waiting = [client.get_node(own("/north"))]
    while waiting:
        for child in await waiting.pop().get_children():
            text = child.nodeid.to_string()
            if text not in found:
                found.add(text)
                waiting.append(child)
    return found
