"""Changes of limits: proposals, and everything that ever stood in `pump_safety_limits` (SAF-6).

No foreign keys: both outlive the pump they are about.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Index, Table, Text

from actors.vocabulary.limits import ProposalState
from storage.models.base import (
    Id,
    RawJson,
    check,
    metadata,
    number,
    one_of,
    serial_key,
    text_column,
    time,
    time_checks,
    whole,
    whole_checks,
)
from storage.models.configuration import LIMIT_COLUMNS

pump_limit_proposals: Final = Table(
    "pump_limit_proposals",
    metadata,
    Column("proposal_id", Text(), primary_key=True),
    Column("pump_id", Id, nullable=False),
    whole("base_version", nullable=False),
    Column("changes", RawJson(), nullable=False),
    text_column("reason"),
    text_column("proposed_by"),
    time("proposed_at"),
    time("expires_at"),
    text_column("source_address", default=""),
    text_column("state", default="PROPOSED"),
    text_column("closed_by", nullable=True),
    time("closed_at", nullable=True),
    text_column("close_reason", nullable=True),
    whole("version"),
    *time_checks("proposed_at", "expires_at", "closed_at"),
    *whole_checks("base_version", "version"),
    one_of("state", ProposalState),
    check("base_version_not_negative", "base_version >= 0"),
    check("proposed_by_named", "trim(proposed_by) <> ''"),
    check("end_is_whole", "(state = 'PROPOSED') = (closed_at IS NULL)"),
    check("end_is_named", "(state = 'PROPOSED') = (closed_by IS NULL)"),
    check("approved_has_version", "(state = 'APPROVED') = (version IS NOT NULL)"),
)
Index("ix_pump_limit_proposals_hot", pump_limit_proposals.c.pump_id, pump_limit_proposals.c.state)

# Filled by triggers alone, whoever writes the table: Calejo by approval, or somebody with SQL. What was refused by the
# table's checks never stood there, so here nothing is checked again.
pump_safety_limits_history: Final = Table(
    "pump_safety_limits_history",
    metadata,
    serial_key("history_id"),
    text_column("operation"),
    time("recorded_at", default=True),
    Column("pump_id", Id, nullable=False),
    whole("version", nullable=False),
    number("hard_min_speed_hz", nullable=False),
    number("hard_max_speed_hz", nullable=False),
    *(whole(name) if name == "max_starts_per_hour" else number(name) for name in LIMIT_COLUMNS),
    text_column("set_by"),
    time("set_at"),
    text_column("approved_by", nullable=True),
    time("approved_at", nullable=True),
    one_of("operation", ("KEPT", "INSERT", "UPDATE", "DELETE")),
    sqlite_autoincrement=True,
)
Index(
    "ix_pump_safety_limits_history_hot",
    pump_safety_limits_history.c.pump_id,
    pump_safety_limits_history.c.history_id,
)
