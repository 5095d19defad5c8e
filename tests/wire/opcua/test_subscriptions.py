"""Subscriptions on the OPC UA endpoint: bounded, private, and true."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asyncua import ua

from protocols.opcua import limits
from tests.wire.opcua.served import (
    PUMP,
    Fault,
    Raw,
    alive,
    served,
)


def test_subscriptions_have_a_floor_and_an_end() -> None:
    """OPC-5: no publishing interval keeps us busy, no lifetime outlives reason."""

    async def story() -> None:
        async with served() as publisher:
            one = await Raw.session_to(publisher)
            for interval_ms in (0.0, -5.0, 1e-9, float("nan"), float("inf"), 1e300):
                answer = await one.subscribe(
                    RequestedPublishingInterval=interval_ms,
                    RequestedLifetimeCount=0xFFFF_FFFF,
                    RequestedMaxKeepAliveCount=0xFFFF_FFFF,
                )
                assert 50 <= answer.RevisedPublishingInterval <= 60_000
                assert answer.RevisedLifetimeCount * answer.RevisedPublishingInterval <= 600_000
                assert answer.RevisedLifetimeCount >= 3 * answer.RevisedMaxKeepAliveCount

    asyncio.run(story())


def test_subscriptions_and_items_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPC-5: the subscription, the item and the operation too many are refused, each with its own status."""

    async def story() -> None:
        async with served() as publisher:
            one = await Raw.session_to(publisher)
            first = (await one.subscribe()).SubscriptionId
            for _ in range(limits.SUBSCRIPTIONS_PER_SESSION_MAX - 1):
                await one.subscribe()
            with pytest.raises(Fault, match="BadTooManySubscriptions"):
                await one.subscribe()
            sessions = publisher.endpoint._sessions
            assert sessions is not None
            sessions.bounded_subscriptions.items_max = 5
            results = await one.monitor(first, *[f"{PUMP}/setpoint"] * 8, QueueSize=0xFFFF_FFFF)
            assert [r.StatusCode.name for r in results] == ["Good"] * 5 + ["BadTooManyMonitoredItems"] * 3
            assert {r.RevisedQueueSize for r in results[:5]} == {limits.ITEM_QUEUE_MAX}
            with pytest.raises(Fault, match="BadTooManyOperations"):
                await one.read(*["/north/failsafe"] * (limits.NODES_PER_READ_MAX + 1))
            with pytest.raises(Fault, match="BadNothingToDo"):
                await one.read()
            await alive(publisher)

    asyncio.run(story())


def test_queues_of_a_client_that_never_publishes_are_bounded() -> None:
    """OPC-5: what waits for a client is bounded per item, and the newest values are the ones kept."""

    async def story() -> None:
        async with served() as publisher:
            one = await Raw.session_to(publisher)
            publisher.show({f"{PUMP}/heartbeat": 0})
            number = (await one.subscribe(RequestedPublishingInterval=50.0)).SubscriptionId
            await one.monitor(number, f"{PUMP}/heartbeat", QueueSize=1_000_000)
            for value in range(1, 5_000):
                publisher.show({f"{PUMP}/heartbeat": value})
            assert [value for _, value in await one.publish()] == list(range(4_990, 5_000))

    asyncio.run(story())


def test_a_session_cannot_touch_another_s_subscriptions() -> None:
    """OPC-5: subscription ids are guessed easily; they mean nothing to another session."""

    async def story() -> None:
        async with served() as publisher:
            publisher.show({f"{PUMP}/setpoint": 1.0})
            owner, thief = await Raw.session_to(publisher), await Raw.session_to(publisher)
            number = (await owner.subscribe(RequestedPublishingInterval=50.0)).SubscriptionId
            await owner.monitor(number, f"{PUMP}/setpoint")
            delete = ua.DeleteSubscriptionsRequest()
            delete.Parameters.SubscriptionIds = [number]
            results = (await thief.ask(delete, ua.DeleteSubscriptionsResponse)).Results
            assert [code.name for code in results] == ["BadSubscriptionIdInvalid"]
            with pytest.raises(Fault, match="BadNoSubscription"):
                await thief.publish()
            attempts: list[tuple[Any, Any]] = [
                (ua.ModifySubscriptionRequest(), ua.ModifySubscriptionResponse),
                (ua.RepublishRequest(), ua.RepublishResponse),
            ]
            pause = ua.SetPublishingModeRequest()
            pause.Parameters.SubscriptionIds = [number]
            items: list[tuple[Any, str, Any]] = [
                (ua.DeleteMonitoredItemsRequest(), "MonitoredItemIds", ua.DeleteMonitoredItemsResponse),
                (ua.SetMonitoringModeRequest(), "MonitoredItemIds", ua.SetMonitoringModeResponse),
            ]
            for request, field, response in items:
                setattr(request.Parameters, field, [112])
                attempts.append((request, response))
            for request, response in attempts:
                request.Parameters.SubscriptionId = number
                with pytest.raises(Fault, match="BadSubscriptionIdInvalid"):
                    await thief.ask(request, response)
            with pytest.raises(Fault, match="BadSubscriptionIdInvalid"):
                await thief.ask(pause, ua.SetPublishingModeResponse)
            with pytest.raises(Fault, match="BadSubscriptionIdInvalid"):
                await thief.monitor(number, f"{PUMP}/setpoint")
            assert await owner.publish() == [(0, 1.0)]

    asyncio.run(story())


def test_filters_are_checked_and_deadbands_count_from_the_last_report() -> None:
    """OPC-5: a wrong filter is refused when it comes; a slow drift is reported once it exceeds the deadband."""

    async def story() -> None:
        async with served() as publisher:
            one = await Raw.session_to(publisher)
            level = f"{PUMP}/wet_well_level"
            publisher.show({level: 0.0, f"{PUMP}/running": True})
            number = (await one.subscribe(RequestedPublishingInterval=50.0)).SubscriptionId

            def deadband(value: float, kind: Any = ua.DeadbandType.Absolute) -> ua.DataChangeFilter:
                return ua.DataChangeFilter(
                    Trigger=ua.DataChangeTrigger.StatusValue, DeadbandType=kind, DeadbandValue=value
                )

            refused: list[tuple[str, Any, str]] = [
                (level, ua.EventFilter(), "BadMonitoredItemFilterUnsupported"),
                (level, deadband(10.0, ua.DeadbandType.Percent), "BadMonitoredItemFilterUnsupported"),
                (level, deadband(float("nan")), "BadDeadbandFilterInvalid"),
                (level, deadband(-1.0), "BadDeadbandFilterInvalid"),
                (f"{PUMP}/running", deadband(1.0), "BadFilterNotAllowed"),
            ]
            for path, unwanted, code in refused:
                (result,) = await one.monitor(number, path, Filter=unwanted)
                assert result.StatusCode.name == code
            (result,) = await one.monitor(number, level, Filter=deadband(1.0))
            assert result.StatusCode.name == "Good"
            assert await one.publish() == [(0, 0.0)]
            for step in range(1, 12):  # 0.1 m each: never more than the deadband at once
                publisher.show({level: step / 10})
            assert await one.publish() == [(0, 1.1)]

    asyncio.run(story())


def test_large_changes_come_in_the_messages_that_were_asked_for() -> None:
    """OPC-5: MaxNotificationsPerPublish holds, and nothing is lost over it."""

    async def story() -> None:
        async with served() as publisher:
            one = await Raw.session_to(publisher)
            number = (
                await one.subscribe(RequestedPublishingInterval=50.0, MaxNotificationsPerPublish=3)
            ).SubscriptionId
            paths = [f"{PUMP}/{name}" for name in ("sequence", "epoch", "reason", "mode", "heartbeat")]
            publisher.show(dict.fromkeys(paths, 7))
            await one.monitor(number, *paths)
            first, second = await one.publish(), await one.publish()
            assert (len(first), len(second)) == (3, 2)
            assert {handle for handle, _ in first + second} == set(range(5))

    asyncio.run(story())
