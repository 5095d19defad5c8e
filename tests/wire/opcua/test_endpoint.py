"""The OPC UA endpoint as the publisher uses it: start, change, restart."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from asyncua import ua

from actors.vocabulary import DeviceError, Quality, RefusedError
from protocols.opcua import OpcUaEndpoint, limits
from protocols.opcua.ids import standard
from protocols.points import PointValue, site_points
from tests.unit.protocols.plants import north, site, station
from tests.wire.opcua.served import OPEN, PUMP, Publisher, Raw, item, node_id, served, until

ROOT = Path(__file__).resolve().parents[3]
RESTART_BUDGET_S = 3.0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", "", "127.0.0.1.nip.io"])
def test_only_loopback_is_served(host: str) -> None:
    """OPC-4: without certificates any other address is refused, and the refusal says what is missing."""
    with pytest.raises(RefusedError, match="without certificates") as refused:
        OpcUaEndpoint(host, 4840, rules=OPEN)
    assert repr(host) in str(refused.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_is_served(host: str) -> None:
    """OPC-4: every loopback address will do."""
    assert OpcUaEndpoint(host, 4840, rules=OPEN).bound == ""


def test_a_taken_port_is_named() -> None:
    """OPC-1: a port that somebody has is a device error naming it; freed, the same endpoint opens."""

    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            endpoint = OpcUaEndpoint("127.0.0.1", port, rules=OPEN)
            publisher = Publisher(endpoint)
            await endpoint.configure(site_points(north()))

            async def open_it() -> None:
                await endpoint.open(guard=publisher.guard, refresh=publisher.refresh, news=publisher.tell)

            with pytest.raises(DeviceError, match=f"127.0.0.1 port {port}"):
                await open_it()
            assert endpoint.bound == ""
        await open_it()
        assert endpoint.bound == f"opc.tcp://127.0.0.1:{port}"
        publisher.show({f"{PUMP}/setpoint": 20.0})
        for _ in range(2):  # closed and opened again, it serves the same points
            one = await Raw.session_to(publisher)
            assert await one.read(f"{PUMP}/setpoint") == [(20.0, "Good")]
            await endpoint.close()
            await one.close()
            await open_it()
        await endpoint.close()
        assert endpoint.clients == 0

    asyncio.run(story())


def test_after_a_sigkill_the_same_port_serves_within_the_budget() -> None:
    """SUP-8: killed with a client connected, the endpoint is back on its port in well under 3 s."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    program = f"""
import asyncio
from actors.vocabulary.access import UserRole
from protocols.opcua import OpcUaEndpoint
from protocols.opcua.admission import Rules
from protocols.points import site_points
from tests.unit.protocols.plants import north
async def guard(writes, all_or_nothing): return [None] * len(writes)
async def main():
    rules = Rules(allow_none=True, anonymous_roles=frozenset({{UserRole.FIELD}}))
    endpoint = OpcUaEndpoint("127.0.0.1", {port}, rules=rules)
    await endpoint.configure(site_points(north()))
    await endpoint.open(guard=guard, refresh=lambda: None, news=lambda *_: None)
    print("open", flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        return process

    first = start()
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"HEL")
        first.send_signal(signal.SIGKILL)
        first.wait()
        killed_s = time.monotonic()
        second = start()
        took_s = time.monotonic() - killed_s
    second.send_signal(signal.SIGKILL)
    second.wait()
    for process in (first, second):
        assert process.stdout is not None
        process.stdout.close()
    assert took_s < RESTART_BUDGET_S, f"{took_s:.2f} s"


def test_a_thousand_pumps_start_without_holding_up_the_loop() -> None:
    """DAT-4, SUP-3: the loop answers liveness pings while a large plant is built."""

    async def story() -> None:
        endpoint = OpcUaEndpoint("127.0.0.1", 0, rules=OPEN)
        plant = site(*(station(f"s{n}", n + 1, {f"p{k}": k for k in range(5)}) for n in range(200)))
        points = site_points(plant)
        worst_s = 0.0

        async def ping() -> None:
            nonlocal worst_s
            while True:
                before_s = time.monotonic()
                await asyncio.sleep(0.01)
                worst_s = max(worst_s, time.monotonic() - before_s)

        pinging = asyncio.create_task(ping())
        await endpoint.configure(points)
        start_s = time.monotonic()
        values = {point.path: PointValue(value=1, quality=Quality.GOOD, utc_ns=1) for point in points}
        endpoint.publish(values)
        took_s = time.monotonic() - start_s
        space = endpoint._space
        assert space is not None
        shown = {path: slot.attribute.value for path, slot in space.slots.items()}
        endpoint.publish({path: PointValue(value=1, quality=Quality.GOOD, utc_ns=1) for path in values})
        assert all(slot.attribute.value is shown[path] for path, slot in space.slots.items())
        pinging.cancel()
        await asyncio.wait([pinging])
        await endpoint.close()
        assert worst_s < 1.0, f"{worst_s:.2f} s"
        assert took_s < 1.0, f"{took_s:.2f} s"

    asyncio.run(story())


def test_reads_are_preceded_by_a_refresh_that_cannot_eat_the_processor() -> None:
    """SAF-9: what is read is recomputed first; many reads share a refresh when it is slow."""

    async def story() -> None:
        async with served() as publisher:
            one = await Raw.session_to(publisher)
            moment = 0

            def quick() -> None:
                nonlocal moment
                moment += 1
                publisher.show({f"{PUMP}/sequence": moment})

            publisher.on_refresh = quick
            first = (await one.read(f"{PUMP}/sequence"))[0][0]
            assert first >= 1
            await asyncio.sleep(0.01)
            assert (await one.read(f"{PUMP}/sequence"))[0][0] > first

            def slow() -> None:
                time.sleep(0.02)

            publisher.on_refresh = slow
            before, start_s, reads = publisher.refreshed, time.monotonic(), 0
            while time.monotonic() - start_s < 1.0:
                await one.read(f"{PUMP}/sequence")
                reads += 1
            assert reads > 50
            assert publisher.refreshed - before <= 7
            # The standard's nodes are nothing that a refresh would change.
            await asyncio.sleep(0.25)
            before = publisher.refreshed
            request = ua.ReadRequest()
            request.Parameters.NodesToRead = [
                ua.ReadValueId(standard(ua.ObjectIds.Server_ServerStatus_State), ua.AttributeIds.Value)
            ]
            assert (await one.ask(request, ua.ReadResponse)).Results[0].StatusCode.is_good()
            assert publisher.refreshed == before

    asyncio.run(story())


def test_unknown_paths_are_a_bug_except_while_points_are_added() -> None:
    """OPC-1: publishing what is not configured raises; while a configuration runs, it waits for its node."""

    async def story() -> None:
        async with served() as publisher:
            with pytest.raises(KeyError, match="s9"):
                publisher.show({"/north/s9/failsafe": True})
            bigger = site(*north().stations, station("s9", 9, {f"p{n}": n for n in range(60)}))
            changing = asyncio.create_task(publisher.endpoint.configure(site_points(bigger)))
            await asyncio.sleep(0)
            assert not changing.done()
            publisher.show({"/north/s9/p59/setpoint": 44.0, f"{PUMP}/setpoint": 22.0})
            await changing
            one = await Raw.session_to(publisher)
            assert await one.read("/north/s9/p59/setpoint", f"{PUMP}/setpoint") == [
                (44.0, "Good"),
                (22.0, "Good"),
            ]
        endpoint = OpcUaEndpoint("127.0.0.1", 0, rules=OPEN)
        with pytest.raises(KeyError, match="nothing is configured"):
            endpoint.publish({"/north/failsafe": PointValue(value=0, quality=Quality.BAD)})

    asyncio.run(story())


def test_what_changes_about_a_point_that_stays_is_taken_over() -> None:
    """DAT-4: description and access change in place: value and subscription stay."""

    async def story() -> None:
        async with served() as publisher:
            points = list(site_points(north()))
            index = next(i for i, point in enumerate(points) if point.path == f"{PUMP}/wet_well_level")
            reader = next(point for point in points if point.path == f"{PUMP}/setpoint")
            publisher.show({f"{PUMP}/wet_well_level": 1.5})
            one = await Raw.session_to(publisher)
            number = (await one.subscribe(RequestedPublishingInterval=50.0)).SubscriptionId
            await one.monitor(number, f"{PUMP}/wet_well_level")
            assert await one.publish() == [(0, 1.5)]
            old = points[index]
            points[index] = type(old)(
                **{name: getattr(old, name) for name in old.__struct_fields__}
                | {"access": reader.access, "description": "other"}
            )
            await publisher.endpoint.configure(points)
            assert await one.write(item(f"{PUMP}/wet_well_level", 2.0, ua.VariantType.Double)) == [
                "BadNotWritable"
            ]
            request = ua.ReadRequest()
            request.Parameters.NodesToRead = [
                ua.ReadValueId(node_id(f"{PUMP}/wet_well_level"), attribute)
                for attribute in (
                    ua.AttributeIds.Description,
                    ua.AttributeIds.AccessLevel,
                    ua.AttributeIds.Value,
                )
            ]
            text, access, value = (await one.ask(request, ua.ReadResponse)).Results
            assert (text.Value.Value.Text, access.Value.Value, value.Value.Value) == ("other", 5, 1.5)
            publisher.show({f"{PUMP}/wet_well_level": 1.6})
            assert await one.publish() == [(0, 1.6)]

    asyncio.run(story())


def test_news_tell_who_came_and_went() -> None:
    """SEC-5: connections are told with the client's address, both ways; the count follows."""

    async def story() -> None:
        async with served() as publisher:
            one = await Raw.session_to(publisher)
            host, port = one.writer.get_extra_info("sockname")
            assert publisher.endpoint.clients == 1
            await one.close()
            await until(lambda: publisher.endpoint.clients == 0, what="gone")
            assert [(event, peer) for event, peer, _ in publisher.news] == [
                ("connected", f"{host}:{port}"),
                ("disconnected", f"{host}:{port}"),
            ]

    asyncio.run(story())


def test_limits_are_shown_where_clients_look_for_them() -> None:
    """OPC-5: the operation limits in the address space are the ones that hold."""

    async def story() -> None:
        async with served() as publisher:
            one = await Raw.session_to(publisher)
            request = ua.ReadRequest()
            request.Parameters.NodesToRead = [
                ua.ReadValueId(standard(number), ua.AttributeIds.Value)
                for number in (
                    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
                    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
                )
            ]
            read, items = (await one.ask(request, ua.ReadResponse)).Results
            assert read.Value.Value == limits.NODES_PER_READ_MAX
            assert items.Value.Value == limits.ITEMS_PER_CALL_MAX

    asyncio.run(story())
