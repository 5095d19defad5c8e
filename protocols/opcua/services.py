"""Every OPC UA service that we answer, as one table; what is absent is refused."""

from __future__ import annotations

from typing import Any, Final

from asyncua import ua
from asyncua.common.utils import ServiceError

from protocols.opcua import limits
from protocols.opcua.processor import Processor, Request, Service


def _counted(items: list[Any] | None, most: int) -> list[Any]:
    """Refuse a request without operations or with too many."""
    if not items:
        raise ServiceError(ua.StatusCodes.BadNothingToDo)
    if len(items) > most:
        raise ServiceError(ua.StatusCodes.BadTooManyOperations)
    return items


async def _get_endpoints(processor: Processor, request: Request) -> Any:
    response = ua.GetEndpointsResponse()
    response.Endpoints = await processor.iserver.get_endpoints(request.params, sockname=processor.sockname)
    return response


async def _find_servers(processor: Processor, request: Request) -> Any:
    request.params.ServerUris = [uri for uri in request.params.ServerUris or [] if uri]
    response = ua.FindServersResponse()
    response.Servers = processor.iserver.find_servers(request.params, sockname=processor.sockname)
    return response


async def _read(processor: Processor, request: Request) -> Any:
    _counted(request.params.NodesToRead, limits.NODES_PER_READ_MAX)
    response = ua.ReadResponse()
    response.Results = await processor.current_session(request.header).read(request.params)
    return response


async def _write(processor: Processor, request: Request) -> Any:
    _counted(request.params.NodesToWrite, limits.NODES_PER_WRITE_MAX)
    response = ua.WriteResponse()
    response.Results = await processor.current_session(request.header).write(request.params)
    return response


async def _browse(processor: Processor, request: Request) -> Any:
    _counted(request.params.NodesToBrowse, limits.NODES_PER_BROWSE_MAX)
    response = ua.BrowseResponse()
    response.Results = await processor.current_session(request.header).browser.browse(request.params)
    return response


async def _browse_next(processor: Processor, request: Request) -> Any:
    points = _counted(request.params.ContinuationPoints, limits.NODES_PER_BROWSE_MAX)
    browser = processor.current_session(request.header).browser
    response = ua.BrowseNextResponse()
    response.Parameters.Results = await browser.browse_next(
        points, release=request.params.ReleaseContinuationPoints
    )
    return response


async def _translate(processor: Processor, request: Request) -> Any:
    paths = _counted(request.params.BrowsePaths, limits.NODES_PER_TRANSLATE_MAX)
    if any(not path.RelativePath.Elements for path in paths):
        raise ServiceError(ua.StatusCodes.BadNothingToDo)
    response = ua.TranslateBrowsePathsToNodeIdsResponse()
    processor.current_session(request.header)
    response.Results = await processor.iserver.view_service.translate(paths)
    return response


async def _register_nodes(processor: Processor, request: Request) -> Any:
    processor.current_session(request.header)
    nodes = _counted(request.params.NodesToRegister, limits.NODES_PER_REGISTER_MAX)
    response = ua.RegisterNodesResponse()
    response.Parameters.RegisteredNodeIds = nodes
    return response


async def _unregister_nodes(processor: Processor, request: Request) -> Any:
    processor.current_session(request.header)
    _counted(request.params.NodesToUnregister, limits.NODES_PER_REGISTER_MAX)
    return ua.UnregisterNodesResponse()


async def _create_subscription(processor: Processor, request: Request) -> Any:
    response = ua.CreateSubscriptionResponse()
    response.Parameters = await processor.current_session(request.header).create_subscription(
        request.params, processor.forward_publish_response, request_callback=processor.get_publish_request
    )
    return response


async def _modify_subscription(processor: Processor, request: Request) -> Any:
    session = processor.current_session(request.header)
    session.own_subscription(request.params.SubscriptionId)
    response = ua.ModifySubscriptionResponse()
    response.Parameters = session.modify_subscription(request.params)
    return response


async def _delete_subscriptions(processor: Processor, request: Request) -> Any:
    ids = _counted(request.params.SubscriptionIds, limits.ITEMS_PER_CALL_MAX)
    response = ua.DeleteSubscriptionsResponse()
    response.Results = await processor.current_session(request.header).delete_subscriptions(ids)
    return response


async def _set_publishing_mode(processor: Processor, request: Request) -> Any:
    session = processor.current_session(request.header)
    for number in _counted(request.params.SubscriptionIds, limits.ITEMS_PER_CALL_MAX):
        session.own_subscription(number)
    response = ua.SetPublishingModeResponse()
    response.Parameters.Results = await session.set_publishing_mode(request.params)
    return response


async def _create_items(processor: Processor, request: Request) -> Any:
    _counted(request.params.ItemsToCreate, limits.ITEMS_PER_CALL_MAX)
    response = ua.CreateMonitoredItemsResponse()
    response.Results = await processor.current_session(request.header).create_monitored_items(request.params)
    return response


async def _modify_items(processor: Processor, request: Request) -> Any:
    _counted(request.params.ItemsToModify, limits.ITEMS_PER_CALL_MAX)
    session = processor.current_session(request.header)
    session.own_subscription(request.params.SubscriptionId)
    response = ua.ModifyMonitoredItemsResponse()
    response.Results = await session.modify_monitored_items(request.params)
    return response


async def _delete_items(processor: Processor, request: Request) -> Any:
    _counted(request.params.MonitoredItemIds, limits.ITEMS_PER_CALL_MAX)
    session = processor.current_session(request.header)
    session.own_subscription(request.params.SubscriptionId)
    response = ua.DeleteMonitoredItemsResponse()
    response.Results = await session.delete_monitored_items(request.params)
    return response


async def _set_monitoring_mode(processor: Processor, request: Request) -> Any:
    _counted(request.params.MonitoredItemIds, limits.ITEMS_PER_CALL_MAX)
    session = processor.current_session(request.header)
    session.own_subscription(request.params.SubscriptionId)
    response = ua.SetMonitoringModeResponse()
    response.Parameters.Results = await session.set_monitoring_mode(request.params)
    return response


async def _republish(processor: Processor, request: Request) -> Any:
    session = processor.current_session(request.header)
    session.own_subscription(request.params.SubscriptionId)
    response = ua.RepublishResponse()
    response.NotificationMessage = session.republish(request.params)
    return response


async def _call(processor: Processor, request: Request) -> Any:
    items = _counted(request.params.MethodsToCall, limits.METHODS_PER_CALL_MAX)
    session = processor.current_session(request.header)
    response = ua.CallResponse()
    response.Results = await processor.iserver.operations.call(items, session)
    return response


async def _history_read(processor: Processor, request: Request) -> Any:
    _counted(request.params.NodesToRead, limits.NODES_PER_HISTORY_READ_MAX)
    processor.current_session(request.header)
    response = ua.HistoryReadResponse()
    response.Results = await processor.iserver.operations.history_read(request.params)
    return response


def _number(name: str) -> int:
    number: int = getattr(ua.ObjectIds, f"{name}Request_Encoding_DefaultBinary")
    return number


# Absent on purpose, thus BadServiceUnsupported: RegisterServer(2) (anybody could fill our memory), node and
# reference management, HistoryUpdate (what was is not to be rewritten), Query, TransferSubscriptions (anonymous clients
# cannot prove that one was theirs).
# Of Write and Call the publisher tells each operation that it was asked for, by name.
_TELL_ITEMS: Final = frozenset({"Read", "Browse", "BrowseNext", "HistoryRead", "CreateMonitoredItems"})
_DISCOVERY: Final = frozenset({"GetEndpoints", "FindServers", "CloseSecureChannel"})

SERVICES: Final = {
    _number(name): Service(
        decode, needs_session, answer, name in _DISCOVERY, name=name, tells_items=name in _TELL_ITEMS
    )
    for name, decode, needs_session, answer in (
        ("GetEndpoints", ua.GetEndpointsParameters, False, _get_endpoints),
        ("FindServers", ua.FindServersParameters, False, _find_servers),
        ("CreateSession", ua.CreateSessionParameters, False, Processor.create_session),
        ("ActivateSession", ua.ActivateSessionParameters, False, Processor.activate_session),
        ("CloseSession", None, False, Processor.close_session),
        ("CloseSecureChannel", None, False, Processor.close_channel),
        ("Read", ua.ReadParameters, True, _read),
        ("Write", ua.WriteParameters, True, _write),
        ("Call", ua.CallParameters, True, _call),
        ("HistoryRead", ua.HistoryReadParameters, True, _history_read),
        ("Browse", ua.BrowseParameters, True, _browse),
        ("BrowseNext", ua.BrowseNextParameters, True, _browse_next),
        ("TranslateBrowsePathsToNodeIds", ua.TranslateBrowsePathsToNodeIdsParameters, True, _translate),
        ("RegisterNodes", ua.RegisterNodesParameters, True, _register_nodes),
        ("UnregisterNodes", ua.UnregisterNodesParameters, True, _unregister_nodes),
        ("CreateSubscription", ua.CreateSubscriptionParameters, True, _create_subscription),
        ("ModifySubscription", ua.ModifySubscriptionParameters, True, _modify_subscription),
        ("DeleteSubscriptions", ua.DeleteSubscriptionsParameters, True, _delete_subscriptions),
        ("SetPublishingMode", ua.SetPublishingModeParameters, True, _set_publishing_mode),
        ("CreateMonitoredItems", ua.CreateMonitoredItemsParameters, True, _create_items),
        ("ModifyMonitoredItems", ua.ModifyMonitoredItemsParameters, True, _modify_items),
        ("DeleteMonitoredItems", ua.DeleteMonitoredItemsParameters, True, _delete_items),
        ("SetMonitoringMode", ua.SetMonitoringModeParameters, True, _set_monitoring_mode),
        ("Publish", ua.PublishParameters, True, Processor.publish),
        ("Republish", ua.RepublishParameters, True, _republish),
    )
}
