"""Limits as people change them: keys with unit and direction, envelopes, proposals, and what a change writes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum, unique
from typing import Final

import msgspec

from actors.vocabulary.codes import ControlType
from actors.vocabulary.errors import CallerError
from actors.vocabulary.plant import SafetyLimits
from actors.vocabulary.records import AuditRecord


@unique
class Tighter(StrEnum):
    """In which direction a limit protects more: a maximum the lower it is, a minimum the higher it is."""

    LOWER = "LOWER"
    HIGHER = "HIGHER"


class LimitKey(msgspec.Struct, frozen=True, kw_only=True):
    """One limit: its column, unit, direction, and the envelope's column that bounds it. `whole`: no fractions."""

    name: str
    unit: str
    tighter: Tighter
    bound: str
    whole: bool = False


def _key(name: str, unit: str, tighter: Tighter, *, bound: str = "", whole: bool = False) -> LimitKey:
    return LimitKey(name=name, unit=unit, tighter=tighter, bound=bound or name, whole=whole)


LIMIT_KEYS: Final[Mapping[str, LimitKey]] = {
    key.name: key
    for key in (
        _key("hard_min_speed_hz", "Hz", Tighter.HIGHER, bound="min_speed_hz"),
        _key("hard_max_speed_hz", "Hz", Tighter.LOWER, bound="max_speed_hz"),
        _key("max_rate_hz_per_s", "Hz/s", Tighter.LOWER),
        # No start below it.
        _key("level_min_m", "m", Tighter.HIGHER),
        # Above it the assist pumps are allowed: the lower, the sooner.
        _key("level_max_m", "m", Tighter.LOWER),
        # The lower, the sooner the high level is answered, and (reset) the longer.
        _key("level_emergency_high_m", "m", Tighter.LOWER),
        _key("level_emergency_high_reset_m", "m", Tighter.LOWER),
        # The higher, the sooner the pump is stopped before it runs dry, and (reset) the longer.
        _key("level_dry_run_m", "m", Tighter.HIGHER),
        _key("level_dry_run_reset_m", "m", Tighter.HIGHER),
        _key("max_power_kw", "kW", Tighter.LOWER),
        _key("max_flow_m3h", "m3/h", Tighter.LOWER),
        _key("min_flow_m3h", "m3/h", Tighter.HIGHER),
        _key("max_starts_per_hour", "1/h", Tighter.LOWER, whole=True),
        _key("min_run_s", "s", Tighter.HIGHER),
        _key("max_run_s", "s", Tighter.LOWER),
        _key("min_rest_s", "s", Tighter.HIGHER),
    )
}
"""Every limit that can be changed, by name, in the order in which it is shown."""

NEEDED_ALWAYS: Final = ("hard_min_speed_hz", "hard_max_speed_hz", "max_rate_hz_per_s")
NEEDED_LIMITS: Final[Mapping[ControlType, tuple[str, ...]]] = {
    ControlType.DIRECT_SPEED: (),
    # SQLite stores NaN as NULL: without these, a level that was meant to be a limit would silently be none.
    ControlType.LEVEL_CONTROLLED: (
        "level_min_m",
        "level_max_m",
        "level_dry_run_m",
        "level_dry_run_reset_m",
        "level_emergency_high_m",
        "level_emergency_high_reset_m",
    ),
    ControlType.POWER_CONTROLLED: ("max_power_kw",),
}


@unique
class ProposalState(StrEnum):
    """Where a proposal stands; all but PROPOSED are final."""

    PROPOSED = "PROPOSED"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    WITHDRAWN = "WITHDRAWN"
    SUPERSEDED = "SUPERSEDED"
    EXPIRED = "EXPIRED"


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """How far remote changes may ever go: a bound per limit key (None: none was commissioned)."""

    bounds: dict[str, float | None]
    commissioned_by: str
    commissioned_at: datetime


class LimitProposal(msgspec.Struct, frozen=True, kw_only=True):
    """A change that waits for, or has had, its second person. `changes`: the changed keys only, in their units."""

    proposal_id: str
    pump_id: str
    base_version: int
    changes: dict[str, float]
    reason: str
    proposed_by: str
    proposed_at: datetime
    expires_at: datetime
    source_address: str = ""
    state: ProposalState = ProposalState.PROPOSED
    closed_by: str | None = None
    closed_at: datetime | None = None
    close_reason: str | None = None
    version: int | None = None


class LimitsBook(msgspec.Struct, frozen=True, kw_only=True):
    """All that a decision about one pump's limits rests on, read in one transaction.

    `current`: the version in force as discovery would find it. `version_max`: the highest number ever used.
    `proposals`: the open ones, and the one that is asked about. `taken_by`: another pump whose proposal has that id.
    """

    pump_id: str
    control_type: ControlType
    current: SafetyLimits | None
    version_max: int
    envelope: Envelope | None
    proposals: tuple[LimitProposal, ...] = ()
    taken_by: str = ""

    @property
    def base_version(self) -> int:
        """What a proposal made now rests on; 0: nothing is in force yet."""
        return 0 if self.current is None else self.current.version

    def proposal(self, proposal_id: str) -> LimitProposal | None:
        """Return the proposal of that id, or None."""
        return next((each for each in self.proposals if each.proposal_id == proposal_id), None)


class NewVersion(msgspec.Struct, frozen=True, kw_only=True):
    """Approved limits as they are appended to `pump_safety_limits`."""

    pump_id: str
    version: int
    values: dict[str, float]
    set_by: str
    set_at: datetime
    approved_by: str
    approved_at: datetime


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision writes, all of it or nothing; a `refusal` is written down too, then told to the caller."""

    proposal: LimitProposal | None = None
    new_proposal: LimitProposal | None = None
    closed: tuple[LimitProposal, ...] = ()
    new_version: NewVersion | None = None
    audits: tuple[AuditRecord, ...] = ()
    refusal: CallerError | None = None


class LimitVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What stood in `pump_safety_limits` at some time, from the history that nobody can change.

    `operation`: what was done to the row (INSERT, UPDATE, DELETE), by approval or by somebody with SQL.
    """

    history_id: int
    version: int
    operation: str
    recorded_at: datetime
    values: dict[str, float | None]
    set_by: str
    set_at: datetime
    approved_by: str | None
    approved_at: datetime | None
