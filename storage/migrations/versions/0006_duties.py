"""The sixth version: what a station does beside its plans, and when other settings hold (CTL-6)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import op

revision: Final = "0006"
down_revision: Final = "0005"
branch_labels: Final = None
depends_on: Final = None


def upgrade() -> None:
    connection = op.get_bind()
    text = (Path(__file__).parent / f"0006_duties.{connection.dialect.name}.sql").read_text("utf-8")
    for statement in text.split("\n--;\n"):
        connection.exec_driver_sql(statement)
