"""The schema on every database: roles, models, migrations."""

import asyncio
import re
from typing import Any

import pytest
from alembic import command
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateIndex, CreateTable

from actors.vocabulary import (
    DeviceError,
)
from actors.vocabulary.audit_trail import GENESIS
from actors.vocabulary.settings import DatabaseSettings
from storage import audit, schema
from storage.audit_reader import AuditBook, TrailVerdict
from storage.engine import Access, Chance, Database, RowRefusedError
from storage.models import metadata
from storage.urls import parsed
from storage.writer import DatabaseWriter
from tests.unit.storage.contract import Contract, Place, audit_record


class SchemaContract(Contract):
    """Runs on each engine; a subclass brings the fixture `place`."""

    def test_the_reader_cannot_write(self, place: Place) -> None:
        """DAT-2: the reading side cannot change anything, even by mistake."""
        place.seed()

        async def write(database: Database) -> None:
            async def work(connection: Any) -> None:
                await connection.exec_driver_sql("UPDATE pumps SET name = 'x'")

            await database.run(work)

        with pytest.raises((DeviceError, RowRefusedError)):
            place.run(Access.READ, write)
        assert place.execute("SELECT count(*) FROM pumps WHERE name = 'x'") == [(0,)]

    def test_the_migrations_make_what_the_models_say(self, place: Place) -> None:
        """DAT-1: tables, columns, NOT NULLs, named checks and indexes are those of the models, on each engine."""
        engine = create_engine(parsed(place.admin_url, "sync"), poolclass=NullPool)
        inspector = inspect(engine)
        made = inspector.get_table_names()
        assert set(metadata.tables) == set(made) - {"alembic_version", "change_counters"}
        named = {word for row in place.execute(self.definitions) for word in re.findall(r"\w+", str(row[0]))}
        for table in metadata.sorted_tables:
            columns = {column["name"]: column["nullable"] for column in inspector.get_columns(table.name)}
            assert columns == {column.name: column.nullable for column in table.columns}
            dialect = engine.dialect
            ddl = str(CreateTable(table).compile(dialect=dialect))
            ddl += "".join(str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes)
            assert set(re.findall(r"\b(?:ck|uq|ix|fk)_\w+", ddl)) <= named
        engine.dispose()

    def test_a_database_of_the_first_version_is_brought_up_with_its_rows(self, place: Place) -> None:
        """DAT-1: an applied migration is never edited: what was written before the second one stays and closes."""
        engine = create_engine(parsed(place.empty_url(), "sync"), poolclass=NullPool)
        url = engine.url.render_as_string(hide_password=False)
        with engine.begin() as connection:
            config = schema._config()
            config.attributes["connection"] = connection
            command.upgrade(config, "0001")
            connection.exec_driver_sql(
                "INSERT INTO failsafe_events (scope, scope_id, reason, started_at, detail, record_id)"
                " VALUES ('PUMP', 'p1', 'r', '2026-06-01T12:00:00+00:00', 'd', 'e1')"
            )
        assert schema.check(url) is schema.SchemaState.OLDER
        with pytest.raises(schema.SchemaError, match=r"older.*calejo db upgrade"):
            schema.require_current(url)
        schema.upgrade(url)
        schema.require_current(url)
        with engine.begin() as connection:
            close = "UPDATE failsafe_events SET ended_at = '2026-06-01T13:00:00+00:00' WHERE ended_at IS NULL"
            assert connection.exec_driver_sql(close).rowcount == 1
        engine.dispose()

    def test_a_trail_of_before_0008_goes_on_in_one_chain(self, place: Place) -> None:
        """AUD-1: what was written in format 1 stays as it is and verifies; what follows has format 2."""
        engine = create_engine(parsed(place.empty_url(), "sync"), poolclass=NullPool)
        url = engine.url.render_as_string(hide_password=False)
        head = GENESIS
        with engine.begin() as connection:
            config = schema._config()
            config.attributes["connection"] = connection
            command.upgrade(config, "0004")
            for sequence in (1, 2, 3):
                row = {**audit.row_of(audit_record(sequence)), "format": 1, "clauses": ""}
                own = audit.link(head, sequence, row)
                row |= {"sequence": sequence, "previous_hash": head, "hash": own}
                row["at"] = row["at"].isoformat(timespec="microseconds")
                old = {name: value for name, value in row.items() if name not in {"format", "clauses"}}
                marks = ", ".join(f":{name}" for name in old)
                connection.execute(text(f"INSERT INTO audit_log ({', '.join(old)}) VALUES ({marks})"), old)
                head = own
        engine.dispose()
        schema.upgrade(url)

        async def work() -> tuple[dict[int, str], TrailVerdict, list[int]]:
            chance = Chance(sleep=asyncio.sleep, random=lambda: 0.5)
            database = Database(url, Access.WRITE, settings=DatabaseSettings(pool_size=1), chance=chance)
            try:
                refused = await DatabaseWriter(database).write([(1, audit_record(4)), (2, audit_record(2))])
                book = AuditBook(database)
                formats = [row["format"] async for rows in book.pages() for row in rows]
                return refused, await book.verify(), formats
            finally:
                await database.close()

        refused, verdict, formats = asyncio.run(work())
        assert (refused, formats) == ({}, [1, 1, 1, 2])
        assert verdict.holds, verdict

    def test_the_schema_says_how_it_stands(self, place: Place) -> None:
        """DAT-1: current, newer and missing are told apart in one line that says what to do."""
        assert schema.check(place.admin_url) is schema.SchemaState.CURRENT
        schema.upgrade(place.admin_url)
        place.execute("UPDATE alembic_version SET version_num = '9999'")
        assert schema.check(place.admin_url) is schema.SchemaState.NEWER
        for refuse in (schema.require_current, schema.upgrade):
            with pytest.raises(schema.SchemaError, match=r"\A[^\n]*newer[^\n]*\Z"):
                refuse(place.admin_url)
        place.execute("DELETE FROM alembic_version")
        with pytest.raises(schema.SchemaError, match="calejo db upgrade"):
            schema.require_current(place.admin_url)
        # Tables without a version are somebody else's, or half of ours: nothing is touched, nothing is half done.
        with pytest.raises(DeviceError, match="already exists"):
            schema.upgrade(place.admin_url)
