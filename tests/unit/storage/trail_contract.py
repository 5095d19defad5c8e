"""The audit trail on every database: one chain, append-only, searched and read back alike."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from actors.vocabulary import (
    DeviceError,
    Severity,
)
from actors.vocabulary.audit_trail import AuditQuery
from storage import audit
from storage.audit_reader import AuditBook
from storage.engine import Access, Database
from storage.history import History
from storage.writer import DatabaseWriter
from tests.unit.storage.contract import NOON, Place, audit_record, moment


class TrailContract:
    """Runs on each engine; a subclass brings the fixture `place`."""

    def test_a_chain_that_has_gone_on_costs_no_record(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """AUD-1, DAT-3: an end of the chain read too early is nobody's fault: the same records, once more."""
        place.write(*(audit_record(number) for number in range(3)))
        tail, looks = audit._tail, 0

        def early() -> Any:
            nonlocal looks
            looks += 1
            return tail().where(text("sequence = 1")) if looks == 1 else tail()

        monkeypatch.setattr(audit, "_tail", early)
        assert place.write(audit_record(7)) == {}
        assert looks == 2
        monkeypatch.setattr(audit, "_tail", lambda: tail().where(text("sequence = 1")))
        with pytest.raises(DeviceError, match="gone on"):
            place.write(audit_record(8))
        verdict = place.run(Access.WRITE, lambda database: History(database).verify_audit())
        assert (verdict.count, verdict.broken_at) == (4, None)

    def test_the_audit_chain_continues_over_writers(self, place: Place) -> None:
        """AUD-1: two writers at once cannot fork the chain, and verify walks it."""

        async def work(one: Database) -> None:
            other = place.database(Access.WRITE)
            try:
                batches = [
                    [(number, audit_record(100 * lane + number)) for number in range(30)] for lane in range(2)
                ]
                await asyncio.gather(
                    *(
                        DatabaseWriter(database).write(batch[start : start + 5])
                        for database, batch in zip((one, other), batches, strict=True)
                        for start in range(0, 30, 5)
                    )
                )
            finally:
                await other.close()

        place.run(Access.WRITE, work)
        verdict = place.run(Access.WRITE, lambda database: History(database).verify_audit())
        assert (verdict.count, verdict.broken_at) == (60, None)

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE audit_log SET actor = 'nobody'",
            "DELETE FROM audit_log",
            "DELETE FROM audit_log WHERE sequence = 3",
            (
                "INSERT INTO audit_log SELECT 9, at, event_type, actor, source_address, object_id, outcome, severity,"
                " before, after, correlation_id, 'new', previous_hash, 'new', clauses, format FROM audit_log"
                " WHERE sequence = 3"
            ),
        ],
    )
    def test_the_database_refuses_to_change_the_audit_log(self, place: Place, statement: str) -> None:
        """AUD-1: UPDATE, DELETE and rows out of line are refused by the database itself, for its owner too."""
        place.write(*(audit_record(number) for number in range(3)))
        with pytest.raises(place.refusal, match="append-only"):
            place.execute(statement)
        assert place.execute("SELECT count(*) FROM audit_log") == [(3,)]

    def test_the_trail_is_searched_alike_on_both_engines(self, place: Place) -> None:
        """AUD-3: filters by each column, whatever case and whatever characters; pages meet."""
        place.write(
            *(audit_record(number) for number in range(6)),
            audit_record(
                6, actor="Ö'Neil", object_id="100%_sure", outcome="refused: no", severity=Severity.HIGH
            ),
        )

        def found(**wanted: Any) -> list[int]:
            query = AuditQuery(**wanted)
            page = place.run(Access.WRITE, lambda database: AuditBook(database).search(query))
            return [record["sequence"] for record in page.records]

        assert found() == [7, 6, 5, 4, 3, 2, 1]
        assert found(limit=2, before=5) == [4, 3]
        assert found(actor="Ö'Neil", severities=("HIGH",)) == [7]
        assert found(actor="ANNA", limit=1) == [6]
        assert found(text="0%_s") == [7]
        assert found(text="0_%s") == []
        assert found(outcome="refused") == [7]
        assert found(event_types=("MODE_SET",), source_address="127.") == [7, 6, 5, 4, 3, 2, 1]
        assert found(since=moment(2), until=moment(4)) == [4, 3]

    def test_the_trail_reads_back_as_it_was_hashed(self, place: Place) -> None:
        """AUD-1: on either engine the same record gives the same line of an export, its time with six digits."""
        place.write(audit_record(1, at=NOON), audit_record(2, actor="é\0x", after={"x": float("nan")}))

        async def work(database: Database) -> list[dict[str, Any]]:
            return [row async for rows in AuditBook(database).pages(page=1) for row in rows]

        one, two = place.run(Access.WRITE, work)
        assert one["at"] == "2026-06-01T12:00:00.000000Z"
        assert (two["actor"], two["after"], two["format"]) == ("é\ufffdx", '{"x":"nan"}', 2)
        assert one["hash"] == "83cc0f67ac91d4ae9c3498d126413f01924ac235262faf7b4dd1d1a40d4415d3"
