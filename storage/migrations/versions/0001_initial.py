"""The first version: every table, the rules that need triggers, and on PostgreSQL the two roles."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import op

revision: Final = "0001"
down_revision: Final = None
branch_labels: Final = None
depends_on: Final = None

_STATEMENTS: Final = {
    "sqlite": ("0001_tables.sqlite.sql", "0001_triggers.sqlite.sql"),
    "postgresql": ("0001_tables.postgresql.sql", "0001_triggers.postgresql.sql", "0001_roles.postgresql.sql"),
}


def upgrade() -> None:
    connection = op.get_bind()
    for name in _STATEMENTS[connection.dialect.name]:
        text = (Path(__file__).parent / name).read_text("utf-8")
        for statement in text.split("\n--;\n"):
            connection.exec_driver_sql(statement)
