"""Users, their sessions, and the keys of service accounts (SEC-1)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import op

revision: Final = "0007"
down_revision: Final = "0006"
branch_labels: Final = None
depends_on: Final = None

_STATEMENTS: Final = {
    "sqlite": ("0007_tables.sqlite.sql", "0007_triggers.sqlite.sql"),
    "postgresql": (
        "0007_tables.postgresql.sql",
        "0007_triggers.postgresql.sql",
        "0007_roles.postgresql.sql",
    ),
}


def upgrade() -> None:
    connection = op.get_bind()
    for name in _STATEMENTS[connection.dialect.name]:
        text = (Path(__file__).parent / name).read_text("utf-8")
        for statement in text.split("\n--;\n"):
            connection.exec_driver_sql(statement)
