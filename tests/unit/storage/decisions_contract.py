"""The past in a database, read back and forgotten: the same tests run on SQLite and on a real PostgreSQL."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from actors.vocabulary import InvalidValueError, Scope
from actors.vocabulary.chains import DecisionChain, DecisionPage
from actors.vocabulary.records import DecisionRecord, WireRecord
from storage.decisions import PAGE_MAX, Decisions
from storage.engine import Access, Database
from storage.retention import DecisionRetention
from tests.unit.storage.contract import Place, feedback, moment, stop

DAY_S = 86_400.0


def decision(number: int, *, at_s: float | None = None, pump_id: str = "p1", **values: Any) -> DecisionRecord:
    """Return the decision of a sequence number, by default made that many seconds after noon."""
    whole: dict[str, Any] = {
        "station_id": "s1",
        "at": moment(number if at_s is None else at_s),
        "plan_id": 7,
        "epoch_term": 0,
        "epoch_counter": 9,
        "sequence": number,
        "limits_version": 1,
        "setpoint_hz": 35.0,
        "remote_enabled": True,
        "reason": "PLAN",
        "trail": {"site_id": "north", "steps": []},
        **values,
    }
    return DecisionRecord(record_id=f"decision:{pump_id}:{number}", pump_id=pump_id, **whole)


def wire(
    number: int,
    *,
    at_s: float,
    endpoint: str = "modbus",
    why: str = "taken",
    pump_id: str = "p1",
    **values: Any,
) -> WireRecord:
    """Return a row of an endpoint that has taken that sequence number."""
    whole: dict[str, Any] = {
        "station_id": "s1",
        "endpoint": endpoint,
        "at": moment(at_s),
        "accepted_at": moment(at_s),
        "epoch_term": 0,
        "epoch_counter": 9,
        "sequence": number,
        "setpoint_hz": 35.0,
        "remote_enabled": True,
        "reason": "PLAN",
        "detail": {"why": why, "echo_hz": 35.0},
        **values,
    }
    return WireRecord(record_id=f"wire:{endpoint}:{pump_id}:{number}:{why}:{at_s}", pump_id=pump_id, **whole)


def chain(place: Place, at: datetime, pump_id: str = "p1") -> DecisionChain:
    return place.run(Access.WRITE, lambda database: Decisions(database).chain(pump_id, at=at))


def page(place: Place, start_s: float, end_s: float, *, count: int, following: str = "") -> DecisionPage:
    return place.run(
        Access.WRITE,
        lambda database: Decisions(database).page(
            "p1", start=moment(start_s), end=moment(end_s), following=following, count_max=count
        ),
    )


def due(place: Place, before: datetime) -> tuple[str, ...]:
    async def work(database: Database) -> tuple[str, ...]:
        return await DecisionRetention(database, database).due(before=before)

    return place.run(Access.WRITE, work)


def forget(place: Place, before: datetime, *, count_max: int = 500, pump_id: str = "p1") -> int:
    async def work(database: Database) -> int:
        keeper = DecisionRetention(database, database)
        return await keeper.forget(pump_id, before=before, count_max=count_max)

    return place.run(Access.WRITE, work)


def kept(place: Place, table: str, pump_id: str = "p1") -> list[int]:
    rows = place.execute(f"SELECT sequence FROM {table} WHERE pump_id = ? ORDER BY sequence", pump_id)
    return [row[0] for row in rows]


class DecisionsContract:
    """Runs on each engine; a subclass brings the fixture `place`."""

    def test_the_chain_of_a_moment_is_found_whole(self, place: Place) -> None:
        """SAF-4: decision, what each endpoint took and showed, feedback, limits and stops, as of that moment."""
        place.seed()
        place.write(
            decision(1),
            decision(5),
            decision(60),
            wire(1, at_s=1.1),
            wire(5, at_s=5.2),
            wire(5, at_s=5.3, endpoint="opcua"),
            wire(5, at_s=8.0, why="changed", remote_enabled=False, reason="LEASE_EXPIRED"),
            wire(6, at_s=20.0),
            feedback(4, actual_speed_hz=34.0),
            feedback(7, actual_speed_hz=34.9),
            feedback(11, actual_speed_hz=0.0),
            stop("00000000-0000-4000-8000-00000000000a", set_at=moment(2)),
            stop("00000000-0000-4000-8000-00000000000b", scope=Scope.SITE, scope_id="north", set_at=moment(3)),
            stop("00000000-0000-4000-8000-00000000000c", scope_id="p2", set_at=moment(3)),
            stop("00000000-0000-4000-8000-00000000000d", scope=Scope.SYSTEM, scope_id="", set_at=moment(11)),
            stop(
                "00000000-0000-4000-8000-00000000000e", scope=Scope.STATION, scope_id="s1",
                set_at=moment(1), cleared_at=moment(4), cleared_by="bert", clear_reason="done", release=5,
            ),
        )  # fmt: skip
        found = chain(place, moment(10))
        assert found.decision == decision(5)
        assert (found.next_at, found.oldest_at) == (moment(60), moment(1))
        assert [(row.endpoint, row.at) for row in found.took] == [
            ("modbus", moment(5.2)),
            ("opcua", moment(5.3)),
        ]
        assert [(row.endpoint, row.reason) for row in found.shown] == [
            ("modbus", "LEASE_EXPIRED"),
            ("opcua", "PLAN"),
        ]
        assert found.feedback is not None
        assert found.feedback.actual_speed_hz == 34.9
        assert found.limits is not None
        assert (found.limits["hard_max_speed_hz"], found.limits["approved_by"]) == (50.0, "bert")
        assert [each.record_id[-1] for each in found.stops] == ["a", "b"]
        assert chain(place, moment(0.5)) == DecisionChain(pump_id="p1", oldest_at=moment(1))
        assert chain(place, moment(10), "p9") == DecisionChain(pump_id="p9")
        # Whoever asks by the other case means the same pump.
        assert chain(place, moment(5)).decision == decision(5)

    def test_a_span_comes_a_page_at_a_time_and_no_row_twice(self, place: Place) -> None:
        """API-2: newest first, pages that join, also between rows of one moment; a strange place is refused."""
        place.write(*(decision(number, at_s=number // 3) for number in range(30)), decision(99, pump_id="p2"))
        seen, following = [], ""
        for _ in range(10):
            found = page(place, 1, 9, count=7, following=following)
            seen += [row.sequence for row in found.decisions]
            if not (following := found.following):
                break
        assert seen == list(range(26, 2, -1))
        assert page(place, 1, 9, count=10 * PAGE_MAX).following == ""
        for strange in (
            "x",
            "~",
            "2026-06-01T12:00:00~1",
            f"{moment(1).isoformat()}~x",
            f"{moment(1).isoformat()}~-1",
        ):
            with pytest.raises(InvalidValueError, match="cursor"):
                page(place, 1, 9, count=7, following=strange)

    def test_old_rows_go_and_what_held_at_the_horizon_stays_explainable(self, place: Place) -> None:
        """SAF-4: in bounded batches; the newest decision before the horizon stays with what the wires made of it."""
        for pump_id in ("p1", "p2"):
            place.write(
                *(decision(number, pump_id=pump_id) for number in range(0, 100, 10)),
                *(wire(number, at_s=number + 0.1, pump_id=pump_id) for number in range(0, 100, 10)),
            )
        before = moment(45)
        assert due(place, before) == ("p1", "p2")
        explained = chain(place, before)
        assert explained.decision == decision(40)
        counts = []
        while count := forget(place, before, count_max=3):
            counts.append(count)
            assert count <= 3
        assert sum(counts) == 8
        for table in ("decisions", "wire_records"):
            assert kept(place, table) == [40, 50, 60, 70, 80, 90]
            assert len(kept(place, table, "p2")) == 10
        assert chain(place, before) == msgspec.structs.replace(explained, oldest_at=moment(40))
        assert chain(place, moment(39.9)).decision is None
        assert due(place, before) == ("p2",)
        forget(place, before, pump_id="p2")
        assert due(place, before) == ()

    def test_a_pump_that_speaks_no_more_keeps_its_last_word(self, place: Place) -> None:
        """SAF-4: nothing newer came: its last decision is what held, however old; wires without a decision go."""
        place.write(
            decision(1), decision(2), wire(1, at_s=1.1), wire(2, at_s=2.1), wire(3, at_s=3, pump_id="p3")
        )
        before = moment(50 * DAY_S)
        assert due(place, before) == ("p1", "p3")
        assert forget(place, before) == 2
        assert forget(place, before) == 0
        assert (kept(place, "decisions"), kept(place, "wire_records")) == ([2], [2])
        assert forget(place, before, pump_id="p3") == 1
        assert due(place, before) == ()

    @pytest.mark.parametrize(("table", "key"), [("decisions", "decision_id"), ("wire_records", "wire_id")])
    def test_nothing_is_changed_and_nothing_young_is_deleted(
        self, place: Place, table: str, key: str
    ) -> None:
        """SAF-4: whoever has the writer's login, or the owner's, cannot rewrite what was decided today."""
        young = moment(0) + (self.now() - moment(0)) - timedelta(hours=2)
        recent = decision(2, at=young) if table == "decisions" else wire(2, at_s=2, at=young)
        old = decision(1) if table == "decisions" else wire(1, at_s=1)
        place.write(old, recent)
        with pytest.raises(place.refusal, match="never changes"):
            place.execute(f"UPDATE {table} SET setpoint_hz = 1.0 WHERE sequence = 1")
        with pytest.raises(place.refusal, match="younger than a day"):
            place.execute(f"DELETE FROM {table} WHERE sequence = 2")
        place.execute(f"DELETE FROM {table} WHERE sequence = 1")
        assert kept(place, table) == [2]

    def test_a_moment_is_found_by_index(self, place: Place) -> None:
        """SAF-4: (pump, time) is indexed on both tables: a year of rows costs a look what a day costs."""
        for table in ("decisions", "wire_records"):
            assert f"ix_{table}_hot" in self.plan(place, table)

    def now(self) -> datetime:
        """Return the time by this machine's clock, which both engines go by here."""
        from supervisors.process import SystemClock

        return SystemClock().now().utc

    def plan(self, place: Place, table: str) -> str:
        """Return how the engine finds a pump's newest rows until a moment."""
        raise NotImplementedError
