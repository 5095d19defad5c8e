"""The kinds of columns: ids, UTC times, finite numbers, texts; and the checks that both engines need for them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    Identity,
    Integer,
    MetaData,
    String,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import SchemaItem
from sqlalchemy.sql import expression
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeDecorator, TypeEngine

from actors.vocabulary import DeviceError

metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

FINITE_MAX: Final = 1e9
"""No quantity of a pump station is beyond this; the comparison refuses NaN, infinity and (on SQLite) text."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time. PostgreSQL: timestamptz. SQLite: ISO-8601 text with offset, written in one fixed form.

    Foreign clients may write any ISO-8601 form with an offset (checked by the table); so on SQLite a column of this
    type is compared through `moment`, never as text.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text on SQLite."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Raise ValueError for a time without offset: nobody knows which moment it means."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value.isoformat()} has no UTC offset")
        utc = value.astimezone(UTC)
        return utc.isoformat(timespec="microseconds") if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Return the moment in UTC; raise DeviceError if somebody wrote past the checks."""
        if value is None:
            return None
        try:
            read = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        except (ValueError, TypeError):
            raise DeviceError(f"{value!r} in the database is not an ISO-8601 time") from None
        return read.astimezone(UTC)


class RawJson(TypeDecorator[Any]):
    """JSON as it stands: text that is none comes back as text, so that one broken row can be named and skipped."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text on SQLite, jsonb on PostgreSQL."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else JSONB(none_as_null=True))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Write JSON text on SQLite; the driver does it on PostgreSQL."""
        if value is None or dialect.name != "sqlite":
            return value
        return json.dumps(value, allow_nan=False)


class utc_now(expression.FunctionElement[datetime]):  # noqa: N801  (reads like SQL's functions)
    """The current time as a column's default, in the form that `UtcDateTime` writes."""

    type = UtcDateTime()
    inherit_cache = True


@compiles(utc_now, "postgresql")
def _now_postgresql(_element: utc_now, _compiler: SQLCompiler, **_options: Any) -> str:
    return "CURRENT_TIMESTAMP"


@compiles(utc_now, "sqlite")
def _now_sqlite(_element: utc_now, _compiler: SQLCompiler, **_options: Any) -> str:
    return "(strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00')"


class moment(expression.FunctionElement[Any]):  # noqa: N801  (reads like SQL's functions)
    """A time that can be compared and indexed: the column itself, on SQLite its Julian day (exact to 1 ms)."""

    inherit_cache = True


@compiles(moment, "postgresql")
def _moment_postgresql(element: moment, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(moment, "sqlite")
def _moment_sqlite(element: moment, compiler: SQLCompiler, **options: Any) -> str:
    # The index stands on julianday("measured_at"): SQLite uses it only for exactly this expression.
    return compiler.process(func.julianday(*element.clauses), **options)


# On SQLite ids compare without regard to case, on PostgreSQL a trigger writes them in lower case: both then agree
# with "an id after lower-casing", whichever case the outside world uses.
Id: Final = String(40).with_variant(String(40, collation="NOCASE"), "sqlite")
Serial: Final = BigInteger().with_variant(Integer(), "sqlite")


def check(name: str, condition: str, *, dialect: str | None = None) -> CheckConstraint:
    """Return a named check, for one engine or for both."""
    constraint = CheckConstraint(condition, name=name)
    return constraint if dialect is None else constraint.ddl_if(dialect=dialect)


def serial_key(name: str) -> Column[int]:
    """Return a whole-number key that the database gives out, so that a plain INSERT need not."""
    return Column(name, Serial, Identity(always=False), primary_key=True)


def flag(name: str, *, nullable: bool = False, default: bool | None = None) -> Column[bool]:
    """Return a truth value (0 or 1 on SQLite)."""
    server_default = None if default is None else (expression.true() if default else expression.false())
    return Column(name, Boolean(create_constraint=False), nullable=nullable, server_default=server_default)


def number(name: str, *, nullable: bool = True, default: str | None = None) -> Column[float]:
    """Return a quantity; its unit is part of its name."""
    return Column(name, Double(), nullable=nullable, server_default=default)


def time(name: str, *, nullable: bool = False, default: bool = False) -> Column[datetime]:
    """Return a moment in UTC; with `default` it is the time of the INSERT."""
    return Column(name, UtcDateTime(), nullable=nullable, server_default=utc_now() if default else None)


def whole(name: str, *, nullable: bool = True, default: str | None = None) -> Column[int]:
    """Return a whole number."""
    return Column(name, Integer(), nullable=nullable, server_default=default)


def text_column(name: str, *, nullable: bool = False, default: str | None = None) -> Column[str]:
    """Return a text."""
    return Column(name, Text(), nullable=nullable, server_default=default)


def id_checks(*columns: str) -> Sequence[SchemaItem]:
    """Refuse what is no id after lower-casing."""
    items: list[SchemaItem] = []
    for column in columns:
        items += [
            check(
                f"{column}_is_id",
                f"{column} GLOB '[a-zA-Z0-9]*' AND {column} NOT GLOB '*[^a-zA-Z0-9_-]*' AND length({column}) <= 40",
                dialect="sqlite",
            ),
            check(f"{column}_is_id", f"{column} ~ '^[a-z0-9][a-z0-9_-]{{0,39}}$'", dialect="postgresql"),
        ]
    return items


def time_checks(*columns: str) -> Sequence[SchemaItem]:
    """Refuse what is no moment: on SQLite anything but ISO-8601 with an offset, on PostgreSQL the infinities."""
    date = "[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]*"
    items: list[SchemaItem] = []
    for column in columns:
        items += [
            check(
                f"{column}_has_offset",
                f"{column} IS NULL OR ({column} GLOB '{date}Z' OR {column} GLOB '{date}[+-][0-9][0-9]:[0-9][0-9]')"
                f" AND julianday({column}) IS NOT NULL AND instr(substr({column}, 12), ' ') = 0"
                # SQLite takes 30 February and 24:00 and counts on; nobody else does.
                f" AND date(substr({column}, 1, 10), '+0 days') = substr({column}, 1, 10)"
                f" AND substr({column}, 12, 2) < '24'",
                dialect="sqlite",
            ),
            check(
                f"{column}_is_finite",
                f"{column} >= '1000-01-01 00:00:00+00' AND {column} < '3000-01-01 00:00:00+00'",
                dialect="postgresql",
            ),
        ]
    return items


def finite_checks(*columns: str) -> Sequence[SchemaItem]:
    """Refuse NaN, infinities and text in quantities."""
    bound = f"{FINITE_MAX:.0f}"
    return [
        check(f"{column}_is_finite", f"{column} >= -{bound} AND {column} <= {bound}") for column in columns
    ]


def numeric_checks(*columns: str) -> Sequence[SchemaItem]:
    """Refuse text in quantities on SQLite, and let everything else in: the reader judges it and says why."""
    return [
        check(f"{column}_is_number", f"typeof({column}) IN ('real', 'integer', 'null')", dialect="sqlite")
        for column in columns
    ]


def whole_checks(*columns: str) -> Sequence[SchemaItem]:
    """Refuse text and fractions in whole numbers on SQLite."""
    return [
        check(f"{column}_is_whole", f"typeof({column}) IN ('integer', 'null')", dialect="sqlite")
        for column in columns
    ]


def flag_checks(*columns: str) -> Sequence[SchemaItem]:
    """Refuse anything but 0 and 1 on SQLite."""
    return [check(f"{column}_is_flag", f"{column} IN (0, 1)", dialect="sqlite") for column in columns]


def one_of(column: str, values: Iterable[str]) -> CheckConstraint:
    """Refuse what is not in a closed vocabulary."""
    listed = ", ".join(f"'{value}'" for value in values)
    return check(f"{column}_is_known", f"{column} IN ({listed})")
