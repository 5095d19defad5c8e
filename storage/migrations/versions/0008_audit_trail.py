"""The audit trail: records name their format and clauses, and archived segments let old ones go (AUD-1, AUD-3)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import op

revision: Final = "0008"
down_revision: Final = "0007"
branch_labels: Final = None
depends_on: Final = None


def upgrade() -> None:
    connection = op.get_bind()
    name = f"0008_audit.{connection.dialect.name}.sql"
    for statement in (Path(__file__).parent / name).read_text("utf-8").split("\n--;\n"):
        connection.exec_driver_sql(statement)
