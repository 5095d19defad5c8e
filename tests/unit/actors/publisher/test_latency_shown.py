"""Proposal-to-wire latency: goal: the endpoint, the health page's source and the metrics tell the same true figure."""

from __future__ import annotations

import asyncio

import pytest

from actors.messages import EndpointStatus, Epoch, GetEndpoint, LatencySummary, SetpointsDecided
from actors.publisher.actor import PublisherActor
from actors.start import WorkerStart
from actors.vocabulary import Instant, Role, Settings, SiteConfig, StationConfig
from actors.vocabulary.ids import endpoint_address
from api.metrics import exposition
from protocols.points import site_points
from tests.simulation.fakes import FakeClock, FakeEndpointServer, FakeEpochStore, FakeLatchStore, FakePorts
from tests.unit.actors.publisher.test_actor import pump, setpoint

SITE = SiteConfig(
    site_id="north",
    name="North",
    timezone="UTC",
    stations=(
        StationConfig(
            station_id="s1",
            site_id="north",
            name="S1",
            timezone="UTC",
            modbus_unit_id=1,
            pumps=(pump("p1", 0),),
        ),
    ),
)


def test_the_endpoint_tells_how_old_ticks_are_when_they_reach_its_wire() -> None:
    """OPS-2: two ticks, 20 and 40 ms old at the gate; the same decision again is no third; outside the window none."""

    async def story() -> None:
        clock = FakeClock()
        ports = FakePorts(str(endpoint_address("north", "modbus")), clock)
        start = WorkerStart(
            role=Role.MODBUS, address=ports.address, settings=Settings(data_dir="unused"), site=SITE
        )
        actor = PublisherActor(
            ports, start, FakeEndpointServer(), FakeLatchStore(), FakeEpochStore(), site_points
        )
        await actor.start()

        async def decided(sequence: int, origin: Instant) -> None:
            await actor.handle(
                SetpointsDecided(station_id="s1", epoch=Epoch(0, 7), setpoints=(setpoint(sequence, origin),))
            )

        async def latency(window_s: float) -> LatencySummary | None:
            status = await actor.handle(GetEndpoint(latency_window_s=window_s))
            assert isinstance(status, EndpointStatus)
            return status.proposal_to_wire

        assert await latency(60.0) is None
        origins = []
        for sequence, age_s in ((1, 0.02), (2, 0.04)):
            origins.append(clock.now())
            await clock.advance(age_s)
            await decided(sequence, origins[-1])
            await decided(sequence, origins[-1])
            await clock.advance(1.0)
        await decided(3, origins[-1])  # a new decision about the old tick
        shown = await latency(60.0)
        assert shown is not None
        assert shown.count == 2
        assert shown.p50_ms == pytest.approx(20.0)
        assert shown.max_ms == pytest.approx(40.0)
        recent = await latency(1.5)
        assert recent is not None
        assert recent.count == 1
        assert await latency(0.5) is None
        await actor.stop()

    asyncio.run(story())


def test_the_metrics_show_it_in_seconds() -> None:
    """OPS-2: Prometheus's base unit; an endpoint without samples has no series, rather than a zero."""

    def status(took: LatencySummary | None) -> EndpointStatus:
        return EndpointStatus(
            protocol="modbus", bound="127.0.0.1:5020", clients=0, pumps=(), writes_refused=0, stops_active=(),
            sent_at=Instant("boot", 0, 0), proposal_to_wire=took,
        )  # fmt: skip

    took = LatencySummary(count=9, p50_ms=12.5, p99_ms=31.0, max_ms=40.0)
    endpoints: dict[str, EndpointStatus | str] = {"a": status(took), "b": status(None), "c": "no answer"}
    text = exposition(nodes=(), endpoints=endpoints, storage=None, ready=True).decode()
    lines = [line for line in text.splitlines() if line.startswith("calejo_proposal_to_wire_seconds{")]
    assert lines == [
        'calejo_proposal_to_wire_seconds{endpoint="a",quantile="0.5"} 0.0125',
        'calejo_proposal_to_wire_seconds{endpoint="a",quantile="0.99"} 0.031',
        'calejo_proposal_to_wire_seconds{endpoint="a",quantile="1"} 0.04',
    ]
