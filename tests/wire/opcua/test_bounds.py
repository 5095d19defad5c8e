"""What one request, one answer and one queue may cost on the wire; and what somebody without the right may not see."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from asyncua import ua

from actors.vocabulary import Quality
from actors.vocabulary.access import UserRole
from actors.vocabulary.client_calls import PastValue, ShownAlarm, ShownAlarms
from protocols.opcua import limits
from protocols.opcua.ids import own, standard
from protocols.opcua.nodes import OPERATION_LIMITS
from tests.wire.opcua.served import PUMP, Fault, Publisher, Raw, alarm_shown, node_id, served

pytestmark = pytest.mark.wire
FIELD = frozenset({UserRole.FIELD})
CONDITION = "conditions/dry_run/p1"
SITE = own("/north")
COMPONENT, NAMES = standard(ua.ObjectIds.HasComponent), ua.VariantType.String


def show(publisher: Publisher, *alarms: ShownAlarm) -> None:
    publisher.endpoint.show_alarms(ShownAlarms(alarms=alarms, whole=True))


def reads(count: int) -> list[Any]:
    return [ua.ReadValueId(node_id(f"{PUMP}/setpoint"), ua.AttributeIds.Value)] * count


def path_to(*names: str, start: ua.NodeId = SITE) -> ua.BrowsePath:
    path = ua.BrowsePath(StartingNode=start)
    for name in names:
        element: Any = ua.RelativePathElement()
        element.TargetName, element.IncludeSubtypes, element.IsInverse = (
            ua.QualifiedName(name, 2),
            True,
            False,
        )
        element.ReferenceTypeId = standard(ua.ObjectIds.References)
        path.RelativePath.Elements.append(element)
    return path


def browsing(*nodes: ua.NodeId, most: int = 0) -> ua.BrowseRequest:
    request = ua.BrowseRequest()
    request.Parameters.RequestedMaxReferencesPerNode = most
    for node in nodes:
        request.Parameters.NodesToBrowse.append(
            ua.BrowseDescription(NodeId=node, BrowseDirection=ua.BrowseDirection.Both, ResultMask=63)
        )
    return request


async def browse(raw: Raw, *nodes: ua.NodeId, most: int = 0) -> list[Any]:
    return list((await raw.ask(browsing(*nodes, most=most), ua.BrowseResponse)).Results)


async def browse_next(raw: Raw, *points: bytes, release: bool = False) -> list[Any]:
    request = ua.BrowseNextRequest()
    request.Parameters.ContinuationPoints = list(points)
    request.Parameters.ReleaseContinuationPoints = release
    return list((await raw.ask(request, ua.BrowseNextResponse)).Parameters.Results)


def _history(count: int) -> ua.HistoryReadRequest:
    request = ua.HistoryReadRequest()
    request.Parameters.HistoryReadDetails = ua.ReadRawModifiedDetails(
        IsReadModified=False, NumValuesPerNode=ua.Counter(1)
    )
    request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Source
    request.Parameters.ReleaseContinuationPoints = False
    request.Parameters.NodesToRead = [ua.HistoryReadValueId(NodeId=node_id(f"{PUMP}/setpoint"))] * count
    return request


def _write(count: int) -> ua.WriteRequest:
    request = ua.WriteRequest()
    value = ua.DataValue(ua.Variant(1, ua.VariantType.UInt16))
    one = ua.WriteValue(node_id(f"{PUMP}/plc_heartbeat"), ua.AttributeIds.Value, Value=value)
    request.Parameters.NodesToWrite = [one] * count
    return request


def _filled(request: Any, name: str, items: list[Any]) -> Any:
    setattr(request.Parameters, name, items)
    return request


_ITEM = ua.MonitoredItemCreateRequest()
_ITEM.ItemToMonitor = ua.ReadValueId(node_id(f"{PUMP}/setpoint"), ua.AttributeIds.Value)
LIMITED: dict[str, tuple[int, Any]] = {
    "MaxNodesPerRead": (
        limits.NODES_PER_READ_MAX,
        lambda n: (_filled(ua.ReadRequest(), "NodesToRead", reads(n)), ua.ReadResponse),
    ),
    "MaxNodesPerWrite": (limits.NODES_PER_WRITE_MAX, lambda n: (_write(n), ua.WriteResponse)),
    "MaxNodesPerBrowse": (
        limits.NODES_PER_BROWSE_MAX,
        lambda n: (browsing(*[SITE] * n), ua.BrowseResponse),
    ),
    "MaxNodesPerTranslateBrowsePathsToNodeIds": (
        limits.NODES_PER_TRANSLATE_MAX,
        lambda n: (
            _filled(ua.TranslateBrowsePathsToNodeIdsRequest(), "BrowsePaths", [path_to("s1")] * n),
            ua.TranslateBrowsePathsToNodeIdsResponse,
        ),
    ),
    "MaxNodesPerRegisterNodes": (
        limits.NODES_PER_REGISTER_MAX,
        lambda n: (
            _filled(ua.RegisterNodesRequest(), "NodesToRegister", [SITE] * n),
            ua.RegisterNodesResponse,
        ),
    ),
    "MaxMonitoredItemsPerCall": (
        limits.ITEMS_PER_CALL_MAX,
        lambda n: (
            _filled(ua.CreateMonitoredItemsRequest(), "ItemsToCreate", [_ITEM] * n),
            ua.CreateMonitoredItemsResponse,
        ),
    ),
    "MaxNodesPerMethodCall": (
        limits.METHODS_PER_CALL_MAX,
        lambda n: (
            _filled(ua.CallRequest(), "MethodsToCall", [ua.CallMethodRequest()] * n),
            ua.CallResponse,
        ),
    ),
    "MaxNodesPerHistoryReadData": (
        limits.NODES_PER_HISTORY_READ_MAX,
        lambda n: (_history(n), ua.HistoryReadResponse),
    ),
}


@pytest.mark.parametrize("name", LIMITED)
def test_one_operation_more_than_is_told_is_refused(name: str) -> None:
    """OPC-1, OPC-5: each limit's node says what is kept; as many are taken, one more is BadTooManyOperations."""
    assert set(LIMITED) == set(OPERATION_LIMITS)
    most, made = LIMITED[name]
    assert OPERATION_LIMITS[name] == most

    async def story() -> None:
        async with served() as publisher:
            raw = await Raw.session_to(publisher)
            number = getattr(ua.ObjectIds, f"Server_ServerCapabilities_OperationLimits_{name}")
            request = ua.ReadRequest()
            request.Parameters.NodesToRead = [ua.ReadValueId(standard(number), ua.AttributeIds.Value)]
            (told,) = (await raw.ask(request, ua.ReadResponse)).Results
            assert told.Value.Value == most
            subscription = (await raw.subscribe()).SubscriptionId
            for count in (most, most + 1):
                asked, response = made(count)
                if name == "MaxMonitoredItemsPerCall":
                    asked.Parameters.SubscriptionId = subscription
                if count == most:
                    results = await raw.ask(asked, response)
                    assert (
                        len(getattr(results, "Results", None) or results.Parameters.RegisteredNodeIds) == most
                    )
                    continue
                with pytest.raises(Fault, match="BadTooManyOperations"):
                    await raw.ask(asked, response)
            assert publisher.endpoint.told["limited"] == 1

    asyncio.run(story())


# --------------------------------------------------------------------------- browsing


def test_a_node_with_many_references_comes_in_parts() -> None:
    """OPC-5: as many as were asked for, the rest by BrowseNext; a point counts once, and not for another session."""

    async def story() -> None:
        async with served() as publisher:
            raw, other = await Raw.session_to(publisher), await Raw.session_to(publisher)
            pump = own(PUMP)
            (whole,) = await browse(raw, pump)
            assert not whole.ContinuationPoint
            assert len(whole.References) > 20
            (part,) = await browse(raw, pump, most=8)
            found = list(part.References)
            assert len(found) == 8
            (stolen,) = await browse_next(other, part.ContinuationPoint)
            assert stolen.StatusCode.name == "BadContinuationPointInvalid"
            point = part.ContinuationPoint
            while point:
                (part,) = await browse_next(raw, point)
                (again,) = await browse_next(raw, point)
                assert again.StatusCode.name == "BadContinuationPointInvalid"
                assert len(part.References) <= 8
                found += part.References
                point = part.ContinuationPoint
            assert [one.NodeId for one in found] == [one.NodeId for one in whole.References]
            (part,) = await browse(raw, pump, most=1)
            (released,) = await browse_next(raw, part.ContinuationPoint, release=True)
            assert released.StatusCode.name == "Good"
            assert released.References == []
            (gone,) = await browse_next(raw, part.ContinuationPoint)
            assert gone.StatusCode.name == "BadContinuationPointInvalid"

    asyncio.run(story())


def test_the_widest_browse_is_cut_off_and_the_points_are_bounded() -> None:
    """OPC-5: two hundred nodes at once get their part each, no answer is larger than the bound, points are few."""

    async def story() -> None:
        async with served() as publisher:
            raw = await Raw.session_to(publisher)
            types = standard(ua.ObjectIds.BaseDataVariableType)
            nodes = [own(PUMP), types] * (limits.NODES_PER_BROWSE_MAX // 2)
            results: list[Any] = []
            for _ in range(3):
                results = await browse(raw, *nodes)
                count = sum(len(each.References) for each in results)
                assert count <= limits.REFERENCES_PER_BROWSE_MAX
                assert all(len(each.References) >= limits.REFERENCES_PER_NODE_MIN for each in results)
            sessions = publisher.endpoint._sessions
            assert sessions is not None
            session = next(each for each in sessions.sessions if each.auth_token == raw.token)
            assert 0 < len(session.browser) <= limits.BROWSE_POINTS_MAX
            (last,) = await browse_next(raw, results[-2].ContinuationPoint)
            assert last.StatusCode.name == "Good"

    asyncio.run(story())


def test_what_is_not_there_is_said_to_be_unknown() -> None:
    """OPC-1: Browse and Translate of unknown nodes, types and directions have the standard's own statuses."""

    async def story() -> None:
        async with served() as publisher:
            raw = await Raw.session_to(publisher)
            request = browsing(own("/nowhere"), SITE)
            request.Parameters.NodesToBrowse[1].ReferenceTypeId = own("no such type")
            names = [each.StatusCode.name for each in (await raw.ask(request, ua.BrowseResponse)).Results]
            assert names == ["BadNodeIdUnknown", "BadReferenceTypeIdInvalid"]
            asked = ua.TranslateBrowsePathsToNodeIdsRequest()
            asked.Parameters.BrowsePaths = [
                path_to("s1", "p1", "setpoint"),
                path_to("s1", start=own("/nowhere")),
                path_to("s9"),
                path_to(*["s1"] * 17),
                path_to(""),
            ]
            response = await raw.ask(asked, ua.TranslateBrowsePathsToNodeIdsResponse)
            found, *others = response.Results
            assert [each.TargetId for each in found.Targets] == [own(f"{PUMP}/setpoint")]
            assert [each.StatusCode.name for each in others] == [
                "BadNodeIdUnknown", "BadNoMatch", "BadQueryTooComplex", "BadBrowseNameInvalid"
            ]  # fmt: skip

    asyncio.run(story())


# --------------------------------------------------------------------------- rights


def test_a_controller_sees_nothing_of_alarms_whichever_way_it_looks() -> None:
    """SEC-2, OPC-3: read, watched, browsed, translated: who acknowledged what is not FIELD's to know."""

    async def story() -> None:
        seen = alarm_shown(
            "dry_run", "p1", PUMP, acknowledged=True, acknowledged_by="anna", comment="on my way"
        )
        for roles, status in ((FIELD, "BadUserAccessDenied"), (frozenset({UserRole.READ_ONLY}), "Good")):
            async with served(roles=roles) as publisher:
                show(publisher, seen)
                raw = await Raw.session_to(publisher)
                name = f"{CONDITION}/ClientUserId"
                assert await raw.read(name) == [(None if roles is FIELD else "anna", status)]
                watched = await raw.monitor((await raw.subscribe()).SubscriptionId, name, f"{PUMP}/setpoint")
                assert [each.StatusCode.name for each in watched] == [status, "Good"]
                for _ in range(2 if roles is FIELD else 1):
                    (instance,) = await browse(raw, own(CONDITION))
                    assert instance.StatusCode.name == status
                    # Nor does anything tell whether there is such a one.
                    show(publisher)
                    if roles is not FIELD:
                        show(publisher, seen)
                show(publisher, seen)
                (pump,) = await browse(raw, own(PUMP))
                kinds = {each.ReferenceTypeId for each in pump.References}
                assert (standard(ua.ObjectIds.HasCondition) in kinds) == (status == "Good")
                asked = ua.TranslateBrowsePathsToNodeIdsRequest()
                asked.Parameters.BrowsePaths = [path_to("s1", "p1", "dry_run")]
                (found,) = (await raw.ask(asked, ua.TranslateBrowsePathsToNodeIdsResponse)).Results
                assert found.StatusCode.name == ("Good" if status == "Good" else "BadNoMatch")

    asyncio.run(story())


# --------------------------------------------------------------------------- filters, arguments, messages


def _operand(name: str) -> ua.SimpleAttributeOperand:
    made = ua.SimpleAttributeOperand(AttributeId=ua.AttributeIds.Value)
    made.BrowsePath = [ua.QualifiedName(name, 0)]
    return made


async def listen(raw: Raw, subscription: int, *, select: list[str], where: list[Any] | None = None) -> Any:
    request = ua.CreateMonitoredItemsRequest()
    request.Parameters.SubscriptionId = subscription
    one = ua.MonitoredItemCreateRequest()
    one.ItemToMonitor = ua.ReadValueId(standard(ua.ObjectIds.Server), ua.AttributeIds.EventNotifier)
    one.MonitoringMode = ua.MonitoringMode.Reporting
    wanted = ua.EventFilter()
    wanted.SelectClauses = [_operand(name) for name in select]
    for operator, operands in where or ():
        element = ua.ContentFilterElement()
        element.FilterOperator, element.FilterOperands = operator, operands
        wanted.WhereClause.Elements.append(element)
    one.RequestedParameters.Filter = wanted
    request.Parameters.ItemsToCreate = [one]
    (result,) = (await raw.ask(request, ua.CreateMonitoredItemsResponse)).Results
    assert result.StatusCode.name == "Good", result
    return result


async def published(raw: Raw) -> Any:
    return (await raw.ask(ua.PublishRequest(), ua.PublishResponse)).Parameters


def test_a_filter_that_compares_what_has_no_order_costs_nobody_anything() -> None:
    """OPC-5: a number greater than an event's type is no match; the next alarm reaches everybody else."""

    async def story() -> None:
        async with served() as publisher:
            bad, good = await Raw.session_to(publisher), await Raw.session_to(publisher)
            number = ua.LiteralOperand(Value=ua.Variant(1, ua.VariantType.UInt16))
            for kind in (ua.FilterOperator.GreaterThan, ua.FilterOperator.LessThan):
                for operands in ([number, _operand("EventType")], [_operand("EventType"), number]):
                    at = (await bad.subscribe()).SubscriptionId
                    await listen(bad, at, select=["Message"], where=[(kind, operands)])
            await listen(good, (await good.subscribe()).SubscriptionId, select=["ConditionName"])
            show(publisher, alarm_shown("dry_run", "p1", PUMP))
            found: list[Any] = []
            while not found:
                for data in (await published(good)).NotificationMessage.NotificationData:
                    found += [event.EventFields[0].Value for event in data.Events]
            assert found == ["dry_run"]
            assert publisher.events("failed") == []

    asyncio.run(story())


def test_events_of_what_has_no_notifier_are_refused() -> None:
    """OPC-5: a type, a variable, nothing at all: a status each, no fault of ours."""

    async def story() -> None:
        async with served() as publisher:
            raw = await Raw.session_to(publisher)
            at = (await raw.subscribe()).SubscriptionId
            request = ua.CreateMonitoredItemsRequest()
            request.Parameters.SubscriptionId = at
            for node in (
                own("types/PumpType"),
                own("conditions/none"),
                own(f"{PUMP}/setpoint"),
                own("types"),
            ):
                one = ua.MonitoredItemCreateRequest()
                one.ItemToMonitor = ua.ReadValueId(node, ua.AttributeIds.EventNotifier)
                one.RequestedParameters.Filter = ua.EventFilter()
                request.Parameters.ItemsToCreate.append(one)
            results = (await raw.ask(request, ua.CreateMonitoredItemsResponse)).Results
            names = [each.StatusCode.name for each in results]
            assert names == [
                "BadAttributeIdInvalid",
                "BadNodeIdUnknown",
                "BadAttributeIdInvalid",
                "BadNodeIdUnknown",
            ]
            assert publisher.events("failed") == []

    asyncio.run(story())


def test_a_filter_that_fails_is_its_own_item_s_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPC-5: whatever a filter raises: told, that item hears nothing more, every other one goes on."""

    async def story() -> None:
        async with served() as publisher:
            raw = await Raw.session_to(publisher)
            at = (await raw.subscribe()).SubscriptionId
            first = await listen(raw, at, select=["ConditionName"])
            await listen(raw, at, select=["ConditionName"])
            sessions = publisher.endpoint._sessions
            assert sessions is not None
            items = sessions.bounded_subscriptions.items_of(at)

            def broken(_: Any) -> bool:
                raise AttributeError("Can only compare to NodeId")

            listener = items.listeners[first.MonitoredItemId]
            listener.wanted = msgspec.structs.replace(listener.wanted, test=broken)
            alarm = alarm_shown("dry_run", "p1", PUMP)
            for occurrences in (1, 2):
                show(publisher, msgspec.structs.replace(alarm, occurrences=occurrences))
            waiting = items.isub._triggered_events
            assert {key: len(each) for key, each in waiting.items()} == {first.MonitoredItemId + 1: 2}
            assert len(publisher.events("failed")) == 1

    asyncio.run(story())


@pytest.mark.parametrize(
    "given",
    [
        ua.Variant([["a", "b"], ["c", "d"]], NAMES, Dimensions=[ua.Int32(2), ua.Int32(2)], is_array=True),
        ua.Variant([ua.LocalizedText("a")], ua.VariantType.LocalizedText, is_array=True),
        ua.Variant([["a"], ["b"]], NAMES, Dimensions=[ua.Int32(2), ua.Int32(1)], is_array=True),
    ],
)
@pytest.mark.parametrize("method", ["ClearEmergencyStop", "EmergencyStop"])
def test_an_argument_that_is_a_matrix_is_of_the_wrong_type(given: ua.Variant, method: str) -> None:
    """OPC-5: BadTypeMismatch for just that argument; no fault of ours, whatever its shape."""

    async def story() -> None:
        async with served() as publisher:
            raw = await Raw.session_to(publisher)
            request = ua.CallMethodRequest()
            request.ObjectId, request.MethodId = own(PUMP), own(f"types/PumpType/{method}")
            reason = [ua.Variant("why", NAMES)] if method == "ClearEmergencyStop" else []
            request.InputArguments = [given, *reason]
            call = _filled(ua.CallRequest(), "MethodsToCall", [request])
            (result,) = (await raw.ask(call, ua.CallResponse)).Results
            assert result.StatusCode.name == "BadInvalidArgument"
            assert result.InputArgumentResults[0].name == "BadTypeMismatch"
            assert publisher.calls == []
            assert publisher.events("failed") == []

    asyncio.run(story())


def test_a_message_is_full_by_its_fields_and_the_rest_follows_at_once() -> None:
    """OPC-5: events with a hundred clauses each come in bounded messages, MoreNotifications set, without a pause."""

    async def story() -> None:
        async with served() as publisher:
            raw = await Raw.session_to(publisher)
            subscribed = await raw.subscribe(RequestedPublishingInterval=2_000.0)
            await listen(raw, subscribed.SubscriptionId, select=["Message"] * limits.SELECT_CLAUSES_MAX)
            await published(raw)  # the first, empty: from now on one every two seconds
            alarm = alarm_shown("dry_run", "p1", PUMP)
            for occurrences in range(200):
                show(publisher, msgspec.structs.replace(alarm, occurrences=occurrences))
            for _ in range(4):
                await raw.post(ua.PublishRequest())
            loop, sizes, more = asyncio.get_running_loop(), [], []
            began_s = 0.0
            for _ in range(4):
                answer = (await raw.response(ua.PublishResponse)).Parameters
                began_s = began_s or loop.time()
                (data,) = answer.NotificationMessage.NotificationData
                sizes.append(sum(len(event.EventFields) for event in data.Events))
                more.append(answer.MoreNotifications)
            assert sizes == [limits.EVENT_FIELDS_PER_MESSAGE_MAX] * 4
            assert more == [True, True, True, False]
            assert loop.time() - began_s < subscribed.RevisedPublishingInterval / 1_000.0, (
                "not one each interval"
            )

    asyncio.run(story())


@pytest.mark.parametrize(
    ("oldest", "values", "marked"), [(True, [3.0, 4.0, 5.0], 0), (False, [1.0, 2.0, 5.0], 2)]
)
def test_what_a_full_queue_drops_is_chosen_and_marked(oldest: bool, values: list[float], marked: int) -> None:
    """OPC-1 (OPC 10000-4, 5.13.1.5): DiscardOldest is honoured, and the value beside the lost ones says so."""

    async def story() -> None:
        async with served() as publisher:
            raw = await Raw.session_to(publisher)
            at = (await raw.subscribe()).SubscriptionId
            (made,) = await raw.monitor(at, f"{PUMP}/setpoint", QueueSize=3, DiscardOldest=oldest)
            assert made.RevisedQueueSize == 3
            await published(raw)
            for number in range(1, 6):
                publisher.show({f"{PUMP}/setpoint": float(number)})
            (data,) = (await published(raw)).NotificationMessage.NotificationData
            assert [one.Value.Value.Value for one in data.MonitoredItems] == values
            codes = [one.Value.StatusCode.value for one in data.MonitoredItems]
            assert codes == [0x480 if place == marked else 0 for place in range(3)]
            # A queue of one has no neighbour to mark: the newest value, as ever.
            (made,) = await raw.monitor(at, f"{PUMP}/actual_speed", QueueSize=1, DiscardOldest=oldest)
            await published(raw)
            for number in range(1, 4):
                publisher.show({f"{PUMP}/actual_speed": float(number)})
            (data,) = (await published(raw)).NotificationMessage.NotificationData
            (one,) = data.MonitoredItems
            assert (one.Value.Value.Value, one.Value.StatusCode.value) == (3.0, 0)

    asyncio.run(story())


def test_a_session_s_refreshes_are_few() -> None:
    """OPC-5: as many items at once as it may have, then one every half second, by however many subscriptions."""

    async def story() -> None:
        async with served() as publisher:
            raw = await Raw.session_to(publisher)
            ids = [(await raw.subscribe()).SubscriptionId for _ in range(2)]
            for at in ids:
                for _ in range(limits.EVENT_ITEMS_PER_SESSION_MAX // 2):
                    await listen(raw, at, select=["Message"])
            request = ua.CallMethodRequest()
            request.ObjectId = standard(ua.ObjectIds.ConditionType)
            request.MethodId = standard(ua.ObjectIds.ConditionType_ConditionRefresh)
            names = []
            sessions = publisher.endpoint._sessions
            assert sessions is not None
            for at in (*ids, ids[0]):
                # Not for its own subscription's sake it is refused.
                sessions.bounded_subscriptions.items_of(at).refresh_not_before_s = 0.0
                request.InputArguments = [ua.Variant(at, ua.VariantType.UInt32)]
                call = _filled(ua.CallRequest(), "MethodsToCall", [request])
                names.append((await raw.ask(call, ua.CallResponse)).Results[0].StatusCode.name)
            assert names == ["Good", "Good", "BadRefreshInProgress"]

    asyncio.run(story())


def test_history_never_gives_more_than_was_asked_for() -> None:
    """OPC-3 (OPC 10000-11, 6.5.3): the values at the bounds count among those that were asked for."""

    async def story() -> None:
        noon = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
        async with served() as publisher:
            raw = await Raw.session_to(publisher)
            publisher.past[("p1", "setpoint")] = [
                PastValue(at=noon.replace(minute=minute), value=float(minute), quality=Quality.GOOD)
                for minute in range(1, 6)
            ]
            found: list[float | None] = []
            point = b""
            pages = []
            for _ in range(10):
                request = _history(1)
                request.Parameters.HistoryReadDetails = ua.ReadRawModifiedDetails(
                    StartTime=noon,
                    EndTime=noon.replace(minute=6),
                    NumValuesPerNode=ua.Counter(2),
                    IsReadModified=False,
                    ReturnBounds=True,
                )
                request.Parameters.NodesToRead[0].ContinuationPoint = point
                (result,) = (await raw.ask(request, ua.HistoryReadResponse)).Results
                values = result.HistoryData.DataValues
                pages.append(len(values))
                found += [one.Value.Value if one.Value else None for one in values]
                point = result.ContinuationPoint or b""
                if not point:
                    break
            assert max(pages) <= 2
            assert found == [None, 1.0, 2.0, 3.0, 4.0, 5.0, None], "the bounds stand at both ends"

    asyncio.run(story())
