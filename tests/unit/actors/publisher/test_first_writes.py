"""Accepted feedback in the audit trail: who began to write, without a record per value."""

from __future__ import annotations

from actors.publisher.first_writes import AGAIN_S, WRITERS_MAX, FirstWrites, noted
from actors.vocabulary import Instant
from actors.vocabulary.records import AuditRecord

T0 = Instant("boot-a", 10**9, 1_800_000_000 * 10**9)


def write(
    state: FirstWrites, at_s: float, *, by: str = "plc", peer: str = "10.0.0.9:1", station_id: str = "s1"
) -> tuple[FirstWrites, AuditRecord | None]:
    return noted(
        state, by=by, peer=peer, station_id=station_id, path="/north/s1/p1/running", record_id="r", now=T0.plus(at_s)
    )  # fmt: skip


def test_each_writer_is_told_of_once_an_hour_at_each_station() -> None:
    """AUD-2: by name and address; a new connection of the same host is the same writer."""
    state, first = write(FirstWrites(), 0)
    assert first is not None
    assert (first.event_type, first.actor, first.object_id) == ("POINTS_WRITTEN", "plc", "STATION:s1")
    state, again = write(state, 1, peer="10.0.0.9:2")
    assert again is None
    state, other = write(state, 2, station_id="s2")
    assert other is not None
    state, somebody = write(state, 3, by="other")
    assert somebody is not None
    assert write(state, AGAIN_S)[1] is not None


def test_writers_are_bounded() -> None:
    """AUD-4: a thousand names cost no more than the last few."""
    state = FirstWrites()
    for number in range(WRITERS_MAX + 10):
        state, _ = write(state, number, by=f"n{number}")
    assert len(state.told) == WRITERS_MAX
    assert write(state, 400, by="n0")[1] is not None
