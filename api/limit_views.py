"""What REST says about limits: versions, the envelope, proposals and their differences (SAF-6)."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from actors.limits.changes import Change
from actors.limits.proposals import shown_state
from actors.vocabulary.limits import LimitProposal, LimitsBook, LimitVersion, ProposalState


class LimitView(msgspec.Struct, frozen=True, kw_only=True):
    """One limit: in force, its unit, the commissioning envelope's bound, and which direction is tighter."""

    key: str
    value: float | None
    unit: str
    envelope: float | None
    tighter: str


class ProposalView(msgspec.Struct, frozen=True, kw_only=True):
    """A proposal as it stands now; `changes` holds the changed keys only, in their units."""

    proposal_id: str
    pump_id: str
    state: str
    base_version: int
    changes: dict[str, float]
    reason: str
    proposed_by: str
    proposed_at: str
    expires_at: str
    closed_by: str | None
    closed_at: str | None
    close_reason: str | None
    version: int | None


class LimitsView(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of a pump. `version`: of the database; `applied_version`: what control works with (None: not known)."""

    pump_id: str
    version: int
    applied_version: int | None
    set_by: str
    approved_by: str
    approved_at: str | None
    commissioned_by: str | None
    commissioned_at: str | None
    limits: list[LimitView]
    proposals: list[ProposalView]


class ProposedView(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a proposal or to what closed it: what changes, and once approved whether control has it."""

    proposal: ProposalView
    diff: list[Change]
    in_force: bool
    note: str = ""


class VersionView(msgspec.Struct, frozen=True, kw_only=True):
    """What stood in the limits table. `operation`: INSERT, UPDATE, DELETE, or KEPT (older than the history)."""

    history_id: int
    version: int
    operation: str
    recorded_at: str
    set_by: str
    set_at: str
    approved_by: str | None
    approved_at: str | None
    limits: dict[str, float | None]


class DiffView(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between two versions."""

    pump_id: str
    before: int
    after: int
    changes: list[Change]


def state_of(proposal: LimitProposal, now: datetime, book: LimitsBook | None) -> ProposalState:
    """Return where a proposal stands now, also if nobody has written that down since."""
    return shown_state(proposal, now=now, base_version=None if book is None else book.base_version)


def proposal_view(proposal: LimitProposal, now: datetime, book: LimitsBook | None = None) -> ProposalView:
    """Return a proposal as REST shows it."""
    return ProposalView(
        proposal_id=proposal.proposal_id,
        pump_id=proposal.pump_id,
        state=state_of(proposal, now, book).value,
        base_version=proposal.base_version,
        changes=dict(proposal.changes),
        reason=proposal.reason,
        proposed_by=proposal.proposed_by,
        proposed_at=when_at(proposal.proposed_at),
        expires_at=when_at(proposal.expires_at),
        closed_by=proposal.closed_by,
        closed_at=when_or_none(proposal.closed_at),
        close_reason=proposal.close_reason,
        version=proposal.version,
    )


def version_view(version: LimitVersion) -> VersionView:
    """Return a version as REST shows it."""
    return VersionView(
        history_id=version.history_id,
        version=version.version,
        operation=version.operation,
        recorded_at=when_at(version.recorded_at),
        set_by=version.set_by,
        set_at=when_at(version.set_at),
        approved_by=version.approved_by,
        approved_at=when_or_none(version.approved_at),
        limits=dict(version.values),
    )


def when_at(moment: datetime) -> str:
    """Return a moment as ISO-8601 UTC."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def when_or_none(moment: datetime | None) -> str | None:
    """Return a moment as ISO-8601 UTC, or None."""
    return None if moment is None else when_at(moment)
