"""The fifth version: how fast a station's normal stops come down at most (SAF-2.10)."""

from __future__ import annotations

from typing import Final

from alembic import op

revision: Final = "0004"
down_revision: Final = "0003"
branch_labels: Final = None
depends_on: Final = None

_TYPES: Final = {"sqlite": "DOUBLE", "postgresql": "DOUBLE PRECISION"}


def upgrade() -> None:
    connection = op.get_bind()
    connection.exec_driver_sql(
        f"ALTER TABLE pump_stations ADD COLUMN soft_stop_hz_per_s {_TYPES[connection.dialect.name]}"
        " CONSTRAINT ck_pump_stations_soft_stop_hz_per_s_in_range"
        " CHECK (soft_stop_hz_per_s >= 0.01 AND soft_stop_hz_per_s <= 100)"
    )
