"""Limits with approval in a database: the same tests run on SQLite and on a real PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import msgspec
import pytest
from alembic import command
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from actors.limits import proposals as law
from actors.limits.proposals import Asker, Wish
from actors.vocabulary import InvalidValueError, RefusedError, UnknownSubjectError
from actors.vocabulary.limits import LIMIT_KEYS, LimitsBook, Outcome, ProposalState
from actors.vocabulary.settings import DatabaseSettings
from storage import commissioning, schema
from storage.engine import Access, Database, real_chance
from storage.history import History
from storage.limits import DatabaseLimits
from storage.urls import parsed
from tests.unit.storage.contract import Place, moment

T = TypeVar("T")

FIRST = "11111111-1111-4111-8111-111111111111"
SECOND = "22222222-2222-4222-8222-222222222222"


def asker(by: str, *, after_s: float = 0.0, request_id: str = "r1") -> Asker:
    return Asker(by=by, address="127.0.0.1:1", at=moment(after_s), request_id=request_id)


def wish(proposal_id: str = FIRST, *, base: int = 1, **changes: float) -> Wish:
    return Wish(
        proposal_id=proposal_id,
        changes=changes or {"hard_max_speed_hz": 45.5},
        base_version=base,
        reason="bearing",
    )


def on_limits(place: Place, work: Callable[[DatabaseLimits], Awaitable[T]]) -> T:
    """Open the store as the API does, do `work`, close."""

    async def with_both(writer: Database) -> T:
        # As the API has it: the writer's login for both.
        reader = Database(place.writer_url, Access.READ, settings=DatabaseSettings(), chance=writer.chance)
        try:
            return await work(DatabaseLimits(reader, writer))
        finally:
            await reader.close()

    return place.run(Access.WRITE, with_both)


def propose(place: Place, given: Wish | None = None, *, by: str = "anna", pump_id: str = "p1") -> Outcome:
    asked = given or wish()
    return on_limits(
        place,
        lambda store: store.change(
            pump_id, lambda book: law.propose(book, asked, asker(by)), proposal_id=asked.proposal_id
        ),
    )


def approve(
    place: Place, proposal_id: str = FIRST, *, by: str = "bert", after_s: float = 1.0, request_id: str = "r2"
) -> Outcome:
    who = asker(by, after_s=after_s, request_id=request_id)
    return on_limits(
        place,
        lambda store: store.change(
            "p1", lambda book: law.approve(book, proposal_id, "reviewed", who), proposal_id=proposal_id
        ),
    )


def applied(place: Place, pump_id: str = "p1") -> tuple[int, float]:
    """Return what discovery would apply: version and maximum speed."""
    (site,), _ = place.topology()
    pump = site.stations[0].pump(pump_id)
    assert pump is not None
    assert pump.limits is not None
    return pump.limits.version, pump.limits.hard_max_speed_hz


def audits(place: Place) -> list[tuple[object, ...]]:
    return place.execute("SELECT event_type, actor, outcome FROM audit_log ORDER BY sequence")


class LimitsContract:
    """Runs on each engine; a subclass brings the fixture `place`."""

    def test_from_proposal_to_what_discovery_applies(self, place: Place) -> None:
        """SAF-6: proposed by one, approved by another; discovery reads it; both are in the audit chain."""
        place.seed()
        assert propose(place).refusal is None
        assert applied(place) == (1, 50.0)
        outcome = approve(place)
        assert outcome.refusal is None
        assert applied(place) == (2, 45.5)
        assert applied(place, "p2") == (1, 50.0)
        assert audits(place) == [
            ("LIMITS_PROPOSED", "anna", "success"),
            ("LIMITS_APPROVED", "bert", "success"),
        ]
        verdict = place.run(Access.WRITE, lambda database: History(database).verify_audit())
        assert (verdict.count, verdict.broken_at) == (2, None)
        (stored,) = on_limits(place, lambda store: store.proposals(pump_id="p1"))
        assert stored == outcome.proposal
        assert on_limits(place, lambda store: store.proposal(FIRST)) == stored
        assert on_limits(place, lambda store: store.proposals(states=[ProposalState.PROPOSED])) == ()

    def test_the_book_is_what_is_in_force(self, place: Place) -> None:
        """SAF-6, DAT-5: the version that discovery would apply, not a draft, an invalid or a self-approved one."""
        place.seed()
        place.limits("p1", version=2, approved_by=None)
        place.limits("p1", version=3, hard_max_speed_hz=60.0)
        book = on_limits(place, lambda store: store.book("p1"))
        assert (book.base_version, book.version_max) == (1, 3)
        assert book.envelope is not None
        assert set(book.envelope.bounds) == set(LIMIT_KEYS)
        assert book.envelope.bounds["hard_max_speed_hz"] == 52.0
        assert propose(place).refusal is None
        approve(place)
        assert applied(place) == (4, 45.5)
        with pytest.raises(UnknownSubjectError):
            on_limits(place, lambda store: store.book("nobody"))
        with pytest.raises(UnknownSubjectError):
            propose(place, pump_id="nobody")

    def test_a_refusal_is_written_down_and_nothing_else(self, place: Place) -> None:
        """SAF-6, AUD-2: one's own approval, a widened limit: on record, without effect."""
        place.seed()
        propose(place)
        own = approve(place, by="ANNA")
        assert isinstance(own.refusal, RefusedError)
        wide = propose(place, wish(SECOND, hard_max_speed_hz=52.5))
        assert isinstance(wide.refusal, InvalidValueError)
        assert [(event, str(outcome)[:8]) for event, _, outcome in audits(place)] == [
            ("LIMITS_PROPOSED", "success"), ("LIMITS_APPROVED", "refused:"), ("LIMITS_PROPOSED", "refused:"),
        ]  # fmt: skip
        assert applied(place) == (1, 50.0)
        assert place.execute("SELECT state FROM pump_limit_proposals") == [("PROPOSED",)]

    def test_an_outdated_proposal_is_closed_by_whoever_comes(self, place: Place) -> None:
        """SAF-6: somebody with SQL was quicker: superseded, for ever, and the version stays theirs."""
        place.seed()
        propose(place)
        place.limits("p1", version=2, hard_max_speed_hz=48.0)
        outcome = approve(place)
        assert isinstance(outcome.refusal, RefusedError)
        assert applied(place) == (2, 48.0)
        assert place.execute("SELECT state, closed_by FROM pump_limit_proposals") == [
            ("SUPERSEDED", "calejo")
        ]

    def test_two_approvals_at_once_make_one_version(self, place: Place) -> None:
        """SAF-6: optimistic concurrency under real concurrency: one wins, the other is told, nothing is lost."""
        place.seed()
        propose(place, wish(FIRST, hard_max_speed_hz=45.0))
        propose(place, wish(SECOND, hard_max_speed_hz=40.0))

        async def work(writer: Database) -> list[Outcome]:
            other = place.database(Access.WRITE)
            try:
                return await asyncio.gather(
                    *(
                        DatabaseLimits(database, database).change(
                            "p1",
                            partial(
                                law.approve,
                                proposal_id=chosen,
                                reason="why",
                                asker=asker("bert", request_id=chosen),
                            ),
                            proposal_id=chosen,
                        )
                        for database, chosen in ((writer, FIRST), (other, SECOND))
                    )
                )
            finally:
                await other.close()

        outcomes = place.run(Access.WRITE, work)
        assert sorted(outcome.refusal is None for outcome in outcomes) == [False, True]
        assert place.execute(
            "SELECT max(version), count(*) FROM pump_safety_limits WHERE pump_id = 'p1'"
        ) == [(2, 2)]
        states = place.execute("SELECT state FROM pump_limit_proposals ORDER BY state")
        assert states == [("APPROVED",), ("SUPERSEDED",)]

    def test_a_version_that_was_written_meanwhile_is_judged_again(self, place: Place) -> None:
        """SAF-6: a decision made on an old book is not written; it is made again on the new one."""
        place.seed()
        propose(place)
        books: list[LimitsBook] = []

        def decide(book: LimitsBook) -> Outcome:
            books.append(book)
            outcome = law.approve(book, FIRST, "why", asker("bert"))
            if len(books) == 1:
                # As if the number had been taken between reading and writing.
                assert outcome.new_version is not None
                taken = msgspec.structs.replace(outcome.new_version, version=1)
                return msgspec.structs.replace(outcome, new_version=taken)
            return outcome

        outcome = on_limits(place, lambda store: store.change("p1", decide, proposal_id=FIRST))
        assert len(books) == 2
        assert outcome.refusal is None
        assert applied(place) == (2, 45.5)
        assert len(audits(place)) == 2

    def test_what_the_table_itself_refuses_is_refused_whole(self, place: Place) -> None:
        """SAF-6, DAT-1: should the law ever err, the table's checks hold, and nothing of the change is there."""
        place.seed()
        propose(place)

        def decide(book: LimitsBook) -> Outcome:
            outcome = law.approve(book, FIRST, "why", asker("bert"))
            assert outcome.new_version is not None
            broken = msgspec.structs.replace(outcome.new_version, approved_by="ANNA ")
            return msgspec.structs.replace(outcome, new_version=broken)

        with pytest.raises(RefusedError, match="approved_by_another"):
            on_limits(place, lambda store: store.change("p1", decide, proposal_id=FIRST))
        assert place.execute("SELECT state FROM pump_limit_proposals") == [("PROPOSED",)]
        assert len(audits(place)) == 1
        assert applied(place) == (1, 50.0)

    def test_whatever_ever_stood_there_is_kept(self, place: Place) -> None:
        """SAF-6: the history holds every row, also those that somebody changed or removed with SQL."""
        place.seed()
        propose(place)
        approve(place)
        place.execute(
            "UPDATE pump_safety_limits SET hard_max_speed_hz = 44 WHERE pump_id = 'p1' AND version = 2"
        )
        place.execute("DELETE FROM pump_safety_limits WHERE pump_id = 'p1' AND version = 2")
        found = on_limits(place, lambda store: store.history("p1"))
        assert [(each.operation, each.version, each.values["hard_max_speed_hz"]) for each in found] == [
            ("DELETE", 2, 44.0), ("UPDATE", 2, 44.0), ("INSERT", 2, 45.5), ("INSERT", 1, 50.0),
        ]  # fmt: skip
        assert [each.approved_by for each in found] == ["bert"] * 4
        older = on_limits(place, lambda store: store.history("p1", before=found[2].history_id))
        assert [each.version for each in older] == [1]
        assert len(on_limits(place, lambda store: store.history("p1", version=2))) == 3
        book = on_limits(place, lambda store: store.book("p1"))
        assert (book.base_version, book.version_max) == (1, 2), "a number is never used again"

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE pump_safety_limits_history SET hard_max_speed_hz = 60",
            "DELETE FROM pump_safety_limits_history",
            "DELETE FROM pump_limit_proposals",
            "UPDATE pump_limit_proposals SET changes = '{}'",
            "UPDATE pump_limit_proposals SET proposed_by = 'nobody'",
            "UPDATE pump_limit_proposals SET base_version = 7",
            "UPDATE pump_limit_proposals SET state = 'PROPOSED', closed_by = NULL, closed_at = NULL, version = NULL",
            "UPDATE pump_limit_proposals SET closed_by = 'zoe'",
            "UPDATE pump_limit_proposals SET version = 9",
            (
                "INSERT INTO pump_limit_proposals (proposal_id, pump_id, base_version, changes, reason, proposed_by,"
                " proposed_at, expires_at, state, closed_by, closed_at, version) VALUES ('x', 'p1', 1, '{}', 'r', 'a',"
                " '2026-06-01T12:00:00+00:00', '2026-06-01T12:00:00+00:00', 'APPROVED', 'b',"
                " '2026-06-01T12:00:00+00:00', 2)"
            ),
        ],
    )
    def test_the_database_itself_keeps_what_was(self, place: Place, statement: str) -> None:
        """SAF-6, AUD-1: not even its owner changes what was proposed, its end, or the history."""
        place.seed()
        propose(place)
        approve(place)
        with pytest.raises(place.refusal, match=r"append-only|never changes|written once|for ever|begins as"):
            place.execute(statement)

    def test_commissioning_writes_the_envelope_and_its_audit_record(self, place: Place) -> None:
        """SAF-6: by the owner's login; a second time only when asked to; never so that limits are outside."""
        place.seed()
        place.pump("p3")

        def commission(pump_id: str, *, replace: bool = False, **bounds: float) -> dict[str, float | None]:
            async def work() -> dict[str, float | None]:
                database = Database(
                    place.admin_url, Access.WRITE, settings=DatabaseSettings(), chance=real_chance()
                )
                try:
                    return await commissioning.commission(
                        database, pump_id=pump_id, bounds=bounds, by="carl", at=moment(0), replace=replace
                    )
                finally:
                    await database.close()

            return asyncio.run(work())

        assert commission("p3", hard_min_speed_hz=20, hard_max_speed_hz=50, max_starts_per_hour=6) == {}
        assert audits(place) == [("PUMP_COMMISSIONED", "carl", "success")]
        book = on_limits(place, lambda store: store.book("p3"))
        assert book.base_version == 0
        first = wish(
            base=0, hard_min_speed_hz=20, hard_max_speed_hz=50, max_rate_hz_per_s=1, max_starts_per_hour=6
        )
        assert propose(place, first, pump_id="p3").refusal is None
        with pytest.raises(RefusedError, match="--replace"):
            commission("p1", hard_min_speed_hz=20, hard_max_speed_hz=50)
        with pytest.raises(
            RefusedError, match=r"hard_max_speed_hz: version 1 in force says 50 Hz, outside 45"
        ):
            commission("p1", replace=True, hard_min_speed_hz=20, hard_max_speed_hz=45)
        with pytest.raises(RefusedError, match=r"max_power_kw: version 1 in force has none"):
            commission("p1", replace=True, hard_min_speed_hz=20, hard_max_speed_hz=50, max_power_kw=9)
        assert (
            commission("p1", replace=True, hard_min_speed_hz=20, hard_max_speed_hz=50)["hard_max_speed_hz"]
            == 52.0
        )
        with pytest.raises(UnknownSubjectError):
            commission("nobody", hard_min_speed_hz=20, hard_max_speed_hz=50)
        with pytest.raises(InvalidValueError, match=r"hard_max_speed_hz: not given"):
            commission("p1", hard_min_speed_hz=20)

    def test_a_first_version_database_keeps_its_limits(self, place: Place) -> None:
        """DAT-1: what stood there before the history began is in it, as KEPT."""
        engine = create_engine(parsed(place.empty_url(), "sync"), poolclass=NullPool)
        with engine.begin() as connection:
            config = schema._config()
            config.attributes["connection"] = connection
            command.upgrade(config, "0002")
            for statement in (
                "INSERT INTO sites (site_id, name) VALUES ('north', 'North')",
                "INSERT INTO pump_stations (station_id, site_id, name, modbus_unit_id) VALUES ('s1', 'north', 'S', 1)",
                (
                    "INSERT INTO pumps (pump_id, station_id, name, control_type, default_setpoint_hz)"
                    " VALUES ('p1', 's1', 'P', 'DIRECT_SPEED', 30)"
                ),
                (
                    "INSERT INTO pump_safety_limits (pump_id, version, hard_min_speed_hz, hard_max_speed_hz,"
                    " max_rate_hz_per_s, set_by, approved_by) VALUES ('p1', 5, 20, 50, 2, 'anna', 'bert')"
                ),
            ):
                connection.execute(text(statement))
        schema.upgrade(engine.url.render_as_string(hide_password=False))
        with engine.begin() as connection:
            kept = connection.execute(
                text("SELECT operation, version, hard_max_speed_hz FROM pump_safety_limits_history")
            ).all()
        assert [tuple(row) for row in kept] == [("KEPT", 5, 50.0)]
        engine.dispose()
