"""Books of one pump for the tests of limits, and a store in memory that does with an outcome what the database does."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta

import msgspec

from actors.limits.changes import limits_of, values_of
from actors.limits.proposals import Asker
from actors.vocabulary import ControlType, DeviceError, SafetyLimits, UnknownSubjectError
from actors.vocabulary.limits import (
    LIMIT_KEYS,
    Envelope,
    LimitProposal,
    LimitsBook,
    LimitVersion,
    Outcome,
    ProposalState,
)
from actors.vocabulary.records import AuditRecord

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)

VALUES = {
    "hard_min_speed_hz": 20.0,
    "hard_max_speed_hz": 50.0,
    "max_rate_hz_per_s": 2.0,
    "level_dry_run_m": 0.4,
    "level_dry_run_reset_m": 0.6,
    "level_min_m": 0.7,
    "level_max_m": 2.0,
    "level_emergency_high_reset_m": 2.2,
    "level_emergency_high_m": 2.6,
    "max_starts_per_hour": 10.0,
    "max_power_kw": 22.0,
}
BOUNDS: dict[str, float | None] = {
    "hard_min_speed_hz": 18.0,
    "hard_max_speed_hz": 52.0,
    "max_rate_hz_per_s": 5.0,
    "level_dry_run_m": 0.3,
    "level_dry_run_reset_m": 0.4,
    "level_min_m": 0.5,
    "level_max_m": 2.4,
    "level_emergency_high_reset_m": 2.6,
    "level_emergency_high_m": 2.8,
    "max_starts_per_hour": 12.0,
}


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def asker(by: str = "bert", *, after_s: float = 0.0, request_id: str = "r1") -> Asker:
    return Asker(by=by, address="127.0.0.1:1", at=at(after_s), request_id=request_id)


def current(version: int = 3, **changed: float) -> SafetyLimits:
    limits = limits_of({**VALUES, **changed}, version=version)
    return msgspec.structs.replace(limits, set_by="zoe", approved_by="yan", approved_at=NOON)


def envelope(**changed: float | None) -> Envelope:
    bounds = dict.fromkeys(LIMIT_KEYS) | BOUNDS | changed
    return Envelope(bounds=bounds, commissioned_by="carl", commissioned_at=NOON)


def book(*proposals: LimitProposal, **changed: object) -> LimitsBook:
    made = LimitsBook(
        pump_id="p1",
        control_type=ControlType.LEVEL_CONTROLLED,
        current=current(),
        version_max=3,
        envelope=envelope(),
        proposals=proposals,
    )
    return msgspec.structs.replace(made, **changed)


class Store:
    """The port in memory: one pump's book, everything that was written, in order. `away`: the database is."""

    def __init__(self, start: LimitsBook | None = None) -> None:
        self.book_now = start or book()
        self.all: dict[str, LimitProposal] = {}
        self.versions: list[LimitVersion] = []
        self.audits: list[AuditRecord] = []
        self.away = False
        if self.book_now.current is not None:
            self._remember(self.book_now.current, NOON)

    async def book(self, pump_id: str) -> LimitsBook:
        self._there(pump_id)
        return self._book()

    async def change(
        self, pump_id: str, decide: Callable[[LimitsBook], Outcome], *, proposal_id: str
    ) -> Outcome:
        self._there(pump_id)
        return self.apply(decide, proposal_id)

    async def proposals(
        self, *, pump_id: str | None = None, states: Collection[ProposalState] = ()
    ) -> tuple[LimitProposal, ...]:
        self._there()
        found = [each for each in self.all.values() if pump_id in {None, each.pump_id}]
        return tuple(reversed([each for each in found if not states or each.state in states]))

    async def proposal(self, proposal_id: str) -> LimitProposal | None:
        self._there()
        return self.all.get(proposal_id)

    async def history(
        self, pump_id: str, *, before: int | None = None, version: int | None = None, count_max: int = 500
    ) -> tuple[LimitVersion, ...]:
        self._there()
        found = [each for each in self.versions if pump_id == self.book_now.pump_id]
        found = [each for each in found if before is None or each.history_id < before]
        newest_first = reversed([each for each in found if version in {None, each.version}])
        return tuple(newest_first)[:count_max]

    def apply(self, decide: Callable[[LimitsBook], Outcome], proposal_id: str) -> Outcome:
        outcome = decide(self._book(proposal_id))
        if (new := outcome.new_proposal) is not None:
            assert new.proposal_id not in self.all
            self.all[new.proposal_id] = new
        for closed in outcome.closed:
            assert self.all[closed.proposal_id].state is ProposalState.PROPOSED, "an end is written once"
            self.all[closed.proposal_id] = closed
        if (version := outcome.new_version) is not None:
            assert version.version > self.book_now.version_max
            limits = limits_of(version.values, version=version.version)
            limits = msgspec.structs.replace(
                limits,
                set_by=version.set_by,
                approved_by=version.approved_by,
                approved_at=version.approved_at,
            )
            self.book_now = msgspec.structs.replace(
                self.book_now, current=limits, version_max=version.version
            )
            self._remember(limits, version.set_at)
        known = {record.record_id for record in self.audits}
        assert not known & {record.record_id for record in outcome.audits}, "each audit record is new"
        self.audits += outcome.audits
        return outcome

    def _book(self, asked: str = "") -> LimitsBook:
        mine = [
            each
            for each in self.all.values()
            if each.state is ProposalState.PROPOSED or each.proposal_id == asked
        ]
        return msgspec.structs.replace(self.book_now, proposals=tuple(mine))

    def _remember(self, limits: SafetyLimits, set_at: datetime) -> None:
        self.versions.append(
            LimitVersion(
                history_id=len(self.versions) + 1,
                version=limits.version,
                operation="INSERT",
                recorded_at=NOON,
                values=dict.fromkeys(LIMIT_KEYS) | values_of(limits),
                set_by=limits.set_by,
                set_at=set_at,
                approved_by=limits.approved_by,
                approved_at=limits.approved_at,
            )
        )

    def _there(self, pump_id: str | None = None) -> None:
        if self.away:
            raise DeviceError("postgresql://db: connection refused")
        if pump_id is not None and pump_id != self.book_now.pump_id:
            raise UnknownSubjectError(f"pump {pump_id!r} is not known (see /api/v1/pumps)")
