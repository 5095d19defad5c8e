"""Stops of every scope at one endpoint: goal: what is covered is stopped, told and audited, and nothing beside it."""

from __future__ import annotations

import pytest

from actors.messages import StopConfirmed, StopsChanged
from actors.vocabulary import Scope
from actors.vocabulary.records import AuditRecord, StopEventRecord
from protocols.endpoint import ClientWrite
from tests.unit.actors.publisher.test_actor import OPCUA, Bench, play, stop_record

PUMPS = {"p1": "/north/s1/p1", "p2": "/north/s1/p2", "q1": "/north/s2/q1"}
SAFETIES = {"s1": "/sites/north/stations/s1/safety", "s2": "/sites/north/stations/s2/safety"}
COILS = [
    ("/north/s1/p2/emergency_stop", Scope.PUMP, "p2", {"p2"}, {"s1"}),
    ("/north/s2/emergency_stop", Scope.STATION, "s2", {"q1"}, {"s2"}),
    ("/north/emergency_stop", Scope.SITE, "north", {"p1", "p2", "q1"}, {"s1", "s2"}),
]


def inhibited(bench: Bench) -> set[str]:
    return {pump_id for pump_id, of in PUMPS.items() if bench.show("run_inhibit", of=of) == [True]}


@pytest.mark.parametrize(("path", "scope", "scope_id", "pumps", "stations"), COILS)
def test_a_clients_stop_covers_its_scope(
    path: str, scope: Scope, scope_id: str, pumps: set[str], stations: set[str]
) -> None:
    """EST-1, EST-5: pump, station and site by their points: wire, covered safeties, other endpoint, record, audit."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        for _ in range(3):
            assert await bench.actor._guard([ClientWrite(path=path, value=1, peer="10.0.0.9:7")], True) == [
                None
            ]
        assert inhibited(bench) == pumps
        (held,) = bench.latches.load()
        assert (held.scope, held.scope_id, held.set_by) == (scope, scope_id, "modbus:10.0.0.9:7")
        for station_id, address in SAFETIES.items():
            assert len(bench.ports.told_to(address, StopsChanged)) == (station_id in stations)
        assert len(bench.ports.told_to(OPCUA, StopsChanged)) == 1
        assert [each.record_id for each in await bench.records(StopEventRecord)] == [held.record_id]
        (audit,) = [
            each for each in await bench.records(AuditRecord) if each.event_type == "EMERGENCY_STOP_SET"
        ]
        assert (audit.source_address, audit.correlation_id) == ("10.0.0.9:7", held.record_id)

    play(story)


@pytest.mark.parametrize(
    ("scope", "scope_id", "pumps"),
    [
        (Scope.PUMP, "p1", {"p1"}),
        (Scope.STATION, "s1", {"p1", "p2"}),
        (Scope.SITE, "north", {"p1", "p2", "q1"}),
        (Scope.SYSTEM, "", {"p1", "p2", "q1"}),
        (Scope.SITE, "south", set()),
        (Scope.PUMP, "nobody", set()),
    ],
)
def test_a_stop_from_elsewhere_covers_its_scope(scope: Scope, scope_id: str, pumps: set[str]) -> None:
    """EST-1, EST-5: as REST and the command line send it, twice; the answer names this endpoint and its disk."""

    async def story(bench: Bench) -> None:
        await bench.bound()
        news = StopsChanged(stops=(stop_record("a", scope, scope_id),), origin="/platform/api")
        for _ in range(2):
            answer = await bench.actor.handle(news)
            assert answer == StopConfirmed(
                endpoint="/sites/north/endpoints/modbus", published=True, durable=True, stop_ids=("a",)
            )
        assert inhibited(bench) == pumps
        assert len(bench.latches.load()) == 1

    play(story)
