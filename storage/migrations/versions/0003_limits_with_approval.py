"""The fourth version: limits are changed by proposal and approval, and every one that ever stood is kept (SAF-6)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import op

revision: Final = "0003"
down_revision: Final = "0002"
branch_labels: Final = None
depends_on: Final = None

_STATEMENTS: Final = {
    "sqlite": ("0003_tables.sqlite.sql", "0003_triggers.sqlite.sql"),
    "postgresql": (
        "0003_tables.postgresql.sql",
        "0003_triggers.postgresql.sql",
        "0003_roles.postgresql.sql",
    ),
}


def upgrade() -> None:
    connection = op.get_bind()
    for name in _STATEMENTS[connection.dialect.name]:
        text = (Path(__file__).parent / name).read_text("utf-8")
        for statement in text.split("\n--;\n"):
            connection.exec_driver_sql(statement)
