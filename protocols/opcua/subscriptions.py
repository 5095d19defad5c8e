"""Subscriptions that a client cannot make expensive: their number, their times, the size of their messages (OPC-5)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.address_space import AddressSpace
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.subscription_service import SubscriptionService

from protocols.opcua import limits
from protocols.opcua.events import EventData
from protocols.opcua.monitored_items import ReportingItems

if TYPE_CHECKING:
    from asyncua.server.uaprocessor import PublishRequestData


def publishing_interval_ms(requested: float) -> float:
    """Bring a requested publishing interval (ms; may be 0, NaN or infinite) into our bounds."""
    if not math.isfinite(requested):
        return limits.PUBLISHING_INTERVAL_MS_MIN
    return min(max(requested, limits.PUBLISHING_INTERVAL_MS_MIN), limits.PUBLISHING_INTERVAL_MS_MAX)


def revised_counts(interval_ms: float, *, keep_alive: int, lifetime: int) -> tuple[int, int]:
    """Bound keep-alive and lifetime counts; the lifetime is at least three keep-alives (OPC 10000-4, 5.14.2)."""
    lifetime_max = max(3, int(limits.LIFETIME_MS_MAX / interval_ms))
    keep_alive = min(max(keep_alive, 1), limits.KEEP_ALIVE_COUNT_MAX, lifetime_max // 3)
    return keep_alive, min(max(lifetime, 3 * keep_alive), lifetime_max)


class BoundedSubscription(InternalSubscription):
    """A subscription whose messages stay below the size its client asked for."""

    notifications_max: int = limits.NOTIFICATIONS_PER_MESSAGE_MAX

    async def publish_results(self, requestdata: PublishRequestData | None = None) -> bool:
        """Send what waits; what did not fit into one message at once after it, as long as requests are there."""
        sent: bool = await super().publish_results(requestdata)
        more = sent
        while more and self._has_more():
            await asyncio.sleep(0)
            more = await super().publish_results()
        return sent

    def _has_more(self) -> bool:
        return bool(self._publishing_enabled and (self._triggered_datachanges or self._triggered_events))

    def _pop_publish_result(self) -> ua.PublishResult:
        result = super()._pop_publish_result()
        result.MoreNotifications = self._has_more()
        return result

    def _pop_triggered_datachanges(self, result: ua.PublishResult) -> None:
        """Take whole items until the message is full; the rest goes with the next one."""
        taken: list[ua.MonitoredItemNotification] = []
        while self._triggered_datachanges:
            item_id = next(iter(self._triggered_datachanges))
            waiting = self._triggered_datachanges[item_id]
            room = self.notifications_max - len(taken)
            if room <= 0:
                break
            taken += waiting[:room]
            if room < len(waiting):
                self._triggered_datachanges[item_id] = waiting[room:]
                break
            del self._triggered_datachanges[item_id]
        if taken:
            notification = ua.DataChangeNotification()
            notification.MonitoredItems = taken
            result.NotificationMessage.NotificationData.append(notification)

    def _pop_triggered_events(self, result: ua.PublishResult) -> None:
        """Take events until the message is full; the rest goes with the next one."""
        taken: list[ua.EventFieldList] = []
        fields = 0
        for item_id in list(self._triggered_events):
            waiting = self._triggered_events[item_id]
            count = 0
            for event in waiting:
                fields += _weight(event)
                is_full = len(taken) + count >= self.notifications_max
                if is_full or (fields > limits.EVENT_FIELDS_PER_MESSAGE_MAX and (taken or count)):
                    break
                count += 1
            taken += waiting[:count]
            if count < len(waiting):
                self._triggered_events[item_id] = waiting[count:]
                break
            del self._triggered_events[item_id]
        if taken:
            notification = ua.EventNotificationList()
            notification.Events = taken
            result.NotificationMessage.NotificationData.append(notification)

    def republish(self, nb: int) -> ua.NotificationMessage:
        """Return an unacknowledged message again.

        Raises:
            ServiceError: it is not kept (any more).

        """
        result = self._not_acknowledged_results.get(nb)
        if result is None:
            raise ServiceError(ua.StatusCodes.BadMessageNotAvailable)
        message: ua.NotificationMessage = result.NotificationMessage
        return message


def _weight(event: ua.EventFieldList) -> int:
    """Return what an event costs in a message: its fields, and of a list each element."""
    return sum(len(each.Value) if isinstance(each.Value, list) else 1 for each in event.EventFields)


class BoundedSubscriptions(SubscriptionService):
    """All subscriptions of the server: bounded in number, interval, lifetime and items."""

    def __init__(self, aspace: AddressSpace, iserver: Any) -> None:
        super().__init__(aspace, iserver)
        self.items_max = limits.monitored_items_max(0)
        self.on_filter_failed: Callable[[Exception], None] = lambda _: None

    @property
    def items(self) -> int:
        """Monitored items of all sessions."""
        return sum(len(sub.monitored_item_srv._monitored_items) for sub in self.subscriptions.values())

    @property
    def event_items(self) -> int:
        """Monitored items for events of all sessions."""
        return sum(len(items.listeners) for items in self._reporting())

    def event_items_of(self, session_id: ua.NodeId) -> int:
        """Monitored items for events of one session."""
        return sum(len(self.items_of(number).listeners) for number in self.owned_by(session_id))

    def filter_failed(self, error: Exception) -> None:
        """Tell of a filter that could not be evaluated."""
        self.on_filter_failed(error)

    def _reporting(self) -> list[ReportingItems]:
        found = [sub.monitored_item_srv for sub in self.subscriptions.values()]
        return [items for items in found if isinstance(items, ReportingItems)]

    def items_of(self, subscription_id: int) -> ReportingItems:
        """Return a subscription's monitored items; the caller knows that there is such a subscription."""
        found = self.subscriptions[subscription_id].monitored_item_srv
        assert isinstance(found, ReportingItems)
        return found

    def tell(self, event: EventData) -> None:
        """Queue an event for everybody who listens where it can be heard."""
        for items in self._reporting():
            items.hear(event)

    def owned_by(self, session_id: ua.NodeId) -> list[int]:
        """Ids of a session's subscriptions."""
        return [number for number, sub in self.subscriptions.items() if sub.session_id == session_id]

    async def create_subscription(
        self,
        params: ua.CreateSubscriptionParameters,
        callback: Callable[..., Any],
        session_id: ua.NodeId,
        request_callback: Callable[..., Any] | None = None,
    ) -> ua.CreateSubscriptionResult:
        """Make a subscription within our bounds.

        Raises:
            ServiceError: the session or the server has as many as it may have.

        """
        own = len(self.owned_by(session_id))
        if own >= limits.SUBSCRIPTIONS_PER_SESSION_MAX or len(self.subscriptions) >= limits.SUBSCRIPTIONS_MAX:
            raise ServiceError(ua.StatusCodes.BadTooManySubscriptions)
        result = ua.CreateSubscriptionResult()
        interval_ms = publishing_interval_ms(params.RequestedPublishingInterval)
        keep_alive, lifetime = revised_counts(
            interval_ms, keep_alive=params.RequestedMaxKeepAliveCount, lifetime=params.RequestedLifetimeCount
        )
        result.RevisedPublishingInterval = interval_ms
        result.RevisedMaxKeepAliveCount = ua.Counter(keep_alive)
        result.RevisedLifetimeCount = ua.Counter(lifetime)
        self._sub_id_counter += 1
        number = self._sub_id_counter
        result.SubscriptionId = ua.IntegerId(number)
        subscription = BoundedSubscription(
            result,
            self.aspace,
            callback,
            session_id,
            request_callback=request_callback,
            delete_callback=lambda: self.subscriptions.pop(number, None),
            no_acks_limit=limits.UNACKNOWLEDGED_MAX,
            max_queue_size=limits.ITEM_QUEUE_MAX,
            publishing_enabled=params.PublishingEnabled,
        )
        if params.MaxNotificationsPerPublish:
            subscription.notifications_max = min(
                params.MaxNotificationsPerPublish, limits.NOTIFICATIONS_PER_MESSAGE_MAX
            )
        subscription.monitored_item_srv = ReportingItems(subscription, self.aspace, self)
        await subscription.start()
        self.subscriptions[number] = subscription
        return result


async def cancel(task: asyncio.Task[Any] | None) -> None:
    """Cancel a task of our own and wait until it is gone."""
    if task is None or task.done():
        return
    task.cancel()
    await asyncio.wait([task])
