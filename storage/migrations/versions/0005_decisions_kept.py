"""What each endpoint took and what came back, beside the decisions; both are forgotten after a time (SAF-4)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import op

revision: Final = "0005"
down_revision: Final = "0004"
branch_labels: Final = None
depends_on: Final = None

_STATEMENTS: Final = {
    "sqlite": ("0005_tables.sqlite.sql",),
    "postgresql": ("0005_tables.postgresql.sql",),
}


def upgrade() -> None:
    connection = op.get_bind()
    for name in _STATEMENTS[connection.dialect.name]:
        text = (Path(__file__).parent / name).read_text("utf-8")
        for statement in text.split("\n--;\n"):
            connection.exec_driver_sql(statement)
