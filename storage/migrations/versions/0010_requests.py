"""What REST remembers of requests: commands by their key, failed logins (API-2, SEC-1)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import op

revision: Final = "0010"
down_revision: Final = "0009"
branch_labels: Final = None
depends_on: Final = None


def upgrade() -> None:
    connection = op.get_bind()
    name = f"0010_requests.{connection.dialect.name}.sql"
    for statement in (Path(__file__).parent / name).read_text("utf-8").split("\n--;\n"):
        connection.exec_driver_sql(statement)
