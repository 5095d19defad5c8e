"""What is recorded, on every database: stored once, closed once, read back."""

from datetime import datetime

import msgspec
import pytest

from actors.vocabulary import (
    Scope,
    Severity,
)
from actors.vocabulary.records import (
    AlarmRecord,
    DecisionRecord,
    FailsafeRecord,
    Record,
    ViolationRecord,
)
from storage.engine import Access
from storage.history import History
from tests.unit.storage.contract import EVERY_KIND, NOON, TABLES, Place, audit_record, feedback, moment, stop


class RecordsContract:
    """Runs on each engine; a subclass brings the fixture `place`."""

    def test_every_kind_of_record_is_stored_once(self, place: Place) -> None:
        """DAT-3: what is written twice is there once, each kind in its table."""
        place.seed()
        assert place.write(*EVERY_KIND) == {}
        assert place.write(*EVERY_KIND, *EVERY_KIND) == {}
        assert [place.execute(f"SELECT count(*) FROM {table}") for table in TABLES] == [[(1,)]] * len(TABLES)

    def test_a_row_refused_for_good_is_named_and_the_others_are_written(self, place: Place) -> None:
        """DAT-3: a constraint error is not retried, isolates its row, and costs no other row its place."""
        place.seed()
        good = [feedback(number) for number in range(20)]
        records: list[Record] = [*good[:13], feedback(99, pump_id="nobody"), *good[13:], audit_record(1)]
        refused = place.write(*records)
        assert list(refused) == [13]
        assert "foreign key" in refused[13].lower()
        assert place.execute("SELECT count(*) FROM pump_feedback") == [(20,)]
        assert place.execute("SELECT count(*) FROM audit_log") == [(1,)]

    def test_a_time_without_offset_is_refused_for_good(self, place: Place) -> None:
        """DAT-1: all times are aware; one that is not is nobody's moment."""
        place.seed()
        refused = place.write(feedback(1, measured_at=datetime(2026, 6, 1, 12)), feedback(2))  # noqa: DTZ001
        assert list(refused) == [0]
        assert "offset" in refused[0]

    def test_what_closes_a_record_closes_it_in_any_order(self, place: Place) -> None:
        """DAT-1: the same record_id with an end closes an event; the first end stays, whoever comes first."""
        place.seed()
        opened = FailsafeRecord(
            record_id="e1", scope=Scope.PUMP, scope_id="p1", reason="plan", started_at=NOON, detail="begun"
        )
        closed = msgspec.structs.replace(opened, ended_at=moment(60), detail="ended")
        later = msgspec.structs.replace(opened, ended_at=moment(99), detail="again")
        other = msgspec.structs.replace(closed, record_id="e2")
        place.write(opened, closed, later, other)
        place.write(msgspec.structs.replace(opened, record_id="e2"))
        assert place.execute("SELECT record_id, detail FROM failsafe_events ORDER BY record_id") == [
            ("e1", "ended"),
            ("e2", "ended"),
        ]
        alarm = AlarmRecord(
            record_id="al1", condition="c", subject="s", severity=Severity.HIGH, text="t", raised_at=NOON
        )
        place.write(alarm)
        place.write(msgspec.structs.replace(alarm, returned_at=moment(5)))
        place.write(alarm)
        assert place.execute("SELECT count(*) FROM alarms WHERE returned_at IS NOT NULL") == [(1,)]

    def test_stops_merge_by_union(self, place: Place) -> None:
        """EST-2: a clear, once there, stays; of two clears the smaller release; a bare stop undoes nothing."""
        bare = stop("x", set_stamp=10)
        clear = msgspec.structs.replace(
            bare, cleared_by="bert", cleared_at=moment(9), clear_reason="ok", release=20
        )
        earlier = msgspec.structs.replace(clear, cleared_by="carl", release=15, set_stamp=8)
        for order in ([clear, bare, earlier], [earlier, clear, bare], [bare, earlier, clear]):
            named = [msgspec.structs.replace(record, record_id=str(id(order))) for record in order]
            place.write(*named)
        stops = place.run(Access.WRITE, lambda database: History(database).stops())
        assert {(one.cleared_by, one.release, one.set_stamp) for one in stops} == {("carl", 15, 8)}
        assert len(stops) == 3

    @pytest.mark.parametrize(
        ("statement", "why"),
        [
            ("UPDATE emergency_stop_events SET scope = 'PUMP', scope_id = 'p9'", "never changes"),
            ("UPDATE emergency_stop_events SET stop_id = stop_id || 'x'", "never changes"),
            ("UPDATE emergency_stop_events SET set_by = 'nobody'", "never changes"),
            ("UPDATE emergency_stop_events SET set_at = '2026-01-01T00:00:00+00:00'", "never changes"),
            ("UPDATE emergency_stop_events SET reason = ''", "never changes"),
            ("UPDATE emergency_stop_events SET kind = 'out_of_service'", "never changes"),
            ("UPDATE emergency_stop_events SET set_stamp = 11", "never changes"),
            (
                "UPDATE emergency_stop_events SET cleared_by = NULL, cleared_at = NULL WHERE stop_id = 'c'",
                "taken back",
            ),
            ("UPDATE emergency_stop_events SET cleared_by = 'nobody' WHERE stop_id = 'c'", "taken back"),
            (
                "UPDATE emergency_stop_events SET cleared_at = '2026-07-01T00:00:00+00:00' WHERE stop_id = 'c'",
                "taken back",
            ),
            ("UPDATE emergency_stop_events SET clear_reason = 'x' WHERE stop_id = 'c'", "taken back"),
            ("UPDATE emergency_stop_events SET release = 21 WHERE stop_id = 'c'", "taken back"),
            ("UPDATE emergency_stop_events SET release = NULL WHERE stop_id = 'c'", "taken back"),
            ("UPDATE failsafe_events SET ended_at = NULL", "written once"),
            ("UPDATE failsafe_events SET ended_at = '2026-07-01T00:00:00+00:00'", "written once"),
            ("UPDATE failsafe_events SET detail = ''", "written once"),
            ("UPDATE failsafe_events SET scope_id = 'p9'", "never changes"),
            ("UPDATE failsafe_events SET started_at = '2026-01-01T00:00:00+00:00'", "never changes"),
            ("UPDATE alarms SET returned_at = NULL", "written once"),
            ("UPDATE alarms SET text = ''", "never changes"),
            ("UPDATE alarms SET acknowledged_by = 'nobody'", "written once"),
            ("UPDATE alarms SET acknowledged_at = NULL, acknowledged_by = NULL", "written once"),
        ],
    )
    def test_history_is_closed_once_and_never_rewritten(self, place: Place, statement: str, why: str) -> None:
        """DAT-2, EST-2: whoever is asked to: no stop is retargeted, no clear taken back, no end removed."""
        ended = {"ended_at": moment(60)}
        place.write(
            stop("open", set_stamp=10),
            stop("c", set_stamp=10, cleared_by="bert", cleared_at=moment(9), clear_reason="ok", release=20),
            FailsafeRecord(
                record_id="e1", scope=Scope.PUMP, scope_id="p1", reason="r", started_at=NOON, detail="d", **ended
            ),
            AlarmRecord(
                record_id="al1", condition="c", subject="s", severity=Severity.HIGH, text="t", raised_at=NOON,
                returned_at=moment(5), acknowledged_at=moment(6), acknowledged_by="bert", acknowledge_comment="ok",
            ),
        )  # fmt: skip
        tables = ("emergency_stop_events", "failsafe_events", "alarms")
        before = [place.execute(f"SELECT * FROM {table}") for table in tables]
        with pytest.raises(place.refusal, match=why):
            place.execute(statement)
        assert [place.execute(f"SELECT * FROM {table}") for table in tables] == before

    def test_the_stops_that_matter_come_back_however_many_were_cleared(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """EST-2: every uncleared one, the newest cleared ones, and whichever is asked for by its id."""
        monkeypatch.setattr("storage.history.CLEARED_STOPS_MAX", 2)
        monkeypatch.setattr("storage.history._IDS_MAX", 1)
        clear = {"cleared_by": "bert", "cleared_at": moment(99), "clear_reason": "ok", "release": 20}
        for number in range(6):
            record = stop(f"c{number}", set_at=moment(number + 10))
            place.write(msgspec.structs.replace(record, **clear))
        place.write(stop("old", set_at=moment(0)), stop("new", set_at=moment(50)))

        def read(*also: str) -> list[str]:
            stops = place.run(Access.WRITE, lambda database: History(database).stops(also=also))
            return [one.record_id for one in stops]

        assert read() == ["old", "c4", "c5", "new"]
        assert read("c1", "c5", "c0", "unknown") == ["old", "c0", "c1", "c4", "c5", "new"]

    def test_alarms_without_an_end_come_back_newest_first(self, place: Place) -> None:
        """ALM-1: what a former life of the alarm actor left open, as it was written."""
        alarm = next(record for record in EVERY_KIND if isinstance(record, AlarmRecord))
        many = [
            msgspec.structs.replace(alarm, record_id=f"a{n}", raised_at=moment(n), returned_at=None)
            for n in range(4)
        ]
        returned = msgspec.structs.replace(many[2], returned_at=moment(9))
        place.write(*many, returned)
        found = place.run(Access.WRITE, lambda database: History(database).open_alarms())
        # What returned unseen waits for somebody all the same.
        assert found == (many[3], many[1], many[0], returned)

    def test_an_acknowledgement_is_kept_and_the_first_one_counts(self, place: Place) -> None:
        """ALM-1: seen and returned: nobody waits for it; seen and standing: it comes back as seen; in any order."""
        alarm = next(record for record in EVERY_KIND if isinstance(record, AlarmRecord))
        opened = msgspec.structs.replace(alarm, record_id="a", returned_at=None)
        seen = msgspec.structs.replace(
            opened, acknowledged_at=moment(3), acknowledged_by="anna", acknowledge_comment="on my way"
        )
        place.write(seen, opened, msgspec.structs.replace(seen, acknowledged_by="bert"))
        assert place.run(Access.WRITE, lambda database: History(database).open_alarms()) == (seen,)
        place.write(msgspec.structs.replace(opened, returned_at=moment(9)))
        assert place.run(Access.WRITE, lambda database: History(database).open_alarms()) == ()

    def test_failsafes_without_an_end_come_back_newest_first(self, place: Place) -> None:
        """WDG-2: what a former life of a watchdog left open, as it was written."""
        period = next(record for record in EVERY_KIND if isinstance(record, FailsafeRecord))
        many = [
            msgspec.structs.replace(period, record_id=f"f{n}", started_at=moment(n), ended_at=None)
            for n in range(4)
        ]
        place.write(*many, msgspec.structs.replace(many[2], ended_at=moment(9)))
        found = place.run(Access.WRITE, lambda database: History(database).open_failsafes())
        assert found == (many[3], many[1], many[0])

    def test_not_a_number_is_kept_as_text(self, place: Place) -> None:
        """SAF-3: a non-finite proposal is recorded, the same on both engines."""
        place.write(
            ViolationRecord(
                record_id="v",
                pump_id="p1",
                at=NOON,
                limit="l",
                proposed=float("nan"),
                applied=0.0,
                detail="why",
            )
        )
        assert place.execute("SELECT proposed, detail FROM safety_limit_violations") == [
            (None, "proposed nan; why")
        ]

    def test_a_decision_comes_back_as_it_was_at_a_moment(self, place: Place) -> None:
        """SAF-4: the decision in force at a time, with its trail, after any number of later ones."""
        decision = next(record for record in EVERY_KIND if isinstance(record, DecisionRecord))
        place.write(
            *(
                msgspec.structs.replace(decision, record_id=f"d{number}", at=moment(number), sequence=number)
                for number in range(20)
            )
        )
        found = place.run(Access.WRITE, lambda database: History(database).decision("p1", at=moment(7.5)))
        assert found == msgspec.structs.replace(decision, record_id="d7", at=moment(7), sequence=7)
