"""The second version: what Calejo appended stays as it was; only what closes it may be added, once (DAT-2)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import op

revision: Final = "0002"
down_revision: Final = "0001"
branch_labels: Final = None
depends_on: Final = None

_STATEMENTS: Final = {
    "sqlite": ("0002_triggers.sqlite.sql",),
    "postgresql": ("0002_triggers.postgresql.sql", "0002_roles.postgresql.sql"),
}


def upgrade() -> None:
    connection = op.get_bind()
    for name in _STATEMENTS[connection.dialect.name]:
        text = (Path(__file__).parent / name).read_text("utf-8")
        for statement in text.split("\n--;\n"):
            connection.exec_driver_sql(statement)
